//! Stages, contexts, triggers, the epoch and the plan, on small Dockerfiles.

use std::path::PathBuf;

use super::*;
use crate::dockerfile::Dockerfile;

pub(super) fn request() -> Request {
    Request::new(Platform::parse("linux/amd64").unwrap())
}

fn with_target(target: &str) -> Request {
    Request { target: Some(target.to_owned()), ..request() }
}

fn with_contexts<const N: usize>(contexts: [(&str, NamedContext); N]) -> Request {
    let contexts = contexts.into_iter().map(|(name, context)| (context_key(name), context));
    Request { named_contexts: contexts.collect(), ..request() }
}

fn directory(path: &str) -> NamedContext {
    NamedContext::Directory(PathBuf::from(path))
}

fn image(reference: &str) -> NamedContext {
    NamedContext::Image(ImageLocation::named(reference).unwrap())
}

/// Lowers; every image is found, and `triggers` are the triggers of the one named `trigger`.
pub(super) fn lowered_with(
    text: &str,
    request: &Request,
    triggers: &[&str],
) -> Result<(Lowered, Vec<String>), GraphError> {
    let file = Dockerfile::parse(text.as_bytes()).unwrap();
    let (mut bases, mut asked) = (Bases::new(), Vec::new());
    loop {
        match lower(&file, request, &bases, &mut Vec::new()) {
            Ok(lowered) => return Ok((lowered, asked)),
            Err(Failure::Error(error)) => return Err(*error),
            Err(Failure::Need(needed)) => {
                for (request, _) in needed {
                    let reference = request.location.reference().unwrap();
                    let name = reference.familiar_name();
                    asked.push(format!("{name} {}", request.platform));
                    let mut base =
                        base(&request.platform, if name == "trigger" { triggers } else { &[] });
                    if name == "aarch64" {
                        base.config.architecture = name.clone();
                        base.config.variant = "v8".to_owned();
                        base.config.config.working_dir = "/w//x/".to_owned();
                    }
                    bases.insert(request, base);
                }
            }
        }
    }
}

fn base(platform: &Platform, triggers: &[&str]) -> Base {
    let mut config = ImageConfig::scratch(platform);
    config.rootfs.diff_ids.push(crate::digest::DiffId::from_bytes([7; 32]));
    config.config.on_build = triggers.iter().map(|text| (*text).to_owned()).collect();
    Base { config, manifest: Digest::of(b"manifest") }
}

fn plan(text: &str, request: &Request) -> String {
    plan_text(&planned(lowered_with(text, request, &[]).unwrap().0))
}

fn planned(lowered: Lowered) -> Plan {
    let mut plan = Plan::default();
    plan.add(request().build_platform, lowered);
    plan
}

fn error(text: &str, request: &Request) -> GraphError {
    lowered_with(text, request, &[]).unwrap_err()
}

fn lines(error: &GraphError) -> Option<[u32; 2]> {
    error.span.map(|span| [span.first_line, span.last_line])
}

#[test]
fn a_circle_is_refused_where_it_starts() {
    let text = "FROM x AS a\nRUN one\nCOPY --from=b / /\nFROM x AS b\nRUN --mount=from=c two\nFROM a AS c\n";
    let error = error(text, &request());
    assert_eq!(error.message, "stages depend on each other in a circle: a -> b -> c -> a");
    assert_eq!(lines(&error), Some([3, 3]));
}

#[test]
fn a_circle_outside_of_the_target_is_refused_as_well() {
    let text = "FROM x AS a\nCOPY --from=b / /\nFROM x AS b\nCOPY --from=a / /\nFROM x AS c\n";
    let error = error(text, &with_target("c"));
    assert_eq!(error.message, "stages depend on each other in a circle: a -> b -> a");
}

#[test]
fn a_stage_cannot_copy_from_itself() {
    for text in ["FROM x AS a\nCOPY --from=a / /\n", "FROM x AS a\nCOPY --from=0 / /\n"] {
        let error = error(text, &request());
        assert_eq!(error.message, "stages depend on each other in a circle: a -> a");
        assert_eq!(lines(&error), Some([2, 2]));
    }
}

