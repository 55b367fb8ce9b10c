//! `kiln manifest`: lists of images for several platforms, made of images that are here or in registries.

mod flags;
mod show;

use clap::Subcommand;
use kiln::diagnostic::{Blame, Diagnostic};
use kiln::digest::Digest;
use kiln::event::Cancel;
use kiln::images::{EntryChange, ImagesError, Library, ListName, Place, Removed};
use kiln::oci::Reference;
use kiln::source::SourceError;

use super::network::RegistryFlags;
use super::progress::Mode;
use super::watch::{Watch, step};
use super::{Done, Failure, Session, answer, build, enter_sandbox, settle};
use flags::{AddFlags, AnnotateFlags, CreateFlags, PushFlags, RemoveFlags};

/// What is done with a list.
#[derive(Debug, Subcommand)]
pub(super) enum Manifest {
    /// Make a list of images
    ///
    /// Prints the list's digest. Of an index all images are taken, with their attestations. Images that are not in the
    /// local store are looked for in registries, and their layers stay there. A list of nothing but Docker manifests is a
    /// Docker manifest list; any other, and one with annotations, is an OCI index.
    Create(CreateFlags),
    /// Add images to a list
    Add(AddFlags),
    /// Take images out of a list, with the attestations about them
    Remove(RemoveFlags),
    /// Say for which platform an image of a list is, and annotate it or the list
    Annotate(AnnotateFlags),
    /// Show a list, or another manifest or index, as it is stored
    Inspect(show::Flags),
    /// Send a list with all its images to a registry
    ///
    /// Prints the digest that the name means then. Layers that are not here go from the registry that has them to the one
    /// that wants them; within one registry they are not moved at all.
    Push(PushFlags),
    /// Take lists out of the local store
    Rm(flags::Lists),
    /// Say by the exit code whether the local store has a list: 0, or 1 if not
    Exists(flags::List),
}

/// Runs the command.
pub(super) fn run(manifest: &Manifest, session: &Session) -> Done {
    match manifest {
        Manifest::Create(flags) => create(flags, session),
        Manifest::Add(flags) => add(flags, session),
        Manifest::Remove(flags) => remove(flags, session),
        Manifest::Annotate(flags) => annotate(flags, session),
        Manifest::Inspect(flags) => show::run(flags, session),
        Manifest::Push(flags) => push(flags, session),
        Manifest::Rm(lists) => remove_lists(&lists.names, session),
        Manifest::Exists(list) => match session.library()?.has_list(&list.name)? {
            true => Ok(()),
            false => Err(Failure::Code(1)),
        },
    }
}

fn create(flags: &CreateFlags, session: &Session) -> Done {
    let annotations = flags::annotations(&flags.annotations)?;
    let existing = if flags.amend { ListName::Amended } else { ListName::Free };
    gathering(&flags.name, &flags.registry, session, |library| {
        library.create_list((&flags.name, existing), &flags.images, &annotations)
    })
}

fn add(flags: &AddFlags, session: &Session) -> Done {
    gathering(&flags.name, &flags.registry, session, |library| {
        library.add_to_list(&flags.name, &flags.images)
    })
}

/// Does what may ask registries for many images, and prints the digest of the list.
fn gathering(
    name: &str,
    registry: &RegistryFlags,
    session: &Session,
    work: impl FnOnce(&Library) -> Result<Digest, ImagesError> + Send,
) -> Done {
    let (root, settings) = (session.state_root()?, session.registry(registry)?);
    let mut watch = Watch::new(Mode::Quiet, session);
    let digest = watch.follow(|reporter, cancel| {
        let library = Library::open(&root, &settings, cancel)?;
        Ok(step((reporter, cancel), (0, format!("listing images in {name}")), |_| work(&library))?)
    })?;
    settle::in_background(&root);
    Ok(answer(&format!("{digest}\n"))?)
}

fn remove(flags: &RemoveFlags, session: &Session) -> Done {
    let digest = library(&flags.registry, session)?.remove_from_list(&flags.name, &flags.images)?;
    Ok(answer(&format!("{digest}\n"))?)
}

fn annotate(flags: &AnnotateFlags, session: &Session) -> Done {
    let change = EntryChange {
        os: flags.os.clone(),
        architecture: flags.arch.clone(),
        variant: flags.variant.clone(),
        os_version: flags.os_version.clone(),
        os_features: flags.os_features.clone(),
        annotations: flags::annotations(&flags.annotations)?,
    };
    if change == EntryChange::default() {
        let hint = Some("give `--annotation`, `--os`, `--arch` or the like".to_owned());
        return Err(Diagnostic::new(Blame::Input, "there is nothing to annotate")
            .hint(hint)
            .into());
    }
    let library = library(&flags.registry, session)?;
    let digest = library.annotate_list(&flags.name, flags.image.as_deref(), &change)?;
    Ok(answer(&format!("{digest}\n"))?)
}

fn push(flags: &PushFlags, session: &Session) -> Done {
    let mode = Mode::choose(flags.progress, flags.quiet, &session.environment)?;
    let wanted = flags.compression.wanted()?;
    let target = flags.destination.as_deref().map(destination).transpose()?;
    let (root, settings) = (session.state_root()?, session.registry(&flags.registry)?);
    enter_sandbox()?;
    let mut watch = Watch::new(mode, session);
    let pushed = watch.follow(|reporter, cancel| {
        let library = Library::open(&root, &settings, cancel)?;
        let name = format!("pushing {}", flags.destination.as_ref().unwrap_or(&flags.name));
        let pushed = step((reporter, cancel), (0, name), |progress| {
            library.push_list(&flags.name, target.as_ref(), wanted, progress)
        })?;
        if flags.purge {
            library.remove_list(&flags.name)?;
        }
        Ok(pushed)
    })?;
    settle::in_background(&root);
    if let Some(file) = &flags.digestfile {
        build::write_file(file, &pushed.digest.to_string())?;
    }
    if mode.sums_up() {
        super::say(&super::push::summary(&pushed));
    }
    Ok(answer(&format!("{}\n", pushed.digest))?)
}

/// Reads where a list is to be pushed to: a name, also as skopeo and podman write it.
fn destination(text: &str) -> Result<Reference, Diagnostic> {
    match Place::parse(text)? {
        Place::Registry(name) => Ok(name),
        Place::Store(name) => {
            let name = Reference::parse(&name).map_err(SourceError::from);
            Ok(name.map_err(ImagesError::from)?)
        }
        Place::File { .. } => {
            let hint = Some("`kiln copy --all` writes a list into a file".to_owned());
            let message = format!("`{text}` is not in a registry");
            Err(Diagnostic::new(Blame::Input, message).hint(hint))
        }
    }
}

/// All are tried; the first problem decides the exit code.
fn remove_lists(names: &[String], session: &Session) -> Done {
    let library = session.library()?;
    let mut problems: Vec<Diagnostic> = Vec::new();
    for name in names {
        match library.remove_list(name) {
            Ok(removed) => answer(&removed.iter().map(Removed::to_string).collect::<String>())?,
            Err(error) => problems.push(error.into()),
        }
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Failure::from(problems)),
    }
}

fn library(registry: &RegistryFlags, session: &Session) -> Result<Library, Diagnostic> {
    let settings = session.registry(registry)?;
    Ok(Library::open(&session.state_root()?, &settings, &Cancel::new())?)
}
