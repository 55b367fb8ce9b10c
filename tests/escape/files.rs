//! Links, races and `..` in everything that names a path: nothing of the host outside of what was named is read into an
//! image, and nothing there is made or changed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::support::BASE;
use crate::world::{Level, World};

/// Whether these bytes are in any file below a directory.
pub(crate) fn contains(directory: &Path, bytes: &str) -> Vec<String> {
    let files = walkdir::WalkDir::new(directory).into_iter().filter_map(Result::ok);
    let files = files.filter(|entry| entry.file_type().is_file());
    let found = files.filter(|entry| {
        let content = fs::read(entry.path()).unwrap_or_default();
        content.windows(bytes.len()).any(|window| window == bytes.as_bytes())
    });
    found.map(|entry| entry.path().display().to_string()).collect()
}

/// Every entry of a directory, with what it says.
fn look(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let entries =
        walkdir::WalkDir::new(directory).sort_by_file_name().into_iter().map(Result::unwrap);
    entries
        .map(|entry| {
            (entry.path().display().to_string(), fs::read(entry.path()).unwrap_or_default())
        })
        .collect()
}

/// Instructions that name the host's directory HOST, or `UP` a way to it by `..`, each in its own way.
const LINES: &[&str] = &[
    "COPY UPHOST/marker /got",
    "COPY HOST/marker /got",
    "COPY a/../../UPHOST/marker /got",
    "COPY [\"./UPHOST/marker\", \"/got\"]",
    "ADD UPHOST/marker /got",
    "ADD HOST/marker /got",
    "COPY outward/marker /got",
    "COPY outward/ /got/",
    "COPY relative/marker /got",
    "COPY marker-link /got",
    "COPY --parents outward/./marker /got/",
    "COPY --exclude=none outward /got/",
    "COPY *-link /got/",
    "ADD outward.tar /got/",
    "COPY busybox UPHOST/planted",
    "COPY busybox HOSTLINK/planted",
    "COPY --from=links /l/marker /got",
    "COPY --from=links /deep/marker /got",
    "COPY --from=links /../../UPHOST/marker /got",
    "COPY --from=other /marker /got",
    "COPY --from=other outward/marker /got",
    "WORKDIR UPHOST/made",
    "WORKDIR /l/made",
    "WORKDIR /deep/made",
    "VOLUME UPHOST",
    "RUN cat /l/marker > /got; mkdir -p /l && echo x > /l/planted",
    "RUN cat UPHOST/marker > /got",
    "RUN --mount=type=bind,source=UPHOST,target=/m cat /m/marker > /got",
    "RUN --mount=type=bind,source=HOST,target=/m cat /m/marker > /got",
    "RUN --mount=type=bind,source=outward,target=/m cat /m/marker > /got",
    "RUN --mount=type=bind,source=marker-link,target=/m cat /m > /got",
    "RUN --mount=type=bind,from=links,source=/l,target=/m cat /m/marker > /got",
    "RUN --mount=type=bind,from=links,source=/deep/marker,target=/m cat /m > /got",
    "RUN --mount=type=bind,target=UPHOST/planted true",
    "RUN --mount=type=bind,target=/l/planted true",
    "RUN --mount=type=bind,target=/deep/planted true",
    "RUN --mount=type=tmpfs,target=/l/planted true",
    "RUN --mount=type=cache,target=/l/planted touch /l/planted/x",
    "RUN --mount=type=cache,id=UPHOST,target=/c touch /c/planted",
    "RUN --mount=type=cache,id=HOST,target=/c touch /c/planted; cat /c/marker > /got",
    "RUN --mount=type=cache,from=links,source=/l,target=/c cat /c/marker > /got",
    "RUN --mount=type=cache,from=links,source=/../UPHOST,target=/c cat /c/marker > /got",
    "RUN --mount=type=secret,id=s,target=UPHOST/planted true",
    "RUN --mount=type=secret,id=s,target=/l/planted true",
    "RUN --mount=type=ssh,target=/l/planted true",
    "RUN --mount=type=cache,target=/c rm -rf /c/x; ln -s HOST /c/x\n\
     RUN --mount=type=cache,target=/c cat /c/x/marker > /got; touch /c/x/planted",
    "RUN --mount=type=cache,target=/c rm -rf /c/x; ln -s HOST /c/x\n\
     RUN --mount=type=cache,target=/c --mount=type=tmpfs,target=/c/x/planted true",
    "RUN --mount=type=cache,target=/c rm -rf /c/x; ln -s HOST /c/x\n\
     RUN --mount=type=cache,target=/c --mount=type=bind,source=.,target=/c/x/planted true",
    "RUN mkdir /d && ln -s HOST /d/l && rm -rf /proc/none\nRUN --mount=type=tmpfs,target=/d/l/a/b rm -rf /d/l; ln -s HOST /d/l2",
    "RUN ln -s HOST /etc2; rm -rf /etc; ln -s HOST /etc",
];

