//! Real namespaces, as root, with a root file system made of busybox. Missing privileges fail these tests.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use kiln::event::{Cancel, Stream};
use kiln::sandbox::spec::{
    Limits, Mount, MountKind, Network, Process, Rlimit, Root, Scratch, Security, Spec, User,
};
use kiln::sandbox::{Error, Exit, Io, Namespaces, Recording, Sandbox};

const DIR_VARIABLE: &str = "KILN_TEST_DIR";
const BUSYBOX: &str = "/bin/busybox";

/// A directory with a busybox layer and everything a spec needs, in a place where overlays work.
struct World {
    dir: tempfile::TempDir,
    spec: Spec,
}

/// What a run gave.
#[derive(Debug)]
struct Ran {
    exit: Exit,
    out: String,
    err: String,
}

impl World {
    /// A root with busybox and the directories of a usual image.
    fn new() -> Self {
        let world = Self::bare();
        for dir in ["etc", "proc", "dev", "sys", "tmp", "root", "run", "home/me"] {
            fs::create_dir_all(world.base().join(dir)).unwrap();
        }
        let passwd = "root:x:0:0:root:/root:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh\n";
        fs::write(world.base().join("etc/passwd"), passwd).unwrap();
        fs::write(world.base().join("etc/resolv.conf"), "image's own\n").unwrap();
        fs::write(world.base().join("etc/hosts"), "image's own\n").unwrap();
        world
    }

    /// A root with nothing but busybox.
    fn bare() -> Self {
        // The namespace test may not write to the target directory.
        let parent = std::env::var_os(DIR_VARIABLE);
        let parent = parent.unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into());
        let dir = tempfile::tempdir_in(parent).unwrap();
        for name in ["base/bin", "upper", "work"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        fs::copy(BUSYBOX, dir.path().join("base/bin/busybox")).unwrap();
        for applet in "sh true cat ls grep id mount umount unshare sleep mknod stat touch hostname readlink kill chmod env rm mkdir ulimit umask ps tty wc ip printf mv"
            .split(' ')
        {
            symlink("busybox", dir.path().join("base/bin").join(applet)).unwrap();
        }
        let spec = Spec {
            root: Root::Overlay {
                lower: vec![dir.path().join("base")],
                upper: dir.path().join("upper"),
                work: dir.path().join("work"),
            },
            owned_below: Vec::new(),
            mounts: Vec::new(),
            process: Process {
                args: Vec::new(),
                env: vec!["PATH=/bin".to_owned()],
                cwd: PathBuf::from("/"),
                user: User::default(),
                rlimits: Vec::new(),
            },
            network: Network::Host,
            security: Security::Default,
            hostname: "buildkitsandbox".to_owned(),
            extra_hosts: Vec::new(),
            shm_size: 0,
            limits: Limits::default(),
        };
        Self { dir, spec }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn make_dir(&self, name: &str) -> PathBuf {
        fs::create_dir_all(self.path(name)).unwrap();
        self.path(name)
    }

    fn base(&self) -> PathBuf {
        self.path("base")
    }

    fn upper(&self) -> Vec<String> {
        listing(&self.path("upper"))
    }

    fn mount(&mut self, target: &str, kind: MountKind) -> &mut Self {
        self.spec.mounts.push(Mount { target: target.into(), kind, readonly: false });
        self
    }

    fn mount_readonly(&mut self, target: &str, kind: MountKind) -> &mut Self {
        self.mount(target, kind);
        self.spec.mounts.last_mut().unwrap().readonly = true;
        self
    }

    /// Runs a shell script.
    fn sh(&mut self, script: &str) -> Ran {
        self.run(&["/bin/sh", "-c", script])
    }

    fn run(&mut self, args: &[&str]) -> Ran {
        self.try_run(args).unwrap()
    }

    fn try_run(&mut self, args: &[&str]) -> Result<Ran, Error> {
        self.spec.process.args = args.iter().map(|&arg| arg.to_owned()).collect();
        run_spec(&self.spec, &Cancel::new())
    }
}

fn sandbox() -> Namespaces {
    Namespaces::new(env!("CARGO_BIN_EXE_kiln").into(), std::env::temp_dir())
}

fn run_spec(spec: &Spec, cancel: &Cancel) -> Result<Ran, Error> {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut sink = |stream: Stream, bytes: &[u8]| match stream {
        Stream::Stdout => out.extend_from_slice(bytes),
        Stream::Stderr => err.extend_from_slice(bytes),
    };
    if let Root::Overlay { work, .. } = &spec.root {
        // A volatile overlay's work directory serves once.
        kiln::fs::remove_tree(work).unwrap();
        fs::create_dir_all(work).unwrap();
    }
    let exit = sandbox().run(spec, Io::Piped(&mut sink), cancel)?.0.exit;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ok(Ran { exit, out: text(out), err: text(err) })
}

/// Every path beneath `dir`, sorted.
fn listing(dir: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(next) = todo.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let entry = entry.unwrap();
            paths.push(entry.path().strip_prefix(dir).unwrap().display().to_string());
            if entry.file_type().unwrap().is_dir() {
                todo.push(entry.path());
            }
        }
    }
    paths.sort();
    paths
}

fn bind(root: PathBuf, path: &str) -> MountKind {
    MountKind::Bind { root, path: path.into() }
}

fn secret(content: &str, mode: u32, uid: u32) -> MountKind {
    MountKind::File { content: content.into(), mode, uid, gid: uid }
}

