//! From the solved file system to outputs and names.

use std::sync::Arc;

use super::push::Pushing;
use super::{Build, Inputs, Outcome, Squash, report};
use crate::diagnostic::Diagnostic;
use crate::digest::ChainId;
use crate::event::{Cancel, Event, Reporter, StepId};
use crate::export::image::{Image, ImageLayer, wanted};
use crate::export::product::{Finished, Product};
use crate::export::{ExportError, Exporter, Output, OutputKind};
use crate::graph::{Plan, Planned};
use crate::layer::Compression;
use crate::snapshot::Snapshots;
use crate::solve::State;
use crate::source::image::Images;
use crate::source::names::remember_chain;
use crate::store::Store;

/// What finishing needs.
pub(super) struct Finish<'a> {
    pub(super) request: &'a Build,
    pub(super) store: &'a Store,
    pub(super) images: &'a Images<'a>,
    pub(super) inputs: &'a Inputs,
    pub(super) reporter: &'a dyn Reporter,
    pub(super) cancel: &'a Cancel,
    pub(super) pushing: Pushing<'a>,
}

/// Puts the image together and writes every output.
pub(super) fn finish(
    finish: &Finish<'_>,
    plan: &Plan,
    states: &[Option<Arc<State>>],
) -> Result<Outcome, Vec<Diagnostic>> {
    let step = StepId(plan.graph.len() as u32);
    let start = std::time::Instant::now();
    finish.reporter.report(Event::Started { step, name: "exporting".to_owned() });
    let result = export(finish, plan, states, step);
    finish.reporter.report(match &result {
        Ok(_) => Event::Done { step, took: start.elapsed() },
        Err(ExportError::Canceled) => Event::Canceled { step },
        Err(error) => Event::Failed { step, message: error.to_string() },
    });
    let (outcome, pushed) = result.map_err(|error| report::export(&error))?;
    let mut next = step.0 + 1;
    for (output, finished) in &pushed {
        let done = finish.pushing.image(output, finished, next);
        done.map_err(|error| report::push(&error))?;
        next += finish.inputs.names(output).len() as u32;
    }
    Ok(outcome)
}

fn export(
    finish: &Finish<'_>,
    plan: &Plan,
    states: &[Option<Arc<State>>],
    step: StepId,
) -> Result<(Outcome, Vec<(Output, Finished)>), ExportError> {
    let assembled = plan.images.iter().zip(states).map(|(planned, state)| {
        Ok((planned.platform.clone(), assemble(finish, planned, state.as_deref())?))
    });
    let images = assembled.collect::<Result<_, ExportError>>()?;
    let product = Product { images, is_index: finish.inputs.is_index };
    let progress = |what: &str, current, total| {
        finish.reporter.report(Event::Progress { step, what: what.to_owned(), current, total });
    };
    let exporter = Exporter { store: finish.store, progress: &progress, cancel: finish.cancel };
    let mut names = Vec::new();
    let mut first: Option<Finished> = None;
    let mut pushed = Vec::new();
    for output in outputs(finish.request) {
        let tags = finish.inputs.names(&output);
        let kept = if output.push_by_digest { &[][..] } else { &tags };
        let finished = exporter.export(&product, &output, kept)?;
        names.extend(tags.iter().map(ToString::to_string));
        if output.push {
            pushed.push((output, finished.clone()));
        }
        first.get_or_insert(finished);
    }
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    let finished = first.ok_or_else(|| ExportError::Format("there is no output".to_owned()))?;
    let outcome = Outcome {
        manifest: finished.root.digest,
        manifest_size: finished.root.size,
        media_type: finished.root.media_type.to_string(),
        config: finished.config().map(|config| config.digest),
        names,
        wrote: finish.store.has_written(),
    };
    Ok((outcome, pushed))
}

/// What is asked for; the local store gets the image as well if it has a name or nobody else gets it.
fn outputs(request: &Build) -> Vec<Output> {
    let mut outputs = request.outputs.clone();
    let is_kept = outputs.iter().any(|output| output.kind == OutputKind::Image);
    if outputs.is_empty() || (!is_kept && !request.tags.is_empty()) {
        outputs.push(Output::new(OutputKind::Image, None));
    }
    outputs
}

/// Returns how all outputs want the layers that steps make; `None`: not compressed, each in another way, or merged or
/// with other times. What only becomes an image of the local store is not read before it is asked for.
pub(super) fn compression(request: &Build) -> Option<Compression> {
    let is_read = |output: &&Output| {
        output.kind != OutputKind::Image
            || output.push
            || wanted(output).compression != Compression::Uncompressed
    };
    let of_layer = |output: &Output| match output.kind {
        OutputKind::Local | OutputKind::Tar => Compression::Uncompressed,
        _ if output.rewrite_timestamp => Compression::Uncompressed,
        OutputKind::Image | OutputKind::Oci { .. } | OutputKind::Docker { .. } => {
            wanted(output).compression
        }
    };
    let mut each = request.outputs.iter().filter(is_read).map(of_layer);
    let first = each.next().filter(|_| request.squash == Squash::No)?;
    (first != Compression::Uncompressed && each.all(|other| other == first)).then_some(first)
}

fn assemble(
    finish: &Finish<'_>,
    plan: &Planned,
    state: Option<&State>,
) -> Result<Image, ExportError> {
    let snapshots = Snapshots::new(finish.store);
    let base_layers = match &plan.base {
        Some((request, _)) => finish.images.resolve(request)?.manifest.layers,
        None => Vec::new(),
    };
    let mut layers: Vec<ImageLayer> = Vec::new();
    let mut base_count = 0;
    for link in state.map_or_else(Vec::new, State::chain) {
        for id in &link.own {
            let diff_id = snapshots.diff_id(*id)?;
            let blob = base_layers.get(layers.len()).filter(|_| link.created.is_none()).cloned();
            layers.push(ImageLayer { id: *id, diff_id, blob, created: link.created });
        }
        if link.created.is_none() {
            base_count = layers.len();
        }
    }
    let chains = ChainId::of_each(layers.iter().map(|layer| &layer.diff_id));
    for (chain, layer) in chains.zip(&layers).skip(base_count) {
        remember_chain(finish.store, chain, layer.id)?;
    }
    let image = Image::new(plan.config.clone(), layers, plan.epoch);
    match finish.request.squash {
        Squash::No => Ok(image),
        Squash::Stage => image.merged(base_count, snapshots),
        Squash::All => image.merged(0, snapshots),
    }
}
