//! What lint finds against the reference's own answers (`build.lint` in the golden files), and what the corpus does
//! not ask. `KILN_CORPUS` names another folder of the corpus's layout to be held against.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its data has failed")]

#[path = "corpus/answers.rs"]
mod answers;
mod lower {
    pub(crate) mod stub;
}

use std::collections::BTreeSet;

use answers::{folder, read};
use kiln::builder::{self, Build, Context, DockerfileSource};
use kiln::digest::{DiffId, Digest};
use kiln::dockerfile::Dockerfile;
use kiln::dockerignore::Matcher;
use kiln::event::{Cancel, Event};
use kiln::graph::{self, Base, Bases, Failure, Request};
use kiln::lint::{self, Finding, Options};
use kiln::oci::{ImageConfig, Platform};
use lower::stub;
use serde_json::{Value, json};

/// Lowers with the stub images, as far as that goes, and looks.
fn findings(file: &Dockerfile, request: &Request, ignore: Option<&Matcher>) -> Vec<Finding> {
    let Ok(options) = Options::of(file, &request.build_args) else { return Vec::new() };
    let mut facts = Vec::new();
    let _ = stub::lower(file, request, &mut facts);
    lint::findings(file, &facts, &options, ignore)
}

/// One line a finding: `3 RuleName: message`.
fn found(text: &str, request: &Request, ignore: &[&str]) -> Vec<String> {
    let file = Dockerfile::parse(text.as_bytes()).unwrap();
    let matcher = Matcher::new(ignore).unwrap();
    let findings = findings(&file, request, Some(&matcher));
    let line = |one: &Finding| format!("{} {}: {}", one.span.first_line, one.rule, one.message);
    findings.iter().map(line).collect()
}

fn plain() -> Request {
    stub::request(&Value::Null)
}

#[test]
fn findings_agree() {
    let options = read("dockerfiles/edge/options.json");
    let mut names: Vec<String> = std::fs::read_dir(folder().join("golden/edge"))
        .unwrap()
        .filter_map(|entry| {
            Some(entry.unwrap().file_name().to_str()?.strip_suffix(".json")?.into())
        })
        .collect();
    names.sort();
    let (mut rows, mut differences, mut rules) = (0, Vec::new(), BTreeSet::new());
    for name in names {
        let golden = read(&format!("golden/edge/{name}.json"));
        // What does not parse has errors and no findings.
        if golden["ok"] == false {
            continue;
        }
        let text = std::fs::read(folder().join(format!("dockerfiles/edge/{name}.Dockerfile")));
        let file = Dockerfile::parse(&text.unwrap()).unwrap();
        let ours = findings(&file, &stub::request(&options[&name]), None);
        let ours = json!(ours.iter().map(row).collect::<Vec<_>>());
        let expected = &golden["build"]["lint"];
        if ours != *expected {
            differences.push(format!("{name}: ours {ours}, reference {expected}"));
        }
        rows += 1;
        let list = expected.as_array().unwrap().iter();
        rules.extend(list.map(|finding| finding["rule"].as_str().unwrap().to_owned()));
    }
    assert!(differences.is_empty(), "{} of {rows}:\n{}", differences.len(), differences.join("\n"));
    assert!(rules.len() > 18, "the corpus asks for {rules:?} only");
}

fn row(finding: &Finding) -> Value {
    json!({
        "rule": finding.rule.name(),
        "message": finding.message,
        "lines": [finding.span.first_line, finding.span.last_line],
    })
}

#[test]
fn options_choose_rules() {
    const TEXT: &str = "FROM scratch as base\ncopy Dockerfile .\n";
    let casing = "3 ConsistentInstructionCasing: Command 'copy' should match the case of the command majority (uppercase)";
    let from = "2 FromAsCasing: 'as' and 'FROM' keywords' casing do not match";
    let table: [(&str, Option<&str>, &[&str]); 8] = [
        ("#check=error=false", None, &[from, casing]),
        ("#check=skip=all", None, &[]),
        ("#check=skip=ConsistentInstructionCasing", None, &[from]),
        ("#check=skip=ConsistentInstructionCasing,FromAsCasing;error=true", None, &[]),
        ("#check=skip=FromAsCasing, ConsistentInstructionCasing", None, &[casing]),
        ("#check=skip=all", Some("skip=ConsistentInstructionCasing;error=true"), &[from]),
        ("#check=error=true", Some("skip=all"), &[]),
        ("#check=skip=all", Some(""), &[from, casing]),
    ];
    for (directive, argument, expected) in table {
        let mut request = plain();
        let argument = argument.map(|text| ("BUILDKIT_DOCKERFILE_CHECK".into(), text.into()));
        request.build_args.extend(argument);
        assert_eq!(found(&format!("{directive}\n{TEXT}"), &request, &[]), expected, "{directive}");
    }
}

