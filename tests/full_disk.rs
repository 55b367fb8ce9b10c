//! A state root that is full: wherever in a build that happens, the error says what and where, and the build works
//! once there is space again.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own preparations is a failed test")]

#[path = "registry/server.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod server;
mod support;

use std::path::PathBuf;
use std::process::Command;

use server::{Registry, Setup};
use support::{BASE, Ended, Kiln, tool};

/// A file system of this size, as long as this value.
struct Disk(PathBuf);

impl Disk {
    fn new(directory: PathBuf, size: &str) -> Self {
        std::fs::create_dir(&directory).unwrap();
        let path = directory.to_str().unwrap();
        tool("mount", "mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", path]);
        Self(directory)
    }

    /// Takes all space but so many kibibytes; what takes it is the returned file.
    fn fill(&self, but: u64) -> PathBuf {
        let filler = self.0.join("filler");
        let stat = rustix::fs::statvfs(&self.0).unwrap();
        let size = (stat.f_bavail * stat.f_frsize).saturating_sub(but << 10);
        let file = std::fs::File::create(&filler).unwrap();
        rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, size).unwrap();
        filler
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What settles the store may still have a file open.
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

/// A context of 2 MiB files, beside a state root on a small disk.
fn prepare() -> (Kiln, Disk) {
    let kiln = Kiln::new();
    kiln.file("large", &"0123456789abcdef".repeat(1 << 17));
    let context = kiln.context().display().to_string();
    let archive = format!("{context}/archive.tar");
    tool("tar", "tar", &["--create", "--file", &archive, "--directory", &context, "large"]);
    let disk = Disk::new(kiln.path("state"), "32m");
    (kiln, disk)
}

/// Builds with ever more space until it is enough. Every failure must say what to do, and after each the same state
/// root must do with all its space. Returns the lines of the Dockerfile that failed, each once.
fn lines_that_fail(dockerfile: &str, flags: &[&str]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for left in (0..).step_by(500) {
        let (kiln, disk) = prepare();
        let filler = disk.fill(left);
        let ended = kiln.build(dockerfile, &[&["--tag", "x"], flags].concat());
        std::fs::remove_file(filler).unwrap();
        if ended.code == Some(0) {
            break;
        }
        let error = ended.error();
        let is_clear = error.contains("No space left on device")
            && error.contains(disk.0.to_str().unwrap())
            && error.contains("\n  hint: the disk is full: free some space");
        let said = format!("exited with code 1; no space is left in `{}`\n", disk.0.display());
        let is_the_commands_own = error.contains(&said);
        let code = if is_the_commands_own { 1 } else { 3 };
        assert_eq!(ended.code, Some(code), "with {left} KiB: {}", ended.stderr);
        assert!(is_clear || is_the_commands_own, "with {left} KiB: {error}");
        let next = kiln.build(dockerfile, &[&["--tag", "x"], flags].concat());
        assert_eq!(next.code, Some(0), "after {left} KiB: {}", next.stderr);
        let place = error.lines().find_map(|line| line.strip_prefix(" --> Dockerfile:"));
        let line = place.unwrap_or("none").split(':').next().unwrap();
        if lines.last().is_none_or(|last| last != line) {
            lines.push(line.to_owned());
        }
    }
    lines
}

#[test]
fn each_step_can_find_the_disk_full() {
    let steps =
        "ADD archive.tar /archive\nRUN head -c 3000000 /dev/zero > /zeros\nCOPY large /large\n";
    let lines = lines_that_fail(&format!("{BASE}{steps}"), &["--jobs=1"]);
    assert_eq!(lines, ["2", "3", "4", "5", "6"]);
}

#[test]
fn a_base_can_find_the_disk_full() {
    for compression in ["gzip", "zstd", "uncompressed"] {
        let other = Kiln::new();
        let layout = other.path("layout").display().to_string();
        let output = format!("type=oci,tar=false,dest={layout},compression={compression}");
        assert_eq!(other.build(BASE, &["--output", &output]).code, Some(0));
        let context = format!("base=oci-layout://{layout}");
        let lines = lines_that_fail("FROM base\nRUN echo x > /x\n", &["--build-context", &context]);
        assert_eq!(lines.first().map(String::as_str), Some("1"), "{compression}: {lines:?}");
    }
}

