//! The new root: overlays, the workbench on which mounts are put together, and the change of root.
//!
//! Mounts are made detached and attached where they belong. The workbench is a small file system in memory, mounted
//! over a directory that nothing else will be looked up through; it vanishes with the old root.

use std::ffi::CString;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, fchmod, mkdirat, openat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount,
    fsopen, mount, mount_change, mount_move, move_mount, open_tree, unmount,
};
use rustix::process::{chdir, chroot, fchdir, pivot_root};

use super::sys;
use super::wire::{Failure, Result, refused, refused_at};
use crate::fs::descriptor_path;
use crate::ownership::Ownership;

/// Defaults differ between kernels' builds; a diff must not contain redirects or metadata-only copies.
const OVERLAY: [(&str, &str); 3] =
    [("redirect_dir", "nofollow"), ("metacopy", "off"), ("index", "off")];

/// How many bytes of options the old way of mounting takes.
const OLD_OPTIONS: usize = 4095;

/// A file system that is being configured.
pub(super) struct NewFilesystem {
    name: &'static str,
    context: OwnedFd,
}

impl NewFilesystem {
    /// Starts.
    pub(super) fn open(name: &'static str) -> Result<Self> {
        let context = fsopen(name, FsOpenFlags::FSOPEN_CLOEXEC)
            .map_err(refused(|| format!("mount a file system of the type `{name}`")))?;
        // Programs look for mounts under the usual names, which `none` is not.
        Self { name, context }.set(&[("source", name)])
    }

    /// Sets options.
    pub(super) fn set(self, options: &[(&str, &str)]) -> Result<Self> {
        for (key, value) in options {
            fsconfig_set_string(&self.context, *key, *value).map_err(|error| self.fail(error))?;
        }
        Ok(self)
    }

    /// Makes the mount, attached nowhere yet.
    pub(super) fn mount(self, attributes: MountAttrFlags) -> Result<OwnedFd> {
        fsconfig_create(&self.context)
            .and_then(|()| fsmount(&self.context, FsMountFlags::FSMOUNT_CLOEXEC, attributes))
            .map_err(|error| self.fail(error))
    }

    /// Adds what the kernel has logged about the failure.
    fn fail(&self, error: Errno) -> Failure {
        let mut log = [0_u8; 512];
        let said = rustix::io::read(&self.context, &mut log).unwrap_or(0);
        let said = String::from_utf8_lossy(&log[..said]);
        let said = said.trim_end().trim_start_matches(|c: char| c.is_ascii_lowercase()).trim();
        let name = self.name;
        refused::<Errno>(|| match said {
            "" => format!("mount a file system of the type `{name}`"),
            said => format!("mount a file system of the type `{name}` ({said})"),
        })(error)
    }
}

/// Copies the mount that `place` lies on, from `place` downwards, attached nowhere yet.
pub(super) fn clone_tree(place: impl AsFd) -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    open_tree(place, "", flags)
}

/// [`clone_tree`] of an entry of a directory that kiln itself has filled.
pub(super) fn clone_entry(dir: impl AsFd, name: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    open_tree(dir, name, flags)
}

/// [`attach`] at an entry of a directory that kiln itself has filled.
pub(super) fn attach_at(mount: impl AsFd, dir: impl AsFd, name: &str) -> rustix::io::Result<()> {
    move_mount(mount, "", dir, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// Attaches a detached mount.
pub(super) fn attach(mount: impl AsFd, at: impl AsFd) -> rustix::io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", at, "", flags)
}

/// Opens a directory of the host as a place.
pub(super) fn open_directory(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty()).map_err(refused_at("open the directory", path))
}

/// The writable part of an overlay.
pub(super) struct Writable {
    path: PathBuf,
    /// Where changes appear.
    pub(super) upper: OwnedFd,
    /// The kernel's working directory.
    pub(super) work: OwnedFd,
}

impl Writable {
    /// Opens both directories.
    pub(super) fn open(upper: &Path, work: &Path) -> Result<Self> {
        Ok(Self {
            path: upper.to_owned(),
            upper: open_directory(upper)?,
            work: open_directory(work)?,
        })
    }
}

/// Where mounts are put together.
pub(super) struct Workbench {
    tree: OwnedFd,
    used: u32,
    user_namespace: bool,
}

impl Workbench {
    /// Sets it up over `at`.
    pub(super) fn new(at: &OwnedFd, user_namespace: bool) -> Result<Self> {
        let tree = NewFilesystem::open("tmpfs")?
            .set(&[("mode", "0700")])?
            .mount(MountAttrFlags::MOUNT_ATTR_NOSUID)?;
        attach(&tree, at).map_err(refused(|| "attach a file system in memory".to_owned()))?;
        Ok(Self { tree, used: 0, user_namespace })
    }

