//! Root file systems: of an image as one tar, and a tar as an image of one layer.

use std::io::Read;

use super::archive::{Loaded, Stoppable, of_file};
use super::squash::assembled;
use super::{ImagesError, Library, Progress, Result};
use crate::dockerfile::ast::Dockerfile;
use crate::export::image::{self, ImageLayer};
use crate::export::product::Product;
use crate::export::{Dest, Exporter, Output, OutputKind};
use crate::graph::{self, Bases, Failure};
use crate::layer::{Tree, TreeContents};
use crate::oci::{History, ImageConfig, Platform, Reference};
use crate::snapshot::Snapshots;
use crate::source::{SourceError, archive};

/// Instructions by which `import` changes the config, as docker has them.
const CHANGES: [&str; 11] = [
    "CMD",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "HEALTHCHECK",
    "LABEL",
    "ONBUILD",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// How a root file system becomes an image.
#[derive(Debug, Clone)]
pub struct Import {
    /// What the file is called in errors.
    pub file: String,
    /// The image's name, whole.
    pub name: Option<Reference>,
    /// Instructions of a Dockerfile that make its config.
    pub changes: Vec<String>,
    /// The comment in its history.
    pub message: String,
    /// What it is for.
    pub platform: Platform,
    /// When it was made, in nanoseconds since 1970.
    pub created: i64,
}

impl Library {
    /// Writes the root file system of an image as one tar.
    pub fn export(&self, image: &str, dest: &Dest, progress: Progress<'_>) -> Result<()> {
        let (image, fetched) = self.layers(image)?;
        let image = assembled(&image, &fetched);
        let product = Product { images: vec![(image.config.platform(), image)], is_index: false };
        let exporter = Exporter { store: &self.store, progress, cancel: &self.cancel };
        exporter.export(&product, &Output::new(OutputKind::Tar, Some(dest.clone())), &[])?;
        Ok(())
    }

    /// Makes an image of a root file system: a tar, compressed or not.
    pub fn import(
        &self,
        input: impl Read + Send,
        import: &Import,
        progress: Progress<'_>,
    ) -> Result<Loaded> {
        let mut config = configured(&import.platform, &import.changes)?;
        let input = Stoppable { input, cancel: &self.cancel };
        let tree = archive::read(input, &self.store).map_err(of_file(&import.file))?;
        let changes = tree.changes_since(&Tree::empty());
        let snapshots = Snapshots::new(&self.store);
        let id =
            snapshots.commit_packed(&changes, &TreeContents(tree)).map_err(SourceError::from)?;
        let diff_id = snapshots.diff_id(id).map_err(SourceError::from)?;
        let created = jiff::Timestamp::from_nanosecond(i128::from(import.created)).ok();
        config.history =
            vec![History { created, comment: import.message.clone(), ..History::default() }];
        let layer = ImageLayer { id, diff_id, blob: None, created: Some(import.created) };
        let image = image::Image::new(config, vec![layer], None);
        let product = Product { images: vec![(import.platform.clone(), image)], is_index: false };
        let exporter = Exporter { store: &self.store, progress, cancel: &self.cancel };
        let names: Vec<Reference> = import.name.iter().cloned().collect();
        let finished = exporter.export(&product, &Output::new(OutputKind::Image, None), &names)?;
        let id = finished.config().map_or(finished.root.digest, |config| config.digest);
        Ok(Loaded { names, odd_names: Vec::new(), id })
    }
}

/// Returns the config that the instructions make of an empty image.
fn configured(platform: &Platform, changes: &[String]) -> Result<ImageConfig> {
    for change in changes {
        let keyword = change.split_whitespace().next().unwrap_or_default();
        let is_known = CHANGES.iter().any(|known| known.eq_ignore_ascii_case(keyword));
        if !is_known || change.contains(['\n', '\r']) {
            return Err(ImagesError::Change(change.clone()));
        }
    }
    let text = format!("FROM scratch\n{}\n", changes.join("\n"));
    let file = Dockerfile::parse(text.as_bytes()).map_err(|errors| {
        let message = errors.first().map_or_else(String::new, ToString::to_string);
        ImagesError::Instruction { message, hint: errors.first().and_then(|error| error.hint()) }
    })?;
    let request = graph::Request {
        platform: Some(platform.clone()),
        ..graph::Request::new(platform.clone())
    };
    match graph::lower(&file, &request, &Bases::new(), &mut Vec::new()) {
        Ok(lowered) => Ok(lowered.config),
        Err(Failure::Error(error)) => {
            Err(ImagesError::Instruction { message: error.message, hint: error.hint })
        }
        Err(Failure::Need(_)) => unreachable!("scratch needs no image"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_make_the_config() {
        let platform = Platform::host();
        let changes = ["CMD [\"sh\"]", "env A=b", "LABEL x=y", "USER me", "WORKDIR /w"];
        let config = configured(&platform, &changes.map(str::to_owned)).unwrap().config;
        assert_eq!(
            (config.cmd, config.user, config.working_dir),
            (vec!["sh".to_owned()], "me".to_owned(), "/w".to_owned())
        );
        for bad in ["RUN x", "FROM y", "", "ENV", "CMD a\nRUN b", "HEALTHCHECK --x CMD y"] {
            assert!(configured(&platform, &[bad.to_owned()]).is_err(), "{bad}");
        }
    }
}
