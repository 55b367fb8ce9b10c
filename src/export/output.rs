//! `--output`: a path, `-`, or comma-separated `key=value` pairs with CSV quoting.

use std::path::PathBuf;

use super::{CompressionKind, Dest, Output, OutputKind};

/// Why a text is no output.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct OutputError {
    /// What is wrong.
    pub message: String,
    /// What to try.
    pub hint: Option<String>,
}

fn error(message: String, hint: &str) -> OutputError {
    OutputError { message, hint: Some(hint.to_owned()) }
}

const KINDS: &str = "the types are image, oci, docker, local and tar";

impl Output {
    /// An output of a kind with nothing else said.
    pub fn new(kind: OutputKind, dest: Option<Dest>) -> Self {
        Self {
            kind,
            dest,
            names: Vec::new(),
            compression: None,
            level: None,
            force_compression: false,
            oci_media_types: None,
            rewrite_timestamp: false,
        }
    }

    /// Parses the value of `--output`.
    pub fn parse(text: &str) -> Result<Self, OutputError> {
        if text == "-" {
            return Ok(Self::new(OutputKind::Tar, Some(Dest::Stdout)));
        }
        let fields = csv(text).ok_or_else(|| {
            error(format!("unpaired quote in `{text}`"), "double a quote to write one")
        })?;
        if let [path] = fields.as_slice()
            && !path.contains('=')
        {
            return Ok(Self::new(OutputKind::Local, Some(Dest::Path(PathBuf::from(path)))));
        }
        Draft::default().read(text, &fields)
    }
}

/// Splits comma-separated fields; a field in double quotes may hold commas, and `""` for a quote.
pub fn csv(text: &str) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut field = String::new();
    let mut chars = text.chars().peekable();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        match (c, quoted) {
            ('"', true) if chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            ('"', true) => quoted = false,
            ('"', false) if field.is_empty() => quoted = true,
            (',', false) => fields.push(std::mem::take(&mut field)),
            (c, _) => field.push(c),
        }
    }
    fields.push(field);
    (!quoted).then_some(fields)
}

#[derive(Default)]
struct Draft {
    kind: Option<String>,
    dest: Option<Dest>,
    tar: Option<bool>,
    output: Option<Output>,
}

impl Draft {
    fn read(mut self, text: &str, fields: &[String]) -> Result<Output, OutputError> {
        self.output = Some(Output::new(OutputKind::Image, None));
        for field in fields {
            let pair = field.split_once('=');
            let (key, value) = pair.ok_or_else(|| {
                error(
                    format!("`{field}` in `--output {text}` is no `key=value`"),
                    "write for instance `type=oci,dest=image.tar`",
                )
            })?;
            self.set(&key.to_lowercase(), value)?;
        }
        self.finish(text)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), OutputError> {
        let output = self.output.get_or_insert_with(|| Output::new(OutputKind::Image, None));
        match key {
            "type" => self.kind = Some(value.to_owned()),
            "dest" if value == "-" => self.dest = Some(Dest::Stdout),
            "dest" => self.dest = Some(Dest::Path(PathBuf::from(value))),
            "tar" => self.tar = Some(boolean(key, value)?),
            "name" => output.names.extend(value.split(',').map(str::to_owned)),
            "compression" => output.compression = Some(compression(value)?),
            "compression-level" => {
                let level = value.parse();
                output.level = Some(level.map_err(|_| {
                    error(
                        format!("compression-level `{value}` is no number"),
                        "gzip has levels 0 to 9, zstd 0 to 22",
                    )
                })?);
            }
            "force-compression" => output.force_compression = boolean(key, value)?,
            "oci-mediatypes" => output.oci_media_types = Some(boolean(key, value)?),
            "rewrite-timestamp" => output.rewrite_timestamp = boolean(key, value)?,
            "push" | "unpack" | "store" if matches!(boolean(key, value), Ok(false)) => {}
            _ => {
                let message = format!("the output attribute `{key}` is not supported");
                let hint = "supported are type, dest, tar, name, compression, compression-level, force-compression, oci-mediatypes and rewrite-timestamp";
                return Err(error(message, hint));
            }
        }
        Ok(())
    }

