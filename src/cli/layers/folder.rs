//! The files of a layer as directories, for drawing.

use std::collections::BTreeMap;

use kiln::images::{LayerFile, Lost};
use kiln::layer::TreePath;

/// A directory of a layer, or one of its files.
#[derive(Default)]
pub(super) struct Folder<'a> {
    /// Where.
    pub(super) path: TreePath,
    /// The bytes of all files.
    pub(super) bytes: u64,
    /// Those that are wasted.
    pub(super) wasted: u64,
    /// How many files it has.
    pub(super) files: u64,
    /// How the file was lost; of a directory nothing.
    pub(super) lost: Option<&'a Lost>,
    /// The largest first; nothing for a file.
    pub(super) children: Vec<Folder<'a>>,
}

impl<'a> Folder<'a> {
    /// Sorts files, of which those without bytes are left out.
    pub(super) fn of(files: &'a [LayerFile]) -> Self {
        let with_bytes: Vec<&LayerFile> = files.iter().filter(|file| file.bytes > 0).collect();
        Self::directory(TreePath::root(), &with_bytes, 0)
    }

    fn directory(path: TreePath, files: &[&'a LayerFile], depth: usize) -> Self {
        let mut names: BTreeMap<&[u8], Vec<&LayerFile>> = BTreeMap::new();
        for file in files {
            if let Some(name) = file.path.components().nth(depth) {
                names.entry(name).or_default().push(file);
            }
        }
        let child = |(name, files): (&[u8], Vec<&'a LayerFile>)| {
            let path = path.join(name)?;
            match files.as_slice() {
                [file] if file.path == path => Some(Self::file(file)),
                files => Some(Self::directory(path, files, depth + 1)),
            }
        };
        let mut children: Vec<Self> = names.into_iter().filter_map(child).collect();
        children.sort_by_key(|child| std::cmp::Reverse(child.bytes));
        let sum = |of: fn(&Self) -> u64| children.iter().map(of).fold(0, u64::saturating_add);
        let (bytes, wasted) = (sum(|child| child.bytes), sum(|child| child.wasted));
        let files = sum(|child| child.files);
        Self { path, bytes, wasted, files, lost: None, children }
    }

    fn file(file: &'a LayerFile) -> Self {
        let wasted = if file.lost.is_some() { file.bytes } else { 0 };
        Self {
            path: file.path.clone(),
            bytes: file.bytes,
            wasted,
            files: 1,
            lost: file.lost.as_ref(),
            children: Vec::new(),
        }
    }
}
