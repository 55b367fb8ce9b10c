//! What a command can try by itself: every attempt of `attempt.c`.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use crate::support::{BASE, ended, on_path};
use crate::world::{Level, World, attempts};

/// What some kernels do not have: where it does not exist nothing can show that it would be noticed.
const KERNEL_MAY_LACK: &[(&str, &str)] = &[
    ("mount-32-bit", "32-bit programs"),
    ("unshare-32-bit", "32-bit programs"),
    ("bpf-32-bit", "32-bit programs"),
    ("ioperm", "CONFIG_X86_IOPL_IOPERM"),
    ("iopl", "CONFIG_X86_IOPL_IOPERM"),
    ("write-sysrq", "CONFIG_MAGIC_SYSRQ"),
    ("read-timers", "CONFIG_TIMER_LIST"),
    ("device-mem", "CONFIG_DEVMEM, or lockdown"),
    ("device-console", "a console"),
    ("device-loop", "the loop driver"),
    ("device-fuse", "FUSE"),
    ("device-disk", "a disk"),
    ("module-load", "modules"),
    ("module-load-file", "modules"),
    ("module-remove", "modules"),
    ("list-firmware", "firmware"),
    ("terminal-paste", "virtual terminals"),
    ("bpf", "CONFIG_BPF_SYSCALL, or lockdown"),
    ("perf-event", "CONFIG_PERF_EVENTS"),
];

/// How the attempts of one run ended, by name.
type Results = BTreeMap<String, (String, String)>;

fn results(output: &str) -> Results {
    let lines = output.lines().filter_map(|line| line.split_once("@@ ").map(|(_, said)| said));
    let results = lines.map(|line| {
        let mut words = line.splitn(3, ' ').map(str::to_owned);
        let name = words.next().unwrap();
        (name, (words.next().unwrap_or_default(), words.next().unwrap_or_default()))
    });
    let mut by_name = Results::new();
    for (name, result) in results {
        assert!(by_name.insert(name.clone(), result).is_none(), "{name} was run twice");
    }
    by_name
}

/// As root in namespaces that are thrown away, with every right and no filter.
fn control() -> Results {
    let world = World::new(Level::Root);
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--pid",
        "--fork",
        "--ipc",
        "--uts",
        "--net",
        "--cgroup",
        "--mount-proc",
    ]);
    // The first process of the namespace is what they try to reach.
    let script = "cd /; NAMESPACES=$(ls -l /proc/self/ns) SENTINEL=1 \"$0\" --control; \
                  \"$0\" --control abstract-socket; true";
    command.args(["sh", "-c", script]).arg(attempts()).arg(&world.token);
    command.envs(world.arguments()).stdin(Stdio::null());
    let ended = ended(on_path(&mut command).output().unwrap());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let mut found = results(&ended.stdout);
    // Its network is its own, as it must not be for this one.
    let mut outside = Command::new("unshare");
    outside.args(["--mount"]).arg(attempts()).args(["--control", "abstract-socket"]);
    let outside = on_path(outside.envs(world.arguments())).output().unwrap();
    found.extend(results(&String::from_utf8(outside.stdout).unwrap()));
    found
}

#[test]
fn every_attempt_would_be_noticed() {
    let found = control();
    let lacking = |name: &str| KERNEL_MAY_LACK.iter().find(|(lacking, _)| *lacking == name);
    let unnoticed =
        found.iter().filter(|(name, (how, _))| how != "escaped" && lacking(name).is_none());
    assert_eq!(unnoticed.collect::<Vec<_>>(), []);
    for (name, what) in KERNEL_MAY_LACK {
        if found.get(*name).is_some_and(|(how, _)| how != "escaped") {
            eprintln!("no control for {name}: this kernel has not {what}: {:?}", found[*name]);
        }
    }
    let without = found.values().filter(|(how, _)| how != "escaped").count();
    println!("{} attempts, {without} without a control", found.len());
    assert!(found.len() > 110 && without < KERNEL_MAY_LACK.len(), "{found:#?}");
}

const PREPARE: &str = "COPY attempt /bin/attempt\n\
    RUN mkdir -m 1777 /tmp && mkdir -p /etc && cp /bin/attempt /bin/attempt-setuid && chmod 4755 /bin/attempt-setuid \
        && printf 'root:x:0:0::/:/bin/sh\\nuser:x:1000:1000::/:/bin/sh\\n' > /etc/passwd\n\
    ARG MARKER TOKEN SENTINEL SHM NAMESPACES SOCKET\n";

const TRY: &str = "--mount=type=cache,target=/cache --mount=type=tmpfs,target=/memory attempt\n";

/// Makes every attempt at this level; returns how many there were.
fn try_all(level: Level) -> usize {
    let world = World::new(level);
    let arguments = world.arguments();
    let arguments: Vec<String> =
        arguments.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let flags: Vec<&str> = arguments.iter().flat_map(|pair| ["--build-arg", pair]).collect();
    let users: &[&str] = if level == Level::Single { &["0"] } else { &["0", "1000:1000"] };
    let mut count = 0;
    for user in users {
        let dockerfile = format!(
            "{BASE}{PREPARE}USER {user}\nRUN {TRY}RUN --network=none attempt abstract-socket\n"
        );
        let found = results(&world.built(&dockerfile, &flags).stderr);
        let out: Vec<_> = found.iter().filter(|(_, (how, _))| how != "held").collect();
        assert!(out.is_empty(), "as {level:?}, user {user}: {out:#?}");
        count += found.len();
        assert_eq!(found.len(), control_names(), "as {level:?}, user {user}: {found:#?}");
    }
    count
}

/// How many attempts there are.
fn control_names() -> usize {
    let source = include_str!("attempt.c");
    let table = source.split("ATTEMPTS[] = {").nth(1).unwrap();
    let table = table.split("};").next().unwrap();
    let rows = table.matches("{\"").count();
    if cfg!(target_arch = "x86_64") { rows } else { rows - 5 }
}

#[test]
fn root_stays_inside() {
    println!("{} attempts", try_all(Level::Root));
}

#[test]
fn a_user_with_subordinate_ids_stays_inside() {
    println!("{} attempts", try_all(Level::Range));
}

#[test]
fn a_user_without_subordinate_ids_stays_inside() {
    println!("{} attempts", try_all(Level::Single));
}