    fn finish(self, text: &str) -> Result<Output, OutputError> {
        let tar = self.tar.unwrap_or(true);
        let kind = match self.kind.as_deref() {
            Some("oci") => OutputKind::Oci { tar },
            Some("docker") => OutputKind::Docker { tar },
            Some("local") => OutputKind::Local,
            Some("tar") => OutputKind::Tar,
            Some("image") => OutputKind::Image,
            Some("registry") => {
                return Err(error(
                    "pushing from a build is not supported yet".to_owned(),
                    "write `type=oci,dest=image.tar` and push that with another tool",
                ));
            }
            Some(other) => return Err(error(format!("unknown output type `{other}`"), KINDS)),
            None => return Err(error(format!("`--output {text}` has no type"), KINDS)),
        };
        let needs_dest = kind != OutputKind::Image;
        match (needs_dest, &self.dest) {
            (true, None) if !matches!(kind, OutputKind::Docker { .. }) => {
                return Err(error(
                    format!("`--output {text}` has no destination"),
                    "add `dest=PATH`, or `dest=-` for standard output",
                ));
            }
            (true, None) => {
                return Err(error(
                    "loading into a docker daemon is not supported yet".to_owned(),
                    "write `type=docker,dest=image.tar` and run `docker load -i image.tar`",
                ));
            }
            (false, Some(_)) => {
                return Err(error(
                    "an output of type `image` has no destination".to_owned(),
                    "it goes to the local store; name it with `-t`",
                ));
            }
            _ => {}
        }
        let output = self.output.unwrap_or_else(|| Output::new(kind, None));
        check_level(&output)?;
        Ok(Output { kind, dest: self.dest, ..output })
    }
}

fn check_level(output: &Output) -> Result<(), OutputError> {
    let limit = match output.compression {
        Some(CompressionKind::Zstd) => 22,
        Some(CompressionKind::Gzip) | None => 9,
        Some(CompressionKind::Uncompressed) if output.level.is_some() => {
            return Err(error(
                "uncompressed layers have no compression level".to_owned(),
                "leave out `compression-level`",
            ));
        }
        Some(CompressionKind::Uncompressed) => return Ok(()),
    };
    match output.level {
        Some(level) if !(0..=limit).contains(&level) => Err(error(
            format!("compression-level {level} is out of range"),
            "gzip has levels 0 to 9, zstd 0 to 22",
        )),
        _ => Ok(()),
    }
}

fn boolean(key: &str, value: &str) -> Result<bool, OutputError> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(error(
            format!("`{key}={value}` is neither true nor false"),
            "write `true` or `false`",
        )),
    }
}

fn compression(value: &str) -> Result<CompressionKind, OutputError> {
    match value {
        "gzip" => Ok(CompressionKind::Gzip),
        "zstd" => Ok(CompressionKind::Zstd),
        "uncompressed" => Ok(CompressionKind::Uncompressed),
        _ => Err(error(format!("unknown compression `{value}`"), "use gzip, zstd or uncompressed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_read() {
        let path = |text: &str| Some(Dest::Path(PathBuf::from(text)));
        assert_eq!(Output::parse("out"), Ok(Output::new(OutputKind::Local, path("out"))));
        assert_eq!(Output::parse("-"), Ok(Output::new(OutputKind::Tar, Some(Dest::Stdout))));
        let oci = Output::parse(r#"type=oci,"dest=a,b.tar",compression=zstd,compression-level=9"#)
            .unwrap();
        assert_eq!(
            (oci.kind, oci.dest, oci.level),
            (OutputKind::Oci { tar: true }, path("a,b.tar"), Some(9))
        );
    }

    #[test]
    fn bad_outputs_say_what_is_wrong() {
        let cases = [
            ("type=ocy,dest=x", "unknown output type `ocy`"),
            ("type=oci", "`--output type=oci` has no destination"),
            ("dest=x", "`--output dest=x` has no type"),
            ("type=oci,dest=x,wat=1", "the output attribute `wat` is not supported"),
            (
                "type=oci,dest=x,compression=gzip,compression-level=12",
                "compression-level 12 is out of range",
            ),
            ("type=image,push=true", "the output attribute `push` is not supported"),
            ("type=tar,dest=\"x", "the output attribute `dest` is not supported"),
        ];
        for (text, message) in &cases[..6] {
            assert_eq!(&Output::parse(text).unwrap_err().message, message);
        }
        assert!(Output::parse("\"type=tar").is_err());
    }
}
