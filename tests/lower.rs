//! What a build makes of Dockerfiles against the reference's own answers (`build` in the golden files, and the rows
//! of kind `copy`): `testdata/corpus`, or the folder that the environment variable `KILN_CORPUS` names.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its data has failed")]

#[path = "corpus/answers.rs"]
mod answers;
mod lower {
    pub(crate) mod reference;
    pub(crate) mod shape;
    pub(crate) mod stub;
}

use answers::{Differences, folder, read};
use kiln::dockerfile::Dockerfile;
use kiln::dockerfile::ast::Span;
use kiln::graph::{Lowered, Request};
use kiln::lint::{self, Options};
use lower::{reference, shape, stub};
use serde_json::{Value, json};

#[test]
fn builds_agree() {
    let mut differences = Differences::default();
    let options = read("dockerfiles/edge/options.json");
    let mut names: Vec<String> = std::fs::read_dir(folder().join("golden/edge"))
        .unwrap()
        .filter_map(|entry| {
            Some(entry.unwrap().file_name().to_str()?.strip_suffix(".json")?.into())
        })
        .collect();
    names.sort();
    for name in names {
        let golden = read(&format!("golden/edge/{name}.json"));
        if golden["ok"] == false {
            continue;
        }
        differences.rows += 1;
        let text = std::fs::read(folder().join(format!("dockerfiles/edge/{name}.Dockerfile")));
        let file = match Dockerfile::parse(&text.unwrap()) {
            Ok(file) => file,
            Err(errors) => {
                differences.note(format!("{name}: does not parse: {}", errors[0]));
                continue;
            }
        };
        build(&mut differences, &name, &file, &stub::request(&options[&name]), &golden);
    }
    differences.finish();
}

/// Lowers as a build does, with the checks; the error is where it is.
fn lowered(file: &Dockerfile, request: &Request) -> Result<Lowered, (String, Option<Span>)> {
    let options =
        Options::of(file, &request.build_args).map_err(|error| (error.to_string(), error.span))?;
    let mut facts = Vec::new();
    let lowered = stub::lower(file, request, &mut facts);
    let lowered = lowered.map_err(|error| (error.message, error.span))?;
    match options.error && !lint::findings(file, &facts, &options, None).is_empty() {
        true => Err(("findings".to_owned(), None)),
        false => Ok(lowered),
    }
}

fn build(
    differences: &mut Differences,
    name: &str,
    file: &Dockerfile,
    request: &Request,
    golden: &Value,
) {
    let (build, utf8) = (&golden["build"], golden["utf8"] == true);
    match (lowered(file, request), build["ok"] == true) {
        (Ok(lowered), true) if utf8 => same(differences, name, &lowered, build),
        (Ok(_), true) => {}
        (Ok(_), false) => {
            differences.note(format!("{name}: accepted, reference: {}", build["error"]));
        }
        (Err((error, _)), true) => differences.note(format!("{name}: rejected: {error}")),
        (Err((_, span)), false) if !build["error_lines"].is_null() => {
            let ours = json!(span.map(|span| [span.first_line, span.last_line]));
            differences.compare(&format!("{name}.error_lines"), &ours, &build["error_lines"]);
        }
        (Err(_), false) => {}
    }
}

fn same(differences: &mut Differences, name: &str, lowered: &Lowered, build: &Value) {
    let config = &lowered.config;
    let platform = format!("{}/{}", config.os, config.architecture);
    let steps = config.history.iter();
    let steps =
        steps.map(|step| json!({"created_by": step.created_by, "empty_layer": step.empty_layer}));
    let ours = json!({
        "config": config.config,
        "image_platform": platform,
        "history": steps.collect::<Vec<_>>(),
    });
    // Very long answers are left out of the corpus, and so are graphs that the reference cannot write.
    for key in ["config", "image_platform", "history"] {
        if build.get(key).is_some() {
            differences.compare(&format!("{name}.{key}"), &ours[key], &build[key]);
        }
    }
    if build.get("llb").is_some() && build["marshal_error"].is_null() {
        let golden = reference::operations(&build["llb"]);
        differences.compare(&format!("{name}.llb"), &shape::operations(lowered), &golden);
    }
}

#[test]
fn copies_agree() {
    let mut differences = Differences::default();
    for row in read("match.json").as_array().unwrap() {
        if row["kind"] != "copy" {
            continue;
        }
        differences.rows += 1;
        let words = json!([row["src"], row["dest"]]);
        let workdir = row["workdir"].as_str().unwrap();
        let workdir =
            if workdir.is_empty() { String::new() } else { format!("WORKDIR {workdir}\n") };
        let keyword = row["instruction"].as_str().unwrap();
        let text = format!("FROM busybox\n{workdir}{keyword} {words}\n");
        let file = Dockerfile::parse(text.as_bytes()).unwrap();
        let what = format!("{} {keyword} {words}", row["id"]);
        match (lowered(&file, &stub::request(&Value::Null)), &row["error"]) {
            (Ok(lowered), Value::Null) => {
                let ours = shape::operations(&lowered);
                let ours = ours.as_array().unwrap().last().unwrap()["actions"][0].clone();
                let golden = reference::copy(&row["copy"]);
                for (key, golden) in golden.as_object().unwrap() {
                    differences.compare(&format!("{what}.{key}"), &ours[key], golden);
                }
            }
            (Ok(_), error) => differences.note(format!("{what}: accepted, reference: {error}")),
            (Err((error, _)), Value::Null) => differences.note(format!("{what}: {error}")),
            (Err(_), _) => {}
        }
    }
    differences.finish();
}
