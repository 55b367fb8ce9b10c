//! Pushing what a build makes: each layer as soon as it is there, while later steps still run, and the image once it
//! is whole.
//!
//! What is sent early is only ever blobs: nobody can pull them before the image has its name. Early sending is a help
//! and no more: it stops at the first failure, and what is wrong is found out and said when the image is pushed.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Scope;

use super::{Build, Inputs, Squash};
use crate::event::{Cancel, Event, Reporter, StepId};
use crate::export::image::{self, ImageLayer};
use crate::export::product::Finished;
use crate::export::registry::Push;
use crate::export::{ExportError, Exporter, Output, blob};
use crate::graph::{Plan, VertexId};
use crate::oci::Reference;
use crate::registry::{Client, ConfigError, Settings, Web};
use crate::snapshot::{LayerId, Snapshots};
use crate::source::SourceError;
use crate::source::blobs::StoreBlobs;
use crate::source::closure::{Closure, Selection};
use crate::store::Store;

/// One output that is pushed.
pub(super) struct Target {
    output: Output,
    client: Client,
    /// The same for what is sent early, which ends when the build fails.
    early: Client,
    names: Vec<Reference>,
}

impl Target {
    /// Returns the outputs that are pushed, with the names that they are pushed to; `stop` ends what is sent early.
    pub(super) fn of(
        request: &Build,
        inputs: &Inputs,
        (cancel, stop): (&Cancel, &Cancel),
    ) -> Result<Vec<Self>, ConfigError> {
        let pushed = request.outputs.iter().filter(|output| output.push);
        let target = |output: &Output| {
            let verify = if output.insecure { Some(false) } else { request.registry.verify };
            let settings = Settings { verify, ..request.registry.clone() };
            Ok(Self {
                output: output.clone(),
                client: Web::new(&settings, cancel)?.client,
                early: Web::new(&settings, stop)?.client,
                names: inputs.names(output),
            })
        };
        pushed.map(target).collect()
    }
}

/// What pushing needs.
pub(super) struct Pushing<'a> {
    pub(super) store: &'a Store,
    pub(super) reporter: &'a dyn Reporter,
    pub(super) cancel: &'a Cancel,
    /// Ends what is sent early.
    pub(super) stop: &'a Cancel,
    pub(super) targets: &'a [Target],
}

impl<'a> Pushing<'a> {
    /// Pushes the image that an output made to all its names.
    pub(super) fn image(
        &self,
        output: &Output,
        finished: &Finished,
        first_step: u32,
    ) -> Result<(), ExportError> {
        let Some(target) = self.targets.iter().find(|target| target.output == *output) else {
            return Ok(());
        };
        let place = StoreBlobs::new(self.store);
        let closure = Closure::of(&place, &finished.root, &Selection::All)?;
        for (step, name) in (first_step..).zip(&target.names) {
            let step = StepId(step);
            let began = std::time::Instant::now();
            let name_of_step = format!("pushing {}", name.familiar());
            self.reporter.report(Event::Started { step, name: name_of_step });
            let progress = |what: &str, current, total| {
                self.reporter.report(Event::Progress {
                    step,
                    what: what.to_owned(),
                    current,
                    total,
                });
            };
            let exporter = Exporter { store: self.store, progress: &progress, cancel: self.cancel };
            let push =
                Push { exporter: &exporter, client: &target.client, target: name, place: &place };
            let pushed = push.run(&closure);
            self.reporter.report(match &pushed {
                Ok(_) => Event::Done { step, took: began.elapsed() },
                Err(ExportError::Canceled) => Event::Canceled { step },
                Err(error) => Event::Failed { step, message: error.to_string() },
            });
            pushed?;
        }
        Ok(())
    }

    /// Begins to send layers on a thread of `scope`; it ends when what is returned is dropped.
    pub(super) fn early<'scope>(
        &'scope self,
        request: &Build,
        plan: &'scope Plan,
        scope: &'scope Scope<'scope, '_>,
    ) -> Option<Early> {
        let is_early = |target: &&Target| !target.output.rewrite_timestamp;
        let targets: Vec<_> = self.targets.iter().filter(is_early).collect();
        if targets.is_empty() || request.squash != Squash::No {
            return None;
        }
        let (sender, receiver) = channel();
        scope.spawn(move || self.send_layers(&receiver, &targets));
        Some(Early { vertices: result_vertices(plan), sender })
    }

    fn send_layers(&self, layers: &Receiver<LayerId>, targets: &[&Target]) {
        for layer in layers {
            for target in targets {
                if self.stop.is_canceled() || self.send_layer(layer, target).is_err() {
                    return;
                }
            }
        }
    }

    fn send_layer(&self, id: LayerId, target: &Target) -> Result<(), ExportError> {
        let exporter = Exporter { store: self.store, progress: &|_, _, _| {}, cancel: self.stop };
        let diff_id = Snapshots::new(self.store).diff_id(id).map_err(SourceError::from)?;
        let layer = ImageLayer { id, diff_id, blob: None, created: Some(0) };
        let made = blob::layer(&exporter, &layer, &image::wanted(&target.output), None)?;
        let place = StoreBlobs::new(self.store);
        for name in &target.names {
            let (client, target) = (&target.early, name);
            Push { exporter: &exporter, client, target, place: &place }.blob(&made.descriptor)?;
        }
        Ok(())
    }
}

/// Takes layers that are to be sent.
pub(super) struct Early {
    vertices: BTreeSet<VertexId>,
    sender: Sender<LayerId>,
}

impl Early {
    /// Sends the layers of a vertex if they are a part of the image.
    pub(super) fn take(&self, vertex: VertexId, layers: &[LayerId]) {
        if self.vertices.contains(&vertex) {
            for layer in layers {
                // A thread that has given up hears nothing.
                let _ = self.sender.send(*layer);
            }
        }
    }
}

/// Returns the vertices whose layers are the images'.
fn result_vertices(plan: &Plan) -> BTreeSet<VertexId> {
    let chain = |result| std::iter::successors(result, |id| plan.graph.get(*id).base);
    plan.images.iter().flat_map(|image| chain(image.result)).collect()
}
