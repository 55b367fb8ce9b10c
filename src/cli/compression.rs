//! `--compression` and its kin: how layers are compressed that leave the local store.

use clap::{Args, ValueEnum};
use kiln::diagnostic::{Blame, Diagnostic};
use kiln::export::blob::{Existing, Wanted};
use kiln::layer::Compression;

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Flags {
    /// How layers are compressed that are not yet
    #[arg(long, value_name = "TYPE", default_value = "gzip", alias = "compression-format")]
    compression: Kind,
    /// gzip: 0 to 9, zstd: 0 to 22
    #[arg(long, value_name = "N")]
    compression_level: Option<u32>,
    /// Compress layers again that are compressed in another way
    #[arg(long)]
    force_compression: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Every registry and runtime takes it.
    Gzip,
    /// Smaller and faster; needs runtimes that know it.
    Zstd,
    /// Not at all.
    Uncompressed,
}

impl Flags {
    /// Returns what the flags ask for.
    pub(super) fn wanted(&self) -> Result<Wanted, Diagnostic> {
        let level = |default, most: u32| match self.compression_level {
            Some(level) if level > most => {
                let message = format!("`--compression-level {level}` is too high");
                let hint = format!("it has 0 to {most} here");
                Err(Diagnostic::new(Blame::Input, message).hint(Some(hint)))
            }
            given => Ok(given.unwrap_or(default)),
        };
        let compression = match self.compression {
            Kind::Gzip => Compression::Gzip { level: level(Compression::GZIP_LEVEL, 9)? },
            Kind::Zstd => Compression::Zstd { level: level(Compression::ZSTD_LEVEL, 22)? },
            Kind::Uncompressed => Compression::Uncompressed,
        };
        let existing = match (self.force_compression, self.compression) {
            (true, _) => Existing::Same,
            (false, Kind::Uncompressed) => Existing::Any,
            (false, Kind::Gzip | Kind::Zstd) => Existing::Compressed,
        };
        Ok(Wanted { compression, existing, rewrite: false })
    }
}
