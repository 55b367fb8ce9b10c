//! A limit that holds by itself: after a build the store takes no more than so many bytes.
//!
//! So that a build need not count everything, the store has a note of the total ([`Store::usage`]): a number, and the
//! sizes of the cache mounts, because these grow without anybody putting anything in its place. Whoever made something
//! adds it. The note may be too large (what was removed by other means is still in it) but not too small; where it
//! says too much, or is not there, everything is counted.

use std::collections::BTreeMap;
use std::path::Path;

use super::inventory::{Inventory, Part};
use super::plan::Plan;
use super::size::Meter;
use super::{Prune, Pruned, Result, Survey, remove};
use crate::store::{Made, RecordKind, Store};

/// What the note may be wrong by, as a part of the cap: directories grow too.
const MARGIN: u64 = 64;
/// How much of the cap is made free at once, as a part of it: the next build should not have to do it again.
const ROOM: u64 = 10;

/// What the store took when it was last counted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Note {
    total: u64,
    /// Of `total`, by place.
    mounts: BTreeMap<String, u64>,
}

/// Sees to it that the store takes no more than `cap` bytes, as far as no tag and no live process needs more. To be
/// called by whoever may have made something, when it is done. The images that this process made stay.
pub fn hold_cap(store: &Store, cap: u64) -> Result<Pruned> {
    // What was not counted must not be missing from the note.
    enforce(store, cap).inspect_err(|_| store.forget_usage())
}

fn enforce(store: &Store, cap: u64) -> Result<Pruned> {
    let made = store.take_made();
    if made.is_empty() && store.usage()?.is_some() {
        return Ok(Pruned::default());
    }
    // One at a time: everybody else's additions are waited for.
    let _lock = store.lock("usage", &|| false)?;
    if let Some(mut note) = store.usage()?.and_then(|text| Note::parse(&text)) {
        note.add(store.root(), &made)?;
        if note.total <= cap - cap / MARGIN {
            store.set_usage(&note.to_text())?;
            return Ok(Pruned::default());
        }
    }
    let survey = Survey::begin(store)?;
    let inventory = Inventory::read(store)?;
    let mut note = Note::of(&inventory);
    let mut pruned = Pruned::default();
    if note.total > cap - cap / MARGIN {
        let keep = Some(cap - cap / ROOM);
        let prune = Prune { all: true, keep, ..Prune::default() };
        let mut roots = survey.roots(&inventory);
        roots.extend(own_images(store, &inventory));
        let chosen = Plan::new(&inventory, &prune, roots).choose();
        pruned = remove::remove(store, &inventory, chosen, survey.since)?;
        note.total = note.total.saturating_sub(pruned.size());
    }
    store.set_usage(&note.to_text())?;
    Ok(pruned)
}

/// Whoever is told an image's id will want to use it.
fn own_images(store: &Store, inventory: &Inventory) -> Vec<usize> {
    let is_own = |index: &usize| {
        let node = &inventory.nodes[*index];
        node.part == Part::Record(RecordKind::Image) && store.holds(&node.place)
    };
    (0..inventory.nodes.len()).filter(is_own).collect()
}

impl Note {
    fn of(inventory: &Inventory) -> Self {
        let mounts = inventory.nodes.iter().filter(|node| node.part == Part::Mount);
        let mounts = mounts.map(|node| (node.place.clone(), node.size)).collect();
        Self { total: inventory.total(), mounts }
    }

    fn add(&mut self, root: &Path, made: &Made) -> Result<()> {
        let mut meter = Meter::default();
        for place in &made.paths {
            let size = meter.tree(&root.join(place))?;
            let before = match place.starts_with("mounts/") {
                true => self.mounts.insert(place.clone(), size).unwrap_or(0),
                false => 0,
            };
            self.total = self.total.saturating_add(size).saturating_sub(before);
        }
        self.total = self.total.saturating_add(made.records);
        Ok(())
    }

    /// `total <bytes>`, then `<place> <bytes>` for each mount.
    fn parse(text: &str) -> Option<Self> {
        let lines = text.lines().map(|line| {
            let (name, size) = line.split_once(' ')?;
            Some((name.to_owned(), size.parse().ok()?))
        });
        let mut mounts = lines.collect::<Option<BTreeMap<String, u64>>>()?;
        let total = mounts.remove("total")?;
        Some(Self { total, mounts })
    }

    fn to_text(&self) -> String {
        let mounts = self.mounts.iter().map(|(place, size)| format!("{place} {size}\n"));
        std::iter::once(format!("total {}\n", self.total)).chain(mounts).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_what_was_written() {
        let mounts = BTreeMap::from([("mounts/a".to_owned(), 5)]);
        let note = Note { total: 7, mounts };
        assert_eq!(note.to_text(), "total 7\nmounts/a 5\n");
        assert_eq!(Note::parse(&note.to_text()), Some(note));
        assert_eq!(Note::parse("total"), None);
        assert_eq!(Note::parse(""), None);
    }

    #[test]
    fn a_mount_counts_by_what_it_grew() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("mounts/a")).unwrap();
        let made = Made { paths: vec!["mounts/a".to_owned()], records: 4096 };
        let mut note = Note { total: 100_000, mounts: BTreeMap::new() };
        note.add(root.path(), &made).unwrap();
        let first = note.total;
        std::fs::write(root.path().join("mounts/a/f"), vec![1; 8192]).unwrap();
        note.add(root.path(), &Made { records: 0, ..made }).unwrap();
        assert_eq!(note.total, first + 8192);
    }
}