#[test]
fn a_stage_must_come_before_its_use() {
    let error = error("FROM x AS a\nCOPY --from=b / /\nFROM x AS b\nRUN b\nFROM a\n", &request());
    assert_eq!(error.message, "stage `b` must be defined before stage `a`, which uses it");
    assert_eq!(lines(&error), Some([2, 2]));
}

#[test]
fn from_takes_a_name_only_of_a_stage_before() {
    let text = "FROM b AS a\nRUN a\nFROM scratch AS b\nCOPY --from=a / /\n";
    let (_, asked) = lowered_with(text, &request(), &[]).unwrap();
    assert_eq!(asked, ["b linux/amd64"]);
}

#[test]
fn of_equal_names_the_last_one_counts() {
    let text = "FROM x AS a\nRUN one\nFROM x AS a\nRUN two\nFROM scratch\nCOPY --from=a / /\n";
    assert_eq!(
        plan(text, &request()),
        "   0  [a 1/2] FROM docker.io/library/x:latest\n   \
            1  [a 2/2] RUN two  <- 0\n\
         *  2  [stage-2 1/1] COPY --from=a / /  <- 1\n"
    );
}

#[test]
fn from_as_an_index_counts_from_zero() {
    let text = "FROM x\nRUN one\nFROM x\nRUN two\nFROM scratch\nCOPY --from=1 / /\n";
    assert_eq!(
        plan(text, &request()),
        "   0  [stage-1 1/2] FROM docker.io/library/x:latest\n   \
            1  [stage-1 2/2] RUN two  <- 0\n\
         *  2  [stage-2 1/1] COPY --from=1 / /  <- 1\n"
    );
    let error = error("FROM x\nCOPY --from=1 / /\n", &request());
    assert_eq!(error.message, "there is no stage with the index 1");
    assert_eq!(lines(&error), Some([2, 2]));
}

#[test]
fn an_image_named_by_copy_or_a_mount_is_one_vertex() {
    let text = "FROM scratch\nCOPY --from=tool /a /\nCOPY --from=tool /b /\nRUN --mount=from=tool,target=/t c\n";
    let (lowered, asked) = lowered_with(text, &request(), &[]).unwrap();
    assert_eq!(asked, ["tool linux/amd64"]);
    assert_eq!(
        plan_text(&planned(lowered)),
        "   0  FROM docker.io/library/tool:latest\n   \
            1  [stage-0 1/3] COPY --from=tool /a /  <- 0\n   \
            2  [stage-0 2/3] COPY --from=tool /b /  <- 0, 1\n\
         *  3  [stage-0 3/3] RUN --mount=from=tool,target=/t c  <- 0, 2\n"
    );
}

#[test]
fn each_image_is_asked_for_once_and_only_if_the_target_needs_it() {
    let text = "FROM x AS a\nFROM x AS b\nFROM y AS c\nFROM scratch\nCOPY --from=a / /\nCOPY --from=b / /\n";
    let (_, asked) = lowered_with(text, &request(), &[]).unwrap();
    assert_eq!(asked, ["x linux/amd64"]);
}

#[test]
fn the_platform_of_from_is_part_of_the_image() {
    let text = "FROM --platform=linux/arm64 x AS a\nFROM x\nCOPY --from=a / /\n";
    let (lowered, asked) = lowered_with(text, &request(), &[]).unwrap();
    assert_eq!(asked, ["x linux/arm64", "x linux/amd64"]);
    assert_eq!(lowered.config.architecture, "amd64");
}

#[test]
fn the_platform_of_the_base_goes_by_its_preferred_names() {
    let config = lowered_with("FROM aarch64\n", &request(), &[]).unwrap().0.config;
    assert_eq!((config.architecture.as_str(), config.variant.as_str()), ("arm64", ""));
}

#[test]
fn the_working_directory_of_the_base_stays_as_it_was_written() {
    let working_dir =
        |text| lowered_with(text, &request(), &[]).unwrap().0.config.config.working_dir;
    assert_eq!(working_dir("FROM aarch64\n"), "/w//x/");
    assert_eq!(working_dir("FROM aarch64\nWORKDIR y\n"), "/w/x/y");
}

