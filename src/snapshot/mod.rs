//! Layers on this machine: what they change, and where their files are.
//!
//! A layer is named by the digest of its changes, so it is the same wherever it came from. It has one body at least:
//! a directory (`fs`, an overlay lower directory: what a RUN left, what an image was unpacked to), an uncompressed
//! tar (a blob named by the diff id: what COPY and ADD made) or that tar compressed (a blob: what COPY and ADD made that
//! only outputs wanted). Each can be made from any other; the directory only when something has to mount it.
//!
//! ```text
//! snapshots/<id>/changes    always there, and last: a directory without it is no layer
//! snapshots/<id>/diff-id    the digest of the tar, once it is known
//! snapshots/<id>/compressed the digest of the tar compressed, if that was its first body
//! snapshots/<id>/fs/        the files, if something had to mount them
//! ```
//!
//! Nothing is mounted here: [`Snapshots::directories`] and [`upper`] return what the sandbox is to mount.

mod body;
mod choice;
mod compressed;
mod copied;
pub mod files;
mod overlaid;
mod packing;
mod reduce;
pub mod upper;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use crate::digest::{ContentDigest, DiffId, Digest, DigestError, HashingWriter};
use crate::event::Cancel;
use crate::fs::{self, PathError};
use crate::layer::{
    Changes, Contents, DirectoryContents, Edit, Encoded, Flavour, LayerError, Metadata,
    OverlayXattrs, Owners, PackOptions, Tree, TreeContents, TreePath, materialise, pack,
    packed_size,
};
use crate::ownership::Owned;
use crate::sandbox::Remains;
use crate::sandbox::spec::{Root, Scratch};
use crate::store::{Store, StoreError};

use body::Body;
pub use choice::{Choice, Probe, SnapshotterKind, probe};
pub use compressed::{CompressedBlob, CompressedLayer, Recipe};
use upper::Upper;

/// A file system that a command starts with: a stack of layers and the tree that they make.
#[derive(Clone, Copy)]
pub struct Base<'a> {
    /// The whole.
    pub tree: &'a Tree,
    /// The layers, lowest first.
    pub layers: &'a [LayerId],
}

/// What a command writes to. It is thrown away with [`Workspace::discard`], or kept by [`Snapshotter::keep`].
pub struct Workspace {
    /// What the sandbox is to take for `/`.
    pub root: Root,
    upper: Upper,
    /// What a copy was when it was made.
    before: Option<copied::Before>,
}

impl Workspace {
    /// Throws it away.
    pub fn discard(self) {
        self.upper.discard();
    }
}

/// What a command has left that is not in its file system.
pub struct Left<'a> {
    /// What files cannot say of themselves.
    pub owned: &'a [Owned],
    /// Its mounts: to be dropped before the file system becomes a layer.
    pub remains: Remains,
}

/// How a tree is made ready to be mounted in a sandbox.
pub struct View {
    /// Directories to stack, uppermost first.
    pub lower: Vec<PathBuf>,
    /// Where writes go; `None`: it is read-only.
    pub scratch: Option<Scratch>,
}

/// Makes file systems for commands, and layers of what commands did to them.
///
/// All of them make the same layer of the same deeds: what decides is how the file system that a command leaves differs
/// from the one it started with.
pub trait Snapshotter: Send + Sync {
    /// Makes the file system that a command is to have for its own.
    fn prepare(&self, snapshots: Snapshots<'_>, base: Base<'_>) -> Result<Workspace>;

    /// Finds what a command changed and keeps it as a layer.
    fn keep(
        &self,
        snapshots: Snapshots<'_>,
        base: Base<'_>,
        workspace: Workspace,
        left: Left<'_>,
    ) -> Result<(LayerId, Changes)>;

    /// Makes a tree ready that a command sees beneath a mount point; what is written there is thrown away.
    fn view(&self, snapshots: Snapshots<'_>, base: Base<'_>, writable: bool) -> Result<View>;
}

