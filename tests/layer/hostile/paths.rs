//! Where entries say that they are: names, links, whiteouts, and what comes twice.

use super::{check, row, tar};

#[test]
#[expect(clippy::too_many_lines, reason = "one row after the other")]
fn names() {
    check(vec![
        row("up", tar().file("../near", "x"), "/near file 1").escapes(),
        row("up and in", tar().file("../dir/a", "x"), "/dir dir; /dir/a file 1").escapes(),
        row("down and up", tar().file("d/../../near", "x"), "/near file 1"),
        row("down and up, made", tar().dir("d").file("d/../../near", "x"), "/d dir; /near file 1")
            .escapes(),
        row("far up", tar().file("../../../../../../../../near", "x"), "/near file 1"),
        row("absolute", tar().file("/near", "y"), "/near file 1"),
        row("absolute and up", tar().file("/../near", "y"), "/near file 1").escapes(),
        row(
            "the root by many names",
            tar().dir(".").dir("./").dir("../..").dir("/").file("./x", ""),
            "/ dir; /x file 0",
        )
        .added("/x file 0"),
        row("a directory above", tar().dir("../new"), "/new dir").escapes(),
        row(
            "slashes",
            tar().file(".//a//b", "x").dir("c//").file("./c/./d", ""),
            "/a dir; /a/b file 1; /c dir; /c/d file 0",
        ),
        row("a file with a slash behind", tar().file("f/", "x"), "/f file 1"),
        row(
            "no name",
            tar().file("", "x"),
            "error: entry `` of the archive would replace the root directory",
        ),
        row(
            "a file as the root",
            tar().file(".", "x"),
            "error: entry `.` of the archive would replace the root directory",
        ),
        row(
            "a link as the root",
            tar().symlink("/", ".."),
            "error: entry `/` of the archive would replace the root directory",
        ),
        row(
            "the root as a link by ..",
            tar().symlink("a/..", ".."),
            "error: entry `a/..` of the archive would replace the root directory",
        ),
        row("a directory without a name", tar().dir(""), "/ dir").added(""),
        row("three dots", tar().file(".../x", ""), "/... dir; /.../x file 0"),
        row(
            "not UTF-8",
            tar().file(b"\xff\xfe", "x").file(b"\xc3\x28", ""),
            "/\u{fffd}( file 0; /\u{fffd}\u{fffd} file 1",
        ),
        row(
            "line feeds and escapes",
            tar().file("a\nb", "").file("\x1b[2J", ""),
            "/\x1b[2J file 0; /a\nb file 0",
        ),
        row("backslashes", tar().file("..\\near", "x"), "/..\\near file 1"),
        row("parents nobody describes", tar().file("a/b/c", ""), "/a dir; /a/b dir; /a/b/c file 0"),
        row(
            "a name of 100 bytes",
            tar().file([b'n'; 100], ""),
            concat!(
                "/nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn",
                " file 0"
            ),
        ),
    ]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "one row after the other")]
fn symbolic_links() {
    check(vec![
        row(
            "write through ..",
            tar().symlink("up", "..").file("up/near", "x"),
            "/near file 1; /up link ..",
        )
        .escapes(),
        row(
            "write through a chain",
            tar().symlink("a", "b").symlink("b", "..").file("a/near", "x"),
            "/a link b; /b link ..; /near file 1",
        )
        .escapes(),
        row(
            "write through a link in a link",
            tar().symlink("a", "../dir").file("a/near/x", "1"),
            "/a link ../dir; /dir dir; /dir/near dir; /dir/near/x file 1",
        )
        .escapes(),
        row(
            "make a directory through a link",
            tar().symlink("a", "..").dir("a/made"),
            "/a link ..; /made dir",
        )
        .escapes(),
        row(
            "an absolute one",
            tar().symlink("abs", "/etc").file("abs/passwd", "x"),
            "/abs link /etc; /etc dir; /etc/passwd file 1",
        ),
        row(
            "to proc",
            tar().symlink("p", "/proc/self/root").file("p/near", "x"),
            "/p link /proc/self/root; /proc dir; /proc/self dir; /proc/self/root dir; /proc/self/root/near file 1",
        ),
        row("replaced by a file", tar().symlink("f", "../near").file("f", "new"), "/f file 3")
            .escapes(),
        row(
            "replaced by a directory",
            tar().symlink("d", "../dir").dir("d").file("d/a", "x"),
            "/d dir; /d/a file 1",
        )
        .escapes(),
        row(
            "a directory replaced by one",
            tar().file("d/x", "1").symlink("d", "..").file("d/near", "2"),
            "/d link ..; /near file 1",
        ),
        row(
            "a file replaced by one",
            tar().file("f", "1").symlink("f", "../near").file("f", "2"),
            "/f file 1",
        ),
        row(
            "in a circle",
            tar().symlink("a", "b").symlink("b", "a").file("a/x", ""),
            "error: `/a` has too many levels of symbolic links",
        ),
        row(
            "to itself",
            tar().symlink("a", "a").file("a/x", ""),
            "error: `/a` has too many levels of symbolic links",
        ),
        row(
            "through a file",
            tar().file("f", "").symlink("l", "f").file("l/x", ""),
            "error: entry `l/x` of the archive lies beneath something that is no directory",
        ),
        row(
            "dangling",
            tar().symlink("l", "no/such").file("l/x", ""),
            "/l link no/such; /no dir; /no/such dir; /no/such/x file 0",
        ),
        row(
            "to nowhere",
            tar().symlink("l", ""),
            "error: entry `l` of the archive is a symbolic link to nowhere",
        ),
        row("to the root", tar().symlink("l", "/").file("l/x", ""), "/l link /; /x file 0"),
        row(
            "far up",
            tar().symlink("l", "../../../../..").file("l/near", "x"),
            "/l link ../../../../..; /near file 1",
        ),
    ]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "one row after the other")]
