//! What can go wrong with images, and how it is told.

use crate::diagnostic::{Blame, Diagnostic};
use crate::export::ExportError;
use crate::fs::{PathError, remedy};
use crate::layer::LayerError;
use crate::registry::ConfigError;
use crate::snapshot::SnapshotError;
use crate::source::SourceError;
use crate::store::StoreError;
use crate::verify::VerifyError;

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
    /// A path.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A file that is not what it should be.
    #[error("cannot use `{file}`")]
    File {
        /// What the user wrote.
        file: String,
        /// Why.
        #[source]
        source: SourceError,
    },
    /// An instruction that makes no config.
    #[error("`{0}` is no instruction that changes a config")]
    Change(String),
    /// An instruction that is wrong.
    #[error("{message}")]
    Instruction {
        /// What is wrong.
        message: String,
        /// What to try.
        hint: Option<String>,
    },
    /// A place that kiln does not know.
    #[error("`{0}` is no place for images")]
    Place(String),
    /// An archive or layout does not have the image, or has several and none was named.
    #[error("{}", not_in_file(file, name.as_deref()))]
    NotInFile {
        /// Which file.
        file: String,
        /// What was asked for.
        name: Option<String>,
        /// What there is.
        names: Vec<String>,
    },
    /// A name that should be a repository's.
    #[error("`{name}` is more than a repository")]
    MoreThanRepository {
        /// What the user wrote.
        name: String,
        /// What it is a part of.
        repository: String,
    },
    /// An image that was named by its id is to be pushed nowhere.
    #[error("`{0}` is no name to push to")]
    NoName(String),
    /// A name with a digest cannot be given.
    #[error("`{0}` cannot be given to an image: it is, or looks like, a name with a digest")]
    DigestName(String),
    /// An image has more names than the one way it was meant by.
    #[error("the image `{image}` has several names: {}", names.join(", "))]
    SeveralNames {
        /// What the user wrote.
        image: String,
        /// Its names.
        names: Vec<String>,
    },
    /// A list is to be made under a name that something has.
    #[error("there is something called `{0}` already")]
    Exists(String),
    /// A list was meant, and the name is that of one image.
    #[error("`{0}` is an image, not a list of images")]
    NotAList(String),
    /// What was named is in a list not at all, or several times.
    #[error("{}", entries_of(list, entry, *count))]
    Entry {
        /// The list.
        list: String,
        /// What the user wrote.
        entry: String,
        /// How many of the list's images it stands for.
        count: usize,
        /// What the list has.
        entries: Vec<String>,
    },
    /// A part of a list that nobody is known to have.
    #[error("{what} is neither here nor in a registry that is known to have it")]
    Nowhere {
        /// Which part of which image of which list.
        what: String,
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
    /// What the machine left when it stopped could not be looked at.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The user's settings.
    #[error(transparent)]
    Settings(#[from] ConfigError),
}

impl ImagesError {
    /// Returns whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            Self::NotHere(_)
            | Self::Settings(_)
            | Self::NoName(_)
            | Self::MoreThanRepository { .. }
            | Self::Change(_)
            | Self::Instruction { .. }
            | Self::Place(_)
            | Self::NotInFile { .. }
            | Self::DigestName(_)
            | Self::Exists(_)
            | Self::NotAList(_)
            | Self::Entry { .. }
            | Self::Nowhere { .. }
            | Self::NoLayer { .. }
            | Self::SeveralLayers(_)
            | Self::NotABase { .. }
            | Self::SeveralNames { .. } => Blame::Input,
            Self::Export(error) => error.blame(),
            Self::Path(error) if error.is_not_found() => Blame::Input,
            Self::Path(_) => Blame::Machine,
            Self::Source(error)
            | Self::File { source: error, .. }
            | Self::Unusable { source: error, .. } => error.blame(),
            Self::Layer(_) | Self::Snapshot(_) | Self::Store(_) | Self::Verify(_) => Blame::Machine,
        }
    }

    /// Returns what to try.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotHere(_) => Some("`kiln images` lists those that are there".to_owned()),
            Self::Source(error)
            | Self::File { source: error, .. }
            | Self::Unusable { source: error, .. } => error.hint(),
            Self::Export(error) => error.hint(),
            Self::Path(_) => remedy(self),
            Self::Place(_) => Some(
                "the places are NAME (the local store), docker://NAME, oci:DIRECTORY[:NAME], \
                 oci-archive:FILE[:NAME] and docker-archive:FILE[:NAME]"
                    .to_owned(),
            ),
            Self::Change(_) => Some(
                "one line of CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, \
                 USER, VOLUME or WORKDIR"
                    .to_owned(),
            ),
            Self::Instruction { hint, .. } => hint.clone(),
            Self::NotInFile { names, .. } if names.is_empty() => None,
            Self::NotInFile { names, .. } => Some(format!("it has {}", names.join(", "))),
            Self::MoreThanRepository { repository, .. } => Some(format!("give `{repository}`")),
            Self::NoName(_) => Some("name the destination after the image".to_owned()),
            Self::DigestName(_) => Some("give a name with a tag, or with none".to_owned()),
            Self::SeveralNames { .. } => {
                Some("remove them by name, or all of them with `--force`".to_owned())
            }
            Self::Exists(_) => Some(
                "`--amend` adds to a list that is there; `kiln manifest rm` removes it".to_owned(),
            ),
            Self::NotAList(_) => Some("`kiln manifest create` makes a list".to_owned()),
            Self::Entry { entries, .. } if entries.is_empty() => Some("it is empty".to_owned()),
            Self::Entry { entries, .. } => Some(format!("it has {}", entries.join(", "))),
            Self::Nowhere { .. } => Some(
                "pull or build the image again, or remove it from the list by `kiln manifest remove`"
                    .to_owned(),
            ),
            Self::NoLayer { .. } | Self::SeveralLayers(_) | Self::NotABase { .. } => {
                Some("`kiln layers` shows the numbers of the layers".to_owned())
            }
            Self::Layer(_) | Self::Snapshot(_) => remedy(self),
            Self::Store(error) => error.hint(),
            Self::Verify(error) => error.hint(),
            Self::Settings(error) => error.hint(),
        }
    }
}

fn entries_of(list: &str, entry: &str, count: usize) -> String {
    match count {
        0 => format!("`{entry}` is not in the list `{list}`"),
        count => format!("`{entry}` stands for {count} images of the list `{list}`"),
    }
}

fn not_in_file(file: &str, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("there is no image `{name}` in `{file}`"),
        None => format!("there are several images in `{file}`: say which one"),
    }
}

impl From<ImagesError> for Diagnostic {
    fn from(error: ImagesError) -> Self {
        Self::new(error.blame(), error.to_string()).hint(error.hint()).causes_of(&error)
    }
}

impl From<ImagesError> for Vec<Diagnostic> {
    fn from(error: ImagesError) -> Self {
        vec![error.into()]
    }
}
