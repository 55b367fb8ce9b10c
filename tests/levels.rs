//! Dockerfiles built as root, as a user with a range of subordinate ids and as a user without: one image each.
//!
//! CI is root, so the test makes its users itself: system accounts `kiln-<process id>-range` and `kiln-<process id>-single`
//! with no home and no shell. They, and what useradd writes to /etc/subuid and /etc/subgid for the first, are removed
//! again when the test ends, however it ends.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own preparations is a failed test")]

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use support::tool;
use support::users::User;
use support::{BASE, Ended, ended};

/// Steps that change modes, links and what lies below, and give nothing to another user.
const STEPS: &str = "COPY --chmod=4750 tool /bin/tool\n\
    COPY tree /tree\n\
    COPY --chmod=u=rwX,go=rX tree /shared\n\
    WORKDIR /work\n\
    RUN umask 027 && mkdir -p d/sub && echo one > d/one && ln d/one d/two && ln d/one d/sub/three && ln -s ../one d/sub/link \
        && mkfifo d/pipe && chmod 1777 d/sub && chmod 2711 d\n\
    RUN rm /tree/gone && rm -r /tree/dir && mkdir /tree/dir && echo new > /tree/dir/new\n\
    RUN echo more >> /tree/kept && chmod 600 /tree/script && ln /tree/script /tree/again && mv /shared /moved\n\
    RUN tail -n 1 /proc/self/uid_map && id -u && id -g && test \"$(stat -c %u:%g /work/d/one /tree/kept /bin/tool | sort -u)\" = 0:0\n\
    FROM scratch\n\
    COPY --from=0 / /\n\
    COPY --from=0 --chmod=711 /work/d /picked\n\
    USER 7:8\n";

/// Steps in which files belong to others, and processes are others; beyond any range, too. With a single id there is no
/// other, and only root can make devices.
const OWNERS: &str = "RUN mkdir -p /etc && printf 'root:x:0:0::/root:/bin/sh\\napp:x:33:44::/home/app:/bin/sh\\n' > /etc/passwd \
        && printf 'root:x:0:\\napp:x:44:\\nmore:x:45:app\\n' > /etc/group && mkdir -m 1777 /tmp\n\
    COPY --chown=app:app tree /owned\n\
    RUN mkdir -p /d/sub && echo a > /d/f && ln -s f /d/l && mkfifo /d/p && ln /d/f /d/h && chown -R 33:44 /d && chmod 4755 /d/f \
        && chown -h 7 /d/l && chgrp 8 /d/sub && test \"$(stat -c %u:%g:%a /d/f /d/l /d/p /d/sub | tr '\\n' ' ')\" \
            = '33:44:4755 7:44:777 33:44:644 33:8:755 '\n\
    RUN cp -a /d /e && mv /d /g && mv /owned/kept /owned/moved && ln /owned/script /owned/again && rm -r /owned/dir \
        && tar -c -f - /g | tar -x -p -f - -C /tmp && chown 4755:4755 /tmp/g/f && echo more >> /owned/moved \
        && test \"$(stat -c %u:%g /e/f /e/l /g/p /tmp/g/sub /owned /owned/again | tr '\\n' ' ')\" \
            = '33:44 7:44 33:44 33:8 33:44 33:44 '\n\
    RUN su app -c 'test \"$(id -u):$(id -G)\" = \"33:44 45\" && umask 027 && touch /tmp/x && mkdir /tmp/y && ln -s a /tmp/z \
        && echo hi > /tmp/y/w && ! chown 0 /tmp/x 2> /dev/null && chgrp more /tmp/y && mkfifo /tmp/y/p' && touch /tmp/y/root\n\
    RUN mknod /null c 1 3 && mknod -m 640 /disk b 8 1 && chown 0:6 /disk && ln /disk /again && test -c /null -o $(id -u) = 0 \
        && mkdir -m 2755 /s && chgrp 44 /s && touch /s/i && mkdir /s/dir && touch /s/dir/i\n\
    RUN chown 100000:4294967294 /owned/script && touch /far && chown 70000 /far\n\
    RUN --mount=type=cache,target=/c,uid=33,gid=44,mode=750 --mount=type=tmpfs,target=/t \
        --mount=type=secret,id=key,target=/key,uid=33,mode=440 \
        stat -c %u:%g /c > /seen && stat -c %u:%g:%a /key >> /seen && touch /t/f && chown 5:6 /t/f && stat -c %u:%g /t/f >> /seen\n\
    USER app\n\
    WORKDIR /home/app\n\
    RUN id > who && mkdir own && cp -r /e own/e && (chown 0:0 who 2>/dev/null || echo refused >> who) && cat /proc/self/mounts > /dev/null\n\
    USER 1234\n\
    RUN id -u > /tmp/number && id -G >> /tmp/number\n\
    FROM scratch\n\
    COPY --from=0 / /\n\
    COPY --from=0 --chown=9:10 /g /picked\n";

