//! What each stage starts from: nothing, an image, a directory; and the triggers that come with it.

use std::collections::{BTreeMap, BTreeSet};

use super::stage::{self, StageId, Stages};
use super::{Base, Bases, Failure, GraphError, ImageLocation, ImageRequest, NamedContext, Request};
use crate::dockerfile;
use crate::dockerfile::ast::{Command, Instruction, Span};
use crate::oci::Reference;

/// What a stage without a parent stage starts from.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    Scratch,
    Image(Box<(ImageRequest, Base)>),
    Directory(std::path::PathBuf),
}

pub(super) type Origins = BTreeMap<StageId, Origin>;

/// Finds what every stage starts from and adds the triggers of the bases, until nothing new is needed.
pub(super) fn resolve(
    stages: &mut Stages,
    target: StageId,
    request: &Request,
    bases: &Bases,
) -> Result<Origins, Failure> {
    let mut origins = Origins::new();
    let mut triggered = BTreeSet::new();
    for id in stages.ids() {
        check_base_name(stages, id)?;
    }
    loop {
        let reachable = stages.wanted(target, request);
        let mut needed = Vec::new();
        for id in reachable.iter().copied().filter(|id| stages.get(*id).base.is_none()) {
            match origin(stages.get(id), request, bases)? {
                Ok(found) => drop(origins.insert(id, found)),
                Err(missing) => {
                    let known = needed.iter().any(|(request, _)| *request == missing);
                    if !known {
                        needed.push((missing, Some(stages.get(id).span)));
                    }
                }
            }
        }
        if !needed.is_empty() {
            return Err(Failure::Need(needed));
        }
        let mut grown = false;
        for id in reachable {
            if triggered.insert(id) {
                grown |= add_triggers(stages, id, &origins)?;
            }
        }
        if !grown {
            return Ok(origins);
        }
    }
}

/// Rejects a base that is no image name even in a stage that is not needed.
fn check_base_name(stages: &Stages, id: StageId) -> Result<(), GraphError> {
    let stage = stages.get(id);
    if stage.base.is_some() || stage.is_scratch() || stage.replaced_by.is_some() {
        return Ok(());
    }
    match Reference::parse(&stage.base_name) {
        Ok(_) => Ok(()),
        Err(error) => Err(GraphError::from(error)
            .at(stage.span)
            .suggest(&stage.base_name, stages.suggestions())),
    }
}

/// Returns what a stage starts from, or the image that must be resolved first.
fn origin(
    stage: &stage::Stage,
    request: &Request,
    bases: &Bases,
) -> Result<Result<Origin, ImageRequest>, GraphError> {
    let platform = stage.platform.as_ref();
    let named = match (&stage.replaced_by, stage.is_scratch()) {
        (Some(context), _) => Some(context.clone()),
        (None, true) => return Ok(Ok(Origin::Scratch)),
        (None, false) => stage::named_context(request, &stage.base_name, platform),
    };
    let platform = platform.unwrap_or(request.target_platform()).clone();
    let location = match named {
        Some(NamedContext::Directory(path)) => return Ok(Ok(Origin::Directory(path))),
        Some(NamedContext::Scratch) => return Ok(Ok(Origin::Scratch)),
        Some(NamedContext::Image(location)) => location,
        None => {
            let location = ImageLocation::named(&stage.base_name);
            location.map_err(|e| GraphError::from(e).at(stage.span))?
        }
    };
    let wanted = ImageRequest { location, platform };
    Ok(match bases.get(&wanted) {
        Some(base) => Ok(Origin::Image(Box::new((wanted, base.clone())))),
        None => Err(wanted),
    })
}

/// Puts the ONBUILD triggers of a stage's base in front of its own steps; returns whether there were any.
fn add_triggers(stages: &mut Stages, id: StageId, origins: &Origins) -> Result<bool, GraphError> {
    let stage = stages.get(id);
    if stage.implicit || stage.replaced_by.is_some() {
        return Ok(false);
    }
    let texts: Vec<String> = match (stage.base, origins.get(&id)) {
        (Some(parent), _) => parent_triggers(stages.get(parent)),
        (None, Some(Origin::Image(image))) => image.1.config.config.on_build.clone(),
        _ => Vec::new(),
    };
    let span = stage.span;
    let commands = texts.iter().map(|text| trigger(text, span)).collect::<Result<Vec<_>, _>>()?;
    if commands.is_empty() {
        return Ok(false);
    }
    stages.add_triggers(id, commands).map_err(|error| error.at(span))?;
    Ok(true)
}

fn parent_triggers(parent: &stage::Stage) -> Vec<String> {
    let texts = parent.steps.iter().filter_map(|step| match &step.command.instruction {
        Instruction::Onbuild(text) => Some(text.clone()),
        _ => None,
    });
    texts.collect()
}

fn trigger(text: &str, span: Span) -> Result<Command, GraphError> {
    let parsed = dockerfile::parse_trigger(text);
    let mut command = parsed.map_err(|errors| {
        let error = errors.first().map_or_else(String::new, ToString::to_string);
        GraphError::new(format!("the base has the trigger `ONBUILD {text}`: {error}")).at(span)
    })?;
    command.span = span;
    Ok(command)
}

/// The image at the bottom of a stage's chain of parents.
pub(super) fn root_image(
    stages: &Stages,
    origins: &Origins,
    mut id: StageId,
) -> Option<(ImageRequest, Base)> {
    while let Some(parent) = stages.get(id).base {
        id = parent;
    }
    match origins.get(&id) {
        Some(Origin::Image(image)) => Some(image.as_ref().clone()),
        _ => None,
    }
}
