//! Removing whole trees, however deep: what a step or a hostile archive left decides neither how much stack nor how many
//! descriptors that takes.
//!
//! Invariant: nothing is followed, and nothing outside of the tree is touched. A directory that lies too deep is moved up
//! to the top and emptied there.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, chmodat, fchmod, openat, renameat_with,
    statat, unlinkat,
};
use rustix::io::{Errno, Result};

use super::PathError;

/// How many directories are entered in one another; each costs a frame and two descriptors.
const DEEPEST: usize = 32;

/// Removes a tree with everything in it, also below directories without permissions (the work directory of an
/// overlay has mode 000); one that is not there counts as removed.
pub fn remove_tree(path: &Path) -> super::Result<()> {
    match remove(path) {
        Err(Errno::NOENT) => Ok(()),
        removed => removed.map_err(PathError::of("remove", path)),
    }
}

fn remove(path: &Path) -> Result<()> {
    let stat = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return unlinkat(CWD, path, AtFlags::empty());
    }
    let mut removal = Removal { top: open(CWD, path)?, moved: 0 };
    loop {
        let before = removal.moved;
        let top = removal
            .top
            .try_clone()
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        removal.empty(&top, 0)?;
        match unlinkat(CWD, path, AtFlags::REMOVEDIR) {
            // What was moved up may have come behind what was listed already.
            Err(Errno::NOTEMPTY) if removal.moved > before => {}
            removed => return removed,
        }
    }
}

/// Opens a directory, after its permissions were widened if they forbid it.
fn open(at: impl AsFd, name: impl rustix::path::Arg + Copy) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(&at, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            chmodat(&at, name, Mode::RWXU, AtFlags::empty())?;
            openat(&at, name, flags, Mode::empty())
        }
        opened => opened,
    }
}

struct Removal {
    top: OwnedFd,
    /// How many directories were moved to the top.
    moved: u64,
}

impl Removal {
    fn empty(&mut self, directory: &OwnedFd, depth: usize) -> Result<()> {
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            if matches!(entry.file_name().to_bytes(), b"." | b"..") {
                continue;
            }
            match self.entry(directory, entry.file_name(), depth) {
                // Somebody else was faster.
                Err(Errno::NOENT) => {}
                removed => removed?,
            }
        }
        Ok(())
    }

    fn entry(&mut self, parent: &OwnedFd, name: &CStr, depth: usize) -> Result<()> {
        match allowed(parent, || unlinkat(parent, name, AtFlags::empty())) {
            Err(Errno::ISDIR) => {}
            removed => return removed,
        }
        let directory = open(parent, name)?;
        if depth < DEEPEST {
            self.empty(&directory, depth + 1)?;
        } else {
            match unlinkat(parent, name, AtFlags::REMOVEDIR) {
                Err(Errno::NOTEMPTY) => return self.move_up(parent, name, &directory),
                Err(Errno::ACCESS) => {}
                removed => return removed,
            }
        }
        allowed(parent, || unlinkat(parent, name, AtFlags::REMOVEDIR))
    }

    fn move_up(&mut self, parent: &OwnedFd, name: &CStr, directory: &OwnedFd) -> Result<()> {
        loop {
            self.moved += 1;
            let new = format!("deep-{}", self.moved);
            let flags = RenameFlags::NOREPLACE;
            let rename = || renameat_with(parent, name, &self.top, &new, flags);
            // Another parent is written into the directory, so that it has to be writable itself.
            match allowed(parent, || allowed(directory, rename)) {
                Err(Errno::EXIST) => {}
                moved => return moved,
            }
        }
    }
}

/// Does something that needs a directory to be writable, and does it again with the permissions widened if they forbid
/// it.
fn allowed<T>(directory: &OwnedFd, action: impl Fn() -> Result<T>) -> Result<T> {
    match action() {
        Err(Errno::ACCESS) => {
            fchmod(directory, Mode::RWXU)?;
            action()
        }
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// Makes directories in one another, from the inside to the outside.
    fn nest(top: &Path, depth: usize) {
        let (inner, outer) = (top.join("inner"), top.join("outer"));
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(inner.join("file"), "").unwrap();
        for _ in 0..depth {
            std::fs::create_dir(&outer).unwrap();
            std::fs::rename(&inner, outer.join("d")).unwrap();
            std::fs::rename(&outer, &inner).unwrap();
        }
    }

    #[test]
    fn depth_costs_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        // Deeper than a path can say. The stack has not even 50 bytes a level.
        nest(&tree, 2_500);
        // A name that the removal would use itself.
        std::fs::create_dir_all(tree.join("deep-1/x")).unwrap();
        let removal = {
            let tree = tree.clone();
            move || remove_tree(&tree).unwrap()
        };
        let thread = std::thread::Builder::new().stack_size(120 << 10).spawn(removal);
        thread.unwrap().join().unwrap();
        assert!(!tree.exists());
    }

    #[test]
    fn closed_directories_are_entered_and_links_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, beside) = (dir.path().join("tree"), dir.path().join("beside"));
        std::fs::create_dir(&beside).unwrap();
        std::fs::write(beside.join("kept"), "").unwrap();
        std::fs::create_dir_all(tree.join("a/b")).unwrap();
        std::fs::write(tree.join("a/b/file"), "").unwrap();
        symlink(&beside, tree.join("a/link")).unwrap();
        for closed in ["a/b", "a"] {
            std::fs::set_permissions(tree.join(closed), std::fs::Permissions::from_mode(0o000))
                .unwrap();
        }
        remove_tree(&tree).unwrap();
        remove_tree(&tree).unwrap();
        symlink(&beside, &tree).unwrap();
        remove_tree(&tree).unwrap();
        assert_eq!((tree.symlink_metadata().is_err(), beside.join("kept").exists()), (true, true));
    }
}
