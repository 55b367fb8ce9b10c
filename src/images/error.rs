//! What can go wrong with images, and how it is told.

use crate::diagnostic::{Blame, Diagnostic};
use crate::export::ExportError;
use crate::fs::full_disk;
use crate::layer::LayerError;
use crate::registry::ConfigError;
use crate::snapshot::SnapshotError;
use crate::source::SourceError;
use crate::store::StoreError;

/// Why something could not be done with an image.
#[derive(Debug, thiserror::Error)]
pub enum ImagesError {
    /// The image is not in the local store.
    #[error("there is no image `{0}` in the local store")]
    NotHere(String),
    /// An image could not be found or read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// An image that was named cannot be had.
    #[error("cannot use the image `{name}`")]
    Unusable {
        /// What the user wrote.
        name: String,
        /// Why.
        #[source]
        source: SourceError,
    },
    /// A number that no layer has.
    #[error("`{image}` has {count} layers, and none is number {layer}")]
    NoLayer {
        /// Of which image.
        image: String,
        /// What the user wrote.
        layer: String,
        /// How many there are.
        count: usize,
    },
    /// The beginning of a diff id that several layers have.
    #[error("`{0}` is the beginning of several layers' diff ids")]
    SeveralLayers(String),
    /// An image on which another one is not built.
    #[error("`{base}` is no base of `{image}`: its layers are not the lowest of that image")]
    NotABase {
        /// The supposed base.
        base: String,
        /// The image.
        image: String,
    },
    /// A layer that does not fit those below it.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A layer that cannot be read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// An image could not be written.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The user's settings.
    #[error(transparent)]
    Settings(#[from] ConfigError),
}

impl ImagesError {
    /// Returns whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            Self::NotHere(_)
            | Self::NoLayer { .. }
            | Self::SeveralLayers(_)
            | Self::NotABase { .. }
            | Self::Settings(_) => Blame::Input,
            Self::Source(error) | Self::Unusable { source: error, .. } => error.blame(),
            Self::Layer(_) | Self::Snapshot(_) | Self::Export(_) | Self::Store(_) => Blame::Machine,
        }
    }

    /// Returns what to try.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotHere(_) => Some("`kiln images` lists those that are there".to_owned()),
            Self::Source(error) | Self::Unusable { source: error, .. } => error.hint(),
            Self::NoLayer { .. } | Self::SeveralLayers(_) | Self::NotABase { .. } => {
                Some("`kiln layers` shows the numbers of the layers".to_owned())
            }
            Self::Layer(_) | Self::Snapshot(_) | Self::Export(_) => full_disk(self),
            Self::Store(error) => error.hint(),
            Self::Settings(error) => error.hint(),
        }
    }
}

impl From<ImagesError> for Diagnostic {
    fn from(error: ImagesError) -> Self {
        Self::new(error.blame(), error.to_string()).hint(error.hint()).causes_of(&error)
    }
}
