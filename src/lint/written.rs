//! Rules about what is written: keywords, names, comments. They look at every stage, used or not.

use std::collections::BTreeSet;

use super::{Report, Rule};
use crate::dockerfile::ast::{Command, Dockerfile, Instruction, Span, Stage};
use crate::graph::quote;

pub(super) fn check(file: &Dockerfile, report: &mut Report<'_>) {
    for warning in &file.warnings {
        // The reference reports the line where the instruction ends; the bytes are those of the blank line.
        let span = Span { first_line: warning.span.last_line, ..warning.span };
        report.add(Rule::NoEmptyContinuation, span, &[], "Empty continuation line".to_owned());
    }
    for command in &file.global_args {
        instruction(command, report);
    }
    for stage in &file.stages {
        from(stage, report);
        for command in &stage.commands {
            instruction(command, report);
        }
    }
    stage_names(&file.stages, report);
    keyword_casing(&file.stages, report);
}

fn is_lower(text: &str) -> bool {
    text == text.to_lowercase()
}

fn is_upper(text: &str) -> bool {
    text == text.to_uppercase()
}

fn from(stage: &Stage, report: &mut Report<'_>) {
    if stage.name.is_empty() {
        return;
    }
    // The tree has the name in lower case; the line has it as written, behind AS.
    let mut words = stage.code.split_whitespace().rev();
    let (name, keyword) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if !is_lower(name) {
        let message = format!("Stage name '{name}' should be lowercase");
        report.add(Rule::StageNameCasing, stage.span, &stage.comments, message);
    }
    let from = stage.keyword.as_str();
    let matches = match (is_lower(from), is_upper(from)) {
        (true, _) => is_lower(keyword),
        (false, true) => is_upper(keyword),
        // The keyword itself is found by another rule.
        (false, false) => true,
    };
    if !matches {
        let message = format!("'{keyword}' and '{from}' keywords' casing do not match");
        report.add(Rule::FromAsCasing, stage.span, &stage.comments, message);
    }
    description("FROM", &[&stage.name], stage.span, &stage.comments, report);
}

fn instruction(command: &Command, report: &mut Report<'_>) {
    let (span, comments) = (command.span, &command.comments);
    match &command.instruction {
        Instruction::Maintainer(_) => {
            let message = "Maintainer instruction is deprecated in favor of using label".to_owned();
            report.add(Rule::MaintainerDeprecated, span, comments, message);
        }
        Instruction::Arg(definitions) => {
            let names: Vec<_> = definitions.iter().map(|one| one.key.as_str()).collect();
            description("ARG", &names, span, comments, report);
        }
        Instruction::Add(_)
        | Instruction::Cmd(_)
        | Instruction::Copy(_)
        | Instruction::Entrypoint(_)
        | Instruction::Env(_)
        | Instruction::Expose(_)
        | Instruction::Healthcheck(_)
        | Instruction::Label(_)
        | Instruction::Onbuild(_)
        | Instruction::Run(_)
        | Instruction::Shell(_)
        | Instruction::Stopsignal(_)
        | Instruction::User(_)
        | Instruction::Volume(_)
        | Instruction::Workdir(_) => {}
    }
}

/// The last comment above a definition begins with what is defined.
fn description(
    keyword: &str,
    names: &[&str],
    span: Span,
    comments: &[String],
    report: &mut Report<'_>,
) {
    let Some(last) = comments.last() else { return };
    let first = last.split(' ').next().unwrap_or_default();
    if names.contains(&first) {
        return;
    }
    let example = match names {
        [one] => one,
        _ => "<arg_key>",
    };
    let message =
        format!("Comment for {keyword} should follow the format: `# {example} <description>`");
    report.add(Rule::InvalidDefinitionDescription, span, comments, message);
}

fn stage_names(stages: &[Stage], report: &mut Report<'_>) {
    let mut seen = BTreeSet::new();
    for stage in stages.iter().filter(|stage| !stage.name.is_empty()) {
        let name = stage.name.as_str();
        if ["context", "scratch"].contains(&name) {
            let message = format!(
                "Stage name should not use the same name as reserved stage {}",
                quote(name)
            );
            report.add(Rule::ReservedStageName, stage.span, &[], message);
        }
        if !seen.insert(name) {
            let message =
                format!("Duplicate stage name {}, stage names should be unique", quote(name));
            report.add(Rule::DuplicateStageName, stage.span, &[], message);
        }
    }
}

/// All keywords are in the letter case of most of them.
fn keyword_casing(stages: &[Stage], report: &mut Report<'_>) {
    let keywords = || {
        stages.iter().flat_map(|stage| {
            let commands = stage.commands.iter().map(|one| (one.keyword.as_str(), one.span));
            std::iter::once((stage.keyword.as_str(), stage.span)).chain(commands)
        })
    };
    let lower = keywords().filter(|(keyword, _)| is_lower(keyword)).count();
    let upper = keywords().filter(|(keyword, _)| is_upper(keyword)).count();
    let (fits, wanted): (fn(&str) -> bool, _) =
        if lower > upper { (is_lower, "lowercase") } else { (is_upper, "uppercase") };
    for (keyword, span) in keywords().filter(|(keyword, _)| !fits(keyword)) {
        let message =
            format!("Command '{keyword}' should match the case of the command majority ({wanted})");
        report.add(Rule::ConsistentInstructionCasing, span, &[], message);
    }
}