/// A context whose files belong to the user who builds.
fn make_context(context: &Path, dockerfile: &str, (uid, gid): (u32, u32)) {
    for directory in ["", "tree", "tree/dir"] {
        fs::create_dir(context.join(directory)).unwrap();
    }
    fs::copy("/bin/busybox", context.join("busybox")).expect("apt-get install busybox-static");
    let files = [
        ("Dockerfile", dockerfile.to_owned(), 0o600),
        ("key", "secret".into(), 0o600),
        ("tool", "tool".into(), 0o755),
        ("tree/gone", "gone".into(), 0o644),
        ("tree/kept", "kept\n".into(), 0o640),
        ("tree/script", "script".into(), 0o4755),
        ("tree/dir/old", "old".into(), 0o400),
    ];
    for (name, content, mode) in files {
        let path = context.join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
    std::os::unix::fs::symlink("kept", context.join("tree/link")).unwrap();
    for entry in walkdir::WalkDir::new(context) {
        std::os::unix::fs::lchown(entry.unwrap().path(), Some(uid), Some(gid)).unwrap();
    }
}

/// Builds as this user and group (0: root) with these files besides in the context, and returns the report and the lines
/// of the layers' listings.
fn build(dockerfile: &str, files: &[&Path], owner: (u32, u32)) -> (Ended, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path();
    // Neither the program nor the state root may lie where only root can look.
    let kiln = home.join("kiln");
    fs::copy(env!("CARGO_BIN_EXE_kiln"), &kiln).unwrap();
    chown(home, Some(owner.0), Some(owner.1)).unwrap();
    make_context(&home.join("context"), dockerfile, owner);
    for file in files {
        fs::copy(file, home.join("context").join(file.file_name().unwrap())).unwrap();
    }
    let mut command = Command::new(kiln);
    command.args(["--root", "state", "build", "--progress", "plain"]);
    command.args(["--build-arg", "SOURCE_DATE_EPOCH=1000000000"]);
    command.args(["--secret", "id=key,src=context/key"]);
    command.args(["--output", "type=oci,tar=false,dest=layout,rewrite-timestamp=true", "context"]);
    command.current_dir(home).env("HOME", home).env_remove("KILN_ROOT");
    if owner.0 != 0 {
        // This also gives up root's further groups.
        command.uid(owner.0).gid(owner.1);
    }
    let ended = ended(command.output().unwrap());
    assert_eq!(ended.code, Some(0), "as user {owner:?}: {}", ended.stderr);
    let mut check = Command::new(home.join("kiln"));
    check.args(["--root", "state", "check-store"]).current_dir(home).env("HOME", home);
    if owner.0 != 0 {
        check.uid(owner.0).gid(owner.1);
    }
    let check = support::ended(check.output().unwrap());
    assert!(check.code == Some(0) && !check.stdout.contains("damaged"), "{check:?}");
    let listing = list(&home.join("layout"));
    std::fs::remove_dir_all(home).unwrap();
    (ended, listing)
}

/// Every entry of every layer, in order, and last the digest of the manifest.
fn list(layout: &Path) -> Vec<String> {
    let json = |path: &Path| -> serde_json::Value {
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    };
    let blob = |descriptor: &serde_json::Value| {
        let digest = descriptor["digest"].as_str().unwrap();
        layout.join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap())
    };
    let index = json(&layout.join("index.json"));
    let manifest = json(&blob(&index["manifests"][0]));
    let layers = manifest["layers"].as_array().unwrap().iter().flat_map(|layer| {
        let path = blob(layer);
        let flags = ["--list", "--verbose", "--gzip", "--numeric-owner", "--full-time", "--file"];
        let listed = tool("tar", "tar", &[&flags[..], &[path.to_str().unwrap()]].concat());
        listed.lines().map(str::to_owned).collect::<Vec<_>>()
    });
    let digest = index["manifests"][0]["digest"].as_str().unwrap().to_owned();
    layers.chain([digest]).collect()
}

/// How many ids the last line of the map has that a step saw.
fn last_mapped(build: &Ended) -> &str {
    let lines = build.stderr.lines().filter(|line| !line.contains("RUN"));
    let mut words = lines.map(|line| line.split_whitespace().rev().take(3).collect::<Vec<_>>());
    let is_map = |words: &Vec<&str>| {
        words.len() == 3 && words.iter().all(|word| word.parse::<u32>().is_ok())
    };
    words.find(is_map).expect("a step shows its map")[0]
}

