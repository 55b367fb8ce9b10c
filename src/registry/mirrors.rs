//! Which of the places of a repository is asked first.
//!
//! The order is that of `registries.conf`, but for two things that asking teaches: what a tag meant at one place is
//! looked for there first, since other places may not have it yet; and a mirror that could not be reached is asked
//! last from then on, so that its timeout is waited for only once.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use super::client::{Access, Call};
use super::{Place, Purpose, Registries, RegistryError};
use crate::oci::Reference;

/// What asking has taught so far.
#[derive(Default)]
pub(super) struct Asked(Mutex<Lessons>);

#[derive(Default)]
struct Lessons {
    /// By name, the repositories that have answered for it.
    served: HashMap<String, HashSet<String>>,
    /// Registries.
    unreachable: HashSet<String>,
}

impl Asked {
    /// Returns where to ask, in this order.
    pub(super) fn places(
        &self,
        registries: &Registries,
        call: &Call<'_>,
    ) -> Result<Vec<Place>, RegistryError> {
        let name = || call.repository.familiar_name();
        let unusable = |source| RegistryError::Place { name: name(), source };
        let purpose = purpose(call);
        let all = registries.places(call.repository, purpose);
        let mut places = all.map_err(&unusable)?;
        let lessons = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let served = lessons.served.get(&call.repository.name());
        let has_served = |place: &Place| {
            purpose == Purpose::PullDigest
                && served.is_some_and(|served| served.contains(&place.reference.name()))
        };
        if served.is_some() && purpose == Purpose::PullDigest {
            // A mirror that is asked for tags alone must give what its tags mean.
            let further = registries.places(call.repository, Purpose::PullTag);
            let further = further.map_err(&unusable)?.into_iter();
            let further: Vec<_> =
                further.filter(|it| has_served(it) && !places.contains(it)).collect();
            places.splice(0..0, further);
        }
        let unreachable = |place: &Place| lessons.unreachable.contains(place.reference.domain());
        places.sort_by_key(|place| (unreachable(place), !has_served(place)));
        Ok(places)
    }

    /// Notes that a place had what was asked for.
    pub(super) fn served(&self, repository: &Reference, place: &Place) {
        let mut lessons = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let served = lessons.served.entry(repository.name()).or_default();
        served.insert(place.reference.name());
    }

    /// Notes that a place did not.
    pub(super) fn failed(&self, place: &Place, error: &RegistryError) {
        if matches!(error, RegistryError::Agent(_)) {
            let mut lessons = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            lessons.unreachable.insert(place.reference.domain().to_owned());
        }
    }
}

fn purpose(call: &Call<'_>) -> Purpose {
    match call.access {
        Access::Push => Purpose::Push,
        Access::Pull if call.path.contains("sha256:") => Purpose::PullDigest,
        Access::Pull => Purpose::PullTag,
    }
}
