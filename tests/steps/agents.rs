//! RUN --mount=type=ssh: an agent's socket for one step.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Command;

use crate::support::{BASE, Ended, Kiln, ended};

/// Answers every request for identities with the empty list (draft-miller-ssh-agent, "Requesting a list of keys"),
/// and a number of its own behind it.
fn agent(kiln: &Kiln, number: u8) -> PathBuf {
    let path = kiln.path(&format!("agent{number}"));
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 5];
            while stream.read_exact(&mut request).is_ok() {
                assert_eq!(request, [0, 0, 0, 1, 11]);
                stream.write_all(&[0, 0, 0, 6, 12, 0, 0, 0, 0, number]).unwrap();
            }
        }
    });
    path
}

/// Asks the agent at a socket for its identities and prints the answer.
fn ask(socket: &str) -> String {
    format!(
        "perl -e 'socket(my $s, 1, 1, 0) or die; connect($s, pack(\"S a*\", 1, $ARGV[0])) or die \"no agent: $!\\n\"; \
         syswrite($s, pack(\"C5\", 0, 0, 0, 1, 11)); sysread($s, my $r, 10); print unpack(\"H*\", $r)' {socket}"
    )
}

/// Builds on busybox and perl; returns what the step wrote to `/out`.
fn output(kiln: &Kiln, rest: &str, args: &[&str]) -> String {
    let text = format!("{BASE}COPY perl /\n{rest}FROM scratch\nCOPY --from=0 /out /\n");
    String::from_utf8(kiln.tree(&text, args)[0].content.clone()).unwrap()
}

fn with_perl() -> Kiln {
    let kiln = Kiln::new();
    kiln.add_perl();
    kiln
}

#[test]
fn a_step_talks_to_the_agent_that_it_is_given() {
    let kiln = with_perl();
    let given = format!("default={}", agent(&kiln, 7).display());
    let ask = ask("$SSH_AUTH_SOCK");
    let rest = format!(
        "RUN --mount=type=cache,target=/c --mount=type=ssh echo $SSH_AUTH_SOCK $(stat -c '%F %a %u:%g' $SSH_AUTH_SOCK) $({ask}) > /out\n\
         RUN ! [ -e /run ] && echo \"[$SSH_AUTH_SOCK]\" >> /out\n"
    );
    let found = output(&kiln, &rest, &["--ssh", &given]);
    assert_eq!(found, "/run/buildkit/ssh_agent.0 socket 600 0:0 000000060c0000000007\n[]\n");
}

#[test]
fn agents_have_ids_places_and_owners() {
    let kiln = with_perl();
    let given = [1, 2].map(|number| format!("id{number}={}", agent(&kiln, number).display()));
    let (first, second, own) =
        (ask("/run/buildkit/ssh_agent.0"), ask("/sock/et"), ask("/run/buildkit/ssh_agent.2"));
    let rest = format!(
        "ENV SSH_AUTH_SOCK=/own\nRUN touch /out && chmod 666 /out\nUSER 5:6\n\
         RUN --mount=type=ssh,id=id2,uid=5 --mount=type=ssh,id=id1,target=/sock/et,mode=0666 --mount=type=ssh,id=id1,gid=6,mode=0060 \
         echo $SSH_AUTH_SOCK $({first}) $({second}) $({own}) > /out && stat -c '%a %u:%g' /sock/et /run/buildkit/* >> /out\n"
    );
    let found = output(&kiln, &rest, &["--ssh", &given[0], "--ssh", &given[1]]);
    let answers = "000000060c0000000002 000000060c0000000001 000000060c0000000001";
    assert_eq!(found, format!("/own {answers}\n666 0:0\n600 5:0\n60 0:6\n"));
}

