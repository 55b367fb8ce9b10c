//! Documents of images in an archive: what they claim and how they are written.

use kiln::digest::Digest;
use serde_json::{Value, json};

use crate::doors::{Door, Victim};
use crate::tarball::Tarball;

/// The files of an OCI archive of one image whose config, manifest and index are these texts.
struct Image {
    config: Vec<u8>,
    manifest: Option<Vec<u8>>,
    index: Option<Vec<u8>>,
}

const PLAIN: &str =
    r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;

impl Image {
    fn archive(self) -> Vec<u8> {
        let describe = |kind: &str, bytes: &[u8]| {
            let kind = format!("application/vnd.oci.image.{kind}");
            json!({"mediaType": kind, "digest": Digest::of(bytes).to_string(), "size": bytes.len()})
        };
        let manifest = self.manifest.unwrap_or_else(|| {
            let config = describe("config.v1+json", &self.config);
            json!({"schemaVersion": 2, "config": config, "layers": []}).to_string().into()
        });
        let index = self.index.unwrap_or_else(|| {
            let root = describe("manifest.v1+json", &manifest);
            json!({"schemaVersion": 2, "manifests": [root]}).to_string().into()
        });
        let name = |bytes: &[u8]| format!("blobs/sha256/{}", Digest::of(bytes).hex());
        Tarball::default()
            .file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#)
            .file("index.json", index)
            .file(name(&manifest), &manifest)
            .file(name(&self.config), &self.config)
            .end()
    }
}

fn config(text: impl Into<Vec<u8>>) -> Vec<u8> {
    Image { config: text.into(), manifest: None, index: None }.archive()
}

fn manifest(text: impl Into<Vec<u8>>) -> Vec<u8> {
    Image { config: PLAIN.into(), manifest: Some(text.into()), index: None }.archive()
}

fn index(text: impl Into<Vec<u8>>) -> Vec<u8> {
    Image { config: PLAIN.into(), manifest: None, index: Some(text.into()) }.archive()
}

fn docker(text: impl AsRef<[u8]>) -> Vec<u8> {
    Tarball::default().file("manifest.json", text.as_ref()).end()
}

/// A manifest whose config's descriptor has one field set to this.
fn described(field: &str, value: Value) -> Vec<u8> {
    let mut config = json!({
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": Digest::of(PLAIN.as_bytes()).to_string(),
        "size": PLAIN.len(),
    });
    config[field] = value;
    manifest(json!({"schemaVersion": 2, "config": config, "layers": []}).to_string())
}

/// A docker archive of one image without layers and with this config.
fn docker_config(text: impl AsRef<[u8]>) -> Vec<u8> {
    let list = r#"[{"Config":"c.json","RepoTags":["bad:1"],"Layers":[]}]"#;
    Tarball::default().file("manifest.json", list).file("c.json", text.as_ref()).end()
}

fn nested(depth: usize) -> String {
    ["[".repeat(depth), "]".repeat(depth)].concat()
}

fn many(value: &str, count: usize) -> String {
    format!("[{}]", vec![value; count].join(","))
}

const VALUES: &str = "has more than 250000 values";

