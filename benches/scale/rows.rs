//! The rows: what is built, and how it is made ready at each size.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::contexts::{BASE, context, files, large_file};
use super::registry::Registry;
use super::{Cost, cost};

/// One kind of work, measured at several sizes.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) sizes: &'static [usize],
    /// Measures one size in a directory that it makes.
    pub(crate) measure: fn(&Path, usize) -> Cost,
}

/// Makes the commands of the round with this number; what it does besides is not measured.
pub(crate) type Work<'a> = dyn FnMut(usize) -> Vec<Command> + 'a;

const FILES: &[usize] = &[2_000, 20_000, 200_000];
const MEGABYTES: &[usize] = &[40, 400, 4_000];
const LAYERS: &[usize] = &[12, 120];
const STEPS: &[usize] = &[50, 500];
const STAGES: &[usize] = &[10, 100];

/// The bytes of a file of a large context.
const SIZE: usize = 1_000;

const fn row(
    name: &'static str,
    sizes: &'static [usize],
    measure: fn(&Path, usize) -> Cost,
) -> Row {
    Row { name, sizes, measure }
}

pub(crate) const ROWS: &[Row] = &[
    row("cold COPY, files", FILES, |at, count| cold(at, count, "")),
    row("cold COPY --chown, files", FILES, |at, count| cold(at, count, "--chown=7:7 ")),
    row("cached, files", FILES, |at, count| again(at, count, |_, _| ())),
    row("edit of one, files", FILES, |at, count| again(at, count, edit)),
    row("RUN that writes, files", FILES, written),
    row("COPY --from, files", FILES, between),
    row("COPY, then RUN, files", FILES, then_run),
    row("to a gzip archive, MB", MEGABYTES, |at, size| archive(at, size, "gzip")),
    row("to a zstd archive, MB", MEGABYTES, |at, size| archive(at, size, "zstd")),
    row("push, MB", MEGABYTES, push),
    row("pull, MB", MEGABYTES, pull),
    row("cached, layers", LAYERS, |at, count| layers(at, count, None)),
    row("one more RUN, layers", LAYERS, |at, count| layers(at, count, Some("RUN echo"))),
    row("one more COPY, layers", LAYERS, |at, count| layers(at, count, Some("COPY salt"))),
    row("save, layers", LAYERS, save),
    row("load, layers", LAYERS, load),
    row("cold, steps", STEPS, |at, count| steps(at, &in_one_stage(count), true)),
    row("cached, steps", STEPS, |at, count| steps(at, &in_one_stage(count), false)),
    row("cold, stages of 5 steps", STAGES, |at, count| steps(at, &in_stages(count), true)),
    row("cached, stages of 5 steps", STAGES, |at, count| steps(at, &in_stages(count), false)),
];

/// kiln with a store in this directory.
fn kiln(store: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
    command.arg("--root").arg(store).args(args).env("CONTAINERS_REGISTRIES_CONF", "/dev/null");
    command
}

fn build(store: &Path, context: &Path, args: &[&str]) -> Command {
    let mut command = kiln(store, &["build", "--quiet", "--network=host"]);
    command.args(args).arg(context);
    command
}