#[test]
fn a_comment_leaves_rules_out_for_one_instruction() {
    let text = "\
FROM scratch
# check=skip=SecretsUsedInArgOrEnv // on purpose
ENV password=a
# check=skip=all
ENV password b
# check=skip=JSONArgsRecommended
CMD a
# check=skip=MaintainerDeprecated
MAINTAINER a
# check=skip=WorkdirRelativePath
WORKDIR a
# check=skip=StageNameCasing
FROM scratch AS Name
# check=skip=FromAsCasing
COPY $x .
";
    let expected = [
        "5 LegacyKeyValueFormat: \"ENV key=value\" should be used instead of legacy \"ENV key value\" format",
        "15 UndefinedVar: Usage of undefined variable '$x'",
    ];
    let request = Request { every_stage: true, ..plain() };
    assert_eq!(found(&text.replace("skip=all\n", "skip=Secrets\n"), &request, &[]).len(), 3);
    assert_eq!(found(text, &request, &[]), expected[1..]);
    let only_secret = text.replace("skip=all\n", "skip=SecretsUsedInArgOrEnv\n");
    assert_eq!(found(&only_secret, &request, &[]), expected);
}

#[test]
fn descriptions_begin_with_what_they_describe() {
    let text = "\
# bar this is the bar
ARG foo=bar
# BasE this is the base
FROM scratch AS base
# foo
#
ARG bit=bat
# baz is one of them
ARG foo=baz baz=quux
# none of them
ARG foo=baz baz=quux
# not about a definition
COPY Dockerfile .
";
    let expected = [
        "3 InvalidDefinitionDescription: Comment for ARG should follow the format: `# foo <description>`",
        "5 InvalidDefinitionDescription: Comment for FROM should follow the format: `# base <description>`",
        "12 InvalidDefinitionDescription: Comment for ARG should follow the format: `# <arg_key> <description>`",
    ];
    assert_eq!(found(text, &plain(), &[]), [""; 0]);
    let asked = format!("# check=skip=all;experimental=InvalidDefinitionDescription\n{text}");
    assert_eq!(found(&asked, &plain(), &[]), expected);
}

#[test]
fn ports_are_as_written() {
    let text = "FROM scratch\nENV P=80/Udp\nEXPOSE 80/TcP 8080/udp $P\nEXPOSE 127.0.0.1:80:80 [::1]:8080:8080 5000:5000 8000\n";
    let casing = |port| {
        format!(
            "3 ExposeProtoCasing: Defined protocol '{port}' in EXPOSE instruction should be lowercase"
        )
    };
    let format = |port| {
        format!(
            "4 ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port mapping, found '{port}'"
        )
    };
    let expected = [
        casing("80/TcP"),
        casing("80/Udp"),
        format("127.0.0.1:80:80"),
        format("5000:5000"),
        format("[::1]:8080:8080"),
    ];
    assert_eq!(found(text, &plain(), &[]), expected);
}

#[test]
fn sources_that_the_ignore_file_leaves_out() {
    let text = "FROM scratch AS base\nENV DIR=dir\nCOPY Dockerfile $DIR/a other /d/\nADD ./Dockerfile https://x/Dockerfile /e/\n\
                FROM scratch\nCOPY --from=base /Dockerfile /\nCOPY <<Dockerfile /\nDockerfile\nCOPY --from=base Dockerfile /\nCOPY . /all\n";
    let finding = |line, what, path| {
        format!(
            "{line} CopyIgnoredFile: Attempting to {what} file \"{path}\" that is excluded by .dockerignore"
        )
    };
    let expected = [
        finding(3, "Copy", "Dockerfile"),
        finding(3, "Copy", "dir/a"),
        finding(4, "Add", "Dockerfile"),
    ];
    assert_eq!(found(text, &plain(), &["Dockerfile", "dir"]), expected);
    assert_eq!(found(text, &plain(), &["Dockerfile", "dir", "!dir/b"]), [""; 0]);
    let root = "FROM scratch\nCOPY . /all\n";
    assert_eq!(found(root, &plain(), &[".*"]), [""; 0]);
    assert_eq!(found(root, &plain(), &["*"]), [finding(2, "Copy", ".")]);
}

