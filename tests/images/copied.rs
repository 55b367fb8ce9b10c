//! Names, owners and times of what COPY, ADD and WORKDIR make.

use crate::support::Kiln;
use crate::support::tars::Entry;

#[test]
fn owners_with_names_need_files_to_find_them_in() {
    let kiln = Kiln::new();
    kiln.file("etc/passwd", "app:x:7:8::/:\n");
    kiln.file("etc/group", "app:x:9:\n");
    let base = "FROM scratch\nCOPY etc /etc\n";
    for (text, name) in [
        ("FROM scratch\nCOPY --chown=app busybox /\n", "app"),
        ("FROM scratch\nADD --chown=5:app busybox /\n", "5:app"),
        ("FROM scratch\nUSER app\nWORKDIR /home\n", "app"),
        (&format!("{base}COPY --link --chown=app busybox /\n"), "app"),
    ] {
        let ended = kiln.build(text, &[]);
        assert_eq!(ended.code, Some(2), "{text}{}", ended.stderr);
        let start = format!("error: cannot find `{name}`: on `scratch` and with `--link` owners");
        assert!(ended.error().starts_with(&start), "{}", ended.error());
    }
    let text = format!(
        "{base}COPY --chown=app busybox /a\nCOPY --chown=app: busybox /b\nCOPY --chown=:app busybox /c\n\
         COPY --link --chown=5:root busybox /d\nCOPY --chown=ghost busybox /e\n"
    );
    let lines: Vec<String> = kiln.tree(&text, &[]).iter().map(Entry::line).collect();
    let owned = ["- 755 7:8 a", "- 755 7:0 b", "- 755 0:9 c", "- 755 5:0 d", "- 755 0:0 e"];
    assert_eq!(lines[..5], owned);
}

/// Reads all layers of an image: names with times.
fn times(kiln: &Kiln, text: &str, epoch: Option<u64>) -> Vec<(String, u64)> {
    let argument = epoch.map(|epoch| format!("SOURCE_DATE_EPOCH={epoch}"));
    let args: Vec<&str> = argument.iter().flat_map(|given| ["--build-arg", given]).collect();
    let layers = kiln.image(text, &args).layers();
    let entries = layers.into_iter().flatten();
    entries.map(|entry| (String::from_utf8(entry.path).unwrap(), entry.mtime)).collect()
}

#[test]
fn what_was_made_for_another_epoch_is_made_again() {
    let kiln = Kiln::new();
    let text = "FROM scratch\nWORKDIR /w/x\nCOPY <<file /y/\nhere\nfile\n";
    let now = times(&kiln, text, None);
    assert!(now.iter().all(|(_, time)| *time > 1_700_000_000), "{now:?}");
    for epoch in [1_000_000_000, 1_100_000_000] {
        let names = ["w/", "w/x/", "y/", "y/file"].map(str::to_owned);
        assert_eq!(times(&kiln, text, Some(epoch)), names.map(|name| (name, epoch)));
    }
    assert_eq!(times(&kiln, text, None), now);
}

#[test]
fn a_step_that_only_touches_a_directory_changes_nothing() {
    let kiln = Kiln::new();
    let text = format!(
        "{}RUN [\"/bin/busybox\", \"sh\", \"-c\", \"mkdir -p /d/sub\"]\n\
         RUN [\"/bin/busybox\", \"sh\", \"-c\", \"touch /d/sub/file && rm /d/sub/file && touch -d @5 /d\"]\n",
        crate::support::BASE
    );
    let layers = kiln.image(&text, &[]).layers();
    assert!(!layers[layers.len() - 2].is_empty());
    assert!(layers[layers.len() - 1].is_empty(), "{:?}", layers.last());
}

/// An archive of a file and of a second name for it, each with an owner and a mode of its own.
fn linked_archive() -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, kind, mode, owner) in
        [("a", tar::EntryType::Regular, 0o640, 11), ("b", tar::EntryType::Link, 0o604, 22)]
    {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(owner);
        header.set_gid(owner);
        header.set_mtime(owner);
        match kind {
            tar::EntryType::Link => {
                header.set_size(0);
                archive.append_link(&mut header, name, "a").unwrap();
            }
            _ => {
                header.set_size(2);
                archive.append_data(&mut header, name, &b"it"[..]).unwrap();
            }
        }
    }
    archive.into_inner().unwrap()
}

#[test]
fn a_linked_file_of_an_archive_is_as_its_last_name_says() {
    let kiln = Kiln::new();
    std::fs::write(kiln.context().join("archive.tar"), linked_archive()).unwrap();
    let lines = |text: &str| -> Vec<String> {
        kiln.tree(text, &[]).iter().map(|e| format!("{} {}", e.line(), e.mtime)).collect()
    };
    let found = lines("FROM scratch\nADD archive.tar /\n");
    assert_eq!(found, ["- 604 22:22 a 22", "h 604 22:22 b = a 22"]);
    let found = lines("FROM scratch\nADD --chown=7:8 archive.tar /\n");
    assert_eq!(found, ["- 604 7:8 a 22", "h 604 7:8 b = a 22"]);
}

#[test]
fn the_last_block_of_an_archive_need_not_be_full() {
    let kiln = Kiln::new();
    for (length, code) in [(1024, Some(0)), (514, Some(0)), (513, Some(2))] {
        std::fs::write(kiln.context().join("archive.tar"), &linked_archive()[..length]).unwrap();
        let ended = kiln.build("FROM scratch\nADD archive.tar /\n", &[]);
        assert_eq!(ended.code, code, "{length}: {}", ended.stderr);
    }
}

#[test]
fn a_here_document_is_no_file_of_a_directory() {
    let kiln = Kiln::new();
    let ended = kiln.build("FROM scratch\nCOPY <<a/b /x/\nhere\na/b\n", &[]);
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.error().starts_with("error: `a/b` is no valid path\n"), "{}", ended.error());
    let tree = kiln.tree("FROM scratch\nCOPY <<../b /x/\nhere\n../b\n", &[]);
    assert_eq!(tree[1].line(), "- 644 0:0 x/b");
}
