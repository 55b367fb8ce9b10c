//! Every production against the sources: the item that bears its name, and the comment that quotes it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::ebnf::{FILES, Grammar, Production, plain};

/// The sources whose comments may quote productions.
const QUOTING: [&str; 5] = [
    "src/dockerfile",
    "src/dockerignore",
    "src/dockerignore.rs",
    "src/oci/reference.rs",
    "src/wildcard.rs",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn grammars() -> Vec<Grammar> {
    FILES.into_iter().map(Grammar::load).collect()
}

/// The line of a source that defines the item of a production: a function, type, constant or field.
fn is_item(line: &str, name: &str) -> bool {
    let line = line.trim_start();
    let line = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(") ").map_or("", |(_, rest)| rest),
        Some(rest) => rest.trim_start(),
        None => line,
    };
    let camel: String = name.split('_').map(|word| word[..1].to_uppercase() + &word[1..]).collect();
    let begins = |keyword: &str, name: &str| {
        let rest = line.strip_prefix(keyword).and_then(|rest| rest.strip_prefix(name));
        rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    };
    begins("fn ", name)
        || begins("struct ", &camel)
        || begins("const ", &name.to_uppercase())
        || line.strip_prefix(name).is_some_and(|rest| rest.starts_with(": ") && rest.ends_with(','))
}

/// The doc comment above a line, as one line of text.
fn comment_above(lines: &[&str], at: usize) -> String {
    let above = lines[..at].iter().rev().map(|line| line.trim());
    let mut block: Vec<&str> = above
        .skip_while(|line| line.starts_with("#["))
        .map_while(|line| line.strip_prefix("///"))
        .collect();
    block.reverse();
    plain(&block.join(" "))
}

/// What is wrong with the binding of a production to a source.
fn unbound(production: &Production, source: &str) -> Option<String> {
    let Production { name, text, module, .. } = production;
    let lines: Vec<&str> = source.lines().collect();
    let items: Vec<usize> = (0..lines.len()).filter(|at| is_item(lines[*at], name)).collect();
    if items.is_empty() {
        return Some(format!("{module} has no function, type, constant or field `{name}`"));
    }
    // The quote ends where the code that it is in ends.
    let quoted = |at: &usize| {
        comment_above(&lines, *at).contains(&format!("{text}`"))
            || comment_above(&lines, *at).contains(&format!("{text} ```"))
    };
    (!items.iter().any(quoted))
        .then(|| format!("the comment of `{name}` in {module} is not: {text}"))
}

#[test]
fn every_production_has_an_item_that_quotes_it() {
    let mut wrong = Vec::new();
    for grammar in grammars() {
        for production in &grammar.productions {
            let source = std::fs::read_to_string(root().join(&production.module));
            match source {
                Ok(source) => wrong.extend(unbound(production, &source)),
                Err(error) => {
                    wrong.push(format!("{}: {}: {error}", grammar.file, production.module))
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_quoted_production_is_in_a_grammar() {
    let productions: Vec<Production> =
        grammars().into_iter().flat_map(|grammar| grammar.productions).collect();
    let known: BTreeSet<(&str, &str)> =
        productions.iter().map(|it| (it.module.as_str(), it.name.as_str())).collect();
    let mut wrong = Vec::new();
    for path in sources() {
        let module = path.strip_prefix(root()).unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            let Some((name, _)) = line.split_once(" ::= ") else { continue };
            let name = name.trim_start().trim_start_matches("/// ").trim_start_matches('`');
            if !known.contains(&(module, name)) {
                wrong.push(format!("{module}:{}: no grammar has `{name}` there", number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn sources() -> Vec<PathBuf> {
    let files = QUOTING.iter().flat_map(|start| walkdir::WalkDir::new(root().join(start)));
    let files = files.map(|entry| entry.unwrap().into_path());
    files.filter(|path| path.extension().is_some_and(|end| end == "rs")).collect()
}

#[test]
fn every_production_is_used() {
    for grammar in grammars() {
        assert_eq!(grammar.unused(), [""; 0], "{}", grammar.file);
    }
}

/// The flags that the parser knows are those of the grammar.
#[test]
fn flags_are_those_of_the_parser() {
    let grammar = Grammar::load("dockerfile");
    let mut instructions = 0;
    for production in grammar.productions.iter().filter(|it| it.name.ends_with("_flags")) {
        let source = std::fs::read_to_string(root().join(&production.module)).unwrap();
        let name = production.name.to_uppercase();
        let table = source.split_once(&format!("const {name}: ")).unwrap().1;
        let table = table.split_once(';').unwrap().1.split_once(';').unwrap().0;
        let known: BTreeSet<&str> =
            table.split("(\"").skip(1).map(|row| row.split_once('"').unwrap().0).collect();
        let written = production.text.split("\"--").skip(1);
        let written: BTreeSet<&str> =
            written.map(|row| row.split_once('"').unwrap().0.trim_end_matches('=')).collect();
        assert_eq!(known, written, "{name}");
        instructions += 1;
    }
    assert_eq!(instructions, 5);
}

/// The reader is worth nothing if it is blind.
#[test]
fn the_reader_sees_mistakes() {
    let error = |text: &str| Grammar::read("x", text).unwrap_err();
    assert_eq!(error("a ::= b\n"), "x:1: `a`: `b` is not defined");
    assert_eq!(error("/* x */\na ::= \"a\"\na ::= \"b\"\n"), "x:3: `a` is defined twice");
    assert_eq!(error("a ::= (\"b\"\n"), "x:1: `a`: `(` is not closed");
    assert_eq!(error("a ::= [a-\n"), "x:1: `a`: the range from 'a' to '\\n' is empty");
    assert_eq!(error("a ::= \"b\" | \n"), "x:1: `a`: an empty alternative");
    assert_eq!(error("/* a"), "x:1: a comment is not closed");

    let text =
        "/* Roots: a */\n/* src/x.rs */\na ::= 'b'\n  | [^c-e#x41-]+ [ wfc: once ]\nd ::= a\n";
    let grammar = Grammar::read("x", text).unwrap();
    assert_eq!(grammar.unused(), ["d"]);
    let production = &grammar.productions[0];
    assert_eq!(production.text, "a ::= 'b' | [^c-e#x41-]+");
    assert_eq!(
        (production.constraints.as_slice(), production.module.as_str()),
        (&["once".to_owned()][..], "src/x.rs")
    );

    let unbound = |source: &str| unbound(production, source).is_some();
    assert!(!unbound("/// `a ::= 'b' | [^c-e#x41-]+`\n#[inline]\nfn a() {}\n"));
    assert!(!unbound(
        "/// ```text\n/// a ::= 'b'\n///     | [^c-e#x41-]+\n/// ```\npub(crate) struct A;\n"
    ));
    assert!(unbound("/// `a ::= 'b' | [^c-e#x41-]+`\nfn b() {}\n"));
    assert!(unbound("/// `a ::= 'b' | [^c-e#x41-]`\nfn a() {}\n"));
    assert!(unbound("fn a() {}\n"));
}
