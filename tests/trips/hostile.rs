//! Archives that are damaged or mean harm: each ends in one clear error, and the store is as it was.

use std::io::Write;
use std::path::Path;

use kiln::digest::Digest;
use serde_json::{Value, json};

use crate::support::{Ended, Kiln, tool};
use crate::{arg, built, done, everything, fails, run};

/// What a file of a tar is.
enum Content {
    Bytes(Vec<u8>),
    Link(tar::EntryType, &'static str),
}

/// A tar whose names are written as they are.
fn tar(files: &[(&str, Content)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        let mut bytes: &[u8] = &[];
        match content {
            Content::Bytes(content) => {
                bytes = content;
                header.set_size(content.len() as u64);
            }
            Content::Link(kind, target) => {
                header.set_entry_type(*kind);
                header.set_size(0);
                header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
            }
        }
        header.set_cksum();
        builder.append(&header, bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

fn file(bytes: impl Into<Vec<u8>>) -> Content {
    Content::Bytes(bytes.into())
}

fn layer() -> Vec<u8> {
    tar(&[("hello", file("hello\n"))])
}

fn config(diff_ids: &[String]) -> Vec<u8> {
    let rootfs = json!({"type": "layers", "diff_ids": diff_ids});
    json!({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs})
        .to_string()
        .into_bytes()
}

fn good_config() -> Vec<u8> {
    config(&[Digest::of(&layer()).to_string()])
}

fn list(config: &str, tag: &str, layer: &str) -> Vec<u8> {
    json!([{"Config": config, "RepoTags": [tag], "Layers": [layer]}]).to_string().into_bytes()
}

/// A docker archive of one layer.
fn docker(config: Vec<u8>, list: Vec<u8>) -> Vec<u8> {
    tar(&[("c.json", file(config)), ("l/layer.tar", file(layer())), ("manifest.json", file(list))])
}

/// A state root with an image, and what an attempt must not change.
struct Victim {
    kiln: Kiln,
    before: [String; 2],
}

impl Victim {
    fn new() -> Self {
        let kiln = built();
        // What is counted for the first time is noted.
        state(&kiln);
        let before = state(&kiln);
        Self { kiln, before }
    }

    fn load(&self, archive: &[u8]) -> Ended {
        let path = self.kiln.path("archive");
        std::fs::write(&path, archive).unwrap();
        run(&self.kiln, &["load", "-i", arg(&path)])
    }

    /// Loads, which must fail for this reason.
    fn refuses(&self, archive: &[u8], causes: &str) {
        let ended = self.load(archive);
        let path = self.kiln.path("archive");
        let expected = format!("error: cannot use `{}`\n  caused by: {causes}\n", path.display());
        assert_eq!((ended.code, ended.error()), (Some(2), expected), "{}", ended.stdout);
        assert_eq!(state(&self.kiln)[0], self.before[0], "{causes}");
    }
}

/// The images, and how much the store has.
fn state(kiln: &Kiln) -> [String; 2] {
    let sizes = done(kiln, &["du", "--format", "json"]);
    let size = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        format!("{} {}\n", row["ID"], row["Size"])
    };
    [everything(kiln), sizes.lines().map(size).collect()]
}

const NO_IMAGES: &str = "there are no images in the archive\n  \
     hint: kiln reads docker archives, OCI archives and OCI layouts; `kiln import` takes a root file system";

#[test]
fn docker_archives_that_are_wrong() {
    let victim = Victim::new();
    let zeros = format!("sha256:{}", "0".repeat(64));
    let good = Digest::of(&layer());
    let usual = || list("c.json", "bad:1", "l/layer.tar");
    let whole = docker(good_config(), usual());
    victim.refuses(&tar(&[("c.json", file(good_config()))]), NO_IMAGES);
    victim.refuses(&docker(good_config(), b"[]".to_vec()), NO_IMAGES);
    victim.refuses(
        &docker(good_config(), b"[".to_vec()),
        "malformed manifest.json\n  caused by: EOF while parsing a list at line 1 column 1",
    );
    victim.refuses(
        &docker(good_config(), list("c.json", "bad:1", "m/layer.tar")),
        "`m/layer.tar` is not in the archive",
    );
    victim.refuses(
        &docker(good_config(), list("d.json", "bad:1", "l/layer.tar")),
        "`d.json` is not in the archive",
    );
    victim.refuses(
        &docker(b"{".to_vec(), usual()),
        "malformed image config\n  caused by: EOF while parsing an object at line 1 column 1",
    );
    victim.refuses(
        &docker(config(&[]), usual()),
        "layer 0 of `c.json` is in the list or in the config, but not in both",
    );
    victim.refuses(
        &docker(config(std::slice::from_ref(&zeros)), usual()),
        &format!("layer 0 of `c.json` has the diff id `{good}`, not `{zeros}`"),
    );
    victim.refuses(&whole[..2000], "malformed archive: it ends within a file");
    victim.refuses(
        &docker(good_config(), vec![b' '; 5 << 20]),
        "the file of the archive has 5242880 bytes; at most 4194304 are read",
    );
    victim.refuses(
        b"hello\n".repeat(1000).as_slice(),
        "malformed archive: a header has the wrong checksum",
    );
    victim.refuses(b"", NO_IMAGES);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&whole).unwrap();
    let gzip = gzip.finish().unwrap();
    victim.refuses(
        &gzip[..gzip.len() - 30],
        "cannot read the archive\n  caused by: incomplete deflate stream",
    );
    assert_eq!(state(&victim.kiln), victim.before);
    assert_eq!(victim.load(&whole).stdout, "Loaded image: bad:1\n");
}

#[test]
fn archives_that_point_out_of_themselves() {
    let victim = Victim::new();
    let outside = victim.kiln.path("outside");
    std::fs::write(&outside, good_config()).unwrap();
    for path in ["../../etc/passwd", "/etc/passwd", arg(&outside)] {
        victim.refuses(
            &docker(good_config(), list("c.json", "bad:1", path)),
            &format!("`{path}` is not in the archive"),
        );
    }
    let with = |link: Content| {
        let files = [
            ("c.json", file(good_config())),
            ("l/layer.tar", link),
            ("manifest.json", file(list("c.json", "bad:1", "l/layer.tar"))),
        ];
        tar(&files)
    };
    use tar::EntryType::{Link, Symlink};
    for target in ["/etc/passwd", "../../../../etc/passwd", "layer.tar"] {
        victim
            .refuses(&with(Content::Link(Symlink, target)), "`l/layer.tar` is not in the archive");
    }
    victim.refuses(
        &with(Content::Link(Link, "/etc/passwd")),
        "entry `l/layer.tar` of the archive is a hard link to a file that is not there",
    );
    // Nothing is unpacked, so such entries are only odd.
    let beside = [
        ("../escaped", file("x")),
        ("d", Content::Link(Symlink, "/tmp")),
        ("d/escaped", file("x")),
        ("c.json", file(good_config())),
        ("l/layer.tar", file(layer())),
        ("manifest.json", file(list("c.json", "bad:1", "l/layer.tar"))),
    ];
    assert_eq!(victim.load(&tar(&beside)).stdout, "Loaded image: bad:1\n");
    assert!(!victim.kiln.path("escaped").exists() && !Path::new("/tmp/escaped").exists());
}

#[test]
fn names_that_are_none_are_left_out() {
    let victim = Victim::new();
    let id = Digest::of(&good_config());
    let digest_name = format!("bad@sha256:{}", "0".repeat(64));
    for (name, shown) in [
        ("bad\nname:1", "bad name:1"),
        ("\u{1b}[31mred:1", "\u{fffd}[31mred:1"),
        ("BAD:1", "BAD:1"),
        ("../../x:1", "../../x:1"),
        (&digest_name, &digest_name),
        ("sha256:abcd", "sha256:abcd"),
    ] {
        let ended = victim.load(&docker(good_config(), list("c.json", name, "l/layer.tar")));
        assert_eq!(ended.stdout, format!("Loaded image ID: {id}\n"));
        let last = ended.stderr.lines().last().unwrap();
        assert!(!last.contains('\u{1b}'), "{last:?}");
        assert_eq!(
            last,
            format!(
                "warning: `{shown}` is no name for an image, so the archive's image did not get it"
            )
        );
    }
    let listed = done(&victim.kiln, &["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    assert_eq!(listed, "app:latest\n<none>:<none>\n");
    let error =
        victim.load(&docker(good_config(), list("c\n\u{1b}[2J", "bad:1", "l/layer.tar"))).error();
    assert!(!error.contains('\u{1b}') && error.ends_with("is not in the archive\n"), "{error:?}");
}

/// Turns one JSON document into another.
type Change<'a> = &'a dyn Fn(&mut Value);

/// An OCI archive, its manifest and its index changed.
fn oci(manifest: Change<'_>, index: Change<'_>, with_layer: &[u8]) -> Vec<u8> {
    let name = |bytes: &[u8]| format!("blobs/sha256/{}", Digest::of(bytes).hex());
    let describe = |kind: &str, bytes: &[u8]| {
        let kind = format!("application/vnd.oci.image.{kind}");
        json!({"mediaType": kind, "digest": Digest::of(bytes).to_string(), "size": bytes.len()})
    };
    let mut document = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": describe("config.v1+json", &good_config()),
        "layers": [describe("layer.v1.tar", &layer())],
    });
    manifest(&mut document);
    let bytes = document.to_string().into_bytes();
    let mut root = describe("manifest.v1+json", &bytes);
    root["annotations"] = json!({"org.opencontainers.image.ref.name": "bad/oci:1"});
    let mut listed = json!({"schemaVersion": 2, "manifests": [root]});
    index(&mut listed);
    tar(&[
        ("oci-layout", file("{\"imageLayoutVersion\":\"1.0.0\"}")),
        ("index.json", file(listed.to_string())),
        (&name(&bytes), file(bytes.clone())),
        (&name(&good_config()), file(good_config())),
        (&name(&layer()), file(with_layer)),
    ])
}

#[test]
fn oci_archives_that_are_wrong() {
    let victim = Victim::new();
    let same = |_: &mut Value| {};
    let good = layer();
    let digest = Digest::of(&good);
    let mut other = good.clone();
    *other.last_mut().unwrap() = 1;
    let actual = Digest::of(&other);
    victim.refuses(
        &oci(&same, &same, &other),
        &format!("blob `{digest}` is damaged: its bytes have the digest `{actual}`"),
    );
    let size = |size: u64| move |manifest: &mut Value| manifest["layers"][0]["size"] = size.into();
    let len = good.len() as u64;
    for said in [len + 512, 1 << 60] {
        victim.refuses(
            &oci(&size(said), &same, &good),
            &format!("blob `{digest}` has {len} bytes, not {said} as its descriptor says"),
        );
    }
    let start = Digest::of(&good[..good.len() - 512]);
    victim.refuses(
        &oci(&size(len - 512), &same, &good),
        &format!("blob `{digest}` is damaged: its bytes have the digest `{start}`"),
    );
    let missing = Digest::of(b"missing");
    let lacks = |manifest: &mut Value| manifest["layers"][0]["digest"] = missing.to_string().into();
    victim.refuses(
        &oci(&lacks, &same, &good),
        &format!("`blobs/sha256/{}` is not in the archive", missing.hex()),
    );
    let many = |index: &mut Value| {
        let root = index["manifests"][0].clone();
        let each = (0..10_000).map(|number| {
            let mut root = root.clone();
            root["digest"] = format!("sha256:{number:064}").into();
            root
        });
        index["manifests"] = each.collect();
    };
    victim.refuses(&oci(&same, &many, &good), "more than 1000 images are listed");
    let odd =
        |index: &mut Value| index["manifests"][0]["digest"] = "sha256:../../../etc/passwd".into();
    let error = victim.load(&oci(&same, &odd, &good)).error();
    assert!(error.contains("malformed digest `sha256:../../../etc/passwd`"), "{error}");
    assert_eq!(state(&victim.kiln)[0], victim.before[0]);
    assert_eq!(victim.load(&oci(&same, &same, &good)).stdout, "Loaded image: bad/oci:1\n");
}

/// A layer that is no tar has the right digests, so it is found when it is used.
#[test]
fn a_layer_that_is_no_tar() {
    let victim = Victim::new();
    let text = b"no tar at all\n".repeat(100);
    let archive = tar(&[
        ("c.json", file(config(&[Digest::of(&text).to_string()]))),
        ("l", file(text)),
        ("manifest.json", file(list("c.json", "bad:1", "l"))),
    ]);
    victim.load(&archive);
    let error = fails(&victim.kiln, 2, &["run", "bad:1"]);
    assert!(
        error.contains("cannot be unpacked: malformed archive: a header has the wrong checksum"),
        "{error}"
    );
    done(&victim.kiln, &["rmi", "bad:1"]);
    assert_eq!(done(&victim.kiln, &["run", "app"]), crate::SAID);
}

#[test]
fn an_archive_goes_nowhere() {
    let kiln = built();
    let save = |to: &str| fails(&kiln, 3, &["save", "-o", to, "app"]);
    let full = save("/dev/full");
    assert_eq!(
        full,
        "error: cannot write `/dev/full`\n  caused by: No space left on device (os error 28)\n  \
         hint: the disk is full: free some space\n"
    );
    assert!(
        save("/proc/nowhere/x").starts_with("error: cannot create the directory `/proc/nowhere`\n")
    );
    assert!(save(arg(&kiln.context())).contains("Is a directory"));
    let error = fails(&kiln, 2, &["save", "-o", "x.tar", "app", "nothing"]);
    assert!(error.starts_with("error: there is no image `nothing`"), "{error}");
    assert!(!kiln.context().join("x.tar").exists());
    let kiln_words = |rest: &str| {
        let program = env!("CARGO_BIN_EXE_kiln");
        format!("{program} --root {} {rest}", kiln.path("state").display())
    };
    // `script` gives it a terminal, and passes on how it ended.
    for (words, message) in [
        ("save app", "an archive is nothing for a terminal"),
        ("export app", "an archive is nothing for a terminal"),
        ("save --format oci-dir app", "a directory cannot be written to standard output"),
        ("load", "there is no archive on standard input"),
        ("import -", "there is no archive on standard input"),
    ] {
        let script = format!("{}; test $? = 2", kiln_words(words));
        let said =
            tool("bsdutils", "script", &["--quiet", "--return", "--command", &script, "/dev/null"]);
        assert!(said.contains(message), "{words}: {said}");
    }
}

#[test]
fn what_a_dockerfile_says_cannot_act_on_a_terminal() {
    let kiln = built();
    let evil = "\u{9b}5m\u{202e}";
    kiln.file(
        "Evil",
        &format!("FROM scratch\nLABEL \"a{evil}\"=\"{evil}\"\nCOPY busybox /{evil}\n"),
    );
    let program = env!("CARGO_BIN_EXE_kiln");
    for words in ["plan -f Evil .", "ast Evil"] {
        let (context, root) = (kiln.context(), kiln.path("state"));
        let [context, root] = [arg(&context), arg(&root)];
        let explain = format!("cd {context} && {program} --root {root} explain {words}");
        let shown = tool("bsdutils", "script", &["-q", "-e", "-c", &explain, "/dev/null"]);
        assert!(shown.contains("5m") && !shown.contains(['\u{9b}', '\u{202e}']), "{shown}");
    }
}
