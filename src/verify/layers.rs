//! Layers: the changes against the layer's id, the files against the changes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

use super::place::{Place, examine, judge, kind, list};
use super::{Amount, Reader, Result, VerifyError, files};
use crate::digest::{ContentDigest, DiffId, Digest, HashingWriter};
use crate::fs::{open_unmarked, read_unmarked};
use crate::layer::{Changes, PackOptions, TarContents, decoder, pack, packed_size};
use crate::snapshot::{COMPRESSED, DIFF_ID, LayerId, flavour};
use crate::store::Store;

const DIRECTORY: &str = "snapshots";

/// A layer's directory of files.
#[derive(Debug, Default)]
pub(super) enum Part {
    #[default]
    Absent,
    Sound,
    Damaged(Place, String),
}

/// A layer whose changes are what they should be.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) place: Place,
    pub(super) files: Part,
    /// Notes that note nothing, each with what is wrong.
    pub(super) notes: Vec<(Place, String)>,
    /// Any of them has its files, if it is sound.
    pub(super) blobs: Vec<Digest>,
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Layers {
    /// By name.
    pub(super) sound: BTreeMap<String, Layer>,
    /// Those of which nothing can be used, each with what is wrong.
    pub(super) damaged: Vec<(Place, String)>,
}

pub(super) fn read(reader: &Reader<'_>, amount: &mut Amount) -> Result<Layers> {
    let root = reader.store.root();
    let entries = list(root, DIRECTORY)?;
    let mut layers = Layers::default();
    for (place, _) in entries {
        reader.go_on()?;
        (reader.progress)("files of layers", amount.bytes, 0);
        amount.layers += 1;
        let name = place.path.rsplit('/').next().unwrap_or_default().to_owned();
        // Whatever comes into a directory is written down in its own time.
        if place.is_before(reader.since) && root.join(&place.path).join("changes").exists() {
            layers.sound.insert(name, known(root, place)?);
            continue;
        }
        match changes(&root.join(&place.path), &name)? {
            Ok(changes) => {
                let layer = one(reader, place, &changes, amount)?;
                layers.sound.insert(name, layer);
            }
            // What is gone meanwhile was whole.
            Err(_) if !place.is_there(root)? => amount.layers -= 1,
            Err(problem) => layers.damaged.push((place, problem)),
        }
    }
    Ok(layers)
}

fn changes(directory: &Path, name: &str) -> Result<std::result::Result<Changes, String>> {
    let Ok(id) = LayerId::parse(name) else { return Ok(Err("is no layer".to_owned())) };
    let path = directory.join("changes");
    if !examine(&path)?.is_some_and(|stat| kind(&stat).is_file()) {
        return Ok(Err("has no list of its changes".to_owned()));
    }
    let bytes = match read_unmarked(&path, u64::MAX) {
        Ok(bytes) => bytes.unwrap_or_default(),
        Err(error) => return Ok(Err(judge(error)?)),
    };
    let is_it = ContentDigest::of(&bytes).hex() == id.name();
    Ok(match Changes::decode(&bytes) {
        Ok(changes) if is_it => Ok(changes),
        _ => Err("has a damaged list of its changes".to_owned()),
    })
}

fn one(reader: &Reader<'_>, place: Place, changes: &Changes, amount: &mut Amount) -> Result<Layer> {
    let root = reader.store.root();
    let Notes { tar, compressed, damaged } = Notes::read(root, &place)?;
    let path = format!("{}/fs", place.path);
    let mut files = Part::Absent;
    if let Some(stat) = examine(&root.join(&path))? {
        let compared = files::compare(reader, &root.join(&path), changes, flavour());
        // What another process moves away is not damaged.
        let body = Place::new(path, &stat);
        let is_there = || body.is_there(root);
        files = match compared {
            Err(VerifyError::Path(error)) if !is_there()? && error.is_not_found() => Part::Absent,
            Err(error) => return Err(error),
            Ok(compared) => {
                amount.files += compared.files;
                amount.bytes += compared.bytes;
                match compared.problem {
                    None => Part::Sound,
                    Some(_) if !is_there()? => Part::Absent,
                    Some(problem) => Part::Damaged(body, problem),
                }
            }
        };
    }
    let blobs = match (&files, tar) {
        (Part::Sound, _) => tar.into_iter().chain(compressed).collect(),
        (_, None) => Vec::new(),
        // Then a blob is all there is, and it must be this layer's.
        (Part::Absent | Part::Damaged(..), Some(tar)) => {
            let is_its = |blob: &Digest| match open_plain(reader.store, blob, &tar, changes) {
                Some(file) => is_packed(file, changes, &tar),
                None => false,
            };
            [tar].into_iter().chain(compressed).filter(is_its).collect()
        }
    };
    Ok(Layer { place, files, notes: damaged, blobs })
}

