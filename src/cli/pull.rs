//! `kiln pull`: images from registries into the local store.

use clap::Args;
use kiln::images::{Library, Pulled};
use kiln::oci::Platform;

use super::network::RegistryFlags;
use super::progress;
use super::watch::{Watch, step};
use super::{Done, Session, answer, enter_sandbox, say, settle};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// The names: [REGISTRY/]REPOSITORY[:TAG|@DIGEST]
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// The platform whose image is pulled [default: $DOCKER_DEFAULT_PLATFORM, else this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    /// Pull the images of all platforms
    #[arg(long, conflicts_with = "platform")]
    all_platforms: bool,
    #[command(flatten)]
    registry: RegistryFlags,
    /// Pull all tags of the repositories
    #[arg(short, long)]
    all_tags: bool,
    #[command(flatten)]
    progress: progress::Flags,
}

/// Runs the command. Standard output gets an image id per name, or a digest if it stands for more than one image.
pub(super) fn run(flags: &Flags, session: &Session) -> Done {
    let mode = flags.progress.mode(&session.environment)?;
    let given = flags.platform.clone();
    let given = given.or_else(|| session.environment.set("DOCKER_DEFAULT_PLATFORM"));
    let platform = match (given.filter(|text| !text.is_empty()), flags.all_platforms) {
        (_, true) => None,
        (Some(text), false) => Some(super::platform(&text)?),
        (None, false) => Some(Platform::host()),
    };
    let (root, settings) = (session.state_root()?, session.registry(&flags.registry)?);
    let cap = session.config()?.keep_storage;
    enter_sandbox()?;
    let mut watch = Watch::new(mode, session);
    let names = &flags.names;
    let pulled = watch.follow(|reporter, cancel| {
        let library = Library::open(&root, &settings, cancel)?.capped(cap);
        let mut all = names.clone();
        if flags.all_tags {
            let tags = names.iter().map(|name| library.remote_tags(name, usize::MAX));
            let tags = tags.collect::<Result<Vec<_>, _>>()?;
            all = tags.into_iter().flatten().map(|name| name.to_string()).collect();
        }
        let pull = |(number, name): (usize, &String)| {
            step((reporter, cancel), (number as u32, format!("pulling {name}")), |progress| {
                library.pull(name, platform.as_ref(), progress)
            })
        };
        let pulled = all.iter().enumerate().map(pull).collect::<Result<Vec<_>, _>>();
        Ok(pulled?)
    })?;
    settle::in_background(&root);
    if mode.sums_up() {
        pulled.iter().for_each(|one| say(&summary(one)));
    }
    let ids = pulled.iter().map(|one| format!("{}\n", one.id.unwrap_or(one.digest)));
    Ok(answer(&ids.collect::<String>())?)
}

fn summary(pulled: &Pulled) -> String {
    let verb = if pulled.was_here { "up to date" } else { "pulled" };
    format!("{verb}: {}@{}\n", pulled.name.familiar(), pulled.digest)
}
