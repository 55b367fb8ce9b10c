//! Which snapshotter serves: overlays where they work, copies where they are refused.

use std::path::PathBuf;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::copied::Copied;
use super::overlaid::Overlaid;
use super::{Result, Snapshotter, flavour};
use crate::diagnostic::chain;
use crate::event::{Event, Reporter};
use crate::fs::PathError;
use crate::layer::OverlayXattrs;
use crate::sandbox::spec::{Network, Root};
use crate::sandbox::{self, Sandbox, try_root};
use crate::store::Store;

/// What is asked for: `--snapshotter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SnapshotterKind {
    /// Overlays, and copies where they are refused.
    #[default]
    Auto,
    /// Overlays, or an error.
    Overlay,
    /// Copies.
    Copy,
}

/// The snapshotter of one build.
///
/// With [`SnapshotterKind::Auto`] it is that of overlays until the sandbox fails: whoever sees it fail asks
/// [`Choice::falls_back`], and begins again if the answer is yes. Where overlays work, that costs nothing.
pub struct Choice<'a> {
    kind: SnapshotterKind,
    store: &'a Store,
    sandbox: &'a dyn Sandbox,
    reporter: &'a dyn Reporter,
    copies: AtomicBool,
    looked: Once,
}

impl<'a> Choice<'a> {
    /// Chooses nothing yet. `reporter` hears of it if copies take the place of overlays.
    pub fn new(
        kind: SnapshotterKind,
        store: &'a Store,
        sandbox: &'a dyn Sandbox,
        reporter: &'a dyn Reporter,
    ) -> Self {
        let copies = AtomicBool::new(kind == SnapshotterKind::Copy);
        Self { kind, store, sandbox, reporter, copies, looked: Once::new() }
    }

    /// Returns the snapshotter that serves now.
    pub fn get(&self) -> Result<&'static dyn Snapshotter> {
        // Without a sandbox the first command says why, and nothing else matters.
        let auto = self.kind == SnapshotterKind::Auto && sandbox::is_possible();
        if auto && !self.looked.is_completed() {
            let missing = lacks_attributes(self.store)?;
            self.looked.call_once(|| {
                if let Some(errno) = missing {
                    let why = std::io::Error::from(errno);
                    self.fall_back(&format!("overlays cannot mark directories there: {why}"));
                }
            });
        }
        Ok(if self.copies.load(Ordering::Acquire) { &Copied } else { &Overlaid })
    }

    /// Returns whether what `used` failed to do is to be tried again with [`Choice::get`]: the sandbox was refused an
    /// overlay, and would not be refused a copy.
    pub fn falls_back(&self, error: &sandbox::Error) -> bool {
        let refused = matches!(error, sandbox::Error::Setup { .. });
        if self.kind != SnapshotterKind::Auto || !refused || self.copies.load(Ordering::Acquire) {
            return false;
        }
        match probe(self.store, self.sandbox) {
            Ok(Probe { plain: Ok(()), overlay: Err(error) }) => {
                self.fall_back(&chain(&error));
                true
            }
            _ => false,
        }
    }

    fn fall_back(&self, why: &str) {
        if !self.copies.swap(true, Ordering::AcqRel) {
            let root = self.store.root().display();
            let message = format!(
                "commands work on copies of their file systems, which takes time and space: no overlays on `{root}`: {why}"
            );
            self.reporter.report(Event::Warning { message });
        }
    }
}

/// Returns why a file system cannot hold the attributes that overlays need, if it cannot.
fn lacks_attributes(store: &Store) -> Result<Option<Errno>> {
    let dir = store.scratch_dir()?;
    let name = match flavour().xattrs {
        OverlayXattrs::Trusted => "trusted.overlay.opaque",
        OverlayXattrs::User => "user.overlay.opaque",
    };
    let set = rustix::fs::setxattr(&dir, name, b"y", XattrFlags::empty());
    std::fs::remove_dir(&dir).map_err(PathError::of("remove", &dir))?;
    Ok(set.err().filter(|errno| matches!(*errno, Errno::OPNOTSUPP | Errno::PERM)))
}

/// What a sandbox said to each root.
pub struct Probe {
    /// A directory.
    pub plain: std::result::Result<(), sandbox::Error>,
    /// An overlay on the store's file system.
    pub overlay: std::result::Result<(), sandbox::Error>,
}

/// Mounts both in sandboxes that are thrown away.
pub fn probe(store: &Store, sandbox: &dyn Sandbox) -> Result<Probe> {
    let top = store.scratch_dir()?;
    let sub = |name: &str| -> Result<PathBuf> {
        let path = top.join(name);
        std::fs::create_dir(&path).map_err(PathError::of("create the directory", &path))?;
        Ok(path)
    };
    let plain = Root::Directory(sub("plain")?);
    let overlay =
        Root::Overlay { lower: vec![sub("lower")?], upper: sub("upper")?, work: sub("work")? };
    let probe = Probe {
        plain: try_root(sandbox, plain, Network::Host),
        overlay: try_root(sandbox, overlay, Network::Host),
    };
    // What is left is swept with the lease's scratch directory.
    let _ = crate::fs::remove_tree(&top);
    Ok(probe)
}