#[test]
fn exit_codes_and_signals_come_back() {
    let mut world = World::new();
    assert_eq!(world.run(&["true"]).exit, Exit::Code(0));
    assert_eq!(world.sh("exit 42").exit, Exit::Code(42));
    let killed = world.sh("kill -TERM $$").exit;
    assert_eq!(killed, Exit::Signal { number: 15, out_of_memory: false });
    assert_eq!(killed.code(), 143);
    assert_eq!(world.sh("kill -KILL $$").exit.code(), 137);
}

#[test]
fn output_keeps_its_streams() {
    let ran = World::new().sh("echo out; echo err >&2; cat");
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("out\n", "err\n"));
}

#[test]
fn much_output_arrives_whole() {
    let ran = World::new().sh("i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done");
    assert_eq!(ran.out.lines().count(), 20000);
    assert!(ran.out.ends_with("line 19999\n"));
}

#[test]
fn commands_that_cannot_run_end_as_in_a_shell() {
    let mut world = World::new();
    let ran = world.run(&["nothing"]);
    assert_eq!(ran.exit, Exit::Code(127));
    assert_eq!(ran.err, "kiln: cannot execute `nothing`: not found in PATH\n");
    let ran = world.run(&["/no/such"]);
    assert_eq!(ran.err, "kiln: cannot execute `/no/such`: no such file\n");
    let ran = world.run(&["/etc/passwd"]);
    assert_eq!(ran.exit, Exit::Code(126));
    assert_eq!(ran.err, "kiln: cannot execute `/etc/passwd`: permission denied\n");
    let script = world.base().join("bin/script");
    fs::write(&script, "#!/no/interpreter\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let ran = world.run(&["script"]);
    assert_eq!(ran.exit, Exit::Code(126));
    assert!(ran.err.contains("interpreter or loader is missing"), "{}", ran.err);
}

#[test]
fn the_environment_is_the_specs_alone() {
    let mut world = World::new();
    world.spec.process.env = vec!["PATH=/bin".into(), "A=1".into(), "A=2".into()];
    assert_eq!(world.run(&["env"]).out, "PATH=/bin\nA=2\nHOME=/root\n");
    world.spec.process.user = User { uid: 1000, gid: 1000, groups: vec![] };
    assert_eq!(world.run(&["env"]).out, "PATH=/bin\nA=2\nHOME=/home/me\n");
    world.spec.process.user.uid = 77;
    world.spec.process.env.push("HOME=/x".into());
    assert_eq!(world.run(&["env"]).out, "PATH=/bin\nA=2\nHOME=/x\n");
}

#[test]
fn user_and_groups_are_taken() {
    let mut world = World::new();
    world.spec.process.user = User { uid: 1000, gid: 1001, groups: vec![7, 8] };
    let ran = world.sh("id -u; id -g; id -G; echo ok > /dev/stdout; umask");
    assert_eq!(ran.out, "1000\n1001\n1001 7 8\nok\n0022\n", "{}", ran.err);
    let ran = world.run(&["cat", "/proc/self/status"]);
    assert_eq!(status(&ran.out, "CapEff"), "0000000000000000");
    assert_eq!(status(&ran.out, "CapBnd"), "00000000a80425fb");
    assert_eq!(status(&ran.out, "Groups"), "7 8");
}

fn status<'a>(text: &'a str, key: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {key} in {text}")).trim()
}

#[test]
fn a_missing_working_directory_is_made_for_the_user() {
    let mut world = World::new();
    world.spec.process.user = User { uid: 1000, gid: 1001, groups: vec![] };
    world.spec.process.cwd = "/srv/app/src".into();
    assert_eq!(world.sh("echo $PWD; stat -c '%u %g %a' .").out, "/srv/app/src\n1000 1001 755\n");
    assert_eq!(world.upper(), ["srv", "srv/app", "srv/app/src"]);
    let made = fs::metadata(world.path("upper/srv")).unwrap();
    assert_eq!((made.uid(), made.gid(), made.mode() & 0o7777), (1000, 1001, 0o755));
}

#[test]
fn root_has_the_default_capabilities() {
    let ran = World::new().run(&["cat", "/proc/self/status"]);
    for (key, want) in [
        ("CapInh", "0000000000000000"),
        ("CapPrm", "00000000a80425fb"),
        ("CapEff", "00000000a80425fb"),
        ("CapBnd", "00000000a80425fb"),
        ("CapAmb", "0000000000000000"),
        ("NoNewPrivs", "0"),
        ("Seccomp", "2"),
        ("SigIgn", "0000000000000000"),
        ("SigBlk", "0000000000000000"),
    ] {
        assert_eq!(status(&ran.out, key), want, "{key}");
    }
}

#[test]
fn the_filter_refuses_what_is_dangerous() {
    let mut world = World::new();
    let refused = |ran: Ran| {
        assert_ne!(ran.exit, Exit::Code(0));
        assert!(ran.err.contains("not permitted") || ran.err.contains("denied"), "{}", ran.err);
    };
    refused(world.sh("mount -t tmpfs none /tmp"));
    refused(world.sh("umount /proc"));
    refused(world.sh("unshare -U true"));
    refused(world.sh("unshare -m true"));
    refused(world.sh("hostname other"));
}

