//! What needs what: the edges of the graph, and what people call its nodes.

use std::collections::BTreeSet;

use super::documents::{self, Named, first_digest};
use super::inventory::{Cost, Inventory, Part, Read};
use super::{Kind, Result};
use crate::cache::StepRecord;
use crate::digest::{DiffId, Digest};
use crate::fs::{PathError, read_unmarked};
use crate::snapshot::{COMPRESSED, DIFF_ID};
use crate::source::names::place_name;
use crate::store::{RecordKind, Store};

fn blob(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Gives every node what it needs, its kind and its description.
pub(super) fn link(inventory: &mut Inventory, store: &Store, records: &[Read]) -> Result<()> {
    for index in 0..inventory.nodes.len() {
        match inventory.nodes[index].part {
            Part::Blob => document(inventory, store, index)?,
            Part::Snapshot => bodies(inventory, store, index)?,
            Part::Mount | Part::Record(_) | Part::Mark => {}
        }
    }
    for record in records {
        if let Some((mark, body)) = &record.content {
            self::record(inventory, record, body);
            need(inventory, record.node, mark);
        }
    }
    for record in records.iter().filter(|record| record.content.is_some()) {
        match record.kind {
            RecordKind::Tag => tag(inventory, record),
            RecordKind::Step => {
                let description = inventory.nodes[record.node].description.clone();
                describe(inventory, &inventory.nodes[record.node].needs.clone(), &description);
            }
            _ => {}
        }
    }
    Ok(())
}

fn need(inventory: &mut Inventory, from: usize, place: &str) {
    if let Some(to) = inventory.at(place).filter(|to| *to != from) {
        let needs = &mut inventory.nodes[from].needs;
        if !needs.contains(&to) {
            needs.push(to);
        }
    }
}

fn document(inventory: &mut Inventory, store: &Store, index: usize) -> Result<()> {
    if inventory.nodes[index].size > documents::LARGEST {
        return Ok(());
    }
    let path = store.root().join(&inventory.nodes[index].place);
    let bytes = read_unmarked(&path, documents::LARGEST)?.unwrap_or_default();
    let Some(named) = Named::read(&bytes) else { return Ok(()) };
    for digest in &named.blobs {
        need(inventory, index, &blob(digest));
        // Of what is elsewhere nothing is left but the note where that is.
        if inventory.at(&blob(digest)).is_none() {
            need(inventory, index, &RecordKind::Blob.place(&place_name(digest)));
        }
    }
    for chain in &named.chains {
        need(inventory, index, &RecordKind::Chain.place(&chain.hex()));
    }
    Ok(())
}

/// A layer may have its files in a tar alone, or in one that is compressed.
fn bodies(inventory: &mut Inventory, store: &Store, index: usize) -> Result<()> {
    let directory = store.root().join(&inventory.nodes[index].place);
    let note = |name: &str| {
        let bytes = read_unmarked(&directory.join(name), documents::LARGEST)?.unwrap_or_default();
        Ok::<_, PathError>(String::from_utf8(bytes).unwrap_or_default())
    };
    let tar = note(DIFF_ID)?.trim().parse::<DiffId>().ok();
    let tar = tar.map(|diff_id| Digest::from_bytes(*diff_id.as_bytes()));
    if let Some(tar) = &tar {
        inventory.nodes[index].diff_id = Some(tar.hex());
    }
    let is_there = |digest: &Digest| inventory.at(&blob(digest)).is_some();
    let body = match tar.filter(is_there) {
        None if !directory.join("fs").exists() => note(COMPRESSED)?.trim().parse().ok(),
        tar => tar,
    };
    if let Some(body) = body.map(|digest: Digest| blob(&digest)) {
        need(inventory, index, &body);
        if let Some(body) = inventory.at(&body) {
            inventory.nodes[body].kind = Kind::Layer;
        }
    }
    Ok(())
}

fn record(inventory: &mut Inventory, record: &Read, body: &[u8]) {
    match record.kind {
        RecordKind::Tag | RecordKind::Image => {
            if let Some(digest) = first_digest(body) {
                need(inventory, record.node, &blob(&digest));
            }
            let text = String::from_utf8_lossy(body);
            let name = text.lines().nth(1).unwrap_or_default();
            inventory.nodes[record.node].description = name.to_owned();
        }
        RecordKind::Chain => {
            let layer = String::from_utf8_lossy(body);
            need(inventory, record.node, &format!("snapshots/{}", layer.trim()));
        }
        RecordKind::Step => {
            let Some(step) = StepRecord::parse(body) else { return };
            for layer in &step.layers {
                need(inventory, record.node, &format!("snapshots/{layer}"));
            }
            let is_key = |key: &String| key.len() == 64 && key.is_ascii();
            let base = step.base.filter(is_key).map(|key| RecordKind::Step.place(&key));
            inventory.nodes[record.node].cost = Cost { took: step.took, base };
            inventory.nodes[record.node].description = step.name;
        }
        RecordKind::Blob => {
            let is_download = inventory.nodes[record.node].name().starts_with("http-");
            let kind = if is_download { Kind::Download } else { Kind::Compressed };
            inventory.nodes[record.node].kind = kind;
            let Some(digest) = first_digest(body) else { return };
            need(inventory, record.node, &blob(&digest));
            let at = inventory.at(&blob(&digest));
            if let Some(at) = at.filter(|at| inventory.nodes[*at].kind != Kind::Layer) {
                inventory.nodes[at].kind = kind;
            }
        }
        RecordKind::Context => describe(inventory, &[record.node], "files of a context"),
        RecordKind::Selection => describe(inventory, &[record.node], "choices from a context"),
        RecordKind::Build => describe(inventory, &[record.node], "steps of the last build"),
    }
}

/// A name needs its image's id as well; and its blobs are an image's, whatever else they are.
fn tag(inventory: &mut Inventory, record: &Read) {
    let name = inventory.nodes[record.node].description.clone();
    let mut open = inventory.nodes[record.node].needs.clone();
    let mut seen = BTreeSet::new();
    while let Some(index) = open.pop() {
        if !seen.insert(index) || inventory.nodes[index].part != Part::Blob {
            continue;
        }
        let id = RecordKind::Image.place(inventory.nodes[index].name());
        need(inventory, record.node, &id);
        let known = inventory.at(&id);
        for at in known.into_iter().chain([index]) {
            let node = &mut inventory.nodes[at];
            if node.kind != Kind::Layer {
                node.kind = Kind::Image;
            }
            if !node.description.is_empty() {
                node.description.push_str(", ");
            }
            node.description.push_str(&name);
        }
        open.extend(&inventory.nodes[index].needs);
    }
}

/// Describes those that nobody described before.
fn describe(inventory: &mut Inventory, nodes: &[usize], description: &str) {
    for index in nodes {
        let node = &mut inventory.nodes[*index];
        if node.description.is_empty() && node.part != Part::Mark {
            node.description = description.to_owned();
        }
    }
}
