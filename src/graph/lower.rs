//! From stages to vertices: one pass over the stages that the target needs.

use std::collections::BTreeMap;

use super::args::{self, Env};
use super::facts::{self, Fact, Notes, Seen};
use super::from::Froms;
use super::origin::{Origin, Origins, resolve, root_image};
use super::stage::{self, StageId, Stages, Step};
use super::state::{self, State};
use super::{
    Base, Bases, Failure, FileAction, FileOp, FilesSource, Graph, GraphError, ImageLocation,
    ImageRequest, ImageSource, Lowered, Op, Request, Vertex, VertexId, copy, epoch, expose, naming,
    run,
};
use crate::dockerfile::ast::{ArgDefinition, CommandLine, Dockerfile, Instruction, KeyValue, Span};
use crate::dockerfile::signal;
use crate::dockerfile::word::Expander;
use crate::oci::{ImageConfig, Platform};

/// Builds the graph of a Dockerfile.
///
/// `bases` holds the images resolved so far; where more are needed, [`Failure::Need`] names all that are known to
/// be, and the call is repeated once they are there. `facts` is emptied first and then holds what was seen, up to the
/// error if there is one.
pub fn lower(
    file: &Dockerfile,
    request: &Request,
    bases: &Bases,
    facts: &mut Vec<Fact>,
) -> Result<Lowered, Failure> {
    let mut notes = Notes::new(facts);
    let expander = Expander::new(file.escape);
    let last = file.stages.last().map_or("", |stage| stage.name.as_str());
    let target_name = request.target.as_deref().filter(|name| !name.is_empty()).unwrap_or(last);
    let predefined = args::predefined(request, target_name);
    facts::default_bases(file, predefined.clone(), &expander, &mut notes);
    let mut globals =
        args::with_globals(predefined, &file.global_args, &request.build_args, &expander)?;
    let (request, epoch) = epoch::resolve(&file.global_args, request, &mut globals)?;
    let request = &*request;
    let froms = Froms {
        globals: &globals,
        declarations: &file.global_args,
        expander: &expander,
        notes: &mut notes,
    };
    let mut stages = Stages::new(file, request, froms)?;
    let target = stages.target(request.target.as_deref())?;
    let origins = resolve(&mut stages, target, request, bases)?;
    facts::base_platforms(&stages, &origins, request, &mut notes);
    let mut lowering = Lowering {
        request,
        expander,
        globals,
        epoch,
        stages,
        origins,
        states: BTreeMap::new(),
        graph: Graph::default(),
        sources: Vec::new(),
        notes,
    };
    lowering.lower_stages(target)?;
    Ok(lowering.finish(target))
}

/// The pass itself.
pub(super) struct Lowering<'a> {
    pub(super) request: &'a Request,
    pub(super) expander: Expander,
    globals: Env,
    epoch: Option<i64>,
    pub(super) stages: Stages,
    origins: Origins,
    states: BTreeMap<StageId, State>,
    graph: Graph,
    sources: Vec<VertexId>,
    pub(super) notes: Notes<'a>,
}

/// One stage while its steps are lowered.
pub(super) struct Current {
    pub(super) id: StageId,
    pub(super) state: State,
    /// How many of the steps that people see have been named.
    shown: usize,
    total: usize,
}

