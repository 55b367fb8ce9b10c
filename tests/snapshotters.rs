//! What commands do gives the same image on an overlay and on a copy of everything.
#![expect(clippy::unwrap_used, reason = "a failure in a test's own preparations is a failed test")]

mod support;

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;

use support::tars::{Entry, Layout};
use support::users::User;
use support::{BASE, Ended, Kiln};

/// Builds in this way, and returns what happened, every layer's entries, and the manifest.
fn build(kiln: &Kiln, how: &str, dockerfile: &str) -> (Ended, Vec<Vec<Entry>>, serde_json::Value) {
    let out = kiln.path(&format!("{how}.tar"));
    let output =
        format!("type=oci,compression=uncompressed,rewrite-timestamp=true,dest={}", out.display());
    let state = kiln.path(&format!("state-{how}"));
    kiln.file("Dockerfile", dockerfile);
    let mut command = kiln.command(&["build", "--progress", "plain", "--snapshotter", how]);
    command.arg("--root").arg(state);
    command.args(["--build-arg", "SOURCE_DATE_EPOCH=1000000000", "--output", &output, "."]);
    let ended = support::ended(command.output().unwrap());
    assert_eq!(ended.code, Some(0), "{how}: {}", ended.stderr);
    let layout = Layout::read(&out);
    (ended, layout.layers(), layout.manifest())
}

/// Builds in both ways; one image has to come out. Returns the lines of its last layer.
fn same(kiln: &Kiln, rest: &str) -> Vec<String> {
    let dockerfile = format!("{BASE}{rest}");
    let lines = |layers: &[Vec<Entry>]| -> Vec<Vec<String>> {
        layers.iter().map(|layer| layer.iter().map(Entry::line).collect()).collect()
    };
    let (_, overlay, one) = build(kiln, "overlay", &dockerfile);
    let (_, copy, other) = build(kiln, "copy", &dockerfile);
    assert_eq!(lines(&copy), lines(&overlay), "{rest}");
    assert!(copy == overlay, "{rest}: contents or times differ");
    assert_eq!(other, one, "{rest}");
    lines(&overlay).pop().unwrap()
}

/// What the commands find.
const TREE: &str = "RUN mkdir -p /t/dir/sub /t/kept /t/gone/below && cd /t && echo a > dir/a && echo b > dir/b \
    && echo c > dir/sub/c && echo d > kept/d && echo e > gone/below/e && echo f > file && ln -s file link \
    && mkfifo pipe && echo linked > one && ln one two && ln one kept/three && chown 3:4 file && chmod 4755 file \
    && touch -d @500000000 file dir/a kept/d one && touch -d @400000000 dir kept\n";

#[test]
fn removed_made_again_and_renamed() {
    let kiln = Kiln::new();
    let last = same(
        &kiln,
        &format!(
            "{TREE}RUN cd /t && rm -r dir gone && mkdir dir && echo b > dir/b && echo new > dir/new \
             && mv file moved && rm pipe && mkdir pipe && touch pipe/x && rm link && ln -s other link\n"
        ),
    );
    for name in ["t/dir/.wh.a", "t/dir/.wh.sub", "t/.wh.gone", "t/.wh.file", "t/moved", "t/pipe/x"]
    {
        assert!(last.iter().any(|line| line.contains(name)), "{name} in {last:#?}");
    }
    // A directory in the place of a file and the other way round, and what only lived for a moment.
    same(
        &kiln,
        &format!(
            "{TREE}RUN cd /t && rm file && mkdir file && touch file/x && rm -r dir && echo f > dir && echo tmp > tmp && rm tmp \
             && mkdir -p kept/x/y && rm -r kept/x\n"
        ),
    );
    same(
        &kiln,
        &format!("{TREE}RUN mv /t/dir /t/moved && mv /t/kept/d /t/gone/below/e && rm -rf /t/one\n"),
    );
    same(&kiln, &format!("{TREE}RUN mv /t/dir /t/x && mv /t/gone /t/dir && mv /t/x /t/gone\n"));
}

