//! Tars as kiln writes them, read by somebody else: the `tar` crate.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

/// An entry of a tar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// As written: no leading slash, directories end in one.
    pub(crate) path: Vec<u8>,
    /// `-` for a file, `h` for a hard link, else as `ls` has it.
    pub(crate) kind: char,
    /// Permissions with setuid, setgid and sticky bit.
    pub(crate) mode: u32,
    pub(crate) owner: (u64, u64),
    /// Seconds.
    pub(crate) mtime: u64,
    /// Of a link.
    pub(crate) target: Vec<u8>,
    /// Of a device.
    pub(crate) device: Option<(u32, u32)>,
    /// The extended attributes.
    pub(crate) xattrs: Vec<(String, Vec<u8>)>,
    pub(crate) content: Vec<u8>,
}

impl Entry {
    /// All but time and content, e.g. `- 644 0:0 etc/hosts`.
    pub(crate) fn line(&self) -> String {
        let (path, target) = (self.path.escape_ascii(), self.target.escape_ascii());
        let (uid, gid) = self.owner;
        let mut line = format!("{} {:o} {uid}:{gid} {path}", self.kind, self.mode);
        match (self.device, self.kind) {
            (Some((major, minor)), _) => line += &format!(" {major}:{minor}"),
            (None, 'l') => line += &format!(" -> {target}"),
            (None, 'h') => line += &format!(" = {target}"),
            (None, _) => {}
        }
        let names: String = self.xattrs.iter().map(|(name, _)| format!(" +{name}")).collect();
        line + &names
    }
}

/// Reads a tar.
pub(crate) fn entries(tar: impl Read) -> Vec<Entry> {
    let mut archive = tar::Archive::new(tar);
    archive.entries().unwrap().map(|entry| read(entry.unwrap())).collect()
}

fn read<R: Read>(mut entry: tar::Entry<'_, R>) -> Entry {
    let mut content = Vec::new();
    entry.read_to_end(&mut content).unwrap();
    let mut xattrs = Vec::new();
    for extension in entry.pax_extensions().unwrap().into_iter().flatten() {
        let extension = extension.unwrap();
        if let Some(name) = extension.key().unwrap().strip_prefix("SCHILY.xattr.") {
            xattrs.push((name.to_owned(), extension.value_bytes().to_vec()));
        }
    }
    let header = entry.header();
    let kind = match header.entry_type() {
        tar::EntryType::Regular => '-',
        tar::EntryType::Link => 'h',
        tar::EntryType::Symlink => 'l',
        tar::EntryType::Char => 'c',
        tar::EntryType::Block => 'b',
        tar::EntryType::Directory => 'd',
        tar::EntryType::Fifo => 'p',
        other => panic!("an entry of type {other:?} in a layer"),
    };
    let numbers = header.device_major().unwrap().zip(header.device_minor().unwrap());
    Entry {
        path: entry.path_bytes().into_owned(),
        kind,
        mode: header.mode().unwrap(),
        owner: (header.uid().unwrap(), header.gid().unwrap()),
        mtime: header.mtime().unwrap(),
        target: entry.link_name_bytes().map_or(Vec::new(), std::borrow::Cow::into_owned),
        device: numbers.filter(|_| matches!(kind, 'b' | 'c')),
        xattrs,
        content,
    }
}

/// An image as `--output type=oci` writes it into a tar.
pub(crate) struct Layout {
    files: HashMap<Vec<u8>, Vec<u8>>,
}

impl Layout {
    pub(crate) fn read(path: &Path) -> Self {
        let file = std::fs::File::open(path).unwrap();
        let files = entries(file).into_iter().map(|entry| (entry.path, entry.content));
        Self { files: files.collect() }
    }

    /// A file of the layout.
    pub(crate) fn file(&self, name: &str) -> &[u8] {
        self.files.get(name.as_bytes()).unwrap_or_else(|| panic!("no `{name}` in the layout"))
    }

    fn json(&self, name: &str) -> serde_json::Value {
        serde_json::from_slice(self.file(name)).unwrap()
    }

    fn blob(descriptor: &serde_json::Value) -> String {
        descriptor["digest"].as_str().unwrap().replace("sha256:", "blobs/sha256/")
    }

    /// The image's manifest.
    pub(crate) fn manifest(&self) -> serde_json::Value {
        self.json(&Self::blob(&self.json("index.json")["manifests"][0]))
    }

    /// The image's config.
    pub(crate) fn config(&self) -> serde_json::Value {
        self.json(&Self::blob(&self.manifest()["config"]))
    }

    /// The layers, which must be uncompressed.
    pub(crate) fn layers(&self) -> Vec<Vec<Entry>> {
        let manifest = self.manifest();
        let layers = manifest["layers"].as_array().unwrap();
        layers.iter().map(|layer| entries(self.file(&Self::blob(layer)))).collect()
    }
}
