//! The program of the sandbox's own processes: a copy of kiln in memory that nobody can write to, not even root.
//!
//! The process that becomes a command is kiln until then, and a command can be made to be `/proc/self/exe`, or a script
//! that names it as its interpreter. What runs then is kiln's program, as a process of the image's, through which the
//! file can be reached; were it the file that is installed, a root inside could change it (CVE-2019-5736 was that).

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;

/// The program and, once it was needed, its copy.
#[derive(Debug, Clone)]
pub(super) struct Program {
    path: PathBuf,
    copy: Arc<OnceLock<Option<OwnedFd>>>,
}

impl Program {
    /// The program at `path`.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, copy: Arc::default() }
    }

    /// What it was made of.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A path that executes the copy; that of the program itself where files in memory are not to be executed
    /// (`vm.memfd_noexec`): it cannot be written to as long as it runs, and it runs longer than any command.
    pub(super) fn executable(&self) -> PathBuf {
        match self.copy.get_or_init(|| copy_of(&self.path).ok()) {
            Some(copy) => format!("/proc/self/fd/{}", copy.as_raw_fd()).into(),
            None => self.path.clone(),
        }
    }
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
    fn the_copy_runs_and_cannot_be_written_to() {
        let program = Program::new("/bin/busybox".into());
        let copy = program.executable();
        assert_ne!(copy, program.path());
        assert_eq!(program.executable(), copy, "it is made once");
        let output = std::process::Command::new(&copy).arg0("echo").arg("x").output().unwrap();
        assert_eq!(output.stdout, b"x\n");
        let opened = std::fs::OpenOptions::new().write(true).open(&copy);
        let written = opened.and_then(|mut file| file.write_all(b"x"));
        assert_eq!(written.unwrap_err().raw_os_error(), Some(libc::EPERM));
        assert_eq!(std::fs::read(&copy).unwrap(), std::fs::read(program.path()).unwrap());
    }
}
