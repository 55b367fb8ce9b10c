//! Running an image's process: `kiln run`, and what the commands about images have in common.
//!
//! The same store, snapshots and sandbox as a build; what the process writes is thrown away.

use std::path::{Path, PathBuf};

use crate::diagnostic::{Blame, Diagnostic};
use crate::digest::Digest;
use crate::event::Cancel;
use crate::graph::{ImageLocation, ImageRequest};
use crate::oci::{Platform, Reference};
use crate::registry::{Settings, Web};
use crate::sandbox::spec::{Network, Process, Rlimit, Root, Security, Spec};
use crate::sandbox::{Exit, Io, Namespaces, Sandbox};
use crate::snapshot::Snapshots;
use crate::snapshot::upper::Upper;
use crate::solve::user;
use crate::source::SourceError;
use crate::source::image::{Image, Images};
use crate::source::names;
use crate::store::Store;

/// What is to be run.
#[derive(Debug, Clone)]
pub struct Request {
    /// The state root.
    pub state: PathBuf,
    /// The program that the sandbox starts as its init: kiln itself.
    pub init: PathBuf,
    /// Which image.
    pub image: String,
    /// What replaces the image's command; empty: nothing does.
    pub command: Vec<String>,
    /// What replaces the image's entry point; `Some` of nothing removes it.
    pub entrypoint: Option<Vec<String>>,
    /// Further variables, `NAME=value`.
    pub env: Vec<String>,
    /// In place of the image's user.
    pub user: Option<String>,
    /// In place of the image's working directory.
    pub workdir: Option<String>,
    /// The network.
    pub network: Network,
    /// Limits.
    pub ulimits: Vec<Rlimit>,
    /// The host name.
    pub hostname: String,
    /// How registries are reached, if the image is not here.
    pub registry: Settings,
}

fn input(message: impl Into<String>, hint: Option<String>) -> Vec<Diagnostic> {
    vec![Diagnostic::new(Blame::Input, message).hint(hint)]
}

fn machine(error: &dyn std::error::Error) -> Vec<Diagnostic> {
    vec![Diagnostic::new(Blame::Machine, error.to_string()).causes_of(error)]
}

fn open(state: &Path) -> Result<Store, Vec<Diagnostic>> {
    Store::open(state).map_err(|error| {
        vec![
            Diagnostic::new(Blame::Machine, error.to_string()).hint(error.hint()).causes_of(&error),
        ]
    })
}

fn connect(settings: &Settings, cancel: &Cancel) -> Result<Web, Vec<Diagnostic>> {
    Web::new(settings, cancel).map_err(|error| input(error.to_string(), error.hint()))
}

/// Finds out what is meant: a name, or an image id or the beginning of one. As in docker, a whole id comes first, then a
/// name of the local store, then the beginning of an id; what is none of these is a name that may be pulled.
fn request_of(store: &Store, name: &str) -> Result<ImageRequest, Vec<Diagnostic>> {
    let request = |location| ImageRequest { location, platform: Platform::host() };
    let reference = Reference::parse(name).map(Reference::or_latest);
    let ids = names::by_id(store, name).map_err(|error| machine(&error))?;
    let is_whole = name.strip_prefix("sha256:").unwrap_or(name).len() == 64;
    let named = match &reference {
        Ok(reference) => names::tag(store, reference).map_err(|error| machine(&error))?,
        Err(_) => None,
    };
    match (ids.as_slice(), named) {
        ([_, _, ..], None) => {
            let hint = Some("give more digits of the id".to_owned());
            Err(input(format!("`{name}` is the beginning of several image ids"), hint))
        }
        ([id], named) if is_whole || named.is_none() => Ok(request(ImageLocation::Manifest(*id))),
        _ => {
            let location = ImageLocation::named(name);
            location.map(request).map_err(|error| input(error.to_string(), error.hint()))
        }
    }
}

fn unknown(name: &str, error: &SourceError) -> Vec<Diagnostic> {
    let diagnostic = Diagnostic::new(Blame::Input, format!("there is no image `{name}`"));
    let hint = error.hint().or(Some("`kiln images` lists those of the local store".to_owned()));
    let mut diagnostic = diagnostic.hint(hint);
    diagnostic.causes = vec![error.to_string()];
    vec![diagnostic.causes_of(error)]
}

/// Lists the names of the local store with the manifests or indexes that they mean, sorted.
pub fn local_tags(state: &Path) -> Result<Vec<(Reference, Digest)>, Vec<Diagnostic>> {
    let store = open(state)?;
    names::tags(&store).map_err(|error| machine(&error))
}

