//! `kiln check-store`: whether everything in the store is what it should be.

use clap::Args;
use kiln::diagnostic::{Blame, Diagnostic};
use kiln::store::{Store, abandoned};
use kiln::verify::{Finding, Mode, Outcome, Report, VerifyError, verify};

use super::du::Format;
use super::watch::{Watch, step};
use super::{Done, Failure, Session, answer, enter_sandbox, progress, settle, text};

#[derive(Debug, Args)]
#[command(after_help = "\
Everything is read: blobs against their digests, layers against what they change, records against their checksums, and \
what they name against what is here. What is damaged goes, with every record that leads to it: the next build makes it \
again. A name whose image is no longer whole is taken away, because no name may mean a part of an image: pull or build it \
again. What the machine had not yet written when it stopped counts again where it is whole. What a running build uses \
is left alone.

Exit codes: 0 all is well, or is again; 1 a name is lost, something is in use, or with --dry-run something is wrong; 3 the \
store could not be read.")]
pub(super) struct Flags {
    /// Only say what is wrong
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// How it is shown
    #[arg(long, default_value = "table")]
    format: Format,
    #[command(flatten)]
    progress: progress::Flags,
}

/// What was found.
struct Found {
    report: Report,
    /// Of dead processes.
    leftovers: Vec<String>,
    dry_run: bool,
}

/// Runs the command.
pub(super) fn run(flags: &Flags, session: &Session) -> Done {
    let mode = flags.progress.mode(&session.environment)?;
    let root = session.state_root()?;
    enter_sandbox()?;
    let mut watch = Watch::new(mode, session);
    let found = watch.follow(|reporter, cancel| {
        step((reporter, cancel), (0, format!("verifying {}", root.display())), |progress| {
            let leftovers = abandoned(&root)?;
            let (store, mode) = match flags.dry_run {
                true => (Store::open_unswept(&root)?, Mode::Look),
                false => (Store::open(&root)?, Mode::Repair),
            };
            let report = verify(&store, mode, progress, cancel)?;
            if store.has_written() {
                settle::in_background(&root);
            }
            Ok(Found { report, leftovers, dry_run: flags.dry_run })
        })
        .map_err(|error| vec![failed(&error)])
    })?;
    answer(&match flags.format {
        Format::Table => found.table(),
        Format::Json => format!("{}\n", found.json()),
    })?;
    let findings = &found.report.findings;
    match findings.is_empty() || found.report.is_repaired() && !flags.dry_run {
        true => Ok(()),
        false => Err(Failure::Code(1)),
    }
}

fn failed(error: &VerifyError) -> Diagnostic {
    Diagnostic::new(Blame::Machine, error.to_string()).hint(error.hint()).causes_of(error)
}

impl Found {
    fn table(&self) -> String {
        let mut lines: Vec<String> = self.report.findings.iter().map(|it| self.line(it)).collect();
        let swept = if self.dry_run { "would be swept" } else { "swept" };
        let left = self.leftovers.iter();
        lines.extend(left.map(|path| format!("{path}: left by a process that died: {swept}")));
        lines.push(self.sum());
        lines.iter().map(|line| format!("{}\n", text::single_line(line))).collect()
    }

    fn line(&self, finding: &Finding) -> String {
        let done = match (finding.outcome, self.dry_run) {
            (Outcome::Removed, false) => "removed",
            (Outcome::Removed, true) => "would be removed",
            (Outcome::Reduced, false) => "removed, to be made again of the rest",
            (Outcome::Reduced, true) => "would be removed, to be made again of the rest",
            (Outcome::Lost, false) => "taken away",
            (Outcome::Lost, true) => "would be taken away",
            (Outcome::Renewed, false) => "counts again",
            (Outcome::Renewed, true) => "would count again",
            (Outcome::InUse, _) => "in use, left alone",
        };
        let Finding { kind, id, problem, outcome: _ } = finding;
        format!("{kind} {id}: {problem}: {done}")
    }

    fn sum(&self) -> String {
        let amount = self.report.amount;
        let counted =
            |count: u64, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let read = format!(
            "{}, {} with {}, {}, {} read",
            counted(amount.blobs, "blob"),
            counted(amount.layers, "layer"),
            counted(amount.files, "file"),
            counted(amount.records, "record"),
            text::bytes(amount.bytes)
        );
        format!("{read}: {}", self.verdict())
    }

    fn verdict(&self) -> String {
        let of = |outcome| self.report.findings.iter().filter(|it| it.outcome == outcome).count();
        let problems = match self.report.findings.len() {
            0 => return "all is well".to_owned(),
            1 => "1 problem".to_owned(),
            count => format!("{count} problems"),
        };
        let (lost, in_use) = (of(Outcome::Lost), of(Outcome::InUse));
        let lost = (lost > 0).then_some("pull or build again what has lost its name");
        let in_use = (in_use > 0).then_some("check again when nothing is in use");
        let open: Vec<_> = [lost, in_use].into_iter().flatten().collect();
        match (self.dry_run, open.is_empty()) {
            (true, _) => format!("{problems}, nothing was changed"),
            (false, true) => format!("{problems}, all repaired"),
            (false, false) => format!("{problems}; {}", open.join("; ")),
        }
    }

    fn json(&self) -> serde_json::Value {
        let Report { amount, findings } = &self.report;
        let finding = |it: &Finding| {
            serde_json::json!({
                "Kind": it.kind, "ID": it.id, "Problem": it.problem, "Outcome": it.outcome.name(),
            })
        };
        serde_json::json!({
            "Findings": findings.iter().map(finding).collect::<Vec<_>>(),
            "Leftovers": self.leftovers,
            "DryRun": self.dry_run,
            "Blobs": amount.blobs,
            "Layers": amount.layers,
            "Files": amount.files,
            "Records": amount.records,
            "Bytes": amount.bytes,
        })
    }
}
