//! Builds: cached, edited and cold ones.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::builder::{self, Builder, Result};
use super::contexts::{BASE, context, files, large_file};
use super::{Asked, Program, costs, print, printed, row};
use crate::measure::Cost;

/// The bytes of a file of a large context.
const SIZE: usize = 5_000;

/// Measures the row of this name in a directory of its own.
type Row = fn(&str, &Path);

pub(crate) fn rows(asked: &Asked, at: &Path) {
    let rows: [(&str, Row); 13] = [
        ("cached, 12 steps", |work, at| cached(work, at, 0)),
        ("cached, 1k files", |work, at| cached(work, at, 1_000)),
        ("cached, 20k files", |work, at| cached(work, at, 20_000)),
        ("cached, 100k files", |work, at| cached(work, at, 100_000)),
        ("edit, 1 of 20k files", edit),
        ("cold COPY, 20k files", cold),
        ("one more RUN", one_more),
        ("RUN writes 50k files", many_written),
        ("COPY --from, 20k files", between),
        ("8 stages of a second", stages),
        ("400 MB, gzip", |work, at| archive(work, at, "gzip")),
        ("400 MB, zstd", |work, at| archive(work, at, "zstd")),
        ("small image, named", named),
    ];
    for (number, (work, measure)) in rows.into_iter().enumerate() {
        if asked.any(&[work]) {
            measure(work, &at.join(number.to_string()));
        }
    }
}

/// Runs a builder's commands, unmeasured.
fn done(commands: Option<Vec<Command>>) {
    for mut command in commands.into_iter().flatten() {
        printed("docker.io buildah runc", &mut command);
    }
}

/// What builders run in a round in which each builds a context of its own choice.
fn programs<'a>(
    builders: &'a [Builder],
    result: Result<'a>,
    context: impl Fn(&Builder, usize) -> PathBuf + Copy + 'a,
) -> Vec<Program<'a>> {
    let can = |builder: &&Builder| builder.build(Path::new(""), result).is_some();
    let program = |builder: &'a Builder| Program {
        name: builder.name.to_owned(),
        daemons: builder.daemons(),
        run: Box::new(move |round| {
            builder.build(&context(builder, round), result).unwrap_or_default()
        }),
    };
    builders.iter().filter(can).map(program).collect()
}

/// Twelve steps, one of them the COPY of so many files.
fn cached(work: &str, at: &Path, count: usize) {
    let steps: String = (0..9).map(|step| format!("RUN echo {step} > /made-{step}\n")).collect();
    let context = context(at.join("context"), &format!("{BASE}COPY tree /tree\n{steps}"));
    files(&context.join("tree"), count.max(1), 1_000, 0);
    let builders = builder::all(&at.join("builders"));
    for builder in builders.iter().chain(&builders) {
        done(builder.build(&context, Result::Kept));
    }
    let mut programs = programs(&builders, Result::Kept, |_, _| context.clone());
    programs.push(found(&context));
    row(work, &programs);
}

/// Looks at every file of a context.
fn found(context: &Path) -> Program<'_> {
    Program::new("limit: find -size", move |_| {
        let mut find = Command::new("find");
        find.arg(context).args(["-size", "+1000M"]);
        vec![find]
    })
}

fn edit(work: &str, at: &Path) {
    let context = context(at.join("context"), &format!("{BASE}COPY tree /tree\n"));
    files(&context.join("tree"), 20_000, SIZE, 0);
    let builders = builder::all(&at.join("builders"));
    for builder in &builders {
        done(builder.build(&context, Result::Kept));
    }
    let edits = Cell::new(0);
    let edited = |_: &Builder, _| {
        edits.set(edits.get() + 1);
        fs::write(context.join("tree/d77/f7777"), format!("edit {}", edits.get())).unwrap();
        context.clone()
    };
    let mut programs = programs(&builders, Result::Kept, edited);
    programs.push(packed(&context));
    row(work, &programs);
}

