//! How fast changes become layers and layers become directories.
//!
//! One mixed file system of 400 MB (many small files, some large, half of it hard to compress) is used for all
//! that touches contents, 50,000 entries for all that does not. Divide by `pack_to_nowhere` to see what writing
//! or compressing costs on top of reading and hashing.

mod inputs;

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::LazyLock;

use divan::counter::BytesCount;
use divan::{Bencher, black_box};

use kiln::digest::{ContentDigest, HashingWriter};
use kiln::layer::{
    Ahead, Change, Changes, Compression, DirectoryContents, Edit, Encoder, Flavour, Kind, Limits,
    Nowhere, PackOptions, Tree, TreePath, decoder, materialise, pack, unpack,
};

use inputs::{bytes, meta, path, system};

fn main() {
    divan::main();
}

const TOTAL: usize = 400 << 20;

struct Corpus {
    dir: tempfile::TempDir,
    changes: Changes,
}

/// The file system on disk, its changes, and the tar made of them.
static CORPUS: LazyLock<Corpus> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("a directory for the corpus");
    let mut changes = Changes::new();
    let (mut written, mut file) = (0, 0u64);
    while written < TOTAL {
        let parent = format!("files/d{}", file / 200);
        if file % 200 == 0 {
            std::fs::create_dir_all(dir.path().join(&parent)).expect("a directory");
            changes.put(path("files"), Kind::Directory, meta());
            changes.put(path(&parent), Kind::Directory, meta());
        }
        let size = [700, 4_000, 12_000, 60_000, 3_000_000][[0, 1, 1, 2, 2, 2, 3, 3, 0, 4]
            [(file % 10) as usize]
            .min(if file % 100 == 9 { 4 } else { 3 })];
        let name = format!("{parent}/f{file}");
        let data = bytes(file, size);
        std::fs::write(dir.path().join(&name), &data).expect("a file");
        let kind = Kind::File { size: size as u64, content: ContentDigest::of(&data) };
        changes.put(path(&name), kind, meta());
        written += size;
        file += 1;
    }
    let corpus = Corpus { changes, dir };
    let mut tar = File::create(corpus.tar()).expect("a tar");
    let contents = DirectoryContents::open(corpus.dir.path()).expect("contents");
    pack(&corpus.changes, &contents, &PackOptions::default(), &mut tar).expect("a layer");
    corpus
});

impl Corpus {
    fn tar(&self) -> std::path::PathBuf {
        self.dir.path().join("layer.tar")
    }

    fn contents(&self) -> DirectoryContents {
        DirectoryContents::open(self.dir.path()).expect("contents")
    }

    fn bytes(&self) -> BytesCount {
        BytesCount::new(self.changes.content_size())
    }
}

fn pack_into(out: &mut dyn Write) {
    let corpus = &*CORPUS;
    let size = pack(&corpus.changes, &corpus.contents(), &PackOptions::default(), out);
    black_box(size.expect("a layer"));
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn pack_to_nowhere(bencher: Bencher<'_, '_>) {
    bencher.counter(CORPUS.bytes()).bench_local(|| pack_into(&mut io::sink()));
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn pack_and_diff_id(bencher: Bencher<'_, '_>) {
    bencher.counter(CORPUS.bytes()).bench_local(|| {
        let mut out = HashingWriter::new(io::sink());
        pack_into(&mut out);
        out.into_parts().1.diff_id()
    });
}

#[divan::bench(sample_count = 3, sample_size = 1, args = [
    (Compression::Gzip { level: 1 }, 2), (Compression::Gzip { level: 4 }, 2),
    (Compression::Gzip { level: 5 }, 2),
    (Compression::Gzip { level: 6 }, 1), (Compression::Gzip { level: 6 }, 2),
    (Compression::Zstd { level: 3 }, 1), (Compression::Zstd { level: 3 }, 2),
])]
fn pack_and_compress(bencher: Bencher<'_, '_>, (compression, threads): (Compression, usize)) {
    bencher.counter(CORPUS.bytes()).bench_local(|| {
        let mut out = Encoder::new(Count(0), compression, threads).expect("an encoder");
        pack_into(&mut out);
        black_box(out.finish().expect("a stream").0)
    });
}

struct Count(u64);