#[test]
fn one_image_at_every_level_of_rights() {
    let range = User::new("range").with_range();
    let single = User::new("single");
    let dockerfile = format!("{BASE}{STEPS}");
    let (as_root, expected) = build(&dockerfile, &[], (0, 0));
    assert_eq!(last_mapped(&as_root), "4294967295");
    let listed = |line: &str| expected.iter().any(|entry| entry.contains(line));
    assert!(listed("work/d/two link to work/d/one") && listed("-rwsr-x--- 0/0"), "{expected:#?}");
    for (user, ids) in [(&range, "65536"), (&single, "1")] {
        let (ended, listing) = build(&dockerfile, &[], (user.uid, user.gid));
        assert_eq!(listing, expected, "as {}: {}", user.name, ended.stderr);
        assert_eq!(last_mapped(&ended), ids, "{}", ended.stderr);
    }
}

/// Builds at every level and compares; returns what root has.
fn compare(dockerfile: &str, files: &[&Path]) -> Vec<String> {
    let (_, expected) = build(dockerfile, files, (0, 0));
    for user in [User::new("range").with_range(), User::new("single")] {
        let (ended, listing) = build(dockerfile, files, (user.uid, user.gid));
        let differs = |(a, b): &(&String, &String)| a != b;
        let first = expected.iter().zip(&listing).find(differs);
        assert_eq!(first, None, "as {}: {}", user.name, ended.stderr);
        assert_eq!(listing.len(), expected.len());
    }
    expected
}

/// Steps that go around owners: links of lower layers under other names, groups that directories hand down, files that
/// are made through links, attributes that are copied, access lists, and what `app` may not do.
const AROUND: &str = "RUN mkdir -p /etc && printf 'root:x:0:0::/root:/bin/sh\\napp:x:33:44::/tmp:/bin/sh\\n' > /etc/passwd \
        && printf 'root:x:0:\\napp:x:44:\\n' > /etc/group && mkdir -m 1777 /tmp\n\
    COPY --chown=app:app tree /owned\n\
    RUN for n in moved dated linked; do ln -s kept /owned/$n; done && chown -h 7:8 /owned/*ed\n\
    RUN mv /owned/moved /owned/elsewhere && touch -h -d @1 /owned/dated && ln /owned/linked /owned/again\n\
    RUN mkdir -m 2777 /s && su app -c 'touch /s/f && mkdir /s/d && ln -s f /s/l'\n\
    RUN ln -s target /tmp/nowhere && su app -c 'echo hi > /tmp/nowhere'\n\
    RUN exec 5< /tmp && su app -c 'mkdir /dev/fd/5/there'\n\
    RUN mkdir -m 700 /private && touch /private/file /open && chmod 666 /open && su app -c '\
        ! mkdir /not 2> /dev/null && ! ln -s a /not 2> /dev/null && ! echo a > /private/file && ! touch /private/not \
        && test ! -w /etc/passwd -a ! -w / -a -w /tmp -a -w /open -a -w /owned && echo a > /open && mkdir -p /tmp/a \
        && echo a > /dev/null' 2> /dev/null\n\
    USER 1000620000:4294967294\n\
    RUN test \"$(id -u):$(id -g)\" = 1000620000:4294967294 && mkdir /tmp/far && touch /tmp/far/file && ln -s a /tmp/far/link\n\
    FROM scratch\n\
    COPY --from=0 / /\n";

#[test]
fn ways_around_owners_lead_to_the_same_owners() {
    let entries = compare(&format!("{BASE}{AROUND}"), &[]);
    let has = |owner: &str, name: &str| {
        entries.iter().any(|entry| entry.contains(owner) && entry.contains(name))
    };
    for (owner, name) in [
        ("7/8", "owned/elsewhere"),
        ("7/8", "owned/dated"),
        ("33/0", "s/l"),
        ("33/44", "tmp/target"),
        ("33/44", "tmp/there"),
        ("1000620000/4294967294", "tmp/far/link"),
    ] {
        assert!(has(owner, name), "{owner} {name}: {entries:#?}");
    }
}

#[test]
fn whoever_owns_a_file_owns_it_at_every_level() {
    let entries = compare(&format!("{BASE}{OWNERS}"), &[]);
    for wanted in ["33/44", "7/44", "100000/4294967294", "70000/0", "9/10", "crw-r--r-- 0/0"] {
        assert!(entries.iter().any(|entry| entry.contains(wanted)), "{wanted}: {entries:#?}");
    }
}

