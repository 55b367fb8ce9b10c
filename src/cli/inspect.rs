//! `kiln inspect`: everything about an image, as JSON with the field names of `docker image inspect`.

use clap::Args;
use kiln::runner;

use super::{Done, Session, answer};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// The images
    #[arg(required = true)]
    images: Vec<String>,
}

/// Runs the command.
pub(super) fn run(flags: &Flags, session: &Session) -> Done {
    let root = session.state_root()?;
    let tags = runner::local_tags(&root)?;
    let mut values = Vec::new();
    for name in &flags.images {
        let image = runner::local_image(&root, name)?;
        let config = serde_json::from_slice::<serde_json::Value>(&image.config.to_bytes())
            .unwrap_or_default();
        let named = tags.iter().filter(|(_, manifest)| *manifest == image.digest);
        let repo_tags = named.map(|(reference, _)| reference.familiar());
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
