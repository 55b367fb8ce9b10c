//! `kiln images`, `history`, `inspect` and `image`: exact output, and the same sizes as docker's.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own preparations is a failed test")]

mod support;

use serde_json::Value;
use support::docker::Docker;
use support::{Ended, Kiln};

/// A file of 1000 bytes and a link of 7.
const DOCKERFILE: &str = "FROM scratch\n\
    LABEL a=b org.example.long=\"two words\"\n\
    COPY files /files/\n\
    COPY more /more\n\
    ENV GREETING=hello\n\
    EXPOSE 80\n\
    CMD [\"/files/thousand\", \"and a command that is longer than docker's table shows\"]\n";

/// All images were made then.
const EPOCH: &str = "SOURCE_DATE_EPOCH=1700000000";

/// One image with two names, one without any that is two seconds older, and the ids of both.
fn kiln() -> (Kiln, String, String) {
    let kiln = Kiln::new();
    kiln.file("files/thousand", &"x".repeat(1000));
    kiln.file("more", &"y".repeat(2345));
    std::os::unix::fs::symlink("nowhere", kiln.context().join("files/link")).unwrap();
    let older = ["--build-arg", "SOURCE_DATE_EPOCH=1699999998"];
    let unnamed = kiln.build("FROM scratch\nLABEL older=yes\nCOPY more /\n", &older);
    let tags = ["-t", "app:1", "-t", "registry.example/team/app", "--build-arg", EPOCH];
    let named = kiln.build(DOCKERFILE, &tags);
    assert_eq!((unnamed.code, named.code), (Some(0), Some(0)), "{}", named.stderr);
    let id = |ended: &Ended| ended.stdout.trim().to_owned();
    (kiln, id(&named), id(&unnamed))
}

fn short(id: &str) -> &str {
    &id["sha256:".len()..][..12]
}

fn said(kiln: &Kiln, args: &[&str]) -> String {
    let ended = kiln.run(args);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{args:?}");
    ended.stdout
}

/// The age is the only thing in a table that changes while the test runs.
fn without_age(table: &str) -> String {
    let lines = table.lines().map(|line| {
        let words: Vec<_> = line.split("   ").map(str::trim).filter(|it| !it.is_empty()).collect();
        let kept: Vec<_> = words.iter().filter(|word| !word.ends_with(" ago")).copied().collect();
        kept.join("|") + "\n"
    });
    lines.collect()
}

