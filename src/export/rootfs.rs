//! The root file system by itself, as a directory or a tar; of several platforms each in a directory of its own, named
//! `linux_arm64`, or all in one if that is asked for and no file is in two of them.
//!
//! A directory belongs to whoever runs kiln, as the reference's local exporter has it; owners, capabilities, and
//! devices that this user cannot make are left out. A tar has everything.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::io::BufWriter;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, XattrFlags, makedev, mknodat};
use rustix::io::Errno;

use super::image::Image;
use super::place::Unfinished;
use super::product::{self, Finished, Product};
use super::{Dest, ExportError, Exporter, Output, Result};
use crate::fs::{self, PathError};
use crate::layer::{
    Edit, LayerError, LinkGroup, Metadata, Node, NodeKind, PackOptions, Timestamp, Tree,
    TreeContents, TreePath, pack,
};
use crate::oci::Platform;
use crate::snapshot::Snapshots;

fn whole(exporter: &Exporter<'_>, image: &Image) -> Result<Tree> {
    let snapshots = Snapshots::new(exporter.store).until(exporter.cancel);
    let mut tree = Tree::empty();
    for layer in &image.layers {
        tree = snapshots.stack(&tree, layer.id)?;
    }
    Ok(tree)
}

/// Names what could not be written to, which packing does not know.
fn written_to(error: LayerError, name: impl FnOnce(std::io::Error) -> ExportError) -> ExportError {
    match error {
        LayerError::Write(error) => name(error),
        error => error.into(),
    }
}

/// The directory of a platform's files.
fn directory_of(platform: &Platform) -> String {
    platform.format_all().replace('/', "_")
}

/// What a directory that stands for a platform has.
fn platform_directory(epoch: Option<i64>) -> Metadata {
    let mtime = Timestamp { seconds: epoch.unwrap_or(0), nanoseconds: 0 };
    Metadata { mode: 0o755, mtime, ..Metadata::default() }
}

/// All that goes into a tar. As in the reference, several platforms are always apart in one.
fn together(exporter: &Exporter<'_>, product: &Product) -> Result<Tree> {
    if let ([(_, image)], false) = (product.images.as_slice(), product.is_index) {
        return whole(exporter, image);
    }
    let mut edit = Edit::new(Tree::empty());
    for (platform, image) in &product.images {
        let tree = whole(exporter, image)?;
        let directory = TreePath::clean(directory_of(platform)).unwrap_or_default();
        edit.mkdir_all(&directory, &platform_directory(image.epoch))?;
        edit.graft(&tree, &TreePath::root(), &directory)?;
    }
    Ok(edit.finish().0)
}

pub(super) fn export_tar(
    exporter: &Exporter<'_>,
    product: &Product,
    output: &Output,
) -> Result<Finished> {
    let tree = together(exporter, product)?;
    let changes = tree.changes_since(&Tree::empty());
    let contents = TreeContents(tree);
    let options = PackOptions { latest: product.epoch() };
    match &output.dest {
        Some(Dest::Stdout) => {
            let mut out = BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
            let packed = pack(&changes, &contents, &options, &mut out);
            packed.map_err(|error| written_to(error, ExportError::Stdout))?;
            std::io::Write::flush(&mut out).map_err(ExportError::Stdout)?;
        }
        Some(Dest::Path(path)) => {
            let file = Unfinished::at(path)?;
            let mut out = BufWriter::with_capacity(1 << 20, file);
            let fail = PathError::of("write", path);
            let packed = pack(&changes, &contents, &options, &mut out);
            packed.map_err(|error| written_to(error, |error| fail(error).into()))?;
            let file =
                out.into_inner().map_err(|e| PathError::of("write", path)(e.into_error()))?;
            file.persist()?;
        }
        None => {
            return Err(ExportError::Format("this output needs a destination: `dest=PATH`".into()));
        }
    }
    product::finish(exporter, product, &described(output))
}

pub(super) fn export_directory(
    exporter: &Exporter<'_>,
    product: &Product,
    output: &Output,
) -> Result<Finished> {
    let Some(Dest::Path(path)) = &output.dest else {
        return Err(ExportError::Format("this output needs a directory: `dest=DIRECTORY`".into()));
    };
    let trees = product.images.iter().map(|(_, image)| whole(exporter, image));
    let trees = trees.collect::<Result<Vec<_>>>()?;
    let split = output.platform_split.unwrap_or(product.is_index);
    if !split {
        refuse_common_files(product, &trees)?;
    }
    fs::create_dir_all(path)?;
    for ((platform, image), tree) in product.images.iter().zip(&trees) {
        let root = if split { path.join(directory_of(platform)) } else { path.clone() };
        let target = Target { tree, root: &root, epoch: image.epoch, links: RefCell::default() };
        fs::create_dir_all(&root)?;
        write_children(tree.root(), &TreePath::root(), &target)?;
        if split {
            let meta = platform_directory(image.epoch);
            describe(&root, &Node::directory(meta), &target)?;
        }
    }
    product::finish(exporter, product, &described(output))
}

