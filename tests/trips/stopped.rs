//! Ctrl-C while images are on their way.

use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use rustix::process::{Pid, Signal, kill_process};

use crate::fake::{Fake, Reply};
use crate::support::{Ended, Kiln, ended};
use crate::{SAID, built, clean, done, everything, run};

/// Starts kiln, waits for a word of the server, and stops it.
fn stopped(kiln: &Kiln, args: &[&str], heard: &mpsc::Receiver<()>) -> Ended {
    let mut command = clean(kiln, args);
    let child: Child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    heard.recv().unwrap();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    ended(child.wait_with_output().unwrap())
}

/// Nothing is in the making any more.
fn is_clean(kiln: &Kiln) {
    for directory in ["tmp", "locks"] {
        let left = std::fs::read_dir(kiln.path("state").join(directory)).unwrap().flatten();
        let left: Vec<_> = left.map(|entry| entry.path()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

fn canceled(ended: &Ended, doing: &str) {
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(130), ""), "{}", ended.stderr);
    let said = ended.stderr.lines().filter(|line| !line.is_empty()).collect::<Vec<_>>();
    assert_eq!(said[0], format!("#1 {doing}"));
    assert!(
        said.contains(&"warning: interrupted: stopping; once more ends kiln at once"),
        "{said:#?}"
    );
    assert_eq!(said[said.len() - 2..], ["#1 CANCELED", "canceled"], "{said:#?}");
}

#[test]
fn a_pull_and_a_push() {
    let kiln = built();
    let (say, heard) = mpsc::channel();
    let goes_on = Arc::<AtomicBool>::default();
    let hangs = goes_on.clone();
    let registry = Fake::start(move |seen| {
        // The first answer comes, the next never does.
        if seen.method == "HEAD" && !hangs.load(Ordering::Acquire) {
            return Reply::new(404, "");
        }
        say.send(()).unwrap();
        Reply::new(200, vec![b' '; 100]).hanging(10)
    });
    let name = format!("{}/app:1", registry.host());
    let before = [everything(&kiln), done(&kiln, &["du"])];
    goes_on.store(true, Ordering::Release);
    canceled(&stopped(&kiln, &["pull", &name], &heard), &format!("pulling {name}"));
    is_clean(&kiln);
    goes_on.store(false, Ordering::Release);
    while heard.try_recv().is_ok() {}
    canceled(&stopped(&kiln, &["push", "app", &name], &heard), &format!("pushing {name}"));
    is_clean(&kiln);
    assert_eq!(everything(&kiln), before[0]);
    assert_eq!(run(&kiln, &["run", "app"]).stdout, SAID);
}

#[test]
fn a_load_from_a_pipe() {
    let kiln = built();
    let mut child = clean(&kiln, &["load"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It has begun when it has taken more than a pipe holds.
    let mut stdin = child.stdin.take().unwrap();
    let header = {
        let mut header = tar::Header::new_ustar();
        header.set_path("large").unwrap();
        header.set_size(1 << 30);
        header.set_mode(0o644);
        header.set_cksum();
        header
    };
    std::io::Write::write_all(&mut stdin, header.as_bytes()).unwrap();
    std::io::Write::write_all(&mut stdin, &vec![0; 1 << 20]).unwrap();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    // What is written until it has stopped; then nobody reads any more.
    while std::io::Write::write_all(&mut stdin, &vec![0; 1 << 16]).is_ok() {}
    canceled(&ended(child.wait_with_output().unwrap()), "loading");
    is_clean(&kiln);
    assert_eq!(done(&kiln, &["run", "app"]), SAID);
}
