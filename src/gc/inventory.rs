//! Everything in the store as nodes of a graph, with sizes and times of last use.
//!
//! Nothing here is held or marked: what is seen may be gone or in use a moment later, which `remove` looks at again.
//! What belongs to the reading process itself (its lease, its scratch directory) is left out.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, Stat, statat};
use rustix::io::Errno;

use super::size::{Meter, is_directory, list};
use super::{Item, Kind, Result};
use crate::fs::{PathError, read_unmarked};
use crate::store::{RecordKind, Store};

/// What a node is to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Blob,
    Snapshot,
    Mount,
    Record(RecordKind),
    /// By which records of a boot count.
    Mark,
}

/// What a step's record says of collecting it.
#[derive(Debug, Clone, Default)]
pub(super) struct Cost {
    /// How long it took to make, in milliseconds.
    pub(super) took: Option<u64>,
    /// Where the record of the step is that it was done upon.
    pub(super) base: Option<String>,
}

/// Something in the store.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Its path beneath the root.
    pub(super) place: String,
    pub(super) part: Part,
    pub(super) kind: Kind,
    pub(super) size: u64,
    pub(super) used: SystemTime,
    /// The nodes without which it is worth nothing, each once.
    pub(super) needs: Vec<usize>,
    pub(super) description: String,
    pub(super) cost: Cost,
    /// Of a layer: the digest of its tar in hexadecimal, if it is known.
    pub(super) diff_id: Option<String>,
}

impl Node {
    /// Returns the last part of its path.
    pub(super) fn name(&self) -> &str {
        self.place.rsplit('/').next().unwrap_or_default()
    }
}

/// Everything.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    pub(super) nodes: Vec<Node>,
    by_place: HashMap<String, usize>,
    /// Files in the making of other processes: name and size.
    temporary: Vec<(String, u64)>,
    /// Directories, locks, and what nobody knows.
    internal: u64,
    meter: Meter,
}

/// A record as it was read, for linking.
pub(super) struct Read {
    pub(super) node: usize,
    pub(super) kind: RecordKind,
    /// The place of the mark that it counts by, and its body; `None`: it does not count.
    pub(super) content: Option<(String, Vec<u8>)>,
}

impl Inventory {
    /// Reads the whole store.
    pub(super) fn read(store: &Store) -> Result<Self> {
        let mut inventory = Self::default();
        let mut records = Vec::new();
        let root = store.root();
        let own = stat(root)?;
        inventory.internal += own.map_or(0, |stat| inventory.meter.entry(&stat));
        for (name, stat) in list(root)? {
            match name.as_str() {
                "blobs" => inventory.blobs(root, &stat)?,
                "snapshots" => inventory.flat(root, ("snapshots", Part::Snapshot), &stat)?,
                "mounts" => inventory.flat(root, ("mounts", Part::Mount), &stat)?,
                "records" => inventory.records(store, &stat, &mut records)?,
                "locks" | "tmp" => inventory.passing(store, &name, &stat)?,
                other => inventory.internal += inventory.meter.tree(&root.join(other))?,
            }
        }
        super::links::link(&mut inventory, store, &records)?;
        Ok(inventory)
    }

    /// Returns the node at a place.
    pub(super) fn at(&self, place: &str) -> Option<usize> {
        self.by_place.get(place).copied()
    }

