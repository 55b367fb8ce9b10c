//! The language against the reference's own answers, row by row: `testdata/corpus`, or the folder that the
//! environment variable `KILN_CORPUS` names.
//!
//! What a build makes of the files (`build` in the golden answers, and the rows of kinds `resolve` and `copy`) is
//! compared elsewhere.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod corpus {
    pub(crate) mod answers;
    pub(crate) mod golden;
}

use std::collections::BTreeSet;
use std::path::PathBuf;

use corpus::answers::{Differences, folder, read};
use corpus::golden::{command, stage, wordless};
use kiln::dockerfile::ast::{Dockerfile, Span};
use kiln::dockerfile::word::{Expander, Names, environment};
use kiln::dockerfile::{ParseError, ParseErrorKind};
use kiln::dockerignore::{self, Matcher, Parents};
use kiln::wildcard;
use serde_json::{Value, json};

#[test]
fn dockerfiles_agree() {
    let mut differences = Differences::default();
    let mut names: Vec<PathBuf> = std::fs::read_dir(folder().join("dockerfiles/edge"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "Dockerfile"))
        .collect();
    names.sort();
    for path in names {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let golden = read(&format!("golden/edge/{name}.json"));
        let text = std::fs::read(&path).unwrap();
        dockerfile(&mut differences, &name, &text, &golden);
        differences.rows += 1;
    }
    differences.finish();
}

fn dockerfile(differences: &mut Differences, name: &str, text: &[u8], golden: &Value) {
    let parsed = match (Dockerfile::parse(text), golden["ok"] == true) {
        (Ok(parsed), true) => parsed,
        (Ok(_), false) => {
            return differences.note(format!("{name}: accepted, reference: {}", golden["error"]));
        }
        (Err(errors), true) => {
            return differences.note(format!("{name}: rejected: {}", errors[0]));
        }
        (Err(errors), false) => return rejected(differences, name, text, (&errors, golden)),
    };
    if golden["utf8"] == false {
        return;
    }
    let ours = json!({
        "escape": parsed.escape,
        "directives": parsed.directives.iter().map(|directive| json!({
            "name": directive.name, "value": directive.value, "line": directive.span.first_line,
        })).collect::<Vec<_>>(),
        "syntax": parsed.syntax.as_ref().map(|syntax| json!({
            "ref": syntax.reference, "cmdline": syntax.command_line, "line": syntax.span.first_line,
        })),
        "warnings": parsed.warnings.iter().map(|warning| warning.span.last_line).collect::<Vec<_>>(),
        "meta_args": parsed.global_args.iter().map(command).collect::<Vec<_>>(),
        "stages": parsed.stages.iter().map(stage).collect::<Vec<_>>(),
    });
    let warnings: Vec<_> =
        golden["warnings"].as_array().unwrap().iter().map(|warning| &warning["line"]).collect();
    for key in ["escape", "directives", "syntax", "meta_args", "stages"] {
        let golden = wordless(&golden[key]);
        differences.compare(&format!("{name}.{key}"), &ours[key], &golden);
    }
    differences.compare(&format!("{name}.warnings"), &ours["warnings"], &json!(warnings));
}

/// One of our errors must stand where the reference's only one does, and all must lie in the text.
fn rejected(
    differences: &mut Differences,
    name: &str,
    text: &[u8],
    (errors, golden): (&[ParseError], &Value),
) {
    let lines = |error: &ParseError| {
        // The reference gives the line before these.
        let before = match *error.kind {
            ParseErrorKind::Directive(_) | ParseErrorKind::LineTooLong => true,
            ParseErrorKind::Empty => text.is_empty(),
            _ => false,
        };
        let Span { first_line, last_line, .. } = error.instruction;
        json!([first_line - u32::from(before), last_line - u32::from(before)])
    };
    let lines: Vec<Value> = errors.iter().map(lines).collect();
    if !lines.contains(&golden["error_lines"]) {
        let golden = &golden["error_lines"];
        differences.note(format!("{name}: error lines {lines:?}, reference {golden}"));
    }
    for error in errors {
        let Span { start, end, .. } = error.span;
        assert!(start <= end && end <= text.len(), "{name}: {start}..{end} outside of the text");
    }
}

#[test]
fn words_agree() {
    let mut differences = Differences::default();
    for row in read("words.json").as_array().unwrap() {
        differences.rows += 1;
        let env: Vec<String> = serde_json::from_value(row["env"].clone()).unwrap();
        let word = row["word"].as_str().unwrap();
        let switch = |name: &str| row[name] == true;
        let engine = Expander {
            escape: row["escape"].as_str().unwrap().chars().next().unwrap(),
            skip_unset_env: switch("skip_unset_env"),
            raw_quotes: switch("raw_quotes"),
            raw_escapes: switch("raw_escapes"),
            skip_process_quotes: switch("skip_process_quotes"),
        };
        let lookup = environment(&env);
        let mut names = Names::default();
        let text = engine.process_word(word, &lookup, &mut names);
        let words = engine.process_words(word, &lookup);
        let what = format!("{} {word:?}", row["id"]);
        differences.compare(&what, &json!(text.is_err()), &json!(row["error"].is_string()));
        differences.compare(&what, &json!(words.is_err()), &json!(row["error"].is_string()));
        differences.compare(&format!("{what} matched"), &json!(names.matched), &row["matched"]);
        differences.compare(
            &format!("{what} unmatched"),
            &json!(names.unmatched),
            &row["unmatched"],
        );
        if row["error"].is_null() {
            differences.compare(&what, &json!(text.ok()), &row["result"]);
            let golden = if row["words"].is_null() { &json!([]) } else { &row["words"] };
            differences.compare(&format!("{what} words"), &json!(words.ok()), golden);
        }
    }
    differences.finish();
}