#[test]
fn touched_but_equal_and_metadata_only() {
    let kiln = Kiln::new();
    let nothing = [
        // Copied up, and nothing else.
        "chmod 4755 file && chown 3:4 file && chmod 4755 file && touch -d @500000000 file dir/a",
        // Written anew with the same content and time.
        "cp -p kept/d x && mv x kept/d && touch -d @400000000 kept",
        // Only looked at, and directories that have another time.
        "cat file dir/a > /dev/null; touch dir kept; ls -lR . > /dev/null",
        "true",
    ];
    for script in nothing {
        let last = same(&kiln, &format!("{TREE}RUN cd /t && {script}\n"));
        assert_eq!(last, [""; 0], "{script}");
    }
    let something = [
        ("chmod 600 file", "t/file"),
        ("touch -d @600000000 file", "t/file"),
        ("chown 5 kept/d && chmod 700 kept", "t/kept/d"),
        (
            "echo -n x | dd of=dir/a conv=notrunc 2> /dev/null && touch -d @500000000 dir/a",
            "t/dir/a",
        ),
        ("chown -h 7:8 link", "t/link"),
        ("touch -h -d @700000000 link", "t/link"),
        ("chmod 1777 gone", "t/gone/"),
    ];
    for (script, name) in something {
        let last = same(&kiln, &format!("{TREE}RUN cd /t && {script}\n"));
        assert!(last.iter().any(|line| line.contains(name)), "{script}: {last:#?}");
    }
}

#[test]
fn where_the_sandbox_mounts_nothing_is_left() {
    let kiln = Kiln::new();
    kiln.file("own", "own\n");
    let full = "COPY own /etc/hosts\nCOPY own /etc/resolv.conf\n";
    // Without a directory, with one that lacks a file, with both files, with a directory of somebody's.
    let bases = ["", "COPY own /etc/hosts\n", full, "COPY --chown=3:4 --chmod=711 own /etc/own\n"];
    let scripts: [(&str, &[&str]); 2] = [
        (
            "ls -l /etc && touch /etc/x && rm /etc/x && touch /etc && ! rm /etc/hosts \
             && ! mv /etc/resolv.conf /etc/x && ! echo x > /etc/hosts",
            &[],
        ),
        (
            "echo x > /etc/x && mkdir -p /etc/d/e && rmdir /etc/d/e && ln -s x /etc/y && chmod 700 /etc",
            &["etc/", "etc/d/", "etc/x", "etc/y"],
        ),
    ];
    for base in bases {
        for (script, expected) in scripts {
            let last = same(&kiln, &format!("{base}RUN {script}\n"));
            let names: Vec<_> = last.iter().filter_map(|line| line.split(' ').nth(3)).collect();
            assert_eq!(names, expected, "{base}{script}");
        }
    }
    // A directory that is not the image's has whatever mode it has for a while only.
    assert_eq!(same(&kiln, "RUN chmod 700 /etc\n"), [""; 0]);
    assert_eq!(same(&kiln, &format!("{full}RUN chmod 700 /etc\n")), ["d 700 0:0 etc/"]);
    // Nothing below the layers shows through a link.
    std::fs::create_dir_all(kiln.context().join("linked/real")).unwrap();
    std::os::unix::fs::symlink("real", kiln.context().join("linked/etc")).unwrap();
    let rest =
        "COPY linked /\nRUN ! rm /real/hosts && ! echo x > /etc/resolv.conf && touch /real/x\n";
    assert_eq!(same(&kiln, rest), ["d 755 0:0 real/", "- 644 0:0 real/x"]);
}

