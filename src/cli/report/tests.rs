//! Reports as a person sees them.

use kiln::diagnostic::Place;

use super::*;

/// A place: the text between `‹` and `›`.
fn place(marked: &str) -> Place {
    let start = marked.find('‹').unwrap();
    let end = marked.find('›').unwrap() - '‹'.len_utf8();
    Place { file: "Dockerfile".into(), text: marked.replace(['‹', '›'], ""), start, end }
}

fn problem(marked: &str) -> Diagnostic {
    Diagnostic { place: Some(place(marked)), ..Diagnostic::new(Blame::Input, "wrong") }
}

fn drawn(diagnostic: &Diagnostic, width: usize) -> String {
    draw(std::slice::from_ref(diagnostic), &Terminal::plain(width), CommandOutput::Show)
}

#[test]
fn one_word_on_a_line() {
    let mut diagnostic = problem("FROM scratch\n\n‹RNU› make\n");
    diagnostic.message = "unknown instruction `RNU`".into();
    diagnostic.hint = Some("did you mean `RUN`?".into());
    let expected = "\
error: unknown instruction `RNU`
 --> Dockerfile:3:1
  |
3 | RNU make
  | ^^^
  hint: did you mean `RUN`?
";
    assert_eq!(drawn(&diagnostic, 80), expected);
}

#[test]
fn a_failed_step() {
    let mut diagnostic = problem(&format!("{}‹RUN make›\n", "#\n".repeat(9)));
    diagnostic.blame = Blame::Step;
    diagnostic.message = "the command failed with exit code 2".into();
    diagnostic.causes = vec!["first".into(), "second\nin two lines".into()];
    diagnostic.output = vec!["cc a.c\tx".into(), String::new(), "\x1b[31ma.c:1\x1b[2J".into()];
    diagnostic.hint = Some("try\nthis".into());
    let expected = "\
error: the command failed with exit code 2
  --> Dockerfile:10:1
   |
10 | RUN make
   | ^^^^^^^^
  caused by: first
  caused by: second
    in two lines
  its last output:
    cc a.c  x

    a.c:1
  hint: try
        this
";
    assert_eq!(drawn(&diagnostic, 80), expected);
    let short = draw(&[diagnostic], &Terminal::plain(80), CommandOutput::AlreadyShown);
    assert!(!short.contains("cc a.c"));
}

#[test]
fn several_problems() {
    let problems = [problem("‹A›\n"), Diagnostic::new(Blame::Input, "also wrong")];
    let expected = "\
error: wrong
 --> Dockerfile:1:1
  |
1 | A
  | ^

error: also wrong
";
    assert_eq!(draw(&problems, &Terminal::plain(80), CommandOutput::Show), expected);
}

#[test]
fn tabs_wide_and_hostile_characters() {
    let cases = [
        ("\tRUN\t‹x›", "    RUN x", "        ^"),
        ("COPY 漢字 ‹ö字› .", "COPY 漢字 ö字 .", "          ^^^"),
        ("RUN \x1b[2J ‹x›\r\n", "RUN \u{fffd}[2J x", "         ^"),
        ("\u{feff}‹FROM›", "FROM", "^^^^"),
        ("RUN x‹›", "RUN x", "     ^"),
        ("RUN ‹›x", "RUN x", "    ^"),
        ("RUN ‹x\r\n›FROM", "RUN x", "    ^"),
    ];
    for (marked, line, carets) in cases {
        let drawn = drawn(&problem(marked), 80);
        let lines: Vec<_> = drawn.lines().skip(3).collect();
        assert_eq!(lines, [format!("1 | {line}"), format!("  | {carets}")], "{marked:?}");
    }
}

#[test]
fn columns_count_characters() {
    assert!(drawn(&problem("\u{feff}é\t‹x›"), 80).contains("--> Dockerfile:1:3\n"));
}

