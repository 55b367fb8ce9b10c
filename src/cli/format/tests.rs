//! Templates against what Go's own `text/template` makes of them, and what is kiln's own: errors, tables, bounds.

use super::*;

/// The record that `testdata/template/main.go` has.
fn image() -> Value {
    let text = |text: &str| Value::from(text);
    let port = |number, proto| {
        Value::record([("Number", Value::Int(number)), ("Proto", Value::from(proto))])
    };
    let labels = [("maintainer", "Ada <ada@example.com>"), ("empty", "")];
    let config = [("User", text("root")), ("Env", Value::list(["A=1", "B=2"]))];
    Value::record([
        ("ID", text("sha256:0123456789abcdef")),
        ("Size", Value::Int(1_234_567)),
        ("Share", Value::Float(0.25)),
        ("Named", Value::Bool(true)),
        ("Tags", Value::list(["app:1", "app:latest"])),
        ("Empty", Value::list(Vec::<Value>::new())),
        ("Labels", Value::map(labels.map(|(name, value)| (name.to_owned(), value)))),
        ("Ports", Value::list([port(80, "tcp"), port(53, "udp")])),
        ("Config", Value::record(config)),
        ("Missing", Value::Null),
        ("Counts", Value::list([3, 1, 2].map(Value::Int))),
        ("Odd", text("größe \"x\"\t漢")),
    ])
}

fn printed(template: &str) -> Result<String, Diagnostic> {
    Template::parse(template)?.of(&image())
}

