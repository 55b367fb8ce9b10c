//! Archives made to do harm, or merely strange: each has its exact error or its exact result, and nothing outside
//! of the directory is ever touched.
//!
//! Each row says what comes of it as a layer, what as an archive that ADD unpacks, and whether a careless reader
//! would have changed something beside the root: so it is known that the yard would show it.

#[path = "hostile/damage.rs"]
mod damage;
#[path = "hostile/forms.rs"]
mod forms;
#[path = "hostile/limits.rs"]
mod limits;
#[path = "hostile/naive.rs"]
mod naive;
#[path = "hostile/paths.rs"]
mod paths;

use kiln::layer::{Kind, Limits, Tree, TreePath, read_archive};

use super::Tarball;
use super::directory::Yard;
use super::list;

/// One archive and what comes of it.
struct Row {
    name: &'static str,
    tar: Vec<u8>,
    layer: &'static str,
    /// What ADD makes of it, if that is something else.
    added: Option<&'static str>,
    escapes: bool,
}

fn row(name: &'static str, tar: Tarball, layer: &'static str) -> Row {
    Row { name, tar: tar.end(), layer, added: None, escapes: false }
}

impl Row {
    fn added(self, added: &'static str) -> Self {
        Self { added: Some(added), ..self }
    }

    fn escapes(self) -> Self {
        Self { escapes: true, ..self }
    }
}

fn tar() -> Tarball {
    Tarball::default()
}

/// What unpacking comes to: a line for each change, or the error.
fn outcome_within(tar: &[u8], limits: Limits) -> Vec<String> {
    let yard = Yard::new();
    match yard.unpack(tar, None, limits) {
        Ok(changes) => list(&changes),
        Err(error) => {
            vec![format!("error: {error}").replace(yard.root().to_str().unwrap(), "ROOT")]
        }
    }
}

fn outcome(tar: &[u8]) -> Vec<String> {
    outcome_within(tar, Limits::default())
}

/// The same for what ADD unpacks.
fn added(tar: &[u8]) -> Vec<String> {
    let mut spool = tempfile::tempfile().unwrap();
    let tree = match read_archive(tar, &mut spool, Limits::default()) {
        Ok(tree) => tree,
        Err(error) => return vec![format!("error: {error}")],
    };
    let mut lines = list(&tree.changes_since(&Tree::empty()));
    for (path, node) in tree.walk(&TreePath::root()) {
        if let Kind::File { size, .. } = node.kind() {
            let mut file = tree.open(&path).unwrap();
            assert_eq!(std::io::copy(&mut file, &mut std::io::sink()).unwrap(), size, "{path}");
        }
    }
    lines.retain(|line| !line.starts_with("/ "));
    lines
}

fn check(rows: Vec<Row>) {
    let mut wrong = Vec::new();
    for row in &rows {
        let layer = outcome(&row.tar).join("; ");
        if layer != row.layer {
            wrong.push(format!("{}: as a layer\n  {layer:?}\n  {:?}", row.name, row.layer));
        }
        let expected = row.added.unwrap_or(row.layer);
        let found = added(&row.tar).join("; ");
        if found != expected {
            wrong.push(format!("{}: added\n  {found:?}\n  {expected:?}", row.name));
        }
        let yard = Yard::new();
        naive::unpack(&row.tar, &yard.root(), yard.root().parent().unwrap());
        if yard.damage().is_some() != row.escapes {
            wrong.push(format!("{}: a careless reader escapes: {}", row.name, !row.escapes));
        }
    }
    let names: std::collections::BTreeSet<_> = rows.iter().map(|row| row.name).collect();
    assert_eq!(names.len(), rows.len(), "a row is there twice");
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}