/// Packs a context and hashes the archive.
fn packed(context: &Path) -> Program<'_> {
    Program::new("limit: tar | sha256sum", move |_| {
        let mut pack = Command::new("sh");
        pack.args(["-c", "tar cf - -C \"$0\" . | sha256sum"]).arg(context);
        vec![pack]
    })
}

fn cold(work: &str, at: &Path) {
    let builders = builder::all(&at.join("builders"));
    let of = |round: usize| at.join(format!("context-{round}"));
    for round in 0..=super::ROUNDS {
        let context = context(of(round), "FROM scratch\nCOPY tree /tree\n");
        files(&context.join("tree"), 20_000, SIZE, round + 1);
    }
    let mut programs = programs(&builders, Result::Kept, |_, round| of(round));
    programs.push(Program::new("limit: cp -r", |round| {
        let mut copy = Command::new("cp");
        copy.arg("-r").arg(of(round).join("tree")).arg(at.join(format!("copy-{round}")));
        vec![copy]
    }));
    row(work, &programs);
}

/// What twenty more steps that do nothing take, by twenty.
fn one_more(work: &str, at: &Path) {
    let builders = builder::all(&at.join("builders"));
    let context = context(at.join("context"), BASE);
    for builder in &builders {
        done(builder.build(&context, Result::Kept));
    }
    let salt = Cell::new(0);
    let with = |steps: usize| {
        let (salt, context) = (&salt, &context);
        move |_: &Builder, _: usize| {
            salt.set(salt.get() + 1);
            let first = salt.get();
            let steps = (0..steps).map(|step| format!("RUN true {first} {step}\n"));
            fs::write(context.join("Dockerfile"), format!("{BASE}{}", steps.collect::<String>()))
                .unwrap();
            context.clone()
        }
    };
    let (few, many) = (with(1), with(21));
    let mut few = programs(&builders, Result::Kept, few);
    let mut many = programs(&builders, Result::Kept, many);
    few.push(Program::new("limit: fork and exec", |_| vec![forks(1)]));
    many.push(Program::new("limit: fork and exec", |_| vec![forks(21)]));
    let more = costs(&many).into_iter().zip(costs(&few)).map(|(many, few)| {
        let (many, few) = (many?, few?);
        let (wall, cpu) = ((many.wall - few.wall) / 20.0, (many.cpu - few.cpu) / 20.0);
        Some(Cost { wall, cpu, most: many.most })
    });
    print(work, &many, &more.collect::<Vec<_>>());
}

fn forks(count: usize) -> Command {
    let mut shell = Command::new("/bin/busybox");
    let script = format!(
        "i=0; while [ $i -lt {count} ]; do /bin/busybox sh -c 'exec /bin/busybox true'; i=$((i+1)); done"
    );
    shell.args(["sh", "-c", &script]);
    shell
}

fn many_written(work: &str, at: &Path) {
    let builders = builder::all(&at.join("builders"));
    let context = context(at.join("context"), "");
    files(&at.join("tree"), 50_000, 1_000, 0);
    let archive = context.join("tree.tar");
    printed("tar", Command::new("tar").arg("cf").arg(&archive).arg("-C").arg(at).arg("tree"));
    let base = format!("{BASE}COPY tree.tar /\n");
    fs::write(context.join("Dockerfile"), &base).unwrap();
    for builder in &builders {
        done(builder.build(&context, Result::Kept));
    }
    let written = |_: &Builder, round: usize| {
        let step = format!("RUN mkdir /made-{round} && tar xf tree.tar -C /made-{round}\n");
        fs::write(context.join("Dockerfile"), format!("{base}{step}")).unwrap();
        context.clone()
    };
    let out = |round| at.join(format!("out-{round}"));
    let mut programs = programs(&builders, Result::Kept, written);
    programs.push(Program::new("limit: tar x", |round| {
        fs::create_dir(out(round)).unwrap();
        let mut unpack = Command::new("/bin/busybox");
        unpack.args(["tar", "xf"]).arg(&archive).arg("-C").arg(out(round));
        vec![unpack]
    }));
    programs.push(Program::new("limit: tar x; tar c | sha256sum", |round| {
        let out = at.join(format!("packed-{round}"));
        fs::create_dir(&out).unwrap();
        let mut both = Command::new("sh");
        both.args(["-c", "busybox tar xf \"$0\" -C \"$1\"; tar cf - -C \"$1\" . | sha256sum"]);
        both.arg(&archive).arg(out);
        vec![both]
    }));
    row(work, &programs);
}

