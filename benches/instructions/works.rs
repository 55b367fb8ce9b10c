//! What is counted: the same whenever it is done, and on one thread, but for zstd, which always has a worker.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use kiln::cache::{InputKey, RunInputs, file_key, image_key, run_key};
use kiln::digest::ContentDigest;
use kiln::dockerfile::Dockerfile;
use kiln::event::Cancel;
use kiln::fs::PathError;
use kiln::graph::{self, Bases, FileAction, Graph, Lowered, Op, Request, VertexId};
use kiln::layer::{
    Changes, Compression, Contents, Encoder, Kind, Limits, Nowhere, PackOptions, Tree, TreePath,
    decoder, pack, read_archive,
};
use kiln::oci::Platform;
use kiln::source::context::LocalContext;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::inputs::{bytes, meta, path, system};

/// Something that is counted.
pub(crate) struct Work {
    /// What the table calls it.
    pub(crate) name: &'static str,
    /// Makes its inputs and returns what does it; that is told how often it was done before.
    prepare: fn() -> Box<dyn FnMut(u32)>,
}

impl Work {
    /// Does it so many times.
    pub(crate) fn run(&self, times: u32) {
        let mut work = (self.prepare)();
        (0..times).for_each(&mut work);
    }
}

/// All of it.
pub(crate) const WORKS: &[Work] = &[
    Work { name: "parse and lower 25 instructions", prepare: || parse(1) },
    Work { name: "parse and lower 500 instructions", prepare: || parse(20) },
    Work { name: "list a context of 5k files", prepare: list },
    Work { name: "keys of the steps of 500 instructions", prepare: step_keys },
    Work { name: "identity of a tree of 10k files", prepare: identity },
    Work { name: "encode changes of 10k files", prepare: encode },
    Work { name: "decode changes of 10k files", prepare: decode },
    Work { name: "pack 2k small files, one of 4 MB", prepare: pack_files },
    Work { name: "read the tar of 2k small files, one of 4 MB", prepare: read_tar },
    Work { name: "gzip 4 MB", prepare: || compress(Compression::default()) },
    Work { name: "gunzip 4 MB", prepare: || decompress(Compression::default()) },
    Work {
        name: "zstd 4 MB",
        prepare: || compress(Compression::Zstd { level: Compression::ZSTD_LEVEL }),
    },
];

