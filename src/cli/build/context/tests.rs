//! Contexts and Dockerfiles of every form, found in temporary directories.

use super::*;

struct Place(tempfile::TempDir);

impl Place {
    fn with(files: &[(&str, &[u8])]) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for (name, bytes) in files {
            std::fs::write(place.0.path().join(name), bytes).unwrap();
        }
        place
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// What is found, or the message, with the place's path taken out.
    fn find(&self, context: &str, file: Option<&str>, stdin: &[u8]) -> String {
        let here = |text: &str| match text.strip_prefix('@') {
            Some(name) => self.path(name),
            None => text.to_owned(),
        };
        let (context, file) = (here(context), file.map(here));
        let found = find(&context, file.as_deref(), &mut &stdin[..], self.0.path());
        let told = match found {
            Ok(inputs) => format!("{:?} {}", inputs.context, shown(&inputs.dockerfile)),
            Err(error) => match error.hint {
                Some(hint) => format!("{} ({hint})", error.message),
                None => error.message,
            },
        };
        told.replace(&self.path(""), "@")
    }
}

fn shown(source: &DockerfileSource) -> String {
    match source {
        DockerfileSource::File { path, display } => format!("{} as {display}", path.display()),
        DockerfileSource::InContext(path) => format!("inside {path}"),
        DockerfileSource::Text { display, text } => {
            format!("{display} {:?}", String::from_utf8_lossy(text))
        }
    }
}

fn tar() -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(4);
    header.set_cksum();
    archive.append_data(&mut header, "Dockerfile", &b"FROM"[..]).unwrap();
    archive.into_inner().unwrap()
}

#[test]
fn directories() {
    let place = Place::with(&[("Dockerfile", b""), ("Dockerfile.dev", b"")]);
    assert_eq!(place.find("@", None, b""), r#"Directory("@") @Dockerfile as @Dockerfile"#);
    assert_eq!(
        place.find("@", Some("@Dockerfile.dev"), b""),
        r#"Directory("@") @Dockerfile.dev as @Dockerfile.dev"#
    );
    assert_eq!(place.find("@", Some("-"), b"FROM x"), r#"Directory("@") <stdin> "FROM x""#);
    assert_eq!(
        place.find("@", Some("@none"), b""),
        "the Dockerfile `@none` does not exist (`-f` is relative to the working directory, not to the context)"
    );
    assert_eq!(place.find("@", Some("@"), b""), "the Dockerfile `@` is a directory");
}

#[test]
fn default_names() {
    let lower = Place::with(&[("dockerfile", b""), ("Containerfile", b"")]);
    assert_eq!(lower.find("@", None, b""), r#"Directory("@") @dockerfile as @dockerfile"#);
    assert_eq!(
        lower.find("@", Some("@Dockerfile"), b""),
        r#"Directory("@") @dockerfile as @Dockerfile"#
    );
    let container = Place::with(&[("Containerfile", b"")]);
    assert_eq!(
        container.find("@", None, b""),
        r#"Directory("@") @Containerfile as @Containerfile"#
    );
    let other = Place::with(&[("Dockerfile.dev", b""), ("a.dockerignore", b"")]);
    assert_eq!(
        other.find("@", None, b""),
        "there is no Dockerfile in `@` (there is `@Dockerfile.dev`: give it with `-f @Dockerfile.dev`)"
    );
    let empty = Place::with(&[]);
    assert_eq!(
        empty.find("@", None, b""),
        "there is no Dockerfile in `@` (give its path with `-f`; tried Dockerfile, dockerfile, Containerfile)"
    );
}

#[test]
fn archives() {
    let place = Place::with(&[("c.tar", &tar()), ("c.tgz", b"\x1f\x8b\x08rest"), ("D", b"FROM x")]);
    assert_eq!(place.find("@c.tar", None, b""), r#"Archive("@c.tar") inside Dockerfile"#);
    assert_eq!(place.find("@c.tgz", Some("a/D"), b""), r#"Archive("@c.tgz") inside a/D"#);
    assert_eq!(place.find("@c.tar", Some("@D"), b""), r#"Archive("@c.tar") @D as @D"#);
    assert_eq!(
        place.find("@D", None, b""),
        format!(
            "the build context `@D` is neither a directory nor a tar archive (for a Dockerfile of this name: \
             `kiln build -f @D {}`)",
            place.0.path().display()
        )
    );
}

#[test]
fn standard_input() {
    let place = Place::with(&[]);
    assert_eq!(place.find("-", None, b"FROM x"), r#"Empty <stdin> "FROM x""#);
    assert_eq!(place.find("-", None, b""), r#"Empty <stdin> """#);
    let long = [b"FROM x\n".repeat(200)].concat();
    assert!(place.find("-", None, &long).ends_with("FROM x\\n\""));
    assert_eq!(
        place.find("-", Some("D"), b"FROM x"),
        "two Dockerfiles: `-f D`, and standard input, which is no archive \
         (give a tar archive on standard input, or drop `-f`)"
    );
    assert_eq!(
        place.find("-", Some("-"), b"FROM x"),
        "the context and the Dockerfile cannot both come from standard input \
         (give a directory as context, or drop `-f -`)"
    );
}

#[test]
fn an_archive_from_standard_input_is_kept_whole_and_leaves_nothing() {
    let place = Place::with(&[]);
    let tar = tar();
    let inputs = find("-", Some("a/D"), &mut &tar[..], place.0.path()).unwrap();
    let Context::Archive(path) = &inputs.context else { panic!("{inputs:?}") };
    assert_eq!(std::fs::read(path).unwrap(), tar);
    assert_eq!(shown(&inputs.dockerfile), "inside a/D");
    assert_eq!(std::fs::read_dir(place.0.path()).unwrap().count(), 0);
}

#[test]
fn what_is_not_there() {
    let place = Place::with(&[]);
    assert_eq!(
        place.find("@no", None, b""),
        "the build context `@no` does not exist (the context is a directory, a tar archive, or `-` for standard input)"
    );
    for url in ["https://example.org/a.git", "git@example.org:a", "github.com/a/b#main:dir"] {
        assert_eq!(
            place.find(url, None, b""),
            format!(
                "a context from a URL is not supported yet: `{url}` \
                 (clone or download it and give the directory or the archive)"
            )
        );
    }
    assert_eq!(
        place.find("@", Some("https://example.org/D"), b""),
        "a Dockerfile from a URL is not supported yet: `https://example.org/D` (download it and give the file)"
    );
}

#[test]
fn pipes_are_read_once() {
    let place = Place::with(&[]);
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(b"FROM scratch").unwrap();
    drop(writer);
    let path = descriptor_path(&reader);
    let found = place.find("@", Some(&path), b"");
    assert_eq!(found, format!(r#"Directory("@") {path} "FROM scratch""#));
}
