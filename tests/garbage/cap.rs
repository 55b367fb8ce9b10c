//! A limit that builds keep to by themselves, and the file that says it.

use super::{du, ok, settled};
use crate::support::{BASE, Ended, Kiln};

const CAP: u64 = 12 << 20;

/// Builds with a configuration file of this text.
fn build(kiln: &Kiln, config: &str, dockerfile: &str, args: &[&str]) -> Ended {
    let path = kiln.path("config.toml");
    std::fs::write(&path, config).unwrap();
    kiln.build(dockerfile, &[&["--config-file", path.to_str().unwrap()], args].concat())
}

fn growing(step: usize) -> String {
    format!(
        "{BASE}RUN --mount=type=cache,target=/c head -c 1500000 /dev/urandom > /random && echo {step} >> /c/steps\n"
    )
}

#[test]
fn twenty_growing_builds_keep_to_the_limit() {
    let kiln = Kiln::new();
    let config = "# at most\nkeep-storage = \"12MB\"\n";
    ok(build(&kiln, config, &format!("{BASE}RUN echo named > /named\n"), &["-t", "named"]));
    let mut removed = 0;
    for step in 0..20 {
        let ended = ok(build(&kiln, config, &growing(step), &[]));
        removed += usize::from(ended.stderr.contains("[internal] remove "));
        settled(&kiln);
        assert!(du(&kiln.path("state")) <= CAP, "after step {step}");
        let ran = ok(kiln.run(&["run", ended.stdout.trim(), "wc", "-c", "/random"]));
        assert_eq!(ran.stdout, "1500000 /random\n", "its own result stays");
        // Nothing is new, so nothing is counted or removed.
        let again = ok(build(&kiln, config, &growing(step), &[]));
        assert_eq!((again.cached(), &again.stdout), (3, &ended.stdout), "{}", again.stderr);
    }
    assert!((2..20).contains(&removed), "{removed} builds removed something");
    assert_eq!(ok(kiln.run(&["run", "named", "cat", "/named"])).stdout, "named\n");
    // What names need is not counted upon: the limit gives way, not the image.
    ok(build(&kiln, "keep-storage = \"0\"", &growing(30), &["-t", "large"]));
    assert_eq!(ok(kiln.run(&["run", "large", "wc", "-c", "/random"])).stdout, "1500000 /random\n");
    assert!(!kiln.path("state/mounts").read_dir().unwrap().any(|_| true));
}

#[test]
fn what_a_killed_build_made_is_counted() {
    let kiln = Kiln::new();
    let config = "keep-storage = \"12MB\"\n";
    ok(build(&kiln, config, BASE, &[]));
    // As if by a build that had no chance to count it.
    let large = kiln.path("state/blobs/sha256").join("0".repeat(64));
    std::fs::write(&large, vec![1; CAP as usize]).unwrap();
    std::fs::write(kiln.path("state/locks/lease-1-0"), "blobs/sha256/0\n").unwrap();
    ok(build(&kiln, config, BASE, &[]));
    assert!(!large.exists());
}

#[test]
fn mistakes_in_the_file() {
    let kiln = Kiln::new();
    let cases = [
        ("\nkeep = \"1GB\"\n", "unknown field `keep`", ":2:1\n"),
        ("keep-storage = \"lots\"\n", "invalid size `lots` for `keep-storage`", ":1:16\n"),
        ("keep-storage = [\n", "unclosed array", ":1:"),
    ];
    for (config, message, place) in cases {
        let ended = build(&kiln, config, BASE, &[]);
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        let path = kiln.path("config.toml");
        assert!(ended.stderr.contains(message), "{}", ended.stderr);
        assert!(ended.stderr.contains(&format!("{}{place}", path.display())), "{}", ended.stderr);
    }
    let ended = kiln.build(BASE, &["--config-file", "/no/such/file"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("cannot read `/no/such/file`"), "{}", ended.stderr);
}
