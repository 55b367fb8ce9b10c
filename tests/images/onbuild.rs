//! ONBUILD: what a parent leaves for its children to do.

use crate::support::{BASE, Ended, Kiln};

const TRIGGERS: [&str; 6] = [
    "COPY file ./",
    "ENV MODE=late",
    "RUN echo \"$MODE $(cat file) in $(pwd)\" > /order",
    "COPY --from=tools /tool /",
    "RUN <<EOF cat >> /order\nheard $MODE\nEOF",
    "LABEL by=trigger",
];

/// Builds the parent as `parent`, and returns its config.
fn keep_parent(kiln: &Kiln) -> serde_json::Value {
    let triggers: String = TRIGGERS.iter().map(|text| format!("ONBUILD {text}\n")).collect();
    let text = format!("{BASE}WORKDIR /app\nENV MODE=early\n{triggers}");
    let ended = kiln.build(&text, &["-t", "parent"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    kiln.image(&text, &[]).config()
}

/// The names of the last stage's steps, which run one after another, without their numbers and times.
fn steps(ended: &Ended) -> Vec<String> {
    let names = ended.stderr.lines().filter_map(|line| line.split_once(" [")?.1.split_once("] "));
    let names = names.filter(|(stage, _)| !stage.starts_with("tools ") && *stage != "internal");
    names.map(|(_, name)| name.to_owned()).collect()
}

const CHILD: &str = "FROM scratch AS tools\nCOPY <<EOF /tool\na tool\nEOF\n\
                     FROM parent\nRUN echo \"own $MODE $(ls)\" >> /order\n";

#[test]
fn a_child_does_what_its_parent_left() {
    let kiln = Kiln::new();
    kiln.file("file", "content");
    let parent = keep_parent(&kiln);
    assert_eq!(parent["config"]["OnBuild"], serde_json::json!(TRIGGERS));
    let before = parent["history"].as_array().unwrap().len();
    assert_eq!(
        parent["history"][before - 1]["created_by"],
        "ENV MODE=early",
        "triggers are no history"
    );
    let ended = kiln.build(CHILD, &["-t", "child"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let expected = [
        "FROM docker.io/library/parent:latest",
        "ONBUILD COPY file ./",
        "ONBUILD RUN echo \"late $(cat file) in $(pwd)\" > /order",
        "ONBUILD COPY --from=tools /tool /",
        "ONBUILD RUN <<EOF cat >> /order",
        "RUN echo \"own late $(ls)\" >> /order",
    ];
    assert_eq!(steps(&ended), expected, "{}", ended.stderr);
    let order = kiln.run(&["run", "child", "cat", "/order", "/tool"]);
    assert_eq!(order.stdout, "late content in /app\nheard late\nown late file\na tool\n");
    let config = kiln.image(CHILD, &[]).config();
    assert_eq!(config["config"]["OnBuild"], serde_json::Value::Null);
    assert_eq!(config["config"]["Labels"], serde_json::json!({"by": "trigger"}));
    let env = config["config"]["Env"].as_array().unwrap();
    assert_eq!(env[1..], [serde_json::json!("MODE=late")]);
    let history = &config["history"].as_array().unwrap()[before..];
    let made: Vec<_> = history.iter().map(|entry| entry["created_by"].as_str().unwrap()).collect();
    let expected = [
        "COPY file ./ # buildkit",
        "ENV MODE=late",
        "RUN /bin/sh -c echo \"$MODE $(cat file) in $(pwd)\" > /order # buildkit",
        "COPY /tool / # buildkit",
        "RUN /bin/sh -c <<EOF cat >> /order\nheard $MODE\nEOF # buildkit",
        "LABEL by=trigger",
        "RUN /bin/sh -c echo \"own $MODE $(ls)\" >> /order # buildkit",
    ];
    assert_eq!(made, expected);
}

#[test]
fn a_grandchild_does_not() {
    let kiln = Kiln::new();
    kiln.file("file", "content");
    keep_parent(&kiln);
    assert_eq!(kiln.build(CHILD, &["-t", "child"]).code, Some(0));
    let ended = kiln.build("FROM child\nRUN cat /order\n", &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(steps(&ended), ["FROM docker.io/library/child:latest", "RUN cat /order"]);
}

#[test]
fn a_trigger_runs_again_when_what_it_reads_changes() {
    let kiln = Kiln::new();
    kiln.file("file", "content");
    keep_parent(&kiln);
    assert_eq!(kiln.build(CHILD, &[]).code, Some(0));
    let same = kiln.build(CHILD, &[]);
    assert_eq!((same.code, same.cached()), (Some(0), 6), "{}", same.stderr);
    kiln.file("file", "other");
    let other = kiln.build(CHILD, &["-t", "child"]);
    assert_eq!((other.code, other.cached()), (Some(0), 2), "{}", other.stderr);
    let order = kiln.run(&["run", "child", "head", "-n", "1", "/order"]);
    assert_eq!(order.stdout, "late other in /app\n");
}

#[test]
fn an_image_that_a_trigger_needs_is_reported_where_the_parent_is_named() {
    let kiln = Kiln::new();
    let parent = "FROM scratch\nCOPY busybox /\nONBUILD COPY --from=127.0.0.1:1/none /x /\n";
    assert_eq!(
        kiln.build(parent, &["-t", "parent"]).code,
        Some(0),
        "the parent itself needs nothing"
    );
    let ended = kiln.build("# A child.\nFROM parent\n", &[]);
    let report =
        "error: cannot find the base image `127.0.0.1:1/none:latest`\n --> Dockerfile:2:1\n";
    assert!(ended.code == Some(3) && ended.error().starts_with(report), "{}", ended.stderr);
}

#[test]
fn stages_of_one_file_trigger_as_images_do() {
    let kiln = Kiln::new();
    let text = format!(
        "{}ONBUILD RUN echo first >> /log\nONBUILD ARG WHO=nobody\nONBUILD RUN echo \"second $WHO\" >> /log\nRUN echo own >> /log\n\
         FROM one AS two\nRUN echo two >> /log\nONBUILD RUN echo third >> /log\n\
         FROM two AS three\nRUN echo three >> /log\n",
        BASE.replacen("FROM scratch", "FROM scratch AS one", 1)
    );
    let log = |target: &str| {
        let ended = kiln.build(&text, &["--target", target, "--build-arg", "WHO=me", "-t", target]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        kiln.run(&["run", target, "cat", "/log"]).stdout
    };
    assert_eq!(log("one"), "own\n");
    assert_eq!(log("two"), "own\nfirst\nsecond me\ntwo\n");
    assert_eq!(log("three"), "own\nfirst\nsecond me\ntwo\nthird\nthree\n");
    let left =
        |target| kiln.image(&text, &["--target", target]).config()["config"]["OnBuild"].clone();
    let one = ["RUN echo first >> /log", "ARG WHO=nobody", "RUN echo \"second $WHO\" >> /log"];
    assert_eq!(left("one"), serde_json::json!(one));
    assert_eq!(left("two"), serde_json::json!(["RUN echo third >> /log"]));
    assert_eq!(left("three"), serde_json::Value::Null);
}