#[test]
fn ignore_files_agree() {
    let mut differences = Differences::default();
    for row in read("dockerignore.json").as_array().unwrap() {
        differences.rows += 1;
        ignore_file(&mut differences, row);
    }
    differences.finish();
}

fn ignore_file(differences: &mut Differences, row: &Value) {
    let what = format!("{} {}", row["id"], row["file"]);
    let patterns = match dockerignore::patterns(row["file"].as_str().unwrap().as_bytes()) {
        Ok(patterns) => patterns,
        Err(_) => {
            return differences.compare(&what, &json!("reader"), &row["error_from"]);
        }
    };
    let golden = if row["patterns"].is_null() { &json!([]) } else { &row["patterns"] };
    differences.compare(&format!("{what} patterns"), &json!(patterns), golden);
    let Ok(matcher) = Matcher::new(&patterns) else {
        let from_new = row["error_from"] == "new" || row["error_from"] == "filter";
        return differences.compare(&what, &json!(true), &json!(from_new));
    };
    if row["error"].is_string() {
        return differences.note(format!("{what}: accepted, reference: {}", row["error"]));
    }
    for path in row["paths"].as_array().into_iter().flatten() {
        let name = path["path"].as_str().unwrap();
        let ignored = json!(matcher.matches(name).unwrap());
        differences.compare(&format!("{what} {name}"), &ignored, &path["ignored"]);
        let walked = path.get("ignored_by_walk").unwrap_or(&path["ignored"]);
        let ours = json!(ignored_by_walk(&matcher, name));
        differences.compare(&format!("{what} {name} by walk"), &ours, walked);
    }
    if let Some(tree) = row["tree"].as_array() {
        let sent = walk(&matcher, tree.iter().map(|path| path.as_str().unwrap()));
        let golden = if row["sent"].is_null() { &json!([]) } else { &row["sent"] };
        differences.compare(&format!("{what} sent"), &json!(sent), golden);
    }
}

fn ignored_by_walk(matcher: &Matcher, path: &str) -> bool {
    let mut parents = Parents::default();
    let slashes = path.match_indices('/').map(|(at, _)| at);
    let mut matched = false;
    for end in slashes.chain([path.len()]) {
        let verdict = matcher.check(&path[..end], &parents).unwrap();
        (matched, parents) = (verdict.matched, verdict.parents);
    }
    matched
}

/// Lists what a transfer sends: what is not ignored, and the parents of what was taken back in.
fn walk<'a>(matcher: &Matcher, tree: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut entries = BTreeSet::new();
    for path in tree {
        entries.insert(path.to_owned());
        entries.extend(
            path.trim_end_matches('/').match_indices('/').map(|(at, _)| path[..=at].to_owned()),
        );
    }
    let mut sent = Vec::new();
    let mut order: Vec<Vec<&str>> = entries.iter().map(|path| path.split('/').collect()).collect();
    // The order of a walk: by component, so that a directory comes right before what it holds.
    order.sort();
    let mut pruned: Option<String> = None;
    for parts in order {
        let path = parts.join("/");
        let name = path.trim_end_matches('/');
        if pruned.as_ref().is_some_and(|directory| path.starts_with(directory.as_str())) {
            assert!(ignored_by_walk(matcher, name), "{name} was pruned but is not ignored");
            continue;
        }
        if !ignored_by_walk(matcher, name) {
            for (at, _) in name.match_indices('/') {
                let parent = path[..=at].to_owned();
                if !sent.contains(&parent) {
                    sent.push(parent);
                }
            }
            sent.push(path);
        } else if path.ends_with('/') && matcher.can_prune(name) {
            pruned = Some(path);
        }
    }
    sent
}

#[test]
fn wildcards_agree() {
    let mut differences = Differences::default();
    for row in read("match.json").as_array().unwrap() {
        if row["kind"] != "match" {
            continue;
        }
        differences.rows += 1;
        let (pattern, name) = (row["pattern"].as_str().unwrap(), row["name"].as_str().unwrap());
        let ours = wildcard::matches(pattern, name);
        let what = format!("{} {pattern:?} on {name:?}", row["id"]);
        differences.compare(&what, &json!(ours.is_err()), &json!(row["error"].is_string()));
        differences.compare(&what, &json!(ours.unwrap_or(false)), &row["matched"]);
    }
    differences.finish();
}