#[test]
fn insecure_commands_get_everything() {
    let mut world = World::new();
    world.spec.security = Security::Insecure;
    let ran = world.run(&["cat", "/proc/self/status"]);
    assert_eq!(status(&ran.out, "Seccomp"), "0");
    let own = fs::read_to_string("/proc/self/status").unwrap();
    for key in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status(&ran.out, key), status(&own, "CapPrm"), "{key}");
    }
    let ran = world.sh("mount -t tmpfs none /tmp && touch /tmp/x && ls /tmp && test -w /sys");
    assert_eq!((ran.out.as_str(), ran.exit), ("x\n", Exit::Code(0)), "{}", ran.err);
    world.spec.process.user = User { uid: 1000, gid: 1000, groups: vec![] };
    let ran = world.run(&["cat", "/proc/self/status"]);
    assert_eq!(status(&ran.out, "CapEff"), status(&own, "CapPrm"));
}

#[test]
fn dangerous_parts_of_proc_and_sys_are_hidden_or_read_only() {
    let mut world = World::new();
    for path in ["/proc/kcore", "/proc/keys", "/proc/timer_list"] {
        if Path::new(path).exists() {
            assert_eq!(world.sh(&format!("wc -c < {path}")).out, "0\n", "{path}");
        }
    }
    assert_eq!(world.sh("ls /sys/firmware").out, "");
    for (path, write) in [
        ("/proc/sys", "echo x > /proc/sys/kernel/hostname"),
        ("/proc/sysrq-trigger", "echo h > /proc/sysrq-trigger"),
        ("/sys/kernel/mm", "echo x > /sys/kernel/mm/transparent_hugepage/enabled"),
    ] {
        if !Path::new(path).exists() {
            continue;
        }
        let ran = world.sh(write);
        assert!(ran.err.contains("Read-only file system"), "{write}: {}", ran.err);
    }
}

#[test]
fn dev_has_the_usual_things() {
    let mut world = World::new();
    let ran = world.sh("ls -1 /dev");
    let want = "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero";
    assert_eq!(ran.out.split_whitespace().collect::<Vec<_>>().join(" "), want);
    let ran = world.sh("stat -c '%a %F %t,%T' /dev/null; echo x > /dev/null && cat /dev/null; \
        echo x | cat > /dev/full; stat -c %a /dev /dev/shm; echo y > /dev/shm/y; ls /dev/pts");
    assert_eq!(ran.out, "666 character special file 1,3\n755\n1777\nptmx\n", "{}", ran.err);
    assert!(ran.err.contains("No space left"), "{}", ran.err);
}

#[test]
fn processes_have_a_limit_of_their_own() {
    let before = fs::read_to_string("/proc/sys/kernel/pid_max").unwrap();
    let ran = World::new().run(&["cat", "/proc/sys/kernel/pid_max"]);
    let host: u32 = before.trim().parse().unwrap();
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let version: Vec<u32> = release.split(['.', '-']).take(2).map(|n| n.parse().unwrap()).collect();
    let want = if version >= vec![6, 14] { host.min(32_768) } else { host };
    assert_eq!(ran.out, format!("{want}\n"));
    assert_eq!(fs::read_to_string("/proc/sys/kernel/pid_max").unwrap(), before, "the host's stays");
}

#[test]
fn shared_memory_has_the_wanted_size() {
    let mut world = World::new();
    let size = |ran: Ran| status(&ran.out.replace(" /dev/shm ", "\nshm: "), "shm").to_owned();
    assert!(size(world.run(&["cat", "/proc/mounts"])).contains("size=65536k"));
    world.spec.shm_size = 1 << 20;
    assert!(size(world.run(&["cat", "/proc/mounts"])).contains("size=1024k"));
}

#[test]
fn devices_that_a_command_makes_do_not_open() {
    let mut world = World::new();
    world.mount("/mem", MountKind::Tmpfs { size: 0 });
    let dir = world.make_dir("cache");
    world.mount("/cache", bind(dir, "/"));
    for dir in ["/", "/dev", "/dev/shm", "/mem", "/cache", "/tmp"] {
        let ran = world.sh(&format!("mknod {dir}/x c 1 5 && cat {dir}/x"));
        assert!(ran.err.contains("Permission denied"), "{dir}: {}", ran.err);
        assert!(!ran.err.contains("mknod"), "{dir}: {}", ran.err);
        world.sh(&format!("rm {dir}/x"));
    }
}

#[test]
fn without_a_network_there_is_only_loopback() {
    let mut world = World::new();
    world.spec.network = Network::None;
    let ran = world.sh("ls /sys/class/net; ip -o link show lo");
    assert!(ran.out.starts_with("lo\n"), "{}", ran.out);
    assert!(ran.out.contains("LOOPBACK,UP"), "{}", ran.out);
    assert_eq!(ran.out.lines().count(), 2, "{}", ran.out);
}

#[test]
fn the_network_files_are_read_only_and_the_images_stay() {
    let mut world = World::new();
    world.spec.extra_hosts = vec![("10.1.2.3".into(), "db".into())];
    let ran = world.sh("cat /etc/hosts /etc/resolv.conf; echo x > /etc/hosts");
    let host = fs::read_to_string("/etc/resolv.conf").unwrap();
    let want = "127.0.0.1\tlocalhost buildkitsandbox\n\
                ::1\tlocalhost ip6-localhost ip6-loopback\n10.1.2.3\tdb\n";
    assert_eq!(ran.out, format!("{want}{host}"));
    assert!(ran.err.contains("Read-only file system"));
    let mounts = world.run(&["cat", "/proc/mounts"]).out;
    let line = mounts.lines().find(|line| line.contains(" /etc/hosts ")).unwrap();
    assert!(line.contains(" ro,nosuid,nodev,noexec"), "{line}");
    assert!(world.upper().is_empty());
}

