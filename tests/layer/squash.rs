//! Random images, layer by layer: what is squashed has the same files, and every byte is accounted for.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use kiln::event::Cancel;
use kiln::export::image::{Image, ImageLayer};
use kiln::export::product::Product;
use kiln::export::{Exporter, Output, OutputKind};
use kiln::images::{Library, Squash, Survey};
use kiln::layer::{
    Change, Changes, Contents, Kind, Metadata, NodeKind, Nowhere, Tree, TreeContents, TreePath,
};
use kiln::oci::{History, ImageConfig, Platform, Reference};
use kiln::registry::Settings;
use kiln::snapshot::Snapshots;
use kiln::store::Store;

use super::roundtrip::{Step, Texts, edit, steps};
use super::{list, meta};

/// What makes a layer: what is done to the tree, and whether a directory of it is opaque and the root has a new mode.
type Recipe = (Vec<Step>, bool, bool);

fn recipes() -> impl Strategy<Value = Vec<Recipe>> {
    let recipe = (steps(), prop::bool::weighted(0.3), prop::bool::weighted(0.2));
    prop::collection::vec(recipe, 1..6)
}

/// The layers of the recipes with their contents, and the tree that they make.
fn layers(recipes: &[Recipe], texts: &Texts) -> (Vec<(Changes, TreeContents)>, Tree) {
    let mut tree = Tree::empty();
    let mut layers = Vec::new();
    for (index, (steps, opaque, new_root)) in recipes.iter().enumerate() {
        let (edited, mut changes) = edit(tree.clone(), steps, texts);
        let known = |path: &TreePath| tree.get(path).is_some_and(kiln::layer::Node::is_directory);
        let directory = changes.iter().find_map(|(path, change)| match change {
            Change::Put { kind: Kind::Directory, meta } if known(path) => {
                Some((path.clone(), meta.clone()))
            }
            _ => None,
        });
        if let (true, Some((path, meta))) = (*opaque, directory) {
            changes.insert(path, Change::Clear { meta });
        }
        if *new_root {
            changes.put(TreePath::root(), Kind::Directory, meta(0o700 + index as u32));
        }
        let contents = TreeContents(edited);
        let shared: Arc<dyn Contents> = Arc::new(contents.clone());
        tree = tree.apply(&changes, &shared).unwrap();
        layers.push((changes, contents));
    }
    (layers, tree)
}

/// Puts an image into a store, under a name.
fn store_image(state: &Path, layers: &[(Changes, TreeContents)], name: &Reference) {
    let store = Store::open(state).unwrap();
    let snapshots = Snapshots::new(&store);
    let kept = layers.iter().map(|(changes, contents)| {
        let id = snapshots.commit_packed(changes, contents).unwrap();
        let diff_id = snapshots.diff_id(id).unwrap();
        ImageLayer { id, diff_id, blob: None, created: Some(1_000_000_000) }
    });
    let mut config = ImageConfig::scratch(&Platform::host());
    config.history = (0..layers.len())
        .map(|index| History { created_by: format!("step {index}"), ..History::default() })
        .collect();
    let image = Image::new(config, kept.collect(), None);
    let exporter = Exporter { store: &store, progress: &|_, _, _| {}, cancel: &Cancel::new() };
    let product = Product { images: vec![(Platform::host(), image)], is_index: false };
    exporter
        .export(&product, &Output::new(OutputKind::Image, None), std::slice::from_ref(name))
        .unwrap();
}

/// The changes that make the whole tree, the root too: equal for trees of the same files.
fn whole(tree: &Tree) -> Changes {
    let mut changes = tree.changes_since(&Tree::empty());
    changes.put(TreePath::root(), Kind::Directory, tree.root().meta().clone());
    changes
}

/// A tree's identity, its groups of links named by their first names.
fn identity(tree: &Tree) -> kiln::digest::ContentDigest {
    Tree::empty().apply(&whole(tree), &Nowhere::shared()).unwrap().root().identity()
}

