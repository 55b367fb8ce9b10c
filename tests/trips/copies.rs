//! `kiln copy` between every two places.

use std::path::Path;

use kiln::digest::Digest;

use crate::server::{Registry, Setup};
use crate::support::Kiln;
use crate::support::podman::Podman;
use crate::{
    SAID, arg, built, built_for_several, digest, done, everything, fails, id, podman_runs, skopeo,
};

/// The digest of a document of a registry.
fn remote(name: &str) -> String {
    let raw = skopeo(&["inspect", "--tls-verify=false", "--raw", &format!("docker://{name}")]);
    Digest::of(raw.as_bytes()).to_string()
}

#[test]
fn from_every_place_to_every_other() {
    let (registry, kiln) = (Registry::start(&Setup::Plain), built());
    let path = |name: &str| kiln.path(name).display().to_string();
    let name = |rest: &str| format!("{}/{rest}", registry.host);
    let copy = |from: &str, to: &str| done(&kiln, &["copy", from, to]).trim().to_owned();
    let image = id(&kiln, "app");
    let first = copy("app", &format!("docker://{}", name("app")));
    assert_eq!(first, remote(&name("app")));
    let places = |round: usize| {
        [
            format!("stored:{round}"),
            format!("docker://{}", name(&format!("copy:{round}"))),
            format!("oci:{}:v{round}", path("layout")),
            format!("oci-archive:{}:v{round}", path(&format!("oci-{round}.tar"))),
            format!("docker-archive:{}:v{round}", path(&format!("docker-{round}.tar"))),
        ]
    };
    let mut from = vec![format!("docker://{}", name("app"))];
    from.extend(places(0));
    for to in places(0) {
        assert_eq!(copy(&from[0], &to), first, "{to}");
    }
    for (round, from) in from.iter().enumerate() {
        for to in places(round + 1) {
            assert_eq!(copy(from, &to), first, "{from} to {to}");
        }
    }
    assert_eq!(id(&kiln, "stored:4"), image);
    assert_eq!(done(&kiln, &["run", "stored:3"]), SAID);
    assert_eq!(remote(&name("copy:5")), first);
    for place in
        [places(3)[2].as_str(), &places(4)[3], &format!("docker-archive:{}", path("docker-2.tar"))]
    {
        let raw = skopeo(&["inspect", "--config", "--raw", place]);
        assert_eq!(Digest::of(raw.as_bytes()).to_string(), image, "{place}");
    }
    let written = kiln.path("digest");
    done(
        &kiln,
        &["copy", "-q", "--digestfile", arg(&written), "stored:1", &format!("oci:{}", path("x"))],
    );
    assert_eq!(std::fs::read_to_string(written).unwrap(), first);
}

#[test]
fn an_index_is_copied_whole_or_in_part() {
    let (registry, kiln) = (Registry::start(&Setup::Plain), built_for_several());
    let name = |rest: &str| format!("docker://{}/{rest}", registry.host);
    let layout = format!("oci:{}", kiln.path("layout").display());
    let copy = |flags: &[&str], from: &str, to: &str| {
        done(&kiln, &[&["copy"], flags, &[from, to]].concat()).trim().to_owned()
    };
    let whole = copy(&["--all"], "multi", &name("multi"));
    assert_eq!(copy(&["--all"], &name("multi"), &format!("{layout}:all")), whole);
    assert_eq!(copy(&["-a"], &format!("{layout}:all"), &name("again")), whole);
    assert_eq!(remote(&name("again")["docker://".len()..]), whole);
    let arm = copy(&["--platform", "linux/arm64"], &name("multi"), &format!("{layout}:arm"));
    let raw = skopeo(&["inspect", "--config", &format!("{layout}:arm")]);
    assert!(raw.contains("\"arm64\""), "{raw}");
    assert_eq!(copy(&[], &format!("{layout}:arm"), "arm"), arm);
    // The index with that image only is still the index; skopeo copies all of it as well.
    skopeo(&[
        "copy",
        "--quiet",
        "--all",
        "--src-tls-verify=false",
        &name("again"),
        &format!("{layout}:skopeo"),
    ]);
    assert_eq!(copy(&["--all"], &format!("{layout}:skopeo"), "back"), whole);
    assert_eq!(digest(&kiln, "back"), whole);
    let other = Kiln::new();
    assert_eq!(
        done(&other, &["pull", "--all-platforms", &name("again")["docker://".len()..]]).trim(),
        whole
    );
    let archive = format!("docker-archive:{}", kiln.path("multi.tar").display());
    let error = fails(&kiln, 2, &["copy", "--all", &name("multi"), &archive]);
    assert!(
        error.starts_with("error: a docker archive holds single images, not an index\n"),
        "{error}"
    );
    assert!(!kiln.path("multi.tar").exists());
}

