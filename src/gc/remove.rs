//! Taking away what was chosen.
//!
//! First, in an instant in which nothing can be looked up, everything that is still of no use to anybody is moved to a
//! scratch directory: what names something before what it names, so that a process that is killed in between leaves
//! nothing that names what is gone. Then it is deleted there, where a killed process leaves it to the next one.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::SystemTime;

use super::inventory::{Inventory, last_use};
use super::plan::reached;
use super::size::Meter;
use super::{Pruned, Result};
use crate::fs;
use crate::store::Store;

/// Removes the nodes that nobody has used since.
pub(super) fn remove(
    store: &Store,
    inventory: &Inventory,
    chosen: BTreeSet<usize>,
    since: SystemTime,
) -> Result<Pruned> {
    if chosen.is_empty() {
        return Ok(Pruned::default());
    }
    let trash = store.scratch_dir()?;
    let taken = take(store, inventory, &ordered(inventory, &chosen), (since, &trash))?;
    let mut pruned = Pruned::default();
    let mut meter = Meter::default();
    for (index, path) in taken {
        let mut item = inventory.item(index, true);
        item.size = meter.tree(&path)?;
        match path.is_dir() {
            true => fs::remove_tree(&path)?,
            false => fs::remove_file(&path)?,
        }
        pruned.items.push(item);
    }
    fs::remove_tree(&trash)?;
    Ok(pruned)
}

fn take(
    store: &Store,
    inventory: &Inventory,
    chosen: &[usize],
    (since, trash): (SystemTime, &PathBuf),
) -> Result<Vec<(usize, PathBuf)>> {
    let collection = store.collect()?;
    let mut wanted = inventory.places(collection.held().iter());
    for index in chosen {
        let node = &inventory.nodes[*index];
        let used = last_use(store.root(), &node.place, node.part)?;
        if used.is_some_and(|used| used >= since || used != node.used) {
            wanted.push(*index);
        }
    }
    let wanted = reached(inventory, wanted);
    let mut taken = Vec::new();
    for index in chosen.iter().filter(|index| !wanted[**index]) {
        if let Some(path) = collection.take(&inventory.nodes[*index].place, trash)? {
            taken.push((*index, path));
        }
    }
    Ok(taken)
}

/// Returns the nodes so that each comes before those that it needs.
fn ordered(inventory: &Inventory, chosen: &BTreeSet<usize>) -> Vec<usize> {
    let mut users = vec![0_usize; inventory.nodes.len()];
    let needs = |index: usize| inventory.nodes[index].needs.iter().filter(|at| chosen.contains(at));
    chosen.iter().flat_map(|index| needs(*index)).for_each(|index| users[*index] += 1);
    let mut order: Vec<usize> = chosen.iter().copied().filter(|index| users[*index] == 0).collect();
    let mut next = 0;
    while let Some(index) = order.get(next).copied() {
        next += 1;
        for needed in needs(index) {
            users[*needed] -= 1;
            if users[*needed] == 0 {
                order.push(*needed);
            }
        }
    }
    order
}
