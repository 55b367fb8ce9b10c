//! Says what a build made: the image id on standard output, files for scripts, a summary for people.
//!
//! The image id is the digest of the config (of an index its own), in `-q`, without `-q` and in `--iidfile` alike; the manifest's digest is in
//! the summary and in the metadata file. Files appear complete or not at all, and a failed build leaves none behind
//! from an earlier one.

use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use kiln::builder::{Build, Outcome};
use kiln::diagnostic::{Blame, Diagnostic};
use kiln::export::Dest;
use serde_json::json;

use super::flags::Flags;
use super::values::{Read, problem};
use crate::cli::progress::Tally;

/// Looks whether the files can be written, and removes what an earlier build left there.
pub(super) fn prepare(flags: &Flags) -> Result<(), Vec<Diagnostic>> {
    let files = [("--iidfile", &flags.iidfile), ("--metadata-file", &flags.metadata_file)];
    let prepared = files.into_iter().filter_map(|(flag, path)| Some(clear(flag, path.as_deref()?)));
    let problems: Vec<_> = prepared.filter_map(Result::err).collect();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

fn clear(flag: &str, path: &Path) -> Read<()> {
    let shown = path.display();
    if path.is_dir() {
        return Err(problem(format!("`{flag} {shown}` is a directory")));
    }
    if !folder(path).is_dir() {
        return Err(problem(format!("the directory of `{flag} {shown}` does not exist")));
    }
    if is_plain(path) {
        kiln::fs::remove_file(path).map_err(|error| {
            Diagnostic::new(Blame::Machine, error.to_string()).causes_of(&error)
        })?;
    }
    Ok(())
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Whether a path is free or a regular file: pipes, devices, and links such as /dev/stdout are written to as they are.
fn is_plain(path: &Path) -> bool {
    path.symlink_metadata().map_or(true, |found| found.is_file())
}

/// Writes the files that were asked for.
pub(super) fn write_files(outcome: &Outcome, flags: &Flags) -> Result<(), Vec<Diagnostic>> {
    let id = flags.iidfile.as_ref().map(|path| write_file(path, &outcome.id().to_string()));
    let metadata = flags.metadata_file.as_ref().map(|path| write_file(path, &metadata(outcome)));
    let problems: Vec<_> = [id, metadata].into_iter().flatten().filter_map(Result::err).collect();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// Prints the image id, unless an archive went to standard output: that must stay one.
pub(super) fn answer(outcome: &Outcome, build: &Build) -> Read<()> {
    if archive_on_stdout(build) {
        return Ok(());
    }
    crate::cli::answer(&format!("{}\n", outcome.id()))
}

fn archive_on_stdout(build: &Build) -> bool {
    build.outputs.iter().any(|output| output.dest == Some(Dest::Stdout))
}

/// Writes a file that the user named; a plain one appears whole or not at all.
pub(crate) fn write_file(path: &Path, text: &str) -> Read<()> {
    let written = if is_plain(path) { replace(path, text) } else { std::fs::write(path, text) };
    written.map_err(|error| {
        Diagnostic::new(Blame::Machine, format!("cannot write `{}`: {error}", path.display()))
    })
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    // The umask is applied to this mode, as to that of any file.
    let mode = std::fs::Permissions::from_mode(0o666);
    let mut file = tempfile::Builder::new().permissions(mode).tempfile_in(folder(path))?;
    file.write_all(text.as_bytes())?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// The keys that buildx writes, as far as they have a meaning here.
fn metadata(outcome: &Outcome) -> String {
    let mut keys = serde_json::Map::new();
    let mut descriptor = json!({
        "mediaType": outcome.media_type,
        "digest": outcome.manifest.to_string(),
        "size": outcome.manifest_size,
    });
    if let Some(config) = outcome.config.map(|config| config.to_string()) {
        descriptor["annotations"] = json!({ "config.digest": config });
        keys.insert("containerimage.config.digest".to_owned(), config.into());
    }
    keys.insert("containerimage.descriptor".to_owned(), descriptor);
    keys.insert("containerimage.digest".to_owned(), outcome.manifest.to_string().into());
    if !outcome.names.is_empty() {
        keys.insert("image.name".to_owned(), outcome.names.join(",").into());
    }
    format!("{:#}\n", serde_json::Value::Object(keys))
}

/// The lines for people; `loaded` is the program that took the image.
pub(super) fn summary(
    outcome: &Outcome,
    build: &Build,
    loaded: Option<&str>,
    (tally, took): (Tally, Duration),
) -> String {
    let Tally { ran, cached } = tally;
    let took = match took.as_millis() {
        millis @ 0..1000 => format!("{millis}ms"),
        _ => format!("{:.1}s", took.as_secs_f64()),
    };
    let mut text = format!("built in {took}: {ran} done, {cached} cached\n");
    if archive_on_stdout(build) {
        text += &format!("  image     {}\n", outcome.id());
    }
    let kind = if outcome.config.is_some() { "manifest" } else { "index   " };
    text += &format!("  {kind}  {}\n", outcome.manifest);
    for name in &outcome.names {
        text += &format!("  name      {name}\n");
    }
    for output in &build.outputs {
        if let Some(Dest::Path(path)) = &output.dest {
            text += &format!("  written   {}\n", path.display());
        }
    }
    if build.outputs.iter().any(|output| output.push) {
        text += "  pushed    to the registries of these names\n";
    }
    if let Some(program) = loaded {
        text += &format!("  loaded    into {program}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln::digest::Digest;

    fn outcome(names: &[&str]) -> Outcome {
        Outcome {
            manifest: Digest::of(b"manifest"),
            manifest_size: 7,
            media_type: "application/vnd.oci.image.manifest.v1+json".into(),
            config: Some(Digest::of(b"config")),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            wrote: true,
        }
    }

    #[test]
    fn metadata_has_buildx_keys() {
        let (config, manifest) = (Digest::of(b"config"), Digest::of(b"manifest"));
        let expected = format!(
            r#"{{
  "containerimage.config.digest": "{config}",
  "containerimage.descriptor": {{
    "mediaType": "application/vnd.oci.image.manifest.v1+json",
    "digest": "{manifest}",
    "size": 7,
    "annotations": {{
      "config.digest": "{config}"
    }}
  }},
  "containerimage.digest": "{manifest}",
  "image.name": "docker.io/library/a:1,docker.io/library/b:2"
}}
"#
        );
        let names = ["docker.io/library/a:1", "docker.io/library/b:2"];
        assert_eq!(metadata(&outcome(&names)), expected);
        assert!(!metadata(&outcome(&[])).contains("image.name"));
        let index = metadata(&Outcome { config: None, ..outcome(&[]) });
        assert!(!index.contains("config.digest"), "{index}");
    }

    #[test]
    fn files_appear_whole_and_old_ones_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("id");
        std::fs::write(&path, "old").unwrap();
        clear("--iidfile", &path).unwrap();
        assert!(!path.exists());
        write_file(&path, "new").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        write_file(Path::new("/dev/null"), "x").unwrap();
        assert!(!is_plain(Path::new("/dev/null")));
    }

    #[test]
    fn a_link_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for text in ["first", "second"] {
            clear("--iidfile", &link).unwrap();
            write_file(&link, text).unwrap();
            assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
        }
        assert!(link.symlink_metadata().unwrap().is_symlink());
    }

    #[test]
    fn places_that_cannot_be_written() {
        let error = |path: &str| clear("--iidfile", Path::new(path)).unwrap_err().message;
        assert_eq!(error("/tmp"), "`--iidfile /tmp` is a directory");
        assert_eq!(error("/nowhere/id"), "the directory of `--iidfile /nowhere/id` does not exist");
    }
}
