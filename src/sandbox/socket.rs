//! Sockets of SSH agents as commands see them: a mount shows a socket as the host has it, with everything that can be
//! asked of the agent, so each gets a stand-in with the mode and owner that are wanted. What goes through it is passed
//! on as far as [`agent`] lets it.
//!
//! A stand-in lives as long as the run it was made for.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};

use super::spec::{MountKind, Spec};
use super::{Error, agent};
use crate::fs::descriptor_path;

/// The stand-ins of one run.
#[derive(Debug, Default)]
pub(super) struct StandIns {
    doors: Vec<Door>,
    dir: Option<tempfile::TempDir>,
}

/// A socket at which commands knock.
#[derive(Debug)]
struct Door {
    listener: Arc<UnixListener>,
    open: Arc<Streams>,
    thread: Option<JoinHandle<()>>,
}

/// Both sides of the connections that are being passed on.
#[derive(Debug, Default)]
struct Streams(Mutex<Vec<Weak<UnixStream>>>);

impl StandIns {
    /// Makes what `spec` needs in a new directory beneath `scratch`, and returns it with the paths of the stand-ins.
    pub(super) fn of<'s>(spec: &'s Spec, scratch: &Path) -> Result<(Cow<'s, Spec>, Self), Error> {
        let mut spec = Cow::Borrowed(spec);
        let mut made = Self::default();
        for at in 0..spec.mounts.len() {
            let MountKind::Agent { path, mode, uid, gid } = &spec.mounts[at].kind else {
                continue;
            };
            // One that is not there is reported by the mount itself.
            if fs::metadata(path).is_err() {
                continue;
            }
            let look = (*mode, *uid, *gid);
            let stand_in = made.open(path, look, scratch).map_err(|source| Error::Setup {
                operation: format!("make a stand-in for the socket `{}`", path.display()),
                source,
            })?;
            if let MountKind::Agent { path, .. } = &mut spec.to_mut().mounts[at].kind {
                *path = stand_in;
            }
        }
        Ok((spec, made))
    }

    fn open(
        &mut self,
        host: &Path,
        (mode, uid, gid): (u32, u32, u32),
        scratch: &Path,
    ) -> io::Result<PathBuf> {
        let dir = match &self.dir {
            Some(dir) => dir,
            None => self.dir.insert(tempfile::tempdir_in(scratch)?),
        };
        let name = self.doors.len().to_string();
        let path = dir.path().join(&name);
        // An address has room for a hundred bytes, which the path of a scratch directory may exceed.
        let here = fs::File::open(dir.path())?;
        let listener = UnixListener::bind(format!("{}/{name}", descriptor_path(&here)))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        match std::os::unix::fs::chown(&path, Some(uid), Some(gid)) {
            // No id of this user namespace: whoever the command believes to be, it may use what is kiln's.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
            changed => changed?,
        }
        let (listener, open) = (Arc::new(listener), Arc::<Streams>::default());
        let (knocks, streams, host) = (listener.clone(), open.clone(), host.to_owned());
        let thread = thread::Builder::new().spawn(move || serve(&knocks, &host, &streams))?;
        self.doors.push(Door { listener, open, thread: Some(thread) });
        Ok(path)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // Nobody is let in any more, which ends the thread.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        for stream in self.open.lock().drain(..).filter_map(|stream| stream.upgrade()) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Streams {
    fn lock(&self) -> MutexGuard<'_, Vec<Weak<UnixStream>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn serve(listener: &UnixListener, host: &Path, open: &Streams) {
    while let Ok((inside, _)) = listener.accept() {
        // A refusal shows inside as a connection that ends at once.
        let _ = UnixStream::connect(host).and_then(|outside| join(inside, outside, open));
    }
}

/// Passes on what may be asked, and all answers, until both have ended.
fn join(inside: UnixStream, outside: UnixStream, open: &Streams) -> io::Result<()> {
    let (inside, outside) = (Arc::new(inside), Arc::new(outside));
    let mut streams = open.lock();
    streams.retain(|stream| stream.strong_count() > 0);
    streams.extend([&inside, &outside].map(Arc::downgrade));
    drop(streams);
    thread::Builder::new().spawn(move || {
        let _ = agent::converse(&mut &*inside, &mut &*outside);
        let _ = inside.shutdown(Shutdown::Both);
        let _ = outside.shutdown(Shutdown::Both);
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::sandbox::spec::{Mount, Network, Process, Root, Security, User};

    #[test]
    fn a_stand_in_passes_on_and_leaves_nothing() {
        let top = tempfile::tempdir().unwrap();
        // Longer than any address of a socket.
        let scratch = top.path().join("s".repeat(200));
        fs::create_dir(&scratch).unwrap();
        let path = top.path().join("agent");
        let agent = UnixListener::bind(&path).unwrap();
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let kind = MountKind::Agent { path: path.clone(), mode: 0o612, uid, gid };
        let spec = Spec {
            root: Root::Directory("/".into()),
            owned_below: Vec::new(),
            mounts: vec![Mount { target: "/agent".into(), kind, readonly: true }],
            process: Process {
                args: Vec::new(),
                env: Vec::new(),
                cwd: "/".into(),
                user: User::default(),
                rlimits: Vec::new(),
            },
            network: Network::None,
            security: Security::Default,
            hostname: String::new(),
            extra_hosts: Vec::new(),
            shm_size: 0,
            limits: crate::sandbox::spec::Limits::default(),
        };
        let (spec, stand_ins) = StandIns::of(&spec, &scratch).unwrap();
        let MountKind::Agent { path: stand_in, .. } = &spec.mounts[0].kind else { panic!() };
        assert!(stand_in.starts_with(&scratch));
        assert_eq!(fs::metadata(stand_in).unwrap().mode() & 0o777, 0o612);
        let short = fs::File::open(stand_in.parent().unwrap()).unwrap();
        let mut inside = UnixStream::connect(format!("{}/0", descriptor_path(&short))).unwrap();
        let (mut outside, _) = agent.accept().unwrap();
        let request = [0, 0, 0, 1, 11];
        io::Write::write_all(&mut inside, &request).unwrap();
        let mut read = [0; 5];
        io::Read::read_exact(&mut outside, &mut read).unwrap();
        assert_eq!(read, request);
        let open = Arc::downgrade(&stand_ins.doors[0].open);
        drop(stand_ins);
        assert!(open.upgrade().is_none(), "its thread has ended");
        assert_eq!(io::Read::read(&mut inside, &mut read).unwrap(), 0);
        assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0);
    }
}
