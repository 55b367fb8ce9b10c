//! The table of stages: names, bases, what each needs, and which of them the target needs.
//!
//! A stage here is a FROM of the Dockerfile, or an image that COPY --from or RUN --mount=from names without a FROM.
//! Names are looked up as the reference does it: FROM looks for the text as written among lower-cased names, all
//! others look case-insensitively, and of equal names the last one before wins.

use std::collections::{BTreeMap, BTreeSet};

use super::from::Froms;
use super::{GraphError, NamedContext, Request};
use crate::dockerfile::ast::{self, Command, Instruction, Span};
use crate::dockerfile::mount;
use crate::oci::{Platform, Reference};

/// Numbers a stage in order of definition.
pub(super) type StageId = usize;

/// One instruction of a stage, with the stages that it names.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) command: Command,
    /// For COPY the stage of `--from`, for RUN one for each mount; `None` where none is named.
    pub(super) sources: Vec<Option<StageId>>,
    pub(super) on_build: bool,
}

/// One stage.
#[derive(Debug, Clone)]
pub(super) struct Stage {
    /// As written after AS, lower case; empty if it has none.
    pub(super) name: String,
    /// What people see: the name, or `stage-<index>`.
    pub(super) display: String,
    /// What it is based on, expanded.
    pub(super) base_name: String,
    /// The stage that it is based on.
    pub(super) base: Option<StageId>,
    /// `FROM --platform`
    pub(super) platform: Option<Platform>,
    /// A named context that takes the whole stage's place.
    pub(super) replaced_by: Option<NamedContext>,
    pub(super) steps: Vec<Step>,
    /// Only named by `--from`, without a FROM of its own.
    pub(super) implicit: bool,
    pub(super) span: Span,
}

impl Stage {
    pub(super) fn is_scratch(&self) -> bool {
        self.base_name == "scratch"
    }

    /// Whether the build was given something else under its name or that of its base.
    pub(super) fn is_named_context(&self, request: &Request) -> bool {
        let platform = self.platform.as_ref();
        self.replaced_by.is_some() || named_context(request, &self.base_name, platform).is_some()
    }

    /// How many steps people see: the base image, and each instruction that makes a layer.
    pub(super) fn visible_steps(&self) -> usize {
        let base = usize::from(self.base.is_none() && !self.is_scratch());
        base + self.steps.iter().filter(|step| is_visible(&step.command.instruction)).count()
    }

    /// Which stages it needs, and where it says so.
    fn needs(&self) -> impl Iterator<Item = (StageId, Span)> + '_ {
        let of_step = |step: &'_ Step| {
            let span = step.command.span;
            step.sources.iter().flatten().map(move |id| (*id, span)).collect::<Vec<_>>()
        };
        let base = self.base.map(|id| (id, self.span));
        base.into_iter().chain(self.steps.iter().flat_map(of_step))
    }
}

fn is_visible(instruction: &Instruction) -> bool {
    matches!(
        instruction,
        Instruction::Add(_) | Instruction::Copy(_) | Instruction::Run(_) | Instruction::Workdir(_)
    )
}

/// All stages.
#[derive(Debug, Clone, Default)]
pub(super) struct Stages {
    stages: Vec<Stage>,
    by_name: BTreeMap<String, StageId>,
}

impl Stages {
    pub(super) fn new(
        file: &ast::Dockerfile,
        request: &Request,
        mut froms: Froms<'_, '_>,
    ) -> Result<Self, GraphError> {
        let mut stages = Self::default();
        for (index, stage) in file.stages.iter().enumerate() {
            let mut made = froms.stage(stage, index).map_err(|error| error.at(stage.span))?;
            if !made.name.is_empty() {
                made.replaced_by = named_context(request, &made.name, made.platform.as_ref());
            }
            stages.add(made);
        }
        for (id, stage) in file.stages.iter().enumerate() {
            for command in &stage.commands {
                let step = stages.step(command.clone(), false).map_err(|e| e.at(command.span))?;
                stages.stages[id].steps.push(step);
            }
        }
        stages.reject_cycles()?;
        if stages.stages.len() == 1 {
            stages.stages[0].display.clear();
        }
        Ok(stages)
    }

    pub(super) fn get(&self, id: StageId) -> &Stage {
        &self.stages[id]
    }

    pub(super) fn ids(&self) -> std::ops::Range<StageId> {
        0..self.stages.len()
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let named = self.stages.iter().filter(|stage| !stage.implicit && !stage.name.is_empty());
        named.map(|stage| stage.name.as_str())
    }

    /// Returns names that a mistyped base may have meant.
    pub(super) fn suggestions(&self) -> Vec<&str> {
        let common = ["alpine", "busybox", "centos", "debian", "fedora", "golang", "ubuntu"];
        self.names().chain(common).collect()
    }

    fn add(&mut self, mut stage: Stage) -> StageId {
        let id = self.stages.len();
        if stage.replaced_by.is_none() {
            stage.base = self.by_name.get(&stage.base_name).copied();
        }
        if !stage.name.is_empty() {
            self.by_name.insert(stage.name.clone(), id);
        }
        self.stages.push(stage);
        id
    }