#[test]
fn files_are_made_where_a_path_is_to_be_resolved() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("resolved");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/levels/resolved.c");
    let to = program.to_str().unwrap();
    tool("build-essential", "cc", &["-static", "-Wall", "-o", to, source]);
    let dockerfile = "FROM scratch\nCOPY resolved /\nRUN [\"/resolved\"]\n";
    let entries = compare(dockerfile, &[&program]);
    for name in ["tmp/named", "tmp/nameless", "tmp/jail/beneath"] {
        let is_it = |entry: &&String| entry.contains("-rw-r----- 33/44") && entry.ends_with(name);
        assert_eq!(entries.iter().filter(is_it).count(), 1, "{name}: {entries:#?}");
    }
}

/// What a package does that runs a service under an account of its own.
const POSTINST: &str = "#!/bin/sh\nset -e\n\
    adduser --system --group --quiet --home /var/lib/service service\n\
    install -d -o service -g service -m 2750 /var/lib/service\n\
    chown root:service /usr/bin/service-tool && chmod 4750 /usr/bin/service-tool\n\
    su -s /bin/sh service -c 'echo made > /var/lib/service/state'\n\
    dpkg-statoverride --quiet --update --add service adm 0640 /usr/share/service/key\n";

/// Installing it with apt, and what Dockerfiles do around that. What differs from build to build is removed.
const INSTALL: &str = "FROM scratch\n\
    ADD rootfs.tar.xz /\n\
    COPY service.deb /\n\
    ENV SOURCE_DATE_EPOCH=1000000000 DEBIAN_FRONTEND=noninteractive\n\
    RUN apt-get install --quiet --yes ./service.deb && useradd --create-home --groups adm dev \\\n\
        && rm -rf /service.deb /var/log/* /var/cache/apt/* /var/cache/ldconfig/*\n\
    RUN passwd --quiet --delete root && tar -c /var/lib/service | tar -x -p -C /opt && test \"$(stat -c %U:%a /opt/var/lib/service/state)\" = service:644\n\
    USER dev\n\
    RUN cd && mkdir work && echo mine > work/file && test \"$(id -un):$(id -Gn)\" = 'dev:dev adm'\n\
    RUN su -c 'cd /home/dev && chown games:100000 work/file && mknod /disk b 8 1 && chgrp disk /disk' \
        && ! chown games ~/work && ! mknod ~/null c 1 3\n\
    RUN perl -MSocket -e 'socketpair(my $a, my $b, AF_UNIX, SOCK_STREAM, 0) || die; \
        print join \":\", (unpack \"i3\", getsockopt($a, SOL_SOCKET, SO_PEERCRED))[1, 2]' > /tmp/peer \
        && test \"$(cat /tmp/peer)\" = \"$(id -u):$(id -g)\"\n\
    USER root\n\
    RUN mkdir /own && touch /own/f && chown dev:dev /own/f && cp --preserve=xattr /own/f /own/g && test \"$(stat -c %u /own/g)\" = 0\n\
    RUN perl -e 'my $number = `uname -m` =~ /aarch64/ ? 5 : 188; my ($place, $name) = (\"/own\", \"system.posix_acl_default\"); \
        my $list = pack \"L(SSL)5\", 2, 1, 7, -1, 2, 7, 1000, 4, 5, -1, 16, 7, -1, 32, 5, -1; \
        syscall($number, $place, $name, $list, length $list, 0) == 0 || die $!' \
        && touch /own/listed && test $(stat -c %a /own/listed) = 664\n";

/// Makes the package.
fn service_package(at: &Path) -> std::path::PathBuf {
    let control = "Package: service\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDescription: a service\n";
    let files = [
        ("DEBIAN/control", control, 0o644),
        ("DEBIAN/postinst", POSTINST, 0o755),
        ("usr/bin/service-tool", "tool", 0o755),
        ("usr/share/service/key", "key", 0o644),
    ];
    let top = at.join("service");
    for (name, content, mode) in files {
        let path = top.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
    let package = at.join("service.deb");
    let (top, made) = (top.to_str().unwrap(), package.to_str().unwrap());
    tool("dpkg", "dpkg-deb", &["--root-owner-group", "--build", top, made]);
    package
}

#[test]
fn packages_with_accounts_of_their_own_are_installed_at_every_level() {
    let directory = tempfile::tempdir().unwrap();
    let rootfs = support::debian::rootfs("apt", |_| Vec::new()).join("rootfs.tar.xz");
    let entries = compare(INSTALL, &[&service_package(directory.path()), &rootfs]);
    let ours = ["var/lib/service/state", "-rwsr-x---", "5/100000", "brw-r--r-- 0/6"];
    for wanted in ours {
        assert!(entries.iter().any(|entry| entry.contains(wanted)), "{wanted}: {entries:#?}");
    }
}