/// How this process lays layers out on disk: as root with their owners; in a user namespace with the attributes
/// that overlayfs reads there, and with owners if it has a range of ids.
pub fn flavour() -> Flavour {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let ids: Vec<u64> = map.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let mapped: u64 = ids.chunks(3).filter_map(|range| range.get(2)).sum();
    match (rustix::process::geteuid().is_root(), ids.as_slice()) {
        (true, [0, 0, 4_294_967_295]) => Flavour::ROOT,
        (true, _) if mapped > 1 => {
            Flavour { xattrs: OverlayXattrs::User, owners: Owners::Recorded }
        }
        _ => Flavour::USER,
    }
}

/// Why a layer could not be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A path.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The layer itself.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A layer's name is no digest.
    #[error("`{0}` is no name of a layer")]
    Name(String, #[source] DigestError),
    /// Neither of a layer's bodies is there.
    #[error("the files of layer `{0}` are missing from the store")]
    Missing(LayerId),
}

/// A result of this module.
pub type Result<T> = std::result::Result<T, SnapshotError>;

/// Names a layer: the digest of its changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayerId(ContentDigest);

impl LayerId {
    fn of(changes: &Changes) -> Self {
        Self(changes.digest_of_encoding())
    }

    /// Parses the name that [`LayerId::name`] gave.
    pub fn parse(name: &str) -> Result<Self> {
        ContentDigest::from_hex(name)
            .map(Self)
            .map_err(|error| SnapshotError::Name(name.to_owned(), error))
    }

    /// Returns the name of the layer's directory.
    pub fn name(&self) -> String {
        self.0.hex()
    }
}

impl std::fmt::Display for LayerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name())
    }
}

/// A note in a layer's directory: the digest of its tar.
pub const DIFF_ID: &str = "diff-id";
/// Another: the digest of its tar, compressed.
pub const COMPRESSED: &str = "compressed";

/// What was made of a layer.
struct Made<'a> {
    files: Option<&'a Path>,
    diff_id: Option<DiffId>,
    compressed: Option<Digest>,
}

impl Made<'_> {
    fn notes(&self) -> impl Iterator<Item = (&'static str, String)> {
        let diff_id = self.diff_id.map(|id| (DIFF_ID, id.to_string()));
        let compressed = self.compressed.map(|digest| (COMPRESSED, digest.to_string()));
        diff_id.into_iter().chain(compressed)
    }
}

/// A layer that was read.
#[derive(Clone)]
pub struct StoredLayer {
    /// What it changes.
    pub changes: Arc<Changes>,
    /// Where its files can be read.
    pub contents: Arc<dyn Contents>,
}

/// The layers of a store.
#[derive(Clone, Copy)]
pub struct Snapshots<'a> {
    store: &'a Store,
    cancel: Option<&'a Cancel>,
    report: Option<&'a Report<'a>>,
}

/// Hears how much of a layer is packed: bytes so far, and in all.
pub type Report<'a> = dyn Fn(u64, u64) + Sync + 'a;

impl<'a> Snapshots<'a> {
    /// Opens the layers of a store.
    pub fn new(store: &'a Store) -> Self {
        Self { store, cancel: None, report: None }
    }

    /// The same, for work that ends with an error once the user asks to stop.
    #[must_use]
    pub fn until(self, cancel: &'a Cancel) -> Self {
        Self { cancel: Some(cancel), ..self }
    }

    /// The same, for work that says how far it has come if it takes a while.
    #[must_use]
    pub fn telling(self, report: &'a Report<'a>) -> Self {
        Self { report: Some(report), ..self }
    }

    /// Returns what may stop work.
    fn canceled_by(&self) -> Cancel {
        self.cancel.cloned().unwrap_or_default()
    }

    fn dir(&self, id: LayerId) -> PathBuf {
        self.store.snapshot_dir(&id.name())
    }

    /// Reads the encoding of what a layer changes.
    pub fn encoded(&self, id: LayerId) -> Result<Vec<u8>> {
        Ok(fs::read(&self.dir(id).join("changes"))?)
    }

