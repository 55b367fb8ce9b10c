//! One layer on several bases: what a step left of one base must not show on another.

use crate::support::{BASE, Kiln};

/// Builds a step upon a base and returns what the next step sees.
fn seen(kiln: &Kiln, base: &str, step: &str, look: &str) -> String {
    let text = format!("{BASE}RUN {base}\nRUN {step}\nRUN {look}\n");
    let ended = kiln.build(&text, &["-t", "seen"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let words: Vec<&str> = look.split(" > ").next().unwrap().split(' ').collect();
    kiln.run(&[&["run", "seen"], &words[..]].concat()).stdout
}

#[test]
fn a_file_that_was_copied_up_is_no_part_of_the_layer() {
    let kiln = Kiln::new();
    let step = "mkdir /new; chmod 644 /d/f; chmod 755 /d; touch -d @0 /new";
    for number in ["1", "2"] {
        let base = format!("mkdir /d; echo {number} > /d/f; touch -d @0 /d/f /d");
        assert_eq!(seen(&kiln, &base, step, "cat /d/f > /seen"), format!("{number}\n"));
    }
    let snapshots = std::fs::read_dir(kiln.path("state/snapshots")).unwrap();
    let of_the_step =
        snapshots.filter(|entry| entry.as_ref().unwrap().path().join("fs/new").exists());
    let of_the_step: Vec<_> = of_the_step.map(|entry| entry.unwrap().path().join("fs")).collect();
    let [files] = of_the_step.as_slice() else { panic!("the step made {of_the_step:?}") };
    let names: Vec<_> =
        std::fs::read_dir(files).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(names, ["new"]);
}

#[test]
fn a_directory_that_was_made_anew_hides_only_what_it_replaced() {
    let kiln = Kiln::new();
    let base =
        |names: &str| format!("mkdir -p /d/sub; cd /d; touch {names}; touch -d @0 sub/* * /d");
    let anew = "rm -r /d; mkdir -p /d/sub; touch /d/new; touch -d @0 /d/new /d/sub /d";
    assert_eq!(seen(&kiln, &base("a sub/a"), anew, "find /d > /seen"), "/d\n/d/sub\n/d/new\n");
    let one_by_one = "rm /d/a /d/sub/a; touch /d/new; touch -d @0 /d/new /d/sub /d";
    assert_eq!(
        seen(&kiln, &base("a b sub/a sub/b"), one_by_one, "find /d > /seen"),
        "/d\n/d/b\n/d/sub\n/d/sub/b\n/d/new\n"
    );
}