#[test]
fn templates_print_what_go_prints() {
    let answers = include_str!("../../../testdata/template/answers.json");
    let answers: Vec<serde_json::Value> = serde_json::from_str(answers).unwrap();
    assert!(answers.len() > 250);
    let wrong = |answer: &serde_json::Value| {
        let template = answer["template"].as_str().unwrap();
        let expected = answer["printed"].as_str();
        let actual = printed(template);
        let agree = actual.as_ref().ok().map(String::as_str) == expected;
        (!agree).then(|| format!("{template}\n  expected {expected:?}\n  actual {actual:?}\n"))
    };
    let wrong: String = answers.iter().filter_map(wrong).collect();
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn damaged_templates_are_read_or_refused() {
    let (mut read, mut refused) = (0, 0);
    for template in include_str!("../../../testdata/template/templates.txt").lines() {
        let places = || template.char_indices().map(|(at, c)| (at, at + c.len_utf8()));
        let cut = places().map(|(at, _)| template[..at].to_owned());
        let begun = places().map(|(at, _)| template[at..].to_owned());
        let without = places().map(|(at, end)| format!("{}{}", &template[..at], &template[end..]));
        for damaged in cut.chain(begun).chain(without) {
            match printed(&damaged) {
                Ok(_) => read += 1,
                Err(error) => {
                    let place = error.place.unwrap();
                    assert!(damaged.get(place.start..place.end).is_some(), "{damaged}: {place:?}");
                    refused += 1;
                }
            }
        }
    }
    assert!(read > 1000 && refused > 1000, "{read} {refused}");
}

/// An error as it is marked in the template: what it says, and carets beneath what it says it of.
fn marked(template: &str) -> String {
    let error = printed(template).unwrap_err();
    let place = error.place.unwrap();
    let before = template[..place.start].chars().count();
    let carets = "^".repeat(template[place.start..place.end].chars().count());
    format!("{template}\n{}{carets} {}", " ".repeat(before), error.message)
}

#[test]
fn errors_point_into_the_template() {
    let cases = [
        "{{.Nope}}\n  ^^^^^ can't evaluate field `Nope`",
        "{{.ID}} {{.Config.Nope}}\n                 ^^^^^ can't evaluate field `Nope`",
        "{{.Tags.x}}\n       ^^ can't evaluate field `x` of a list",
        "{{.ID\n^^ the action is not closed: `}}` is missing",
        "größe {{.Size | upper}}\n                ^^^^^ a number stands where a text is expected",
        "{{if .ID}}x\n^^ this is not ended: `{{end}}` is missing",
        "{{.ID}}{{end}}\n         ^^^ `end` without anything to end",
        "{{else}}\n  ^^^^ `else` without `if`",
        "{{nope .ID}}\n  ^^^^ there is no function `nope`",
        "{{$x}}\n  ^^ the variable `$x` is not set here",
        "{{.ID .Size}}\n  ^^^ `.ID` is no function that takes arguments",
        "{{join .Tags}}\n  ^^^^^^^^^^ `join` takes two arguments, not 1",
        "{{index .Tags 7}}\n  ^^^^^^^^^^^^^ there is no element `7`: the list has 2",
        "{{eq .ID 1}}\n  ^^^^^^^^ a text cannot be compared with a number",
        "{{range .Size}}{{.}}{{else}}x{{end}}{{range .ID}}{{end}}\n",
        "{{\"open}}\n  ^ the quote is not closed",
        "{{}}\n  ^ a value is missing",
        "{{.ID | }}\n        ^ a command is missing after `|`",
        "{{template \"x\"}}\n  ^^^^^^^^ `template`: a format has no other templates to name",
    ];
    for expected in cases {
        let template = expected.split('\n').next().unwrap();
        match expected.ends_with('\n') {
            true => assert!(printed(template).is_err(), "{template}"),
            false => assert_eq!(marked(template), expected),
        }
    }
    let hint = printed("{{.Config.Nope}}").unwrap_err().hint;
    assert_eq!(hint.as_deref(), Some("the fields are User, Env"));
}

#[test]
fn what_a_template_costs_is_bounded() {
    let doubled = "{{$x := .ID}}{{range 60}}{{$x = print $x $x}}{{end}}";
    let nested = "{{range 100000}}{{range 100000}}{{end}}{{end}}";
    let wide = "{{range 1000000}}{{printf \"%10000d\" 1}}{{end}}";
    for template in [doubled, nested, wide] {
        let message = printed(template).unwrap_err().message;
        assert_eq!(message, "the template makes too much of this", "{template}");
    }
    let deep = [
        format!("{}{}", "{{if 1}}".repeat(5000), "{{end}}".repeat(5000)),
        format!("{{{{{}1{}}}}}", "(".repeat(5000), ")".repeat(5000)),
    ];
    for template in deep {
        assert_eq!(printed(&template).unwrap_err().message, "the template nests too deeply");
    }
    assert!(printed(&format!("{}1{}", "{{if 1}}".repeat(90), "{{end}}".repeat(90))).is_ok());
}

const FIELDS: &[(&str, &str)] = &[("ID", "IMAGE ID"), ("Name", "NAME"), ("Size", "SIZE")];

fn shown(format: Option<&str>) -> Result<String, Diagnostic> {
    let row = |id: &str, name: &str, size: &str| {
        Value::record([("ID", id), ("Name", name), ("Size", size)].map(|(n, v)| (n, v.into())))
    };
    let rows = [row("0123456789ab", "app", "1MB"), row("ba9876543210", "a\tb\x1b[2J\n", "<")];
    Listing { fields: FIELDS, table: "{{.ID}}\t{{.Name}}\t{{.Size}}", rows: &rows }.show(format)
}

#[test]
fn lists_are_tables_json_or_lines() {
    let table = "IMAGE ID       NAME       SIZE\n\
                 0123456789ab   app        1MB\n\
                 ba9876543210   a b\u{fffd}[2J    <\n";
    for format in [None, Some(""), Some("table"), Some(" table ")] {
        assert_eq!(shown(format).unwrap(), table);
    }
    let cases = [
        (
            "json",
            "{\"ID\":\"0123456789ab\",\"Name\":\"app\",\"Size\":\"1MB\"}\n\
             {\"ID\":\"ba9876543210\",\"Name\":\"a\\tb\\u001b[2J\\n\",\"Size\":\"<\"}\n",
        ),
        ("{{.Size}}", "1MB\n<\n"),
        ("tables {{.Size}}", "tables 1MB\ntables <\n"),
        ("table {{.Size}}", "SIZE\n1MB\n<\n"),
        (
            "table {{.ID}}\\t{{.Size}}",
            "IMAGE ID       SIZE\n0123456789ab   1MB\nba9876543210   <\n",
        ),
        ("table {{.Size}}: {{upper .ID}}", "SIZE: IMAGE ID\n1MB: 0123456789AB\n<: BA9876543210\n"),
        ("table{{truncate .ID 3}}", "IMAGE ID\n012\nba9\n"),
        ("pretty", "pretty\npretty\n"),
    ];
    for (format, expected) in cases {
        assert_eq!(shown(Some(format)).unwrap(), expected, "{format}");
    }
    for format in ["{{.Nope}}", "table {{.Nope}}", "{{.ID", "table {{.ID"] {
        assert!(shown(Some(format)).is_err(), "{format}");
    }
}