/// Returns the images of the local store by their names, sorted; one that is not whole is left out.
pub fn local_images(state: &Path) -> Result<Vec<(Reference, Image)>, Vec<Diagnostic>> {
    let store = open(state)?;
    let images = offline(&store)?;
    let tags = names::tags(&store).map_err(|error| machine(&error))?;
    let image = |(reference, digest)| Some((reference, images.resolve(&kept(digest)).ok()?));
    Ok(tags.into_iter().filter_map(image).collect())
}

/// Returns an image of the local store, whatever platform it is for. Nothing is pulled.
pub fn local_image(state: &Path, name: &str) -> Result<Image, Vec<Diagnostic>> {
    let store = open(state)?;
    let digest = match request_of(&store, name)?.location {
        ImageLocation::Reference(reference) | ImageLocation::Short(reference) => {
            match reference.digest() {
                Some(digest) => Some(digest).filter(|digest| store.blob_size(digest).is_some()),
                None => names::tag(&store, &reference).map_err(|error| machine(&error))?,
            }
        }
        ImageLocation::Manifest(digest) => Some(digest),
        ImageLocation::Layout(..) => None,
    };
    let Some(digest) = digest else {
        let hint = Some("`kiln images` lists those that are there".to_owned());
        return Err(input(format!("there is no image `{name}` in the local store"), hint));
    };
    let image = offline(&store)?.resolve(&kept(digest));
    image.map_err(|error| unknown(name, &error))
}

/// Asks for what the store has, and so for no other place.
fn kept(digest: Digest) -> ImageRequest {
    ImageRequest { location: ImageLocation::Manifest(digest), platform: Platform::host() }
}

fn offline(store: &Store) -> Result<Images<'_>, Vec<Diagnostic>> {
    let cancel = Cancel::new();
    let web = connect(&Settings::default(), &cancel)?;
    Ok(Images::new(store, web.client, false, cancel))
}

/// Runs an image's process on kiln's own input and output, to its end.
pub fn run(request: &Request, cancel: &Cancel) -> Result<Exit, Vec<Diagnostic>> {
    let store = open(&request.state)?;
    let wanted = request_of(&store, &request.image)?;
    let web = connect(&request.registry, cancel)?;
    let images = Images::new(&store, web.client, false, cancel.clone());
    let image = images.resolve(&wanted).map_err(|error| unknown(&request.image, &error))?;
    let fetched =
        images.fetch(&wanted, &|_, _, _| {}).map_err(|error| unknown(&request.image, &error))?;
    let config = &image.config.config;
    let mut args = request.entrypoint.clone().unwrap_or_else(|| config.entrypoint.clone());
    let replaced = !request.command.is_empty() || request.entrypoint.is_some();
    args.extend(if replaced { request.command.clone() } else { config.cmd.clone() });
    if args.is_empty() {
        let hint = Some("name one after the image".to_owned());
        return Err(input(format!("the image `{}` has no command", request.image), hint));
    }
    let user = user::process_user(&fetched.tree, request.user.as_deref().unwrap_or(&config.user));
    let user = user.map_err(|error| input(error.to_string(), None))?;
    let upper = Upper::new(&store, fetched.tree.root().meta()).map_err(|error| machine(&error))?;
    let lower =
        Snapshots::new(&store).directories(&fetched.layers).map_err(|error| machine(&error))?;
    let mut env = config.env.clone();
    env.extend(request.env.iter().cloned());
    let workdir = request.workdir.clone().unwrap_or_else(|| config.working_dir.clone());
    let spec = Spec {
        root: Root::Overlay { lower, upper: upper.files.clone(), work: upper.work.clone() },
        mounts: Vec::new(),
        process: Process {
            args,
            env,
            cwd: if workdir.is_empty() { "/".into() } else { workdir.into() },
            user,
            rlimits: request.ulimits.clone(),
        },
        network: request.network,
        security: Security::Default,
        hostname: request.hostname.clone(),
        extra_hosts: Vec::new(),
        shm_size: 0,
    };
    let sandbox = Namespaces::new(request.init.clone(), store.scratch().to_owned());
    let exit = sandbox.run(&spec, Io::Inherit, cancel);
    upper.discard();
    exit.map_err(|error| {
        vec![
            Diagnostic::new(Blame::Machine, error.to_string()).hint(error.hint()).causes_of(&error),
        ]
    })
}
