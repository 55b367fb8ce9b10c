//! Sizes are what the file system says.

use super::{du, listed, ok, prune, settled, total};
use crate::support::{BASE, Kiln};

/// A state root with something of every kind: named and unnamed images, links, holes, mounts, compressed layers.
fn everything() -> Kiln {
    let kiln = Kiln::new();
    let text = format!(
        "{BASE}RUN --mount=type=cache,target=/c mkdir -p /c/d && head -c 300000 /dev/urandom > /c/d/f\n\
         RUN mkdir /d && head -c 100000 /dev/urandom > /d/a && ln /d/a /d/b && ln /d/a /c\n\
         RUN dd if=/dev/zero of=/hole bs=1 count=1 seek=10000000 && ln -s /hole /link && mkfifo /pipe\n"
    );
    ok(kiln.build(&text, &["-t", "named"]));
    let out = format!("type=oci,dest={}", kiln.path("out.tar").display());
    ok(kiln.build(&format!("{text}RUN head -c 200000 /dev/urandom > /x\n"), &["--output", &out]));
    ok(kiln.build(&format!("{text}RUN head -c 200000 /dev/urandom > /y\n"), &[]));
    settled(&kiln);
    kiln
}

#[test]
fn the_sum_is_that_of_du() {
    let kiln = everything();
    let state = kiln.path("state");
    assert_eq!(total(&kiln), du(&state));
    let items = listed(&kiln, &[]);
    for kind in ["image", "layer", "step", "mount", "context", "compressed", "internal"] {
        assert!(items.iter().any(|item| item["Kind"] == kind), "there is no {kind}");
    }
    let table = ok(kiln.run(&["du", "-v"])).stdout;
    let size = |name: &str| {
        let line = table.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().to_owned()
    };
    let bytes = du(&state);
    assert_eq!(size("Total:"), format!("{}.{}MB", bytes / 1_000_000, bytes / 100_000 % 10));
    assert!(table.contains("RUN mkdir /d"), "{table}");
    // Looking is no use of anything.
    let used = |items: &[serde_json::Value]| {
        let mut used: Vec<_> = items
            .iter()
            .map(|item| (item["ID"].to_string(), item["LastUsedAt"].to_string()))
            .collect();
        used.sort();
        used
    };
    assert_eq!(used(&listed(&kiln, &[])), used(&items));
}

#[test]
fn what_is_said_to_come_back_comes_back() {
    let kiln = everything();
    let state = kiln.path("state");
    for args in [&[][..], &["--all", "--keep-storage"], &["--all"]] {
        let before = du(&state);
        // A little less than there is.
        let keep = (before - 20_000).to_string();
        let keep = (args.len() == 2).then_some(keep.as_str());
        let reclaimable: u64 = listed(&kiln, &[])
            .iter()
            .filter(|item| item["Reclaimable"] == true)
            .map(|item| item["Size"].as_u64().unwrap())
            .sum();
        let (deleted, reclaimed) =
            prune(&kiln, &args.iter().copied().chain(keep).collect::<Vec<_>>());
        assert!(!deleted.is_empty(), "{args:?}");
        assert_eq!(before - du(&state), reclaimed, "{args:?}");
        match args {
            ["--all"] => assert_eq!(reclaimed, reclaimable),
            _ => assert!(reclaimed < reclaimable, "{args:?}"),
        }
    }
    assert!(listed(&kiln, &[]).iter().all(|item| item["Reclaimable"] == false));
    assert_eq!(prune(&kiln, &["--all"]), (Vec::new(), 0));
    let ended = ok(kiln.run(&["prune", "--force"]));
    assert_eq!(ended.stdout, "Total reclaimed space: 0B\n");
}
