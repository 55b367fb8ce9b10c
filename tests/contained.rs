//! kiln in containers of podman and docker that have no rights but the usual ones.
#![expect(clippy::unwrap_used, reason = "a failure in a test's own preparations is a failed test")]

mod support;

use support::docker::Docker;
use support::podman::Podman;
use support::{BASE, Kiln};

/// What is built inside, also by a user with one id.
const INSIDE: &str = "RUN mkdir -p -m 1777 /d /tmp && touch /d/x && chown 7:8 /d/x && stat -c 'owned %u:%g' /d/x && test -e /proc/self/status\n\
    RUN mknod /d/n c 1 3 && cp -a /d /e && stat -c 'copied %u:%g' /e/x\n\
    USER 9:9\n\
    RUN echo ran as $(id -u):$(id -g) && touch /tmp/own && stat -c 'made %u:%g' /tmp/own && cd /tmp && mkdir y && stat -c 'there %u' y\n\
    USER 0\n\
    RUN rm -r /d/x && ls /d\n";

/// An archive of an image with a shell, and with contexts for builds that run commands and that only copy.
fn archive(kiln: &Kiln) -> std::path::PathBuf {
    kiln.file("inside/Dockerfile", &format!("{BASE}{INSIDE}"));
    kiln.file("inside/copying", "FROM scratch\nCOPY busybox /bin/busybox\n");
    std::fs::copy(kiln.context().join("busybox"), kiln.context().join("inside/busybox")).unwrap();
    let out = kiln.path("tools.tar");
    let output = format!("type=docker,name=tools:latest,dest={}", out.display());
    let rest = "COPY inside /ctx\nRUN mkdir -p -m 1777 /tmp /var/lib /home && chmod 777 /home && \
        echo root:x:0:0::/root:/bin/sh > /etc/passwd\n";
    let built = kiln.build(&format!("{BASE}{rest}"), &["--output", &output]);
    assert_eq!(built.code, Some(0), "{}", built.stderr);
    out
}

/// This program, for a container.
fn program() -> String {
    format!("{}:/bin/kiln:ro", env!("CARGO_BIN_EXE_kiln"))
}

/// The words of `run` that both have. This test's machine may not be allowed higher limits.
fn words<'a>(program: &'a str, more: &[&'a str], script: &'a str, image: &'a str) -> Vec<&'a str> {
    let mut words = vec!["run", "--rm", "--network=none", "--volume", program];
    words.extend(["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]);
    words.extend(more);
    words.extend([image, "sh", "-c", script]);
    words
}

const BUILD: &str = "kiln build --progress plain /ctx 2>&1; echo code $?";
const COPY: &str = "kiln build --progress plain -f /ctx/copying /ctx 2>&1; echo code $?";
const DOCTOR: &str = "kiln doctor; echo code $?";

#[test]
fn in_podman_without_any_flag() {
    let (kiln, podman) = (Kiln::new(), Podman::new());
    podman.load(&archive(&kiln), "docker.io/library/tools:latest");
    let program = program();
    let run = |more: &[&str], script: &str| {
        let words = words(&program, more, script, "docker.io/library/tools:latest");
        podman.run(&[&["--runtime", "runc"], &words[..]].concat())
    };
    let user = ["--user", "1000:1000", "--env", "HOME=/home"];
    for who in [&[][..], &user] {
        let said = run(who, BUILD);
        assert!(said.ends_with("code 0\n"), "{said}");
        for wanted in ["owned 7:8", "copied 7:8", "ran as 9:9", "made 9:9", "there 9"] {
            assert!(said.contains(&format!(" {wanted}\n")), "{wanted}, as {who:?}: {said}");
        }
    }
    let said = run(&user, DOCTOR);
    assert!(said.ends_with("code 0\n") && said.contains("in a podman container"), "{said}");
    assert!(said.contains("fix: `podman run --security-opt unmask=ALL …`"), "{said}");
    let said = run(&["--cap-drop=all"], BUILD);
    assert!(said.ends_with("code 3\n"), "{said}");
    assert!(said.contains("hint: `podman run --cap-add SETFCAP,SETUID,SETGID …`"), "{said}");
    let said = run(&["--cap-drop=all"], COPY);
    assert!(said.ends_with("code 0\n"), "{said}");
}

#[test]
fn in_docker_without_any_flag_and_with_the_one_it_takes() {
    let (kiln, docker) = (Kiln::new(), Docker::start());
    docker.load(&archive(&kiln), "tools:latest");
    let program = program();
    let run =
        |more: &[&str], script: &str| docker.run(&words(&program, more, script, "tools:latest"));
    let said = run(&[], COPY);
    assert!(said.ends_with("code 0\n"), "{said}");
    let said = run(&[], BUILD);
    assert!(said.ends_with("code 3\n"), "{said}");
    let hint =
        "`docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined …`";
    assert!(said.contains(&format!("hint: {hint}")), "{said}");
    let said = run(&[], DOCTOR);
    assert!(said.ends_with("code 3\n") && said.contains(&format!("fix: {hint}")), "{said}");
    let unconfined = ["--security-opt", "seccomp=unconfined"];
    let said = run(&unconfined, BUILD);
    assert!(said.ends_with("code 0\n") && said.contains(" owned 7:8\n"), "{said}");
    let said =
        run(&unconfined, &format!("{DOCTOR}; {}", BUILD.replace("/ctx", "--network=none /ctx")));
    assert!(said.ends_with("code 0\n"), "{said}");
    let said = run(&["--cap-add", "SYS_ADMIN", "--security-opt", "apparmor=unconfined"], BUILD);
    assert!(said.ends_with("code 0\n") && said.contains(" owned 7:8\n"), "{said}");
}
