//! Lowering with everything that it needs: images are resolved, several at once, until the graph is complete.

use super::{Inputs, report};
use crate::diagnostic::{Blame, Diagnostic};
use crate::dockerfile::ast::{Dockerfile, Span};
use crate::dockerfile::suggest::nearest;
use crate::event::{Event, Reporter, StepId};
use crate::graph::{self, Base, Bases, Fact, Failure, ImageRequest, Lowered};
use crate::source::SourceError;
use crate::source::image::Images;

/// Steps before the graph has numbers of their own, far above any vertex.
const FIRST_STEP: u32 = 1 << 24;

/// Lowers a Dockerfile, resolving the images that it names; `facts` becomes what lowering saw.
pub(super) fn lower(
    inputs: &Inputs,
    file: &Dockerfile,
    images: &Images<'_>,
    reporter: &dyn Reporter,
    facts: &mut Vec<Fact>,
) -> Result<Lowered, Vec<Diagnostic>> {
    let mut bases = Bases::new();
    let mut step = FIRST_STEP;
    loop {
        match graph::lower(file, &inputs.request, &bases, facts) {
            Ok(lowered) => return Ok(lowered),
            Err(Failure::Error(error)) => {
                let mut diagnostic = Diagnostic::new(Blame::Input, error.message).hint(error.hint);
                diagnostic.place = error.span.map(|span| inputs.place(span));
                return Err(vec![diagnostic]);
            }
            Err(Failure::Need(needed)) => {
                let resolved = resolve(&needed, &mut bases, (images, reporter, &mut step));
                resolved.map_err(|failures| unresolved(inputs, file, failures))?;
            }
        }
    }
}

/// An image that could not be resolved, and where it is asked for.
type Unresolved<'a> = (&'a ImageRequest, Option<Span>, SourceError);

fn resolve<'a>(
    needed: &'a [(ImageRequest, Option<Span>)],
    bases: &mut Bases,
    (images, reporter, step): (&Images<'_>, &dyn Reporter, &mut u32),
) -> Result<(), Vec<Unresolved<'a>>> {
    let first = *step;
    *step += needed.len() as u32;
    let results: Vec<Result<Base, SourceError>> = std::thread::scope(|scope| {
        let look_up = |(index, (request, _)): (usize, &(ImageRequest, Option<Span>))| {
            let step = StepId(first + index as u32);
            let request = request.clone();
            scope.spawn(move || observed(step, &request, images, reporter))
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
            diagnostic.message =
                format!("cannot find the base image `{}`", request.location.familiar());
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

/// Resolves an image, as a step that people see.
fn observed(
    step: StepId,
    request: &ImageRequest,
    images: &Images<'_>,
    reporter: &dyn Reporter,
) -> Result<Base, SourceError> {
    let start = std::time::Instant::now();
    let name = format!("[internal] load metadata for {}", request.location.familiar());
    reporter.report(Event::Started { step, name });
    let result = images.base(request);
    reporter.report(match &result {
        Ok(_) => Event::Done { step, took: start.elapsed() },
        Err(error) => Event::Failed { step, message: error.to_string() },
    });
    result
}