/// Everything but the times of directories.
fn facts(tree: &Tree) -> BTreeMap<TreePath, (Kind, Metadata)> {
    let facts = whole(tree).into_iter().map(|(path, change)| match change {
        Change::Put { kind, mut meta } => {
            if kind == Kind::Directory {
                meta.mtime = kiln::layer::Timestamp::default();
            }
            (path, (kind, meta))
        }
        other => panic!("{other:?} in a whole tree"),
    });
    facts.collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 40,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(1),
        ..Default::default()
    })]

    #[test]
    fn a_squashed_image_has_the_same_tree(recipes in recipes(), from in 0usize..6) {
        let (layers, tree) = layers(&recipes, &Texts::all());
        let state = tempfile::tempdir().unwrap();
        let names = ["old", "new"].map(|name| Reference::parse(name).unwrap().or_latest());
        store_image(state.path(), &layers, &names[0]);
        let open = || Library::open(state.path(), &Settings::default(), &Cancel::new()).unwrap();
        let library = open();
        let kept = from.min(layers.len());
        let number = kept.to_string();
        let squash = Squash {
            image: "old",
            from: Some(&number),
            names: &names[1..],
            epoch: None,
            rewrite_timestamp: false,
        };
        let squashed = library.squash(&squash).unwrap();
        prop_assert_eq!(library.squash(&squash).unwrap().id, squashed.id);
        // From the blobs, as another machine gets it.
        drop(library);
        std::fs::remove_dir_all(state.path().join("records/chain")).unwrap();
        let library = open();
        let (old, _) = library.layers("old").unwrap();
        let (new, fetched) = library.layers("new").unwrap();
        let about = (layers.iter().map(|it| list(&it.0)).collect::<Vec<_>>(), &fetched.tree);
        prop_assert_eq!(facts(&fetched.tree), facts(&tree), "{:?}", about);
        prop_assert_eq!(identity(&fetched.tree), identity(&tree));
        prop_assert!(library.compare("old", "new", true, false).unwrap().files.is_empty());

        let (before, after) = (&old.manifest.layers, &new.manifest.layers);
        prop_assert_eq!(&before[..kept], &after[..kept]);
        prop_assert!(after.len() <= kept + 1);
        prop_assert_eq!(squashed.after.count, after.len());
        let history = &new.config.history;
        prop_assert_eq!(history.iter().filter(|entry| !entry.empty_layer).count(), after.len());
        let steps = history.iter().filter(|entry| entry.created_by.starts_with("step"));
        prop_assert_eq!(steps.count(), before.len());
    }

    #[test]
    fn every_byte_of_a_layer_is_in_the_image_or_wasted(recipes in recipes()) {
        let (layers, tree) = layers(&recipes, &Texts::all());
        let mut survey = Survey::default();
        for (changes, _) in &layers {
            survey.add(changes).unwrap();
        }
        let contents = survey.finish();
        let bytes: u64 = contents.iter().map(|it| it.bytes()).sum();
        let wasted: u64 = contents.iter().map(|it| it.wasted().bytes).sum();
        let mut groups = HashSet::new();
        let sizes = tree.walk(&TreePath::root()).map(|(_, node)| match node.body() {
            NodeKind::File { size, .. }
                if node.group().is_none_or(|group| groups.insert(group.clone())) => *size,
            _ => 0,
        });
        prop_assert_eq!(sizes.sum::<u64>() + wasted, bytes);
        for ((changes, _), content) in layers.iter().zip(&contents) {
            prop_assert_eq!(content.bytes(), changes.content_size());
            prop_assert_eq!(content.added.bytes + content.replaced.bytes, content.bytes());
        }
        let (mut names, mut there) = (0, 0);
        for content in &contents {
            names += content.added.count;
            there += content.removed.count;
        }
        let left = tree.walk(&TreePath::root()).filter(|(_, node)| !node.is_directory()).count();
        prop_assert_eq!(names - there, left as u64);
    }
}