#[test]
fn the_target_is_found_in_any_case() {
    let text = "FROM x AS Build\nRUN one\nFROM x AS last\nRUN two\n";
    for name in ["build", "Build", "BUILD"] {
        assert_eq!(lowered_with(text, &with_target(name), &[]).unwrap().0.target, "build");
    }
    assert_eq!(lowered_with(text, &request(), &[]).unwrap().0.target, "last");
    let error = error(text, &with_target("buidl"));
    assert_eq!(error.message, "target stage `buidl` could not be found");
    assert_eq!(error.hint.as_deref(), Some("did you mean `build`?"));
}

#[test]
fn a_named_context_takes_the_place_of_an_image() {
    let contexts = with_contexts([("docker.io/library/x:latest", image("other"))]);
    let (_, asked) = lowered_with("FROM x\nCOPY --from=x / /\n", &contexts, &[]).unwrap();
    assert_eq!(asked, ["other linux/amd64"]);
    assert_eq!(
        plan("FROM x\nRUN a\n", &with_contexts([("x", directory("/d"))])),
        "   0  [context] load from /d\n   \
            1  [context] x  <- 0\n\
         *  2  [2/2] RUN a  <- 1\n"
    );
    let nothing = plan("FROM x\nRUN a\n", &with_contexts([("x", NamedContext::Scratch)]));
    assert_eq!(nothing, "*  0  [2/2] RUN a\n");
}

#[test]
fn a_named_context_takes_the_place_of_a_whole_stage() {
    let text = "FROM x AS a\nRUN one\nFROM scratch\nCOPY --from=a / /\n";
    assert_eq!(
        plan(text, &with_contexts([("a", directory("/d"))])),
        "   0  [context] load from /d\n   \
            1  [context] x  <- 0\n\
         *  2  [stage-1 1/1] COPY --from=a / /  <- 1\n"
    );
    let based = "FROM x AS a\nRUN one\nFROM a\nRUN two\n";
    let (lowered, asked) = lowered_with(based, &with_contexts([("a", image("y"))]), &[]).unwrap();
    assert_eq!(asked, ["y linux/amd64"]);
    assert_eq!(lowered.config.history.len(), 1, "RUN two and nothing else");
}

#[test]
fn scratch_and_context_are_never_replaced() {
    let contexts = with_contexts([("scratch", directory("/d")), ("context", directory("/d"))]);
    assert_eq!(plan("FROM scratch\nRUN a\n", &contexts), "*  0  [1/1] RUN a\n");
    assert_eq!(
        plan("FROM scratch AS context\nRUN a\nFROM context\n", &contexts),
        "*  0  [context 1/1] RUN a\n"
    );
}

#[test]
fn triggers_run_first_and_bring_their_own_stages() {
    let text = "FROM scratch AS tool\nCOPY a /\nFROM trigger\nRUN own\n";
    let triggers = ["RUN first", "COPY --from=tool /a /", "COPY --from=other /b /"];
    let (lowered, asked) = lowered_with(text, &request(), &triggers).unwrap();
    assert_eq!(asked, ["trigger linux/amd64", "other linux/amd64"]);
    assert_eq!(
        plan_text(&planned(lowered.clone())),
        "   0  FROM docker.io/library/other:latest\n   \
            1  [internal] load build context\n   \
            2  [tool 1/1] COPY a /  <- 1\n   \
            3  [stage-1 1/5] FROM docker.io/library/trigger:latest\n   \
            4  [stage-1 2/5] ONBUILD RUN first  <- 3\n   \
            5  [stage-1 3/5] ONBUILD COPY --from=tool /a /  <- 2, 4\n   \
            6  [stage-1 4/5] ONBUILD COPY --from=other /b /  <- 0, 5\n\
         *  7  [stage-1 5/5] RUN own  <- 6\n"
    );
    assert!(lowered.config.config.on_build.is_empty());
}