fn hard_links() {
    let nothing = "error: entry `h` of the archive is a hard link to a file that is not there";
    check(vec![
        row("out by ..", tar().hard("h", "../near"), nothing).escapes(),
        row("out into a directory", tar().hard("h", "../dir/a"), nothing).escapes(),
        row("absolute", tar().hard("h", "/etc/passwd"), nothing),
        row("to itself that is not there", tar().hard("h", "h"), nothing),
        row(
            "to itself",
            tar().file("h", "x").hard("h", "h"),
            "error: entry `h` of the archive is a hard link to itself",
        ),
        row(
            "to a directory",
            tar().dir("d").hard("h", "d"),
            "error: entry `h` of the archive is a hard link to a directory",
        ),
        row(
            "to nothing",
            tar().hard("h", ""),
            "error: entry `h` of the archive is a hard link to no file",
        ),
        row(
            "to the root",
            tar().hard("h", ".."),
            "error: entry `h` of the archive is a hard link to no file",
        ),
        row(
            "to a link out",
            tar().symlink("l", "../near").hard("h", "l").file("h", "x"),
            "/h file 1; /l link ../near",
        )
        .escapes(),
        row("by a link out", tar().symlink("l", "..").hard("h", "l/near"), nothing).escapes(),
        row(
            "by a link that stays",
            tar().symlink("d", "..").file("f", "1").hard("h", "d/../d/f"),
            "/d link ..; /f file 1; /h hard /f",
        ),
        row("before its file", tar().hard("h", "f").file("f", "x"), nothing),
        row(
            "then written",
            tar().file("a", "old").hard("b", "a").hard("c", "b").file("a", "new!"),
            "/a file 4; /b file 3; /c hard /b",
        ),
        row("of a device", tar().entry(b'6', "p", "").hard("h", "p"), "/h fifo; /p hard /h"),
        row(
            "over its own directory",
            tar().file("d/f", "1").hard("d", "d/f"),
            "error: entry `d` of the archive is a hard link to a file that it would replace",
        ),
        row(
            "over a directory",
            tar().file("f", "1").file("d/x", "").hard("d", "f"),
            "/d file 1; /f hard /d",
        ),
        row(
            "with content",
            tar()
                .file("f", "1")
                .add(
                    super::super::tarball::Header {
                        link: b"f",
                        size: 0,
                        ..super::super::tarball::Header::new(b'1', b"h")
                    },
                    b"",
                )
                .file("g", ""),
            "/f file 1; /g file 0; /h hard /f",
        ),
    ]);
}