    /// Returns the stage that `--target` means; without one the last FROM.
    pub(super) fn target(&self, name: Option<&str>) -> Result<StageId, GraphError> {
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            let last = self.stages.iter().rposition(|stage| !stage.implicit);
            return last
                .ok_or_else(|| GraphError::new("the Dockerfile contains no stage to build"));
        };
        self.by_name.get(&name.to_lowercase()).copied().ok_or_else(|| {
            GraphError::new(format!("target stage `{name}` could not be found"))
                .suggest(name, self.names())
        })
    }

    /// Turns an instruction into a step, adding stages for the images that it names.
    fn step(&mut self, command: Command, on_build: bool) -> Result<Step, GraphError> {
        let sources = match &command.instruction {
            Instruction::Copy(copy) if !copy.from.is_empty() => {
                vec![Some(self.copy_source(&copy.from.clone(), command.span)?)]
            }
            Instruction::Run(run) => {
                let names: Vec<_> = run.mounts.iter().map(|text| mount::from(text)).collect();
                names
                    .into_iter()
                    .map(|name| name.map(|name| self.named_source(&name, command.span)))
                    .collect()
            }
            _ => Vec::new(),
        };
        Ok(Step { command, sources, on_build })
    }

    fn copy_source(&mut self, from: &str, span: Span) -> Result<StageId, GraphError> {
        if from.contains('$') {
            return Err(GraphError::new("variables are not expanded in `--from`").hint(
                "give the image a name with `FROM image AS name`, using a global ARG there, and copy from the name",
            ));
        }
        match from.parse::<i64>() {
            Ok(index) if index >= 0 && (index as usize) < self.stages.len() => Ok(index as usize),
            Ok(index) => Err(GraphError::new(format!("there is no stage with the index {index}"))),
            Err(_) => Ok(self.named_source(from, span)),
        }
    }

    fn named_source(&mut self, name: &str, span: Span) -> StageId {
        if let Some(id) = self.by_name.get(&name.to_lowercase()) {
            return *id;
        }
        let same = |stage: &Stage| stage.implicit && stage.base_name == name;
        self.stages.iter().position(same).unwrap_or_else(|| {
            self.add(Stage {
                name: String::new(),
                display: String::new(),
                base_name: name.to_owned(),
                base: None,
                platform: None,
                replaced_by: None,
                steps: Vec::new(),
                implicit: true,
                span,
            })
        })
    }

    /// Puts the triggers of a base in front of a stage's own steps.
    pub(super) fn add_triggers(
        &mut self,
        id: StageId,
        triggers: impl IntoIterator<Item = Command>,
    ) -> Result<(), GraphError> {
        let steps = triggers.into_iter().map(|command| self.step(command, true));
        let steps = steps.collect::<Result<Vec<_>, _>>()?;
        self.stages[id].steps.splice(0..0, steps);
        self.reject_cycles()
    }

    /// Returns the stages that are lowered: those that the target needs, itself included, or all.
    pub(super) fn wanted(&self, target: StageId, request: &Request) -> BTreeSet<StageId> {
        let mut found = BTreeSet::new();
        let mut open = if request.every_stage { self.ids().collect() } else { vec![target] };
        while let Some(id) = open.pop() {
            if found.insert(id) && self.stages[id].replaced_by.is_none() {
                open.extend(self.stages[id].needs().map(|(id, _)| id));
            }
        }
        found
    }

    fn reject_cycles(&self) -> Result<(), GraphError> {
        let mut done = BTreeSet::new();
        self.ids().try_for_each(|id| self.visit(id, &mut done))
    }

    /// Follows what a stage needs, in depth but not by recursion: there may be more stages than the stack has room for.
    fn visit(&self, top: StageId, done: &mut BTreeSet<StageId>) -> Result<(), GraphError> {
        // The stages that led here, each with the place that leads on and with what it needs besides.
        let mut path: Vec<(StageId, Span, std::vec::IntoIter<_>)> = Vec::new();
        let mut next = Some(top);
        loop {
            if let Some(id) = next.take().filter(|id| !done.contains(id)) {
                if let Some(start) = path.iter().position(|(seen, ..)| *seen == id) {
                    return Err(
                        self.circle(path[start..].iter().map(|(id, place, _)| (*id, *place)))
                    );
                }
                let needs: Vec<_> = self.stages[id].needs().collect();
                path.push((id, Span::default(), needs.into_iter()));
            }
            let Some((id, place, needs)) = path.last_mut() else { return Ok(()) };
            match needs.next() {
                Some((need, span)) => (next, *place) = (Some(need), span),
                None => {
                    done.insert(*id);
                    path.pop();
                }
            }
        }
    }

    fn circle(&self, stages: impl Iterator<Item = (StageId, Span)>) -> GraphError {
        let (ids, places): (Vec<_>, Vec<_>) = stages.unzip();
        let names: Vec<_> =
            ids.iter().chain(ids.first()).map(|id| self.stages[*id].display.as_str()).collect();
        let message = format!("stages depend on each other in a circle: {}", names.join(" -> "));
        places.into_iter().take(1).fold(GraphError::new(message), GraphError::at)
    }
}

/// Returns the named context that stands for `name`, a stage's name or an image reference.
pub(super) fn named_context(
    request: &Request,
    name: &str,
    platform: Option<&Platform>,
) -> Option<NamedContext> {
    let is_reserved = |word: &&str| name.eq_ignore_ascii_case(word);
    if request.named_contexts.is_empty() || ["scratch", "context"].iter().any(is_reserved) {
        return None;
    }
    let key = context_key(name);
    let platform = platform.unwrap_or(request.target_platform());
    let specific = format!("{key}::{}", platform);
    request.named_contexts.get(&specific).or_else(|| request.named_contexts.get(&key)).cloned()
}

/// Returns the form of a name in which named contexts are looked up: an image reference in its familiar form
/// without `:latest`, anything else as it is.
pub fn context_key(name: &str) -> String {
    match Reference::parse(name) {
        Ok(reference) => {
            let familiar = reference.familiar();
            familiar.strip_suffix(":latest").unwrap_or(&familiar).to_owned()
        }
        Err(_) => name.to_owned(),
    }
}