#[test]
fn images_are_listed_as_docker_lists_them() {
    let (kiln, id, older) = kiln();
    let (named, nameless) = (short(&id), short(&older));
    let table = format!(
        "REPOSITORY|TAG|IMAGE ID|CREATED|SIZE\n\
         app|1|{named}|3.35kB\n\
         registry.example/team/app|latest|{named}|3.35kB\n\
         <none>|<none>|{nameless}|2.35kB\n"
    );
    assert_eq!(without_age(&said(&kiln, &["images"])), table);
    assert_eq!(without_age(&said(&kiln, &["image", "ls"])), table);
    assert_eq!(said(&kiln, &["images", "-q"]), format!("{named}\n{named}\n{nameless}\n"));
    assert_eq!(
        said(&kiln, &["image", "list", "-q", "--no-trunc"]),
        format!("{id}\n{id}\n{older}\n")
    );
    let cases = [
        ("table {{.Repository}}:{{.Tag}}\\t{{.Size}}", "REPOSITORY:TAG                     SIZE\napp:1                              3.35kB\nregistry.example/team/app:latest   3.35kB\n<none>:<none>                      2.35kB\n".to_owned()),
        ("{{.CreatedAt}} {{.Bytes}}", "2023-11-14 22:13:20 +0000 UTC 3352\n2023-11-14 22:13:20 +0000 UTC 3352\n2023-11-14 22:13:18 +0000 UTC 2345\n".to_owned()),
        ("{{upper .Repository}}{{if eq .Tag \"1\"}} one{{end}} {{.Platforms}} {{.Labels}}", "APP one linux/amd64 a=b,org.example.long=two words\nREGISTRY.EXAMPLE/TEAM/APP linux/amd64 a=b,org.example.long=two words\n<NONE> linux/amd64 older=yes\n".replace("linux/amd64", &host())),
        ("raw", format!("repository: app\ntag: 1\nimage_id: {named}\ncreated_at: 2023-11-14 22:13:20 +0000 UTC\nvirtual_size: 3.35kB\n\nrepository: registry.example/team/app\ntag: latest\nimage_id: {named}\ncreated_at: 2023-11-14 22:13:20 +0000 UTC\nvirtual_size: 3.35kB\n\nrepository: <none>\ntag: <none>\nimage_id: {nameless}\ncreated_at: 2023-11-14 22:13:18 +0000 UTC\nvirtual_size: 2.35kB\n\n")),
    ];
    for (format, expected) in cases {
        assert_eq!(said(&kiln, &["images", "--format", format]), expected, "{format}");
    }
    let json = said(&kiln, &["images", "--format", "json", "app"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    let manifest = &said(&kiln, &["inspect", "-f", "{{.Digest}}", "app:1"]);
    assert_eq!(json["Digest"], manifest.trim());
    assert_eq!((&json["ID"], &json["Bytes"]), (&named.into(), &3352.into()));
}

fn host() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("linux/{architecture}")
}

#[test]
fn filters_choose_images() {
    let (kiln, id, older) = kiln();
    let (named, nameless) = (short(&id), short(&older));
    let cases: [(&[&str], &[&str]); 17] = [
        (&["app"], &["app:1"]),
        (&["app:1"], &["app:1"]),
        (&["app:2"], &[]),
        (&["*/*/*"], &["registry.example/team/app:latest"]),
        (&["-f", "reference=a*:1"], &["app:1"]),
        (
            &["-f", "reference=app", "-f", "reference=registry.example/*/app"],
            &["app:1", "registry.example/team/app:latest"],
        ),
        (&["-f", "dangling=true"], &["<none>:<none>"]),
        (&["-f", "dangling=0", "app"], &["app:1"]),
        (&["-f", "label=older"], &["<none>:<none>"]),
        (&["-f", "label=a=b", "app"], &["app:1"]),
        (&["-f", "label=a=c"], &[]),
        (&["-f", "label=a=b", "-f", "label=older"], &[]),
        (&["-f", "before=app:1"], &["<none>:<none>"]),
        (&["-f", "since=app:1"], &[]),
        (&["-f", "until=1699999999"], &["<none>:<none>"]),
        (&["-f", "until=2023-11-14"], &[]),
        (&["-f", "until=1h", "app"], &["app:1"]),
    ];
    for (args, expected) in cases {
        let format = ["images", "--format", "{{.Repository}}:{{.Tag}}"];
        let shown = said(&kiln, &[&format[..], args].concat());
        assert_eq!(shown.lines().collect::<Vec<_>>(), expected, "{args:?}");
    }
    let since = said(&kiln, &["images", "-q", "-f", &format!("since={nameless}")]);
    assert_eq!(since, format!("{named}\n{named}\n"));
    let refused = [
        ("foo=1", "there is no filter `foo`"),
        ("foo", "invalid filter `foo`"),
        ("dangling=maybe", "invalid value `maybe` for the filter `dangling`"),
        ("until=soon", "invalid time `soon` for the filter `until`"),
        ("reference=[", "invalid pattern `[` for the filter `reference`"),
        ("since=nope", "there is no image `nope` in the local store"),
    ];
    for (filter, message) in refused {
        let ended = kiln.run(&["images", "-f", filter]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{filter}");
        assert!(ended.stderr.starts_with(&format!("error: {message}\n")), "{}", ended.stderr);
    }
}

#[test]
fn history_is_shown_as_docker_shows_it() {
    let (kiln, id, _) = kiln();
    let expected = format!(
        "IMAGE|CREATED|CREATED BY|SIZE|COMMENT\n\
         {}|CMD [\"/files/thousand\" \"and a command that i…|0B|buildkit.dockerfile.v0\n\
         <missing>|EXPOSE [80/tcp]|0B|buildkit.dockerfile.v0\n\
         <missing>|ENV GREETING=hello|0B|buildkit.dockerfile.v0\n\
         <missing>|COPY more /more # buildkit|2.35kB|buildkit.dockerfile.v0\n\
         <missing>|COPY files /files/ # buildkit|1.01kB|buildkit.dockerfile.v0\n\
         <missing>|LABEL a=b org.example.long=two words|0B|buildkit.dockerfile.v0\n",
        short(&id)
    );
    assert_eq!(without_age(&said(&kiln, &["history", "app:1"])), expected);
    let exact = said(
        &kiln,
        &[
            "history",
            "-H=false",
            "--format",
            "{{.ID}} {{.Size}} {{.CreatedAt}}",
            "--no-trunc",
            "app:1",
        ],
    );
    let lines: Vec<_> = exact.lines().collect();
    assert_eq!(lines[0], format!("{id} 0 2023-11-14T22:13:20Z"));
    assert_eq!(lines[3], "<missing> 2345 2023-11-14T22:13:20Z");
    assert_eq!(lines[4], "<missing> 1007 2023-11-14T22:13:20Z");
    let quiet = said(&kiln, &["image", "history", "-q", "app:1"]);
    assert_eq!(quiet, format!("{}\n{}", short(&id), "<missing>\n".repeat(5)));
    let first = said(&kiln, &["history", "--format", "json", "--no-trunc", "app:1"]);
    let first: Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
    let command =
        "CMD [\"/files/thousand\" \"and a command that is longer than docker's table shows\"]";
    assert_eq!((&first["CreatedBy"], &first["Size"]), (&command.into(), &"0B".into()));
}

#[test]
fn inspect_takes_templates_and_platforms() {
    let (kiln, id, older) = kiln();
    let cases = [
        ("{{.Id}}", id.clone()),
        ("{{.RepoTags}}", "[app:1 registry.example/team/app:latest]".to_owned()),
        ("{{join .RepoTags \"\\n\"}}", "app:1\nregistry.example/team/app:latest".to_owned()),
        ("{{.Os}}/{{.Architecture}} {{.Size}}", format!("{} 3352", host())),
        ("{{.Config.Labels}}", "map[a:b org.example.long:two words]".to_owned()),
        ("{{index .Config.Labels \"org.example.long\"}}", "two words".to_owned()),
        ("{{index .Config.Labels \"none\"}}|{{.Config.Labels.none}}", "|<no value>".to_owned()),
        (
            "{{json .Config.ExposedPorts}} {{.Config.ExposedPorts}}",
            "{\"80/tcp\":{}} map[80/tcp:{}]".to_owned(),
        ),
        (
            "{{range .Config.Env}}{{.}};{{end}}",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin;GREETING=hello;"
                .to_owned(),
        ),
        ("{{.Config.OnBuild}}{{if .Config.Healthcheck}}checked{{end}}", "[]".to_owned()),
        ("{{len .RootFS.Layers}} {{.RootFS.Type}}", "2 layers".to_owned()),
    ];
    for (template, expected) in cases {
        let shown = said(&kiln, &["image", "inspect", "-f", template, "app:1"]);
        assert_eq!(shown, expected + "\n", "{template}");
    }
    let both = said(&kiln, &["inspect", "--format", "{{.Id}}", "app:1", &older]);
    assert_eq!(both, format!("{id}\n{older}\n"));
    let raw = said(&kiln, &["inspect", "--raw", "app:1"]);
    let manifest: Value = serde_json::from_str(&raw).unwrap();
    assert_eq!(manifest["config"]["digest"], id);
    let digest =
        said(&kiln, &["inspect", "-f", "{{.Descriptor.digest}} {{.Descriptor.size}}", "app:1"]);
    assert!(digest.ends_with(&format!(" {}\n", raw.len())), "{digest}");
    let config: Value =
        serde_json::from_str(&said(&kiln, &["inspect", "--config", "app:1"])).unwrap();
    let line: Value =
        serde_json::from_str(&said(&kiln, &["inspect", "-f", "json", "app:1"])).unwrap();
    assert_eq!(config["config"], line[0]["Config"], "the config has the same fields");
    assert_eq!(config["history"], line[0]["History"]);
    let named = format!("registry.example/team/app@{}", digest.split(' ').next().unwrap());
    assert_eq!(line[0]["RepoDigests"][1], named);
}

#[test]
fn what_is_wrong_is_said_after_what_is_found() {
    let (kiln, id, _) = kiln();
    let ended = kiln.run(&["inspect", "nope", "app:1", "nothing"]);
    let found: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((ended.code, &found[0]["Id"]), (Some(2), &id.into()));
    assert_eq!(found.as_array().unwrap().len(), 1);
    assert_eq!(
        ended.stderr.lines().filter(|line| line.starts_with("error: ")).collect::<Vec<_>>(),
        [
            "error: there is no image `nope` in the local store",
            "error: there is no image `nothing` in the local store"
        ]
    );
    assert_eq!(kiln.run(&["inspect", "nope"]).stdout, "[]\n");
    let ended = kiln.run(&["inspect", "-f", "{{.Config.Lables}}", "app:1"]);
    assert_eq!(
        (ended.code, ended.stderr.as_str()),
        (
            Some(2),
            "error: can't evaluate field `Lables`\n --> --format:1:10\n  |\n1 | {{.Config.Lables}}\n  |          ^^^^^^^\n  \
             hint: the fields are User, ExposedPorts, Env, Entrypoint, Cmd, Volumes, WorkingDir, Labels, StopSignal, \
             ArgsEscaped, Healthcheck, OnBuild, Shell\n"
        )
    );
    for command in [&["inspect"][..], &["history"]] {
        let ended = kiln.run(&[command, &["--platform", "linux/s390x", "app:1"]].concat());
        assert_eq!(ended.code, Some(2));
        assert!(ended.stderr.contains("no image for platform `linux/s390x`"), "{}", ended.stderr);
        assert_eq!(kiln.run(&[command, &["--platform", &host(), "app:1"]].concat()).code, Some(0));
    }
    for words in [&["image"][..], &["image", "nope"], &["image", "image", "ls"]] {
        assert_eq!(kiln.run(words).code, Some(2), "{words:?}");
    }
    let help = said(&kiln, &["image", "ls", "--help"]);
    assert!(help.starts_with("List the images of the local store"), "{help}");
}

#[test]
fn an_index_is_one_row() {
    let (kiln, ..) = kiln();
    // What this machine cannot run stands first.
    let (foreign, own) = ("linux/s390x", host());
    let mut manifests = Vec::new();
    for (platform, content) in [(foreign, "1"), (own.as_str(), "22")] {
        kiln.file("content", content);
        let text = "FROM scratch\nCOPY more content /\n";
        let built = kiln.build(text, &["--platform", platform, "--build-arg", EPOCH]);
        assert_eq!(built.code, Some(0), "{}", built.stderr);
        let id = built.stdout.trim().to_owned();
        let manifest = said(&kiln, &["inspect", "--raw", &id]);
        let (os, architecture) = platform.split_once('/').unwrap();
        manifests.push(serde_json::json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": said(&kiln, &["inspect", "-f", "{{.Digest}}", &id]).trim(),
            "size": manifest.len(),
            "platform": { "os": os, "architecture": architecture },
        }));
    }
    name_index(&kiln, "docker.io/library/several:1", &manifests);
    let format = ["--format", "{{.Platforms}} {{.Bytes}}", "several"];
    let rows = said(&kiln, &[&["images"][..], &format].concat());
    assert_eq!(rows, format!("{foreign},{own} {}\n", 2 * 2345 + 1 + 2));
    let rows = |args: &[&str]| said(&kiln, &[&["images", "-q"], args].concat()).lines().count();
    // Three rows of the other images; with `--all` the two of the index as well.
    assert_eq!((rows(&[]), rows(&["--all"])), (4, 6));
    let size = ["inspect", "-f", "{{.Architecture}} {{.Size}}"];
    let own_architecture = own.split_once('/').unwrap().1;
    assert_eq!(
        said(&kiln, &[&size[..], &["several:1"]].concat()),
        format!("{own_architecture} 2347\n")
    );
    let chosen = said(&kiln, &[&size[..], &["--platform", foreign, "several:1"]].concat());
    assert_eq!(chosen, "s390x 2346\n");
    let raw: Value =
        serde_json::from_str(&said(&kiln, &["inspect", "--raw", "several:1"])).unwrap();
    assert_eq!(raw["manifests"].as_array().unwrap().len(), 2);
    // Of another machine's images alone one is shown as well.
    name_index(&kiln, "docker.io/library/elsewhere:1", &manifests[..1]);
    assert_eq!(said(&kiln, &[&size[..], &["elsewhere:1"]].concat()), "s390x 2346\n");
    assert_eq!(rows(&["elsewhere"]), 1);
}

