//! What goes, and its going.

use std::collections::{HashMap, HashSet};

use super::blobs::Blobs;
use super::images::Known;
use super::layers::{Layer, Layers, Part};
use super::place::Place;
use super::records::{Need, Record, Records};
use super::{Finding, Outcome, Places, Result};
use crate::digest::Digest;
use crate::fs;
use crate::store::{RecordKind, Store};

/// Everything that was read.
pub(super) struct Found {
    pub(super) records: Records,
    pub(super) layers: Layers,
    pub(super) blobs: Blobs,
}

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) findings: Vec<Finding>,
    /// Names before what they name.
    going: Vec<Place>,
    /// Records that count again, with their bodies.
    renewed: Vec<(Place, Vec<u8>)>,
    /// What must not be in use, of `going`.
    things: Places,
}

/// Does what is to be done, in an instant in which nothing can be looked up.
pub(super) fn repair(store: &Store, found: &Found) -> Result<Vec<Finding>> {
    let mut held = store.collect()?.held().clone();
    loop {
        let plan = Plan::new(store, found, &held)?;
        if plan.findings.is_empty() {
            return Ok(Vec::new());
        }
        let trash = store.scratch_dir()?;
        let collection = store.collect()?;
        if plan.things.iter().any(|thing| collection.held().contains(thing)) {
            // It came into use just now.
            held.extend(collection.held().iter().cloned());
            continue;
        }
        for place in &plan.going {
            if place.is_there(store.root())? {
                collection.take(&place.path, &trash)?;
            }
        }
        for (place, body) in &plan.renewed {
            if place.is_there(store.root())? {
                collection.renew(&place.path, body)?;
            }
        }
        drop(collection);
        store.forget_usage();
        fs::remove_tree(&trash)?;
        return Ok(plan.findings);
    }
}

impl Plan {
    /// Finds out what is to be done, but not with what is held.
    pub(super) fn new(store: &Store, found: &Found, held: &Places) -> Result<Self> {
        let (mut things, mut parts) = (Self::default(), Self::default());
        let mut known = Known {
            store,
            blobs: found.blobs.sound.keys().copied().collect(),
            layers: HashSet::new(),
            chains: HashMap::new(),
            elsewhere: HashSet::new(),
        };
        for (place, problem) in &found.layers.damaged {
            if !things.thing(("layer", place, place), problem, Outcome::Removed, held) {
                known.layers.extend(place.path.rsplit('/').next().map(str::to_owned));
            }
        }
        for (name, layer) in &found.layers.sound {
            if !things.layer(layer, &known, held, &mut parts) {
                known.layers.insert(name.clone());
            }
        }
        for (place, problem) in &found.blobs.damaged {
            let name = place.path.rsplit('/').next().unwrap_or_default();
            if !things.thing(("blob", place, place), problem, Outcome::Removed, held) {
                known.blobs.extend(Digest::from_hex(name).ok());
            }
        }
        let counted = |record: &&Record| record.chain.is_some() || record.elsewhere.is_some();
        for record in found.records.sound.iter().filter(counted) {
            known.chains.extend(record.chain.clone());
            known.elsewhere.extend(record.elsewhere);
        }
        let mut plan = Self::default();
        for (place, kind, name, problem) in &found.records.damaged {
            let outcome = Outcome::Removed;
            plan.say((kind_name(*kind), name), problem.clone(), outcome);
            plan.going.push(place.clone());
        }
        found.records.sound.iter().for_each(|record| plan.record(record, &known));
        for more in [parts, things] {
            plan.findings.extend(more.findings);
            plan.going.extend(more.going);
            plan.things.extend(more.things);
        }
        Ok(plan)
    }

    fn say(&mut self, (kind, id): (&'static str, &str), problem: String, outcome: Outcome) {
        self.findings.push(Finding { kind, id: id.to_owned(), problem, outcome });
    }

    /// Takes something away, `part` of `whole`, unless it is held.
    fn thing(
        &mut self,
        (kind, whole, part): (&'static str, &Place, &Place),
        problem: &str,
        outcome: Outcome,
        held: &Places,
    ) -> bool {
        let is_free = !held.contains(&whole.path);
        let id = whole.path.rsplit('/').next().unwrap_or_default();
        self.say((kind, id), problem.to_owned(), if is_free { outcome } else { Outcome::InUse });
        if is_free {
            self.going.push(part.clone());
            self.things.insert(whole.path.clone());
        }
        is_free
    }

    /// Looks at a layer whose changes are sound; returns whether all of it goes, now.
    fn layer(&mut self, layer: &Layer, known: &Known<'_>, held: &Places, parts: &mut Self) -> bool {
        let has_blob = layer.blobs.iter().any(|blob| known.blobs.contains(blob));
        let whole = ("layer", &layer.place, &layer.place);
        let is_gone = match &layer.files {
            Part::Absent if !has_blob => {
                self.thing(whole, "has lost its files", Outcome::Removed, held)
            }
            Part::Damaged(_, problem) if !has_blob => {
                self.thing(whole, problem, Outcome::Removed, held)
            }
            Part::Damaged(body, problem) => {
                parts.thing(("layer", &layer.place, body), problem, Outcome::Reduced, held);
                false
            }
            Part::Sound | Part::Absent => false,
        };
        for (note, problem) in layer.notes.iter().filter(|_| !is_gone) {
            parts.thing(("layer", &layer.place, note), problem, Outcome::Reduced, held);
        }
        is_gone
    }

    fn record(&mut self, record: &Record, known: &Known<'_>) {
        let lack = record.needs.iter().find_map(|need| match need {
            Need::Blob(digest) => (!known.blobs.contains(digest)).then(|| format!("blob {digest}")),
            Need::Layer(name) => (!known.layers.contains(name)).then(|| format!("layer {name}")),
            Need::Image(digest) => known.lack(digest),
        });
        let said = (kind_name(record.kind), record.name.as_str());
        match (lack, &record.unsettled) {
            (None, None) => {}
            (None, Some(body)) => {
                let problem = "was not yet known to be on the disk when the machine stopped";
                // What files held whose bytes the same end of the machine may have taken is not to be believed.
                let can_stay = !matches!(
                    record.kind,
                    RecordKind::Context | RecordKind::Selection | RecordKind::Build
                );
                let outcome = if can_stay { Outcome::Renewed } else { Outcome::Removed };
                self.say(said, problem.to_owned(), outcome);
                match can_stay {
                    true => self.renewed.push((record.place.clone(), body.clone())),
                    false => self.going.push(record.place.clone()),
                }
            }
            (Some(lack), _) => {
                let about = record.about.as_ref().map(|text| format!("`{text}` "));
                let problem = format!("{}lacks {lack}", about.unwrap_or_default());
                let is_name = record.kind == RecordKind::Tag;
                let outcome = if is_name { Outcome::Lost } else { Outcome::Removed };
                self.say(said, problem, outcome);
                self.going.push(record.place.clone());
            }
        }
    }
}

/// What people call a record of a kind.
fn kind_name(kind: RecordKind) -> &'static str {
    match kind {
        RecordKind::Tag => "name",
        RecordKind::Step
        | RecordKind::Image
        | RecordKind::Context
        | RecordKind::Selection
        | RecordKind::Build
        | RecordKind::Chain
        | RecordKind::Blob => kind.directory(),
    }
}
