//! Choosing and removing, on stores and graphs made by hand.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use super::inventory::{Cost, Inventory, Node, Part};
use super::plan::Plan;
use super::*;
use crate::digest::Digest;
use crate::source::names::set_tag;
use crate::store::RecordKind;

/// A graph with a node for each letter.
struct Graph(Inventory);

impl Graph {
    fn new() -> Self {
        Self(Inventory::default())
    }

    fn add(&mut self, name: &str, part: Part, (size, age): (u64, u64), needs: &[usize]) -> usize {
        let step = RecordKind::Step.place(&format!("{name:0>2}"));
        let place = if part == Part::Record(RecordKind::Step) { step } else { name.to_owned() };
        self.0.push(Node {
            place,
            part,
            kind: Kind::Step,
            size,
            used: SystemTime::now() - Duration::from_secs(age),
            needs: needs.to_vec(),
            description: String::new(),
            cost: Cost::default(),
            diff_id: None,
        })
    }

    /// A step with a layer of its own.
    fn step(&mut self, name: &str, (size, age, took): (u64, u64, u64), base: Option<&str>) {
        let layer = self.add(&format!("layer-{name}"), Part::Snapshot, (size, age), &[]);
        let at = self.add(name, Part::Record(RecordKind::Step), (0, age), &[layer]);
        let base = base.map(|name| RecordKind::Step.place(&format!("{name:0>2}")));
        self.0.nodes[at].cost = Cost { took: Some(took), base };
    }

    /// What goes so that no more than `keep` bytes stay, by the names of the steps.
    fn gone(&self, keep: u64) -> Vec<&str> {
        let prune = Prune { all: true, keep: Some(keep), ..Prune::default() };
        let gone = Plan::new(&self.0, &prune, Vec::new()).choose();
        let nodes = gone.iter().map(|index| &self.0.nodes[*index]);
        let steps = nodes.filter(|node| node.part == Part::Record(RecordKind::Step));
        steps.map(|node| node.name().trim_start_matches('0')).collect()
    }
}

#[test]
fn what_was_used_longest_ago_goes_first() {
    let mut graph = Graph::new();
    for (name, age) in [("a", 300), ("b", 200), ("c", 100)] {
        graph.step(name, (10_000, age, 10), None);
    }
    let cases = [(30_000, vec![]), (29_999, vec!["a"]), (10_000, vec!["a", "b"])];
    for (keep, expected) in cases {
        assert_eq!(graph.gone(keep), expected, "{keep}");
    }
}

#[test]
fn what_took_long_stays_longer() {
    let mut graph = Graph::new();
    graph.step("slow", (10_000, 300, 60_000), None);
    graph.step("fast", (10_000, 200, 10), None);
    assert_eq!(graph.gone(10_000), ["fast"]);
}

#[test]
fn a_step_goes_after_those_that_were_done_upon_it() {
    let mut graph = Graph::new();
    graph.step("low", (1_000_000, 300, 10), None);
    graph.step("mid", (10_000, 300, 10_000), Some("low"));
    graph.step("top", (10_000, 300, 10_000), Some("mid"));
    assert_eq!(graph.gone(1_010_000), ["top"]);
    assert_eq!(graph.gone(1_000_000), ["mid", "top"]);
    assert_eq!(graph.gone(0), ["low", "mid", "top"]);
}

#[test]
fn a_shared_layer_goes_with_the_last_record_that_names_it() {
    let mut graph = Graph::new();
    let layer = graph.add("layer", Part::Snapshot, (10_000, 100), &[]);
    for name in ["one", "two"] {
        graph.add(name, Part::Record(RecordKind::Step), (0, 100), &[layer]);
    }
    let other = graph.add("other", Part::Snapshot, (10_000, 50), &[]);
    graph.add("new", Part::Record(RecordKind::Step), (0, 50), &[other]);
    assert_eq!(graph.gone(10_000), ["one", "two"]);
}