#[test]
fn processes_and_the_host_name_are_its_own() {
    let mut world = World::new();
    world.spec.hostname = "elsewhere".to_owned();
    let ran = world.sh("hostname; echo /proc/[0-9]*; cat /proc/1/cmdline; readlink /proc/1/exe");
    assert_eq!(ran.out, "elsewhere\n/proc/1 /proc/2\nkiln\0sandbox-init\0");
    let ran = world.sh("cat /proc/1/environ; cat /proc/1/mem");
    assert_eq!(ran.out, "");
}

#[test]
fn only_the_standard_descriptors_are_open() {
    let _leak = fs::File::open("/etc/passwd").unwrap();
    let ran = World::new().sh(
        "n=0; while [ $n -lt 40 ]; do [ -e /proc/$$/fd/$n ] && printf '%s ' $n; n=$((n+1)); done; \
         echo; cat /proc/mounts",
    );
    assert_eq!(ran.out.lines().next().unwrap(), "0 1 2 ");
    // Neither the workbench nor anything of the host is mounted.
    for line in ran.out.lines().skip(1) {
        let target = line.split(' ').nth(1).unwrap();
        let known = ["/", "/proc", "/dev", "/sys", "/etc"];
        assert!(known.iter().any(|top| target == *top || target.starts_with(&format!("{top}/"))));
    }
}

#[test]
fn limits_are_set() {
    let mut world = World::new();
    let limit = |name: &str, soft, hard| Rlimit { name: name.into(), soft, hard };
    world.spec.process.rlimits = vec![limit("nofile", 123, 456), limit("core", 0, u64::MAX)];
    assert_eq!(world.sh("ulimit -Sn; ulimit -Hn; ulimit -Hc").out, "123\n456\nunlimited\n");
    world.spec.process.rlimits = vec![limit("nonsense", 1, 1)];
    let error = world.try_run(&["true"]).unwrap_err();
    assert_eq!(error.to_string(), "there is no limit `nonsense`");
}

#[test]
fn binds_show_directories_and_files() {
    let mut world = World::new();
    let dir = world.make_dir("context/sub");
    fs::write(dir.join("file"), "content").unwrap();
    world.mount("/a", bind(world.path("context"), "/"));
    world.mount_readonly("/b", bind(world.path("context"), "/sub"));
    world.mount("/c/file", bind(world.path("context"), "sub/file"));
    let ran = world.sh("cat /a/sub/file /b/file /c/file; echo x > /b/new; echo more > /a/new");
    assert_eq!(ran.out, "contentcontentcontent");
    assert!(ran.err.contains("Read-only file system"), "{}", ran.err);
    assert_eq!(fs::read_to_string(world.path("context/new")).unwrap(), "more\n");
    assert!(world.upper().is_empty(), "{:?}", world.upper());
}

#[test]
fn links_never_lead_out_of_a_mount_source_or_the_root() {
    let mut world = World::new();
    let outside = world.make_dir("outside");
    fs::write(outside.join("secret"), "leaked").unwrap();
    let context = world.make_dir("context");
    symlink(&outside, context.join("absolute")).unwrap();
    symlink("../outside", context.join("relative")).unwrap();
    symlink("/proc/self/root", context.join("magic")).unwrap();
    for path in ["absolute", "relative/secret", "../outside", "magic/etc"] {
        world.spec.mounts.clear();
        world.mount("/a", bind(context.clone(), path));
        let error = world.try_run(&["true"]).unwrap_err();
        assert!(matches!(error, Error::Source { .. }), "{path}: {error}");
        assert!(error.hint().is_some());
    }
    // A mount point behind a link is made where the link leads within the root.
    world.spec.mounts.clear();
    let base = world.base();
    symlink(&outside, base.join("way-out")).unwrap();
    symlink("../../../../tmp/./new", base.join("etc/up")).unwrap();
    world.mount("/way-out/in", MountKind::Tmpfs { size: 0 });
    world.mount("/etc/up/in", MountKind::Tmpfs { size: 0 });
    let ran = world.sh("grep in /proc/mounts || cat /proc/mounts");
    assert!(ran.out.contains(&format!(" {}/in tmpfs", outside.display())), "{}", ran.out);
    assert!(ran.out.contains(" /tmp/new/in tmpfs"), "{}", ran.out);
    assert_eq!(listing(&outside), ["secret"]);
    assert!(world.upper().is_empty(), "{:?}", world.upper());
}

#[test]
fn layers_are_stacked_and_writes_thrown_away() {
    let mut world = World::new();
    for (layer, file) in [("one", "a"), ("two", "b")] {
        let dir = world.make_dir(layer).join("d");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join(file), layer).unwrap();
    }
    let scratch = Scratch { upper: world.make_dir("su"), work: world.make_dir("sw") };
    let both = vec![world.path("two"), world.path("one")];
    let layers = |lower: &[PathBuf], scratch: Option<Scratch>, path: &str| MountKind::Layers {
        lower: lower.to_vec(),
        scratch,
        path: path.into(),
    };
    world.mount("/rw", layers(&both, Some(scratch), "/d"));
    world.mount("/ro", layers(&both, None, "/"));
    world.mount("/single", layers(&both[..1], None, "d/b"));
    world.mount("/empty", layers(&[], None, "/"));
    let ran = world.sh("cat /rw/a /rw/b /ro/d/a /single; ls /empty; echo x > /rw/c; cat /rw/c; \
        rm /rw/a; ls /ro/d; echo x > /ro/x");
    assert_eq!(ran.out, "onetwoonetwox\na\nb\n", "{}", ran.err);
    assert!(ran.err.contains("Read-only file system"), "{}", ran.err);
    assert_eq!(listing(&world.path("one")), ["d", "d/a"]);
    assert_eq!(listing(&world.path("su")), ["d", "d/a", "d/c"]);
    assert!(world.upper().is_empty(), "{:?}", world.upper());
}

