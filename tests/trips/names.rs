//! `tag` and `rmi`: the rules of docker.

use crate::support::Kiln;
use crate::{arg, built, built_for_several, done, fails, id, run};

/// `repository:tag` of each row, or `<none>:<none>`.
fn rows(kiln: &Kiln, flags: &[&str]) -> Vec<String> {
    let format = ["--format", "{{.Repository}}:{{.Tag}}"];
    let listed = done(kiln, &[&["images"], &format[..], flags].concat());
    let mut rows: Vec<_> = listed.lines().map(str::to_owned).collect();
    rows.sort();
    rows
}

#[test]
fn names_go_one_by_one_and_the_image_with_the_last() {
    let kiln = built();
    done(&kiln, &["tag", "app", "two", "host:5000/three:x"]);
    let image = id(&kiln, "app");
    let short = &image["sha256:".len()..][..12];
    assert_eq!(rows(&kiln, &[]), ["app:latest", "host:5000/three:x", "two:latest"]);

    let error = fails(&kiln, 2, &["rmi", short]);
    let names = "app:latest, two:latest, host:5000/three:x";
    assert_eq!(
        error,
        format!(
            "error: the image `{short}` has several names: {names}\n  \
             hint: remove them by name, or all of them with `--force`\n"
        )
    );
    assert_eq!(done(&kiln, &["rmi", "two"]), "Untagged: two:latest\n");
    // An id of one name is as good as the name.
    assert_eq!(done(&kiln, &["rmi", "host:5000/three:x"]), "Untagged: host:5000/three:x\n");
    assert_eq!(done(&kiln, &["rmi", short]), format!("Untagged: app:latest\nDeleted: {image}\n"));
    assert_eq!(rows(&kiln, &["--all"]), Vec::<String>::new());
    let error = "error: there is no image `app` in the local store\n  hint: `kiln images` lists those that are there\n";
    assert_eq!(fails(&kiln, 2, &["rmi", "app"]), error);
    assert_eq!(done(&kiln, &["rmi", "--force", "app"]), "");
    assert_eq!(fails(&kiln, 2, &["tag", "app", "x"]), error);
}

#[test]
fn with_force_all_names_go_at_once() {
    let kiln = built();
    done(&kiln, &["tag", "app", "two"]);
    let image = id(&kiln, "app");
    assert_eq!(
        done(&kiln, &["rmi", "-f", &image]),
        format!("Untagged: app:latest\nUntagged: two:latest\nDeleted: {image}\n")
    );
    // One that is not there does not keep the others.
    let kiln = built();
    let ended = run(&kiln, &["rmi", "nothing", "app"]);
    assert_eq!((ended.code, ended.stdout.lines().count()), (Some(2), 2), "{}", ended.stderr);
}

#[test]
fn an_image_that_lost_its_name_is_still_there() {
    let kiln = built();
    let old = id(&kiln, "app");
    kiln.file("Next", "FROM app\nENV NEXT=1\n");
    done(&kiln, &["build", "--quiet", "-t", "app", "-f", "Next", "."]);
    assert_eq!(rows(&kiln, &[]), ["<none>:<none>", "app:latest"]);
    assert_eq!(
        done(&kiln, &["images", "--quiet", "--no-trunc", "--filter", "dangling=true"]).trim(),
        old
    );
    done(&kiln, &["tag", &old, "old"]);
    assert_eq!(rows(&kiln, &[]), ["app:latest", "old:latest"]);
    done(&kiln, &["tag", "app", "old"]);
    assert_eq!(done(&kiln, &["rmi", &old[7..20]]), format!("Deleted: {old}\n"));
    assert_eq!(rows(&kiln, &["-a"]), ["app:latest", "old:latest"]);
}

/// The same config in several manifests is one image to people: they differ only in how layers are compressed.
#[test]
fn an_id_means_all_manifests_of_the_image() {
    let kiln = built();
    let image = id(&kiln, "app");
    let layout = format!("oci:{}", kiln.path("layout").display());
    for (kind, name) in [("gzip", "packed"), ("zstd", "smaller")] {
        let registry = crate::server::Registry::start(&crate::server::Setup::Plain);
        let place = format!("docker://{}/{name}", registry.host);
        done(&kiln, &["copy", "--force-compression", "--compression", kind, "app", &place]);
        done(&kiln, &["copy", &place, &format!("{layout}:{name}")]);
        done(&kiln, &["copy", &format!("{layout}:{name}"), name]);
    }
    let mut digests: Vec<_> =
        ["app", "packed", "smaller"].map(|name| crate::digest(&kiln, name)).into();
    digests.dedup();
    assert_eq!(digests.len(), 3);
    assert!(
        fails(&kiln, 2, &["rmi", &image]).contains("app:latest, packed:latest, smaller:latest")
    );
    // The id stays as long as one of them does, and can be used.
    for name in ["smaller", "app"] {
        assert_eq!(done(&kiln, &["rmi", name]), format!("Untagged: {name}:latest\n"));
        assert_eq!(done(&kiln, &["run", &image, "true"]), "");
    }
    assert_eq!(
        done(&kiln, &["rmi", &image]),
        format!("Untagged: packed:latest\nDeleted: {image}\n")
    );
    assert_eq!(rows(&kiln, &["-a"]), Vec::<String>::new());
}

#[test]
fn an_index_goes_with_its_images() {
    let kiln = built_for_several();
    assert_eq!(rows(&kiln, &[]), ["multi:latest"]);
    assert_eq!(rows(&kiln, &["-a"]).len(), 4);
    let (whole, shown) = (crate::digest(&kiln, "multi"), id(&kiln, "multi"));
    // One of its images has a name of its own, and stays.
    let path = kiln.path("arm.tar");
    done(&kiln, &["save", "--platform", "linux/arm64", "-o", arg(&path), "multi"]);
    done(&kiln, &["load", "-i", arg(&path)]);
    done(&kiln, &["tag", "multi", "arm"]);
    done(&kiln, &["tag", &whole, "multi"]);
    let arm = id(&kiln, "arm");
    let error = fails(&kiln, 2, &["rmi", &arm]);
    assert!(error.contains("has several names: arm:latest, multi:latest"), "{error}");
    let removed = done(&kiln, &["rmi", &shown]);
    assert!(removed.starts_with("Untagged: multi:latest\nDeleted: sha256:"), "{removed}");
    assert!(
        removed.contains(&format!("Deleted: {shown}\n")) && !removed.contains(&arm),
        "{removed}"
    );
    assert_eq!(rows(&kiln, &["-a"]), ["arm:latest"]);
}

#[test]
fn what_can_be_no_name_is_refused() {
    let kiln = built();
    let hex = "0".repeat(64);
    for (name, expected) in [
        ("UPPER", "must be lowercase"),
        ("with space", "invalid image reference `with space`"),
        ("", "invalid image reference ``"),
        (&format!("x@sha256:{hex}"), "cannot be given to an image"),
        ("sha256:abc", "cannot be given to an image"),
        (&hex, "error: "),
        ("new\nline", "invalid image reference `new"),
    ] {
        let error = fails(&kiln, 2, &["tag", "app", name]);
        assert!(error.contains(expected), "{name}: {error}");
    }
    assert_eq!(rows(&kiln, &["-a"]), ["app:latest"]);
}