impl Lowering<'_> {
    fn lower_stages(&mut self, target: StageId) -> Result<(), GraphError> {
        let wanted = self.stages.wanted(target, self.request);
        // Implicit stages are images: they are there before any FROM, wherever they were first named.
        let (images, stages): (Vec<_>, Vec<_>) =
            wanted.into_iter().partition(|id| self.stages.get(*id).implicit);
        for id in images.into_iter().chain(stages) {
            let state = self.lower_stage(id)?;
            self.states.insert(id, state);
        }
        Ok(())
    }

    fn lower_stage(&mut self, id: StageId) -> Result<State, GraphError> {
        let stage = self.stages.get(id).clone();
        let total = if stage.implicit { 0 } else { stage.visible_steps() };
        let mut current = Current { id, state: self.start(id, total)?, shown: 0, total };
        current.shown = usize::from(total > 0 && stage.base.is_none() && !stage.is_scratch());
        if stage.replaced_by.is_none() {
            for step in &stage.steps {
                self.notes.go_to(step.command.span, &step.command.comments);
                let lowered = self.lower_step(&mut current, step);
                let lowered = lowered.and_then(|()| current.state.bounded());
                lowered.map_err(|error| error.at(step.command.span))?;
            }
        }
        Ok(current.state)
    }

    /// Returns the state that a stage starts with, adding the vertex of its base.
    fn start(&mut self, id: StageId, total: usize) -> Result<State, GraphError> {
        let stage = self.stages.get(id).clone();
        if let Some(parent) = stage.base {
            let parent = self.states.get(&parent).ok_or_else(|| {
                GraphError::new(format!("stage `{}` is used before it is defined", stage.base_name))
                    .at(stage.span)
            })?;
            return Ok(parent.inherit());
        }
        let platform = stage.platform.clone().unwrap_or(self.request.target_platform().clone());
        let origin = self.origins.get(&id).cloned().unwrap_or(Origin::Scratch);
        Ok(match origin {
            Origin::Scratch => {
                let platform = self.request.target_platform().clone();
                State::new(None, ImageConfig::scratch(&platform), platform)
            }
            Origin::Directory(path) => {
                let top = self.directory_base(path, &stage);
                State::new(Some(top), ImageConfig::scratch(&platform), platform)
            }
            Origin::Image(image) => {
                let (request, base) = *image;
                self.image_base(&stage, request, base, total)
            }
        })
    }

    fn image_base(
        &mut self,
        stage: &stage::Stage,
        request: ImageRequest,
        base: Base,
        total: usize,
    ) -> State {
        let mut platform = request.platform.clone();
        let actual = base.config.platform();
        let other = (&actual.os, &actual.architecture) != (&platform.os, &platform.architecture);
        if other && stage.platform.is_none() && self.request.platform.is_none() {
            platform = actual;
        }
        let mut config = base.config.clone().into_base();
        config.config.on_build.clear();
        let empty = config.is_empty();
        let top = (!empty).then(|| {
            let what = format!("FROM {}", describe(&request.location));
            let name = match total {
                0 => what,
                _ => {
                    let platform = self.platform_word(&request.platform, &Env::default());
                    format!("{}{what}", naming::prefix(&platform, stage, (1, total), false))
                }
            };
            let op = Op::Image(ImageSource { request, manifest: base.manifest });
            self.source(op, name, (!stage.implicit).then_some(stage.span))
        });
        let programs = Some(base.config.platform());
        State { programs, ..State::new(top, config, platform) }
    }

    /// The platform at the beginning of a name, if names say it.
    fn platform_word(&self, platform: &Platform, env: &Env) -> String {
        match self.request.names_platform {
            true => naming::platform(platform, env),
            false => String::new(),
        }
    }

    /// A directory as a base is one layer with all that is in it.
    fn directory_base(&mut self, path: std::path::PathBuf, stage: &stage::Stage) -> VertexId {
        let files = self.files(FilesSource::Named(path));
        let name = format!("[context] {}", stage.base_name);
        let op = Op::File(FileOp { actions: vec![copy::everything(files)], link: false });
        self.source(op, name, Some(stage.span))
    }

    /// Returns the vertex of a source, adding it if it is not there yet.
    fn source(&mut self, op: Op, name: String, span: Option<Span>) -> VertexId {
        let same = |id: &&VertexId| match (&self.graph.get(**id).op, &op) {
            (Op::Image(a), Op::Image(b)) => a.request == b.request,
            (Op::Files(a), Op::Files(b)) => a == b,
            (Op::Http(a), Op::Http(b)) => a == b,
            (Op::Git(a), Op::Git(b)) => a == b,
            _ => false,
        };
        if let Some(id) = self.sources.iter().find(same) {
            return *id;
        }
        let (base, ignore_cache, epoch) = (None, false, self.epoch);
        let id = self.graph.push(Vertex { op, base, name, span, ignore_cache, epoch });
        self.sources.push(id);
        id
    }

    /// Returns the vertex of a context's files.
    pub(super) fn files(&mut self, source: FilesSource) -> VertexId {
        let name = match &source {
            FilesSource::Main => "[internal] load build context".to_owned(),
            FilesSource::Named(path) => format!("[context] load from {}", path.display()),
        };
        self.source(Op::Files(source), name, None)
    }

    /// Returns the vertex of a file from the web.
    pub(super) fn http(&mut self, source: super::HttpSource, span: Span) -> VertexId {
        let name = format!("[internal] download {}", source.url);
        self.source(Op::Http(source), name, Some(span))
    }

    /// Returns the vertex of a git repository.
    pub(super) fn git(&mut self, remote: &str, span: Span) -> VertexId {
        let source = super::GitSource { remote: remote.to_owned() };
        self.source(Op::Git(source), format!("[internal] fetch {remote}"), Some(span))
    }

    /// Returns the file system of another stage, which must have been defined before.
    pub(super) fn stage_files(
        &self,
        id: StageId,
        current: &Current,
    ) -> Result<Option<VertexId>, GraphError> {
        match self.states.get(&id) {
            Some(state) => Ok(state.top),
            None => {
                let (other, this) =
                    (&self.stages.get(id).display, &self.stages.get(current.id).display);
                let message =
                    format!("stage `{other}` must be defined before stage `{this}`, which uses it");
                Err(GraphError::new(message))
            }
        }
    }

    /// Adds a vertex on top of a stage.
    pub(super) fn push(&mut self, current: &mut Current, op: Op, what: &str, step: &Step) {
        current.shown += 1;
        let stage = self.stages.get(current.id);
        let platform = self.platform_word(&current.state.platform, &current.state.env);
        let place = (current.shown, current.total);
        let name = format!("{}{what}", naming::prefix(&platform, stage, place, step.on_build));
        let cached = self.request.no_cache.as_ref();
        let uncached = |names: &Vec<String>| names.is_empty() || names.contains(&stage.name);
        let ignore_cache = match &op {
            Op::File(file) if matches!(file.actions[..], [FileAction::MakeDirectory { .. }]) => {
                false
            }
            _ => cached.is_some_and(uncached),
        };
        let base = current.state.top;
        let span = Some(step.command.span);
        current.state.top =
            Some(self.graph.push(Vertex { op, base, name, span, ignore_cache, epoch: self.epoch }));
    }

    /// Expands one word in the state before the instruction.
    pub(super) fn expand(&mut self, state: &State, word: &str) -> Result<String, GraphError> {
        Ok(self.notes.expand(&self.expander, state, word)?)
    }

    /// What people see of an instruction: one line with the variables that have a value expanded.
    pub(super) fn shown(&self, state: &State, step: &Step) -> String {
        let lookup = |name: &str| state.env.get(name).map(str::to_owned);
        let (raw_quotes, raw_escapes, skip_unset_env) = (true, true, true);
        let expander = Expander { raw_quotes, raw_escapes, skip_unset_env, ..self.expander };
        let code = &step.command.code;
        let expanded = expander.expand(code, &lookup).unwrap_or_else(|_| code.clone());
        let mut words = expanded.split_whitespace();
        let keyword = words.next().unwrap_or_default().to_ascii_uppercase();
        std::iter::once(keyword.as_str()).chain(words).collect::<Vec<_>>().join(" ")
    }

    pub(super) fn expand_all(
        &mut self,
        state: &State,
        words: &[String],
    ) -> Result<Vec<String>, GraphError> {
        words.iter().map(|word| self.expand(state, word)).collect()
    }

    fn expand_pairs(
        &mut self,
        state: &State,
        pairs: &[KeyValue],
        step: &Step,
    ) -> Result<Vec<KeyValue>, GraphError> {
        let expand = |pair: &KeyValue| {
            Ok(KeyValue {
                key: self.expand(state, &pair.key)?,
                value: self.expand(state, &pair.value)?,
                legacy: pair.legacy,
            })
        };
        let pairs = pairs.iter().map(expand).collect::<Result<Vec<_>, GraphError>>()?;
        for _ in pairs.iter().filter(|pair| pair.legacy) {
            self.notes.add(Seen::LegacyPair { keyword: step.command.keyword.clone() });
        }
        Ok(pairs)
    }

    /// Notes a CMD or ENTRYPOINT whose shell nobody named.
    fn note_shell(&mut self, state: &State, line: &CommandLine, step: &Step) {
        if line.shell_form && state.has_default_shell() {
            self.notes.add(Seen::ShellForm { keyword: step.command.keyword.clone() });
        }
    }

    fn lower_step(&mut self, current: &mut Current, step: &Step) -> Result<(), GraphError> {
        let state = &mut current.state;
        match &step.command.instruction {
            Instruction::Add(add) => copy::lower_add(self, current, step, add)?,
            Instruction::Copy(copy) => copy::lower_copy(self, current, step, copy)?,
            Instruction::Run(run) => run::lower_run(self, current, step, run)?,
            Instruction::Workdir(path) => self.workdir(current, step, path)?,
            Instruction::Arg(definitions) => self.arg(state, definitions)?,
            Instruction::Cmd(line) => {
                self.notes.once(&mut state.given.cmd, step);
                self.note_shell(state, line, step);
                state.cmd(line);
            }
            Instruction::Entrypoint(line) => {
                self.notes.once(&mut state.given.entrypoint, step);
                self.note_shell(state, line, step);
                state.entrypoint(line);
            }
            Instruction::Env(pairs) => {
                let pairs = self.expand_pairs(state, pairs, step)?;
                self.notes.variables("ENV", pairs.iter().map(|pair| &pair.key));
                state.env_instruction(&pairs);
            }
            Instruction::Label(pairs) => {
                let pairs = self.expand_pairs(state, pairs, step)?;
                state.label(&pairs);
            }
            Instruction::Expose(words) => {
                expose::expose(state, words, &self.expander, &mut self.notes)?;
            }
            Instruction::Healthcheck(check) => {
                self.notes.once(&mut state.given.healthcheck, step);
                state.healthcheck(check);
            }
            Instruction::Maintainer(name) => {
                state.config.author = name.clone();
                state.record(format!("MAINTAINER {name}"), false);
            }
            Instruction::Onbuild(text) => state.config.config.on_build.push(text.clone()),
            Instruction::Shell(args) => {
                state.config.config.shell = args.clone();
                state.record(format!("SHELL {}", super::history::plain_list(args)), false);
            }
            Instruction::Stopsignal(word) => {
                let signal = self.expand(state, word)?;
                signal::signal(&signal)?;
                state.record(format!("STOPSIGNAL {signal}"), false);
                state.config.config.stop_signal = signal;
            }
            Instruction::User(word) => {
                let user = self.expand(state, word)?;
                state.record(format!("USER {user}"), false);
                state.config.config.user = user;
            }
            Instruction::Volume(words) => self.volume(state, words)?,
        }
        Ok(())
    }

    fn volume(&mut self, state: &mut State, words: &[String]) -> Result<(), GraphError> {
        let paths = self.expand_all(state, words)?;
        if paths.iter().any(String::is_empty) {
            return Err(GraphError::new("a path of VOLUME is empty"));
        }
        state.config.config.volumes.extend(paths.iter().cloned());
        state.record(format!("VOLUME {}", super::history::plain_list(&paths)), false);
        Ok(())
    }

    fn workdir(
        &mut self,
        current: &mut Current,
        step: &Step,
        word: &str,
    ) -> Result<(), GraphError> {
        let path = self.expand(&current.state, word)?;
        let shown = self.shown(&current.state, step);
        let state = &mut current.state;
        let is_first = !std::mem::replace(&mut state.workdir_set, true);
        if is_first && !state::is_absolute(&path, &state.platform) {
            self.notes.add(Seen::RelativeWorkdir { path: path.clone() });
        }
        let path = if path.starts_with('/') { path } else { state::normalize(&path, state.cwd()) };
        state.config.config.working_dir = path.clone();
        let makes = path != "/";
        if makes {
            let user = state.config.config.user.clone();
            let action = FileAction::MakeDirectory { path: state::clean(&path), user };
            let op = Op::File(FileOp { actions: vec![action], link: false });
            self.push(current, op, &shown, step);
        } else {
            current.shown += 1;
        }
        current.state.record(format!("WORKDIR {path}"), makes);
        Ok(())
    }

    fn arg(&mut self, state: &mut State, definitions: &[ArgDefinition]) -> Result<(), GraphError> {
        let mut shown = Vec::new();
        for definition in definitions {
            self.notes.variables("ARG", [&definition.key]);
            let key = &definition.key;
            let value = match (self.request.build_args.get(key), &definition.value) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => Some(self.expand(state, default)?),
                (None, None) => self.globals.get(key).map(str::to_owned),
            };
            shown.push(match &value {
                Some(value) => format!("{key}={value}"),
                None => key.clone(),
            });
            if let Some(value) = value.as_ref().filter(|_| args::is_environment(key)) {
                state.env.set(key, value);
            }
            state.args.push((key.clone(), value));
        }
        state.record(format!("ARG {}", shown.join(" ")), false);
        Ok(())
    }

    fn finish(mut self, target: StageId) -> Lowered {
        let state = self.states.remove(&target).expect("the target was lowered");
        let mut config = state.config;
        for (key, value) in &self.request.labels {
            config.config.labels.insert(key.clone(), value.clone());
        }
        if let Some(platform) = &self.request.platform {
            set_platform(&mut config, platform);
        }
        let platform = config.platform();
        config.set_platform(&platform);
        Lowered {
            graph: self.graph,
            result: state.top,
            config,
            base: root_image(&self.stages, &self.origins, target),
            epoch: self.epoch,
            target: self.stages.get(target).display.clone(),
        }
    }
}

/// An explicit `--platform` overrides what the base says.
fn set_platform(config: &mut ImageConfig, platform: &Platform) {
    let same = (&config.os, &config.architecture) == (&platform.os, &platform.architecture);
    config.os = platform.os.clone();
    config.architecture = platform.architecture.clone();
    if !platform.variant.is_empty() || !same {
        config.variant = platform.variant.clone();
    }
    if !platform.os_version.is_empty() || !same {
        config.os_version = platform.os_version.clone();
    }
}

fn describe(location: &ImageLocation) -> String {
    match location.reference() {
        Some(reference) => reference.to_string(),
        None => location.familiar(),
    }
}