#[test]
fn memory_and_secrets_are_mounted() {
    let mut world = World::new();
    world.mount("/mem", MountKind::Tmpfs { size: 1 << 20 });
    world.mount_readonly("/run/secrets/token", secret("hush", 0o440, 1000));
    world.mount_readonly("/dev/pipes/script", secret("#!/bin/sh\necho ran\n", 0o755, 0));
    let ran = world
        .sh("touch /mem/x; cat /run/secrets/token; stat -c ' %a %u' /run/secrets/token; \
         /dev/pipes/script; echo x > /run/secrets/token");
    assert_eq!(ran.out, "hush 440 1000\nran\n", "{}", ran.err);
    assert!(ran.err.contains("Read-only file system"), "{}", ran.err);
    let mounts = world.run(&["cat", "/proc/mounts"]).out;
    let line = mounts.lines().find(|line| line.contains(" /run/secrets/token ")).unwrap();
    assert!(line.contains(" ro,nosuid,nodev,noexec"), "{line}");
    assert!(world.upper().is_empty(), "{:?}", world.upper());
}

#[test]
fn agents_are_reached_with_the_wanted_rights() {
    let mut world = World::new();
    let path = world.path("agent");
    let listener = UnixListener::bind(&path).unwrap();
    let answering = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 10];
            stream.read_exact(&mut asked).unwrap();
            stream.write_all(&asked.to_ascii_uppercase()).unwrap();
        }
    });
    // busybox does not speak to sockets; the host's perl does.
    for lib in ["lib", "lib64"] {
        symlink(format!("usr/{lib}"), world.base().join(lib)).unwrap();
    }
    world.mount_readonly("/usr", bind("/".into(), "/usr"));
    let socket = |mode, uid| MountKind::Agent { path: path.clone(), mode, uid, gid: uid };
    world.mount("/run/agent", socket(0o755, 0));
    world.mount("/run/own", socket(0o600, 1000));
    // A request to sign, as far as anybody here looks.
    let script = "use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or \
                  die $!; print $s pack('NC', 6, 13), 'hello'; $s->shutdown(1); \
                  print substr(join('', <$s>), 5);";
    let same = world.run(&["/usr/bin/perl", "-e", script, "/run/agent"]);
    assert_eq!(same.out, "HELLO", "{}", same.err);
    world.spec.process.user = User { uid: 1000, gid: 1000, groups: vec![] };
    let other = world.run(&["/usr/bin/perl", "-e", script, "/run/own"]);
    assert_eq!(other.out, "HELLO", "{}", other.err);
    let refused = world.run(&["/usr/bin/perl", "-e", script, "/run/agent"]);
    assert!(refused.err.contains("Permission denied"), "{}", refused.err);
    assert_eq!(world.run(&["stat", "-c", "%a %u", "/run/own"]).out, "600 1000\n");
    answering.join().unwrap();
}

/// What a root that lacks them has after the first command.
const LASTING: [&str; 3] = ["dev", "proc", "sys"];

#[test]
fn only_what_runc_leaves_stays_in_an_empty_root() {
    let mut world = World::bare();
    let before = fs::metadata(world.path("upper")).unwrap();
    world.spec.mounts.clear();
    let context = world.make_dir("context");
    world.mount("/deep/er/target", bind(context, "/"));
    world.mount("/run/secrets/x", secret("s", 0o400, 0));
    let ran = world.run(&["true"]);
    assert_eq!(ran.exit, Exit::Code(0), "{}", ran.err);
    assert_eq!(world.upper(), LASTING);
    let after = fs::metadata(world.path("upper")).unwrap();
    assert_eq!((after.mtime(), after.mtime_nsec()), (before.mtime(), before.mtime_nsec()));
}

#[test]
fn parents_of_mount_points_keep_their_times() {
    let mut world = World::bare();
    let etc = world.base().join("etc");
    fs::DirBuilder::new().mode(0o751).create(&etc).unwrap();
    fs::write(etc.join("passwd"), "").unwrap();
    let old = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000);
    fs::File::open(&etc).unwrap().set_modified(old).unwrap();
    let ran = world.sh("stat -c '%a %Y' /etc");
    assert_eq!(ran.out, "751 1000000\n");
    assert_eq!(world.upper(), LASTING);
    // What the command itself changes stays.
    world.sh("chmod 700 /etc");
    assert_eq!(world.upper(), ["dev", "etc", "proc", "sys"]);
    let copied = fs::metadata(world.path("upper/etc")).unwrap();
    assert_eq!((copied.mode() & 0o777, copied.mtime()), (0o700, 1_000_000));
}

#[test]
fn what_a_command_writes_beside_mount_points_stays() {
    let mut world = World::bare();
    world.mount("/opt/tool/x", MountKind::Tmpfs { size: 0 });
    world.sh("echo y > /opt/tool/y; echo h > /etc/host.conf; rm -rf /proc /etc/hosts");
    assert_eq!(
        world.upper(),
        ["dev", "etc", "etc/host.conf", "opt", "opt/tool", "opt/tool/y", "proc", "sys"]
    );
}

