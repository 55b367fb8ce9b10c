//! Lowering against the reference's answers: accepted or rejected, config, platform and history of every file of the
//! corpus (`testdata/corpus`, or the folder that `KILN_CORPUS` names), with the stub images that its README describes.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its data has failed")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kiln::digest::Digest;
use kiln::dockerfile::Dockerfile;
use kiln::graph::{
    self, Base, Bases, Failure, ImageLocation, ImageRequest, Lowered, Op, Request, RunNetwork,
};
use kiln::oci::{ImageConfig, Platform};
use serde_json::{Value, json};

/// Rows that kiln answers otherwise on purpose, each with its reason.
const EXCEPTIONS: [(&str, &str); 1] =
    [("dir-check-error", "rejected by a lint rule, and kiln does not lint yet")];

fn corpus() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/corpus");
    std::env::var_os("KILN_CORPUS").map_or(own, PathBuf::from)
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The config of a stub image, as the corpus's README describes it.
fn stub(name: &str, platform: &Platform) -> Option<ImageConfig> {
    const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let config = match name {
        "kiln/missing" => return None,
        "kiln/noenv" => json!({}),
        "kiln/onbuild" => json!({"Env": [PATH], "OnBuild":
            ["ENV FROM_ONBUILD=yes", "COPY . /onbuild", "RUN echo onbuild"]}),
        "kiln/onbuild-bad" => json!({"Env": [PATH], "OnBuild": ["FROM scratch"]}),
        "kiln/full" => json!({
            "Env": [PATH, "FOO=basefoo", "EMPTY="], "User": "app:grp", "WorkingDir": "/srv/base",
            "Entrypoint": ["/ep", "x"], "Cmd": ["c1", "c2"], "Labels": {"base": "1"},
            "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/basevol": {}}, "StopSignal": "SIGQUIT",
            "Shell": ["/bin/bash", "-lc"],
            "Healthcheck": {"Test": ["CMD", "true"], "Interval": 5_000_000_000_i64},
        }),
        _ => json!({"Env": [PATH]}),
    };
    let layer = "sha256:0000000000000000000000000000000000000000000000000000000000000001";
    let image = json!({
        "architecture": platform.architecture, "os": platform.os, "variant": platform.variant,
        "config": config, "rootfs": {"type": "layers", "diff_ids": [layer]},
        "history": [{"created_by": "base"}],
    });
    Some(ImageConfig::parse(image.to_string().as_bytes()).unwrap())
}

fn request(options: &Value) -> Request {
    let build_args = options["build_args"].as_object().into_iter().flatten();
    let build_args: BTreeMap<_, _> =
        build_args.map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned())).collect();
    let platform = |text: &str| Platform::parse(text).unwrap();
    Request {
        target: options["target"].as_str().map(str::to_owned),
        build_args,
        labels: Vec::new(),
        build_platform: platform("linux/amd64"),
        platform: options["platform"].as_str().map(platform),
        named_contexts: BTreeMap::new(),
        network: RunNetwork::Default,
        no_cache: None,
    }
}

fn lower(file: &Dockerfile, request: &Request) -> Result<Lowered, String> {
    let mut bases = Bases::new();
    loop {
        match graph::lower(file, request, &bases) {
            Ok(lowered) => return Ok(lowered),
            Err(Failure::Error(error)) => return Err(error.message),
            Err(Failure::Need(needed)) => {
                for (wanted, _) in needed {
                    let base = resolve(&wanted).ok_or("not found")?;
                    bases.insert(wanted, base);
                }
            }
        }
    }
}

fn resolve(request: &ImageRequest) -> Option<Base> {
    let ImageLocation::Reference(reference) = &request.location else { return None };
    let config = stub(&reference.familiar_name(), &request.platform)?;
    Some(Base { config, manifest: Digest::of(reference.to_string().as_bytes()) })
}

fn history(lowered: &Lowered) -> Value {
    let entry = |entry: &kiln::oci::History| json!({"created_by": entry.created_by, "empty_layer": entry.empty_layer});
    lowered.config.history.iter().map(entry).collect()
}

/// The commands of the graph, as the reference's exec operations have them.
fn execs(lowered: &Lowered) -> Vec<Value> {
    let run = |op: &Op| match op {
        Op::Run(run) => {
            Some(json!({"args": run.args, "env": run.env, "cwd": run.cwd, "user": run.user}))
        }
        _ => None,
    };
    lowered.graph.iter().filter_map(|(_, vertex)| run(&vertex.op)).collect()
}

fn golden_execs(build: &Value) -> Option<Vec<Value>> {
    let exec = |op: &Value| {
        let meta = op.get("exec")?.get("meta")?.clone();
        let list = |key: &str| {
            let values = meta.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
            // The agent's socket is put into the environment when the command runs.
            let is_agent =
                |value: &Value| value.as_str().is_some_and(|v| v.starts_with("SSH_AUTH_SOCK="));
            Value::from_iter(values.into_iter().filter(|value| !is_agent(value)))
        };
        let text = |key: &str| meta.get(key).cloned().unwrap_or(json!(""));
        Some(
            json!({"args": list("args"), "env": list("env"), "cwd": text("cwd"), "user": text("user")}),
        )
    };
    Some(build.get("llb")?.as_array()?.iter().filter_map(exec).collect())
}

fn compare(name: &str, text: &[u8], golden: &Value, options: &Value, found: &mut Vec<String>) {
    let build = &golden["build"];
    let Ok(file) = Dockerfile::parse(text) else { return };
    let lowered = match (lower(&file, &request(options)), build["ok"] == true) {
        (Ok(lowered), true) => lowered,
        (Err(_), false) => return,
        (Ok(_), false) => {
            return found.push(format!("{name}: accepted, reference: {}", build["error"]));
        }
        (Err(error), true) => return found.push(format!("{name}: rejected: {error}")),
    };
    let config: Value = serde_json::from_slice(&lowered.config.to_bytes()).unwrap();
    let platform = format!("{}/{}", lowered.config.os, lowered.config.architecture);
    let mut same = |what: &str, ours: Value, theirs: Value| {
        if ours != theirs {
            found.push(format!("{name}: {what}\n     kiln {ours}\n      ref {theirs}"));
        }
    };
    same("config", config["config"].clone(), build["config"].clone());
    same("platform", json!(platform), build["image_platform"].clone());
    if let Some(theirs) = build.get("history") {
        same("history", history(&lowered), theirs.clone());
    }
    if let Some(theirs) = golden_execs(build) {
        let key = |value: &Value| value.to_string();
        let (mut ours, mut theirs) = (execs(&lowered), theirs);
        ours.sort_by_key(key);
        theirs.sort_by_key(key);
        same("commands", json!(ours), json!(theirs));
    }
}

#[test]
fn every_file_is_lowered_as_the_reference_does() {
    let corpus = corpus();
    let options = read_json(&corpus.join("dockerfiles/edge/options.json"));
    let mut found = Vec::new();
    let mut rows = 0;
    for entry in std::fs::read_dir(corpus.join("golden/edge")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let golden = read_json(&path);
        let known = EXCEPTIONS.iter().any(|(exception, _)| *exception == name);
        if golden["ok"] != true || golden["utf8"] != true || known {
            continue;
        }
        let text =
            std::fs::read(corpus.join(format!("dockerfiles/edge/{name}.Dockerfile"))).unwrap();
        compare(name, &text, &golden, &options[name], &mut found);
        rows += 1;
    }
    found.sort();
    assert!(rows > 0, "the corpus has no rows");
    assert!(found.is_empty(), "{} of {rows} differ:\n{}", found.len(), found.join("\n"));
}
