//! `kiln squash`.

use serde_json::Value;

use super::{fails, images, shown};
use crate::support::Kiln;

fn squash(kiln: &Kiln, args: &[&str]) -> (String, String) {
    let ended = kiln.run(&[&["squash"][..], args].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    (ended.stdout, ended.stderr)
}

fn inspect(kiln: &Kiln, name: &str) -> Value {
    let value: Value = serde_json::from_str(&shown(kiln, &["inspect", name])).unwrap();
    value[0].clone()
}

fn diff_ids(kiln: &Kiln, name: &str) -> Vec<String> {
    let layers = inspect(kiln, name)["RootFS"]["Layers"].clone();
    layers.as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect()
}

#[test]
fn all_layers_become_one() {
    let kiln = images();
    let (id, said) = squash(&kiln, &["app", "-t", "one", "-t", "local/one:2"]);
    let new = inspect(&kiln, "one");
    assert_eq!(id.trim(), new["Id"].as_str().unwrap());
    let expected = format!(
        "7 layers of 38.4kB -> 1 layer of 10.7kB uncompressed, 27.6kB saved\n  manifest  {}\n  \
         name      docker.io/library/one:latest\n  name      docker.io/local/one:2\n",
        new["Digest"].as_str().unwrap()
    );
    assert_eq!(said, expected);
    assert_eq!(shown(&kiln, &["diff", "--mtime", "app", "one"]), "");
    assert_eq!(diff_ids(&kiln, "one").len(), 1);
    let (old, new) = (inspect(&kiln, "app"), inspect(&kiln, "local/one:2"));
    assert_eq!((&old["Config"], &old["Created"]), (&new["Config"], &new["Created"]));
    let [old, new] = [old, new].map(|image| image["History"].as_array().unwrap().clone());
    let by =
        |entries: &[Value]| entries.iter().map(|it| it["created_by"].clone()).collect::<Vec<_>>();
    assert_eq!(by(&new[..old.len()]), by(&old));
    assert!(new[..old.len()].iter().all(|entry| entry["empty_layer"] == true));
    assert_eq!(new.len(), old.len() + 1);
    let last = new.last().unwrap();
    assert_eq!(last["created_by"], "kiln squash: layers 1 to 7");
    let comment = format!("squashed from {}", inspect(&kiln, "app")["Id"].as_str().unwrap());
    assert_eq!((&last["comment"], &last["empty_layer"]), (&comment.into(), &Value::Null));
}

#[test]
fn layers_stay_up_to_a_number_a_diff_id_or_a_base() {
    let kiln = images();
    let old = diff_ids(&kiln, "app");
    let by_base = squash(&kiln, &["app", "--from", "base"]);
    assert!(by_base.1.contains("\n  kept      2 layers\n"), "{}", by_base.1);
    for from in ["2", &old[1], &old[1]["sha256:".len()..][..20]] {
        assert_eq!(squash(&kiln, &["app", "--from", from]), by_base, "{from}");
    }
    squash(&kiln, &["app", "--from", "base", "-t", "two"]);
    let new = diff_ids(&kiln, "two");
    assert_eq!((&new[..2], new.len()), (&old[..2], 3));
    assert_eq!(shown(&kiln, &["diff", "app", "two"]), "");
    assert_eq!(kiln.tree("FROM app\n", &[]), kiln.tree("FROM two\n", &[]));
    // Nothing is merged: the image itself has one more name.
    for from in ["7", "6", "app"] {
        let (id, _) = squash(&kiln, &["app", "--from", from, "-t", "same"]);
        assert_eq!(id.trim(), inspect(&kiln, "app")["Id"].as_str().unwrap(), "{from}");
        assert_eq!(inspect(&kiln, "same")["Digest"], inspect(&kiln, "app")["Digest"]);
    }
}

#[test]
fn layers_that_change_nothing_together_are_dropped() {
    let kiln = Kiln::new();
    kiln.file("x", "x");
    let text = "FROM scratch\nCOPY x /\nCOPY x /y\nCOPY x /x\n";
    let ended = kiln.build(text, &["--tag", "thrice"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let (_, said) = squash(&kiln, &["thrice", "--from", "2", "-t", "twice"]);
    assert!(
        said.starts_with("3 layers of 6.1kB -> 2 layers of 4.0kB uncompressed, 2.0kB saved\n"),
        "{said}"
    );
    let history = inspect(&kiln, "twice")["History"].clone();
    let empty: Vec<bool> =
        history.as_array().unwrap().iter().map(|it| it["empty_layer"] == true).collect();
    assert_eq!(empty, [false, false, true]);
    let layers = diff_ids(&kiln, "thrice");
    assert_eq!(diff_ids(&kiln, "twice"), layers[..2]);
    // The first and the last are the very same.
    let message = format!(
        "error: `{}` is the beginning of several layers' diff ids\n  hint: `kiln layers` shows the numbers of the layers\n",
        layers[0]
    );
    fails(&kiln, &["squash", "thrice", "--from", &layers[0]], 2, &message);
}

#[test]
fn the_time_is_that_of_the_image_or_the_one_given() {
    let kiln = images();
    let first = squash(&kiln, &["app"]).0;
    assert_eq!(squash(&kiln, &["app"]).0, first);
    let (given, _) = squash(&kiln, &["app", "--source-date-epoch", "86400", "-t", "then"]);
    assert_ne!(given, first);
    let mut command = kiln.command(&["squash", "app"]);
    let output = command.env("SOURCE_DATE_EPOCH", "86400").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), given);
    let image = inspect(&kiln, "then");
    assert_eq!(image["Created"], "1970-01-02T00:00:00Z");
    let history = image["History"].as_array().unwrap();
    assert_eq!(history.last().unwrap()["created"], "1970-01-02T00:00:00Z");
    let args = ["app", "--source-date-epoch", "86400", "--rewrite-timestamp", "-t", "old"];
    squash(&kiln, &args);
    let times: Vec<u64> = kiln.tree("FROM old\n", &[]).iter().map(|entry| entry.mtime).collect();
    assert!(!times.is_empty() && times.iter().all(|time| *time <= 86400), "{times:?}");
}

#[test]
fn a_base_keeps_its_compressed_blobs() {
    let kiln = images();
    let layout = kiln.path("layout");
    let output = format!("type=oci,tar=false,force-compression=true,dest={}", layout.display());
    let ended = kiln.build("FROM base\n", &["--output", &output]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let other = Kiln::new();
    other.file("new", "n");
    let context = format!("packed=oci-layout://{}", layout.display());
    let text = "FROM packed\nCOPY new /\nCOPY new /a\n";
    let ended = other.build(text, &["--build-context", &context, "--tag", "app"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    squash(&other, &["app", "--from", "2", "-t", "new"]);
    let layers = |name: &str| -> Vec<(Value, Value)> {
        let text = shown(&other, &["layers", "--format", "json", name]);
        let value: Value = serde_json::from_str(&text).unwrap();
        let layers = value["Layers"].as_array().unwrap().iter();
        layers.map(|it| (it["Digest"].clone(), it["MediaType"].clone())).collect()
    };
    let (old, new) = (layers("app"), layers("new"));
    assert_eq!((&new[..2], new.len()), (&old[..2], 3));
    assert_eq!(new[0].1, "application/vnd.oci.image.layer.v1.tar+gzip");
}

#[test]
fn what_cannot_be_squashed() {
    let kiln = images();
    let ended = kiln.build("FROM scratch\nCOPY b /\n", &["--tag", "stranger"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let numbers = "  hint: `kiln layers` shows the numbers of the layers\n";
    let there = "  hint: `kiln images` lists those that are there\n";
    let cases = [
        (vec!["no"], format!("error: there is no image `no` in the local store\n{there}")),
        (vec!["app", "--from", "no"], format!("error: there is no image `no` in the local store\n{there}")),
        (
            vec!["app", "--from", "8"],
            format!("error: `app` has 7 layers, and none is number 8\n{numbers}"),
        ),
        (
            vec!["app", "--from", "stranger"],
            format!("error: `stranger` is no base of `app`: its layers are not the lowest of that image\n{numbers}"),
        ),
        (
            vec!["app", "--source-date-epoch", "soon"],
            "error: invalid SOURCE_DATE_EPOCH `soon`\n  hint: give it as seconds since 1970-01-01\n".to_owned(),
        ),
        (
            vec!["app", "--rewrite-timestamp"],
            "error: `--rewrite-timestamp` needs a time\n  hint: give `--source-date-epoch SECONDS` or set SOURCE_DATE_EPOCH\n".to_owned(),
        ),
    ];
    for (args, message) in cases {
        fails(&kiln, &[&["squash"][..], &args].concat(), 2, &message);
    }
}
