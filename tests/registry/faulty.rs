//! Pushes and pulls through a proxy that does wrong things at random. Each either succeeds with exactly the image, or
//! fails with an error that says so; never does a wrong byte stay, here or there.
//!
//! The usual number of runs takes seconds. `KILN_FAULT_RUNS=1000` makes a thousand, `KILN_FAULT_SEED=n` begins with that
//! seed, and makes only that one if no number is said:
//!
//! ```sh
//! KILN_FAULT_RUNS=1000 cargo test --test registry faulty -- --nocapture
//! ```

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kiln::digest::{DiffId, Digest};
use kiln::event::Cancel;
use kiln::graph::{ImageLocation, ImageRequest};
use kiln::oci::{
    Compression, Content, Descriptor, Document, Family, ImageConfig, Manifest, MediaType, Platform,
    Reference, media_type,
};
use kiln::registry::agent::{Agent, AgentOptions, Timeouts};
use kiln::registry::{BlobSource, Client, Options, RegistryError, Retry};
use kiln::snapshot::LayerId;
use kiln::source::SourceError;
use kiln::source::image::Images;
use kiln::store::Store;

use crate::proxy::{Fault, Proxy};
use crate::reference;
use crate::rng::Rng;
use crate::server::{Registry, Setup};

const USUAL: u64 = 40;

/// An image in memory.
struct Image {
    blobs: Vec<(Descriptor, Vec<u8>)>,
    manifest: Vec<u8>,
}

impl Image {
    /// A few layers of a few files, compressed in one way or the other.
    fn random(rng: &mut Rng) -> Self {
        let mut config = ImageConfig::scratch(&Platform::host());
        let (mut blobs, mut layers) = (Vec::new(), Vec::new());
        for number in 0..1 + rng.below(4) {
            let tar = tar_of(number, rng);
            config.rootfs.diff_ids.push(DiffId::from_bytes(*Digest::of(&tar).as_bytes()));
            let (compression, bytes) = match rng.below(3) {
                0 => (Compression::None, tar),
                1 => (Compression::Gzip, gzip(&tar)),
                _ => (Compression::Zstd, zstd::encode_all(tar.as_slice(), 1).unwrap()),
            };
            let name = media_type(Content::Layer(compression), Family::Oci).unwrap();
            layers.push(Descriptor::of(name, &bytes));
            blobs.push((layers[number].clone(), bytes));
        }
        let config = config.to_bytes();
        let name = media_type(Content::Config, Family::Oci).unwrap();
        blobs.push((Descriptor::of(name, &config), config));
        let manifest = Manifest::new(Family::Oci, blobs[blobs.len() - 1].0.clone(), layers);
        Self { blobs, manifest: manifest.to_bytes() }
    }

    fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }

    fn push(&self, client: &Client, name: &Reference) -> Result<(), RegistryError> {
        for (descriptor, bytes) in &self.blobs {
            let content = bytes.to_vec();
            let source =
                BlobSource { descriptor, content: &content, from: None, progress: &|_| () };
            client.push_blob(name, &source)?;
        }
        client.put_manifest(name, &MediaType::ImageManifest, &self.manifest).map(drop)
    }

    /// Holds what a registry has under a name against the image.
    fn check(&self, client: &Client, name: &Reference) {
        let fetched = client.resolve(name).unwrap();
        assert_eq!(fetched.bytes, self.manifest);
        assert!(matches!(fetched.document, Document::Manifest(_)));
        for (descriptor, bytes) in &self.blobs {
            assert!(client.blob_bytes(name, descriptor, 1 << 20).unwrap() == *bytes);
        }
    }

    /// Holds whatever a registry took of an image that failed against it; whether the name leads to something else.
    fn check_parts(&self, client: &Client, name: &Reference) -> bool {
        for (descriptor, bytes) in &self.blobs {
            if client.has_blob(name, descriptor.digest).unwrap() {
                assert!(client.blob_bytes(name, descriptor, 1 << 20).unwrap() == *bytes);
            }
        }
        match client.resolve(name) {
            Ok(fetched) => fetched.bytes != self.manifest,
            Err(RegistryError::NotFound(_)) => false,
            Err(error) => matches!(error, RegistryError::Document { .. }),
        }
    }
}