/// One stage of 25 instructions, most kinds among them.
fn stage(n: usize, text: &mut String) {
    let from = if n == 0 { String::new() } else { format!("--from=stage{} ", n - 1) };
    write!(
        text,
        r#"FROM scratch AS stage{n}
ARG VERSION=1.2.{n}
ARG FLAGS="--release --locked"
ENV PATH=/usr/local/bin:/usr/bin:/bin HOME=/root \
    LANG="C.UTF-8"
# What it is.
LABEL org.opencontainers.image.title="part {n}" org.opencontainers.image.version=${{VERSION}}
WORKDIR /src/part{n}
COPY Cargo.toml Cargo.lock ./
COPY --chown=1000:1000 --chmod=644 src/ src/
COPY {from}/out /usr/local/bin/
RUN apt-get update && \
    # Without what is only recommended.
    apt-get install --yes --no-install-recommends \
        build-essential ca-certificates curl git \
    && rm -rf /var/lib/apt/lists/*
RUN --mount=type=cache,target=/root/.cargo,id=cargo{n} --mount=type=bind,source=data,target=/data cargo build $FLAGS
RUN <<END
set -e
make VERSION=${{VERSION:-none}} all
make install
END
ENV PART={n} NAME=part-${{VERSION}}
COPY ["a.txt", "with space.txt", "/etc/part/"]
ADD --link conf/*.toml /etc/part/conf/
RUN ["/bin/sh", "-c", "echo exec"]
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN curl -fsSL https://example.org/$VERSION | tar -xz
RUN --network=none test -n "$PART" && echo ${{NAME%-*}}
VOLUME /var/lib/part /var/cache/part
EXPOSE 80/tcp 8443
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s CMD curl -f http://localhost/ || exit 1
USER app:app
ENTRYPOINT ["/usr/local/bin/part"]
CMD ["--serve", "--port=80"]
"#
    )
    .unwrap();
}

fn dockerfile(stages: usize) -> String {
    let mut text = String::from("# syntax=docker/dockerfile:1\n");
    (0..stages).for_each(|n| stage(n, &mut text));
    text
}

fn lower(text: &str) -> Lowered {
    let file = Dockerfile::parse(text.as_bytes()).unwrap();
    graph::lower(&file, &Request::new(platform()), &Bases::new(), &mut Vec::new()).unwrap()
}

/// Not the machine's: it is in every key.
fn platform() -> Platform {
    "linux/amd64".parse().unwrap()
}

fn parse(stages: usize) -> Box<dyn FnMut(u32)> {
    let text = dockerfile(stages);
    Box::new(move |_| drop(black_box(lower(black_box(&text)))))
}

/// Makes 5,000 files in the directory of the process, and lists them as a rebuild does that finds nothing changed.
fn list() -> Box<dyn FnMut(u32)> {
    for d in 0..50 {
        let directory = PathBuf::from(format!("directory{d}"));
        std::fs::create_dir(&directory).unwrap();
        (0..100).for_each(|f| std::fs::write(directory.join(format!("file{f}.rs")), "").unwrap());
    }
    // The listing of files that may have changed since is digested by nobody.
    std::thread::sleep(Duration::from_millis(50));
    on_one_processor();
    let patterns = ".git\n**/node_modules\n*.log\ntarget/**\n!target/keep\ndocs/*.md\n";
    let ignore = Some((PathBuf::from(".dockerignore"), patterns.into()));
    let context = LocalContext { root: PathBuf::from("."), ignore, paths: vec!["/".to_owned()] };
    Box::new(move |_| drop(black_box(context.list(&Cancel::new()).unwrap())))
}

/// Keeps this process on one processor, so that the walk needs no threads.
fn on_one_processor() {
    let allowed = sched_getaffinity(None).unwrap();
    let mut one = CpuSet::new();
    one.set((0..CpuSet::MAX_CPU).find(|cpu| allowed.is_set(*cpu)).unwrap());
    sched_setaffinity(None, &one).unwrap();
}

fn step_keys() -> Box<dyn FnMut(u32)> {
    let graph = lower(&dockerfile(20)).graph;
    Box::new(move |_| drop(black_box(keys(&graph))))
}

/// Returns the definition key of each vertex.
fn keys(graph: &Graph) -> Vec<InputKey> {
    let mut keys: Vec<InputKey> = Vec::new();
    for (_, vertex) in graph.iter() {
        let of = |id: Option<VertexId>| id.map_or(InputKey::Empty, |id| keys[id.0 as usize]);
        let base = of(vertex.base);
        let key = match &vertex.op {
            Op::Run(run) => {
                let mounts: Vec<InputKey> =
                    vertex.inputs().into_iter().map(|id| of(Some(id))).collect();
                let inputs = RunInputs {
                    base,
                    mounts: &mounts,
                    hosts: &[],
                    ulimits: &[],
                    shm_size: 64 << 20,
                    given: &[],
                };
                run_key(run, &inputs).key
            }
            Op::File(file) => {
                let sources: Vec<InputKey> =
                    file.actions.iter().map(|action| of(FileAction::input(action))).collect();
                file_key(file, base, &sources, vertex.epoch).key
            }
            Op::Image(image) => image_key(&image.manifest, &image.request.platform).key,
            Op::Files(_) | Op::Http(_) | Op::Git(_) => {
                keys.push(InputKey::Content(ContentDigest::of(b"files")));
                continue;
            }
        };
        keys.push(InputKey::Definition(key));
    }
    keys
}

fn identity() -> Box<dyn FnMut(u32)> {
    let (changes, nowhere) = (system(10_000), Nowhere::shared());
    Box::new(move |_| {
        let tree = Tree::empty().apply(&changes, &nowhere).unwrap();
        black_box(tree.root().identity());
    })
}

fn encode() -> Box<dyn FnMut(u32)> {
    let changes = system(10_000);
    Box::new(move |_| drop(black_box(changes.encode())))
}

fn decode() -> Box<dyn FnMut(u32)> {
    let encoded = system(10_000).encode();
    Box::new(move |_| drop(black_box(Changes::decode(&encoded).unwrap())))
}

/// Files in memory.
struct Memory(BTreeMap<TreePath, Vec<u8>>);

impl Contents for Memory {
    fn open(&self, path: &TreePath) -> kiln::fs::Result<Box<dyn Read + Send + '_>> {
        match self.0.get(path) {
            Some(content) => Ok(Box::new(content.as_slice())),
            None => Err(PathError::of("open", path.as_path())(io::ErrorKind::NotFound)),
        }
    }
}

/// 2,000 files of up to 4 kB, and one of 4 MB, so that neither what a file costs nor what a byte does is lost beside
/// the other.
fn files() -> (Changes, Memory) {
    let (mut changes, mut memory) = (Changes::new(), Memory(BTreeMap::new()));
    changes.put(path("files"), Kind::Directory, meta());
    for n in 0..=2_000_u64 {
        let directory = format!("files/d{}", n / 100);
        changes.put(path(&directory), Kind::Directory, meta());
        let size = if n == 2_000 { 4 << 20 } else { (n as usize * 37) % 4096 };
        let (name, content) = (path(&format!("{directory}/f{n}")), bytes(n, size));
        let kind = Kind::File { size: size as u64, content: ContentDigest::of(&content) };
        changes.put(name.clone(), kind, meta());
        memory.0.insert(name, content);
    }
    (changes, memory)
}

fn pack_files() -> Box<dyn FnMut(u32)> {
    let (changes, memory) = files();
    Box::new(move |_| {
        black_box(pack(&changes, &memory, &PackOptions::default(), &mut io::sink()).unwrap());
    })
}

fn read_tar() -> Box<dyn FnMut(u32)> {
    let (changes, memory) = files();
    let mut tar = Vec::new();
    pack(&changes, &memory, &PackOptions::default(), &mut tar).unwrap();
    let mut spool = tempfile::tempfile().unwrap();
    Box::new(move |_| {
        let tree = read_archive(tar.as_slice(), &mut spool, Limits::default());
        drop(black_box(tree.unwrap()));
    })
}

fn compressed(content: &[u8], compression: Compression) -> Vec<u8> {
    let mut out = Encoder::new(Vec::new(), compression, 1).unwrap();
    out.write_all(content).unwrap();
    out.finish().unwrap()
}

fn compress(compression: Compression) -> Box<dyn FnMut(u32)> {
    let content = bytes(1, 4 << 20);
    Box::new(move |_| drop(black_box(compressed(&content, compression))))
}

fn decompress(compression: Compression) -> Box<dyn FnMut(u32)> {
    let packed = compressed(&bytes(1, 4 << 20), compression);
    Box::new(move |_| {
        let mut reader = decoder(packed.as_slice()).unwrap();
        black_box(io::copy(&mut reader, &mut io::sink()).unwrap());
    })
}
