//! `kiln explain`: the plan of a build and the syntax tree of a Dockerfile, to the letter.

use crate::support::Kiln;

const STAGES: &str = r#"# syntax=docker/dockerfile:1
ARG WHO=world
FROM scratch AS base
COPY busybox /bin/busybox
WORKDIR /app
FROM scratch AS tools
ADD http://127.0.0.1:1/tool.bin /
FROM base AS build
ARG WHO
ENV GREETING="hello $WHO"
RUN --mount=type=cache,target=/c --mount=from=tools,target=/t make "$GREETING"
FROM scratch AS unused
RUN never
FROM base
COPY --from=build /out /out
COPY <<EOF /etc/motd
say "hi" \ there
EOF
LABEL a=b
CMD ["/out"]
"#;

/// Explains; returns what was printed.
fn explain(kiln: &Kiln, args: &[&str]) -> String {
    let ended = kiln.run(&[&["explain"], args].concat());
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    ended.stdout
}

#[test]
fn a_plan_as_text() {
    let kiln = Kiln::new();
    kiln.file("Dockerfile", STAGES);
    let expected = r#"   0  [internal] load build context
   1  [base 1/2] COPY busybox /bin/busybox  <- 0
   2  [base 2/2] WORKDIR /app  <- 1
   3  [internal] download http://127.0.0.1:1/tool.bin
   4  [tools 1/1] ADD http://127.0.0.1:1/tool.bin /  <- 3
   5  [build 1/1] RUN --mount=type=cache,target=/c --mount=from=tools,target=/t make "hello world"  <- 2, 4
   6  [stage-4 1/2] COPY --from=build /out /out  <- 2, 5
*  7  [stage-4 2/2] COPY <<EOF /etc/motd  <- 6
"#;
    assert_eq!(explain(&kiln, &["plan", "."]), expected);
    let expected = r"   0  [internal] load build context
   1  [base 1/2] COPY busybox /bin/busybox  <- 0
*  2  [base 2/2] WORKDIR /app  <- 1
";
    assert_eq!(explain(&kiln, &["plan", "--target", "base", "."]), expected);
    kiln.file("Dockerfile", "FROM scratch\nLABEL a=b\n");
    assert_eq!(explain(&kiln, &["plan", "."]), "the image has no layers\n");
}

#[test]
fn a_plan_for_graphviz() {
    let kiln = Kiln::new();
    kiln.file("Dockerfile", STAGES);
    let expected = r#"digraph plan {
  rankdir=BT;
  node [fontname="monospace", fontsize=10];
  v0 [label="[internal] load build context", shape=folder];
  v1 [label="[base 1/2] COPY busybox /bin/busybox", shape=component];
  v0 -> v1 [style=dashed];
  v2 [label="[base 2/2] WORKDIR /app", shape=note];
  v1 -> v2;
  v3 [label="[internal] download http://127.0.0.1:1/tool.bin", shape=folder];
  v4 [label="[tools 1/1] ADD http://127.0.0.1:1/tool.bin /", shape=component];
  v3 -> v4 [style=dashed];
  v5 [label="[build 1/1] RUN --mount=type=cache,target=/c --mount=from=tools,target=/t make \"hello you\"", shape=box];
  v2 -> v5;
  v4 -> v5 [style=dashed];
  v6 [label="[stage-4 1/2] COPY --from=build /out /out", shape=component];
  v2 -> v6;
  v5 -> v6 [style=dashed];
  v7 [label="[stage-4 2/2] COPY <<EOF /etc/motd", shape=note, penwidth=3];
  v6 -> v7;
}
"#;
    let args = ["plan", "--format", "dot", "--build-arg", "WHO=you", "."];
    assert_eq!(explain(&kiln, &args), expected);
}

#[test]
fn a_syntax_tree_as_json() {
    let kiln = Kiln::new();
    let text = "# escape=`\nFROM a:1 AS B\nRUN --mount=type=tmpfs,target=/t <<EOF\nx\nEOF\n";
    kiln.file("Small", text);
    let expected = serde_json::json!({
        "escape": "`",
        "directives": [{
            "name": "escape", "value": "`",
            "span": {"first_line": 1, "last_line": 1, "start": 0, "end": 10},
        }],
        "syntax": null,
        "check": null,
        "global_args": [],
        "stages": [{
            "name": "b", "base": "a:1", "platform": "", "keyword": "FROM",
            "code": "FROM a:1 AS B", "flags": [], "comments": [], "doc": "",
            "span": {"first_line": 2, "last_line": 2, "start": 11, "end": 24},
            "commands": [{
                "instruction": {"Run": {
                    "command": {"shell_form": true, "args": ["<<EOF"]},
                    "mounts": ["type=tmpfs,target=/t"],
                    "network": "Default", "security": "Sandbox",
                    "devices": [], "flags_used": ["mount"],
                }},
                "keyword": "RUN",
                "code": "RUN --mount=type=tmpfs,target=/t <<EOF",
                "flags": ["--mount=type=tmpfs,target=/t"],
                "comments": [],
                "heredocs": [
                    {"name": "EOF", "content": "x\n", "expand": true, "chomp": false, "fd": 0},
                ],
                "span": {"first_line": 3, "last_line": 5, "start": 25, "end": 69},
            }],
        }],
        "warnings": [],
    });
    let expected = format!("{}\n", serde_json::to_string_pretty(&expected).unwrap());
    assert_eq!(explain(&kiln, &["ast", "Small"]), expected);
    assert_eq!(explain(&kiln, &["ast", "--format=json", "Small"]), expected);
}

#[test]
fn what_cannot_be_explained() {
    let kiln = Kiln::new();
    kiln.file("Dockerfile", "FROM scratch\nRNU x\n");
    let report = "error: unknown instruction `RNU`\n --> Dockerfile:2:1\n  |\n2 | RNU x\n  | ^^^\n  hint: did you mean `RUN`?\n";
    for args in [&["explain", "ast"][..], &["explain", "plan", "."]] {
        let ended = kiln.run(args);
        assert_eq!((ended.error().as_str(), ended.code), (report, Some(2)));
    }
    let missing = kiln.run(&["explain", "ast", "none"]);
    let first = missing.error().lines().next().map(str::to_owned);
    assert_eq!((first.as_deref(), missing.code), (Some("error: cannot read `none`"), Some(2)));
}
