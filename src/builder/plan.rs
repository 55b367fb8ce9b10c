//! Lowering with everything that it needs: images are resolved, several at once, until the graph is complete.

use std::collections::BTreeSet;

use super::{Inputs, report};
use crate::diagnostic::{Blame, Diagnostic};
use crate::dockerfile::ast::{Dockerfile, Span};
use crate::dockerfile::suggest::nearest;
use crate::event::{Event, Reporter, StepId};
use crate::graph::{self, Base, Bases, Fact, Failure, ImageRequest, Plan};
use crate::source::SourceError;
use crate::source::image::Images;

/// Steps before the graph has numbers of their own, far above any vertex.
const FIRST_STEP: u32 = 1 << 24;

/// Lowers a Dockerfile for every platform, resolving the images that it names; `facts` becomes what lowering for the
/// first platform saw.
pub(super) fn lower(
    inputs: &Inputs,
    file: &Dockerfile,
    images: &Images<'_>,
    reporter: &dyn Reporter,
    facts: &mut Vec<Fact>,
) -> Result<Plan, Vec<Diagnostic>> {
    let mut bases = Bases::new();
    let mut step = FIRST_STEP;
    loop {
        let (mut plan, mut needed) = (Plan::default(), Vec::new());
        for (index, request) in inputs.requests.iter().enumerate() {
            let mut unheeded = Vec::new();
            let facts = if index == 0 { &mut *facts } else { &mut unheeded };
            match graph::lower(file, request, &bases, facts) {
                Ok(lowered) => plan.add(request.target_platform().clone(), lowered),
                Err(Failure::Need(more)) => needed.extend(more),
                Err(Failure::Error(error)) => {
                    let mut diagnostic =
                        Diagnostic::new(Blame::Input, error.message).hint(error.hint);
                    diagnostic.place = error.span.map(|span| inputs.place(span));
                    return Err(vec![diagnostic]);
                }
            }
        }
        if needed.is_empty() {
            return Ok(plan);
        }
        let mut seen = BTreeSet::new();
        needed.retain(|(request, _)| seen.insert(request.clone()));
        let observer = Observer { images, reporter, names_platform: inputs.is_index };
        let resolved = resolve(&needed, &mut bases, (&observer, &mut step));
        resolved.map_err(|failures| unresolved(inputs, file, failures))?;
    }
}

/// Resolves images as steps that people see.
struct Observer<'a> {
    images: &'a Images<'a>,
    reporter: &'a dyn Reporter,
    names_platform: bool,
}

/// An image that could not be resolved, and where it is asked for.
type Unresolved<'a> = (&'a ImageRequest, Option<Span>, SourceError);

fn resolve<'a>(
    needed: &'a [(ImageRequest, Option<Span>)],
    bases: &mut Bases,
    (observer, step): (&Observer<'_>, &mut u32),
) -> Result<(), Vec<Unresolved<'a>>> {
    let first = *step;
    *step += needed.len() as u32;
    let results: Vec<Result<Base, SourceError>> = std::thread::scope(|scope| {
        let look_up = |(index, (request, _)): (usize, &(ImageRequest, Option<Span>))| {
            let step = StepId(first + index as u32);
            let request = request.clone();
            scope.spawn(move || observer.resolve(step, &request))
        };
        let workers: Vec<_> = needed.iter().enumerate().map(look_up).collect();
        workers.into_iter().map(|worker| worker.join().expect("resolving does not panic")).collect()
    });
    let mut failures = Vec::new();
    for ((request, span), result) in needed.iter().zip(results) {
        match result {
            Ok(base) => drop(bases.insert(request.clone(), base)),
            Err(error) => failures.push((request, *span, error)),
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures) }
}

fn unresolved(
    inputs: &Inputs,
    file: &Dockerfile,
    failures: Vec<Unresolved<'_>>,
) -> Vec<Diagnostic> {
    let diagnostic = |(request, span, error): Unresolved<'_>| {
        let mut diagnostics = report::source(&error);
        for diagnostic in &mut diagnostics {
            let platform = match inputs.is_index {
                true => format!(" for {}", request.platform),
                false => String::new(),
            };
            diagnostic.message =
                format!("cannot find the base image `{}`{platform}", request.location.familiar());
            diagnostic.causes.insert(0, error.to_string());
            diagnostic.place = span.map(|span| inputs.place(span));
            diagnostic.hint = stage_of_a_similar_name(file, request).or(diagnostic.hint.take());
        }
        diagnostics
    };
    failures.into_iter().flat_map(diagnostic).collect()
}

/// Whoever mistypes the name of a stage asks for an image that nobody has.
fn stage_of_a_similar_name(file: &Dockerfile, request: &ImageRequest) -> Option<String> {
    let reference = request.location.reference()?;
    let stages = file.stages.iter().map(|stage| stage.name.as_str());
    let near = nearest(&reference.familiar_name(), stages.filter(|name| !name.is_empty()))?;
    Some(format!("did you mean the stage `{near}`?"))
}

impl Observer<'_> {
    fn resolve(&self, step: StepId, request: &ImageRequest) -> Result<Base, SourceError> {
        let start = std::time::Instant::now();
        let platform = match self.names_platform {
            true => format!("{} ", request.platform.format_all()),
            false => String::new(),
        };
        let name =
            format!("[{platform}internal] load metadata for {}", request.location.familiar());
        self.reporter.report(Event::Started { step, name });
        let result = self.images.base(request);
        self.reporter.report(match &result {
            Ok(_) => Event::Done { step, took: start.elapsed() },
            Err(error) => Event::Failed { step, message: error.to_string() },
        });
        result
    }
}