/// The context's stages and links, and what a line is put after.
fn prepare(world: &World) -> String {
    let host = world.path("host");
    let (context, shown) = (world.context(), host.to_str().unwrap());
    fs::create_dir_all(context.join("a")).unwrap();
    symlink(&host, context.join("outward")).unwrap();
    symlink("../host", context.join("relative")).unwrap();
    symlink(host.join("marker"), context.join("marker-link")).unwrap();
    crate::support::tool(
        "tar",
        "tar",
        &[
            "-C",
            context.to_str().unwrap(),
            "--absolute-names",
            "-cf",
            context.join("outward.tar").to_str().unwrap(),
            &format!("--transform=s,^busybox,{shown}/planted,"),
            "outward",
            "marker-link",
            "busybox",
        ],
    );
    format!(
        "{BASE}FROM scratch AS links\nCOPY --from=0 / /\nRUN ln -s {shown} /l; ln -s ../../../../../../../..{shown} /deep\n\
         FROM links\nRUN mkdir -p /a\n"
    )
}

#[test]
fn no_path_leads_root_out() {
    println!("{}", no_path_leads_out(Level::Root));
}

#[test]
fn no_path_leads_a_user_out() {
    println!("{}", no_path_leads_out(Level::Single));
}

/// Tries each line; returns what came of them.
fn no_path_leads_out(level: Level) -> String {
    let world = World::new(level);
    let host = world.path("host");
    fs::create_dir(&host).unwrap();
    fs::write(host.join("marker"), &world.token).unwrap();
    fs::write(world.path("secret"), "s").unwrap();
    let before = prepare(&world);
    let account = world.account();
    std::os::unix::fs::chown(&host, Some(account.0), Some(account.1)).unwrap();
    let untouched = look(&host);
    let secret = format!("id=s,src={}", world.path("secret").display());
    let dest = format!("type=local,dest={}", world.path("out").display());
    let other = format!("other={}", world.context().display());
    let up = format!("/{}", "../".repeat(12));
    let (mut refused, mut built) = (0, 0);
    for line in LINES {
        let shown = host.to_str().unwrap();
        let line = line.replace("UPHOST", &format!("{}{}", up.trim_end_matches('/'), shown));
        let line = line.replace("HOSTLINK", "/l").replace("HOST", shown);
        let _ = fs::remove_dir_all(world.path("out"));
        let flags = ["--secret", &secret, "--build-context", &other, "--output", &dest];
        let build = world.build(&format!("{before}{line}\n"), &flags);
        match build.code {
            Some(0) => built += 1,
            Some(1 | 2) => refused += 1,
            code => panic!("as {level:?}, {line}: {code:?}: {}", build.stderr),
        }
        assert_eq!(look(&host), untouched, "as {level:?}, {line}: {}", build.stderr);
        let outside = contains(&world.path("out"), &world.token);
        assert_eq!(outside, [] as [String; 0], "as {level:?}, {line}");
    }
    // It would be noticed.
    fs::write(world.context().join("marker"), &world.token).unwrap();
    world.built(&format!("{before}COPY marker /got\n"), &["--output", &dest]);
    assert_eq!(contains(&world.path("out"), &world.token).len(), 1);
    fs::write(host.join("planted"), "").unwrap();
    assert_ne!(look(&host), untouched);
    format!("as {level:?}: {refused} refused, {built} built without it, of {}", LINES.len())
}

#[test]
fn flags_that_name_files_of_a_context_stay_in_it() {
    let world = World::new(Level::Root);
    let host = world.path("host");
    fs::create_dir(&host).unwrap();
    fs::write(host.join("marker"), &world.token).unwrap();
    // A context by another name, in which a link leads out, and an archive as a context.
    symlink(&host, world.context().join("outward")).unwrap();
    fs::write(world.context().join("ignored"), &world.token).unwrap();
    let dest = format!("type=local,dest={}", world.path("out").display());
    let nested = format!("nested={}", world.context().join("outward/../context").display());
    for line in ["COPY --from=nested outward/marker /got", "COPY --from=nested ../host/marker /got"]
    {
        let build = world
            .build(&format!("{BASE}{line}\n"), &["--build-context", &nested, "--output", &dest]);
        assert_ne!(build.code, Some(0), "{line}: {}", build.stderr);
        assert_eq!(contains(&world.path("out"), &world.token), [] as [String; 0], "{line}");
    }
}

