//! What goes wrong in a user's hands: each ends in a clear error with the right exit code, and the next build works.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own preparations is a failed test")]

mod support;

use std::time::{Duration, Instant};

use support::{BASE, Ended, Kiln};

/// Compares exit code and error report.
fn exactly(ended: &Ended, code: i32, report: &str) {
    assert_eq!((ended.error().as_str(), ended.code), (report, Some(code)), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
}

/// The same of a Dockerfile by itself.
fn fails(dockerfile: &str, code: i32, report: &str) {
    let kiln = Kiln::new();
    exactly(&kiln.build(dockerfile, &[]), code, report);
    assert_eq!(kiln.build(BASE, &[]).code, Some(0), "the next build works");
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let report = "error: unknown instruction `RNU`\n --> Dockerfile:2:1\n  |\n2 | RNU x\n  | ^^^\n  hint: did you mean `RUN`?\n\nerror: `COPY` has no flag `--chwon`\n --> Dockerfile:3:6\n  |\n3 | COPY --chwon=1 a b\n  |      ^^^^^^^^^\n  hint: did you mean `--chown`?\n";
    fails("FROM scratch\nRNU x\nCOPY --chwon=1 a b\n", 2, report);
}

#[test]
fn findings_that_are_errors() {
    let kiln = Kiln::new();
    let text = "# check=error=true\nFROM scratch AS Foo\nCOPY nope $x/\nCMD a\n";
    let report = "\
error: the Dockerfile does not pass its checks: 3 findings, and `error=true` is set
  StageNameCasing: Stage name 'Foo' should be lowercase (Dockerfile:2)
  UndefinedVar: Usage of undefined variable '$x' (Dockerfile:3)
  JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals (Dockerfile:4)
 --> Dockerfile:2:1
  |
2 | FROM scratch AS Foo
  | ^^^^^^^^^^^^^^^^^^^
  hint: correct what is found, or leave rules out with `skip=JSONArgsRecommended,StageNameCasing,UndefinedVar;error=true`; \
see https://docs.docker.com/go/dockerfile/rule/stage-name-casing/
";
    // Nothing else is said: the step that would fail has not begun.
    let ended = kiln.build(text, &[]);
    assert_eq!((ended.stderr.as_str(), ended.code), (report, Some(2)));
    assert_eq!(ended.stdout, "");
    let argument = "BUILDKIT_DOCKERFILE_CHECK=skip=all";
    let ended = kiln.build(text, &["--build-arg", argument]);
    assert!(ended.error().starts_with("error: `/nope` is not in"), "{}", ended.stderr);
}

#[test]
fn check_options_that_cannot_be_read() {
    let report = "error: `wat` is no check option\n --> Dockerfile:1:1\n  |\n1 | # check=wat\n  | ^^^^^^^^^^^\n  \
                  hint: the options are `skip=`, `error=` and `experimental=`, separated by `;`\n";
    fails("# check=wat\nFROM scratch\n", 2, report);
}

#[test]
fn findings_are_warnings_unless_the_build_is_quiet() {
    let kiln = Kiln::new();
    kiln.file(".dockerignore", "ignored\n");
    kiln.file("Dockerfile", &format!("{BASE}COPY $x.* ignored /\nENV A=$x B=$x\n"));
    let warnings = [
        "warning: CopyIgnoredFile: Attempting to Copy file \"ignored\" that is excluded by .dockerignore (Dockerfile:4)",
        "warning: UndefinedVar: Usage of undefined variable '$x' (Dockerfile:4)",
        "warning: UndefinedVar: Usage of undefined variable '$x' (Dockerfile:5)",
    ];
    let said = |args: &[&str]| {
        let ended = kiln.run(&[&["build"], args, &["."]].concat());
        assert!(ended.error().starts_with("error: `/ignored` is not in"), "{}", ended.stderr);
        let lines = ended.stderr.lines().filter(|line| line.starts_with("warning: "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(said(&["--progress", "plain"]), warnings);
    assert_eq!(said(&["--quiet"]), [""; 0]);
}

#[test]
fn a_source_that_is_not_there() {
    let report = "error: `/nope` is not in the build context\n --> Dockerfile:2:1\n  |\n2 | COPY nope /\n  | ^^^^^^^^^^^\n  \
                  hint: check the path, and whether an ignore file leaves it out\n";
    fails("FROM scratch\nCOPY nope /\n", 2, report);
}

#[test]
fn a_path_never_leaves_the_context() {
    let kiln = Kiln::new();
    std::fs::write(kiln.path("secret"), "s").unwrap();
    let report = "\
error: `/secret` is not in the build context
 --> Dockerfile:2:1
  |
2 | COPY ../secret /
  | ^^^^^^^^^^^^^^^^
  hint: check the path, and whether an ignore file leaves it out
";
    exactly(&kiln.build("FROM scratch\nCOPY ../secret /\n", &[]), 2, report);
}

#[test]
fn a_command_that_fails() {
    let kiln = Kiln::new();
    let ended = kiln.build(&format!("{BASE}RUN echo one; echo two >&2; exit 42\n"), &[]);
    let report = "error: the command `/bin/sh -c echo one; echo two >&2; exit 42` exited with code 42\n --> Dockerfile:4:1\n  |\n\
                  4 | RUN echo one; echo two >&2; exit 42\n  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n  its last output:\n    one\n    two\n";
    assert_eq!((ended.error().as_str(), ended.code), (report, Some(1)));
}

#[test]
fn a_user_who_is_not_there() {
    let report = "\
error: unable to find user `nobody-here`: no matching entry in the image's `/etc/passwd`
 --> Dockerfile:5:1
  |
5 | RUN true
  | ^^^^^^^^
  hint: create it first (RUN useradd …), or give a number
";
    fails(&format!("{BASE}USER nobody-here\nRUN true\n"), 2, report);
}

#[test]
fn a_base_that_cannot_be_had() {
    let report = "\
error: cannot find the base image `127.0.0.1:1/none:latest`
 --> Dockerfile:1:1
  |
1 | FROM 127.0.0.1:1/none:latest
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  caused by: cannot reach `http://127.0.0.1:1/v2/`
  caused by: io: Connection refused (os error 111)
  hint: check that the server runs and listens on this port
";
    fails("FROM 127.0.0.1:1/none:latest\n", 3, report);
}

#[test]
fn a_stage_whose_name_is_mistyped() {
    let report = "\
error: target stage `bilder` could not be found
  hint: did you mean `builder`?
";
    let kiln = Kiln::new();
    exactly(&kiln.build("FROM scratch AS Builder\n", &["--target", "bilder"]), 2, report);
    // Without a network there is no telling that nobody has an image of that name.
    let text = "FROM scratch AS builder\nCOPY busybox /\nFROM scratch\nCOPY --from=bulider / /\n";
    let error = kiln.build(text, &[]).error();
    assert!(
        error.starts_with(
            "error: cannot find the base image `bulider:latest`\n --> Dockerfile:4:1\n"
        ),
        "{error}"
    );
    assert!(error.ends_with("  hint: did you mean the stage `builder`?\n"), "{error}");
}

#[test]
fn an_archive_that_ends_too_early() {
    let kiln = Kiln::new();
    let tar = kiln.context().join("whole.tar.gz");
    let made = std::process::Command::new("tar")
        .arg("czf")
        .arg(&tar)
        .arg("busybox")
        .current_dir(kiln.context())
        .status();
    assert!(made.unwrap().success());
    let bytes = std::fs::read(&tar).unwrap();
    std::fs::write(kiln.context().join("half.tar.gz"), &bytes[..bytes.len() / 2]).unwrap();
    let report = "\
error: cannot unpack `/half.tar.gz`
 --> Dockerfile:2:1
  |
2 | ADD half.tar.gz /
  | ^^^^^^^^^^^^^^^^^
  caused by: cannot read the archive
  caused by: incomplete deflate stream
";
    exactly(&kiln.build("FROM scratch\nADD half.tar.gz /\n", &[]), 2, report);
    assert_eq!(kiln.build("FROM scratch\nADD whole.tar.gz /\n", &[]).code, Some(0));
}

#[test]
fn a_secret_that_is_required() {
    let kiln = Kiln::new();
    let text = format!("{BASE}RUN --mount=type=secret,id=key,required=true cat /run/secrets/key\n");
    let report = "\
error: the secret `key` is required but was not given
 --> Dockerfile:4:1
  |
4 | RUN --mount=type=secret,id=key,required=true cat /run/secrets/key
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  hint: give it with `--secret id=key,src=FILE` or `--secret id=key,env=NAME`
";
    exactly(&kiln.build(&text, &[]), 2, report);
    kiln.file("key", "42");
    let given = kiln.build(&text, &["--secret", "id=key,src=key"]);
    assert_eq!(given.code, Some(0), "{}", given.stderr);
    assert!(given.stderr.lines().any(|line| line.ends_with(" 42")), "{}", given.stderr);
    assert_eq!(kiln.build(&text, &[]).code, Some(2), "a result with the secret is none without it");
}

#[test]
fn a_secret_that_is_no_text_is_no_variable() {
    let kiln = Kiln::new();
    std::fs::write(kiln.context().join("key"), b"\xff").unwrap();
    let text = format!("{BASE}RUN --mount=type=secret,id=key,env=KEY true\n");
    let report = "\
error: cannot use the secret `key`: it is no text, as a variable must be; mount it as a file
 --> Dockerfile:4:1
  |
4 | RUN --mount=type=secret,id=key,env=KEY true
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
";
    exactly(&kiln.build(&text, &["--secret", "id=key,src=key"]), 2, report);
}

#[test]
fn what_did_well_without_a_secret_may_still_require_it() {
    for mount in ["secret,id=key,env=KEY", "ssh"] {
        let kiln = Kiln::new();
        let optional = format!("{BASE}RUN --mount=type={mount} true\n");
        assert_eq!(kiln.build(&optional, &[]).code, Some(0));
        let required = optional.replace(mount, &format!("{mount},required"));
        assert_eq!(kiln.build(&required, &[]).code, Some(2), "{mount}");
    }
}

#[test]
fn an_interrupted_build_leaves_nothing() {
    let kiln = Kiln::new();
    kiln.file("Dockerfile", &format!("{BASE}RUN echo started; sleep 317\n"));
    let mut command =
        kiln.command(&["build", "--progress", "plain", "--output", "type=oci,dest=out.tar", "."]);
    let log = std::fs::File::create(kiln.path("log")).unwrap();
    let mut child = command.stderr(log).spawn().unwrap();
    let begun = Instant::now();
    while !std::fs::read_to_string(kiln.path("log")).unwrap().contains(" started\n") {
        assert!(begun.elapsed() < Duration::from_secs(60), "the step never started");
        std::thread::sleep(Duration::from_millis(10));
    }
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130));
    let left = std::process::Command::new("pgrep").args(["-f", "sleep 317"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout), "", "the step's process is gone");
    assert!(!kiln.context().join("out.tar").exists());
    assert_eq!(std::fs::read_dir(kiln.path("state/tmp")).unwrap().count(), 0);
    let next = kiln.build(BASE, &[]);
    assert_eq!((next.code, next.cached()), (Some(0), 2), "{}", next.stderr);
}

#[test]
fn flags_that_cannot_be_honoured_are_refused() {
    let kiln = Kiln::new();
    let cases: [(&[&str], &str); 7] = [
        (&["--sbom"], "error: `--sbom` is not supported yet\n"),
        (
            &["-t", "x@sha256:0000000000000000000000000000000000000000000000000000000000000000"],
            "error: `x@sha256:0000000000000000000000000000000000000000000000000000000000000000` cannot be given to an image",
        ),
        (&["--output", "type=ocy,dest=x"], "error: unknown output type `ocy`\n"),
        (&["--allow", "device"], "error: `--allow=device` is not supported yet\n"),
        (&["--allow", "root"], "error: unknown entitlement `--allow=root`\n"),
        (&["--network", "bridge"], "error: `--network=bridge` is not supported\n"),
        (
            &["--platform", "linux/amd64,linux/arm64", "--output", "type=docker,dest=x"],
            "error: `type=docker` cannot hold the images of several platforms\n",
        ),
    ];
    for (args, message) in cases {
        let ended = kiln.build(BASE, args);
        assert_eq!(ended.code, Some(2));
        assert!(ended.error().starts_with(message), "{}", ended.stderr);
    }
    assert_eq!(kiln.run(&["build", "nowhere"]).code, Some(2));
    assert_eq!(kiln.run(&["build", "--no-such-flag", "."]).code, Some(2));
    let both = kiln.run(&["build", "-f", "-", "-"]);
    assert!(both.error().starts_with(
        "error: the context and the Dockerfile cannot both come from standard input\n"
    ));
}

/// A Dockerfile does not give itself what who builds has not said, and nothing has run when that is found.
#[test]
fn what_run_may_ask_for() {
    let kiln = Kiln::new();
    let insecure = format!(
        "{BASE}RUN mkdir /tmp && echo ran\nRUN --security=insecure mount -t tmpfs x /tmp\n"
    );
    let report = "\
error: `RUN --security=insecure` is not allowed in this build
 --> Dockerfile:5:1
  |
5 | RUN --security=insecure mount -t tmpfs x /tmp
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  hint: if you trust the Dockerfile: `--allow=security.insecure`
";
    let refused = kiln.build(&insecure, &["--allow", "network.host"]);
    exactly(&refused, 2, report);
    assert!(!refused.stderr.contains("echo ran"), "{}", refused.stderr);
    assert_eq!(kiln.build(&insecure, &["--check"]).code, Some(0));
    let allowed = kiln.build(&insecure, &["--allow", "network.host,security.insecure"]);
    assert_eq!(allowed.code, Some(0), "{}", allowed.stderr);

    let host = format!("{BASE}RUN --network=host true\n");
    let refused = kiln.build(&host, &["--network=none"]);
    let message = "error: `RUN --network=host` is not allowed in this build\n";
    assert!(refused.error().starts_with(message), "{}", refused.stderr);
    assert!(refused.error().ends_with("`--allow=network.host`\n"), "{}", refused.stderr);
    for flags in [&["--network=none", "--allow=network.host"][..], &["--network=host"], &[]] {
        let allowed = kiln.build(&host, flags);
        assert_eq!(allowed.code, Some(0), "{flags:?}: {}", allowed.stderr);
    }
    // A stage that is not needed may ask for anything.
    let unused = format!(
        "{BASE}FROM scratch AS unused\nRUN --security=insecure x\nFROM scratch\nCOPY f /\n"
    );
    std::fs::write(kiln.context().join("f"), "").unwrap();
    assert_eq!(kiln.build(&unused, &[]).code, Some(0));
}

#[test]
fn a_dockerfile_that_is_too_large() {
    let kiln = Kiln::new();
    let file = std::fs::File::create(kiln.context().join("Dockerfile")).unwrap();
    file.set_len((16 << 20) + 1).unwrap();
    let ended = kiln.run(&["build", "."]);
    let report = "error: the Dockerfile `Dockerfile` is larger than 16 MiB\n";
    assert_eq!((ended.error().as_str(), ended.code), (report, Some(2)));
}

#[test]
fn a_name_in_an_output_is_judged_before_anything_runs() {
    let kiln = Kiln::new();
    let ended = kiln.build(&format!("{BASE}RUN false\n"), &["--output", "type=image,name=A"]);
    let report = "error: invalid image reference `A`: repository name `library/A` must be lowercase\n  \
                  hint: try `library/a`\n";
    assert_eq!((ended.error().as_str(), ended.code), (report, Some(2)));
}
