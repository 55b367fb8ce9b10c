//! Command lines and the builds that they ask for.

use super::*;
use crate::cli::environment::Terminal;
use clap::Parser;

#[derive(clap::Parser)]
#[command(args_override_self = true)]
struct Line {
    #[command(flatten)]
    flags: Flags,
}

fn request(words: &[&str], variables: &[(&str, &str)]) -> Result<Request, Vec<String>> {
    let line =
        Line::try_parse_from(["build"].iter().chain(words)).unwrap_or_else(|e| panic!("{e}"));
    let session = Session {
        config: None,
        root: Some("/nowhere/state".into()),
        environment: Environment::of(variables),
        terminal: Terminal::plain(80),
    };
    let made = make(&line.flags, &session, &mut &b"FROM scratch"[..]);
    made.map_err(|problems| problems.into_iter().map(|problem| problem.message).collect())
}

fn build(words: &[&str], variables: &[(&str, &str)]) -> Build {
    let words: Vec<_> = words.iter().copied().chain(["-"]).collect();
    request(&words, variables).unwrap().build
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect()
}

#[test]
fn nothing_but_a_dockerfile() {
    let build = build(&[], &[]);
    assert_eq!(build.state, PathBuf::from("/nowhere/state"));
    assert!(build.build_args.is_empty() && build.platforms.is_empty() && build.outputs.is_empty());
    assert_eq!((build.squash, build.no_cache), (Squash::No, NoCache::Never));
    assert_eq!((build.network, build.shm_size, build.pull), (NetworkMode::Default, 0, false));
    assert!(build.jobs >= 1);
}

#[test]
fn docker_habits_of_flags() {
    let build = build(
        &[
            "-ta:1",
            "--tag=b",
            "-q",
            "--pull=false",
            "--no-cache=true",
            "--no-cache=false",
            "--squash",
            "--target",
            "",
            "--label",
            "a=1",
            "--label",
            "b",
            "--build-arg=-x=--y",
            "--jobs",
            "3",
        ],
        &[],
    );
    assert_eq!(build.tags, ["a:1", "b"]);
    assert_eq!((build.pull, build.no_cache, build.squash), (false, NoCache::Never, Squash::Stage));
    assert_eq!((build.target, build.jobs), (None, 3));
    assert_eq!(build.labels, pairs(&[("a", "1"), ("b", "")]));
    assert_eq!(build.build_args, pairs(&[("-x", "--y")]));
}

#[test]
fn short_flags_in_one_word() {
    let line = Line::try_parse_from(["build", "-qtapp", "."]).unwrap();
    assert!(line.flags.quiet);
    assert_eq!((line.flags.tag, line.flags.context), (vec!["app".to_owned()], ".".to_owned()));
}

#[test]
fn build_args_from_the_environment() {
    let words = ["--build-arg", "A", "--build-arg", "B", "--build-arg", "C=", "--build-arg", "A=2"];
    let build = build(&words, &[("A", "1")]);
    assert_eq!(build.build_args, pairs(&[("A", "1"), ("C", ""), ("A", "2")]));
}

#[test]
fn the_source_date() {
    let given = |words: &[&str]| build(words, &[(EPOCH, "5")]).build_args;
    assert_eq!(given(&[]), pairs(&[(EPOCH, "5")]));
    assert_eq!(given(&["--build-arg", "SOURCE_DATE_EPOCH=7"]), pairs(&[(EPOCH, "7")]));
    assert_eq!(given(&["--build-arg", "SOURCE_DATE_EPOCH="]), pairs(&[(EPOCH, "")]));
    assert_eq!(given(&["--build-arg", "SOURCE_DATE_EPOCH"]), pairs(&[(EPOCH, "5")]));
}

#[test]
fn platforms_from_flags_and_environment() {
    let default = [("DOCKER_DEFAULT_PLATFORM", "linux/arm64")];
    assert_eq!(build(&[], &default).platforms, ["linux/arm64"]);
    let words = ["--platform", "linux/amd64,linux/386", "--platform=linux/s390x"];
    assert_eq!(build(&words, &default).platforms, ["linux/amd64", "linux/386", "linux/s390x"]);
    assert_eq!(build(&["--platform= local,"], &default).platforms, ["local"]);
}

