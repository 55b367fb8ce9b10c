//! The same image by three ways: its layers unpacked by umoci, its tar unpacked by tar, its directory.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::Command;

use crate::layers::{CAPABILITY, mark, set_attribute};
use crate::support::{BASE, Kiln};

/// What counts when trees of files are compared.
#[derive(Clone, Copy, PartialEq)]
enum Seen {
    Everything,
    /// No owners and no capabilities, and names of one pipe or device may be as many of them.
    WhatAnyUserMayMake,
}

/// What can be seen of the files below a directory, by path.
fn described(root: &Path, seen: Seen) -> BTreeMap<String, String> {
    let mut links = HashMap::new();
    let mut found = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root).min_depth(1).sort_by_file_name() {
        let entry = entry.unwrap();
        let (path, meta) = (entry.path(), entry.path().symlink_metadata().unwrap());
        let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().escape_ascii();
        let (name, kind) = (name.to_string(), meta.file_type());
        let mut line = format!("{:o} {}", meta.mode(), meta.mtime());
        if kind.is_file() {
            let content = std::fs::read(path).unwrap();
            line += &format!(" {} {}", content.len(), kiln::digest::Digest::of(&content));
        } else if kind.is_symlink() {
            line += &format!(" -> {:?}", std::fs::read_link(path).unwrap());
        } else if kind.is_block_device() || kind.is_char_device() {
            line += &format!(" {:x}", meta.rdev());
        }
        // Links between symbolic links are as good as two of them.
        let linkable = !kind.is_dir() && !kind.is_symlink();
        if meta.nlink() > 1 && linkable && (seen == Seen::Everything || kind.is_file()) {
            let first = links.entry((meta.dev(), meta.ino())).or_insert_with(|| name.clone());
            line += &format!(" = {first}");
        }
        if seen == Seen::Everything {
            let capability = attribute(path, "security.capability");
            line += &format!(" {}:{} {capability:?}", meta.uid(), meta.gid());
        }
        found.insert(name, line);
    }
    found
}

fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = [0; 64];
    let size = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
    Some(value[..size].to_vec())
}

/// Fails with the paths that differ only.
fn assert_same(left: &BTreeMap<String, String>, right: &BTreeMap<String, String>) {
    let names = left.keys().chain(right.keys());
    let differ = names.filter(|name| left.get(*name) != right.get(*name));
    let shown: BTreeMap<_, _> =
        differ.map(|name| (name, (left.get(name), right.get(name)))).collect();
    assert!(shown.is_empty(), "{shown:#?}");
}

fn must(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Every kind of file, and every way to change one of a lower layer.
fn dockerfile() -> String {
    let set = ["security.capability", "user.note"].map(|name| set_attribute("/own", name));
    let set = set.join(" && ");
    format!(
        "{BASE}COPY perl /\nCOPY tool /tool\nCOPY sub /sub/\n\
         RUN mkdir -p /d/e /o/p /gone && for f in d/a d/e/b d/e/c o/1 o/2 o/p/3 gone/x one two; do echo $f > /$f; done \
         && ln /d/a /d/link && ln /d/e/c /hard && touch -d @1000000000 /d/a /d/e /o\n\
         RUN rm /d/e/b && rm -r /o && mkdir -p /o/p && echo new > /o/p/4 && echo 2 > /o/2 && rm -r /gone && echo file > /gone \
         && rm /one && mkdir -m 1770 /one && mv /two /moved && chown 5:6 /d/e/c\n\
         RUN mknod -m 620 /c c 136 70 && mknod /b b 7 200 && mkfifo -m 640 /p && ln -s /nowhere /s && ln /p /p2 \
         && cp /bin/busybox /su && chown 70000:3000000 /su && chmod 6755 /su && mkdir -m 3777 /t \
         && truncate -s 1M /sparse && echo end >> /sparse\n\
         RUN n=$(printf '%0200d' 0) && mkdir -p /$n/$n && echo deep > /$n/$n/$n && ln /$n/$n/$n /$n/hard \
         && echo latin > \"/$(printf 'caf\\351')\" && ln -s \"$(printf 't\\377')\" /link\n\
         RUN touch /own && {set} && mv /tool /renamed && chmod 700 /sub/deep\n\
         COPY --chown=7:8 --chmod=4711 sub /sub\n"
    )
}

#[test]
fn three_ways_lead_to_the_same_files() {
    let kiln = Kiln::new();
    kiln.add_perl();
    kiln.file("tool", "tool");
    mark(&kiln.context().join("tool"), "security.capability", &CAPABILITY);
    kiln.file("sub/deep/file", "sub");
    std::fs::hard_link(kiln.context().join("sub/deep/file"), kiln.context().join("sub/another"))
        .unwrap();
    let paths = ["layout", "tree.tar", "directory", "bundle", "extracted"].map(|n| kiln.path(n));
    let [layout, tar, directory, bundle, extracted] = &paths;
    let outputs = [
        format!("type=oci,tar=false,dest={}", layout.display()),
        format!("type=tar,dest={}", tar.display()),
        format!("type=local,dest={}", directory.display()),
    ];
    let args: Vec<&str> = outputs.iter().flat_map(|output| ["--output", output]).collect();
    let ended = kiln.build(&dockerfile(), &[&["-t", "x:1"], &*args].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let image = format!("{}:1", layout.display());
    must(Command::new("umoci").args(["unpack", "--image", &image]).arg(bundle));
    std::fs::create_dir(extracted).unwrap();
    let flags = ["--numeric-owner", "--same-owner", "-p", "--xattrs", "--xattrs-include=*"];
    must(Command::new("tar").args(flags).arg("-C").arg(extracted).arg("-xf").arg(tar));
    let layers = described(&bundle.join("rootfs"), Seen::Everything);
    assert!(layers.len() > 60 && !layers.contains_key("o/1"), "{layers:#?}");
    assert_same(&layers, &described(extracted, Seen::Everything));
    let layers = described(&bundle.join("rootfs"), Seen::WhatAnyUserMayMake);
    assert_same(&layers, &described(directory, Seen::WhatAnyUserMayMake));
    let own = directory.join("own");
    let found = ["user.note", "security.capability"].map(|name| attribute(&own, name));
    assert_eq!(found, [Some(CAPABILITY.to_vec()), None], "nothing privileged on this machine");
    let owner = own.metadata().unwrap().uid();
    assert_eq!((owner, directory.join("su").metadata().unwrap().uid()), (0, 0));
}
