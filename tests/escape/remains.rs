//! What outlives a step: processes, descriptors that were given away, programs of the image, and kiln's own program.

use std::fs::{self, File, Permissions};
use std::io::{IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::support::{BASE, ended};
use crate::world::{Level, World};

const LEVELS: [Level; 3] = [Level::Root, Level::Range, Level::Single];

/// The processes of this machine that have this argument.
fn with_argument(argument: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let path = entry.unwrap().path();
        let line = fs::read(path.join("cmdline")).ok()?;
        let found = line.split(|&byte| byte == 0).any(|word| word == argument.as_bytes());
        found.then(|| path.display().to_string())
    });
    processes.collect()
}

#[test]
fn no_process_outlives_its_step() {
    for level in LEVELS {
        let world = World::new(level);
        let name = format!("left-{}", world.token);
        // In a session of its own, deaf to everything that can be ignored, and not waited for.
        world.built(
            &format!(
                "{BASE}RUN (trap '' HUP INT TERM; setsid tail -f /dev/null {name}) >/dev/null 2>&1 & \
                 while ! grep -q {name} /proc/[0-9]*/cmdline; do :; done; kill -9 -1\n\
                 RUN ! grep -l ^tail /proc/[0-9]*/cmdline\n"
            ),
            &[],
        );
        assert_eq!(with_argument(&name), [] as [String; 0], "as {level:?}");
        // The command killed everything that it could: the host's processes were not among that.
        assert_eq!(with_argument(&world.token).len(), 1);
        let mut noticed = Command::new("tail");
        noticed.args(["-f", "/dev/null"]).arg0(&name).stdin(Stdio::null());
        let mut noticed = noticed.spawn().unwrap();
        // It would be noticed: its arguments appear a moment after it was started, and this ends only then.
        while with_argument(&name).is_empty() {
            thread::yield_now();
        }
        noticed.kill().unwrap();
        noticed.wait().unwrap();
    }
}

/// Receives a descriptor that a step sends, and answers when it may end.
fn receive(listener: &UnixListener) -> (OwnedFd, std::os::unix::net::UnixStream) {
    let (stream, _) = listener.accept().unwrap();
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(&mut byte)];
    recvmsg(&stream, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
    let received = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    (received.unwrap(), stream)
}

/// Writes beneath a directory that a step has sent, as the account that builds; returns whether it could.
fn write_through(directory: &OwnedFd, account: (u32, u32)) -> bool {
    let mut writer = Command::new("sh");
    writer.args(["-c", "echo planted > /proc/self/fd/0/etc/planted"]).stderr(Stdio::null());
    writer.stdin(directory.try_clone().unwrap()).uid(account.0).gid(account.1);
    writer.status().unwrap().success()
}

#[test]
fn a_directory_that_was_given_away_is_closed() {
    for level in LEVELS {
        let world = World::new(level);
        let name = format!("receiver-{}", world.token);
        let listener =
            UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let account = world.account();
        let outside = thread::spawn(move || {
            let (directory, mut stream) = receive(&listener);
            let during = write_through(&directory, account);
            stream.write_all(b"x").unwrap();
            (directory, during)
        });
        world.built(
            &format!(
                "{BASE}COPY attempt /bin/\nRUN mkdir -p /etc && RECEIVER={name} attempt --give /\n"
            ),
            &[],
        );
        let (directory, during) = outside.join().unwrap();
        assert!(during, "as {level:?}: it would be noticed");
        assert!(
            !write_through(&directory, account),
            "as {level:?}: the layer can still be changed"
        );
    }
}

