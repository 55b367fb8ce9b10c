//! As an ordinary user, with and without subordinate ids, images go the same ways and are the same.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::server::{Registry, Setup};
use crate::support::ended;
use crate::support::users::User;
use crate::{SAID, arg, built, digest, done, id};

/// Runs the user's own kiln.
fn as_user(user: &User, home: &Path, args: &[&str]) -> String {
    let mut command = Command::new(home.join("kiln"));
    command.args(["--root", "state"]).args(args).current_dir(home);
    for name in
        ["KILN_ROOT", "REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"]
    {
        command.env_remove(name);
    }
    command
        .env("HOME", home)
        .env("CONTAINERS_REGISTRIES_CONF", "/dev/null")
        .uid(user.uid)
        .gid(user.gid);
    let ended = ended(command.output().unwrap());
    assert_eq!(ended.code, Some(0), "{args:?} as {}: {}", user.name, ended.stderr);
    ended.stdout
}

#[test]
fn images_are_the_same_for_everybody() {
    let (registry, kiln) = (Registry::start(&Setup::Plain), built());
    let name = |rest: &str| format!("{}/{rest}", registry.host);
    done(&kiln, &["push", "app", &name("app")]);
    done(&kiln, &["pull", &name("app")]);
    let (image, manifest) = (id(&kiln, &name("app")), digest(&kiln, &name("app")));
    let archive = kiln.path("app.tar");
    done(&kiln, &["save", "-o", arg(&archive), &name("app")]);
    let saved = std::fs::read(&archive).unwrap();
    let users = [User::new("many").with_range(), User::new("one")];
    for (user, has_range) in users.iter().zip([true, false]) {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path();
        chown(home, Some(user.uid), Some(user.gid)).unwrap();
        std::fs::copy(env!("CARGO_BIN_EXE_kiln"), home.join("kiln")).unwrap();
        let run = |args: &[&str]| as_user(user, home, args);
        assert_eq!(run(&["pull", &name("app")]).trim(), image);
        run(&["save", "-o", "saved.tar", &name("app")]);
        assert!(std::fs::read(home.join("saved.tar")).unwrap() == saved, "{}", user.name);
        run(&["rmi", &name("app")]);
        run(&["load", "-i", "saved.tar"]);
        let format = ["images", "--format", "{{.Digest}}", &name("app")];
        assert_eq!(run(&format).trim(), manifest);
        let to = name(&format!("of/{has_range}"));
        assert_eq!(run(&["push", &name("app"), &to]).trim(), format!("{to}@{manifest}"));
        // Its files belong to somebody else, which one id alone cannot show.
        if has_range {
            assert_eq!(run(&["run", &name("app")]), SAID);
        }
        run(&["export", "-o", "root.tar", &name("app")]);
        done(&kiln, &["export", "-o", arg(&kiln.path("root.tar")), "app"]);
        let listing = |path: &Path| crate::roots::listing(path);
        assert_eq!(listing(&home.join("root.tar")), listing(&kiln.path("root.tar")));
        run(&["import", "root.tar", "imported"]);
    }
}
