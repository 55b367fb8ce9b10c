//! Networks of steps, in a network of the test's own: with an address that is reached only over its router, and servers on
//! that address and on the loopback device.
#![expect(clippy::unwrap_used, reason = "a failure in a test's own preparations is a failed test")]

mod support;

use std::process::Command;

use support::users::User;
use support::{BASE, Ended, Kiln};

/// Makes the network and calls `$1` in it; afterwards prints what of the programs that connect networks is left there.
/// `tun` is opened by pasta and slirp4netns, which ordinary users may on most machines, but not on all.
const WORLD: &str = r#"
    mknod tun c 10 200 && chmod 666 tun && mount --bind tun /dev/net/tun
    ip link set lo up
    ip tuntap add up0 mode tap
    ip addr add 10.9.0.1/24 dev up0 && ip link set up0 up && ip route add default via 10.9.0.2
    ip addr add 10.8.0.1/32 dev lo
    echo beyond > beyond/index.html; echo loopback > loopback/index.html
    busybox httpd -f -p 10.8.0.1:80 -h beyond & one=$!
    busybox httpd -f -p 127.0.0.1:81 -h loopback & two=$!
    left() {
        for process in /proc/[0-9]*; do
            [ "$(readlink $process/ns/net)" = "$(readlink /proc/self/ns/net)" ] || continue
            case "$(cat $process/comm)" in pasta* | passt* | slirp4netns) cat $process/comm ;; esac
        done
    }
    for at in "10.8.0.1 80" "127.0.0.1 81"; do
        until busybox nc $at < /dev/null; do sleep 0.02; done
    done
    set +e
    eval "$1"
    code=$?
    # Processes that were killed are gone a moment later.
    for i in $(seq 500); do [ -z "$(left)" ] && break; sleep 0.02; done
    echo "left: $(left)"
    kill $one $two
    exit $code
"#;

/// Runs a script in the test's network, in the directory of `kiln`.
fn in_world(kiln: &Kiln, script: &str) -> Ended {
    for program in ["pasta", "slirp4netns"] {
        let there = std::path::Path::new("/usr/bin").join(program).exists();
        assert!(there, "this test needs {program}: apt-get install passt slirp4netns iproute2");
    }
    for name in ["beyond", "loopback"] {
        std::fs::create_dir_all(kiln.path(name)).unwrap();
    }
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "sh", "-eu", "-c", WORLD, "sh", script]);
    command.current_dir(kiln.path("")).env_remove("KILN_ROOT");
    command.env("KILN", env!("CARGO_BIN_EXE_kiln"));
    support::ended(support::on_path(&mut command).output().unwrap())
}

/// A step that says which servers it reaches. It keeps its side open for a moment, because the first pasta of all does
/// not pass on the end of one that was closed early.
fn ask(gateway: &str) -> String {
    format!(
        "RUN for at in 127.0.0.1:81 10.8.0.1:80 10.9.0.1:81 {gateway}:81; do \
         said=$( (printf 'GET / HTTP/1.0\\r\\n\\r\\n'; sleep 1) | timeout 60 nc -w 4 ${{at%:*}} ${{at#*:}} 2> /dev/null | tail -n 1); \
         echo \"said $at: ${{said:-no}}\"; done; echo \"said $(grep nameserver /etc/resolv.conf)\"\n"
    )
}

fn reached(ended: &Ended) -> Vec<&str> {
    let lines = ended.stderr.lines().filter(|line| !line.contains("RUN"));
    lines.filter_map(|line| Some(line.split_once(" said ")?.1)).collect()
}

