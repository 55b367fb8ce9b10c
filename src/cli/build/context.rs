//! Finds the build context and the Dockerfile from `CONTEXT` and `--file`.
//!
//! `-f PATH` is relative to the working directory, except for an archive, where a relative path is one inside it.
//! Only what is needed to tell the forms apart is read; archives from standard input are kept in a file without a
//! name, which the kernel removes whatever happens to kiln.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use kiln::builder::{Context, DockerfileSource, LARGEST_DOCKERFILE};
use kiln::diagnostic::{Blame, Diagnostic};
use kiln::fs::descriptor_path;
use kiln::layer::begins_archive;

use super::values::{Read, problem};

/// The context, the Dockerfile, and what must stay open while they are used.
#[derive(Debug)]
pub(super) struct Inputs {
    /// The context.
    pub(super) context: Context,
    /// The Dockerfile.
    pub(super) dockerfile: DockerfileSource,
    /// Holds an archive that came from standard input.
    pub(super) spool: Option<File>,
}

/// Enough to see every archive's mark: a tar header.
const HEAD: usize = 512;
const STDIN: &str = "<stdin>";

/// Finds both. `scratch` is where an archive from `stdin` may be kept.
pub(super) fn find(
    context: &str,
    file: Option<&str>,
    stdin: &mut dyn io::Read,
    scratch: &Path,
) -> Read<Inputs> {
    if context == "-" {
        return from_stdin(file, stdin, scratch);
    }
    let context = locate(context)?;
    let dockerfile = match (&context, file) {
        (_, Some("-")) => text(STDIN, stdin)?,
        (_, Some(url)) if is_url(url) => return Err(no_url("a Dockerfile", url)),
        (Context::Archive(_), file) => in_archive(file)?,
        (Context::Directory(_) | Context::Empty, Some(file)) => on_disk(Path::new(file), file)?,
        (Context::Directory(folder), None) => default_in(folder)?,
        (Context::Empty, None) => default_in(Path::new("."))?,
    };
    Ok(Inputs { context, dockerfile, spool: None })
}

fn from_stdin(file: Option<&str>, stdin: &mut dyn io::Read, scratch: &Path) -> Read<Inputs> {
    if file == Some("-") {
        return Err(problem("the context and the Dockerfile cannot both come from standard input")
            .hint(Some("give a directory as context, or drop `-f -`".to_owned())));
    }
    let mut head = Vec::new();
    stdin.take(HEAD as u64).read_to_end(&mut head).map_err(stdin_failed)?;
    if begins_archive(&head) {
        let spool = spool(&head, stdin, scratch)?;
        let path = descriptor_path(&spool).into();
        let dockerfile = in_archive(file)?;
        return Ok(Inputs { context: Context::Archive(path), dockerfile, spool: Some(spool) });
    }
    if let Some(file) = file {
        let message =
            format!("two Dockerfiles: `-f {file}`, and standard input, which is no archive");
        let hint = "give a tar archive on standard input, or drop `-f`".to_owned();
        return Err(problem(message).hint(Some(hint)));
    }
    let dockerfile = text(STDIN, &mut head.chain(stdin))?;
    Ok(Inputs { context: Context::Empty, dockerfile, spool: None })
}

fn stdin_failed(error: io::Error) -> Diagnostic {
    Diagnostic::new(Blame::Machine, format!("cannot read standard input: {error}"))
}

fn spool(head: &[u8], stdin: &mut dyn io::Read, scratch: &Path) -> Read<File> {
    let made = std::fs::create_dir_all(scratch).and_then(|()| tempfile::tempfile_in(scratch));
    let kept = made.and_then(|mut file| {
        file.write_all(head)?;
        io::copy(stdin, &mut file)?;
        Ok(file)
    });
    kept.map_err(|error| {
        let message = format!(
            "cannot keep the archive from standard input in `{}`: {error}",
            scratch.display()
        );
        Diagnostic::new(Blame::Machine, message)
    })
}

fn text(display: &str, from: &mut dyn io::Read) -> Read<DockerfileSource> {
    let mut text = Vec::new();
    let read = from.take(LARGEST_DOCKERFILE + 1).read_to_end(&mut text);
    read.map_err(|error| {
        Diagnostic::new(
            Blame::Machine,
            format!("cannot read the Dockerfile from `{display}`: {error}"),
        )
    })?;
    if text.len() as u64 > LARGEST_DOCKERFILE {
        return Err(problem(format!("the Dockerfile from `{display}` is larger than 16 MiB")));
    }
    Ok(DockerfileSource::Text { display: display.to_owned(), text })
}

