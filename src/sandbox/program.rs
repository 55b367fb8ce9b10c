//! The program of the sandbox's own processes: kiln by a way on which nobody can write to it, not even root.
//!
//! Where kiln may mount, that is a read-only mount of its file; elsewhere a sealed copy in memory, which takes
//! milliseconds to make.
//!
//! The process that becomes a command is kiln until then, and a command can be made to be `/proc/self/exe`, or a script
//! that names it as its interpreter. What runs then is kiln's program, as a process of the image's, through which the
//! file can be reached; were it the file that is installed, a root inside could change it (CVE-2019-5736 was that).

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, memfd_create, open};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use super::sys;
use crate::fs::descriptor_path;

/// The program and, once it was needed, what is executed of it.
#[derive(Debug, Clone)]
pub(super) struct Program {
    path: PathBuf,
    closed: Arc<OnceLock<Option<OwnedFd>>>,
}

impl Program {
    /// The program at `path`.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, closed: Arc::default() }
    }

    /// What it was made of.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A path that executes it; that of the program itself where files in memory are not to be executed either
    /// (`vm.memfd_noexec`): it cannot be written to as long as it runs, and it runs longer than any command.
    pub(super) fn executable(&self) -> PathBuf {
        let closed = || mount_of(&self.path).or_else(|_| copy_of(&self.path)).ok();
        match self.closed.get_or_init(closed) {
            Some(closed) => descriptor_path(closed).into(),
            None => self.path.clone(),
        }
    }
}

/// A mount in no namespace: while `mount` is open it has one of its own, in which who may mount could open it again.
fn mount_of(path: &Path) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = open_tree(CWD, path, flags)?;
    sys::close_mount(&mount)?;
    Ok(open(descriptor_path(&mount), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

fn copy_of(path: &Path) -> io::Result<OwnedFd> {
    let usual = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels before 6.3 do not know how to say that a file is to be executed.
    let copy = match memfd_create(c"kiln", usual | MemfdFlags::EXEC) {
        Err(Errno::INVAL) => memfd_create(c"kiln", usual),
        copy => copy,
    };
    let mut copy = File::from(copy?);
    io::copy(&mut File::open(path)?, &mut copy)?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    fcntl_add_seals(&copy, seals)?;
    Ok(copy.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::process::CommandExt;

    use super::*;

    #[test]
    fn it_runs_and_cannot_be_written_to() {
        let top = tempfile::tempdir().unwrap();
        // Nothing but the way protects this one.
        let path = top.path().join("busybox");
        std::fs::copy("/bin/busybox", &path).unwrap();
        let ways = [(mount_of(&path), libc::EROFS), (copy_of(&path), libc::EPERM)];
        for (way, refusal) in ways {
            let way = way.unwrap();
            assert!(sys::close_mount(&way).is_err(), "its mount can be changed");
            let way = descriptor_path(&way);
            let output = std::process::Command::new(&way).arg0("echo").arg("x").output().unwrap();
            assert_eq!(output.stdout, b"x\n");
            let opened = std::fs::OpenOptions::new().write(true).open(&way);
            let written = opened.and_then(|mut file| file.write_all(b"x"));
            assert_eq!(written.unwrap_err().raw_os_error(), Some(refusal));
            assert_eq!(std::fs::read(&way).unwrap(), std::fs::read("/bin/busybox").unwrap());
        }
        assert!(std::fs::OpenOptions::new().write(true).open(&path).is_ok(), "else it can be");
    }

    #[test]
    fn it_is_made_once() {
        let program = Program::new("/bin/busybox".into());
        let made = program.executable();
        assert_ne!(made, program.path());
        assert_eq!(program.executable(), made);
    }
}
