//! `kiln logout`: credentials are removed wherever `kiln` would find them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use kiln::diagnostic::Diagnostic;
use kiln::event::Cancel;
use kiln::registry::{AuthFileEdit, Helper};

use super::login::{Name, failed, read, write};
use super::network::ReachFlags;
use super::{Done, Session, answer, say};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// The registry [default: docker.io]
    registry: Option<String>,
    /// Remove the credentials of all registries
    #[arg(short, long, conflicts_with = "registry")]
    all: bool,
    #[command(flatten)]
    reach: ReachFlags,
}

/// Runs the command.
pub(super) fn run(flags: &Flags, session: &Session) -> Done {
    let name = Name::read(flags.registry.as_deref())?;
    let helpers = flags.reach.settings(session)?.registries.credential_helpers().to_vec();
    let mut removed = BTreeSet::new();
    for path in flags.reach.auth_files(&session.environment).0 {
        let Some(file) = read(&path)? else { continue };
        let names = if flags.all { file.names() } else { vec![name.whole.clone()] };
        removed.extend(remove((path, file), names)?);
    }
    if !flags.all {
        for helper in helpers.iter().filter(|helper| *helper != "containers-auth.json") {
            let helper = Helper { name: helper.clone(), server: name.registry.clone() };
            if erase(&helper)? {
                removed.insert(name.whole.clone());
            }
        }
    }
    match (removed.is_empty(), flags.all) {
        (true, true) => say("not logged in to any registry\n"),
        (true, false) => say(&format!("not logged in to {}\n", name.whole)),
        (false, _) => {
            let lines = removed.iter().map(|it| format!("Removed login credentials for {it}\n"));
            answer(&lines.collect::<String>())?;
        }
    }
    Ok(())
}

/// Removes names from a file and from the helpers that it names; returns those that were there.
fn remove(
    (path, mut file): (PathBuf, AuthFileEdit),
    names: Vec<String>,
) -> Result<Vec<String>, Diagnostic> {
    let mut removed = Vec::new();
    let mut changed = false;
    for name in names {
        // Helpers know registries only.
        let helper = file.helper(&name).filter(|_| !name.contains('/'));
        let erased = helper.map(|helper| erase(&helper)).transpose()?;
        let struck = file.remove(&name);
        changed |= struck;
        if struck || erased == Some(true) {
            removed.push(name);
        }
    }
    if changed {
        write(&path, &file)?;
    }
    Ok(removed)
}

fn erase(helper: &Helper) -> Result<bool, Diagnostic> {
    helper.erase(&Cancel::new()).map_err(|error| failed(&error))
}