/// An output directory that an earlier image has filled with links does not lead out of itself.
#[test]
fn a_local_output_is_written_beneath_its_directory() {
    for level in [Level::Root, Level::Single] {
        let world = World::new(level);
        let host = world.path("host");
        fs::create_dir(&host).unwrap();
        let account = world.account();
        std::os::unix::fs::chown(&host, Some(account.0), Some(account.1)).unwrap();
        let shown = host.display();
        let dest = format!("type=local,dest={}", world.path("out").display());
        let first = format!("{BASE}RUN ln -s {shown} /d; ln -s {shown}/made /f\n");
        world.built(&first, &["--output", &dest]);
        // It would be noticed: by their names both lead there.
        fs::write(world.path("out/d/planted"), "").unwrap();
        fs::write(world.path("out/f"), "").unwrap();
        assert_eq!(look(&host).len(), 3);
        fs::remove_file(host.join("planted")).unwrap();
        fs::remove_file(host.join("made")).unwrap();
        let second = format!("{BASE}RUN mkdir /d; echo planted > /d/planted; echo planted > /f\n");
        let build = world.build(&second, &["--output", &dest]);
        assert_eq!(look(&host).len(), 1, "as {level:?}: {}", build.stderr);
    }
}

#[test]
fn a_context_that_changes_while_it_is_read_does_not_lead_out() {
    let world = World::new(Level::Root);
    let host = world.path("host");
    fs::create_dir(&host).unwrap();
    fs::write(host.join("file"), &world.token).unwrap();
    let context = world.context();
    let (place, link) = (context.join("d"), context.join("link"));
    fs::create_dir(&place).unwrap();
    fs::write(place.join("file"), "inside").unwrap();
    symlink(&host, &link).unwrap();
    fs::write(context.join(".dockerignore"), "link\n").unwrap();
    let dest = format!("type=local,dest={}", world.path("out").display());
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let flags = rustix::fs::RenameFlags::EXCHANGE;
            while !done.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(rustix::fs::CWD, &place, rustix::fs::CWD, &link, flags)
                    .unwrap();
            }
        });
        // A reader that trusts paths is led out, which shows that the race is one.
        while fs::read_to_string(place.join("file")).unwrap_or_default() != world.token {}
        let mut found = Vec::new();
        for round in 0..30 {
            let _ = fs::remove_dir_all(world.path("out"));
            // Each way of reading: a directory, a file in it, and a mount.
            let step = [
                "COPY d /d",
                "COPY d/file /d/file",
                "RUN --mount=type=bind,target=/m cp /m/d/file /got",
            ];
            let step = step[round % 3];
            let build =
                world.build(&format!("{BASE}ARG ROUND={round}\n{step}\n"), &["--output", &dest]);
            assert!(matches!(build.code, Some(0..=3)), "{step}: {}", build.stderr);
            found.extend(contains(&world.path("out"), &world.token));
        }
        done.store(true, Ordering::Relaxed);
        assert_eq!(found, [] as [String; 0]);
    });
}

/// What takes the place of a file that kiln itself reads from an image.
const STRANGE: &[(&str, &str)] = &[
    ("a pipe", "mkfifo /etc/FILE"),
    ("a directory", "mkdir /etc/FILE"),
    ("a large file", "truncate -s 70000000 /etc/FILE"),
    ("a device", "ln -s /dev/zero /etc/FILE"),
    ("the kernel's log", "ln -s /proc/kmsg /etc/FILE"),
    ("a loop", "ln -s FILE /etc/FILE"),
    ("kiln's own memory", "ln -s /proc/self/mem /etc/FILE"),
    ("a link out of the root", "ln -s ../../../../../../../../MARKER /etc/FILE"),
    ("many words", "yes a:b:c:d:e:f:g | head -c 3000000 > /etc/FILE"),
];

/// Where kiln reads none of it, nothing goes wrong; where it does, at worst the build ends with words about the image.
#[test]
fn files_that_kiln_reads_from_an_image_may_be_anything() {
    let world = World::new(Level::Root);
    let marker = world.marker();
    let base = BASE.replacen("FROM scratch", "FROM scratch AS base", 1);
    for file in ["passwd", "group", "nsswitch.conf", "ld.so.preload", "hosts", "resolv.conf"] {
        let stage = |number: usize, make: &str| {
            let make = make.replace("FILE", file).replace("MARKER", marker.to_str().unwrap());
            format!("FROM base AS s{number}\nRUN rm -rf /etc/{file}; {make}\nUSER 7:8\nRUN true\n")
        };
        let reads = file == "passwd" || file == "group";
        let mounts = file == "hosts" || file == "resolv.conf";
        let stages = STRANGE.iter().enumerate().map(|(number, (_, make))| stage(number, make));
        let builds: Vec<String> = if reads {
            stages.collect()
        } else {
            let taken = (0..STRANGE.len()).map(|n| format!("COPY --from=s{n} /bin/sh /{n}\n"));
            vec![format!("{}FROM base\n{}", stages.collect::<String>(), taken.collect::<String>())]
        };
        for stages in builds {
            let build = world.build(&format!("{base}{stages}"), &[]);
            let allowed: &[i32] = match (reads, mounts) {
                (true, _) => &[0, 2, 3],
                // What is mounted over it needs a file that can be a mount point.
                (_, true) => &[0, 1, 3],
                _ => &[0],
            };
            let code = build.code.unwrap();
            assert!(allowed.contains(&code), "{file}: {}", build.stderr);
            assert!(!build.stderr.contains(&world.token), "{file}: {}", build.stderr);
        }
    }
}
