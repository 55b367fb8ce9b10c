//! Whole builds through the library, with real namespaces (root): an unchanged rebuild of 12 steps, an edit, and a
//! step that does nothing, which is all overhead. Needs `/bin/busybox`, static (Debian: busybox-static).

#![expect(clippy::unwrap_used, reason = "a bench that cannot make its data has failed")]

use std::path::{Path, PathBuf};

use divan::Bencher;
use kiln::builder::{Build, Context, DockerfileSource, build};
use kiln::event::{Cancel, Event};

fn main() {
    divan::main();
}

/// A context with busybox, and a request for a Dockerfile in it.
struct Case {
    directory: tempfile::TempDir,
}

impl Case {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let context = directory.path().join("context");
        std::fs::create_dir(&context).unwrap();
        std::fs::copy("/bin/busybox", context.join("busybox"))
            .expect("busybox-static is installed");
        for file in 0..6 {
            std::fs::write(context.join(format!("file{file}")), file.to_string()).unwrap();
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
        Self { directory }
    }

    fn context(&self) -> PathBuf {
        self.directory.path().join("context")
    }

    fn build(&self, dockerfile: &str) {
        let request = request(self.directory.path(), &self.context(), dockerfile);
        build(&request, &|_: Event| {}, &Cancel::new()).expect("the build works");
    }
}

fn request(root: &Path, context: &Path, dockerfile: &str) -> Build {
    let dockerfile = DockerfileSource::Text { display: "bench".into(), text: dockerfile.into() };
    Build {
        init: env!("CARGO_BIN_EXE_kiln").into(),
        jobs: 2,
        ..Build::new(root.join("state"), Context::Directory(context.to_owned()), dockerfile)
    }
}

const BASE: &str = "FROM scratch\nCOPY busybox /bin/busybox\n";

fn twelve_steps() -> String {
    let steps: String = (0..6)
        .map(|n| {
            format!("COPY file{n} /data/{n}\nRUN [\"/bin/busybox\", \"touch\", \"/made-{n}\"]\n")
        })
        .collect();
    format!("{BASE}{steps}")
}

#[divan::bench(sample_count = 50, sample_size = 1)]
fn cached_rebuild_of_12_steps(bencher: Bencher<'_, '_>) {
    let (case, text) = (Case::new(), twelve_steps());
    case.build(&text);
    bencher.bench_local(|| case.build(&text));
}

#[divan::bench(sample_count = 20, sample_size = 1)]
fn last_file_edited(bencher: Bencher<'_, '_>) {
    let (case, text) = (Case::new(), twelve_steps());
    case.build(&text);
    let mut edit = 0;
    bencher.bench_local(|| {
        edit += 1;
        std::fs::write(case.context().join("file5"), format!("edit {edit}")).unwrap();
        case.build(&text);
    });
}

/// The command itself is `busybox true`: what fork and exec of it take is in `plain_true`.
#[divan::bench(sample_count = 50, sample_size = 1)]
fn one_more_run_step(bencher: Bencher<'_, '_>) {
    let case = Case::new();
    case.build(BASE);
    let mut step = 0;
    bencher.bench_local(|| {
        step += 1;
        case.build(&format!("{BASE}RUN [\"/bin/busybox\", \"true\", \"{step}\"]\n"));
    });
}

#[divan::bench(sample_count = 50, sample_size = 1)]
fn plain_true() {
    let status = std::process::Command::new("/bin/busybox").arg("true").status();
    assert!(status.expect("busybox-static is installed").success());
}