impl Write for Count {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0 += buf.len() as u64;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn into_empty_directory(bencher: Bencher<'_, '_>, work: impl Fn(&Path)) {
    let corpus = &*CORPUS;
    bencher
        .counter(corpus.bytes())
        .with_inputs(|| tempfile::tempdir().expect("a directory"))
        .bench_local_values(|dir| {
            work(dir.path());
            dir
        });
}

#[divan::bench(sample_count = 3, sample_size = 1)]
fn unpack_tar(bencher: Bencher<'_, '_>) {
    into_empty_directory(bencher, |dir| {
        let tar = File::open(CORPUS.tar()).expect("the tar");
        black_box(unpack(tar, dir, None, Limits::default(), Flavour::USER).expect("changes"));
    });
}

#[divan::bench(sample_count = 3, sample_size = 1, args = ["in turn", "ahead"])]
fn unpack_gzip(bencher: Bencher<'_, '_>, how: &str) {
    static PACKED: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut out = Encoder::new(Vec::new(), Compression::default(), 2).expect("an encoder");
        pack_into(&mut out);
        out.finish().expect("a stream")
    });
    LazyLock::force(&PACKED);
    into_empty_directory(bencher, |dir| {
        let reader = decoder(PACKED.as_slice()).expect("a decoder");
        let unpack = |reader: &mut dyn Read| {
            black_box(unpack(reader, dir, None, Limits::default(), Flavour::USER).expect("changes"))
        };
        std::thread::scope(|scope| match how {
            "ahead" => unpack(&mut Ahead::new(scope, reader).expect("a thread").0),
            _ => unpack(&mut { reader }),
        });
    });
}

#[divan::bench(sample_count = 3, sample_size = 1)]
fn materialise_directory(bencher: Bencher<'_, '_>) {
    into_empty_directory(bencher, |dir| {
        let contents = CORPUS.contents();
        materialise(&CORPUS.changes, &contents, dir, Flavour::USER).expect("a directory");
    });
}

#[divan::bench(sample_count = 3, sample_size = 1, args = [
    Compression::Gzip { level: 6 }, Compression::Zstd { level: 3 },
])]
fn decompress(bencher: Bencher<'_, '_>, compression: Compression) {
    let mut packed = Encoder::new(Vec::new(), compression, 2).expect("an encoder");
    let mut part = Vec::new();
    File::open(CORPUS.tar()).expect("the tar").take(100 << 20).read_to_end(&mut part).expect("it");
    packed.write_all(&part).expect("a stream");
    let packed = packed.finish().expect("a stream");
    bencher.counter(BytesCount::new(part.len())).bench_local(|| {
        let mut reader = decoder(packed.as_slice()).expect("a decoder");
        io::copy(&mut reader, &mut io::sink()).expect("the tar")
    });
}

/// 50,000 entries as an installed system has them.
static MANY: LazyLock<Changes> = LazyLock::new(|| system(50_000));

#[divan::bench]
fn encode_50k(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| MANY.encode());
}

#[divan::bench]
fn decode_50k(bencher: Bencher<'_, '_>) {
    let bytes = MANY.encode();
    bencher.bench_local(|| Changes::decode(&bytes).expect("changes"));
}

#[divan::bench]
fn apply_50k(bencher: Bencher<'_, '_>) {
    let nowhere = Nowhere::shared();
    bencher.bench_local(|| Tree::empty().apply(&MANY, &nowhere).expect("a tree"));
}

#[divan::bench]
fn edit_50k(bencher: Bencher<'_, '_>) {
    let tree = Tree::empty().apply(&MANY, &Nowhere::shared()).expect("a tree");
    bencher.bench_local(|| {
        let mut edit = Edit::new(Tree::empty());
        for (path, node) in tree.walk(&TreePath::root()).skip(1) {
            edit.put(&path, node.alone(node.meta().clone())).expect("a place");
        }
        edit.finish()
    });
}

#[divan::bench]
fn identity_of_50k(bencher: Bencher<'_, '_>) {
    let nowhere = Nowhere::shared();
    bencher
        .with_inputs(|| Tree::empty().apply(&MANY, &nowhere).expect("a tree"))
        .bench_local_values(|tree| {
            let identity = tree.root().identity();
            (identity, tree)
        });
}

#[divan::bench]
fn change_one_of_50k(bencher: Bencher<'_, '_>) {
    let nowhere = Nowhere::shared();
    let tree = Tree::empty().apply(&MANY, &nowhere).expect("a tree");
    tree.root().identity();
    let kind = Kind::File { size: 1, content: ContentDigest::of(b"x") };
    let one = [(path("usr/share/package-7/file-180.txt"), Change::Put { kind, meta: meta() })];
    let one: Changes = one.into_iter().collect();
    bencher.bench_local(|| tree.apply(&one, &nowhere).expect("a tree").root().identity());
}