/// Refuses trees of which two have something at one place, unless both have a directory there.
fn refuse_common_files(product: &Product, trees: &[Tree]) -> Result<()> {
    let mut seen: BTreeMap<TreePath, (&Platform, bool)> = BTreeMap::new();
    for ((platform, _), tree) in product.images.iter().zip(trees) {
        for (path, node) in tree.walk(&TreePath::root()) {
            let there = (platform, node.is_directory());
            match seen.insert(path.clone(), there) {
                Some((other, was_directory)) if !(was_directory && there.1) => {
                    return Err(ExportError::Format(format!(
                        "`{path}` is there for {other} and for {platform}, and `platform-split=false` asks for one \
                         directory"
                    )));
                }
                Some(_) | None => {}
            }
        }
    }
    Ok(())
}

/// The image that a plain root file system would be, for its digest.
fn described(output: &Output) -> Output {
    Output { kind: super::OutputKind::Image, ..output.clone() }
}

struct Target<'a> {
    tree: &'a Tree,
    root: &'a Path,
    epoch: Option<i64>,
    /// Where the first name of each linked file was written.
    links: RefCell<HashMap<LinkGroup, PathBuf>>,
}

fn write_children(node: &Node, at: &TreePath, target: &Target<'_>) -> Result<()> {
    for (name, child) in node.children().into_iter().flatten() {
        let Some(path) = at.join(name) else { continue };
        write_node(child, &path, target)?;
    }
    Ok(())
}

fn write_node(node: &Node, path: &TreePath, target: &Target<'_>) -> Result<()> {
    let place = target.root.join(path.as_path());
    let there = place.symlink_metadata().ok();
    let keeps = node.is_directory() && there.as_ref().is_some_and(std::fs::Metadata::is_dir);
    match there {
        Some(there) if there.is_dir() && !keeps => fs::remove_tree(&place)?,
        Some(there) if !there.is_dir() => fs::remove_file(&place)?,
        Some(_) | None => {}
    }
    match node.body() {
        NodeKind::Directory(_) => {
            if !keeps {
                std::fs::create_dir(&place)
                    .map_err(PathError::of("create the directory", &place))?;
            }
            write_children(node, path, target)?;
        }
        NodeKind::File { .. } => {
            if link(node, &place, target)? {
                return Ok(());
            }
            let mut content = target.tree.open(path)?;
            let mut file = fs::create_new(&place)?;
            std::io::copy(&mut content, &mut file).map_err(PathError::of("write", &place))?;
        }
        NodeKind::Symlink { target: link } => {
            std::os::unix::fs::symlink(OsStr::from_bytes(link), &place)
                .map_err(PathError::of("create the link", &place))?;
            return set_time(&place, node.meta().mtime, target.epoch);
        }
        NodeKind::Fifo | NodeKind::CharDevice { .. } | NodeKind::BlockDevice { .. } => {
            if !make_special(&place, node)? {
                return Ok(());
            }
        }
    }
    describe(&place, node, target)
}

fn describe(place: &Path, node: &Node, target: &Target<'_>) -> Result<()> {
    for (name, value) in node.meta().xattrs.iter().filter(|(name, _)| name.starts_with(b"user.")) {
        // Not every file system has them, and not for every kind of file.
        let _ = rustix::fs::setxattr(place, name.as_slice(), value, XattrFlags::empty());
    }
    rustix::fs::chmod(place, Mode::from_raw_mode(node.meta().mode))
        .map_err(PathError::of("change the mode of", place))?;
    set_time(place, node.meta().mtime, target.epoch)
}

/// Makes another name of a file that is there already; returns whether it was.
fn link(node: &Node, place: &Path, target: &Target<'_>) -> Result<bool> {
    let Some(group) = node.group() else { return Ok(false) };
    let mut links = target.links.borrow_mut();
    let Some(first) = links.get(group) else {
        links.insert(group.clone(), place.to_owned());
        return Ok(false);
    };
    std::fs::hard_link(first, place).map_err(PathError::of("link", place))?;
    Ok(true)
}

/// Makes a pipe or device; returns `false` if it is a device and this user may not.
fn make_special(place: &Path, node: &Node) -> Result<bool> {
    let (kind, (major, minor)) = match node.body() {
        NodeKind::CharDevice { major, minor } => (FileType::CharacterDevice, (*major, *minor)),
        NodeKind::BlockDevice { major, minor } => (FileType::BlockDevice, (*major, *minor)),
        NodeKind::Fifo
        | NodeKind::File { .. }
        | NodeKind::Symlink { .. }
        | NodeKind::Directory(_) => (FileType::Fifo, (0, 0)),
    };
    match mknodat(CWD, place, kind, Mode::RUSR | Mode::WUSR, makedev(major, minor)) {
        Ok(()) => Ok(true),
        Err(Errno::PERM) if kind != FileType::Fifo => Ok(false),
        Err(errno) => Err(PathError::of("create", place)(errno).into()),
    }
}

fn set_time(place: &Path, mtime: Timestamp, epoch: Option<i64>) -> Result<()> {
    use rustix::fs::{AtFlags, Timespec, Timestamps, utimensat};
    let time = match epoch {
        Some(epoch) => Timespec { tv_sec: epoch, tv_nsec: 0 },
        None => Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanoseconds.into() },
    };
    let times = Timestamps { last_access: time, last_modification: time };
    let set = utimensat(CWD, place, &times, AtFlags::SYMLINK_NOFOLLOW);
    Ok(set.map_err(PathError::of("set the time of", place))?)
}