#[test]
fn a_trigger_of_a_base_may_leave_a_trigger() {
    let lowered = lowered_with("FROM trigger\n", &request(), &["ONBUILD RUN late"]).unwrap().0;
    assert_eq!(lowered.config.config.on_build, ["RUN late"]);
    let text = "FROM trigger AS a\nFROM a\n";
    let plan =
        plan_text(&planned(lowered_with(text, &request(), &["ONBUILD RUN late"]).unwrap().0));
    assert!(plan.ends_with("[stage-1 1/1] ONBUILD RUN late  <- 0\n"), "{plan}");
}

#[test]
fn triggers_of_a_stage_reach_only_the_stages_based_on_it() {
    let text = "FROM x AS a\nONBUILD RUN late\nFROM a AS b\nFROM b AS c\n";
    assert_eq!(
        plan(text, &request()),
        "   0  [a 1/1] FROM docker.io/library/x:latest\n\
         *  1  [b 1/1] ONBUILD RUN late  <- 0\n"
    );
}

#[test]
fn a_bad_trigger_is_shown_at_its_from() {
    let error = lowered_with("ARG A\nFROM trigger\n", &request(), &["FROM y"]).unwrap_err();
    assert!(error.message.starts_with("the base has the trigger `ONBUILD FROM y`"), "{error}");
    assert_eq!(lines(&error), Some([2, 2]));
}

#[test]
fn a_trigger_cannot_close_a_circle() {
    let text = "FROM trigger AS a\nRUN one\nFROM a AS b\n";
    let error = lowered_with(text, &request(), &["COPY --from=b / /"]).unwrap_err();
    assert_eq!(error.message, "stages depend on each other in a circle: a -> b -> a");
    assert_eq!(lines(&error), Some([1, 1]));
}

fn epoch(text: &str, given: Option<&str>) -> Result<Option<i64>, GraphError> {
    let mut request = with_contexts([("files", directory("/d"))]);
    let name = "SOURCE_DATE_EPOCH".to_owned();
    request.build_args.extend(given.map(|value| (name, value.to_owned())));
    lowered_with(text, &request, &[]).map(|(lowered, _)| lowered.epoch)
}

#[test]
fn the_epoch_is_that_of_the_build_argument_or_of_a_global_one() {
    let global = "ARG SOURCE_DATE_EPOCH=12\nFROM scratch\n";
    assert_eq!(epoch(global, None), Ok(Some(12)));
    assert_eq!(epoch(global, Some("34")), Ok(Some(34)));
    assert_eq!(epoch(global, Some("")), Ok(None));
    assert_eq!(epoch("FROM scratch\n", Some("-1")), Ok(Some(-1)));
    assert_eq!(epoch("FROM scratch\nARG SOURCE_DATE_EPOCH=12\n", None), Ok(None));
    assert_eq!(epoch("ARG T=5\nARG SOURCE_DATE_EPOCH=${T}6\nFROM scratch\n", None), Ok(Some(56)));
}

#[test]
fn a_context_gives_no_epoch() {
    for word in ["context", "files", "\"\""] {
        let text = format!("ARG SOURCE_DATE_EPOCH={word}\nFROM scratch\n");
        assert_eq!(epoch(&text, None), Ok(None), "{word}");
    }
}

#[test]
fn another_word_is_no_epoch() {
    let global = epoch("ARG A\nARG SOURCE_DATE_EPOCH=now\nFROM scratch\n", None).unwrap_err();
    assert_eq!(global.message, "invalid SOURCE_DATE_EPOCH `now`");
    assert_eq!(lines(&global), Some([2, 2]));
    let given = epoch("ARG SOURCE_DATE_EPOCH=1\nFROM scratch\n", Some("now")).unwrap_err();
    assert_eq!((given.message.as_str(), given.span), ("invalid SOURCE_DATE_EPOCH `now`", None));
}

#[test]
fn a_stage_sees_the_epoch_as_a_number() {
    let text = "ARG SOURCE_DATE_EPOCH=context\nFROM scratch\nARG SOURCE_DATE_EPOCH\nRUN a\n";
    let env = |given: &str| {
        let mut request = request();
        request.build_args.insert("SOURCE_DATE_EPOCH".to_owned(), given.to_owned());
        let (lowered, _) = lowered_with(text, &request, &[]).unwrap();
        match &lowered.graph.get(lowered.result.unwrap()).op {
            Op::Run(run) => run.env.last().cloned().unwrap(),
            _ => panic!("not a command"),
        }
    };
    assert_eq!(env("007"), "SOURCE_DATE_EPOCH=7");
    assert!(env("context").starts_with("PATH="));
}