#[test]
fn several_lines() {
    let expected = "\
error: wrong
 --> Dockerfile:2:1
  |
2 | / RUN <<EOF
3 | | make
4 | |
5 | | EOF
  | |_^
";
    assert_eq!(drawn(&problem("FROM a\n‹RUN <<EOF\r\nmake\r\n\r\nEOF\r\n›FROM b\n"), 80), expected);
}

#[test]
fn many_lines() {
    let body: String = (1..=20).map(|n| format!("line {n}\n")).collect();
    let expected = "\
error: wrong
  --> Dockerfile:1:1
   |
 1 | / RUN <<EOF
 2 | | line 1
 3 | | line 2
 4 | | line 3
....
21 | | line 20
22 | | EOF
   | |_^
";
    assert_eq!(drawn(&problem(&format!("‹RUN <<EOF\n{body}EOF›\n")), 80), expected);
}

#[test]
fn long_lines_are_cut_around_the_mark() {
    let a = "a".repeat(50);
    let cases = [
        (format!("‹RUN› {a}"), "RUN aaaaaaaaaaaaaaaaaaaaa…", "^^^"),
        (format!("{a} ‹xyz› {a}"), "…aaaaaa xyz aaaaaaaaaaaaa…", "        ^^^"),
        (format!("{a} ‹xyz›"), "…aaaaaa xyz", "        ^^^"),
        (format!("‹{a}›"), "aaaaaaaaaaaaaaaaaaaaaaaaa…", "^^^^^^^^^^^^^^^^^^^^^^^^^^"),
    ];
    for (marked, line, carets) in cases {
        let drawn = drawn(&problem(&marked), 30);
        let lines: Vec<_> = drawn.lines().skip(3).collect();
        assert_eq!(lines, [format!("1 | {line}"), format!("  | {carets}")], "{marked:?}");
    }
}

#[test]
fn places_that_do_not_exist() {
    for (text, start, end) in [("", 0, 0), ("", 5, 9), ("é", 1, 1), ("a\nb", 99, 200), ("ab", 1, 0)]
    {
        let place = Place { file: "D".into(), text: text.into(), start, end };
        let diagnostic = Diagnostic { place: Some(place), ..Diagnostic::new(Blame::Input, "x") };
        assert!(drawn(&diagnostic, 80).contains('^'), "{text:?} {start} {end}");
    }
}

#[test]
fn colours_only_colour() {
    let diagnostic = problem("‹RNU› make").hint(Some("RUN".into()));
    let terminal = Terminal { colour: true, ..Terminal::plain(80) };
    let coloured = draw(std::slice::from_ref(&diagnostic), &terminal, CommandOutput::Show);
    assert!(coloured.starts_with("\x1b[1;31merror:\x1b[0m wrong\n"));
    let stripped: Vec<_> = coloured
        .lines()
        .map(|line| text::output_line(line.as_bytes(), text::Colours::Strip))
        .collect();
    assert_eq!(stripped.join("\n") + "\n", drawn(&diagnostic, 80));
}

#[test]
fn bugs_ask_to_be_reported() {
    let expected = "\
error: impossible
  hint: this is a bug in kiln: please report it with the command line and the Dockerfile that led to it
";
    assert_eq!(drawn(&Diagnostic::new(Blame::Kiln, "impossible"), 80), expected);
}

#[test]
fn exit_codes() {
    let of = |blames: &[Blame]| {
        let problems: Vec<_> = blames.iter().map(|blame| Diagnostic::new(*blame, "x")).collect();
        exit_code(&problems)
    };
    assert_eq!(of(&[Blame::Step]), 1);
    assert_eq!(of(&[Blame::Input, Blame::Input]), 2);
    assert_eq!(of(&[Blame::Machine, Blame::Input]), 3);
    assert_eq!(of(&[Blame::Step, Blame::Kiln]), 70);
    assert_eq!(of(&[]), 70);
    assert_eq!(CANCELED, 130);
}

#[test]
fn warnings_are_one_line() {
    assert_eq!(warning("a\nb\x1b[2J", &Terminal::plain(80)), "warning: a b\u{fffd}[2J\n");
}