#[test]
fn whose_cache_is_not_used() {
    let cases: [(&[&str], NoCache); 4] = [
        (&["--no-cache"], NoCache::All),
        (&["--no-cache-filter=a,b"], NoCache::Stages(vec!["a".into(), "b".into()])),
        (&["--no-cache-filter", "a", "--no-cache"], NoCache::All),
        (&["--no-cache-filter="], NoCache::All),
    ];
    for (words, expected) in cases {
        assert_eq!(build(words, &[]).no_cache, expected, "{words:?}");
    }
}

#[test]
fn outputs_together() {
    let kinds = |words: &[&str]| -> Vec<OutputKind> {
        build(words, &[]).outputs.iter().map(|output| output.kind).collect()
    };
    let docker = OutputKind::Docker { tar: true };
    assert_eq!(kinds(&["--load"]), [docker]);
    assert_eq!(kinds(&["-o", "out", "--load"]), [OutputKind::Local, docker]);
    assert_eq!(kinds(&["-o", "type=docker", "--load"]), [docker]);
    assert_eq!(kinds(&["-o", "type=docker,dest=x", "--load"]), [docker, docker]);
    assert_eq!(kinds(&["--push", "--load"]), [OutputKind::Image, docker]);
    assert_eq!(kinds(&["-o", "type=image,push=true", "--push"]), [OutputKind::Image]);
    assert!(build(&["--push"], &[]).outputs[0].push);
    let twice = request(&["-o", "-", "-o", "type=oci", "-"], &[]).unwrap_err();
    assert_eq!(twice, ["only one output can go to standard output"]);
}

#[test]
fn proxies_of_the_configuration() {
    let home = tempfile::tempdir().unwrap();
    let config = r#"{"proxies":{"default":{"httpProxy":"http://p:1","noProxy":"local"}}}"#;
    std::fs::write(home.path().join("config.json"), config).unwrap();
    let folder = home.path().display().to_string();
    let variables = [("DOCKER_CONFIG", folder.as_str()), ("https_proxy", "http://q:2")];
    let build = build(&["--build-arg", "no_proxy=x"], &variables);
    let expected = [("no_proxy", "x"), ("HTTP_PROXY", "http://p:1"), ("http_proxy", "http://p:1")];
    assert_eq!(build.build_args, pairs(&expected));
    let [file] = &build.registry.auth_files[..] else { panic!("{:?}", build.registry) };
    assert_eq!(file.bytes, config.as_bytes());
    assert_eq!(
        build.registry.proxies.into_iter().collect::<Vec<_>>(),
        pairs(&[("https_proxy", "http://q:2")])
    );
}

#[test]
fn a_configuration_that_cannot_be_read_is_a_warning() {
    let variables = [("DOCKER_CONFIG", "/dev/null")];
    let request = request(&["--security-opt=x", "-"], &variables).unwrap();
    let expected = [
        "`--security-opt` is ignored, as docker ignores it",
        "cannot read `/dev/null/config.json`: Not a directory (os error 20)",
    ];
    assert_eq!(request.warnings, expected);
    assert_eq!(request.build.registry.auth_files, []);
}

#[test]
fn all_problems_at_once() {
    let words = [
        "--policy=x",
        "--network=bridge",
        "--shm-size=x",
        "--build-context=a",
        "--build-context",
        "b=/nowhere",
        "--build-context=c=https://example.org/x.git",
        "-o",
        "type=x",
        "--label",
        "=v",
        "/nowhere",
    ];
    let expected = [
        "`--policy` is not supported yet",
        "unknown output type `x`",
        "invalid context `--build-context a`",
        "`--label` needs a name before the `=`",
        "invalid size `x` for `--shm-size`",
        "`--network=bridge` is not supported",
    ];
    assert_eq!(request(&words, &[]).unwrap_err(), expected);
}