    /// Reads what a layer changes.
    pub fn changes(&self, id: LayerId) -> Result<Changes> {
        Ok(Changes::decode(&self.encoded(id)?)?)
    }

    /// Reads a layer.
    pub fn load(&self, id: LayerId) -> Result<StoredLayer> {
        let changes = self.changes(id)?;
        let contents = self.contents(id, &changes)?;
        Ok(StoredLayer { changes: Arc::new(changes), contents })
    }

    /// Returns a tree with a layer on it.
    pub fn stack(&self, tree: &Tree, id: LayerId) -> Result<Tree> {
        let layer = self.load(id)?;
        Ok(tree.apply(&layer.changes, &layer.contents)?)
    }

    /// Keeps a layer whose files are in a scratch directory, which is moved away.
    pub fn commit_directory(
        &self,
        changes: &Changes,
        files: &Path,
        diff_id: Option<DiffId>,
    ) -> Result<LayerId> {
        self.place(changes, &Made { files: Some(files), diff_id, compressed: None })
    }

    fn place(&self, changes: &Changes, body: &Made<'_>) -> Result<LayerId> {
        let id = LayerId::of(changes);
        let place = self.dir(id);
        if self.store.has_snapshot(&id.name()) {
            self.add_missing(id, body)?;
            return Ok(id);
        }
        let made = self.store.scratch_dir()?;
        if let Some(files) = body.files {
            fs::rename(files, &made.join("fs"))?;
        }
        for (name, text) in body.notes() {
            write(&made.join(name), text.as_bytes())?;
        }
        let record = made.join("changes");
        let fail = PathError::of("write", &record);
        let mut file = std::fs::File::create_new(&record).map_err(&fail)?;
        changes.write(&mut file).map_err(&fail)?;
        let put = || std::fs::rename(&made, &place);
        match self.store.place(&format!("snapshots/{}", id.name()), put) {
            Ok(()) => Ok(id),
            // Another process was faster with the very same layer.
            Err(_) if self.store.has_snapshot(&id.name()) => Ok(id),
            Err(error) => Err(PathError::of("create", &place)(error).into()),
        }
    }

    /// A layer that is there already may lack the body that was just made.
    fn add_missing(&self, id: LayerId, body: &Made<'_>) -> Result<()> {
        let place = self.dir(id);
        if let Some(files) = body.files.filter(|_| !place.join("fs").exists()) {
            // A failure means that another process was faster.
            let put = || std::fs::rename(files, place.join("fs"));
            let _ = self.store.place(&format!("snapshots/{}", id.name()), put);
        }
        for (name, text) in body.notes() {
            if self.read_note(id, name)?.as_ref() != Some(&text) {
                self.write_note(id, name, &text)?;
            }
        }
        Ok(())
    }

    fn write_note(&self, id: LayerId, name: &str, text: &str) -> Result<()> {
        Ok(fs::replace(&self.dir(id).join(name), text.as_bytes(), self.store.scratch())?)
    }

    fn read_note<T: FromStr>(&self, id: LayerId, name: &str) -> Result<Option<T>> {
        let text = fs::read_if_present(&self.dir(id).join(name))?;
        Ok(text.and_then(|bytes| std::str::from_utf8(&bytes).ok()?.parse().ok()))
    }

    /// Returns the diff id of a layer, packing it for nothing but its digest if that was never done.
    pub fn diff_id(&self, id: LayerId) -> Result<DiffId> {
        if let Some(known) = self.read_note(id, DIFF_ID)? {
            return Ok(known);
        }
        let layer = self.load(id)?;
        let diff_id = hash(&layer.changes, &*layer.contents)?;
        self.write_note(id, DIFF_ID, &diff_id.to_string())?;
        Ok(diff_id)
    }

