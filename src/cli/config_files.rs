//! Where docker and containers/image (podman, buildah, skopeo) keep what they know about registries.
//!
//! Paths only, in the order that those programs document; whoever needs a file reads it.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::environment::Environment;

const REGISTRIES: &str = "registries.conf";

/// The files of `registries.conf`, each overriding those before it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RegistriesFiles {
    /// Whether each of them must be there, because the user named it.
    pub(super) files: Vec<(PathBuf, bool)>,
}

/// The user's own directory of containers/image.
pub(super) fn containers_directory(environment: &Environment) -> Option<PathBuf> {
    let config = environment.path("XDG_CONFIG_HOME");
    let config = config.or_else(|| Some(environment.path("HOME")?.join(".config")))?;
    Some(config.join("containers"))
}

/// Docker's configuration, whether it is there or not.
pub(super) fn docker_config(environment: &Environment) -> Option<PathBuf> {
    let home = || Some(environment.path("HOME")?.join(".docker"));
    Some(environment.path("DOCKER_CONFIG").or_else(home)?.join("config.json"))
}

/// The files that may have credentials, in the order in which they are asked.
pub(super) fn auth_files(environment: &Environment) -> Vec<PathBuf> {
    let runtime = environment.path("XDG_RUNTIME_DIR").map(|it| it.join("containers"));
    let guessed = || PathBuf::from(format!("/run/containers/{}", environment.user()));
    let runtime = runtime.or_else(|| Some(guessed()).filter(|path| is_open(path)));
    let containers = [runtime, containers_directory(environment)];
    let containers = containers.into_iter().flatten().map(|it| it.join("auth.json"));
    containers.chain(docker_config(environment)).collect()
}

/// Whether this user could have something at a path that nobody named: root's podman closes the one above it to others.
fn is_open(path: &Path) -> bool {
    !std::fs::metadata(path).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}

/// Directories in which a registry may have a directory of certificates, the most special first.
pub(super) fn certificate_directories(environment: &Environment) -> Vec<PathBuf> {
    let etc = environment.etc();
    let own = containers_directory(environment).map(|it| it.join("certs.d"));
    own.into_iter().chain([etc.join("containers/certs.d"), etc.join("docker/certs.d")]).collect()
}

impl RegistriesFiles {
    /// Finds them: the file that a variable names, or else the first that there is of the user's, the administrator's
    /// and the distribution's, and after it the drop-ins, sorted by name; then what another variable names, and last
    /// the names that podman's users have chosen.
    pub(super) fn find(environment: &Environment) -> Self {
        let own = containers_directory(environment);
        let system = [environment.etc().join("containers"), "/usr/share/containers".into()];
        let mut files = Vec::new();
        if let Some(named) = environment.path("CONTAINERS_REGISTRIES_CONF") {
            files.push((named, true));
        } else {
            let mains = own.iter().chain(&system).map(|it| it.join(REGISTRIES));
            files.extend(mains.into_iter().find(|it| it.exists()).map(|it| (it, false)));
            // The least special first: a name that is there twice is read from the most special directory.
            let mut directories = Vec::new();
            for directory in system.iter().rev() {
                directories.push(directory.join("registries.conf.d"));
                directories.extend(special_directories(directory, environment.user()));
            }
            directories.extend(own.map(|it| it.join("registries.conf.d")));
            files.extend(drop_ins(&directories).map(|it| (it, false)));
        }
        let further = environment.path("CONTAINERS_REGISTRIES_CONF_OVERRIDE");
        files.extend(further.map(|it| (it, true)));
        files.extend(chosen_aliases(environment).map(|it| (it, false)));
        Self { files }
    }
}

/// Where podman keeps what its users have chosen for short names.
fn chosen_aliases(environment: &Environment) -> Option<PathBuf> {
    let cache = match environment.user() {
        0 => PathBuf::from("/var/cache"),
        _ => environment
            .path("XDG_CACHE_HOME")
            .or_else(|| Some(environment.path("HOME")?.join(".cache")))?,
    };
    Some(cache.join("containers/short-name-aliases.conf"))
}

/// Drop-ins for root alone, or for everybody else, or for one user.
fn special_directories(directory: &Path, user: u32) -> Vec<PathBuf> {
    match user {
        0 => vec![directory.join("registries.rootful.conf.d")],
        user => {
            let rootless = directory.join("registries.rootless.conf.d");
            let own = rootless.join(user.to_string());
            vec![rootless, own]
        }
    }
}

fn drop_ins(directories: &[PathBuf]) -> impl Iterator<Item = PathBuf> {
    let mut by_name = BTreeMap::new();
    for directory in directories {
        // A directory that is not there, or may not be read, has none.
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|it| it == "conf") && !path.is_dir() {
                by_name.insert(entry.file_name(), path);
            }
        }
    }
    by_name.into_values()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_looked_for_as_podman_does() {
        let files = |pairs: &[(&str, &str)]| auth_files(&Environment::of(pairs));
        let expected = [
            "/run/user/7/containers/auth.json",
            "/h/.config/containers/auth.json",
            "/h/.docker/config.json",
        ];
        assert_eq!(
            files(&[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/run/user/7")]),
            expected.map(PathBuf::from)
        );
        let expected =
            ["/run/containers/1000/auth.json", "/c/containers/auth.json", "/d/config.json"];
        assert_eq!(
            files(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/c"), ("DOCKER_CONFIG", "/d")]),
            expected.map(PathBuf::from)
        );
    }

    #[test]
    fn drop_ins_follow_the_first_file() {
        let directory = tempfile::tempdir().unwrap();
        let etc = directory.path().join("etc");
        let home = directory.path().join("home").display().to_string();
        let make = |name: &str| {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "").unwrap();
            path
        };
        let found = |pairs: &[(&str, &str)]| {
            let variables = [&[("HOME", home.as_str())], pairs].concat();
            let environment = Environment::of(&variables).with_etc(&etc);
            let files = RegistriesFiles::find(&environment).files;
            let (last, files) = files.split_last().unwrap();
            let chosen = format!("{home}/.cache/containers/short-name-aliases.conf");
            assert_eq!(*last, (PathBuf::from(chosen), false));
            let of_test = files.iter().filter(|(path, _)| !path.starts_with("/usr"));
            of_test.cloned().collect::<Vec<_>>()
        };
        assert_eq!(found(&[]), []);
        let main = make("etc/containers/registries.conf");
        make("etc/containers/registries.conf.d/10-a.conf");
        let rootless = make("etc/containers/registries.rootless.conf.d/10-a.conf");
        make("etc/containers/registries.rootful.conf.d/10-a.conf");
        let late = make("etc/containers/registries.conf.d/20-b.conf");
        make("etc/containers/registries.conf.d/20-b.conf~");
        let early = make("home/.config/containers/registries.conf.d/05-c.conf");
        let expected = [&main, &early, &rootless, &late].map(|path| (path.clone(), false));
        assert_eq!(found(&[]), expected);
        let own = make("home/.config/containers/registries.conf");
        assert_eq!(found(&[])[0], (own, false));
        let named = [
            ("CONTAINERS_REGISTRIES_CONF", "/a.conf"),
            ("CONTAINERS_REGISTRIES_CONF_OVERRIDE", "/b.conf"),
        ];
        let expected = ["/a.conf", "/b.conf"].map(|path| (PathBuf::from(path), true));
        assert_eq!(found(&named), expected);
    }
}
