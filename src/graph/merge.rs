//! The graphs of several platforms as one: what two of them have in common is there once.
//!
//! A stage that says `--platform=$BUILDPLATFORM` and asks for no variable of the target is the same for every target,
//! and so is a COPY onto nothing. Names do not count: what is merged has the name that it got first.

use std::collections::BTreeMap;

use super::{
    Base, CopySource, FileAction, Graph, ImageRequest, Lowered, Op, RunMountKind, Vertex, VertexId,
};
use crate::oci::{ImageConfig, Platform};

/// All that one build does.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// What is to be done.
    pub graph: Graph,
    /// The images that it makes, one for each platform, in the order in which these were asked for.
    pub images: Vec<Planned>,
}

/// One image of a plan: [`Lowered`] without its graph.
#[derive(Debug, Clone)]
pub struct Planned {
    /// What was asked for: where the image stands in an index.
    pub platform: Platform,
    /// The vertex whose file system is the image's; `None`: an empty one.
    pub result: Option<VertexId>,
    /// The image's config, without layers and times.
    pub config: ImageConfig,
    /// The image that the target stage is based on, if it is based on one with layers.
    pub base: Option<(ImageRequest, Base)>,
    /// SOURCE_DATE_EPOCH in seconds.
    pub epoch: Option<i64>,
}

impl Plan {
    /// Adds the image of one more platform.
    pub fn add(&mut self, platform: Platform, lowered: Lowered) {
        let Lowered { graph, result, config, base, epoch, .. } = lowered;
        let places = self.graph.absorb(graph);
        let result = result.map(|id| places[id.0 as usize]);
        self.images.push(Planned { platform, result, config, base, epoch });
    }
}

impl Graph {
    /// Adds what another graph has and this one has not; returns where each of the other's vertices is now.
    fn absorb(&mut self, other: Graph) -> Vec<VertexId> {
        let mut known: BTreeMap<_, Vec<VertexId>> = BTreeMap::new();
        for (id, vertex) in self.iter() {
            known.entry(origin(vertex)).or_default().push(id);
        }
        let mut places: Vec<VertexId> = Vec::with_capacity(other.len());
        for mut vertex in other.vertices {
            vertex.renumber(&places);
            let alike = known.entry(origin(&vertex)).or_default();
            let same = alike.iter().copied().find(|id| self.get(*id).does_the_same(&vertex));
            places.push(same.unwrap_or_else(|| {
                let id = self.push(vertex);
                alike.push(id);
                id
            }));
        }
        places
    }
}

/// Vertices that come from different instructions, or are built on different ones, are not compared.
fn origin(vertex: &Vertex) -> (Option<usize>, Option<VertexId>) {
    (vertex.span.map(|span| span.start), vertex.base)
}

impl Vertex {
    fn does_the_same(&self, other: &Self) -> bool {
        let Self { op, base, ignore_cache, epoch, name: _, span: _ } = self;
        (op, base, ignore_cache, epoch)
            == (&other.op, &other.base, &other.ignore_cache, &other.epoch)
    }

    /// Points at the same inputs in another graph.
    fn renumber(&mut self, places: &[VertexId]) {
        let renumber = |id: &mut VertexId| *id = places[id.0 as usize];
        self.base.iter_mut().for_each(renumber);
        match &mut self.op {
            Op::Image(_) | Op::Files(_) | Op::Http(_) | Op::Git(_) => {}
            Op::Run(run) => {
                for mount in &mut run.mounts {
                    match &mut mount.kind {
                        RunMountKind::Bind { input, .. } => input.iter_mut().for_each(renumber),
                        RunMountKind::Cache(cache) => cache.input.iter_mut().for_each(renumber),
                        RunMountKind::Tmpfs { .. }
                        | RunMountKind::Secret(_)
                        | RunMountKind::Ssh(_)
                        | RunMountKind::Script { .. } => {}
                    }
                }
            }
            Op::File(file) => {
                for action in &mut file.actions {
                    match action {
                        FileAction::Copy(copy) => match &mut copy.source {
                            CopySource::Vertex { id, .. } => id.iter_mut().for_each(renumber),
                            CopySource::Inline { .. } => {}
                        },
                        FileAction::MakeDirectory { .. } => {}
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{lowered_with, request};
    use super::super::{Request, plan_text};
    use super::*;

    fn plan(text: &str) -> Plan {
        let mut plan = Plan::default();
        for platform in ["linux/amd64", "linux/arm64", "linux/arm/v7"] {
            let platform = Platform::parse(platform).unwrap();
            let request =
                Request { platform: Some(platform.clone()), names_platform: true, ..request() };
            plan.add(platform, lowered_with(text, &request, &[]).unwrap().0);
        }
        plan
    }

    #[test]
    fn what_platforms_have_in_common_is_there_once() {
        let text = "FROM --platform=$BUILDPLATFORM x AS build\nCOPY a /\nRUN common\nARG TARGETARCH\nRUN own\n\
                    FROM scratch\nCOPY --from=build /out /\nCOPY b /\n";
        assert_eq!(
            plan_text(&plan(text)),
            "   0  [linux/amd64 build 1/4] FROM docker.io/library/x:latest\n   \
                1  [internal] load build context\n   \
                2  [linux/amd64 build 2/4] COPY a /  <- 0, 1\n   \
                3  [linux/amd64 build 3/4] RUN common  <- 2\n   \
                4  [linux/amd64 build 4/4] RUN own  <- 3\n   \
                5  [linux/amd64 stage-1 1/2] COPY --from=build /out /  <- 4\n\
             *  6  [linux/amd64 stage-1 2/2] COPY b /  <- 1, 5\n   \
                7  [linux/amd64->arm64 build 4/4] RUN own  <- 3\n   \
                8  [linux/arm64 stage-1 1/2] COPY --from=build /out /  <- 7\n\
             *  9  [linux/arm64 stage-1 2/2] COPY b /  <- 1, 8\n  \
               10  [linux/amd64->arm/v7 build 4/4] RUN own  <- 3\n  \
               11  [linux/arm/v7 stage-1 1/2] COPY --from=build /out /  <- 10\n\
             * 12  [linux/arm/v7 stage-1 2/2] COPY b /  <- 1, 11\n"
        );
    }

    #[test]
    fn images_of_equal_files_have_one_result() {
        let plan = plan("FROM scratch\nCOPY a /\nENV A=1\n");
        assert_eq!(plan.graph.len(), 2);
        let configs = plan.images.iter().map(|image| image.config.platform().to_string());
        assert_eq!(configs.collect::<Vec<_>>(), ["linux/amd64", "linux/arm64", "linux/arm/v7"]);
        assert!(plan.images.iter().all(|image| image.result == Some(VertexId(1))));
        assert_eq!(
            plan_text(&self::plan("FROM scratch\n")).lines().next(),
            Some("the image for linux/amd64 has no layers")
        );
    }

    #[test]
    fn names_say_for_which_platform_a_stage_works() {
        let text = "FROM --platform=linux/amd64 x\nARG TARGETPLATFORM\nRUN a\n";
        let names = plan(text);
        let names: Vec<_> = names.graph.iter().map(|(_, vertex)| vertex.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "[linux/amd64 1/2] FROM docker.io/library/x:latest",
                "[linux/amd64 2/2] RUN a",
                "[linux/amd64->arm64 2/2] RUN a",
                "[linux/amd64->arm/v7 2/2] RUN a"
            ]
        );
    }
}
