//! Archives and layouts: what kiln saves is loaded by others and run, what others save is loaded by kiln and run.

use std::fs::{self, File};
use std::path::Path;

use crate::support::podman::Podman;
use crate::support::{Kiln, ended, tool};
use crate::{
    SAID, arg, built, built_for_several, clean, digest, done, fails, id, podman_runs, skopeo,
};

/// Saves `app` in each format: an archive or a directory.
fn saved(kiln: &Kiln) -> [std::path::PathBuf; 3] {
    ["docker-archive", "oci-archive", "oci-dir"].map(|format| {
        let path = kiln.path(format);
        done(kiln, &["save", "--format", format, "-o", arg(&path), "app"]);
        path
    })
}

/// Loads into an empty store; returns that store and what was said.
fn loaded(path: &Path) -> (Kiln, String) {
    let kiln = Kiln::new();
    let said = done(&kiln, &["load", "-i", arg(path)]);
    (kiln, said)
}

#[test]
fn podman_umoci_and_skopeo_read_what_kiln_saves() {
    let kiln = built();
    let [docker, archive, layout] = saved(&kiln);
    let wanted = id(&kiln, "app");
    for path in [&docker, &archive] {
        let (podman, name) = (Podman::new(), "app");
        podman.run(&["load", "--quiet", "--input", arg(path)]);
        let theirs = podman.run(&["image", "inspect", "--format", "{{.Id}}", name]);
        assert_eq!(format!("sha256:{}", theirs.trim()), wanted, "{}", path.display());
        assert_eq!(podman_runs(&podman, name), SAID, "{}", path.display());
    }
    for place in ["docker-archive", "oci-archive", "oci"] {
        let path = if place == "oci" { &layout } else { &kiln.path(place) };
        let raw = skopeo(&["inspect", "--config", "--raw", &format!("{place}:{}", path.display())]);
        assert_eq!(kiln::digest::Digest::of(raw.as_bytes()).to_string(), wanted);
    }
    let bundle = kiln.path("bundle");
    let image = format!("{}:latest", layout.display());
    tool("umoci", "umoci", &["unpack", "--image", &image, arg(&bundle)]);
    assert_eq!(fs::read_to_string(bundle.join("rootfs/srv/x/soft")).unwrap(), "hello\n");
}

#[test]
fn kiln_loads_what_it_saves_however_it_is_compressed() {
    let kiln = built();
    let (wanted, manifest) = (id(&kiln, "app"), digest(&kiln, "app"));
    let [docker, archive, layout] = saved(&kiln);
    let mut paths = vec![docker.clone(), archive, layout];
    for (tool_name, package) in
        [("gzip", "gzip"), ("zstd", "zstd"), ("xz", "xz-utils"), ("bzip2", "bzip2")]
    {
        let copy = kiln.path(tool_name);
        fs::copy(&docker, &copy).unwrap();
        tool(package, tool_name, &["--quiet", "--force", arg(&copy)]);
        let suffix = match tool_name {
            "gzip" => "gz",
            "zstd" => "zst",
            "bzip2" => "bz2",
            other => other,
        };
        paths.push(kiln.path(&format!("{tool_name}.{suffix}")));
    }
    for path in &paths {
        let (other, said) = loaded(path);
        assert_eq!(said, "Loaded image: app:latest\n", "{}", path.display());
        assert_eq!((id(&other, "app"), digest(&other, "app")), (wanted.clone(), manifest.clone()));
    }
    let other = Kiln::new();
    let stdin = File::open(paths.last().unwrap()).unwrap();
    let ended = ended(clean(&other, &["load"]).stdin(stdin).output().unwrap());
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "Loaded image: app:latest\n"));
    assert_eq!(done(&other, &["run", "app"]), SAID);
}

#[test]
fn kiln_loads_what_others_save() {
    let (kiln, podman) = (built(), Podman::new());
    let [docker, ..] = saved(&kiln);
    podman.load(&docker, "docker.io/library/app:latest");
    let wanted = id(&kiln, "app");
    let name = "docker.io/library/app:latest";
    for format in ["docker-archive", "oci-archive", "oci-dir"] {
        let path = kiln.path(&format!("podman-{format}"));
        podman.run(&["save", "--quiet", "--format", format, "--output", arg(&path), name]);
        let (other, said) = loaded(&path);
        assert_eq!(said, "Loaded image: app:latest\n", "{format}");
        assert_eq!(id(&other, "app"), wanted, "{format}");
        assert_eq!(done(&other, &["run", "app"]), SAID, "{format}");
    }
    let from = format!("docker-archive:{}", docker.display());
    for (transport, given, said) in [
        ("docker-archive", "skopeo/app:1", "Loaded image: skopeo/app:1\n".to_owned()),
        ("oci-archive", "skopeo/app:1", "Loaded image: skopeo/app:1\n".to_owned()),
        ("oci", "v1", "Loaded image ID: THIS\n".to_owned()),
    ] {
        let path = kiln.path(&format!("skopeo-{transport}"));
        let to = format!("{transport}:{}:{given}", path.display());
        skopeo(&["copy", "--quiet", &from, &to]);
        let (other, line) = loaded(&path);
        // Between docker's formats and OCI's skopeo writes the config anew.
        let made = done(&other, &["images", "--quiet", "--no-trunc"]);
        assert_eq!(line, said.replace("THIS", made.trim()), "{transport}");
        assert_eq!(done(&other, &["run", made.trim()]), SAID, "{transport}");
    }
    let path = kiln.path("buildah");
    let storage = kiln.path("storage");
    let flags = ["--root", arg(&storage), "--storage-driver", "vfs"];
    let pull = [&flags[..], &["pull", "--quiet", &from]].concat();
    let pulled = tool("buildah", "buildah", &pull);
    let to = format!("oci-archive:{}:some/name:2", path.display());
    tool("buildah", "buildah", &[&flags[..], &["push", "--quiet", pulled.trim(), &to]].concat());
    let (other, said) = loaded(&path);
    assert_eq!(said, "Loaded image: some/name:2\n");
    assert_eq!(done(&other, &["run", "some/name:2"]), SAID);
}