#[test]
fn an_index_goes_with_its_images() {
    let kiln = Kiln::new();
    let dockerfile = "FROM scratch\nARG TARGETARCH\nCOPY Dockerfile /\nENV ARCH=$TARGETARCH\n";
    let built = kiln.build(dockerfile, &["-t", "two:1", "--platform", "linux/amd64,linux/arm64"]);
    assert_eq!(built.code, Some(0), "{}", built.stderr);
    let layout = kiln.path("layout").display().to_string();
    let copied = kiln.run(&["copy", "--all", "two:1", &format!("oci:{layout}")]);
    assert_eq!(copied.code, Some(0), "{}", copied.stderr);
    let shown = said(&kiln, &["images", "-q"]);
    assert_eq!(shown.lines().count(), 1);
    // The id that is shown is one of its images', and means the name.
    let removed = said(&kiln, &["rmi", shown.trim()]);
    assert!(removed.starts_with("Untagged: two:1\nDeleted: sha256:"), "{removed}");
    assert_eq!((removed.lines().count(), said(&kiln, &["images", "-a", "-q"])), (4, String::new()));
    // Without a name it is one image too; and what another name leads to stays.
    assert_eq!(kiln.run(&["load", "-i", &layout]).code, Some(0));
    assert_eq!(said(&kiln, &["images", "-q"]), shown);
    assert_eq!(said(&kiln, &["images", "-a", "-q"]).lines().count(), 3);
    said(&kiln, &["tag", shown.trim(), "one:1"]);
    let digest = copied.stdout.trim();
    assert_eq!(said(&kiln, &["rmi", digest]).lines().count(), 2);
    assert_eq!(said(&kiln, &["images", "-q"]), shown);
}

