//! Whole builds by the binary, as root with real namespaces: stages, commands, mounts, copies, the cache.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own preparations is a failed test")]

mod support;

use std::os::unix::fs::{MetadataExt, symlink};

use support::{BASE, Kiln};

fn read(path: &std::path::Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn stages_arguments_and_heredocs() {
    let kiln = Kiln::new();
    let out = kiln.rootfs(
        "ARG WHO=world\nENV GREETING=hello\nWORKDIR /w\nRUN echo \"$GREETING $WHO\" > out\n\
         RUN <<EOF\necho one > a\necho two > b\nEOF\n\
         RUN <<EOF\n#!/bin/sh\necho \"script $0\" > c\nEOF\n\
         FROM scratch AS unused\nRUN [\"/never\"]\n\
         FROM scratch\nCOPY --from=0 /w /\nCOPY <<EOF /d\ninline\nEOF\n",
        &["--build-arg", "WHO=kiln"],
    );
    let files = ["out", "a", "b", "c", "d"].map(|name| read(&out.join(name)));
    assert_eq!(files, ["hello kiln\n", "one\n", "two\n", "script /dev/pipes/EOF\n", "inline\n"]);
}

#[test]
fn mounts_of_every_kind() {
    let kiln = Kiln::new();
    kiln.file("bound/file", "bound");
    kiln.file("key", "secret");
    let out = kiln.rootfs(
        "RUN --mount=type=bind,source=bound,target=/b cat /b/file > /1; ! touch /b/x 2>/dev/null\n\
         RUN --mount=type=bind,source=bound,target=/b,rw touch /b/x && ls /b > /2\n\
         RUN --mount=type=cache,target=/c echo kept > /c/f\n\
         RUN --mount=type=cache,target=/c cat /c/f > /3\n\
         RUN --mount=type=tmpfs,target=/t,size=1m mount | grep -o 'size=1024k' > /4\n\
         RUN --mount=type=secret,id=key,uid=7 stat -c '%a %u' /run/secrets/key > /5 && cat /run/secrets/key >> /5\n\
         RUN --mount=type=secret,id=key,env=KEY echo \"$KEY\" > /6\n\
         RUN --network=none ip link | grep -c '^[0-9]' > /7\n",
        &["--secret", "id=key,src=key"],
    );
    let files = ["1", "2", "3", "4", "5", "6", "7"].map(|name| read(&out.join(name)));
    assert_eq!(
        files,
        ["bound", "file\nx\n", "kept\n", "size=1024k\n", "400 7\nsecret", "secret\n", "1\n"]
    );
    let left: Vec<_> =
        ["b", "c", "t", "run"].iter().filter(|name| out.join(name).exists()).collect();
    assert_eq!(left, Vec::<&&str>::new(), "mount points are not in the image");
}

#[test]
fn copies_follow_the_rules() {
    let kiln = Kiln::new();
    for name in ["src/a.txt", "src/b.md", "src/sub/c.txt", "deep/x/y/z.txt"] {
        kiln.file(name, name);
    }
    symlink("a.txt", kiln.context().join("src/link")).unwrap();
    let out = kiln.rootfs(
        "COPY src /dir\nCOPY src/*.txt /wild/\nCOPY --chown=5:6 --chmod=640 src/a.txt /owned\n\
         COPY --exclude=*.md src /without/\nCOPY --parents deep/./x/**/*.txt /parents/\n\
         COPY --link src/a.txt /linked/\nCOPY src/link /followed\n",
        &[],
    );
    assert_eq!(std::fs::read_link(out.join("dir/link")).unwrap().to_str(), Some("a.txt"));
    for name in
        ["dir/sub/c.txt", "wild/a.txt", "without/a.txt", "parents/x/y/z.txt", "linked/a.txt"]
    {
        assert!(out.join(name).is_file(), "{name}");
    }
    assert!(!out.join("without/b.md").exists() && !out.join("wild/b.md").exists());
    assert_eq!(read(&out.join("followed")), "src/a.txt");
    assert_eq!(out.join("owned").metadata().unwrap().mode() & 0o7777, 0o640);
}

#[test]
fn archives_are_unpacked_whatever_their_compression() {
    let kiln = Kiln::new();
    kiln.file("in/file", "content");
    for (flag, name) in
        [("", "tar"), ("--gzip", "gz"), ("--bzip2", "bz2"), ("--xz", "xz"), ("--zstd", "zst")]
    {
        let mut tar = std::process::Command::new("tar");
        tar.arg("-c")
            .args(Some(flag).filter(|flag| !flag.is_empty()))
            .arg("-f")
            .arg(format!("a.{name}"));
        assert!(tar.arg("in").current_dir(kiln.context()).status().unwrap().success());
    }
    let adds: String =
        ["tar", "gz", "bz2", "xz", "zst"].iter().map(|n| format!("ADD a.{n} /{n}/\n")).collect();
    let out = kiln.rootfs(&adds, &[]);
    for name in ["tar", "gz", "bz2", "xz", "zst"] {
        assert_eq!(read(&out.join(name).join("in/file")), "content");
    }
}

#[test]
fn an_ignore_file_hides_and_takes_back() {
    let kiln = Kiln::new();
    for name in ["keep/a", "drop/b", "drop/back", "x.log"] {
        kiln.file(name, name);
    }
    kiln.file(".dockerignore", "drop\n!drop/back\n*.log\n");
    let out = kiln.rootfs("COPY . /ctx\n", &[]);
    let ctx = out.join("ctx");
    assert!(ctx.join("keep/a").exists() && ctx.join("drop/back").exists());
    assert!(!ctx.join("drop/b").exists() && !ctx.join("x.log").exists());
}

#[test]
fn only_what_changed_runs_again() {
    let kiln = Kiln::new();
    kiln.file("a", "1");
    kiln.file("b", "1");
    let text =
        format!("{BASE}COPY a /a\nRUN wc -c /a > /count\nCOPY b /b\nRUN cat /count /b > /both\n");
    assert_eq!(kiln.build(&text, &[]).cached(), 0);
    let again = kiln.build(&text, &[]);
    assert_eq!((again.cached(), again.code), (6, Some(0)), "{}", again.stderr);
    kiln.file("b", "2");
    assert_eq!(kiln.build(&text, &[]).cached(), 4);
    let labelled = kiln.build(&format!("{text}LABEL a=b\nENV C=d\n"), &[]);
    assert_eq!(labelled.cached(), 6);
    let unused = kiln.build(&text.replacen("COPY a", "LABEL x=y\nCOPY a", 1), &[]);
    assert_eq!(unused.cached(), 6, "metadata invalidates nothing");
    assert_eq!(kiln.build(&text, &["--no-cache"]).cached(), 0);
}

#[test]
fn a_step_that_makes_the_same_does_not_make_others_run() {
    let kiln = Kiln::new();
    kiln.file("a", "1");
    let text = format!(
        "{BASE}COPY a /tmp-a\nRUN rm /tmp-a && echo same > /same\nRUN cat /same > /after\n"
    );
    assert_eq!(kiln.build(&text, &[]).code, Some(0));
    kiln.file("a", "2");
    let next = kiln.build(&text, &[]);
    assert_eq!((next.cached(), next.code), (3, Some(0)), "{}", next.stderr);
}

#[test]
fn squashed_layers_make_the_same_files() {
    let kiln = Kiln::new();
    let rest = "RUN mkdir /d && echo x > /d/x && ln /d/x /d/y\nRUN rm /d/x && echo z > /z\n";
    let tar = |flags: &[&str]| {
        let dest = kiln.path("out.tar");
        let output = format!("type=tar,dest={}", dest.display());
        let args = [&["--output", output.as_str()][..], flags].concat();
        let ended = kiln.build(&format!("{BASE}{rest}"), &args);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        std::fs::read(dest).unwrap()
    };
    let plain = tar(&[]);
    assert_eq!(tar(&["--squash"]), plain);
    assert_eq!(tar(&["--squash-all"]), plain);
}

#[test]
fn other_tools_read_what_kiln_writes() {
    let kiln = Kiln::new();
    for compression in ["gzip", "zstd", "uncompressed"] {
        let layout = kiln.path(compression);
        let output =
            format!("type=oci,tar=false,dest={},compression={compression}", layout.display());
        let ended =
            kiln.build(&format!("{BASE}CMD [\"true\"]\n"), &["-t", "x:1", "--output", &output]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let image = format!("oci:{}:1", layout.display());
        let inspected =
            std::process::Command::new("skopeo").args(["inspect", "--raw", &image]).output();
        let inspected = inspected.expect("apt-get install skopeo");
        let text = String::from_utf8_lossy(&inspected.stdout).into_owned();
        assert!(inspected.status.success(), "{}", String::from_utf8_lossy(&inspected.stderr));
        assert!(text.contains(ended.stdout.trim()), "the image id is the config's digest: {text}");
    }
    let unpacked = kiln.path("bundle");
    let image = format!("{}:1", kiln.path("gzip").display());
    let umoci = std::process::Command::new("umoci")
        .args(["unpack", "--image", &image])
        .arg(&unpacked)
        .output();
    let umoci = umoci.expect("apt-get install umoci");
    assert!(umoci.status.success(), "{}", String::from_utf8_lossy(&umoci.stderr));
    assert!(unpacked.join("rootfs/bin/sh").is_symlink());
}

#[test]
fn a_step_that_is_done_again_names_what_changed() {
    let kiln = Kiln::new();
    for name in ["src/a", "src/b", "src/c", "mounted"] {
        kiln.file(name, "1");
    }
    let text = format!(
        "{BASE}ARG FLAVOUR=plain\nCOPY src /src\nRUN wc -c /src/* > /sizes\n\
         RUN --mount=type=bind,source=mounted,target=/m cat /m > /copy; echo $FLAVOUR > /flavour\n"
    );
    let why = |text: &str, args: &[&str]| {
        let ended = kiln.build(text, args);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let lines = ended.stderr.lines().filter_map(|line| line.split_once(" not cached: "));
        lines.map(|(_, why)| why.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(why(&text, &[]), Vec::<String>::new(), "a first build needs no reason");
    assert_eq!(why(&text, &[]), Vec::<String>::new());
    kiln.file("src/b", "22");
    let copied = "`[3/5] COPY src /src` before it changed";
    assert_eq!(why(&text, &[]), ["`/src/b` changed", copied, copied]);
    std::fs::remove_file(kiln.context().join("src/c")).unwrap();
    kiln.file("src/d", "4");
    assert_eq!(why(&text, &[])[0], "`/src/c` and `/src/d` changed");
    kiln.file("mounted", "2");
    assert_eq!(why(&text, &[]), ["what is mounted at `/m` changed"]);
    let sweet = ["--build-arg", "FLAVOUR=sweet"];
    assert_eq!(why(&text, &sweet)[0], "the variable `FLAVOUR` changed");
    let edited = text.replace("wc -c", "wc -l");
    assert_eq!(why(&edited, &sweet)[0], "the command changed");
    let moved = edited.replace("COPY src /src", "COPY src /src/");
    assert_eq!(why(&moved, &sweet)[0], "the instruction changed");
    assert_eq!(why(&edited, &["--no-cache"]), Vec::<String>::new());
    let dated = ["--build-arg", "SOURCE_DATE_EPOCH=5"];
    assert_eq!(why(&edited, &dated)[0], "SOURCE_DATE_EPOCH changed");
}

#[test]
fn images_are_found_by_id_and_name() {
    let kiln = Kiln::new();
    let unnamed = kiln.build(&format!("{BASE}CMD [\"echo\", \"unnamed\"]\n"), &[]);
    let id = unnamed.stdout.trim().strip_prefix("sha256:").unwrap();
    let archive = format!("type=oci,dest={}", kiln.path("a.tar").display());
    let text = format!("{BASE}CMD [\"echo\", \"named\"]\n");
    assert_eq!(kiln.build(&text, &["-t", "app", "-o", &archive]).code, Some(0));
    assert!(kiln.path("a.tar").exists());
    for (name, said) in [
        (unnamed.stdout.trim(), "unnamed\n"),
        (id, "unnamed\n"),
        (&id[..12], "unnamed\n"),
        ("app", "named\n"),
    ] {
        assert_eq!(kiln.run(&["run", name]).stdout, said, "{name}");
    }
    let named = kiln.run(&["images", "-q", "app"]).stdout;
    assert_eq!(kiln.run(&["inspect", named.trim()]).code, Some(0));
    assert_eq!(kiln.run(&["images", "-q"]).stdout.lines().count(), 2);
    let ended = kiln.run(&["inspect", "abcdef"]);
    assert_eq!(
        ended.stderr,
        "error: there is no image `abcdef` in the local store\n  hint: `kiln images` lists those that are there\n"
    );
}

#[test]
fn an_image_for_another_platform_is_in_the_store_too() {
    let kiln = Kiln::new();
    // Nobody listens there: what is asked of a registry fails.
    let name = "127.0.0.1:1/foreign:1";
    let text = "FROM scratch\nCOPY busybox /a\n";
    let built = kiln.build(text, &["--platform", "linux/s390x", "--tag", name]);
    assert_eq!(built.code, Some(0), "{}", built.stderr);
    assert_eq!(kiln.run(&["images", "-q", "--no-trunc"]).stdout, built.stdout);
    let inspected = kiln.run(&["inspect", name]);
    assert!(inspected.stdout.contains("\"Architecture\": \"s390x\""), "{}", inspected.stderr);
    assert_eq!(kiln.run(&["history", name]).code, Some(0));
}
