//! Where the bytes of a secret are after builds that used it: nowhere but where a command has put them.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::files::contains;
use crate::support::{BASE, Ended, ended};
use crate::world::{Level, World};

/// One for each way in which secrets come.
const SECRETS: [&str; 3] = ["in-a-file-7gQ2", "in-a-variable-9xZ4", "of-an-agent-3kL8"];

/// Uses each of them in each way, and shows none.
const STEPS: &str = "RUN --mount=type=secret,id=file test $(wc -c < /run/secrets/file) = 14\n\
    RUN --mount=type=secret,id=file,target=/etc/s,mode=0444,uid=0 cp /etc/s /dev/shm/s && rm /dev/shm/s\n\
    RUN --mount=type=secret,id=file,env=FILE test ${#FILE} = 14\n\
    RUN --mount=type=secret,id=variable,env=VARIABLE test ${#VARIABLE} = 18 && export COPY=$VARIABLE\n\
    RUN --mount=type=secret,id=typed,env=TYPED --mount=type=secret,id=typed test $(wc -c < /run/secrets/typed) = 16\n\
    RUN --mount=type=secret,id=file --mount=type=cache,target=/c touch /c/x\n";

fn run(world: &World, args: &[&str]) -> Ended {
    let mut command = world.command(args);
    command.env("KILN_TEST_VARIABLE", SECRETS[1]).env("KILN_TEST_TYPED", SECRETS[2]);
    ended(command.output().unwrap())
}

/// Where any secret is found, plain or as base64 has it.
fn found(directory: &Path) -> Vec<String> {
    let forms = SECRETS.iter().flat_map(|secret| [(*secret).to_owned(), STANDARD.encode(secret)]);
    forms.flat_map(|form| contains(directory, &form)).collect()
}

#[test]
fn secrets_stay_in_their_steps() {
    for level in [Level::Root, Level::Single] {
        let world = World::new(level);
        fs::write(world.path("secret"), SECRETS[0]).unwrap();
        let source = format!("id=file,src={}", world.path("secret").display());
        let dest = format!(
            "type=oci,tar=false,compression=uncompressed,dest={}",
            world.path("out").display()
        );
        let given = [
            "--secret",
            &source,
            "--secret",
            "id=variable,env=KILN_TEST_VARIABLE",
            "--secret",
            "type=env,id=typed,env=KILN_TEST_TYPED",
        ];
        let build = |steps: &str, more: &[&str]| {
            fs::write(world.context().join("Dockerfile"), format!("{BASE}{steps}")).unwrap();
            run(&world, &[&["build", "-t", "local/x"], &given[..], more, &["."]].concat())
        };
        let mut said = Vec::new();
        for progress in ["plain", "rawjson"] {
            let built = build(STEPS, &["--no-cache", "--progress", progress, "--output", &dest]);
            assert_eq!(built.code, Some(0), "as {level:?}: {}", built.stderr);
            said.push(built);
        }
        let failing = format!("{STEPS}RUN --mount=type=secret,id=variable,env=VARIABLE exit 7\n");
        let failed = build(&failing, &["--progress", "plain"]);
        assert_eq!(failed.code, Some(1), "{}", failed.stderr);
        let missing =
            build("RUN --mount=type=secret,id=none,required true\n", &["--progress", "plain"]);
        assert_ne!(missing.code, Some(0));
        said.extend([failed, missing]);
        // What is remembered of a step is also what is said of it later.
        said.push(build(&STEPS.replace("touch /c/x", "touch /c/y"), &["--progress", "plain"]));
        said.push(run(&world, &["history", "--no-trunc", "local/x"]));
        said.push(run(&world, &["inspect", "local/x"]));
        said.push(run(&world, &[&["explain", "plan"], &given[..], &["."]].concat()));
        let text: String =
            said.iter().map(|ended| format!("{}{}", ended.stdout, ended.stderr)).collect();
        for secret in SECRETS {
            assert!(!text.contains(secret) && !text.contains(&STANDARD.encode(secret)), "{text}");
        }
        for place in ["state", "out"] {
            assert_eq!(found(&world.path(place)), [] as [String; 0], "as {level:?}");
        }
        // It would be noticed.
        let kept = "RUN --mount=type=secret,id=file cp /run/secrets/file /kept; cat /kept\n";
        let kept = build(kept, &["--progress", "plain", "--output", &dest]);
        assert!(kept.stderr.contains(SECRETS[0]), "{}", kept.stderr);
        assert!(!found(&world.path("state")).is_empty() && !found(&world.path("out")).is_empty());
    }
}
