//! What cannot be done, and how that is said.

use kiln::oci::Family;

use crate::server::{Registry, Setup};
use crate::support::Kiln;
use crate::{FOREIGN, failed, host, push_attested, push_image, said};

#[test]
fn bad_input_is_told() {
    let registry = Registry::start(&Setup::Plain);
    let at = |name: &str| format!("{}/{name}", registry.host);
    let images = push_attested(&registry, "both:1", &[&host(), FOREIGN]);
    let other = push_image(&registry, "other:1", FOREIGN, Family::Docker);
    let kiln = Kiln::new();
    let built = kiln.build("FROM scratch\nCOPY busybox /\n", &["-t", "app"]);
    assert_eq!(built.code, Some(0), "{}", built.stderr);
    let made = said(&kiln, &["manifest", "create", "list", &at("both:1")]);
    let (both, other_name, nope) = (at("both:1"), at("other:1"), at("nope:1"));
    let entries = format!(
        "{} ({}), {} ({FOREIGN}), {} (unknown/unknown), {} (unknown/unknown)",
        images[0].digest,
        host(),
        images[1].digest,
        images[2].digest,
        images[3].digest
    );
    let (there, nowhere) = (other.digest.to_string(), format!("sha256:{}", "0".repeat(64)));
    let cases: [(&[&str], String); 17] = [
        (&["create", "list", "app"], "there is something called `list` already\n  hint: `--amend` adds to a list that is there; `kiln manifest rm` removes it\n".into()),
        (&["create", "app"], "there is something called `app` already\n  hint: `--amend` adds to a list that is there; `kiln manifest rm` removes it\n".into()),
        (&["create", "-a", "app", "list"], "`app` is an image, not a list of images\n  hint: `kiln manifest create` makes a list\n".into()),
        (&["create", "x", &nope], format!("cannot use the image `{nope}`\n  caused by: `{nope}` not found\n  hint: check the name and the tag\n")),
        (&["create", "x", &nowhere], format!("image `{nowhere}` not found\n  hint: `kiln images` lists the ids of those that are there\n")),
        (&["create", "x@sha256:0000000000000000000000000000000000000000000000000000000000000000", "app"], format!("`x@{nowhere}` cannot be given to an image: it is, or looks like, a name with a digest\n  hint: give a name with a tag, or with none\n")),
        (&["create", "x", "app", "--annotation", "=1"], "invalid annotation `=1`\n  hint: write `--annotation KEY=VALUE`\n".into()),
        (&["add", "nope", "app"], "there is no image `nope` in the local store\n  hint: `kiln images` lists those that are there\n".into()),
        (&["add", "app", "app"], "`app` is an image, not a list of images\n  hint: `kiln manifest create` makes a list\n".into()),
        (&["annotate", "list", &other_name, "--arch", "arm"], format!("`{other_name}` is not in the list `list`\n  hint: it has {entries}\n")),
        (&["annotate", "list", &there, "--arch", "arm"], format!("`{there}` is not in the list `list`\n  hint: it has {entries}\n")),
        (&["annotate", "list", &both, "--arch", "arm"], format!("`{both}` stands for 2 images of the list `list`\n  hint: it has {entries}\n")),
        (&["annotate", "list", &both], "there is nothing to annotate\n  hint: give `--annotation`, `--os`, `--arch` or the like\n".into()),
        (&["remove", "list", &nowhere], format!("`{nowhere}` is not in the list `list`\n  hint: it has {entries}\n")),
        (&["push", "-q", made.trim()], format!("`{}` is no name to push to\n  hint: name the destination after the image\n", made.trim())),
        (&["push", "-q", "app", &nope], "`app` is an image, not a list of images\n  hint: `kiln manifest create` makes a list\n".into()),
        (&["push", "-q", "list", "oci:x"], "`oci:x` is not in a registry\n  hint: `kiln copy --all` writes a list into a file\n".into()),
    ];
    for (args, message) in cases {
        let args = [&["manifest"], args].concat();
        assert_eq!(failed(&kiln, &args, 2), format!("error: {message}"), "{args:?}");
    }
    let ended = kiln.run(&["manifest", "annotate", "list", &both, "--arch", "a/b"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("letters, digits, `.`, `_` and `-` make the name of a platform"));
    // None of that has changed anything.
    assert_eq!(said(&kiln, &["manifest", "add", "list", &both]), made);
}
