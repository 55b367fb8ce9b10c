//! `kiln layers`, `diff` and `squash` as they are used: exact answers, and names that would act on a terminal.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own preparations is a failed test")]

mod diff;
mod layers;
mod squash;
#[path = "../support/mod.rs"]
mod support;

use std::os::unix::ffi::OsStrExt;

use support::{Ended, Kiln};

/// What a name in an image may be: a line of its own, a command to the terminal, an element of a page, no text.
const HOSTILE: &[u8] = b"evil\n\x1b[31m<img src=x onerror='a()'>\xff";

/// How it is shown.
const SHOWN: &str = r"/evil\n\x1b[31m<img src=x onerror='a()'>\xff";

const BUSYBOX: &str =
    "RUN --mount=type=bind,source=busybox,target=/busybox [\"/busybox\", \"sh\", \"-c\",";

/// Builds `base` of two layers and `app` of five more.
fn images() -> Kiln {
    let kiln = Kiln::new();
    kiln.file("a", "one");
    kiln.file("b", "twotwo");
    kiln.file("big", &"0".repeat(5000));
    kiln.file("d/1", "1");
    kiln.file("d/2", "22");
    let hostile = kiln.context().join("hostile");
    std::fs::create_dir(&hostile).unwrap();
    std::fs::write(hostile.join(std::ffi::OsStr::from_bytes(HOSTILE)), "!").unwrap();
    let text = format!(
        "FROM scratch AS base\nENV A=1 B=2\nCOPY a b big /\nCOPY d /d\nFROM base\nCOPY b /a\nCOPY --chmod=600 big /\nCOPY hostile /\n\
         {BUSYBOX} \"rm -r /d /b\"]\n{BUSYBOX} \"rm /evil* && ln /big /link && chown 7:8 /a && ln -s big /sym\"]\n\
         ENV A=2 C=3\nLABEL l=\"\u{1b}[1mx\"\nCMD [\"x\"]\n"
    );
    for (name, args) in [("base", &["--target", "base"][..]), ("app", &[])] {
        let ended = kiln.build(&text, &[&["--tag", name], args].concat());
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
    kiln
}

/// Runs a command that succeeds and says nothing on the side.
fn shown(kiln: &Kiln, args: &[&str]) -> String {
    let ended = kiln.run(args);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{args:?}");
    ended.stdout
}

fn fails(kiln: &Kiln, args: &[&str], code: i32, message: &str) {
    let Ended { code: actual, stdout, stderr } = kiln.run(args);
    assert_eq!((actual, stdout.as_str(), stderr.as_str()), (Some(code), "", message), "{args:?}");
}
