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
        let mut failures = Vec::new();
        for candidate in &candidates {
            match self.in_registry(candidate, platform) {
                Err(SourceError::Registry(RegistryError::Canceled)) => {
                    return Err(SourceError::Canceled);
                }
                Err(SourceError::Registry(error)) => {
                    failures.push((candidate.familiar_name(), error));
                }
                found => return found,
            }
        }
        let refused = failures.iter().all(|(_, error)| error.is_refusal());
        if self.pull
            && refused
            && let Some(image) = kept()?
        {
            return Ok(image);
        }
        Err(match failures.len() {
            1 => failures.remove(0).1.into(),
            _ => RegistryError::Everywhere { name: short.familiar_name(), failures }.into(),
        })
    }
}