/// A layer that was known to be on the disk when the machine stopped.
fn known(root: &Path, place: Place) -> Result<Layer> {
    let Notes { tar, compressed, damaged } = Notes::read(root, &place)?;
    let has_files = root.join(&place.path).join("fs").exists();
    let files = if has_files { Part::Sound } else { Part::Absent };
    Ok(Layer { place, files, notes: damaged, blobs: tar.into_iter().chain(compressed).collect() })
}

/// What is noted in a layer's directory.
#[derive(Default)]
struct Notes {
    tar: Option<Digest>,
    compressed: Option<Digest>,
    damaged: Vec<(Place, String)>,
}

impl Notes {
    fn read(root: &Path, layer: &Place) -> Result<Self> {
        let mut notes = Self::default();
        let tar: Option<DiffId> = notes.one(root, layer, DIFF_ID)?;
        notes.tar = tar.map(|id| Digest::from_bytes(*id.as_bytes()));
        notes.compressed = notes.one(root, layer, COMPRESSED)?;
        Ok(notes)
    }

    fn one<T: FromStr>(&mut self, root: &Path, layer: &Place, name: &str) -> Result<Option<T>> {
        let path = format!("{}/{name}", layer.path);
        let Some(stat) = examine(&root.join(&path))? else { return Ok(None) };
        let read = match kind(&stat).is_file() {
            true => read_unmarked(&root.join(&path), 1024),
            false => Ok(None),
        };
        let what = if name == DIFF_ID { "its tar" } else { "its tar, compressed" };
        let problem = match read {
            Ok(bytes) => {
                let text = String::from_utf8(bytes.unwrap_or_default()).unwrap_or_default();
                match text.parse() {
                    Ok(noted) => return Ok(Some(noted)),
                    Err(_) => format!("notes no digest of {what}"),
                }
            }
            Err(error) => format!("its note of the digest of {what} {}", judge(error)?),
        };
        self.damaged.push((Place::new(path, &stat), problem));
        Ok(None)
    }
}

/// Opens a blob that is a layer's tar, or what it is compressed from.
fn open_plain(store: &Store, blob: &Digest, tar: &Digest, changes: &Changes) -> Option<File> {
    let file = open_unmarked(&store.blob_path(blob)).ok()??;
    if blob == tar {
        return Some(file);
    }
    let mut plain = tempfile::tempfile_in(store.scratch()).ok()?;
    // One byte more tells what is too long.
    let most = packed_size(changes).ok()?.saturating_add(1);
    std::io::copy(&mut decoder(file).ok()?.take(most), &mut plain).ok()?;
    Some(plain)
}

/// Returns whether a tar is what packing the changes gives. Whatever goes wrong, then it is of no use.
fn is_packed(file: File, changes: &Changes, tar: &Digest) -> bool {
    let size = file.metadata().map(|meta| meta.len()).ok();
    if size.is_none() || size != packed_size(changes).ok() {
        return false;
    }
    let options = PackOptions::default();
    let Ok(contents) = TarContents::of_pack(file, changes, &options) else { return false };
    let mut hasher = HashingWriter::new(std::io::sink());
    let packed = pack(changes, &contents, &options, &mut hasher);
    packed.is_ok() && hasher.into_parts().1.digest() == *tar
}