#[test]
fn several_images_and_names_share_an_archive() {
    let kiln = built();
    kiln.file("Second", "FROM app\nCMD [\"/bin/echo\", \"second\"]\n");
    done(&kiln, &["build", "--quiet", "-t", "second", "-f", "Second", "."]);
    done(&kiln, &["tag", "app", "app:2", "host:5000/other/app"]);
    let nameless = id(&kiln, "second");
    done(&kiln, &["tag", "app", "second"]);
    let short = &nameless["sha256:".len()..][..12];
    for format in ["docker-archive", "oci-archive"] {
        let path = kiln.path(format);
        let images = ["app", "app:2", "host:5000/other/app", short];
        done(&kiln, &[&["save", "--format", format, "-o", arg(&path)], &images[..]].concat());
        let (other, said) = loaded(&path);
        let names = ["app:latest", "app:2", "host:5000/other/app:latest"];
        let names = names.map(|name| format!("Loaded image: {name}\n"));
        assert_eq!(said, format!("{}Loaded image ID: {nameless}\n", names.concat()), "{format}");
        assert_eq!(done(&other, &["run", short]), "second\n");
        assert_eq!(done(&other, &["run", "host:5000/other/app"]), SAID);
    }
    // Podman sees each of them.
    let podman = Podman::new();
    podman.run(&["load", "--quiet", "--input", arg(&kiln.path("docker-archive"))]);
    let listed = podman.run(&["images", "--quiet", "--no-trunc", "--all"]);
    assert_eq!(listed.matches(&nameless[7..]).count(), 1, "{listed}");
}

#[test]
fn a_layout_keeps_its_other_images() {
    let kiln = built();
    let layout = kiln.path("layout");
    let save = |name: &str| {
        done(&kiln, &["save", "--format", "oci-dir", "-o", arg(&layout), name]);
        let index = fs::read_to_string(layout.join("index.json")).unwrap();
        let index: serde_json::Value = serde_json::from_str(&index).unwrap();
        let key = "io.containerd.image.name";
        let names =
            index["manifests"].as_array().unwrap().iter().map(|it| it["annotations"][key].clone());
        names.map(|name| name.as_str().unwrap_or("none").to_owned()).collect::<Vec<_>>()
    };
    done(&kiln, &["tag", "app", "app:2"]);
    let names = ["docker.io/library/app:latest", "docker.io/library/app:2"];
    assert_eq!(save("app"), names[..1]);
    assert_eq!(save("app:2"), names);
    assert_eq!(save("app"), [names[1], names[0]]);
    let theirs = format!("oci:{}:theirs", layout.display());
    skopeo(&["copy", "--quiet", &format!("oci:{}:latest", layout.display()), &theirs]);
    assert_eq!(save("app").len(), 3);
    assert_eq!(done(&kiln, &["load", "-i", arg(&layout)]).lines().count(), 2);
    skopeo(&["inspect", &theirs]);
}

#[test]
fn of_several_platforms_one_or_all_are_saved() {
    let kiln = built_for_several();
    let path = kiln.path("multi.tar");
    let save = |flags: &[&str]| {
        done(&kiln, &[&["save", "-o", arg(&path)], flags, &["multi"]].concat());
        let (other, said) = loaded(&path);
        assert_eq!(said, "Loaded image: multi:latest\n");
        let listed = done(&other, &["images", "--format", "{{.Platforms}}", "multi"]);
        (digest(&other, "multi"), listed.trim().to_owned())
    };
    let whole = save(&["--format", "oci-archive"]);
    assert_eq!(whole, (digest(&kiln, "multi"), "linux/amd64,linux/arm64,linux/arm/v7".to_owned()));
    assert_eq!(save(&[]).1, kiln::oci::Platform::host().to_string());
    let arm = save(&["--platform", "linux/arm64"]);
    assert_eq!(arm.1, "linux/arm64");
    assert_eq!(save(&["--format", "oci-archive", "--platform", "linux/arm64"]), arm);
    let error = fails(&kiln, 2, &["save", "-o", arg(&path), "--platform", "linux/s390x", "multi"]);
    let made_for = "linux/amd64, linux/arm64, linux/arm/v7";
    assert_eq!(
        error,
        "error: cannot use the image `multi`\n  caused by: no image for platform `linux/s390x`\n  \
         hint: the image is made for "
            .to_owned()
            + made_for
            + "; try --platform\n"
    );
    // Only one of them is loaded from an archive of all, and the others are not here then.
    done(&kiln, &["save", "--format", "oci-archive", "-o", arg(&path), "multi"]);
    let other = Kiln::new();
    done(&other, &["load", "--platform", "linux/arm64", "-i", arg(&path)]);
    assert_eq!(digest(&other, "multi"), arm.0);
    done(&other, &["save", "-o", arg(&path), "multi"]);
    assert_eq!(loaded(&path).1, "Loaded image: multi:latest\n");
}