#[test]
fn names_of_one_file() {
    let kiln = Kiln::new();
    let scripts = [
        "ln file other && ln dir/a dir/again",
        // A layer's link parts from its other names with the first write to it.
        "echo more >> one",
        "chmod 640 two",
        "chown -R 9:9 .",
        "ln two four && echo more >> four",
        "rm one && echo new > one",
        "ln -f one two",
        "mv one kept/one && rm two",
        "for i in 1 2 3; do echo $i > n$i; done; ln n1 kept/n1; ln n1 dir/n1; rm n1; ln -s n2 l; ln l l2",
    ];
    for script in scripts {
        same(&kiln, &format!("{TREE}RUN cd /t && {script}\n"));
    }
    let last = same(&kiln, &format!("{TREE}RUN cd /t && ln two four && echo more >> four\n"));
    assert!(last.iter().any(|line| line.ends_with("t/two = t/four")), "{last:#?}");
    assert!(!last.iter().any(|line| line.contains("t/one")), "{last:#?}");
}

#[test]
fn devices_holes_attributes_and_what_lies_in_many_layers() {
    let kiln = Kiln::new();
    kiln.add_perl();
    let attribute = "RUN [\"/usr/bin/perl\", \"-e\", \"my ($f, $n, $v) = ('/t/file', 'user.mine', 'v'); \
        syscall(`uname -m` =~ /x86_64/ ? 188 : 5, $f, $n, $v, 1, 0) == 0 or die $!; \
        my $c = pack('V5', 0x02000001, 1 << 10, 0, 0, 0); my ($g, $m) = ('/t/dir/b', 'security.capability'); \
        syscall(`uname -m` =~ /x86_64/ ? 188 : 5, $g, $m, $c, 20, 0) == 0 or die $!;\"]\n";
    let last = same(
        &kiln,
        &format!(
            "{TREE}COPY perl /\n{attribute}RUN cd /t && mknod null c 1 3 && mknod disk b 7 1 && rm -f dir/a \
             && dd if=/dev/zero of=hole bs=1 count=1 seek=3000000 2> /dev/null && echo x >> hole\n\
             RUN cd /t && cp hole filled && chmod 600 dir/b null && rm disk && echo back > dir/a\n\
             COPY busybox /t/dir/sub/c\nRUN rm /t/dir/sub/c && echo again > /t/dir/sub/c && touch /t/dir/b\n"
        ),
    );
    let kept = last.iter().find(|line| line.contains("t/dir/b")).unwrap();
    assert!(kept.ends_with("t/dir/b +security.capability"), "{last:#?}");
}

#[test]
fn mounts_of_stages_contexts_and_caches() {
    let kiln = Kiln::new();
    kiln.file("ctx/in", "from the context");
    let (from, rest) = BASE.split_once('\n').unwrap();
    let dockerfile = format!(
        "{from} AS s\n{rest}RUN mkdir /s && echo one > /s/one && ln /s/one /s/two\nRUN rm /s/two && echo three > /s/three\n\
         {BASE}RUN --mount=from=s,source=/s,target=/s --mount=target=/ctx,source=ctx \
           --mount=type=cache,target=/cache --mount=type=tmpfs,target=/tmpfs \
           ls /s > /listed && cat /ctx/in /s/three >> /listed && ! touch /s/no && echo kept > /cache/kept && touch /tmpfs/x\n\
         RUN --mount=from=s,source=/s,target=/s,rw --mount=target=/ctx,rw --mount=type=cache,target=/cache,readonly \
           echo lost > /s/lost && rm /s/one /ctx/ctx/in && ls /s /ctx/ctx > /after && cat /cache/kept >> /after\n\
         RUN --mount=from=s,source=/s/three,target=/one/file cat /one/file > /single\n"
    );
    let all = |how| {
        let (_, layers, manifest) = build(&kiln, how, &dockerfile);
        let entries: Vec<Entry> = layers.into_iter().flatten().collect();
        let content = |name: &[u8]| {
            let entry = entries.iter().find(|entry| entry.path == name).unwrap();
            String::from_utf8(entry.content.clone()).unwrap()
        };
        ([&b"listed"[..], b"after", b"single"].map(content), manifest)
    };
    let (texts, manifest) = all("overlay");
    assert_eq!(texts[0], "one\nthree\nfrom the contextthree\n");
    assert_eq!(texts[1], "/ctx/ctx:\n\n/s:\nlost\nthree\nkept\n");
    assert_eq!(texts[2], "three\n");
    assert_eq!(all("copy"), (texts, manifest));
}