    fn next_name(&mut self) -> String {
        self.used += 1;
        self.used.to_string()
    }

    /// Makes an empty directory.
    pub(super) fn directory(&mut self) -> Result<OwnedFd> {
        let name = self.next_name();
        mkdirat(&self.tree, &name, Mode::from_raw_mode(0o755))
            .and_then(|()| self.place(&name))
            .map_err(refused(|| "make a directory in memory".to_owned()))
    }

    fn place(&self, name: &str) -> rustix::io::Result<OwnedFd> {
        openat(&self.tree, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
    }

    /// Makes a file.
    pub(super) fn file(&mut self, content: &[u8], mode: u32, owner: (u32, u32)) -> Result<OwnedFd> {
        let name = self.next_name();
        self.write(&name, content, mode, owner)
            .map_err(refused(|| "write a file in memory".to_owned()))
    }

    fn write(
        &self,
        name: &str,
        content: &[u8],
        mode: u32,
        (uid, gid): (u32, u32),
    ) -> std::io::Result<OwnedFd> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mut file =
            std::fs::File::from(openat(&self.tree, name, flags, Mode::from_raw_mode(0o600))?);
        file.write_all(content)?;
        if (uid, gid) != (0, 0) {
            Ownership { uid, gid, device: None }.give(descriptor_path(&file).as_ref())?;
        }
        fchmod(&file, Mode::from_raw_mode(mode & 0o7777))?;
        Ok(self.place(name)?)
    }

    /// Stacks layers, attaches the result, and returns its root. Without layers there is nothing to stack: the
    /// writable directory itself is the result, or an empty one.
    pub(super) fn stack(
        &mut self,
        lower: &[PathBuf],
        writable: Option<&Writable>,
        attributes: MountAttrFlags,
    ) -> Result<OwnedFd> {
        let whole = match (lower, writable) {
            ([], Some(writable)) => copy_of(&writable.upper, attributes)?,
            ([], None) => return self.directory(),
            ([single], None) => copy_of(&open_directory(single)?, attributes)?,
            _ => match self.overlay(lower, writable, attributes) {
                Err(failure) if failure.errno() == Some(libc::EINVAL) => {
                    let whole = self.overlay_of_old(lower, writable, attributes);
                    return whole.map_err(|old| match old.errno() {
                        Some(libc::EINVAL) => failure,
                        _ => old,
                    });
                }
                whole => whole?,
            },
        };
        self.put(&whole)?;
        Ok(whole)
    }

    /// Attaches a mount, so that parts of it can be copied.
    pub(super) fn put(&mut self, mount: &OwnedFd) -> Result<()> {
        let at = self.directory()?;
        attach(mount, at).map_err(refused(|| "attach a mount".to_owned()))
    }

    /// Makes an overlay, attached nowhere yet. Kernels before 6.7 do not take layers one by one; some say so at once
    /// and some at the end, both with EINVAL, as others say that the writable part cannot be used.
    fn overlay(
        &self,
        lower: &[PathBuf],
        writable: Option<&Writable>,
        attributes: MountAttrFlags,
    ) -> Result<OwnedFd> {
        let mut new = NewFilesystem::open("overlay")?.set(&OVERLAY)?;
        if self.user_namespace {
            fsconfig_set_flag(&new.context, "userxattr").map_err(|error| new.fail(error))?;
        }
        for dir in lower {
            let opened;
            let name = if is_plain(dir) {
                dir.as_os_str().as_bytes()
            } else {
                opened = open_directory(dir)?;
                &descriptor_path(&opened).into_bytes()
            };
            fsconfig_set_string(&new.context, "lowerdir+", name).map_err(|error| match error {
                Errno::INVAL => name_changes(new.fail(error), writable),
                error => refused_at("add to an overlay the layer", dir)(error),
            })?;
        }
        if let Some(Writable { upper, work, .. }) = writable {
            // Without it, unmounting would write everything to the disk.
            fsconfig_set_flag(&new.context, "volatile").map_err(|error| new.fail(error))?;
            new = new.set(&[
                ("upperdir", &descriptor_path(upper)),
                ("workdir", &descriptor_path(work)),
            ])?;
        }
        new.mount(attributes).map_err(|failure| name_changes(failure, writable))
    }