#[test]
fn a_name_with_a_digest_is_given_to_no_image() {
    let (kiln, id, _) = kiln();
    let name = format!("x@{id}");
    let archive = kiln.path("root.tar").display().to_string();
    said(&kiln, &["export", "-q", "-o", &archive, "app:1"]);
    let commands = [
        &["tag", "app:1", &name][..],
        &["copy", "-q", "app:1", &name],
        &["push", "-q", "app:1", &name],
        &["squash", "app:1", "-t", &name],
        &["import", "-q", &archive, &name],
    ];
    for words in commands {
        let ended = kiln.run(words);
        let expected = format!(
            "error: `{name}` cannot be given to an image: it is, or looks like, a name with a digest\n"
        );
        assert_eq!(ended.code, Some(2), "{words:?}");
        assert!(ended.error().starts_with(&expected), "{words:?} {}", ended.stderr);
    }
}

/// Puts an index into the store, and gives it a name.
fn name_index(kiln: &Kiln, name: &str, manifests: &[Value]) {
    let index = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": manifests,
    });
    let store = kiln::store::Store::open(&kiln.path("state")).unwrap();
    let digest = store.put_blob(index.to_string().as_bytes()).unwrap();
    kiln::source::names::set_tag(&store, &name.parse().unwrap(), &digest).unwrap();
}

