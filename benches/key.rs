//! What an unchanged rebuild pays before it knows that nothing changed: walking a context of 20,000 files by its
//! stat cache, and lowering a Dockerfile.

#![expect(clippy::unwrap_used, reason = "a bench that cannot make its data has failed")]

use std::path::{Path, PathBuf};

use divan::Bencher;
use kiln::dockerfile::Dockerfile;
use kiln::event::Cancel;
use kiln::graph::{self, Bases, Request};
use kiln::oci::Platform;
use kiln::source::context::LocalContext;
use kiln::store::Store;

fn main() {
    divan::main();
}

const FILES: usize = 20_000;

/// Makes 20,000 files of 5 kB in 200 directories, once for all benches.
fn context() -> PathBuf {
    let root = std::env::temp_dir().join("kiln-bench-context");
    if root.join("complete").exists() {
        return root;
    }
    let body = vec![b'x'; 5000];
    for directory in 0..200 {
        let path = root.join(format!("d{directory}"));
        std::fs::create_dir_all(&path).unwrap();
        for file in 0..FILES / 200 {
            let mut body = body.clone();
            body.extend_from_slice(format!("{directory}/{file}").as_bytes());
            std::fs::write(path.join(format!("f{file}")), body).unwrap();
        }
    }
    std::fs::write(root.join("complete"), "").unwrap();
    // Files changed just now are read again whatever the cache says.
    std::thread::sleep(std::time::Duration::from_millis(50));
    root
}

fn local(root: &Path) -> LocalContext {
    LocalContext { root: root.to_owned(), ignore: None, paths: vec!["/".to_owned()] }
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn cold_context(bencher: Bencher<'_, '_>) {
    let root = context();
    bencher.with_inputs(|| tempfile::tempdir().unwrap()).bench_values(|state| {
        let store = Store::open(state.path()).unwrap();
        local(&root).load(&store, &Cancel::new()).unwrap();
        state
    });
}

#[divan::bench(sample_count = 20, sample_size = 1)]
fn warm_context(bencher: Bencher<'_, '_>) {
    let root = context();
    let state = tempfile::tempdir().unwrap();
    let store = Store::open(state.path()).unwrap();
    local(&root).load(&store, &Cancel::new()).unwrap();
    bencher.bench_local(|| local(&root).load(&store, &Cancel::new()).unwrap());
}

#[divan::bench(sample_count = 20, sample_size = 1)]
fn identity_of_the_context(bencher: Bencher<'_, '_>) {
    let root = context();
    let state = tempfile::tempdir().unwrap();
    let store = Store::open(state.path()).unwrap();
    let load = || local(&root).load(&store, &Cancel::new()).unwrap();
    bencher
        .with_inputs(load)
        .bench_local_values(|tree| tree.identity(&kiln::layer::TreePath::root()));
}

#[divan::bench]
fn parse_and_lower(bencher: Bencher<'_, '_>) {
    let mut text = String::from("FROM scratch\nARG V=1\nENV A=b\n");
    for step in 0..12 {
        text.push_str(&format!("COPY file{step} /dst/{step}\nRUN make $A step-{step} V=${{V}}\n"));
    }
    let request = Request::new(Platform::host());
    bencher.bench(|| {
        let file = Dockerfile::parse(divan::black_box(text.as_bytes())).unwrap();
        graph::lower(&file, &request, &Bases::new(), &mut Vec::new()).unwrap()
    });
}
