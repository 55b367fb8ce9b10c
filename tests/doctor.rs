//! `kiln doctor` on this machine, at each level of rights.
#![expect(clippy::unwrap_used, reason = "a failure in a test's own preparations is a failed test")]

mod support;

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::process::Command;

use serde_json::Value;
use support::users::User;
use support::{Ended, Kiln, ended};

/// Runs it through `before`, whose last word is followed by kiln's, as a user; returns what it says as JSON, too.
fn doctor(before: &[&str], user: Option<&User>) -> (Ended, Value) {
    let home = tempfile::tempdir().unwrap();
    let kiln = home.path().join("kiln");
    std::fs::copy(env!("CARGO_BIN_EXE_kiln"), &kiln).unwrap();
    let words: Vec<&str> = before.iter().copied().chain(["./kiln"]).collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args(["--root", "state", "doctor", "--format", "json"]);
    command.current_dir(home.path()).env("HOME", home.path()).env_remove("KILN_ROOT");
    if let Some(user) = user {
        chown(home.path(), Some(user.uid), Some(user.gid)).unwrap();
        command.uid(user.uid).gid(user.gid);
    }
    let ended = ended(command.output().unwrap());
    let said = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"));
    (ended, said)
}

/// Status, text and fix of one subject.
fn about(said: &Value, subject: &str) -> (String, String, String) {
    let findings = said["findings"].as_array().unwrap();
    let finding = findings.iter().find(|finding| finding["subject"] == subject);
    let finding = finding.unwrap_or_else(|| panic!("nothing about {subject}: {said:#}"));
    let text = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    (text("status"), text("found"), text("fix"))
}

#[test]
fn root_can_do_all_and_is_told_so() {
    let (ended, said) = doctor(&["env"], None);
    assert_eq!((ended.code, &said["runs"]), (Some(0), &Value::Bool(true)), "{said:#}");
    for subject in ["kernel", "rights", "ids", "sandbox", "overlay", "state"] {
        assert_eq!(about(&said, subject).0, "ok", "{said:#}");
    }
    let (_, found, _) = about(&said, "network");
    assert!(found.contains("private by pasta"), "apt-get install passt: {found}");
    let kiln = Kiln::new();
    let table = kiln.run(&["doctor"]);
    assert_eq!((table.code, table.stderr.as_str()), (Some(0), ""));
    assert!(table.stdout.starts_with("ok       kernel       Linux "), "{}", table.stdout);
    assert!(table.stdout.ends_with("\n\nBuilds work, with RUN.\n"), "{}", table.stdout);
}

#[test]
fn users_with_and_without_ids() {
    let (range, single) = (User::new("doctor-range").with_range(), User::new("doctor-single"));
    let (ended, said) = doctor(&["env"], Some(&range));
    assert_eq!(ended.code, Some(0), "{said:#}");
    assert!(about(&said, "rights").1.contains("many ids"), "{said:#}");
    let (status, found, _) = about(&said, "ids");
    assert_eq!(status, "ok", "{found}");
    assert!(found.starts_with("65536 users from "), "{found}");

    let (ended, said) = doctor(&["env"], Some(&single));
    assert_eq!(ended.code, Some(0), "{said:#}");
    assert!(about(&said, "rights").1.contains("a single id"), "{said:#}");
    let (status, found, fix) = about(&said, "ids");
    let name = &single.name;
    assert_eq!(status, "limited");
    assert_eq!(found, format!("none for `{name}` in /etc/subuid and /etc/subgid"));
    assert!(fix.contains("usermod --add-subuids") && fix.contains(name), "{fix}");
}

/// In a namespace that has all ids and no further namespaces.
const REFUSE: &str = "chown $1: .; unshare --user sleep infinity & \
    while kill -0 $! && test $(readlink /proc/$!/ns/user) = $(readlink /proc/self/ns/user); do :; done; \
    for ids in uid gid; do echo 0 0 4294967295 > /proc/$!/${ids}_map; done; \
    nsenter --target $! --user sh -ec 'echo 0 > /proc/sys/user/max_user_namespaces; user=$1; shift 1; \
        exec setpriv --reuid=$user --regid=$user --clear-groups \"$@\"' sh \"$@\"; code=$?; kill $!; exit $code";

#[test]
fn no_ids_are_asked_for_where_there_is_no_namespace() {
    let range = User::new("refused").with_range();
    let (ended, said) = doctor(&["sh", "-c", REFUSE, "sh", &range.name], None);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(3), ""), "{said:#}");
    assert!(about(&said, "rights").1.contains("no user namespace"), "{said:#}");
    assert_eq!(about(&said, "ids").0, "ok", "{said:#}");
}

/// In a namespace of its own, nobody else's limit is changed.
const FORBIDDEN: [&str; 5] = ["unshare", "--user", "--map-root-user", "sh", "-ec"];
const FORBID: &str = "echo 0 > /proc/sys/user/max_user_namespaces; \
    exec setpriv --bounding-set -sys_admin --inh-caps -sys_admin \"$@\"";

#[test]
fn without_user_namespaces_there_is_the_sysctl_and_what_copies_still_builds() {
    let before: Vec<&str> = FORBIDDEN.into_iter().chain([FORBID, "sh"]).collect();
    let (ended, said) = doctor(&before, None);
    assert_eq!((ended.code, &said["runs"]), (Some(3), &Value::Bool(false)), "{said:#}");
    let (status, found, fix) = about(&said, "rights");
    assert_eq!(status, "missing", "{found}");
    assert!(fix.starts_with("`sysctl -w user.max_user_namespaces=15000`"), "{fix}");

    let kiln = Kiln::new();
    let build = |dockerfile: &str| {
        kiln.file("Dockerfile", dockerfile);
        let mut command = Command::new(before[0]);
        command.args(&before[1..]).arg(env!("CARGO_BIN_EXE_kiln"));
        command.arg("--root").arg(kiln.path("state")).args(["build", "--progress", "plain", "."]);
        support::ended(command.current_dir(kiln.context()).output().unwrap())
    };
    let copied = build("FROM scratch\nCOPY busybox /bin/busybox\n");
    assert_eq!(copied.code, Some(0), "{}", copied.stderr);
    let ran = build(support::BASE);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    let error = ran.error();
    assert!(!ran.stderr.contains("copies of their file systems"), "{}", ran.stderr);
    assert!(error.starts_with("error: cannot make a user namespace\n"), "{error}");
    assert!(error.contains("hint: `sysctl -w user.max_user_namespaces=15000`"), "{error}");
}
