//! What the flags of `kiln build` do to steps and to what is made of them.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own preparations is a failed test")]

mod support;

use std::process::Command;

use serde_json::Value;

use support::{BASE, Kiln, ended, tars};

fn read(path: &std::path::Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn steps_run_as_they_are_told() {
    let kiln = Kiln::new();
    kiln.file("secret.txt", "from a file");
    let out = kiln.rootfs(
        "RUN grep -w 'db\\|db6\\|gate' /etc/hosts > /hosts\n\
         RUN df -k /dev/shm | tail -n 1 | awk '{print $2}' > /shm\n\
         RUN ulimit -n > /soft; ulimit -Hn > /hard\n\
         RUN ip link | grep -c '^[0-9]' > /links\n\
         RUN --mount=type=secret,id=env,env=TOKEN --mount=type=secret,id=file \
         echo \"$TOKEN $(cat /run/secrets/file)\" | rev > /secrets\n",
        &[
            "--add-host=db:10.1.2.3",
            "--add-host=db6=[fe80::1]",
            "--add-host=gate:host-gateway",
            "--shm-size=3m",
            "--ulimit=nofile=123:456",
            "--network=none",
            "--secret=id=env,env=PATH",
            "--secret=type=file,id=file,src=secret.txt",
        ],
    );
    assert_eq!(read(&out.join("hosts")), "10.1.2.3\tdb\nfe80::1\tdb6\n127.0.0.1\tgate\n");
    assert_eq!(read(&out.join("shm")), "3072\n");
    assert_eq!(
        (read(&out.join("soft")), read(&out.join("hard"))),
        ("123\n".into(), "456\n".into())
    );
    assert_eq!(read(&out.join("links")), "1\n");
    let secrets: String = read(&out.join("secrets")).trim().chars().rev().collect();
    assert_eq!(secrets, format!("{} from a file", std::env::var("PATH").unwrap()));
    assert!(!out.join("run/secrets").exists() && !out.join("etc/hosts").exists());
}

#[test]
fn what_was_made_is_told_in_files() {
    let kiln = Kiln::new();
    let flags = ["-t", "app:1", "-t", "registry.example/app", "--label", "a=b", "--label=c"];
    let files = ["--iidfile=id", "--metadata-file=metadata.json"];
    let built = kiln.build(BASE, &[&flags[..], &files].concat());
    let id = built.stdout.trim();
    assert_eq!(read(&kiln.context().join("id")), id);
    let metadata: Value =
        serde_json::from_str(&read(&kiln.context().join("metadata.json"))).unwrap();
    assert_eq!(metadata["containerimage.config.digest"], id);
    assert_eq!(metadata["image.name"], "docker.io/library/app:1,registry.example/app:latest");
    let inspected: Value =
        serde_json::from_str(&kiln.run(&["inspect", "registry.example/app"]).stdout).unwrap();
    assert_eq!(inspected[0]["Id"], id);
    assert_eq!(inspected[0]["Digest"], metadata["containerimage.digest"]);
    assert_eq!(inspected[0]["Config"]["Labels"], serde_json::json!({ "a": "b", "c": "" }));
    assert_eq!(
        inspected[0]["RepoTags"],
        serde_json::json!(["app:1", "registry.example/app:latest"])
    );
    let quiet = kiln.run(&["build", "-q", "-t", "app:1", "--label", "a=b", "--label", "c=", "."]);
    assert_eq!((quiet.stdout.trim(), quiet.stderr.as_str()), (id, ""));
    assert_eq!(kiln.build("FROM scratch\nCOPY nope /\n", &files).code, Some(2));
    assert!(!kiln.context().join("id").exists(), "an id of an earlier build is worse than none");
}

#[test]
fn only_the_named_stages_run_again() {
    let kiln = Kiln::new();
    let text = format!(
        "{} AS first\nRUN cat /proc/sys/kernel/random/uuid > /first\n{} AS second\nRUN cat /proc/sys/kernel/random/uuid > /second\n\
         FROM scratch\nCOPY --from=first /first /\nCOPY --from=second /second /\n",
        BASE.replacen("scratch", "scratch AS base", 1) + "FROM base",
        "FROM base"
    );
    let numbers = |args: &[&str]| {
        let tree = kiln.tree(&text, args);
        ["first", "second"].map(|name| {
            let entry = tree.iter().find(|entry| entry.path == name.as_bytes());
            entry.unwrap().content.clone()
        })
    };
    let before = numbers(&[]);
    assert_eq!(numbers(&[]), before);
    let after = numbers(&["--no-cache-filter=second"]);
    assert_eq!(after[0], before[0]);
    assert_ne!(after[1], before[1]);
    let again = numbers(&["--no-cache"]);
    assert!(again[0] != after[0] && again[1] != after[1]);
}

#[test]
fn compressions_are_as_asked() {
    let kiln = Kiln::new();
    let base = kiln.path("base");
    let output = format!("type=oci,tar=false,dest={},compression=gzip", base.display());
    assert_eq!(kiln.build(BASE, &["--output", &output]).code, Some(0));
    let types = |attributes: &str| {
        let out = kiln.path("out.tar");
        let output = format!("type=oci,dest={},{attributes}", out.display());
        let context = format!("base=oci-layout://{}", base.display());
        let ended = kiln.build(
            "FROM base\nRUN seq 100000 > /numbers\n",
            &["--build-context", &context, "--output", &output],
        );
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let manifest = tars::Layout::read(&out).manifest();
        let layers = manifest["layers"].as_array().unwrap().clone();
        let kinds: Vec<_> = layers
            .iter()
            .map(|layer| {
                layer["mediaType"].as_str().unwrap().rsplit(['.', '+']).next().unwrap().to_owned()
            })
            .collect();
        (kinds, layers.last().unwrap()["size"].as_u64().unwrap())
    };
    let kinds = |attributes: &str| types(attributes).0;
    assert_eq!(kinds("compression=zstd"), ["gzip", "gzip", "zstd"]);
    assert_eq!(kinds("compression=zstd,force-compression=true"), ["zstd", "zstd", "zstd"]);
    assert_eq!(kinds("compression=uncompressed"), ["gzip", "gzip", "tar"]);
    assert_eq!(kinds("compression=gzip"), ["gzip", "gzip", "gzip"]);
    for compression in ["gzip", "zstd"] {
        let size = |level| types(&format!("compression={compression},compression-level={level}")).1;
        assert!(size(1) > size(9), "{compression}");
    }
}

#[test]
fn an_archive_goes_to_standard_output() {
    let kiln = Kiln::new();
    kiln.file("Dockerfile", BASE);
    for (output, entry) in [
        ("type=oci,dest=-", "oci-layout"),
        ("type=docker,dest=-", "manifest.json"),
        ("-", "bin/busybox"),
    ] {
        let output = kiln.command(&["build", "--output", output, "."]).output().unwrap();
        assert!(output.status.success());
        let entries = tars::entries(&output.stdout[..]);
        assert!(entries.iter().any(|it| it.path == entry.as_bytes()), "{entry}");
    }
}

#[test]
fn a_platform_is_what_the_image_says() {
    let kiln = Kiln::new();
    let text = "FROM scratch\nARG TARGETPLATFORM TARGETVARIANT\nLABEL for=$TARGETPLATFORM v=$TARGETVARIANT\nCOPY busybox /\n";
    for (platform, os, architecture, variant) in [
        ("linux/arm64", "linux", "arm64", Value::Null),
        ("linux/arm/v6", "linux", "arm", "v6".into()),
    ] {
        let config = kiln.image(text, &["--platform", platform]).config();
        assert_eq!((&config["os"], &config["architecture"]), (&os.into(), &architecture.into()));
        assert_eq!(config["variant"], variant);
        assert_eq!(config["config"]["Labels"]["for"], platform);
    }
}

#[test]
fn the_environment_is_asked_where_no_flag_is_given() {
    let kiln = Kiln::new();
    kiln.file("Dockerfile", &format!("{BASE}ARG WHO\nRUN echo $WHO\n"));
    let elsewhere = kiln.path("elsewhere");
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
    command.args(["build", "--build-arg", "WHO", "-t", "x", "."]).current_dir(kiln.context());
    command.env("KILN_ROOT", &elsewhere).env("BUILDKIT_PROGRESS", "rawjson");
    command.env("WHO", "somebody").env("DOCKER_DEFAULT_PLATFORM", "linux/amd64");
    let ended = ended(command.output().unwrap());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(elsewhere.join("records").is_dir() && !kiln.path("state").exists());
    let lines: Vec<Value> =
        ended.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let said = lines.iter().any(|line| line["logs"][0]["data"] == "c29tZWJvZHkK");
    assert!(said, "{}", ended.stderr);
}

#[test]
fn an_image_without_a_name_is_kept_if_asked() {
    let kiln = Kiln::new();
    let output = format!("type=tar,dest={}", kiln.path("x.tar").display());
    let unkept = kiln.build(BASE, &["--output", &output]);
    assert_eq!(kiln.run(&["inspect", unkept.stdout.trim()]).code, Some(2));
    let kept = kiln.build(BASE, &["--output", &output, "--output", "type=image"]);
    assert_eq!(kept.stdout, unkept.stdout);
    assert_eq!(kiln.run(&["inspect", kept.stdout.trim()]).code, Some(0));
}