/// Builds in the test's network, as root or as somebody else.
fn build(mode: &str, gateway: &str, user: Option<&User>) -> Ended {
    let kiln = Kiln::new();
    kiln.file("Dockerfile", &format!("{BASE}{}", ask(gateway)));
    let mut before = String::new();
    if let Some(User { uid, gid, .. }) = user {
        std::fs::copy(env!("CARGO_BIN_EXE_kiln"), kiln.path("kiln")).unwrap();
        for entry in walkdir::WalkDir::new(kiln.path("")) {
            let path = entry.unwrap();
            std::os::unix::fs::lchown(path.path(), Some(*uid), Some(*gid)).unwrap();
        }
        before = format!("setpriv --reuid {uid} --regid {gid} --clear-groups env HOME=$PWD ");
    }
    let kiln_of = if user.is_some() { "./kiln" } else { "\"$KILN\"" };
    let script =
        format!("{before}{kiln_of} --root state build --progress plain --network={mode} context");
    in_world(&kiln, &script)
}

/// Builds with each program.
fn check_private(user: Option<&User>) {
    // The router that a step sees, and where it asks for names.
    let programs = [("pasta", "10.9.0.2", "169.254.1.1"), ("slirp4netns", "10.0.2.2", "10.0.2.3")];
    for (mode, router, server) in programs {
        let ended = build(mode, router, user);
        assert_eq!(ended.code, Some(0), "{mode}: {}", ended.stderr);
        let expected = [
            "127.0.0.1:81: no".to_owned(),
            "10.8.0.1:80: beyond".to_owned(),
            "10.9.0.1:81: no".to_owned(),
            format!("{router}:81: no"),
            format!("nameserver {server}"),
        ];
        assert_eq!(reached(&ended), expected, "{mode}: {}", ended.stderr);
        assert_eq!(ended.stdout.lines().last(), Some("left: "), "{mode}: {}", ended.stdout);
    }
}

#[test]
fn a_private_network_leads_out_and_not_to_the_host() {
    check_private(None);
}

#[test]
fn so_does_that_of_a_user() {
    check_private(Some(&User::new("network")));
}

#[test]
fn the_host_and_no_network() {
    let ended = build("host", "10.9.0.1", None);
    assert_eq!(reached(&ended)[..2], ["127.0.0.1:81: loopback", "10.8.0.1:80: beyond"]);
    let ended = build("none", "10.9.0.1", None);
    assert_eq!(reached(&ended)[..3], ["127.0.0.1:81: no", "10.8.0.1:80: no", "10.9.0.1:81: no"]);
}

#[test]
fn what_connects_a_network_ends_with_a_killed_kiln() {
    for mode in ["pasta", "slirp4netns"] {
        let kiln = Kiln::new();
        kiln.file("Dockerfile", &format!("{BASE}RUN --mount=target=/c,rw echo up && sleep 1000\n"));
        let script = format!(
            "\"$KILN\" --root state build --progress plain --network={mode} context > log 2>&1 & kiln=$!; \
             until grep -q ' up$' log; do kill -0 $kiln || {{ cat log >&2; exit 9; }}; sleep 0.02; done; \
             echo \"beside: $(left)\"; kill -9 $kiln; wait $kiln; true"
        );
        let ended = in_world(&kiln, &script);
        let lines: Vec<&str> = ended.stdout.lines().collect();
        assert!(
            lines[0].starts_with("beside: pas") || lines[0] == "beside: slirp4netns",
            "{ended:?}"
        );
        assert_eq!(lines[lines.len() - 1], "left: ", "{ended:?}");
    }
}

#[test]
fn what_cannot_be_connected_is_an_error_that_says_why() {
    let kiln = Kiln::new();
    kiln.file("Dockerfile", &format!("{BASE}{}", ask("10.9.0.2")));
    let script = "ip route del default; \"$KILN\" --root state build --network=pasta context";
    let ended = in_world(&kiln, script);
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert!(ended.error().contains("cannot make a private network: pasta: "), "{}", ended.error());
    // A machine without either.
    for mode in ["private", "pasta", "slirp4netns"] {
        let script = format!(
            "for name in pasta slirp4netns; do mount --bind /dev/null /usr/bin/$name; done; \
             \"$KILN\" --root state build --network={mode} context"
        );
        let ended = in_world(&kiln, &script);
        assert_eq!(ended.code, Some(3), "{}", ended.stderr);
        assert!(ended.error().contains("apt install passt"), "{}", ended.error());
    }
}