/// Brings each archive in through these doors; each is refused for its reason.
fn refused(doors: [Door; 2], rows: &[(&str, Vec<u8>, &str)]) {
    let victim = Victim::new();
    let mut wrong = Vec::new();
    for (name, archive, cause) in rows {
        for door in doors {
            let ended = victim.through(door, archive);
            if ended.code != Some(2) || !ended.error().contains(cause) {
                let error: String = ended.error().chars().take(2000).collect();
                let code = ended.code;
                wrong.push(format!("{name} through {door:?}: {code:?}, {cause:?}\n{error}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn configs() {
    let within = |field: &str, value: &str| {
        docker_config(PLAIN.replace("\"os\"", &format!("\"{field}\":{value},\"os\"")))
    };
    let bad = "malformed image config";
    let million = 1 << 20;
    refused(
        [Door::Load, Door::CopyDocker],
        &[
            ("brackets", docker_config(nested(million)), VALUES),
            ("nested 1000 deep", within("x", &nested(1000)), "recursion limit exceeded"),
            ("a million steps of history", within("history", &many("{}", million)), VALUES),
            (
                "a million variables",
                within("config", &format!("{{\"Env\":{}}}", many("\"\"", million))),
                VALUES,
            ),
            ("a million unknown numbers", within("x", &many("0", million)), VALUES),
            ("9 MiB", docker_config(vec![b' '; 9 << 20]), "at most 8388608 are read"),
            ("no text", docker_config(b"\xff\xfe"), bad),
            ("nothing", docker_config(""), bad),
            ("a list", docker_config("[]"), bad),
            ("a word that is not closed", docker_config("{\"os\":\"lin"), bad),
            ("half a surrogate", within("author", "\"\\ud800\""), bad),
            ("a key twice", within("os", "\"linux\""), "duplicate field `os`"),
            ("a number for a text", within("author", "1"), bad),
            ("a text for a list", within("history", "\"x\""), bad),
            (
                "other rootfs",
                docker_config(PLAIN.replace("\"layers\"", "\"foo\"")),
                "unsupported rootfs type `foo`",
            ),
            (
                "a diff id that climbs",
                docker_config(PLAIN.replace("[]", "[\"sha256:../../etc/passwd\"]")),
                "malformed digest `sha256:../../etc/passwd`",
            ),
            (
                "a diff id of another kind",
                docker_config(PLAIN.replace("[]", "[\"md5:00\"]")),
                "md5",
            ),
            (
                "more diff ids than layers",
                docker_config(PLAIN.replace("[]", &format!("[\"sha256:{}\"]", "a".repeat(64)))),
                "is in the list or in the config, but not in both",
            ),
        ],
    );
}

#[test]
fn lists_of_docker_archives() {
    let bad = "malformed manifest.json";
    refused(
        [Door::Load, Door::CopyDocker],
        &[
            ("a list nested 1000 deep", docker(nested(1000)), bad),
            ("a list of a 1 << 20", docker(many("{}", 1 << 20)), bad),
            (
                "a list of 200000 images",
                docker(many("{\"Config\":\"\"}", 200_000)),
                "more than 1000 images are listed",
            ),
            ("a list with a key twice", docker(r#"[{"Config":"a","Config":"b"}]"#), bad),
            (
                "a list that climbs",
                docker(r#"[{"Config":"../../../etc/passwd"}]"#),
                "`../../../etc/passwd` is not in the archive",
            ),
            ("a list of a zero byte", docker(r#"[{"Config":"c\u0000"}]"#), "is not in the archive"),
        ],
    );
}

#[test]
fn manifests_and_indexes() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let deep = |rest: &str| format!("{{\"schemaVersion\":2,{rest}\"x\":{}}}", nested(1000));
    let bad = "malformed image manifest";
    refused(
        [Door::Load, Door::CopyOci],
        &[
            ("nested 1000 deep", manifest(deep("\"annotations\":[[]],")), bad),
            (
                "an index nested 1000 deep",
                index(deep("\"annotations\":[[]],")),
                "malformed image index",
            ),
            (
                "a million images",
                index(format!("{{\"schemaVersion\":2,\"manifests\":{}}}", many("{}", 1 << 20))),
                VALUES,
            ),
            ("an index of 5 MiB", index(vec![b' '; 5 << 20]), "at most 4194304 are read"),
            ("a size below 0", described("size", json!(-1)), bad),
            ("a size of 2^64", described("size", json!(18_446_744_073_709_551_616_f64)), bad),
            ("a size with a fraction", described("size", json!(1.5)), bad),
            (
                "a size of 2^63",
                described("size", json!(1_u64 << 63)),
                "bytes, not 9223372036854775808 as its descriptor says",
            ),
            ("a size in letters", described("size", json!("1")), bad),
            (
                "a digest that climbs",
                described("digest", json!("sha256:../../../../etc/passwd")),
                "malformed digest `sha256:../../../../etc/passwd`",
            ),
            (
                "a digest of another kind",
                described("digest", json!(format!("sha512:{}", "a".repeat(128)))),
                "sha512",
            ),
            ("a digest in capitals", described("digest", json!(digest.to_uppercase())), "SHA256"),
            (
                "a digest of nothing here",
                described("digest", json!(digest)),
                "is not in the archive",
            ),
        ],
    );
}

#[test]
fn what_is_neither_manifest_nor_index() {
    refused(
        [Door::Load, Door::CopyOci],
        &[
            ("schema 1", manifest("{\"schemaVersion\":1}"), "unsupported manifest type `schema 1`"),
            ("schema -1", manifest("{\"schemaVersion\":-1}"), "malformed manifest"),
            (
                "both at once",
                manifest("{\"schemaVersion\":2,\"layers\":[],\"manifests\":[]}"),
                "unsupported manifest type `manifest and index in one`",
            ),
            (
                "no config",
                manifest("{\"schemaVersion\":2,\"layers\":[]}"),
                "missing field `config`",
            ),
            (
                "an index of nothing",
                index("{\"schemaVersion\":2,\"manifests\":null}"),
                "there are no images in the archive",
            ),
        ],
    );
}

/// A config is read when its image is used: whatever can be stored can be loaded, and is in nobody's way.
#[test]
fn a_config_that_is_none_is_found_when_it_is_used() {
    let history = PLAIN.replace("\"os\"", &format!("\"history\":{},\"os\"", many("{}", 1 << 20)));
    for (text, cause) in [("[]", "malformed image config"), (&history, VALUES)] {
        let victim = Victim::new();
        let archive = config(text);
        let ended = victim.through(Door::Load, &archive);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let id = Digest::of(text.as_bytes()).to_string();
        for words in [&["images", "-a"][..], &["du"]] {
            let ended = victim.run(words);
            assert_eq!(ended.code, Some(0), "{words:?}: {}", ended.stderr);
        }
        for words in [&["run", &id, "true"][..], &["history", &id]] {
            let ended = victim.run(words);
            assert_eq!(ended.code, Some(2), "{words:?}: {}", ended.stderr);
            assert!(ended.error().contains(cause), "{words:?}: {}", ended.stderr);
        }
        assert_eq!(victim.run(&["rmi", &id]).code, Some(0));
    }
}

/// Triggers of a base image are lines of a Dockerfile that somebody else wrote.
#[test]
fn triggers_that_double() {
    let victim = Victim::new();
    let doubling = |count: usize| {
        let mut triggers = vec!["ENV a=0123456789abcdef".to_owned()];
        triggers.extend(vec!["ENV a=$a$a".to_owned(); count]);
        triggers
    };
    let nested = (0..8).fold("a".to_owned(), |it, _| format!("${{a//?/$a{it}}}"));
    for (triggers, cause) in [
        (doubling(40), "the values of the stage's instructions exceed 4 MiB"),
        (
            vec!["ENV a=0123456789abcdef".to_owned(), format!("ENV b={nested}")],
            "the text expands to more than 16 MiB",
        ),
    ] {
        let text =
            PLAIN.replace("\"os\"", &format!("\"config\":{},\"os\"", json!({"OnBuild": triggers})));
        assert_eq!(victim.through(Door::Load, &docker_config(text)).code, Some(0));
        victim.kiln.file("Dockerfile", "FROM bad:1\n");
        let ended = victim.run(&["build", "--progress", "plain", "."]);
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        assert!(ended.error().contains(cause), "{}", ended.error());
    }
}