    /// Makes and attaches an overlay on kernels before 6.7, whose options have to fit in one page.
    fn overlay_of_old(
        &mut self,
        lower: &[PathBuf],
        writable: Option<&Writable>,
        attributes: MountAttrFlags,
    ) -> Result<OwnedFd> {
        let lower: Vec<OwnedFd> =
            lower.iter().map(|dir| open_directory(dir)).collect::<Result<_>>()?;
        let names: Vec<String> = lower.iter().map(descriptor_path).collect();
        let mut options = format!("lowerdir={}", names.join(":"));
        for (key, value) in OVERLAY {
            options.push_str(&format!(",{key}={value}"));
        }
        if self.user_namespace {
            options.push_str(",userxattr");
        }
        if let Some(Writable { upper, work, .. }) = writable {
            let (upper, work) = (descriptor_path(upper), descriptor_path(work));
            options.push_str(&format!(",volatile,upperdir={upper},workdir={work}"));
        }
        let fail = || format!("mount an overlay of {} layers", lower.len());
        if options.len() >= OLD_OPTIONS {
            return Err(refused::<Errno>(fail)(Errno::TOOBIG));
        }
        let at = self.directory()?;
        let name = self.used.to_string();
        let options = CString::new(options).expect("descriptor paths contain no zero byte");
        mount("overlay", descriptor_path(&at), "overlay", MountFlags::empty(), options.as_c_str())
            .and_then(|()| self.place(&name))
            .map_err(std::io::Error::from)
            .and_then(|whole| {
                sys::restrict_mount(&whole, u64::from(attributes.bits()))?;
                Ok(whole)
            })
            .map_err(refused(fail))
    }
}

/// The kernel says most of why an overlay cannot be mounted in its own log only: at least the place is named.
fn name_changes(failure: Failure, writable: Option<&Writable>) -> Failure {
    match (failure, writable) {
        (Failure::Refused { operation, errno }, Some(Writable { path, .. })) => {
            let operation = format!("{operation} with changes in `{}`", path.display());
            Failure::Refused { operation, errno }
        }
        (failure, _) => failure,
    }
}

/// Copies the mount of a directory, attached nowhere yet.
pub(super) fn copy_of(place: &OwnedFd, attributes: MountAttrFlags) -> Result<OwnedFd> {
    let fail = || "mount a directory".to_owned();
    let copy = clone_tree(place).map_err(refused(fail))?;
    if !attributes.is_empty() {
        sys::restrict_mount(&copy, u64::from(attributes.bits())).map_err(refused(fail))?;
    }
    Ok(copy)
}

/// Whether the kernel takes a path as an option's value: it cuts at 256 bytes and some versions unescape.
fn is_plain(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    bytes.len() < 250 && !bytes.contains(&b'\\')
}

/// Makes `root` the root, and lets go of the old one with everything mounted in it.
pub(super) fn change_root(root: &OwnedFd) -> Result<()> {
    let change = || {
        fchdir(root)?;
        match pivot_root(".", ".") {
            Ok(()) => unmount(".", UnmountFlags::DETACH)?,
            // docker's filter refuses this one call even to those who may mount.
            Err(Errno::PERM) => {
                mount_move(".", "/")?;
                chroot(".")?;
            }
            Err(error) => return Err(error),
        }
        chdir("/")
    };
    change().map_err(refused(|| "change the root directory".to_owned()))
}

/// Keeps mounts from spreading between this namespace and the host's.
pub(super) fn make_private() -> Result<()> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(refused(|| "make mounts private".to_owned()))
}

#[cfg(test)]
mod tests {
    use rustix::thread::UnshareFlags;

    use super::*;

    #[test]
    fn old_kernels_stack_layers_too() {
        sys::unshare(UnshareFlags::NEWNS).unwrap();
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let sub = |name: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir(&path).unwrap();
            path
        };
        let lower: Vec<PathBuf> = (0..100).map(|number| sub(&format!("layer:{number},"))).collect();
        std::fs::write(lower[99].join("low"), "").unwrap();
        let (upper, work) = (sub("upper"), sub("work"));
        let made = make_private().and_then(|()| {
            let writable = Writable::open(&upper, &work)?;
            let mut bench = Workbench::new(&writable.upper, false)?;
            bench.overlay_of_old(&lower, Some(&writable), MountAttrFlags::MOUNT_ATTR_NODEV)
        });
        let root = made.unwrap_or_else(|failure| panic!("{failure:?}"));
        rustix::fs::accessat(
            &root,
            "low",
            rustix::fs::Access::EXISTS,
            rustix::fs::AtFlags::empty(),
        )
        .unwrap();
        mkdirat(&root, "new", Mode::from_raw_mode(0o755)).unwrap();
        fchdir(&root).unwrap();
        unmount(".", UnmountFlags::DETACH).unwrap();
        drop(root);
        chdir("/").unwrap();
        unmount(&upper, UnmountFlags::DETACH).unwrap();
        assert!(upper.join("new").is_dir());
        // The overlay's work directory has no permissions.
        crate::fs::remove_tree(&work).unwrap();
    }
}