/// Builds with this as SSH_AUTH_SOCK.
fn build_with_socket(kiln: &Kiln, socket: Option<&PathBuf>, args: &[&str]) -> Ended {
    let all = [&["build", "--progress", "plain"], args, &["."]].concat();
    let mut command: Command = kiln.command(&all);
    match socket {
        Some(path) => command.env("SSH_AUTH_SOCK", path),
        None => command.env_remove("SSH_AUTH_SOCK"),
    };
    ended(command.output().unwrap())
}

#[test]
fn the_default_is_the_users_own_agent() {
    let kiln = with_perl();
    let run = format!("RUN --mount=type=ssh,required=true {}\n", ask("$SSH_AUTH_SOCK"));
    let socket = agent(&kiln, 3);
    for (number, args) in [&["--ssh", "default"][..], &["--ssh=default"]].iter().enumerate() {
        kiln.file(
            "Dockerfile",
            &format!("{BASE}COPY perl /\n{run}# {number}\nRUN echo {number}\n"),
        );
        let ended = build_with_socket(&kiln, Some(&socket), &[&["--no-cache"], *args].concat());
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(
            ended.stderr.lines().any(|line| line.ends_with(" 000000060c0000000003")),
            "{}",
            ended.stderr
        );
    }
    let ended = build_with_socket(&kiln, None, &["--ssh", "default"]);
    let report = "error: `--ssh default` needs an SSH agent, but SSH_AUTH_SOCK is not set\n  \
                  hint: start one with `eval $(ssh-agent)` and `ssh-add`\n";
    assert_eq!((ended.error().as_str(), ended.code), (report, Some(2)));
    let ended = build_with_socket(&kiln, Some(&socket), &[]);
    assert_eq!(ended.code, Some(2), "nothing is given unless it is asked for: {}", ended.stderr);
}

#[test]
fn an_agent_that_is_required_and_not_given() {
    let kiln = Kiln::new();
    let line = "RUN --mount=type=ssh,id=work,required=true true";
    let ended = kiln.build(&format!("{BASE}{line}\n"), &[]);
    let report = format!(
        "error: the SSH agent `work` is required but was not given\n --> Dockerfile:4:1\n  |\n4 | {line}\n  | {}\n  \
         hint: give it with `--ssh work=SOCKET`\n",
        "^".repeat(line.len())
    );
    assert_eq!((ended.error(), ended.code), (report, Some(2)));
}

#[test]
fn an_agent_that_is_not_required_may_be_missing() {
    let kiln = with_perl();
    let rest =
        "RUN --mount=type=ssh echo \"$SSH_AUTH_SOCK\" > /out && [ ! -e \"$SSH_AUTH_SOCK\" ]\n";
    assert_eq!(output(&kiln, rest, &[]), "/run/buildkit/ssh_agent.0\n");
    let given = format!("default={}", agent(&kiln, 4).display());
    let dockerfile = format!("{BASE}COPY perl /\n{rest}");
    let ended = kiln.build(&dockerfile, &["--ssh", &given]);
    assert_eq!(
        (ended.code, ended.cached()),
        (Some(1), 3),
        "another result with an agent: {}",
        ended.stderr
    );
}

#[test]
fn what_is_no_agent_is_refused() {
    let kiln = with_perl();
    kiln.file("key", "PRIVATE");
    let cases = [
        ("default=key", "error: `--ssh default=key`: key files are not supported yet\n"),
        (
            "default=none",
            "error: cannot use `none` for `--ssh`: No such file or directory (os error 2)\n",
        ),
    ];
    for (given, message) in cases {
        let ended = kiln.build(BASE, &["--ssh", given]);
        assert!(ended.error().starts_with(message) && ended.code == Some(2), "{}", ended.stderr);
    }
    let dead = kiln.path("dead");
    drop(UnixListener::bind(&dead).unwrap());
    let rest = format!("RUN --mount=type=ssh echo \"[$({})]\" > /out\n", ask("$SSH_AUTH_SOCK"));
    let found = output(&kiln, &rest, &["--ssh", &format!("default={}", dead.display())]);
    assert_eq!(found, "[]\n", "one that has gone does not answer");
}
