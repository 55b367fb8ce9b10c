//! `kiln diff`.

use serde_json::{Value, json};

use super::{fails, images, shown};
use crate::support::Kiln;

const TABLE: &str = r#"config:
C Env.A "1" -> "2"
A Env.C "3"
A Cmd ["x"]
A Labels.l "\u001b[1mx"
A ArgsEscaped true
files:
C /a       +3B, content, owner 0:0 -> 7:8
D /b       -6B
C /big     mode 0644 -> 0600, links
D /d/      -3B, 2 paths beneath
A /dev/
A /link    +5.0kB
A /proc/
A /sym
A /sys/
"#;

#[test]
fn what_another_image_changes() {
    let kiln = images();
    assert_eq!(shown(&kiln, &["diff", "base", "app"]), TABLE);
    assert_eq!(shown(&kiln, &["diff", "app", "app"]), "");
    let (config, files) = TABLE.split_once("files:\n").unwrap();
    assert_eq!(shown(&kiln, &["diff", "--config", "base", "app"]), config);
    assert_eq!(shown(&kiln, &["diff", "--files", "base", "app"]), files);
    let all = files
        .replace("D /d/      -3B, 2 paths beneath\n", "D /d/\nD /d/1     -1B\nD /d/2     -2B\n");
    assert_eq!(shown(&kiln, &["diff", "--files", "--all", "base", "app"]), all);
}

#[test]
fn a_summary_and_an_exit_code_for_scripts() {
    let kiln = images();
    let summary = "config: 5 changed\nfiles: 5 added, 2 removed, 2 changed, -6B\n";
    assert_eq!(shown(&kiln, &["diff", "--summary", "base", "app"]), summary);
    let ended = kiln.run(&["diff", "--summary", "--exit-code", "base", "app"]);
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (Some(1), summary, ""));
    let ended = kiln.run(&["diff", "--exit-code", "base", "base"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""));
    let hint = "  hint: `kiln images` lists those that are there\n";
    let missing = format!("error: there is no image `no` in the local store\n{hint}");
    fails(&kiln, &["diff", "--exit-code", "base", "no"], 2, &missing);
}

#[test]
fn json_has_both_sides() {
    let kiln = images();
    let text = shown(&kiln, &["diff", "--format", "json", "base", "app"]);
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        value["Summary"],
        json!({ "Config": 5, "Added": 5, "Removed": 2, "Changed": 2, "Bytes": -6 })
    );
    assert_eq!(value["Config"][0], json!({ "Field": "Env", "Key": "A", "Old": "1", "New": "2" }));
    let files = value["Files"].as_array().unwrap();
    let big = files.iter().find(|it| it["Path"] == "/big").unwrap();
    assert_eq!(big["Aspects"], json!(["mode", "links"]));
    assert_eq!((&big["Old"]["Mode"], &big["New"]["Mode"]), (&json!("0644"), &json!("0600")));
    let directory = files.iter().find(|it| it["Path"] == "/d").unwrap();
    assert_eq!((&directory["Old"]["Beneath"], &directory["New"]), (&json!(2), &json!(null)));
    let link = files.iter().find(|it| it["Path"] == "/sym").unwrap();
    assert_eq!((&link["New"]["Type"], &link["New"]["Target"]), (&json!("symlink"), &json!("big")));
}

#[test]
fn kinds_of_change() {
    let kiln = Kiln::new();
    kiln.file("x", "x");
    kiln.file("dir/in", "i");
    let text = "FROM scratch AS a\nCOPY x /same\nCOPY x /file\nCOPY dir /dir\nCOPY --chown=1:2 x /owned\n\
                FROM scratch\nCOPY x /same\nCOPY dir /file\nCOPY x /dir\nCOPY --chown=1:3 x /owned\n";
    for (name, args) in [("a", &["--target", "a"][..]), ("b", &[])] {
        let ended = kiln.build(text, &[&["--tag", name], args].concat());
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
    let expected = "\
C /dir     1 path beneath, type directory -> file, mode 0755 -> 0644
C /file/   1 path beneath, type file -> directory, mode 0644 -> 0755
C /owned   owner 1:2 -> 1:3
";
    assert_eq!(shown(&kiln, &["diff", "a", "b"]), expected);
    std::fs::File::options()
        .write(true)
        .open(kiln.context().join("x"))
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000))
        .unwrap();
    let ended = kiln.build("FROM scratch\nCOPY x /same\n", &["--tag", "c", "--no-cache"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let ended = kiln.build("FROM c\nLABEL a=b\n", &["--tag", "d"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let line = |text: &str| text.lines().filter(|line| line.contains("/same")).count();
    assert_eq!(line(&shown(&kiln, &["diff", "a", "d"])), 0);
    assert_eq!(shown(&kiln, &["diff", "--mtime", "c", "d"]), "config:\nA Labels.a \"b\"\n");
    let times = shown(&kiln, &["diff", "--mtime", "a", "d"]);
    assert!(times.contains("\nC /same    mtime\n"), "{times}");
}