#[test]
fn a_file_that_was_given_away_fails_the_step() {
    for level in LEVELS {
        let world = World::new(level);
        let name = format!("receiver-{}", world.token);
        let listener =
            UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let outside = thread::spawn(move || {
            let (file, mut stream) = receive(&listener);
            stream.write_all(b"x").unwrap();
            File::from(file)
        });
        let build = world.build(
            &format!("{BASE}COPY attempt /bin/\nRUN RECEIVER={name} attempt --give /bin/planted\n"),
            &[],
        );
        let mut file = outside.join().unwrap();
        let says =
            "the command gave a file that it was writing to a process outside of the sandbox";
        assert!(build.stderr.contains(says), "as {level:?}: {}", build.stderr);
        assert_eq!(build.code, Some(1), "{}", build.stderr);
        file.write_all(b"it can still be written to, which is why").unwrap();
    }
}

/// `docker-credential-attempt`, which the image's own kiln is told to call, looks at who called it.
const AS_HELPER: &str = "COPY attempt /bin/docker-credential-attempt\n\
    RUN mkdir -p /etc && echo '{\"credsStore\":\"attempt\"}' > /etc/config.json && ln -s /proc/self/exe /link\n\
    ENV DOCKER_CONFIG=/etc REGISTRY_AUTH_FILE=/etc/config.json PATH=/bin\n";

#[test]
fn kilns_own_program_is_out_of_reach() {
    for level in LEVELS {
        let world = World::new(level);
        let before = fs::read(world.path("kiln")).unwrap();
        let inode = fs::metadata(world.path("kiln")).unwrap().ino();
        for run in [
            "[\"/proc/self/exe\", \"logout\", \"example.com\"]",
            "[\"/link\", \"logout\", \"example.com\"]",
            "--security=insecure [\"/proc/self/exe\", \"logout\", \"example.com\"]",
        ] {
            let build = world.build(
                &format!("{BASE}{AS_HELPER}ENV PROGRAM={inode}\nRUN {run}\n"),
                &["--allow=security.insecure"],
            );
            assert!(
                build.stderr.contains("exit status: 42"),
                "as {level:?}, {run}: {}",
                build.stderr
            );
        }
        assert!(fs::read(world.path("kiln")).unwrap() == before);
    }
    // The same where kiln is called as it is.
    let world = World::new(Level::Root);
    let helper = world.path("docker-credential-attempt");
    fs::copy(crate::world::attempts(), &helper).unwrap();
    let config = world.path("config.json");
    fs::write(&config, "{\"credsStore\":\"attempt\"}").unwrap();
    let inode = fs::metadata(world.path("kiln")).unwrap().ino();
    let mut command = world.command(&["logout", "example.com"]);
    command.env("DOCKER_CONFIG", world.path("")).env("REGISTRY_AUTH_FILE", &config);
    command.env("PATH", world.path("")).env("PROGRAM", inode.to_string());
    let ended = ended(command.output().unwrap());
    assert!(ended.stderr.contains("exit status: 43"), "it would be noticed: {}", ended.stderr);
}

/// Whether an account that is nobody can execute what lies there.
fn nobody_can_run(program: &Path) -> bool {
    let status = Command::new(program).uid(65534).gid(65534).stdin(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

#[test]
fn programs_of_layers_are_not_for_the_hosts_other_accounts() {
    let world = World::new(Level::Root);
    world.built(&format!("{BASE}COPY --chmod=4755 busybox /sbin/true\nRUN touch /x\n"), &[]);
    let state = world.path("state");
    let files = walkdir::WalkDir::new(&state).into_iter().map(Result::unwrap);
    let program = files.filter(|entry| entry.path().ends_with("sbin/true")).find(|entry| {
        let found = entry.metadata().unwrap();
        found.is_file() && found.mode() & 0o4001 == 0o4001 && found.uid() == 0
    });
    let program = program.expect("the step saw a setuid program").into_path();
    assert!(!nobody_can_run(&program), "{}", program.display());
    for directory in program.ancestors().skip(1).take_while(|path| path.starts_with(&state)) {
        fs::set_permissions(directory, Permissions::from_mode(0o755)).unwrap();
    }
    assert!(nobody_can_run(&program), "it would be noticed");
}
