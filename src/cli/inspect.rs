//! `kiln inspect`: everything about an image, as JSON with the field names of `docker image inspect`.

use clap::Args;

use super::{Done, Session, answer};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// The images
    #[arg(required = true)]
    images: Vec<String>,
}

/// Runs the command.
pub(super) fn run(flags: &Flags, session: &Session) -> Done {
    let library = session.library()?;
    let mut values = Vec::new();
    for name in &flags.images {
        let (_, digest) = library.find(name)?;
        let image = library.image(name)?;
        let named = library.names_of(digest)?;
        let config = serde_json::from_slice::<serde_json::Value>(&image.config.to_bytes())
            .unwrap_or_default();
        let repo_tags = named.iter().map(|name| name.familiar());
        let size: u64 = image.manifest.layers.iter().map(|layer| layer.size).sum();
        values.push(serde_json::json!({
            "Id": image.manifest.config.digest.to_string(),
            "Digest": image.digest.to_string(),
            "RepoTags": repo_tags.collect::<Vec<_>>(),
            "Created": config.get("created"),
            "Author": config.get("author"),
            "Architecture": config.get("architecture"),
            "Variant": config.get("variant"),
            "Os": config.get("os"),
            "Size": size,
            "Config": config.get("config"),
            "RootFS": {
                "Type": "layers",
                "Layers": image.config.rootfs.diff_ids.iter().map(ToString::to_string).collect::<Vec<_>>(),
            },
            "History": config.get("history"),
        }));
    }
    let text = serde_json::to_string_pretty(&values).unwrap_or_default();
    Ok(answer(&format!("{text}\n"))?)
}
