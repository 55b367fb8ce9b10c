//! The ways by which an archive comes in.

use std::fs;

use kiln::digest::Digest;
use serde_json::json;

use crate::fake::{Fake, Reply};
use crate::measured::{self, MOST};
use crate::support::{Ended, Kiln};

/// One way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    Load,
    CopyDocker,
    CopyOci,
    Import,
    Add,
    AddFromWeb,
    Base,
}

pub(crate) const ALL: [Door; 7] = [
    Door::Load,
    Door::CopyDocker,
    Door::CopyOci,
    Door::Import,
    Door::Add,
    Door::AddFromWeb,
    Door::Base,
];

impl Door {
    /// Whether what comes in is a tree, and not the files of an archive of images.
    pub(crate) fn takes_a_tree(self) -> bool {
        !matches!(self, Self::Load | Self::CopyDocker | Self::CopyOci)
    }
}

/// A state root and a context beside things that must stay as they are.
pub(crate) struct Victim {
    pub(crate) kiln: Kiln,
    before: Vec<String>,
}

impl Victim {
    pub(crate) fn new() -> Self {
        let kiln = Kiln::new();
        for name in ["near", "state-of-others"] {
            fs::write(kiln.path(name), "untouched").unwrap();
        }
        fs::create_dir(kiln.path("dir")).unwrap();
        fs::write(kiln.path("dir/a"), "untouched").unwrap();
        let before = beside(&kiln);
        Self { kiln, before }
    }

    /// Brings an archive in.
    pub(crate) fn through(&self, door: Door, archive: &[u8]) -> Ended {
        let kiln = &self.kiln;
        let path = kiln.context().join("archive.tar");
        fs::write(&path, archive).unwrap();
        let path = path.to_str().unwrap();
        let copy = |kind: &str| {
            let to = format!("oci:{}", kiln.context().join("out").display());
            self.run(&["copy", &format!("{kind}:{path}"), &to])
        };
        match door {
            Door::Load => self.run(&["load", "-i", path]),
            Door::CopyDocker => copy("docker-archive"),
            Door::CopyOci => copy("oci-archive"),
            Door::Import => self.run(&["import", path, "imported:1"]),
            Door::Add => self.build("FROM scratch\nADD archive.tar /x/\n", &[]),
            Door::AddFromWeb => {
                let archive = archive.to_vec();
                let web = Fake::start_whole(move |_| Reply::new(200, archive.clone()));
                let line = format!("ADD --unpack=true http://{}/archive.tar /x/", web.host());
                self.build(&format!("FROM scratch\n{line}\n"), &[])
            }
            Door::Base => {
                let layout = self.layout(archive);
                self.build(
                    "FROM base\nCOPY here /here\n",
                    &["--build-context", &format!("base=oci-layout://{layout}")],
                )
            }
        }
    }

    fn build(&self, dockerfile: &str, flags: &[&str]) -> Ended {
        self.kiln.file("here", "here\n");
        self.kiln.file("Dockerfile", dockerfile);
        let dest = format!("type=tar,dest={}", self.kiln.context().join("out.tar").display());
        let words = [&["build", "--progress", "plain", "--output", &dest], flags, &["."]].concat();
        self.run(&words)
    }

    /// Makes an OCI layout of an image with this layer, and returns its path.
    fn layout(&self, layer: &[u8]) -> String {
        let layout = self.kiln.context().join("layout");
        let blobs = layout.join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        let put = |kind: &str, bytes: &[u8]| {
            let digest = Digest::of(bytes);
            fs::write(blobs.join(digest.hex()), bytes).unwrap();
            let kind = format!("application/vnd.oci.image.{kind}");
            json!({"mediaType": kind, "digest": digest.to_string(), "size": bytes.len()})
        };
        let mut plain = Digest::of(layer);
        if let Ok(mut decoder) = kiln::layer::decoder(layer) {
            let mut hasher = kiln::digest::HashingReader::new(&mut decoder);
            if std::io::copy(&mut hasher, &mut std::io::sink()).is_ok() {
                plain = hasher.into_parts().1.digest();
            }
        }
        let rootfs = json!({"type": "layers", "diff_ids": [plain.to_string()]});
        let config = json!({"architecture": "amd64", "os": "linux", "rootfs": rootfs});
        let config = put("config.v1+json", config.to_string().as_bytes());
        let manifest = json!({
            "schemaVersion": 2,
            "config": config,
            "layers": [put("layer.v1.tar+gzip", layer)],
        });
        let manifest = put("manifest.v1+json", manifest.to_string().as_bytes());
        let index = json!({"schemaVersion": 2, "manifests": [manifest]});
        fs::write(layout.join("index.json"), index.to_string()).unwrap();
        fs::write(layout.join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}").unwrap();
        layout.to_str().unwrap().to_owned()
    }

    /// Runs kiln: within its memory, and with nothing touched that is not its own.
    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        let (ended, peak) = measured::run(&self.kiln, args);
        assert!(peak <= MOST, "{args:?} took {peak} KiB: {}", ended.stderr);
        assert_eq!(beside(&self.kiln), self.before, "{args:?}");
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
        ended
    }
}

/// What stands beside the state root and the context.
fn beside(kiln: &Kiln) -> Vec<String> {
    let own = ["state", "context", "memory"];
    let walk = walkdir::WalkDir::new(kiln.path("")).min_depth(1).sort_by_file_name();
    let others = walk.into_iter().filter_entry(|entry| {
        entry.depth() != 1 || own.iter().all(|own| entry.file_name() != *own)
    });
    others
        .map(|entry| {
            let entry = entry.unwrap();
            let meta = entry.metadata().unwrap();
            let content = fs::read(entry.path()).unwrap_or_default();
            use std::os::unix::fs::MetadataExt as _;
            let time = (meta.mtime(), meta.mtime_nsec());
            let (path, links) = (entry.path().display(), meta.nlink());
            format!("{path} {:o} {links} {time:?} {content:?}", meta.mode())
        })
        .collect()
}
