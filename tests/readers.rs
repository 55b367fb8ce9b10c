//! What others make of kiln's images: skopeo, docker and podman see the config, the layers and the history.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own preparations is a failed test")]

mod support;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::docker::Docker;
use support::podman::Podman;
use support::{BASE, Kiln, tool};

const NAME: &str = "docker.io/local/image:1";

/// Builds with one output, and returns its path and the digest that kiln prints.
fn build(kiln: &Kiln, dockerfile: &str, output: &str, flags: &[&str]) -> (PathBuf, String) {
    let dest = kiln.path(&output.replace(['=', ','], "-"));
    let output = format!("{output},dest={}", dest.display());
    let args = [&["--tag", NAME, "--output", &output][..], flags].concat();
    let ended = kiln.build(dockerfile, &args);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    (dest, ended.stdout.trim().to_owned())
}

fn skopeo(args: &[&str]) -> Value {
    serde_json::from_str(&tool("skopeo", "skopeo", args)).unwrap()
}

fn texts(values: &Value) -> Vec<&str> {
    let values = values.as_array().unwrap_or_else(|| panic!("not a list: {values}"));
    values.iter().map(|value| value.as_str().unwrap()).collect()
}

#[test]
fn everyone_reads_the_config_that_was_written() {
    let kiln = Kiln::new();
    let text = format!(
        "{BASE}MAINTAINER me <me@example.org>\nENV A=1 B=\"two words\"\nLABEL one=1 two=\"a b\"\nEXPOSE 80 53/udp\n\
         VOLUME [\"/data\", \"/with space\"]\nWORKDIR /work\nUSER 7:8\nSTOPSIGNAL SIGINT\n\
         HEALTHCHECK --interval=5s --timeout=2s --start-period=1s --retries=4 CMD true && true\n\
         ONBUILD RUN echo \"x\"\nONBUILD COPY . .\nSHELL [\"/bin/sh\", \"-ec\"]\n\
         ENTRYPOINT [\"/bin/echo\", \"-n\"]\nCMD one \"$A\"\n"
    );
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let of_everyone = json!({
        "User": "7:8",
        "ExposedPorts": { "53/udp": {}, "80/tcp": {} },
        "Env": [path, "A=1", "B=two words"],
        "Entrypoint": ["/bin/echo", "-n"],
        "Cmd": ["/bin/sh", "-ec", "one \"$A\""],
        // The reference marks every CMD so; only Windows reads it.
        "ArgsEscaped": true,
        "Volumes": { "/data": {}, "/with space": {} },
        "WorkingDir": "/work",
        "Labels": { "one": "1", "two": "a b" },
        "StopSignal": "SIGINT",
    });
    let mut of_docker = of_everyone.clone();
    let seconds = 1_000_000_000_u64;
    of_docker["Healthcheck"] = json!({
        "Test": ["CMD-SHELL", "true && true"],
        "Interval": 5 * seconds, "Timeout": 2 * seconds, "StartPeriod": seconds, "Retries": 4,
    });
    of_docker["OnBuild"] = json!(["RUN echo \"x\"", "COPY . ."]);
    of_docker["Shell"] = json!(["/bin/sh", "-ec"]);

    let (layout, id) = build(&kiln, &text, "type=oci,tar=false", &[]);
    let layout = format!("oci:{}:1", layout.display());
    let inspected = skopeo(&["inspect", "--config", &layout]);
    assert_eq!(inspected["config"], of_everyone);
    assert_eq!(inspected["author"], "me <me@example.org>");
    assert_eq!(skopeo(&["inspect", "--raw", &layout])["config"]["digest"], id);

    let (archive, _) = build(&kiln, &text, "type=docker", &[]);
    let in_docker = Docker::start().load(&archive, "local/image:1");
    let in_podman = Podman::new().load(&archive, NAME);
    for image in [&in_docker, &in_podman] {
        assert_eq!(image["Author"], "me <me@example.org>");
        assert_eq!(image["RootFS"]["Layers"], inspected["rootfs"]["diff_ids"]);
    }
    assert_eq!(given(&in_docker["Config"]), of_docker);
    assert_eq!(in_podman["Config"]["Env"], of_docker["Env"]);
}

/// What a Dockerfile can say of a docker config: the other fields must be as if nothing was said.
fn given(config: &Value) -> Value {
    let mut fields = config.as_object().unwrap().clone();
    fields.retain(|name, value| {
        let is_of_containers = ["Hostname", "Domainname", "Image"].contains(&name.as_str())
            || ["AttachStd", "Tty", "OpenStdin", "StdinOnce"].iter().any(|o| name.starts_with(o));
        let is_nothing = *value == json!("") || *value == json!(false);
        assert!(!is_of_containers || is_nothing, "{name}: {value}");
        !is_of_containers
    });
    fields.into()
}

/// Every form that kiln writes, and what skopeo calls it.
const FORMS: [(&str, &str); 3] =
    [("type=oci,tar=false", "oci"), ("type=oci", "oci-archive"), ("type=docker", "docker-archive")];

