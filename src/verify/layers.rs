//! Layers: the changes against the layer's id, the files against the changes.

use std::collections::BTreeMap;
use std::path::Path;

use super::place::{Place, examine, judge, kind, list};
use super::{Amount, Reader, Result, VerifyError, files};
use crate::digest::{ContentDigest, DiffId, Digest, HashingWriter};
use crate::fs::{open_unmarked, read_unmarked};
use crate::layer::{Changes, PackOptions, TarContents, pack, packed_size};
use crate::snapshot::{LayerId, flavour};

const DIRECTORY: &str = "snapshots";

/// One of a layer's bodies, or the note of its tar's digest.
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
    pub(super) note: Part,
    /// By the note.
    pub(super) tar: Option<Digest>,
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
    let (tar, note) = note(root, &place)?;
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
    let tar = match &files {
        Part::Sound => tar,
        // Then the tar is all there is, and it must be this layer's.
        Part::Absent | Part::Damaged(..) => {
            tar.filter(|tar| is_packed(&reader.store.blob_path(tar), changes, tar))
        }
    };
    Ok(Layer { place, files, note, tar })
}

/// A layer that was known to be on the disk when the machine stopped.
fn known(root: &Path, place: Place) -> Result<Layer> {
    let (tar, note) = note(root, &place)?;
    let has_files = root.join(&place.path).join("fs").exists();
    let files = if has_files { Part::Sound } else { Part::Absent };
    Ok(Layer { place, files, note, tar })
}

/// Reads the note of the digest of a layer's tar.
fn note(root: &Path, layer: &Place) -> Result<(Option<Digest>, Part)> {
    let path = format!("{}/diff-id", layer.path);
    let Some(stat) = examine(&root.join(&path))? else { return Ok((None, Part::Absent)) };
    let read = match kind(&stat).is_file() {
        true => read_unmarked(&root.join(&path), 1024),
        false => Ok(None),
    };
    let problem = match read {
        Ok(bytes) => {
            let text = String::from_utf8(bytes.unwrap_or_default()).unwrap_or_default();
            match text.parse::<DiffId>() {
                Ok(id) => return Ok((Some(Digest::from_bytes(*id.as_bytes())), Part::Sound)),
                Err(_) => "notes no digest of its tar".to_owned(),
            }
        }
        Err(error) => format!("its note of the digest of its tar {}", judge(error)?),
    };
    Ok((None, Part::Damaged(Place::new(path, &stat), problem)))
}

/// Returns whether a tar is what packing the changes gives. Whatever goes wrong, then it is of no use.
fn is_packed(path: &Path, changes: &Changes, tar: &Digest) -> bool {
    let Ok(Some(file)) = open_unmarked(path) else { return false };
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