    /// Returns the diff id of a layer that is to be kept if that takes no longer than to ask somebody else for it: its
    /// files are in a directory.
    fn diff_id_of_few(&self, changes: &Changes, files: &Path) -> Result<Option<DiffId>> {
        const FEW: (usize, u64) = (32, 64 << 10);
        if changes.len() > FEW.0 || changes.content_size() > FEW.1 {
            return Ok(None);
        }
        Ok(Some(hash(changes, &DirectoryContents::open(files)?)?))
    }

    /// Returns whether a layer's diff id was found already.
    pub fn knows_diff_id(&self, id: LayerId) -> bool {
        self.dir(id).join(DIFF_ID).exists()
    }

    /// Returns the size of a layer's tar in bytes.
    pub fn tar_size(&self, id: LayerId) -> Result<u64> {
        Ok(packed_size(&self.changes(id)?)?)
    }

    /// Writes a layer's tar.
    pub fn pack(&self, id: LayerId, options: &PackOptions, out: &mut dyn Write) -> Result<()> {
        if let (None, Body::Compressed(blob)) = (options.latest, self.body(id)?) {
            return Ok(body::inflate(&blob, &self.canceled_by(), out)?);
        }
        let layer = self.load(id)?;
        pack(&layer.changes, &*layer.contents, options, out)?;
        Ok(())
    }

    /// Returns a layer's files as a directory, writing it if nobody needed it before.
    pub fn directory(&self, id: LayerId) -> Result<PathBuf> {
        let place = self.dir(id).join("fs");
        if place.exists() {
            return Ok(place);
        }
        let changes = Encoded::new(self.encoded(id)?)?;
        let contents = self.contents(id, &changes)?;
        let made = self.store.scratch_dir()?;
        materialise(&changes, &*contents, &made, flavour())?;
        let put = || std::fs::rename(&made, &place);
        match self.store.place(&format!("snapshots/{}", id.name()), put) {
            Ok(()) => Ok(place),
            Err(_) if place.exists() => Ok(place),
            Err(error) => Err(PathError::of("create", &place)(error).into()),
        }
    }

    /// Returns a directory that holds what `changes` put, kept as a layer of its own and written only once.
    pub fn keep_directory(&self, changes: &Changes, contents: &dyn Contents) -> Result<PathBuf> {
        let id = LayerId::of(changes);
        let place = self.dir(id).join("fs");
        if !self.store.has_snapshot(&id.name()) || !place.exists() {
            let made = self.store.scratch_dir()?;
            materialise(changes, contents, &made, flavour())?;
            self.commit_directory(changes, &made, None)?;
        }
        Ok(place)
    }

    /// Returns a directory that holds a whole tree, kept as a layer of its own and written only once.
    pub fn keep_tree(&self, tree: &Tree) -> Result<PathBuf> {
        let mut edit = Edit::new(Tree::empty());
        edit.graft(tree, &TreePath::root(), &TreePath::root())?;
        let (_, changes) = edit.finish();
        self.keep_directory(&changes, &TreeContents(tree.clone()))
    }

    /// Returns the directories of a stack of layers, uppermost first, as an overlay wants them.
    pub fn directories(&self, layers: &[LayerId]) -> Result<Vec<PathBuf>> {
        let mut seen = std::collections::BTreeSet::new();
        let mut directories = Vec::with_capacity(layers.len());
        for id in layers.iter().rev() {
            // An overlay refuses the same directory twice; below itself a layer changes nothing.
            if seen.insert(*id) {
                directories.push(self.directory(*id)?);
            }
        }
        Ok(directories)
    }
}

/// The metadata of a directory that kiln makes for itself.
pub fn plain_directory() -> Metadata {
    Metadata { mode: 0o755, ..Metadata::default() }
}

/// Packs a layer for nothing but the digest of its tar.
fn hash(changes: &Changes, contents: &dyn Contents) -> Result<DiffId> {
    let mut hasher = HashingWriter::new(io::sink());
    pack(changes, contents, &PackOptions::default(), &mut hasher)?;
    Ok(hasher.into_parts().1.diff_id())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    Ok(std::fs::write(path, bytes).map_err(PathError::of("write", path))?)
}