#[test]
fn a_directory_can_be_the_root() {
    let mut world = World::bare();
    world.spec.root = Root::Directory(world.base());
    let before = listing(&world.base());
    let ran = world.sh("cat /proc/self/mounts > /dev/null && echo new > /file");
    assert_eq!(ran.exit, Exit::Code(0), "{}", ran.err);
    let after = listing(&world.base());
    assert_eq!(after.len(), before.len() + 1 + LASTING.len());
    assert!(after.contains(&"file".to_owned()));
}

#[test]
fn a_root_without_layers_is_the_upper_directory() {
    let mut world = World::bare();
    let upper = world.base();
    world.spec.root = Root::Overlay { lower: vec![], upper, work: world.path("work") };
    let before = listing(&world.base());
    assert_eq!(world.run(&["true"]).exit, Exit::Code(0));
    let expected: Vec<_> = before.into_iter().chain(LASTING.map(str::to_owned)).collect();
    assert_eq!(listing(&world.base()), expected);
}

#[test]
fn many_and_oddly_named_layers_work() {
    let mut world = World::new();
    let mut lower = Vec::new();
    for number in 0..120 {
        let name = match number % 3 {
            0 => format!("layer:{number},\\x"),
            1 => format!("{}/{number}", "long".repeat(60)),
            _ => format!("layer {number}"),
        };
        let dir = world.make_dir(&name);
        fs::write(dir.join(format!("f{number}")), "").unwrap();
        lower.push(dir);
    }
    lower.push(world.base());
    let (upper, work) = (world.path("upper"), world.path("work"));
    world.spec.root = Root::Overlay { lower, upper, work };
    assert_eq!(world.sh("ls -d /f* | wc -l").out, "120\n");
}

#[test]
fn cancellation_kills_grandchildren_at_once() {
    let mut world = World::new();
    let marker = format!("{}.5", 70_000 + std::process::id());
    world.spec.process.args =
        ["sh", "-c", &format!("(sleep {marker} & sleep {marker}); true")].map(String::from).into();
    let cancel = Cancel::new();
    let spec = world.spec.clone();
    std::thread::scope(|scope| {
        let run = scope.spawn(|| run_spec(&spec, &cancel));
        until(|| is_running(&marker));
        let asked = Instant::now();
        cancel.cancel();
        assert!(matches!(run.join().unwrap(), Err(Error::Canceled)));
        assert!(asked.elapsed() < Duration::from_millis(500), "{:?}", asked.elapsed());
    });
    assert!(!is_running(&marker));
    let canceled = run_spec(&world.spec, &cancel).unwrap_err();
    assert_eq!(canceled.to_string(), "the command was canceled");
}

#[test]
fn background_processes_do_not_outlive_the_command() {
    let mut world = World::new();
    let marker = format!("{}.25", 80_000 + std::process::id());
    let ran = world.sh(&format!("sleep {marker} & sleep {marker} > /dev/null 2>&1 & exit 3"));
    assert_eq!(ran.exit, Exit::Code(3));
    assert!(!is_running(&marker));
}

#[test]
fn orphans_are_reaped() {
    let ran = World::new().sh("(true & true & true &); sleep 0.2; ps -o stat,comm | cat");
    assert!(!ran.out.contains('Z'), "{}", ran.out);
}

#[test]
fn nothing_stays_mounted_on_the_host() {
    let mut world = World::new();
    let here = world.dir.path().to_str().unwrap().to_owned();
    let context = world.make_dir("context");
    world.mount("/a", bind(context, "/"));
    world.run(&["true"]);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&here), "{mounts}");
    // The layers are free again: the same directories can be mounted once more.
    assert_eq!(world.run(&["true"]).exit, Exit::Code(0));
}

#[test]
fn several_threads_run_at_once() {
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..8_u8)
            .map(|number| {
                scope.spawn(move || World::new().sh(&format!("echo {number}; exit {number}")))
            })
            .collect();
        for (number, run) in (0..).zip(runs) {
            let ran = run.join().unwrap();
            assert_eq!((ran.out, ran.exit), (format!("{number}\n"), Exit::Code(number)));
        }
    });
}

#[test]
fn failures_say_what_was_being_done() {
    let mut world = World::new();
    world.spec.root = Root::Directory("/no/such/root".into());
    let error = world.try_run(&["true"]).unwrap_err();
    assert_eq!(error.to_string(), "cannot open the directory `/no/such/root`");
    let mut world = World::new();
    let (upper, work) = (world.path("upper"), world.path("work"));
    world.spec.root = Root::Overlay { lower: vec!["/no/such/layer".into()], upper, work };
    let error = world.try_run(&["true"]).unwrap_err();
    assert_eq!(error.to_string(), "cannot add to an overlay the layer `/no/such/layer`");
    let mut world = World::new();
    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    let (lower, upper) = (vec![world.base()], world.path("upper"));
    let work = elsewhere.path().join("work");
    world.spec.root = Root::Overlay { lower, upper, work };
    let error = world.try_run(&["true"]).unwrap_err();
    let upper = world.path("upper").display().to_string();
    let want = "cannot mount a file system of the type `overlay` with changes in";
    assert_eq!(error.to_string(), format!("{want} `{upper}`"));
    assert!(error.hint().unwrap().contains("volume"));
    let mut world = World::new();
    world.mount("/etc/passwd/x", MountKind::Tmpfs { size: 0 });
    let error = world.try_run(&["true"]).unwrap_err();
    assert_eq!(error.to_string(), "cannot use the mount point `/etc/passwd/x`");
    let mut world = World::new();
    world.mount("/..", MountKind::Tmpfs { size: 0 });
    assert_eq!(world.try_run(&["true"]).unwrap_err().to_string(), "cannot mount at `/..`");
    let error = Namespaces::new("/no/kiln".into(), std::env::temp_dir())
        .run(&world.spec, Io::Inherit, &Cancel::new())
        .unwrap_err();
    assert_eq!(error.to_string(), "cannot start the sandbox process `/no/kiln`");
}

