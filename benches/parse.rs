//! Parsing the whole corpus, expanding its words, and matching the paths of a large context against an ignore file.

#![expect(clippy::unwrap_used, reason = "a bench that cannot read its data has failed")]

use std::path::Path;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use kiln::dockerfile::Dockerfile;
use kiln::dockerfile::word::{Expander, environment};
use kiln::dockerignore::{Matcher, Parents};

fn main() {
    divan::main();
}

fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/corpus/dockerfiles/edge");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|end| end == "Dockerfile"));
    files.map(|path| std::fs::read(path).unwrap()).collect()
}

#[divan::bench]
fn parse_the_corpus(bencher: Bencher<'_, '_>) {
    let files = corpus();
    let bytes: usize = files.iter().map(Vec::len).sum();
    bencher.counter(BytesCount::new(bytes)).bench(|| {
        files.iter().filter(|text| Dockerfile::parse(divan::black_box(text)).is_ok()).count()
    });
}

#[divan::bench]
fn expand_words(bencher: Bencher<'_, '_>) {
    let words = ["plain", "${HOME}/bin:$PATH", "\"a ${b:-$c} d\"", "${PATH//:/;}", "'$single'"];
    let pairs = ["HOME=/root", "PATH=/usr/bin:/bin", "c=value"];
    let expander = Expander::new('\\');
    let lookup = environment(&pairs);
    bencher.counter(ItemsCount::new(words.len())).bench_local(|| {
        words
            .iter()
            .map(|word| expander.expand(divan::black_box(word), &lookup).unwrap().len())
            .sum::<usize>()
    });
}

#[divan::bench]
fn match_20k_paths(bencher: Bencher<'_, '_>) {
    let patterns = [".git", "**/node_modules", "*.log", "target/**", "!target/keep", "docs/*.md"];
    let matcher = Matcher::new(patterns).unwrap();
    let names: Vec<Vec<String>> =
        (0..200).map(|d| (0..100).map(|f| format!("dir{d}/file{f}.rs")).collect()).collect();
    bencher.counter(ItemsCount::new(20_000_usize)).bench(|| {
        let mut ignored = 0;
        for (index, files) in names.iter().enumerate() {
            let directory = format!("dir{index}");
            let parents = matcher.check(&directory, &Parents::default()).unwrap().parents;
            ignored +=
                files.iter().filter(|file| matcher.check(file, &parents).unwrap().matched).count();
        }
        ignored
    });
}