const EXAMPLE: &str = "FROM x AS build\nWORKDIR /src\nCOPY . \"a\"\nRUN --mount=type=cache,target=/c make\n\
    FROM scratch\nCOPY --from=build /src/out /\nCOPY <<FILE /f\ntext\nFILE\n";

#[test]
fn a_plan_is_one_line_a_vertex() {
    assert_eq!(
        plan(EXAMPLE, &request()),
        "   0  [build 1/4] FROM docker.io/library/x:latest\n   \
            1  [build 2/4] WORKDIR /src  <- 0\n   \
            2  [internal] load build context\n   \
            3  [build 3/4] COPY . \"a\"  <- 1, 2\n   \
            4  [build 4/4] RUN --mount=type=cache,target=/c make  <- 3\n   \
            5  [stage-1 1/2] COPY --from=build /src/out /  <- 4\n\
         *  6  [stage-1 2/2] COPY <<FILE /f  <- 5\n"
    );
    assert_eq!(plan("FROM scratch\nENV A=1\n", &request()), "the image has no layers\n");
}

#[test]
fn a_plan_is_a_graphviz_graph() {
    let (lowered, _) = lowered_with(EXAMPLE, &request(), &[]).unwrap();
    assert_eq!(
        plan_dot(&planned(lowered)),
        r#"digraph plan {
  rankdir=BT;
  node [fontname="monospace", fontsize=10];
  v0 [label="[build 1/4] FROM docker.io/library/x:latest", shape=cylinder];
  v1 [label="[build 2/4] WORKDIR /src", shape=note];
  v0 -> v1;
  v2 [label="[internal] load build context", shape=folder];
  v3 [label="[build 3/4] COPY . \"a\"", shape=component];
  v1 -> v3;
  v2 -> v3 [style=dashed];
  v4 [label="[build 4/4] RUN --mount=type=cache,target=/c make", shape=box];
  v3 -> v4;
  v5 [label="[stage-1 1/2] COPY --from=build /src/out /", shape=component];
  v4 -> v5 [style=dashed];
  v6 [label="[stage-1 2/2] COPY <<FILE /f", shape=note, penwidth=3];
  v5 -> v6;
}
"#
    );
}

#[test]
fn what_is_wrong_in_a_word_says_why_and_what_to_try() {
    let cases = [
        ("COPY --chmod=9 a b", "`9` is not a mode", "write it in octal up to `7777`"),
        ("EXPOSE a", "`a` is not a port", "write it as `80`, `8000-8010` or `53/udp`"),
        ("STOPSIGNAL SIGTREM", "`SIGTREM` is not a signal", "did you mean `SIGTERM`?"),
        ("USER ${a?b}", "a: b", "set `a`, for example with `--build-arg a=…`"),
        (
            "RUN --mount=target=${a?b} x",
            "option `target` of `--mount` cannot be expanded: a: b",
            "set `a`, for example with `--build-arg a=…`",
        ),
    ];
    for (line, message, hint) in cases {
        let error = error(&format!("FROM x\n{line}\n"), &request());
        assert_eq!(error.message, message);
        assert!(error.hint.as_deref().unwrap().starts_with(hint), "{:?}", error.hint);
    }
    let error = error("FROM --platform=a/b/c/d x\n", &request());
    assert!(error.hint.unwrap().starts_with("the form is `os/architecture[/variant]`"));
}

#[test]
fn many_stages_need_no_deep_stack() {
    let mut text = String::new();
    for stage in 0..20_000 {
        text.push_str(&format!("FROM x AS s{stage}\nCOPY --from=s{} / /\n", stage + 1));
    }
    text.push_str("FROM x AS s20000\n");
    let error = error(&text, &with_target("s19999"));
    assert_eq!(
        error.message,
        "stage `s20000` must be defined before stage `s19999`, which uses it"
    );
}
