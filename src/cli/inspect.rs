//! `kiln inspect`: everything about images, with the field names of `docker image inspect`.

use std::collections::BTreeSet;

use clap::Args;
use kiln::diagnostic::{Blame, Diagnostic};
use kiln::images::{ImagesError, Library};
use kiln::oci::{Descriptor, Healthcheck, ImageConfig, Platform, ProcessConfig};
use kiln::source::SourceError;
use kiln::source::image::Image;

use super::format::{self, Field, Value};
use super::{Done, Failure, Session, answer};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// The images: names or ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// Of an index the image for this platform
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,
    /// How they are shown: `json` in one line, or a Go template for each
    ///
    /// An unknown field makes an error that lists those there are. Size is that of the files in all layers, unpacked.
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Show the manifest or index as it is stored; with --platform the manifest
    #[arg(long, conflicts_with = "format")]
    raw: bool,
    /// Show the config as it is stored
    #[arg(long, conflicts_with_all = ["format", "raw"])]
    config: bool,
}

/// Runs the command. What is found is shown although something else is not.
pub(super) fn run(flags: &Flags, session: &Session) -> Done {
    let library = session.library()?;
    let mut problems: Vec<Diagnostic> = Vec::new();
    let shown = match flags.raw || flags.config {
        true => stored(flags, &library, &mut problems),
        false => records(flags, &library, &mut problems)?,
    };
    answer(&shown)?;
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Failure::from(problems)),
    }
}

fn stored(flags: &Flags, library: &Library, problems: &mut Vec<Diagnostic>) -> String {
    let mut shown = String::new();
    for name in &flags.images {
        let document = match (flags.config, &flags.platform) {
            (false, None) => library.find(name).map(|(_, digest)| digest),
            (is_config, platform) => library
                .image_for(name, platform.as_ref())
                .map(|image| if is_config { image.manifest.config.digest } else { image.digest }),
        };
        let read = |digest| Ok(library.store().read_blob(&digest)?);
        match document.and_then(read) {
            Ok(bytes) => shown.push_str(&String::from_utf8_lossy(&bytes)),
            Err(error) => problems.push(error.into()),
        }
    }
    shown
}

fn records(
    flags: &Flags,
    library: &Library,
    problems: &mut Vec<Diagnostic>,
) -> Result<String, Diagnostic> {
    let mut found = Vec::new();
    for name in &flags.images {
        match record(name, flags.platform.as_ref(), library) {
            Ok(value) => found.push(value),
            Err(error) => problems.push(error.into()),
        }
    }
    match flags.format.as_deref() {
        None | Some("") => pretty(&Value::List(found.into())),
        Some("json") => Ok(Value::List(found.into()).json() + "\n"),
        Some(template) => format::each(template, &found),
    }
}

/// Writes JSON with four spaces a level, as docker does.
fn pretty(value: &Value) -> Result<String, Diagnostic> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut writer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    serde::Serialize::serialize(value, &mut writer)
        .map_err(|error| Diagnostic::new(Blame::Kiln, error.to_string()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned() + "\n")
}

fn record(
    name: &str,
    platform: Option<&Platform>,
    library: &Library,
) -> Result<Value, ImagesError> {
    let (_, digest) = library.find(name)?;
    let image = library.image_for(name, platform)?;
    let names = library.names_of(digest)?;
    let tags = names.iter().filter(|name| name.tag().is_some() && name.digest().is_none());
    let digests: BTreeSet<_> =
        names.iter().map(|name| format!("{}@{digest}", name.familiar_name())).collect();
    let bytes = library.store().read_blob(&digest)?;
    let document = kiln::oci::Document::parse(&bytes).map_err(SourceError::from)?;
    let descriptor = Descriptor::of(document.media_type(), &bytes);
    let size: u64 = library.layer_sizes(&image)?.iter().sum();
    let names = [
        Field::new("RepoTags", Value::list(tags.map(|name| name.familiar()))),
        Field::new("RepoDigests", Value::list(digests)),
    ];
    Ok(fields(&image, names, &descriptor, size))
}