#[test]
fn programs_may_take_the_rights_of_their_owner() {
    let ran = World::new().run(&["cat", "/proc/mounts"]);
    let root = ran.out.lines().find(|line| line.split(' ').nth(1) == Some("/")).unwrap();
    assert!(root.contains(" rw,nodev,relatime,lowerdir"), "{root}");
}

#[test]
fn a_command_in_the_foreground_uses_the_standard_streams() {
    let mut world = World::new();
    // The test's own input is not a terminal and may be anything; only that it is passed on matters.
    let own = fs::read_link("/proc/self/fd/0").unwrap().display().to_string();
    let script = format!("[ \"$(readlink /proc/self/fd/0)\" = '{own}' ] && exit 9");
    world.spec.process.args = ["sh", "-c", &script].map(String::from).into();
    let exit = sandbox().run(&world.spec, Io::Inherit, &Cancel::new()).unwrap().0.exit;
    assert_eq!(exit, Exit::Code(9));
}

#[test]
fn a_terminal_is_shared_and_has_a_name() {
    let helper = this_test("helper_on_a_terminal");
    let mut command = helper.get_program().to_str().unwrap().to_owned();
    for arg in helper.get_args() {
        command.push_str(&format!(" {}", arg.to_str().unwrap()));
    }
    // util-linux's script runs a command on a terminal of its own.
    let ran = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8([ran.stdout, ran.stderr].concat()).unwrap();
    assert!(said.contains("/dev/console\r\nwritten\r\n") && said.contains("1 passed"), "{said}");
}

#[test]
#[ignore = "is a part of a_terminal_is_shared_and_has_a_name"]
fn helper_on_a_terminal() {
    let mut world = World::new();
    world.spec.process.args =
        ["sh", "-c", "tty && echo written > /dev/tty"].map(String::from).into();
    let exit = sandbox().run(&world.spec, Io::Inherit, &Cancel::new()).unwrap().0.exit;
    assert_eq!(exit, Exit::Code(0));
}

#[test]
fn signals_are_forwarded_to_the_command() {
    let mut world = World::new();
    let marker = format!("{}.75", 90_000 + std::process::id());
    let script = format!("trap 'exit 7' TERM; sleep {marker} & wait");
    world.spec.process.args = ["sh", "-c", &script].map(String::from).into();
    let ran = std::thread::scope(|scope| {
        let run = scope.spawn(|| run_spec(&world.spec, &Cancel::new()));
        kill("-TERM", keeper_of(&marker));
        run.join().unwrap()
    });
    assert_eq!(ran.unwrap().exit, Exit::Code(7));
}

#[test]
fn a_killed_keeper_takes_everything_with_it() {
    let mut world = World::new();
    let marker = format!("{}.875", 90_000 + std::process::id());
    world.spec.process.args = vec!["sleep".into(), marker.clone()];
    let ran = std::thread::scope(|scope| {
        let run = scope.spawn(|| run_spec(&world.spec, &Cancel::new()));
        kill("-KILL", keeper_of(&marker));
        run.join().unwrap()
    });
    assert!(matches!(ran, Err(Error::Lost { .. })), "{ran:?}");
    until(|| !is_running(&marker));
}

/// The processes that this thread has started and not waited for.
fn children() -> Vec<u32> {
    let text = fs::read_to_string("/proc/thread-self/children").unwrap();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

#[test]
fn a_keeper_that_waits_serves_the_next_command_or_is_replaced() {
    let mut world = World::new();
    world.spec.root = Root::Directory(world.base());
    let mut run = |sandbox: &Namespaces, script: &str| {
        world.spec.process.args = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        let mut out = Vec::new();
        let mut sink = |_: Stream, bytes: &[u8]| out.extend_from_slice(bytes);
        let (ended, _) = sandbox.run(&world.spec, Io::Piped(&mut sink), &Cancel::new()).unwrap();
        (ended.exit, String::from_utf8(out).unwrap())
    };
    let sandbox = sandbox();
    assert_eq!(run(&sandbox, "echo none"), (Exit::Code(0), "none\n".to_owned()));
    assert_eq!(children(), [0; 0], "nothing was expected");
    sandbox.expect(4);
    assert_eq!(run(&sandbox, "cd /tmp; umask 7; ulimit -n 9; exit 3").0, Exit::Code(3));
    let [first] = children()[..] else { panic!("one waits") };
    let said = "ulimit -n; umask; pwd; ls /proc/self/fd | wc -l";
    let (exit, second) = run(&sandbox, said);
    assert_eq!(exit, Exit::Code(0));
    let [next] = children()[..] else { panic!("one waits") };
    assert_ne!(next, first, "it has served");
    kill("-KILL", next);
    until(|| fs::read_to_string(format!("/proc/{next}/stat")).unwrap().contains(") Z "));
    assert_eq!(run(&sandbox, said).1, second, "in its place comes another");
    assert_eq!(children().len(), 1);
    assert_eq!(run(&sandbox, said).1, second);
    assert_eq!(children(), [0; 0], "no more are expected");
    sandbox.expect(2);
    run(&sandbox, "true");
    assert_eq!(children().len(), 1);
    drop(sandbox);
    assert_eq!(children(), [0; 0], "it has nothing to wait for");
}

#[test]
fn signals_to_the_own_group_reach_the_command_alone() {
    assert_eq!(World::new().sh("kill -KILL 0").exit.code(), 137);
}

fn kill(signal: &str, pid: u32) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

fn until(happened: impl Fn() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < Duration::from_secs(10), "it does not happen");
        std::thread::yield_now();
    }
}