#[test]
fn layers_are_compressed_again_if_that_is_wanted() {
    let (registry, kiln) = (Registry::start(&Setup::Plain), built());
    let name = |rest: &str| format!("{}/{rest}", registry.host);
    let to = |rest: &str| format!("docker://{}", name(rest));
    let image = id(&kiln, "app");
    done(&kiln, &["push", "app", &name("app:gzip")]);
    let types = |rest: &str| {
        let raw = skopeo(&["inspect", "--tls-verify=false", "--raw", &to(rest)]);
        let manifest: serde_json::Value = serde_json::from_str(&raw).unwrap();
        let layers = manifest["layers"].as_array().unwrap();
        layers
            .iter()
            .map(|layer| layer["mediaType"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let zstd = ["--compression", "zstd"];
    done(&kiln, &[&["copy"], &zstd[..], &[&to("app:gzip"), &to("app:kept")]].concat());
    assert_eq!(types("app:kept"), types("app:gzip"));
    let words = [&["copy", "--force-compression"], &zstd[..], &[&to("app:gzip"), &to("app:zstd")]];
    done(&kiln, &words.concat());
    assert!(
        types("app:zstd").iter().all(|kind| kind.ends_with(".tar+zstd")),
        "{:?}",
        types("app:zstd")
    );
    done(&kiln, &["push", "app", &name("app:plain"), "--compression", "uncompressed"]);
    assert!(
        types("app:plain").iter().all(|kind| kind.ends_with(".tar")),
        "{:?}",
        types("app:plain")
    );
    let podman = Podman::new();
    for tag in ["zstd", "plain"] {
        let name = name(&format!("app:{tag}"));
        let theirs = podman.run(&["pull", "--quiet", "--tls-verify=false", &name]);
        assert_eq!(format!("sha256:{}", theirs.trim()), image);
        assert_eq!(podman_runs(&podman, &name), SAID);
        let other = Kiln::new();
        assert_eq!(done(&other, &["pull", &name]).trim(), image);
        assert_eq!(done(&other, &["run", &name]), SAID);
    }
    let error = fails(&kiln, 2, &["push", "app", &name("x"), "--compression-level", "10"]);
    assert_eq!(error, "error: `--compression-level 10` is too high\n  hint: it has 0 to 9 here\n");
    // In docker's own formats an image stays what it is.
    skopeo(&[
        "copy",
        "--quiet",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        "--format",
        "v2s2",
        &to("app:gzip"),
        &to("app:v2s2"),
    ]);
    done(&kiln, &["copy", &to("app:v2s2"), &to("other:v2s2")]);
    assert_eq!(remote(&name("other:v2s2")), remote(&name("app:v2s2")));
}

#[test]
fn places_that_are_none_are_refused() {
    let kiln = built();
    let layout = kiln.path("layout");
    done(&kiln, &["copy", "app", &format!("oci:{}:one", layout.display())]);
    kiln.file("Second", "FROM app\nENV SECOND=1\n");
    done(&kiln, &["build", "--quiet", "-t", "second", "-f", "Second", "."]);
    done(&kiln, &["copy", "second", &format!("oci:{}:two", layout.display())]);
    kiln.file("file", "text");
    let before = everything(&kiln);
    let place = "is no place for images\n  hint: the places are NAME (the local store), docker://NAME, \
                 oci:DIRECTORY[:NAME], oci-archive:FILE[:NAME] and docker-archive:FILE[:NAME]\n";
    let layout_of = |rest: &str| format!("oci:{}{rest}", layout.display());
    let cases = [
        ("dir:x", "new", format!("error: `dir:x` {place}")),
        ("app", "docker-daemon:app", format!("error: `docker-daemon:app` {place}")),
        ("app", "http://host/app", format!("error: `http://host/app` {place}")),
        ("app", "oci:", format!("error: `oci:` {place}")),
        ("nothing", "oci:x", "error: there is no image `nothing` in the local store\n  hint: `kiln images` lists those that are there\n".to_owned()),
        ("oci:nowhere", "new", "error: cannot open `nowhere/index.json`\n  caused by: No such file or directory (os error 2)\n".to_owned()),
        ("oci:.", "new", "error: `.` is no OCI layout\n  hint: a layout has the files `oci-layout` and `index.json`\n".to_owned()),
        ("docker-archive:file", "new", "error: cannot use `file`\n  caused by: malformed archive: it ends within an entry\n".to_owned()),
        (&layout_of(""), "new", format!("error: there are several images in `{}`: say which one\n  hint: it has one, two\n", layout.display())),
        (&layout_of(":three"), "new", format!("error: there is no image `three` in `{}`\n  hint: it has one, two\n", layout.display())),
        ("app", "sha256:1234", "error: `sha256:1234` cannot be given to an image: it is, or looks like, a name with a digest\n  hint: give a name with a tag, or with none\n".to_owned()),
    ];
    for (from, to, expected) in cases {
        assert_eq!(fails(&kiln, 2, &["copy", from, to]), expected, "{from} {to}");
    }
    assert!(fails(&kiln, 2, &["copy", "app", "docker://UPPER"]).contains("must be lowercase"));
    assert!(fails(&kiln, 2, &["copy", "app"]).contains("<TO>"));
    assert_eq!(everything(&kiln), before);
    assert!(!Path::new(&kiln.context().join("x")).exists());
    assert!(
        done(&kiln, &["copy", "--help"])
            .contains("\n  oci:DIRECTORY[:NAME]        An OCI layout\n")
    );
}
