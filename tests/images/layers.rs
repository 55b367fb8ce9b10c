//! The tar of a layer, entry by entry, as BuildKit would write it.

use std::path::Path;

use rustix::fs::{XattrFlags, setxattr};

use crate::support::tars::Entry;
use crate::support::{BASE, Kiln};

/// cap_net_bind_service=ep as the kernel stores it (`struct vfs_cap_data`, revision 2).
pub(crate) const CAPABILITY: [u8; 20] =
    [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Sets an attribute of a file in the context.
pub(crate) fn mark(path: &Path, name: &str, value: &[u8]) {
    setxattr(path, name, value, XattrFlags::empty()).unwrap();
}

/// A command for which [`Kiln::add_perl`] is needed: sets an attribute of a file to [`CAPABILITY`].
pub(crate) fn set_attribute(path: &str, name: &str) -> String {
    let number = libc::SYS_setxattr;
    let value = "pack(\"V5\", 0x02000001, 1024, 0, 0, 0)";
    format!(
        "perl -e 'my ($p, $n) = @ARGV; my $v = {value}; exit(syscall({number}, $p, $n, $v, 20, 0) != 0)' {path} {name}"
    )
}

/// The layers above busybox, each as its entries' lines.
fn layers(kiln: &Kiln, rest: &str) -> Vec<Vec<String>> {
    let layers = kiln.image(&format!("{BASE}{rest}"), &[]).layers();
    let lines = |layer: &Vec<Entry>| layer.iter().map(Entry::line).collect();
    layers[2..].iter().map(lines).collect()
}

#[test]
fn what_a_step_removes_has_a_whiteout() {
    let made = "RUN mkdir -p /d/e /f /r && touch /d/a /d/e/b /d/e/c /f/x /r/x /one\n";
    let cases: [(&str, &[&str]); 7] = [
        ("rm /one", &["- 0 0:0 .wh.one"]),
        ("rm /d/e/b", &["d 755 0:0 d/", "d 755 0:0 d/e/", "- 0 0:0 d/e/.wh.b"]),
        ("rm -r /d", &["- 0 0:0 .wh.d"]),
        ("rm -r /f && echo > /f", &["- 644 0:0 f"]),
        ("rm /one && mkdir /one && touch /one/x", &["d 755 0:0 one/", "- 644 0:0 one/x"]),
        ("touch /new && rm /new", &[]),
        ("rm -r /d && ln -s r /d", &["l 777 0:0 d -> r"]),
    ];
    let kiln = Kiln::new();
    for (command, expected) in cases {
        let layers = layers(&kiln, &format!("{made}RUN {command}\n"));
        assert_eq!(layers[1], expected, "{command}");
    }
}

#[test]
fn an_emptied_directory_names_what_is_gone() {
    let kiln = Kiln::new();
    let rest = "RUN mkdir -p /d/e /d/f && touch /d/a /d/b /d/e/x /d/f/y\n\
                RUN rm -r /d && mkdir -p /d/e && touch /d/b /d/new && chmod 700 /d\n\
                RUN rm -r /d && mkdir /d\n";
    let expected: [&[&str]; 2] = [
        &[
            "d 700 0:0 d/",
            "- 0 0:0 d/.wh.a",
            "- 644 0:0 d/b",
            "d 755 0:0 d/e/",
            "- 0 0:0 d/e/.wh.x",
            "- 0 0:0 d/.wh.f",
            "- 644 0:0 d/new",
        ],
        &["d 755 0:0 d/", "- 0 0:0 d/.wh.b", "- 0 0:0 d/.wh.e", "- 0 0:0 d/.wh.new"],
    ];
    assert_eq!(layers(&kiln, rest)[1..], expected);
    let tree: Vec<_> = kiln.tree(&format!("{BASE}{rest}"), &[]).iter().map(Entry::line).collect();
    assert!(tree.contains(&"d 755 0:0 d/".to_owned()));
    assert_eq!(tree.iter().filter(|line| line.contains(" d/")).count(), 1, "{tree:?}");
}

#[test]
fn what_a_step_does_not_change_is_not_in_its_layer() {
    let kiln = Kiln::new();
    let rest = "RUN mkdir /d && echo a > /d/a && chmod 600 /d/a && touch -d @1000000000 /d/a /d\n\
                RUN chmod 640 /d/a && chmod 600 /d/a && cat /d/a\n\
                RUN touch -d @1000000000 /d/a && touch /d/x && rm /d/x && touch -d @1000000000 /d\n\
                RUN chown 5 /d/a\n";
    let layers = layers(&kiln, rest);
    let none: [&str; 0] = [];
    assert_eq!(layers[1..3], [none, none], "copied up and put back");
    assert_eq!(layers[3], ["d 755 0:0 d/", "- 600 5:0 d/a"], "with the directory it is in");
}

#[test]
fn special_files_keep_type_mode_and_numbers() {
    let kiln = Kiln::new();
    let rest = "RUN mknod -m 620 /c c 136 70000 && mknod /b b 7 200 && mkfifo -m 640 /p && ln /c /c2 \
                && ln -s /nowhere /s && cp /bin/busybox /u && chown 70000:3000000 /u && chmod 6755 /u \
                && mkdir -m 3777 /t\n";
    let expected = [
        "b 644 0:0 b 7:200",
        "c 620 0:0 c 136:70000",
        "h 620 0:0 c2 = c",
        "p 640 0:0 p",
        "l 777 0:0 s -> /nowhere",
        "d 3777 0:0 t/",
        "- 6755 70000:3000000 u",
    ];
    assert_eq!(layers(&kiln, rest)[0], expected);
}

#[test]
fn hard_links_follow_the_first_of_their_names() {
    let kiln = Kiln::new();
    let rest = "RUN mkdir /z /a && echo 1 > /z/file && ln /z/file /a/first && ln /z/file /z/another\n\
                RUN cp /a/first /a/own && ln /a/own /z/own\n";
    let expected: [&[&str]; 2] = [
        &[
            "d 755 0:0 a/",
            "- 644 0:0 a/first",
            "d 755 0:0 z/",
            "h 644 0:0 z/another = a/first",
            "h 644 0:0 z/file = a/first",
        ],
        &["d 755 0:0 a/", "- 644 0:0 a/own", "d 755 0:0 z/", "h 644 0:0 z/own = a/own"],
    ];
    assert_eq!(layers(&kiln, rest), expected);
    let text = format!("{BASE}{rest}FROM scratch\nCOPY --from=0 /z /copied\n");
    let copied: Vec<_> = kiln.tree(&text, &[]).iter().map(Entry::line).collect();
    let expected = [
        "d 755 0:0 copied/",
        "- 644 0:0 copied/another",
        "h 644 0:0 copied/file = copied/another",
        "- 644 0:0 copied/own",
    ];
    assert_eq!(copied, expected, "what is copied together stays linked");
}

#[test]
fn names_of_any_length_and_byte_survive() {
    let kiln = Kiln::new();
    let part = "n".repeat(200);
    let deep = format!("{part}/{part}/{part}");
    let rest = format!(
        "RUN mkdir -p /{part}/{part} && touch /{deep} && ln /{deep} /{part}/x && ln -s /{deep} /{part}/y\n\
         RUN touch \"/$(printf 'caf\\351')\" '/a b' \"/new$(printf '\\nline')\" '/back\\slash' && ln -s \"$(printf 't\\377')\" /link\n"
    );
    let expected = [
        format!("d 755 0:0 {part}/"),
        format!("d 755 0:0 {part}/{part}/"),
        format!("- 644 0:0 {deep}"),
        format!("h 644 0:0 {part}/x = {deep}"),
        format!("l 777 0:0 {part}/y -> /{deep}"),
    ];
    let found = layers(&kiln, &rest);
    assert_eq!(found[0], expected);
    let expected = [
        "- 644 0:0 a b",
        r"- 644 0:0 back\\slash",
        r"- 644 0:0 caf\xe9",
        r"l 777 0:0 link -> t\xff",
        r"- 644 0:0 new\nline",
    ];
    assert_eq!(found[1], expected);
}

#[test]
fn holes_are_written_as_zeros() {
    let kiln = Kiln::new();
    let rest = "RUN truncate -s 3M /sparse && printf end >> /sparse && truncate -s 5M /sparse && truncate -s 1M /hole\n";
    let image = kiln.image(&format!("{BASE}{rest}"), &[]);
    let [hole, sparse] = &image.layers()[2][..] else { panic!() };
    assert_eq!((&*hole.path, &*sparse.path), (&b"hole"[..], &b"sparse"[..]));
    assert_eq!(hole.content, vec![0; 1 << 20]);
    let mut expected = vec![0; 5 << 20];
    expected[3 << 20..][..3].copy_from_slice(b"end");
    assert!(sparse.content == expected);
}

#[test]
fn only_capabilities_get_into_a_layer() {
    let kiln = Kiln::new();
    for name in ["both", "user"] {
        kiln.file(name, name);
        mark(&kiln.context().join(name), "user.note", b"hello");
    }
    mark(&kiln.context().join("both"), "security.capability", &CAPABILITY);
    kiln.add_perl();
    let set = [("/f", "security.capability"), ("/d", "user.note"), ("/f", "user.note")];
    let set = set.map(|(path, name)| set_attribute(path, name)).join(" && ");
    let rest = format!(
        "COPY both user /\nRUN mv /both /moved\nRUN chown 5 /moved\nCOPY perl /\n\
         RUN touch /f && mkdir /d && {set} && cp /f /g\n"
    );
    let layers = kiln.image(&format!("{BASE}{rest}"), &[]).layers();
    let lines = |index: usize| layers[index].iter().map(Entry::line).collect::<Vec<_>>();
    assert_eq!(lines(2), ["- 644 0:0 both +security.capability", "- 644 0:0 user"]);
    assert_eq!(lines(3), ["- 0 0:0 .wh.both", "- 644 0:0 moved +security.capability"]);
    assert_eq!(lines(4), ["- 644 5:0 moved"], "the kernel takes it away with the owner");
    assert_eq!(lines(6), ["d 755 0:0 d/", "- 644 0:0 f +security.capability", "- 644 0:0 g"]);
    for (layer, entry) in [(2, 0), (3, 1), (6, 1)] {
        assert_eq!(layers[layer][entry].xattrs[0].1, CAPABILITY);
    }
}

#[test]
fn a_changed_capability_is_a_changed_file() {
    let kiln = Kiln::new();
    kiln.file("tool", "tool");
    let text = "FROM scratch\nCOPY tool /tool\n";
    let plain: Vec<_> = kiln.tree(text, &[]).iter().map(Entry::line).collect();
    mark(&kiln.context().join("tool"), "security.capability", &CAPABILITY);
    let marked: Vec<_> = kiln.tree(text, &[]).iter().map(Entry::line).collect();
    assert_eq!([plain, marked], [["- 644 0:0 tool"], ["- 644 0:0 tool +security.capability"]]);
}
