//! Sockets with the mode and owner that a command is to see: a mount shows a socket as the host has it, so one that
//! differs gets a stand-in, and what goes through the stand-in is passed on.
//!
//! A stand-in lives as long as the run it was made for.

use std::io;
use std::net::Shutdown;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::{borrow::Cow, fs};

use super::Error;
use super::spec::{MountKind, Spec};

/// The stand-ins of one run.
#[derive(Default)]
pub(super) struct StandIns {
    dir: Option<tempfile::TempDir>,
    doors: Vec<Door>,
}

/// A socket at which commands knock.
struct Door {
    path: PathBuf,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    closed: AtomicBool,
    open: Mutex<Vec<Weak<UnixStream>>>,
}

impl StandIns {
    /// Makes what `spec` needs, and returns it with the paths of the stand-ins.
    pub(super) fn of(spec: &Spec) -> Result<(Cow<'_, Spec>, Self), Error> {
        let mut spec = Cow::Borrowed(spec);
        let mut made = Self::default();
        for at in 0..spec.mounts.len() {
            let MountKind::Socket { path, mode, uid, gid } = &spec.mounts[at].kind else {
                continue;
            };
            // One that is not there is reported by the mount itself.
            let Ok(is) = fs::metadata(path) else { continue };
            if (is.mode() & 0o777, is.uid(), is.gid()) == (*mode, *uid, *gid) {
                continue;
            }
            let owner = (*uid, *gid);
            let stand_in = made.open(path, *mode, owner).map_err(|source| Error::Setup {
                operation: format!("make a stand-in for the socket `{}`", path.display()),
                source,
            })?;
            if let MountKind::Socket { path, .. } = &mut spec.to_mut().mounts[at].kind {
                *path = stand_in;
            }
        }
        Ok((spec, made))
    }

    fn open(&mut self, host: &Path, mode: u32, (uid, gid): (u32, u32)) -> io::Result<PathBuf> {
        let dir = match &self.dir {
            Some(dir) => dir,
            None => self.dir.insert(tempfile::tempdir()?),
        };
        let path = dir.path().join(self.doors.len().to_string());
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        std::os::unix::fs::chown(&path, Some(uid), Some(gid))?;
        let shared = Arc::<Shared>::default();
        let (of_thread, host) = (Arc::clone(&shared), host.to_owned());
        let thread = thread::Builder::new().spawn(move || serve(&listener, &host, &of_thread))?;
        self.doors.push(Door { path: path.clone(), shared, thread: Some(thread) });
        Ok(path)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        // Wakes the thread, which then sees that it is to end.
        let knocked = UnixStream::connect(&self.path);
        for stream in self.shared.streams().drain(..).filter_map(|stream| stream.upgrade()) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        if let (Ok(_), Some(thread)) = (knocked, self.thread.take()) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn streams(&self) -> MutexGuard<'_, Vec<Weak<UnixStream>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn serve(listener: &UnixListener, host: &Path, shared: &Shared) {
    while let Ok((inside, _)) = listener.accept() {
        if shared.closed.load(Ordering::Acquire) {
            return;
        }
        // A refusal shows inside as a connection that ends at once.
        let _ = UnixStream::connect(host).and_then(|outside| join(inside, outside, shared));
    }
}

/// Passes everything on in both directions until both have ended.
fn join(inside: UnixStream, outside: UnixStream, shared: &Shared) -> io::Result<()> {
    let (inside, outside) = (Arc::new(inside), Arc::new(outside));
    let mut open = shared.streams();
    open.retain(|stream| stream.strong_count() > 0);
    open.extend([&inside, &outside].map(Arc::downgrade));
    drop(open);
    let (from_inside, from_outside) = (Arc::clone(&inside), Arc::clone(&outside));
    thread::Builder::new().spawn(move || pass_on(&from_inside, &outside))?;
    thread::Builder::new().spawn(move || pass_on(&from_outside, &inside))?;
    Ok(())
}

fn pass_on(mut from: &UnixStream, mut to: &UnixStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