#[test]
fn a_build_goes_on_with_copies_where_overlays_are_refused() {
    let kiln = Kiln::new();
    let dockerfile = format!("{BASE}RUN echo one > /one\nRUN rm /one && test -x /bin/busybox\n");
    let (ended, layers, _) = build(&kiln, "auto", &dockerfile);
    assert!(!ended.stderr.contains("copies of their file systems"), "{}", ended.stderr);
    let expected: Vec<Vec<String>> =
        layers.iter().map(|layer| layer.iter().map(Entry::line).collect()).collect();
    // An overlay is no place for the changes of another.
    let on_overlay = |how: &str| {
        for name in ["low", "up", "work", "on"] {
            std::fs::create_dir_all(kiln.path(name)).unwrap();
        }
        let script =
            "mount -t overlay overlay -o lowerdir=low,upperdir=up,workdir=work on && exec \"$@\"";
        let mut command = std::process::Command::new("unshare");
        command.args(["--mount", "sh", "-c", script, "sh", env!("CARGO_BIN_EXE_kiln")]);
        let output = "type=oci,compression=uncompressed,dest=auto.tar";
        command.args(["--root", "on/state", "build", "--progress", "plain", "--snapshotter", how]);
        command.args(["--no-cache", "--output", output, "context"]).current_dir(kiln.path(""));
        support::ended(command.output().unwrap())
    };
    kiln.file("Dockerfile", &dockerfile);
    let ended = on_overlay("auto");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let notices = ended.stderr.matches("commands work on copies of their file systems").count();
    assert_eq!(notices, 1, "{}", ended.stderr);
    let layers = Layout::read(&kiln.path("auto.tar")).layers();
    let lines: Vec<Vec<String>> =
        layers.iter().map(|layer| layer.iter().map(Entry::line).collect()).collect();
    assert_eq!(lines, expected);
    let ended = on_overlay("overlay");
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert!(ended.error().contains("--snapshotter=copy"), "{}", ended.error());
}

#[test]
fn users_without_root_copy_to_the_same_image() {
    let root = Kiln::new();
    // What every user may do: all files belong to root there.
    let dockerfile = format!(
        "{BASE}{}RUN cd /t && rm -r dir && echo more >> one && mv kept moved && ln two four && chmod 4700 file\n",
        TREE.replace(" && chown 3:4 file", "")
    );
    let (_, expected, manifest) = build(&root, "overlay", &dockerfile);
    for user in [User::new("copy-range").with_range(), User::new("copy-single")] {
        let home = tempfile::tempdir().unwrap();
        let program = home.path().join("kiln");
        std::fs::copy(env!("CARGO_BIN_EXE_kiln"), &program).unwrap();
        let context = home.path().join("context");
        std::fs::create_dir(&context).unwrap();
        std::fs::copy("/bin/busybox", context.join("busybox")).unwrap();
        std::fs::write(context.join("Dockerfile"), &dockerfile).unwrap();
        for path in [home.path(), &context] {
            chown(path, Some(user.uid), Some(user.gid)).unwrap();
        }
        let out = home.path().join("copy.tar");
        let output = format!(
            "type=oci,compression=uncompressed,rewrite-timestamp=true,dest={}",
            out.display()
        );
        let mut command = std::process::Command::new(program);
        command.args(["--root", "state", "build", "--progress", "plain", "--snapshotter=vfs"]);
        command.args([
            "--build-arg",
            "SOURCE_DATE_EPOCH=1000000000",
            "--output",
            &output,
            "context",
        ]);
        command.current_dir(home.path()).env("HOME", home.path()).env_remove("KILN_ROOT");
        let ended = support::ended(command.uid(user.uid).gid(user.gid).output().unwrap());
        assert_eq!(ended.code, Some(0), "{}: {}", user.name, ended.stderr);
        let layout = Layout::read(&out);
        assert!(layout.layers() == expected, "{}", user.name);
        assert_eq!(layout.manifest(), manifest, "{}", user.name);
    }
}