/// The child of this process that the process that sleeps for this long descends from; waits for it.
fn keeper_of(marker: &str) -> u32 {
    until(|| sleeper(marker).is_some());
    let mut pid = sleeper(marker).unwrap();
    loop {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let parent = stat.rsplit(')').next().unwrap().split_whitespace().nth(1).unwrap();
        let parent = parent.parse().unwrap();
        if parent == std::process::id() {
            return pid;
        }
        pid = parent;
    }
}

fn is_running(marker: &str) -> bool {
    sleeper(marker).is_some()
}

/// A process on this machine that sleeps for this long.
fn sleeper(marker: &str) -> Option<u32> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let mut pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.find(|pid| {
        fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| line == format!("sleep\0{marker}\0").as_bytes())
    })
}

#[test]
fn nothing_outlives_a_killed_kiln() {
    let marker = format!("{}.125", 60_000 + std::process::id());
    let mut kiln = this_test("helper_that_sleeps");
    let mut kiln = kiln.env("KILN_TEST_MARKER", &marker).spawn().unwrap();
    until(|| is_running(&marker));
    kiln.kill().unwrap();
    kiln.wait().unwrap();
    until(|| !is_running(&marker));
}

#[test]
#[ignore = "is a part of nothing_outlives_a_killed_kiln"]
fn helper_that_sleeps() {
    World::new().run(&["sleep", &std::env::var("KILN_TEST_MARKER").unwrap()]);
}

/// This program, told to run one of its ignored tests.
fn this_test(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--ignored", "--nocapture"]);
    command
}

#[test]
fn root_of_a_user_namespace_can_run_commands() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let helper = this_test("helper_in_a_user_namespace");
    let ran = Command::new("setpriv")
        .args(["--reuid=1000", "--regid=1000", "--clear-groups", "unshare", "--map-root-user"])
        .arg(helper.get_program())
        .args(helper.get_args())
        .env(DIR_VARIABLE, dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8([ran.stdout, ran.stderr].concat()).unwrap();
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
#[ignore = "is a part of root_of_a_user_namespace_can_run_commands"]
fn helper_in_a_user_namespace() {
    let mut world = World::bare();
    let extra = world.make_dir("extra");
    fs::write(extra.join("low"), "").unwrap();
    fs::create_dir(extra.join("open")).unwrap();
    fs::set_permissions(extra.join("open"), fs::Permissions::from_mode(0o777)).unwrap();
    let Root::Overlay { lower, .. } = &mut world.spec.root else { unreachable!() };
    lower.insert(0, extra);
    let context = world.make_dir("context");
    world.mount_readonly("/run/secrets/x", secret("hush", 0o400, 0));
    world.mount("/context", bind(context, "/"));
    for network in [Network::Host, Network::None] {
        world.spec.network = network;
        let ran = world.sh(
            "id -u && echo x > /dev/null && cat /run/secrets/x && rm /low && touch /context/y && \
             cat /sys/kernel/uevent_seqnum > /dev/null && touch /dev/shm/x && echo > /bin/new; \
             touch /low",
        );
        assert_eq!((ran.out.as_str(), ran.exit), ("0\nhush", Exit::Code(0)), "{}", ran.err);
        assert_eq!(world.upper(), ["bin", "bin/new", "dev", "low", "proc", "sys"]);
    }
    // There is only one user, and whoever asks is told of another.
    world.spec.process.user.uid = 33;
    let ran = world.sh("id -u; touch /open/theirs; stat -c %u:%g /open/theirs /low; touch /not");
    assert_eq!((ran.out.as_str(), ran.exit), ("33\n33:0\n0:0\n", Exit::Code(1)), "{}", ran.err);
    assert_eq!(ran.err, "touch: /not: Permission denied\n");
    // Whoever kills the process that tells it is told nothing any more, rather than something wrong.
    let ran = world.sh("kill -9 -1; echo > /made || echo refused");
    assert_eq!((ran.out.as_str(), ran.exit), ("refused\n", Exit::Code(0)), "{}", ran.err);
}

#[test]
fn a_recording_runs_nothing() {
    let recording = Recording::new(|spec, output| {
        output(Stream::Stdout, spec.process.args[0].as_bytes());
        Ok(Exit::Code(5))
    });
    let mut world = World::new();
    world.spec.process.args = vec!["anything".into()];
    let mut out = Vec::new();
    let mut sink = |_: Stream, bytes: &[u8]| out.extend_from_slice(bytes);
    let exit = recording.run(&world.spec, Io::Piped(&mut sink), &Cancel::new()).unwrap().0.exit;
    assert_eq!((exit, out.as_slice()), (Exit::Code(5), b"anything".as_slice()));
    assert_eq!(recording.specs(), [world.spec]);
}