/// A COPY of what another stage has, which is there already.
fn between(work: &str, at: &Path) {
    let builders = builder::all(&at.join("builders"));
    let first = "FROM scratch AS first\nCOPY tree /tree\n";
    let context = context(at.join("context"), first);
    files(&context.join("tree"), 20_000, SIZE, 0);
    for builder in &builders {
        done(builder.build(&context, Result::Kept));
    }
    let copied = |_: &Builder, round: usize| {
        let text = format!("{first}FROM scratch\nCOPY --from=first /tree /tree-{round}\n");
        fs::write(context.join("Dockerfile"), text).unwrap();
        context.clone()
    };
    let mut programs = programs(&builders, Result::Kept, copied);
    programs.push(packed(&context));
    row(work, &programs);
}

fn stages(work: &str, at: &Path) {
    let builders = builder::all(&at.join("builders"));
    let base = BASE.replace("scratch", "scratch AS base");
    let context = context(at.join("context"), &base);
    for builder in &builders {
        done(builder.build(&context, Result::Kept));
    }
    let salt = Cell::new(0);
    let staged = |_: &Builder, _: usize| {
        salt.set(salt.get() + 1);
        let stage = |number| {
            let salt = salt.get();
            format!("FROM base AS s{number}\nRUN sleep 1; echo {salt} > /f{number}\n")
        };
        let stages: String = (0..8).map(stage).collect();
        let copies = (0..8).map(|number| format!("COPY --from=s{number} /f{number} /\n"));
        let text = format!("{base}{stages}FROM scratch\n{}", copies.collect::<String>());
        fs::write(context.join("Dockerfile"), text).unwrap();
        context.clone()
    };
    let mut programs = programs(&builders, Result::Kept, staged);
    programs.push(Program::new("limit: sleep 1", |_| {
        let mut sleep = Command::new("sleep");
        sleep.arg("1");
        vec![sleep]
    }));
    row(work, &programs);
}

/// A COPY of one large file, as an archive of OCI's.
fn archive(work: &str, at: &Path, compression: &'static str) {
    let builders = builder::all(&at.join("builders"));
    let of = |round: usize| at.join(format!("context-{round}"));
    for round in 0..=super::ROUNDS {
        let context = context(of(round), "FROM scratch\nCOPY large /large\n");
        large_file(&context.join("large"), 400, round);
    }
    let archive = at.join("archive.tar");
    let to = Result::Archive(&archive, compression);
    let fresh = |_: &Builder, round: usize| {
        // buildah refuses to write over one.
        drop(fs::remove_file(&archive));
        of(round)
    };
    let mut programs = programs(&builders, to, fresh);
    let (limit, args): (_, &[&str]) = match compression {
        "gzip" => ("pigz", &["-c", "-6"]),
        _ => ("zstd", &["-q", "-c", "-3", "-T0"]),
    };
    programs.push(Program::new(&format!("limit: {limit} {}", args[args.len() - 1]), |round| {
        let mut compress = Command::new(limit);
        compress.args(args).arg(of(round).join("large"));
        vec![compress]
    }));
    row(work, &programs);
    drop(programs);
    drop(builders);
    // Few inodes, much room.
    fs::remove_dir_all(at).unwrap();
}

/// The same small image anew, with a name: all that there is to do besides the steps.
fn named(work: &str, at: &Path) {
    let builders = builder::all(&at.join("builders"));
    let context = context(at.join("context"), "FROM scratch\nCOPY bin /bin\n");
    let named = |_: &Builder, round: usize| {
        fs::write(context.join("bin/salt"), format!("{round}")).unwrap();
        context.clone()
    };
    row(work, &programs(&builders, Result::Named("localhost/named:1"), named));
}