#[test]
fn layers_that_were_not_unpacked_are_measured() {
    let (kiln, ..) = kiln();
    let packed = ["-t", "packed", "-o", "type=image,compression=gzip"];
    assert_eq!(kiln.build(DOCKERFILE, &packed).code, Some(0));
    let template = ["inspect", "-f", "{{.Size}} {{range .RootFS.Layers}}{{.}} {{end}}", "packed"];
    let before = said(&kiln, &template);
    // Only what a pull of a whole index would have brought stays.
    let state = kiln.path("state");
    for folder in ["snapshots", "records/chain", "records/blob"] {
        std::fs::remove_dir_all(state.join(folder)).unwrap();
        std::fs::create_dir(state.join(folder)).unwrap();
    }
    for layer in before.split_whitespace().skip(1) {
        let (algorithm, hex) = layer.split_once(':').unwrap();
        std::fs::remove_file(state.join("blobs").join(algorithm).join(hex)).unwrap();
    }
    let noted = || std::fs::read_dir(state.join("records/blob")).unwrap().count();
    assert_eq!((said(&kiln, &template), noted()), (before.clone(), 2));
    assert_eq!(said(&kiln, &template), before);
    assert!(before.starts_with("3352 "), "{before}");
}

#[test]
fn sizes_are_those_of_docker() {
    let (kiln, ..) = kiln();
    let text = format!(
        "{}RUN dd if=/dev/urandom of=/big bs=1000 count=77 && ln /big /again && rm /bin/ls && mkfifo /pipe\n",
        support::BASE
    );
    let archive = kiln.path("sized.tar");
    let output = format!("type=docker,dest={}", archive.display());
    let built = kiln.build(&text, &["-t", "sized:1", "-o", &output]);
    assert_eq!(built.code, Some(0), "{}", built.stderr);
    let docker = Docker::start();
    let loaded = docker.load(&archive, "sized:1");
    let size = said(&kiln, &["inspect", "-f", "{{.Size}}", "sized:1"]);
    assert_eq!(size.trim(), loaded["Size"].to_string());
    let history =
        ["history", "-H=false", "--no-trunc", "--format", "{{.Size}} {{.CreatedBy}}", "sized:1"];
    assert_eq!(said(&kiln, &history), docker.run(&history));
    let people =
        ["history", "--format", "{{.ID}}|{{.CreatedBy}}|{{.Size}}|{{.Comment}}", "sized:1"];
    assert_eq!(said(&kiln, &people), docker.run(&people));
    let list = ["images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}} {{.Size}}", "sized"];
    assert_eq!(said(&kiln, &list), docker.run(&list));
    // What was noted of the layers is as good as the layers.
    assert_eq!(said(&kiln, &["inspect", "-f", "{{.Size}}", "sized:1"]), size);
}