#[test]
fn stages_that_are_not_used_are_looked_at_on_demand() {
    let text = "FROM scratch AS first\nCOPY $foo .\nFROM scratch AS second\nCOPY $bar .\n";
    let (foo, bar) = (
        "2 UndefinedVar: Usage of undefined variable '$foo'".to_owned(),
        "4 UndefinedVar: Usage of undefined variable '$bar'".to_owned(),
    );
    assert_eq!(found(text, &plain(), &[]), std::slice::from_ref(&bar));
    assert_eq!(found(text, &Request { every_stage: true, ..plain() }, &[]), [foo, bar]);
}

#[test]
fn what_was_found_before_an_error_is_kept() {
    let text = "FROM busybox\nENV PATH=$PAHT:/tmp\nWORKDIR ${X?}\nCMD a\n";
    let expected = [
        "2 UndefinedVar: Usage of undefined variable '$PAHT' (did you mean $PATH?)",
        "3 UndefinedVar: Usage of undefined variable '$X'",
    ];
    assert_eq!(found(text, &plain(), &[]), expected);
}

/// Lowers a build of `text` whose base images are all for 64-bit ARM.
fn found_on_arm(text: &str, request: &Request) -> Vec<String> {
    let file = Dockerfile::parse(text.as_bytes()).unwrap();
    let mut facts = Vec::new();
    let Err(Failure::Need(needed)) = graph::lower(&file, request, &Bases::new(), &mut facts) else {
        panic!("no image is needed")
    };
    let arm = Platform::parse("linux/arm64").unwrap();
    let mut config = ImageConfig::scratch(&arm);
    config.rootfs.diff_ids.push(DiffId::from_bytes([7; 32]));
    let base = Base { config, manifest: Digest::of(b"manifest") };
    let bases = needed.into_iter().map(|(image, _)| (image, base.clone())).collect();
    graph::lower(&file, request, &bases, &mut facts).unwrap();
    let findings = lint::findings(&file, &facts, &Options::default(), None);
    findings.iter().map(|one| format!("{} {}", one.span.first_line, one.message)).collect()
}

#[test]
fn bases_are_for_the_platform_that_was_asked_for() {
    let text = "FROM a AS x\nFROM --platform=$BUILDPLATFORM b AS y\nFROM scratch\nCOPY --from=x / /\nCOPY --from=y / /\nCOPY --from=c / /\n";
    let expected = |image, line, platform| {
        format!(
            "{line} Base image {image} was pulled with platform \"linux/arm64\", expected \"{platform}\" for current build"
        )
    };
    let (a, b, c) = (
        expected("a", 1, "linux/amd64"),
        expected("b", 2, "linux/amd64"),
        expected("c", 6, "linux/amd64"),
    );
    assert_eq!(found_on_arm(text, &plain()), [a, b.clone(), c]);
    let arm = Some(Platform::parse("linux/arm64").unwrap());
    assert_eq!(found_on_arm(text, &Request { platform: arm, ..plain() }), [b]);
    let v7 = Some(Platform::parse("linux/arm/v7").unwrap());
    let found = found_on_arm("FROM a\n", &Request { platform: v7, ..plain() });
    assert_eq!(found, [expected("a", 1, "linux/arm/v7")]);
}

#[test]
fn a_dockerfile_is_checked_without_building() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(".dockerignore"), "a\n").unwrap();
    let text = "# check=error=true\nFROM scratch AS one\nCOPY a /\nFROM scratch AS two\nCMD b\n";
    let build = |target: Option<&str>| {
        let context = Context::Directory(directory.path().to_owned());
        let text = DockerfileSource::Text { display: "<stdin>".into(), text: text.into() };
        let build = Build::new(directory.path().join("state"), context, text);
        Build { target: target.map(str::to_owned), ..build }
    };
    let rules = |target| {
        let silent = |event: Event| panic!("nothing happens, but {event:?}");
        let check = builder::check(&build(target), &silent, &Cancel::new()).unwrap();
        let place = |one: &Finding| check.inputs.place(one.span);
        let show = |one: &Finding| {
            let place = place(one);
            format!("{} {}", one.rule, &place.text[place.start..place.end])
        };
        check.findings.iter().map(show).collect::<Vec<_>>()
    };
    assert_eq!(rules(None), ["CopyIgnoredFile COPY a /", "JSONArgsRecommended CMD b"]);
    assert_eq!(rules(Some("two")), ["JSONArgsRecommended CMD b"]);
}