    /// Returns the nodes at these places, as far as there are any.
    pub(super) fn places<'a>(&self, places: impl Iterator<Item = &'a String>) -> Vec<usize> {
        places.filter_map(|place| self.at(place)).collect()
    }

    /// Returns what the whole store takes, in bytes.
    pub(super) fn total(&self) -> u64 {
        let nodes: u64 = self.nodes.iter().map(|node| node.size).sum();
        let temporary: u64 = self.temporary.iter().map(|(_, size)| size).sum();
        nodes + temporary + self.internal
    }

    /// Returns a node as people see it.
    pub(super) fn item(&self, index: usize, reclaimable: bool) -> Item {
        let node = &self.nodes[index];
        Item {
            id: node.name().to_owned(),
            kind: node.kind,
            size: node.size,
            used: Some(node.used).filter(|_| node.kind != Kind::Internal),
            reclaimable,
            description: node.description.clone(),
        }
    }

    /// Returns what is no node.
    pub(super) fn rest(&self) -> Vec<Item> {
        let item = |id: &str, kind, size, description: &str| Item {
            id: id.to_owned(),
            kind,
            size,
            used: None,
            reclaimable: false,
            description: description.to_owned(),
        };
        let temporary = self.temporary.iter();
        temporary
            .map(|(name, size)| item(name, Kind::Temporary, *size, "files in the making"))
            .chain([item("store", Kind::Internal, self.internal, "directories and locks")])
            .collect()
    }

    fn add(&mut self, place: String, part: Part, size: u64, used: SystemTime) -> usize {
        let kind = match part {
            Part::Blob | Part::Record(RecordKind::Image) => Kind::Image,
            Part::Snapshot | Part::Record(RecordKind::Chain) => Kind::Layer,
            Part::Mount => Kind::Mount,
            Part::Record(RecordKind::Step) => Kind::Step,
            Part::Record(RecordKind::Context | RecordKind::Selection | RecordKind::Build) => {
                Kind::Context
            }
            Part::Record(RecordKind::Blob) => Kind::Compressed,
            Part::Record(RecordKind::Tag) | Part::Mark => Kind::Internal,
        };
        self.push(Node {
            place,
            part,
            kind,
            size,
            used,
            needs: Vec::new(),
            description: String::new(),
            cost: Cost::default(),
            diff_id: None,
        })
    }

    pub(super) fn push(&mut self, node: Node) -> usize {
        self.by_place.insert(node.place.clone(), self.nodes.len());
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn blobs(&mut self, root: &Path, stat: &Stat) -> Result<()> {
        self.internal += self.meter.entry(stat);
        for (name, stat) in list(&root.join("blobs"))? {
            match name.as_str() {
                "sha256" => self.flat(root, ("blobs/sha256", Part::Blob), &stat)?,
                other => self.internal += self.meter.tree(&root.join("blobs").join(other))?,
            }
        }
        Ok(())
    }

    /// A directory of which every entry is a node.
    fn flat(&mut self, root: &Path, (directory, part): (&str, Part), stat: &Stat) -> Result<()> {
        self.internal += self.meter.entry(stat);
        for (name, stat) in list(&root.join(directory))? {
            let place = format!("{directory}/{name}");
            let size = match is_directory(&stat) {
                true => self.meter.tree(&root.join(&place))?,
                false => self.meter.entry(&stat),
            };
            let used = match part {
                Part::Snapshot => last_use(root, &place, part)?.unwrap_or_else(|| latest(&stat)),
                _ => latest(&stat),
            };
            self.add(place, part, size, used);
        }
        Ok(())
    }

    fn records(&mut self, store: &Store, stat: &Stat, found: &mut Vec<Read>) -> Result<()> {
        self.internal += self.meter.entry(stat);
        let top = store.root().join("records");
        for (name, stat) in list(&top)? {
            let kind = RecordKind::ALL.into_iter().find(|kind| kind.directory() == name);
            match kind {
                Some(kind) => {
                    self.internal += self.meter.entry(&stat);
                    self.records_in(store, &format!("records/{name}"), kind, found)?;
                }
                None if name.starts_with("settled-") => {
                    let size = self.meter.entry(&stat);
                    self.add(format!("records/{name}"), Part::Mark, size, written(&stat));
                }
                None => self.internal += self.meter.tree(&top.join(name))?,
            }
        }
        Ok(())
    }

    fn records_in(
        &mut self,
        store: &Store,
        directory: &str,
        kind: RecordKind,
        found: &mut Vec<Read>,
    ) -> Result<()> {
        for (name, stat) in list(&store.root().join(directory))? {
            let place = format!("{directory}/{name}");
            if is_directory(&stat) {
                self.internal += self.meter.entry(&stat);
                self.records_in(store, &place, kind, found)?;
                continue;
            }
            let path = store.root().join(&place);
            let content =
                read_unmarked(&path, u64::MAX)?.and_then(|bytes| store.trusted(&path, &bytes));
            let size = self.meter.entry(&stat);
            let node = self.add(place, Part::Record(kind), size, latest(&stat));
            found.push(Read { node, kind, content });
        }
        Ok(())
    }

    /// Locks and files in the making, but not this process's own.
    fn passing(&mut self, store: &Store, directory: &str, stat: &Stat) -> Result<()> {
        self.internal += self.meter.entry(stat);
        let top = store.root().join(directory);
        for (name, _) in list(&top)? {
            let path = top.join(&name);
            if path == store.scratch() || path == store.lease() {
                continue;
            }
            let size = self.meter.tree(&path)?;
            match directory {
                "tmp" => self.temporary.push((name, size)),
                _ => self.internal += size,
            }
        }
        Ok(())
    }
}

/// Returns when what lies at a place was last used; `None`: it is gone.
pub(super) fn last_use(root: &Path, place: &str, part: Part) -> Result<Option<SystemTime>> {
    let path = root.join(place);
    let marked = match part {
        Part::Snapshot => path.join("changes"),
        Part::Blob | Part::Mount | Part::Record(_) | Part::Mark => path,
    };
    Ok(stat(&marked)?.map(|stat| if part == Part::Mark { written(&stat) } else { latest(&stat) }))
}

fn stat(path: &Path) -> Result<Option<Stat>> {
    match statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(PathError::of("look at", path)(errno).into()),
    }
}

/// The later of the times of last access and of writing: not every file system keeps the former.
fn latest(stat: &Stat) -> SystemTime {
    time(stat.st_atime, stat.st_atime_nsec).max(written(stat))
}

/// Marks of boots are read whenever a record is.
fn written(stat: &Stat) -> SystemTime {
    time(stat.st_mtime, stat.st_mtime_nsec)
}

fn time(seconds: i64, nanoseconds: u64) -> SystemTime {
    let seconds = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    UNIX_EPOCH + seconds + Duration::from_nanos(nanoseconds)
}
