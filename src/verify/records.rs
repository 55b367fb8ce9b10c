//! Records: the checksum, whether they count, and what they name.

use rustix::fs::{FileType, Stat};

use super::place::{Place, judge, kind, list};
use super::{Amount, Reader, Result};
use crate::cache::{LastBuild, StepRecord};
use crate::digest::{ChainId, Digest};
use crate::fs::read_unmarked;
use crate::oci::Reference;
use crate::snapshot::LayerId;
use crate::source::context::{reads_context, reads_selections};
use crate::source::names;
use crate::store::{Judged, RecordKind};

/// Something that a record leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Need {
    Blob(Digest),
    /// By name.
    Layer(String),
    /// A manifest or index with all that belongs to it.
    Image(Digest),
}

/// A record that says something.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) place: Place,
    pub(super) kind: RecordKind,
    /// What people call it: an image's name, else the file's.
    pub(super) name: String,
    /// What else is known of it.
    pub(super) about: Option<String>,
    pub(super) needs: Vec<Need>,
    /// Of a chain: which layer is its uppermost.
    pub(super) chain: Option<(ChainId, String)>,
    /// Of a blob that some repository has.
    pub(super) elsewhere: Option<Digest>,
    /// Its body, if it does not count because the machine stopped.
    pub(super) unsettled: Option<Vec<u8>>,
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) sound: Vec<Record>,
    /// Those that say nothing: where, of which kind, under which name, and what is wrong.
    pub(super) damaged: Vec<(Place, RecordKind, String, String)>,
}

pub(super) fn read(reader: &Reader<'_>, amount: &mut Amount) -> Result<Records> {
    let mut records = Records::default();
    for kind in RecordKind::ALL {
        let directory = format!("records/{}", kind.directory());
        read_in(reader, &directory, kind, &mut records)?;
        amount.records = (records.sound.len() + records.damaged.len()) as u64;
    }
    Ok(records)
}

fn read_in(
    reader: &Reader<'_>,
    directory: &str,
    of: RecordKind,
    records: &mut Records,
) -> Result<()> {
    reader.go_on()?;
    let is_split = of == RecordKind::Step && directory.matches('/').count() == 1;
    for (place, stat) in list(reader.store.root(), directory)? {
        if is_split && kind(&stat) == FileType::Directory {
            read_in(reader, &place.path, of, records)?;
            continue;
        }
        let name = place.path.rsplit('/').next().unwrap_or_default().to_owned();
        match one(reader, (place.clone(), &stat), of, &name)? {
            None => {}
            Some(Ok(record)) => records.sound.push(record),
            Some(Err(problem)) => records.damaged.push((place, of, name, problem)),
        }
    }
    Ok(())
}

/// Reads a record: nothing if it is gone, what it says, or what is wrong.
fn one(
    reader: &Reader<'_>,
    (place, stat): (Place, &Stat),
    of: RecordKind,
    name: &str,
) -> Result<Option<std::result::Result<Record, String>>> {
    if kind(stat) != FileType::RegularFile {
        return Ok(Some(Err("is no regular file".to_owned())));
    }
    let path = reader.store.root().join(&place.path);
    let bytes = match read_unmarked(&path, u64::MAX) {
        Ok(None) => return Ok(None),
        Ok(Some(bytes)) => bytes,
        Err(error) => return Ok(Some(Err(judge(error)?))),
    };
    let (body, unsettled) = match reader.store.judge(&path, &bytes) {
        Judged::Counts(body) => (body, None),
        Judged::Unsettled(body) => (body.clone(), Some(body)),
        Judged::Damaged => return Ok(Some(Err("does not have its checksum".to_owned()))),
    };
    let record = Record {
        place,
        kind: of,
        name: name.to_owned(),
        about: None,
        needs: Vec::new(),
        chain: None,
        elsewhere: None,
        unsettled,
    };
    Ok(Some(understood(record, &body).ok_or_else(|| "makes no sense".to_owned())))
}

fn understood(mut record: Record, body: &[u8]) -> Option<Record> {
    match record.kind {
        RecordKind::Step => {
            let step = StepRecord::parse(body)?;
            record.about = Some(step.name);
            record.needs = step.layers.into_iter().map(Need::Layer).collect();
        }
        RecordKind::Tag => {
            let (name, digest): (Reference, Digest) = names::read_tag(body)?;
            record.name = name.familiar();
            record.needs = vec![Need::Image(digest)];
        }
        RecordKind::Image => {
            let manifest = std::str::from_utf8(body).ok()?.parse().ok()?;
            record.needs = vec![Need::Image(manifest)];
        }
        RecordKind::Chain => {
            let layer = LayerId::parse(std::str::from_utf8(body).ok()?.trim()).ok()?.name();
            let chain = ChainId::from_hex(&record.name).ok()?;
            record.needs = vec![Need::Layer(layer.clone())];
            record.chain = Some((chain, layer));
        }
        RecordKind::Context => reads_context(body).then_some(())?,
        RecordKind::Selection => reads_selections(body).then_some(())?,
        RecordKind::Build => drop(LastBuild::parse(body)?),
        RecordKind::Blob => {
            let text = std::str::from_utf8(body).ok()?;
            match record.name.split_once('-')? {
                ("at", blob) => {
                    let has_place = text.lines().any(|line| Reference::parse(line).is_ok());
                    record.elsewhere = Some(Digest::from_hex(blob).ok()?).filter(|_| has_place);
                }
                ("files", _) => drop(text.trim().parse::<u64>().ok()?),
                _ => record.needs = vec![Need::Blob(first_digest(text)?)],
            }
        }
    }
    Some(record)
}

/// Returns the first digest of a text.
fn first_digest(text: &str) -> Option<Digest> {
    const LENGTH: usize = "sha256:".len() + 64;
    let at = text.find("sha256:")?;
    text.get(at..at + LENGTH)?.parse().ok()
}