#[test]
fn whiteouts() {
    let nothing = |name: &str| match name {
        ".wh." => "error: entry `.wh.` of the archive is a whiteout of nothing",
        "d/.wh.." => "error: entry `d/.wh..` of the archive is a whiteout of nothing",
        _ => "error: entry `d/.wh...` of the archive is a whiteout of nothing",
    };
    check(vec![
        row("of nothing", tar().file(".wh.", ""), nothing(".wh.")).added("/.wh. file 0").escapes(),
        row("of .", tar().file("d/.wh..", ""), nothing("d/.wh..")).added("/d dir; /d/.wh.. file 0"),
        row("of ..", tar().file("d/.wh...", ""), nothing("d/.wh..."))
            .added("/d dir; /d/.wh... file 0"),
        row("beside", tar().file("../.wh.near", ""), "/near gone")
            .added("/.wh.near file 0")
            .escapes(),
        row("by a link", tar().symlink("d", "..").file("d/.wh.near", ""), "/d link ..; /near gone")
            .added("/.wh.near file 0; /d link ..")
            .escapes(),
        row("with a slash in it", tar().file(".wh.d/x", ""), "/.wh.d dir; /.wh.d/x file 0"),
        row(
            "of what came before",
            tar().dir("d").file("d/y", "").file("d/.wh.y", "").file("d/.wh.x", ""),
            "/d dir; /d/x gone; /d/y gone",
        )
        .added("/d dir; /d/.wh.x file 0; /d/.wh.y file 0; /d/y file 0"),
        row("as a directory", tar().dir(".wh.d"), "/d gone").added("/.wh.d dir"),
        row("as a link", tar().symlink(".wh.d", ".."), "/d gone").added("/.wh.d link .."),
        row(
            "opaque",
            tar().file("d/kept", "").file("d/.wh..wh..opq", "").file("d/new", ""),
            "/d clear; /d/kept file 0; /d/new file 0",
        )
        .added("/d dir; /d/.wh..wh..opq file 0; /d/kept file 0; /d/new file 0"),
        row("opaque root", tar().file(".wh..wh..opq", "").file("x", ""), "/x file 0")
            .added("/.wh..wh..opq file 0; /x file 0"),
        row(
            "opaque in a file",
            tar().file("f", "").file("f/.wh..wh..opq", ""),
            "error: entry `f/.wh..wh..opq` of the archive lies beneath something that is no directory",
        ),
        row("opaque in what nobody describes", tar().file("d/.wh..wh..opq", ""), "/d clear")
            .added("/d dir; /d/.wh..wh..opq file 0"),
        row(
            "opaque beneath a link",
            tar().symlink("d", "../dir").file("d/.wh..wh..opq", ""),
            "/d link ../dir; /dir clear",
        )
        .added("/d link ../dir; /dir dir; /dir/.wh..wh..opq file 0"),
        row(
            "then made anew",
            tar().file(".wh.d", "").dir("d").file("d/x", ""),
            "/d clear; /d/x file 0",
        )
        .added("/.wh.d file 0; /d dir; /d/x file 0"),
        row("of AUFS", tar().file(".wh..wh.plnk", "").file(".wh..wh.aufs", ""), "")
            .added("/.wh..wh.aufs file 0; /.wh..wh.plnk file 0"),
        row("as a device 0:0", tar().file("null", "x").entry(b'3', "null", ""), "/null gone")
            .added(""),
        row("twice", tar().file(".wh.a", "").file(".wh.a", ""), "/a gone").added("/.wh.a file 0"),
    ]);
}

#[test]
fn what_comes_twice() {
    check(vec![
        row("a file", tar().file("a", "1").file("a", "22"), "/a file 2"),
        row("a file over a directory", tar().dir("d").file("d/x", "").file("d", "3"), "/d file 1"),
        row(
            "a directory over a file",
            tar().file("d", "1").dir("d").file("d/x", "2").dir("d/"),
            "/d dir; /d/x file 1",
        ),
        row("a link over a file", tar().file("a", "1").symlink("a", "x"), "/a link x"),
        row("a link over a directory", tar().file("a/b", "1").symlink("a", "x"), "/a link x"),
        row("a file over a link", tar().symlink("a", "x").file("a", "1"), "/a file 1"),
        row(
            "a pipe over all of them",
            tar().file("a/b", "1").symlink("a", "x").file("a", "").entry(b'6', "a", ""),
            "/a fifo",
        ),
        row(
            "by another name",
            tar().file("a", "1").file("./a", "22").file("b/../a", "333"),
            "/a file 3",
        ),
        row(
            "beneath a file",
            tar().file("d", "1").file("d/x", "2"),
            "error: entry `d/x` of the archive lies beneath something that is no directory",
        ),
        row(
            "beneath a pipe",
            tar().entry(b'6', "d", "").dir("d/x"),
            "error: entry `d/x` of the archive lies beneath something that is no directory",
        ),
    ]);
}
