//! Names without a registry: whose image is meant.

use super::{Image, Images, SourceError};
use crate::oci::{Platform, Reference};
use crate::registry::RegistryError;

impl Images<'_> {
    /// Finds what a name without a registry means: what the store has under it, as docker completes it, or else the
    /// first that there is of the names that the user's configuration makes of it.
    pub(super) fn by_short_name(
        &self,
        short: &Reference,
        platform: &Platform,
    ) -> Result<Image, SourceError> {
        let candidates = self.client.candidates(short)?;
        if candidates.iter().eq([short]) {
            return self.by_reference(short, platform);
        }
        let kept = || {
            let mut names = [short].into_iter().chain(&candidates);
            names.find_map(|name| self.in_store(name, platform).transpose()).transpose()
        };
        if !self.pull
            && let Some(image) = kept()?
        {
            return Ok(image);
        }
        match first_found(short, &candidates, |candidate| self.in_registry(candidate, platform)) {
            Err(SourceError::Registry(error)) if self.pull && all_refuse(&error) => {
                kept()?.ok_or(SourceError::Registry(error))
            }
            found => found,
        }
    }
}

/// Asks for the names that one without a registry may mean, until one is found. Errors: what came of each.
pub fn first_found<T>(
    short: &Reference,
    candidates: &[Reference],
    mut ask: impl FnMut(&Reference) -> Result<T, SourceError>,
) -> Result<T, SourceError> {
    let mut failures = Vec::new();
    for candidate in candidates {
        match ask(candidate) {
            Err(SourceError::Registry(RegistryError::Canceled)) => {
                return Err(SourceError::Canceled);
            }
            Err(SourceError::Registry(error)) => {
                failures.push((candidate.familiar_name(), error));
            }
            found => return found,
        }
    }
    Err(match failures.len() {
        1 => failures.remove(0).1.into(),
        _ => RegistryError::Everywhere { name: short.familiar_name(), failures }.into(),
    })
}

fn all_refuse(error: &RegistryError) -> bool {
    match error {
        RegistryError::Everywhere { failures, .. } => failures.iter().all(|it| all_refuse(&it.1)),
        error => error.is_refusal(),
    }
}