#[test]
fn what_something_newer_needs_is_not_old() {
    let mut graph = Graph::new();
    let layer = graph.add("layer", Part::Snapshot, (10, 500), &[]);
    graph.add("old", Part::Record(RecordKind::Step), (1, 500), &[layer]);
    graph.add("new", Part::Record(RecordKind::Step), (1, 5), &[layer]);
    let until = Some(SystemTime::now() - Duration::from_secs(100));
    let filter = Filter { until, kinds: Vec::new() };
    let prune = Prune { all: true, filter, keep: None };
    let gone = Plan::new(&graph.0, &prune, Vec::new()).choose();
    assert_eq!(gone, BTreeSet::from([1]), "the old record alone");
}

/// Removes everything that can go, with `meanwhile` between choosing and removing; returns whether `blob` is there.
fn survives(blob: &[u8], meanwhile: impl FnOnce(&std::path::Path)) -> bool {
    let directory = tempfile::tempdir().unwrap();
    let digest = Store::open(directory.path()).unwrap().put_blob(blob).unwrap();
    let store = Store::open(directory.path()).unwrap();
    let survey = Survey::begin(&store).unwrap();
    let inventory = Inventory::read(&store).unwrap();
    let prune = Prune { all: true, ..Prune::default() };
    let chosen = Plan::new(&inventory, &prune, survey.roots(&inventory)).choose();
    assert!(!chosen.is_empty());
    meanwhile(directory.path());
    remove::remove(&store, &inventory, chosen, survey.since).unwrap();
    store.blob_path(&digest).exists()
}

#[test]
fn what_is_used_between_choosing_and_removing_stays() {
    let digest = Digest::of(b"blob");
    assert!(!survives(b"blob", |_| {}));
    assert!(!survives(b"blob", |root| drop(Store::open(root).unwrap().put_blob(b"other"))));
    // By a process that has ended again.
    assert!(survives(b"blob", |root| {
        assert!(Store::open(root).unwrap().blob_size(&digest).is_some());
    }));
    assert!(survives(b"blob", |root| {
        let name = crate::oci::Reference::parse("name").unwrap();
        set_tag(&Store::open(root).unwrap(), &name, &digest).unwrap();
    }));
    // What a document names is not looked up by itself.
    let document = format!(r#"{{"layers":[{{"digest":"{digest}"}}]}}"#).into_bytes();
    let directory = tempfile::tempdir().unwrap();
    for bytes in [&b"blob"[..], &document] {
        Store::open(directory.path()).unwrap().put_blob(bytes).unwrap();
    }
    let user = Store::open(directory.path()).unwrap();
    user.read_blob(&Digest::of(&document)).unwrap();
    let pruned = super::prune(
        &Store::open(directory.path()).unwrap(),
        &Prune { all: true, ..Prune::default() },
    );
    assert_eq!(pruned.unwrap().items, []);
    drop(user);
    let all = Prune { all: true, ..Prune::default() };
    let pruned = super::prune(&Store::open(directory.path()).unwrap(), &all).unwrap();
    assert_eq!(pruned.items.len(), 2);
}

#[test]
fn marks_go_with_the_last_record_of_their_boot() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let mark = |boot: &str| directory.path().join("records").join(format!("settled-{boot}"));
    let record = |boot: &str, kind: RecordKind, body: &str| {
        let sum = crate::digest::ContentDigest::of(body.as_bytes()).hex();
        let path = directory.path().join(kind.place(&format!("of-{boot}")));
        std::fs::write(path, format!("kiln-record 1 {boot} {sum}\n{body}")).unwrap();
        std::fs::write(mark(boot), format!("{:020}\n", 1_u64 << 40)).unwrap();
    };
    let digest = store.put_blob(b"image").unwrap();
    record("one", RecordKind::Tag, &format!("{digest}\nname\n"));
    record("two", RecordKind::Build, "{}");
    std::fs::write(mark("three"), "").unwrap();
    drop(store);
    let store = Store::open(directory.path()).unwrap();
    prune(&store, &Prune { all: true, ..Prune::default() }).unwrap();
    let left = ["one", "two", "three"].map(|boot| mark(boot).exists());
    assert_eq!(left, [true, false, false]);
    assert!(store.blob_path(&digest).exists());
}