#[test]
fn an_output_can_find_the_disk_full() {
    let kiln = Kiln::new();
    let disk = Disk::new(kiln.path("out"), "1m");
    for kind in ["oci", "docker", "tar"] {
        let dest = disk.0.join("image.tar");
        let output = format!("type={kind},dest={}", dest.display());
        let filler = disk.fill(256);
        let ended = kiln.build(BASE, &["--output", &output]);
        let error = ended.error();
        assert_eq!(ended.code, Some(3), "{kind}: {}", ended.stderr);
        let is_clear = error.contains("No space left on device")
            && error.contains(disk.0.to_str().unwrap())
            && error.ends_with("  hint: the disk is full: free some space\n");
        assert!(is_clear, "{kind}: {error}");
        std::fs::remove_file(filler).unwrap();
        let left: Vec<_> = disk.0.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, Vec::<PathBuf>::new(), "{kind}");
    }
}

/// Does something on ever fuller disks, each with a copy of the same store: it succeeds, or says what to do, leaves the
/// store sound and succeeds once there is space. Returns how often it failed.
fn failures(pristine: Option<&Kiln>, args: &[&str]) -> usize {
    let mut count = 0;
    for left in (0..).step_by(700) {
        let kiln = Kiln::new();
        let disk = Disk::new(kiln.path("state"), "32m");
        if let Some(pristine) = pristine {
            let from = format!("{}/.", pristine.path("state").display());
            tool("coreutils", "cp", &["--archive", &from, disk.0.to_str().unwrap()]);
        }
        let filler = disk.fill(left);
        let ended = kiln.run(args);
        std::fs::remove_file(filler).unwrap();
        let sound = |why: &str| {
            let checked = kiln.run(&["check-store", "--progress", "quiet"]);
            let is_well = checked.stdout.ends_with(" read: all is well\n");
            assert!(is_well, "{why} with {left} KiB: {}{}", checked.stdout, checked.stderr);
        };
        sound(&format!("{args:?}"));
        if ended.code == Some(0) {
            break;
        }
        assert_full(&ended, &disk, &format!("{args:?} with {left} KiB"));
        let next = kiln.run(args);
        assert_eq!(next.code, Some(0), "{args:?} after {left} KiB: {}", next.stderr);
        sound("after it");
        count += 1;
    }
    count
}

/// It says that the disk is full, where, and what to try.
fn assert_full(ended: &Ended, disk: &Disk, why: &str) {
    let error = ended.error();
    assert_eq!(ended.code, Some(3), "{why}: {}", ended.stderr);
    let is_clear = error.contains("No space left on device")
        && error.contains(disk.0.to_str().unwrap())
        && error.contains("\n  hint: the disk is full: free some space");
    assert!(is_clear, "{why}: {error}");
}

#[test]
fn every_command_that_writes_can_find_the_disk_full() {
    let registry = Registry::start(&Setup::Plain);
    let kiln = Kiln::new();
    kiln.file("large", &"0123456789abcdef".repeat(1 << 17));
    let text = format!("{BASE}COPY large /large\nRUN rm /large\n");
    let built = kiln.build(&text, &["--tag", "app"]);
    assert_eq!(built.code, Some(0), "{}", built.stderr);
    let (remote, archive) = (format!("{}/app:1", registry.host), kiln.path("app.tar"));
    let archive = archive.to_str().unwrap();
    for args in [vec!["push", "app", &remote], vec!["save", "app", "-o", archive]] {
        let done = kiln.run(&args);
        assert_eq!(done.code, Some(0), "{}", done.stderr);
    }
    assert!(failures(None, &["pull", &remote]) > 2);
    assert!(failures(None, &["load", "--input", archive]) > 2);
    let rootfs = kiln.path("rootfs.tar");
    let rootfs = rootfs.to_str().unwrap();
    let exported = kiln.run(&["export", "app", "-o", rootfs]);
    assert_eq!(exported.code, Some(0), "{}", exported.stderr);
    assert!(failures(None, &["import", rootfs, "flat"]) > 1);
    assert!(failures(Some(&kiln), &["squash", "app", "-t", "flat"]) > 0);
    // A name needs a block or two.
    failures(Some(&kiln), &["tag", "app", "other"]);
    // What makes room works where there is none.
    assert_eq!(failures(Some(&kiln), &["prune", "--all", "--force"]), 0);
    assert_eq!(failures(Some(&kiln), &["rmi", "app"]), 0);
    assert_eq!(failures(Some(&kiln), &["check-store", "--progress", "quiet"]), 0);
}

#[test]
fn an_export_can_find_the_disk_full() {
    let kiln = Kiln::new();
    assert_eq!(kiln.build(BASE, &["--tag", "app"]).code, Some(0));
    let disk = Disk::new(kiln.path("out"), "1m");
    let to = disk.0.join("image.tar");
    let to = to.to_str().unwrap();
    for args in [["export", "app", "-o", to], ["save", "app", "-o", to]] {
        assert_full(&kiln.run(&args), &disk, args[0]);
        let left: Vec<_> = disk.0.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, Vec::<PathBuf>::new(), "{args:?}");
    }
}