/// A directory or an archive of this machine.
fn locate(context: &str) -> Read<Context> {
    let path = Path::new(context);
    if path.is_dir() {
        return Ok(Context::Directory(path.to_owned()));
    }
    if is_url(context) {
        return Err(no_url("a context", context));
    }
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => problem(format!("the build context `{context}` does not exist"))
            .hint(Some(
                "the context is a directory, a tar archive, or `-` for standard input".to_owned(),
            )),
        _ => problem(format!("cannot read the build context `{context}`: {error}")),
    };
    let mut head = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(HEAD as u64).read_to_end(&mut head).map_err(failed)?;
    if begins_archive(&head) {
        return Ok(Context::Archive(path.to_owned()));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.map_or_else(|| ".".to_owned(), |folder| folder.display().to_string());
    Err(problem(format!("the build context `{context}` is neither a directory nor a tar archive"))
        .hint(Some(format!("for a Dockerfile of this name: `kiln build -f {context} {folder}`"))))
}

/// Says whether docker would take this as a remote context or file.
fn is_url(text: &str) -> bool {
    ["http://", "https://", "git://", "ssh://", "git@", "github.com/"]
        .iter()
        .any(|prefix| text.starts_with(prefix))
}

fn no_url(what: &str, url: &str) -> Diagnostic {
    let hint = if what == "a Dockerfile" {
        "download it and give the file"
    } else {
        "clone or download it and give the directory or the archive"
    };
    problem(format!("{what} from a URL is not supported yet: `{url}`")).hint(Some(hint.to_owned()))
}

fn in_archive(file: Option<&str>) -> Read<DockerfileSource> {
    match file {
        Some(file) if file.starts_with('/') => on_disk(Path::new(file), file),
        Some(file) => Ok(DockerfileSource::InContext(file.to_owned())),
        None => Ok(DockerfileSource::InContext("Dockerfile".to_owned())),
    }
}

/// Names that are tried in a directory, in this order. The second is docker's own fallback, the third podman's name.
const NAMES: [&str; 3] = ["Dockerfile", "dockerfile", "Containerfile"];

fn default_in(folder: &Path) -> Read<DockerfileSource> {
    for name in NAMES {
        let path = folder.join(name);
        if path.symlink_metadata().is_ok() {
            let shown = if folder == Path::new(".") { Path::new(name) } else { &path };
            let shown = shown.display().to_string();
            // Waiting for what a stranger's pipe says may take for ever.
            if path.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir()) {
                let message = format!("the Dockerfile `{shown}` is not a regular file");
                let hint = "to read it all the same, give it with `-f`".to_owned();
                return Err(problem(message).hint(Some(hint)));
            }
            return on_disk(&path, &shown);
        }
    }
    let similar = similar_names(folder);
    let hint = match similar.as_slice() {
        [] => format!("give its path with `-f`; tried {}", NAMES.join(", ")),
        [first, ..] => {
            format!("there is `{0}`: give it with `-f {0}`", folder.join(first).display())
        }
    };
    Err(problem(format!("there is no Dockerfile in `{}`", folder.display())).hint(Some(hint)))
}

/// `Dockerfile.dev`, `app.Dockerfile`, …
fn similar_names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut similar: Vec<_> = names
        .filter(|name| {
            let name = name.to_lowercase();
            !name.ends_with("ignore")
                && (name.contains("dockerfile") || name.contains("containerfile"))
        })
        .collect();
    similar.sort();
    similar
}

fn on_disk(path: &Path, display: &str) -> Read<DockerfileSource> {
    let lower = path.with_file_name("dockerfile");
    let path = match path.file_name() {
        Some(name) if name == NAMES[0] && !path.exists() && lower.exists() => &lower,
        _ => path,
    };
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => problem(format!("the Dockerfile `{display}` does not exist"))
            .hint(Some("`-f` is relative to the working directory, not to the context".to_owned())),
        _ => problem(format!("cannot read the Dockerfile `{display}`: {error}")),
    };
    let found = std::fs::metadata(path).map_err(failed)?;
    if found.is_dir() {
        return Err(problem(format!("the Dockerfile `{display}` is a directory")));
    }
    if found.is_file() {
        return Ok(DockerfileSource::File { path: path.to_owned(), display: display.to_owned() });
    }
    // A pipe such as `-f <(generate)` can be read only once.
    text(display, &mut File::open(path).map_err(failed)?)
}

#[cfg(test)]
mod tests;