fn tar_of(layer: usize, rng: &mut Rng) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for file in 0..1 + rng.below(5) {
        let mut header = tar::Header::new_gnu();
        let noise = rng.one_in(2);
        let content: Vec<u8> = (0..rng.below(40_000))
            .map(|i| if noise { rng.next() as u8 } else { i as u8 })
            .collect();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        let path = format!("layer{layer}/file{file}");
        builder.append_data(&mut header, path, content.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A client that pauses hardly at all, and uploads in small chunks or in none.
fn client(chunk: u64) -> Client {
    let seconds = Duration::from_secs;
    let timeouts = Timeouts {
        connect: seconds(10),
        response: seconds(1),
        idle: seconds(1),
        document: seconds(5),
        slow: seconds(5),
    };
    let agent = Agent::new(AgentOptions { timeouts, ..AgentOptions::default() });
    let (pause, longest) = (Duration::from_millis(1), seconds(2));
    let retry = Retry { attempts: 5, pause, longest, ..Retry::default() };
    Client::new(Arc::new(agent), Options { retry, chunk, ..Options::default() })
}

/// Pulls as a build does; the image and its layers.
fn pull(
    store: &Store,
    client: &Client,
    name: &Reference,
) -> Result<(Digest, Vec<LayerId>), SourceError> {
    let images = Images::new(store, client.clone(), true, Cancel::new());
    let location = ImageLocation::Reference(name.clone());
    let request = ImageRequest { location, platform: Platform::host() };
    let digest = images.resolve(&request)?.digest;
    Ok((digest, images.fetch(&request, &|_, _, _| ())?.layers))
}

/// Every blob of a store has the digest that it is named after.
fn check_store(root: &Path) {
    for entry in std::fs::read_dir(root.join("blobs/sha256")).unwrap() {
        let path = entry.unwrap().path();
        let actual = Digest::of(&std::fs::read(&path).unwrap()).hex();
        assert_eq!(path.file_name().unwrap().to_str(), Some(actual.as_str()));
    }
}

/// What may be wrong when the network is: nothing that blames the image, the name or the user.
fn is_clear(error: &RegistryError) -> bool {
    match error {
        RegistryError::Status { status, .. } => matches!(status, 400 | 429 | 500..=504),
        RegistryError::Agent(_)
        | RegistryError::Digest { .. }
        | RegistryError::Size { .. }
        | RegistryError::Range(_) => true,
        _ => false,
    }
}

#[derive(Debug, Default)]
struct Tally {
    pushed: u64,
    pulled: u64,
    /// Failed pushes of which the manifest was spoilt on the way and could not be put right.
    left_wrong: u64,
    faults: BTreeMap<Fault, u64>,
    errors: BTreeMap<String, u64>,
}

impl Tally {
    fn failed(&mut self, what: &str, error: &RegistryError) {
        assert!(is_clear(error), "{what}: {error:?}");
        let name = format!("{error:?}");
        let name = name.split([' ', '(', '{']).next().unwrap_or_default();
        *self.errors.entry(format!("{what}: {name}")).or_default() += 1;
    }
}

struct Bench {
    registry: Registry,
    proxy: Proxy,
    tally: Tally,
}

impl Bench {
    fn run(&mut self, seed: u64) {
        let mut rng = Rng::new(seed.wrapping_mul(0x1000_0001));
        let image = Image::random(&mut rng);
        let chunk = [20_000, 100_000, 64 << 20][rng.below(3)];
        let (behind, through) = (client(64 << 20), client(chunk));
        let direct = reference(&format!("{}/r{seed}:t", self.registry.host));
        let name = reference(&format!("{}/r{seed}:t", self.proxy.host()));

        self.proxy.disturb(seed);
        let pushed = image.push(&through, &name);
        self.proxy.calm();
        match pushed {
            Ok(()) => self.tally.pushed += 1,
            Err(error) => {
                self.tally.failed("push", &error);
                // A registry cannot know that the manifest that it gets under a tag was another one, and the client
                // cannot if it never gets an answer. All it can do is to say that it failed.
                let wrong = image.check_parts(&behind, &direct);
                assert!(!wrong || self.proxy.renamed());
                self.tally.left_wrong += u64::from(wrong);
                image.push(&behind, &direct).unwrap();
            }
        }
        image.check(&behind, &direct);

        let expected = {
            let directory = tempfile::tempdir().unwrap();
            pull(&Store::open(directory.path()).unwrap(), &behind, &direct).unwrap()
        };
        assert_eq!(expected.0, image.digest());
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        self.proxy.disturb(!seed);
        let pulled = pull(&store, &client(chunk), &name);
        self.proxy.calm();
        check_store(directory.path());
        match pulled {
            Ok(pulled) => {
                assert_eq!(pulled, expected);
                self.tally.pulled += 1;
            }
            Err(SourceError::Registry(error)) => self.tally.failed("pull", &error),
            Err(error) => panic!("{error:?}"),
        }
        // Whatever happened, the store is as good as before.
        assert_eq!(pull(&store, &through, &name).unwrap(), expected);
        for fault in self.proxy.faults() {
            *self.tally.faults.entry(fault).or_default() += 1;
        }
    }
}

#[test]
fn through_a_faulty_proxy_no_wrong_image_comes() {
    let number = |name: &str| std::env::var(name).ok().map(|it| it.parse::<u64>().unwrap());
    let first = number("KILN_FAULT_SEED");
    let runs = number("KILN_FAULT_RUNS").unwrap_or(if first.is_some() { 1 } else { USUAL });
    let seeds = first.unwrap_or(1)..first.unwrap_or(1) + runs;
    let registry = Registry::start(&Setup::Plain);
    let proxy = Proxy::start(&registry.host);
    let mut bench = Bench { registry, proxy, tally: Tally::default() };
    for seed in seeds {
        let run = std::panic::AssertUnwindSafe(|| bench.run(seed));
        if let Err(panic) = std::panic::catch_unwind(run) {
            println!("failed: KILN_FAULT_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
        if seed % 50 == 0 {
            println!("{seed}: {:?}", bench.tally);
        }
    }
    println!("{runs} runs: {:#?}", bench.tally);
    // Most faults are survived; otherwise the runs would show nothing.
    let enough = |good: u64| runs == 1 || good * 10 >= runs * 8;
    assert!(enough(bench.tally.pushed) && enough(bench.tally.pulled));
}