fn fields(image: &Image, names: [Field; 2], descriptor: &Descriptor, size: u64) -> Value {
    let config = &image.config;
    let [tags, digests] = names;
    let layers = config.rootfs.diff_ids.iter().map(ToString::to_string);
    let comment = config.history.last().map(|step| step.comment.as_str()).unwrap_or_default();
    let created = config.created.map(|time| time.to_string()).unwrap_or_default();
    let rootfs = Value::record([("Type", "layers".into()), ("Layers", Value::list(layers))]);
    let descriptor = Value::record([
        ("mediaType", descriptor.media_type.to_string().into()),
        ("digest", descriptor.digest.to_string().into()),
        ("size", descriptor.size.into()),
    ]);
    Value::from_iter([
        Field::new("Id", image.manifest.config.digest.to_string()),
        Field::new("Digest", image.digest.to_string()),
        tags,
        digests,
        Field::new("Comment", comment),
        Field::if_any("Created", created),
        Field::new("Author", config.author.as_str()),
        Field::new("Config", process(&config.config)),
        Field::new("Architecture", config.architecture.as_str()),
        Field::if_any("Variant", config.variant.as_str()),
        Field::new("Os", config.os.as_str()),
        Field::if_any("OsVersion", config.os_version.as_str()),
        Field::new("Size", size),
        Field::new("RootFS", rootfs),
        Field::new("Descriptor", descriptor),
        Field::new("History", history(config)),
    ])
}

/// What a container runs, with the field names that the config itself has.
fn process(config: &ProcessConfig) -> Value {
    let list = |texts: &[String]| Value::list(texts.iter().map(String::as_str));
    let set = |names: &BTreeSet<String>| {
        let nothing = Value::from_iter(std::iter::empty::<Field>());
        Value::map(names.iter().map(|name| (name.clone(), nothing.clone())))
    };
    let labels = config.labels.iter().map(|(name, value)| (name.clone(), value.as_str()));
    let known = [
        Field::if_any("User", config.user.as_str()),
        Field::if_any("ExposedPorts", set(&config.exposed_ports)),
        Field::if_any("Env", list(&config.env)),
        Field::if_any("Entrypoint", list(&config.entrypoint)),
        Field::if_any("Cmd", list(&config.cmd)),
        Field::if_any("Volumes", set(&config.volumes)),
        Field::if_any("WorkingDir", config.working_dir.as_str()),
        Field::if_any("Labels", Value::map(labels)),
        Field::if_any("StopSignal", config.stop_signal.as_str()),
        Field::if_any("ArgsEscaped", config.args_escaped),
        Field::if_any("Healthcheck", config.healthcheck.as_ref().map_or(Value::Null, healthcheck)),
        Field::if_any("OnBuild", list(&config.on_build)),
        Field::if_any("Shell", list(&config.shell)),
    ];
    let others = config.other.iter().map(|(name, value)| Field::new(name, value.clone()));
    known.into_iter().chain(others).collect()
}

fn healthcheck(check: &Healthcheck) -> Value {
    Value::from_iter([
        Field::if_any("Test", Value::list(check.test.iter().map(String::as_str))),
        Field::if_any("Interval", Value::Int(check.interval)),
        Field::if_any("Timeout", Value::Int(check.timeout)),
        Field::if_any("StartPeriod", Value::Int(check.start_period)),
        Field::if_any("StartInterval", Value::Int(check.start_interval)),
        Field::if_any("Retries", Value::Int(check.retries)),
    ])
}

/// The steps, oldest first, with the field names that the config has.
fn history(config: &ImageConfig) -> Value {
    let step = |step: &kiln::oci::History| {
        let created = step.created.map(|time| time.to_string()).unwrap_or_default();
        Value::from_iter([
            Field::if_any("created", created),
            Field::if_any("created_by", step.created_by.as_str()),
            Field::if_any("author", step.author.as_str()),
            Field::if_any("comment", step.comment.as_str()),
            Field::if_any("empty_layer", step.empty_layer),
        ])
    };
    Value::list(config.history.iter().map(step))
}