#[test]
fn skopeo_copies_every_form_to_every_other() {
    let kiln = Kiln::new();
    let text = format!("{BASE}RUN echo kept > /kept\nRUN rm /bin/ls && ln /kept /twice\nENV A=1\n");
    let mut seen = Vec::new();
    for (output, transport) in FORMS {
        for compression in ["gzip", "zstd", "uncompressed"] {
            let output = format!("{output},compression={compression}");
            let (image, _) = build(&kiln, &text, &output, &[]);
            let from = match transport {
                "docker-archive" => format!("{transport}:{}", image.display()),
                _ => format!("{transport}:{}:1", image.display()),
            };
            for to in ["oci", "dir", "docker-archive"] {
                // This skopeo writes no archive of a manifest that says zstd.
                if to == "docker-archive" && compression == "zstd" && transport != to {
                    continue;
                }
                let copy = kiln.path(&format!("{output}-{to}"));
                let copy = format!("{to}:{}", copy.display());
                tool("skopeo", "skopeo", &["copy", "--quiet", &from, &copy]);
                let config = skopeo(&["inspect", "--config", &copy]);
                assert_eq!(config["config"]["Env"][1], "A=1", "{from} as {copy}");
                seen.push((config["rootfs"].clone(), format!("{from} as {copy}")));
            }
        }
    }
    assert_eq!(texts(&seen[0].0["diff_ids"]).len(), 4);
    for (rootfs, what) in &seen {
        assert_eq!(*rootfs, seen[0].0, "{what} and {}", seen[0].1);
    }
}

#[test]
fn podman_unpacks_every_archive() {
    let kiln = Kiln::new();
    let text = format!(
        "{BASE}RUN mkdir -m 1777 /shared && echo kept > /kept && chmod 640 /kept && chown 7:8 /kept && ln /kept /shared/twice\n\
         RUN rm /bin/ls\n"
    );
    for output in
        ["type=oci", "type=oci,compression=zstd", "type=docker", "type=docker,compression=zstd"]
    {
        let (archive, _) = build(&kiln, &text, output, &[]);
        let podman = Podman::new();
        podman.load(&archive, NAME);
        let mounted = podman.run(&["image", "mount", NAME]);
        let root = Path::new(mounted.trim());
        let stat = |name: &str| {
            let stat = root.join(name).metadata().unwrap();
            (stat.mode() & 0o7777, stat.uid(), stat.gid(), stat.nlink())
        };
        assert_eq!(std::fs::read_to_string(root.join("shared/twice")).unwrap(), "kept\n");
        assert_eq!(
            (stat("kept"), stat("shared")),
            ((0o640, 7, 8, 2), (0o1777, 0, 0, 2)),
            "{output}"
        );
        assert!(root.join("bin/cat").is_symlink() && !root.join("bin/ls").is_symlink(), "{output}");
    }
}

#[test]
fn a_squashed_image_has_fewer_layers_and_all_its_history() {
    let kiln = Kiln::new();
    let base = format!("{BASE}ENV A=1\nRUN echo x > /removed && echo y > /kept\n");
    let ended = kiln.build(&base, &["--tag", "local/base"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let text = "FROM local/base\nCOPY Dockerfile /\nLABEL b=2\nRUN rm /removed && echo z >> /kept\nCMD cat /kept && ls /\n";
    let (docker, podman) = (Docker::start(), Podman::new());
    let made = ["COPY", "RUN", "ENV", "RUN", "COPY", "LABEL", "RUN", "CMD"];
    for (flags, layers, comment) in [
        (&[][..], 5, None),
        (&["--squash"], 4, Some("and the layers of this build")),
        (&["--squash-all"], 1, Some("merge all layers")),
    ] {
        let (archive, _) = build(&kiln, text, "type=docker", flags);
        let images = [docker.load(&archive, "local/image:1"), podman.load(&archive, NAME)];
        for image in &images {
            assert_eq!(texts(&image["RootFS"]["Layers"]).len(), layers, "{flags:?}");
        }
        let history = images[1]["History"].as_array().unwrap();
        let (own, merged) = history.split_at(made.len());
        let word = |entry: &Value| {
            entry["created_by"].as_str().unwrap().split(' ').next().unwrap().to_owned()
        };
        assert_eq!(own.iter().map(word).collect::<Vec<_>>(), made);
        let filled = history.iter().filter(|entry| entry["empty_layer"] != true);
        assert_eq!(filled.count(), layers);
        let comments: Vec<_> =
            merged.iter().map(|entry| entry["comment"].as_str().unwrap()).collect();
        assert_eq!(comments.len(), usize::from(comment.is_some()));
        assert!(comments.iter().zip(comment).all(|(is, ends)| is.ends_with(ends)), "{comments:?}");
        let shown = docker.run(&["history", "--quiet", "--no-trunc", "local/image:1"]);
        assert_eq!(shown.lines().count(), history.len());
        let said = docker.run(&["run", "--rm", "--network=none", "local/image:1"]);
        let files: Vec<_> =
            said.lines().filter(|name| !["dev", "etc", "proc", "sys"].contains(name)).collect();
        assert_eq!(files, ["y", "z", "Dockerfile", "bin", "kept"], "{flags:?}");
    }
}