/// Runs a command unmeasured.
fn done(mut command: Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A context with so many files.
fn with_files(at: &Path, count: usize, dockerfile: &str) -> PathBuf {
    let context = context(at.join("context"), dockerfile);
    files(&context.join("tree"), count, SIZE, 0);
    context
}

/// Takes the lines of a Dockerfile after a base that was built, with something new in them every round.
fn on<'a>(
    (store, context, base): (&'a Path, &'a Path, &'a str),
    lines: impl Fn(usize) -> String + 'a,
) -> Cost {
    fs::write(context.join("Dockerfile"), base).unwrap();
    done(build(store, context, &[]));
    cost(&mut |round| {
        fs::write(context.join("Dockerfile"), format!("{base}{}", lines(round))).unwrap();
        vec![build(store, context, &[])]
    })
}

/// A COPY into an empty store.
fn cold(at: &Path, count: usize, flags: &str) -> Cost {
    let context = with_files(at, count, &format!("FROM scratch\nCOPY {flags}tree /tree\n"));
    cost(&mut |round| vec![build(&at.join(format!("store-{round}")), &context, &[])])
}

/// The same build once more.
fn again(at: &Path, count: usize, change: fn(&Path, usize)) -> Cost {
    let context = with_files(at, count, "FROM scratch\nCOPY tree /tree\n");
    let store = at.join("store");
    // The second one knows that the files have settled.
    (0..2).for_each(|_| done(build(&store, &context, &[])));
    cost(&mut |round| {
        change(&context, round);
        vec![build(&store, &context, &[])]
    })
}

fn edit(context: &Path, round: usize) {
    fs::write(context.join("tree/d7/f777"), format!("edit {round}")).unwrap();
}

fn written(at: &Path, count: usize) -> Cost {
    let context = context(at.join("context"), "");
    files(&at.join("tree"), count, SIZE, 0);
    let mut tar = Command::new("tar");
    tar.arg("cf").arg(context.join("tree.tar")).arg("-C").arg(at).arg("tree");
    done(tar);
    let base = format!("{BASE}COPY tree.tar /\n");
    let step = |round| format!("RUN mkdir /made-{round} && tar xf tree.tar -C /made-{round}\n");
    on((&at.join("store"), &context, &base), step)
}

fn between(at: &Path, count: usize) -> Cost {
    let first = "FROM scratch AS first\nCOPY tree /tree\n";
    let context = with_files(at, count, first);
    let copy = |round| format!("FROM scratch\nCOPY --from=first /tree /tree-{round}\n");
    on((&at.join("store"), &context, first), copy)
}

/// A RUN on files of a COPY: they are written as a directory.
fn then_run(at: &Path, count: usize) -> Cost {
    let context = with_files(at, count, &format!("{BASE}COPY tree /tree\nRUN echo > /tree/new\n"));
    cost(&mut |round| vec![build(&at.join(format!("store-{round}")), &context, &[])])
}

fn archive(at: &Path, megabytes: usize, compression: &str) -> Cost {
    let context = context(at.join("context"), "FROM scratch\nCOPY large /large\n");
    large_file(&context.join("large"), megabytes, 0);
    let out = format!("type=oci,dest={},compression={compression}", at.join("out.tar").display());
    cost(&mut |round| {
        let store = |round| at.join(format!("store-{round}"));
        if let Some(before) = round.checked_sub(1) {
            fs::remove_dir_all(store(before)).unwrap();
        }
        vec![build(&store(round), &context, &["--output", &out])]
    })
}

/// Makes an image with a layer of this size.
fn large(at: &Path, megabytes: usize, name: &str) -> PathBuf {
    let context = context(at.join("context"), "FROM scratch\nCOPY large /large\n");
    large_file(&context.join("large"), megabytes, 0);
    let store = at.join("store");
    done(build(&store, &context, &["--tag", name]));
    store
}

/// To a registry that has nothing, with compression.
/// To a registry that has nothing.
fn push(at: &Path, megabytes: usize) -> Cost {
    fs::create_dir_all(at).unwrap();
    let store = large(at, megabytes, "large:1");
    let mut registries = Vec::new();
    cost(&mut |round| {
        let registry = Registry::start(&at.join(format!("registry-{round}")));
        let name = registry.name("large:1");
        registries.push(registry);
        done(kiln(&store, &["tag", "large:1", &name]));
        vec![kiln(&store, &["push", "--quiet", "--tls-verify=false", &name])]
    })
}

fn pull(at: &Path, megabytes: usize) -> Cost {
    fs::create_dir_all(at).unwrap();
    let registry = Registry::start(&at.join("registry"));
    let name = registry.name("large:1");
    let store = large(at, megabytes, &name);
    done(kiln(&store, &["push", "--quiet", "--tls-verify=false", &name]));
    fs::remove_dir_all(&store).unwrap();
    cost(&mut |round| {
        let store = |round| at.join(format!("pulled-{round}"));
        if let Some(before) = round.checked_sub(1) {
            fs::remove_dir_all(store(before)).unwrap();
        }
        vec![kiln(&store(round), &["pull", "--quiet", "--tls-verify=false", &name])]
    })
}

/// The lines of so many layers, most of them of a RUN.
fn of_layers(count: usize) -> String {
    let runs = (2..count).map(|layer| format!("RUN echo {layer} > /made-{layer}\n"));
    format!("{BASE}{}", runs.collect::<String>())
}

/// A build on so many layers that are there, and perhaps one step more.
fn layers(at: &Path, count: usize, more: Option<&str>) -> Cost {
    let context = context(at.join("context"), "");
    let base = of_layers(count);
    on((&at.join("store"), &context, &base), |round| {
        fs::write(context.join("salt"), round.to_string()).unwrap();
        more.map_or(String::new(), |more| format!("{more} /new-{round}\n"))
    })
}

fn save(at: &Path, count: usize) -> Cost {
    let store = layered(at, count);
    let out = at.join("out.tar");
    let out = out.to_str().unwrap();
    cost(&mut |_| {
        drop(fs::remove_file(out));
        vec![kiln(&store, &["save", "--output", out, "localhost/layers"])]
    })
}

fn load(at: &Path, count: usize) -> Cost {
    let store = layered(at, count);
    let out = at.join("out.tar");
    let out = out.to_str().unwrap();
    done(kiln(&store, &["save", "--output", out, "localhost/layers"]));
    cost(&mut |round| {
        let store = at.join(format!("store-{round}"));
        vec![kiln(&store, &["load", "--quiet", "--input", out])]
    })
}

/// Makes an image of so many layers.
fn layered(at: &Path, count: usize) -> PathBuf {
    let context = context(at.join("context"), &of_layers(count));
    let store = at.join("store");
    done(build(&store, &context, &["--tag", "localhost/layers"]));
    store
}

/// A cold or a cached build of these lines.
fn steps(at: &Path, lines: &str, cold: bool) -> Cost {
    let context = context(at.join("context"), lines);
    fs::write(context.join("small"), "small").unwrap();
    let store = |round| at.join(format!("store-{round}"));
    if !cold {
        (0..2).for_each(|_| done(build(&store(0), &context, &["--tag", "localhost/steps"])));
    }
    let of = |round| if cold { round } else { 0 };
    cost(&mut |round| vec![build(&store(of(round)), &context, &["--tag", "localhost/steps"])])
}

/// So many instructions in one stage, a fifth of them RUNs.
fn in_one_stage(count: usize) -> String {
    let five = |number: usize| {
        format!(
            "ENV NAME_{number}=value-{number}\nLABEL label-{number}=value\nCOPY small /small-{number}\n\
             WORKDIR /directory-{number}\nRUN echo $NAME_{number} > made\n"
        )
    };
    format!("{BASE}{}", (0..count / 5).map(five).collect::<String>())
}

/// So many stages of five instructions; each takes something from the one before.
fn in_stages(count: usize) -> String {
    let stage = |number: usize| {
        let before = match number {
            0 => "base".to_owned(),
            number => format!("stage-{}", number - 1),
        };
        format!(
            "FROM base AS stage-{number}\nENV NAME_{number}=value-{number}\n\
             COPY --from={before} /bin/busybox /from-{before}\nRUN echo $NAME_{number} > /made\n\
             COPY small /small-{number}\n"
        )
    };
    let base = BASE.replace("scratch", "scratch AS base");
    format!("{base}{}", (0..count).map(stage).collect::<String>())
}
