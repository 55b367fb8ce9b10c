//! Holds the house to its rules: arrows go downward, one crate has one door, `unsafe` stays in its room.
//!
//! The sources are read as tokens, without comments and literals. The floors are those of the table in `src/lib.rs`;
//! everything else that may be, with its reason, stands in the tables of this file.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// External crates, and the only places of `src/` that may name them.
const DOORS: &[(&str, &[&str])] = &[
    ("nom", &["dockerfile/", "dockerignore", "wildcard", "oci/reference"]),
    ("tar", &["layer/"]),
    ("flate2", &["layer/"]),
    ("zstd", &["layer/"]),
    ("bzip2", &["layer/"]),
    ("liblzma", &["layer/"]),
    ("crc32fast", &["layer/"]),
    ("sha2", &["digest.rs"]),
    ("blake3", &["digest.rs", "digest/"]),
    ("ureq", &["registry/", "source/"]),
    ("rustls", &["registry/", "source/"]),
    ("oci_spec", &["oci/"]),
    ("libc", &["sandbox/"]),
    ("toml", &["cli/", "registry/"]),
    ("clap", &["cli/", "main.rs"]),
    ("indicatif", &["cli/", "main.rs"]),
    ("signal_hook", &["cli/", "main.rs"]),
];

/// The only room of `unsafe`.
const UNSAFE_ROOM: &str = "sandbox/sys.rs";

/// How long a file may be.
const LONG: usize = 500;

/// Files that may be longer, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["util", "utils", "helper", "helpers", "common", "misc"];

/// What a file is made of, as far as these rules look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    /// `::`
    Path,
    Other(char),
}

impl Token {
    fn is(&self, word: &str) -> bool {
        matches!(self, Token::Word(it) if it == word)
    }
}

/// One file of `src/`.
struct Source {
    /// Beneath `src/`.
    name: String,
    text: String,
    /// With their lines.
    tokens: Vec<(usize, Token)>,
}

impl Source {
    fn new(name: &str, text: String) -> Self {
        Self { name: name.to_owned(), tokens: tokens(&text), text }
    }

    /// The path of the file's module; the roots' is empty.
    fn module(&self) -> Vec<String> {
        let path = self.name.trim_end_matches(".rs").trim_end_matches("/mod");
        match path {
            "lib" | "main" => Vec::new(),
            _ => path.split('/').map(str::to_owned).collect(),
        }
    }

    /// The room of the house that the file belongs to.
    fn room(&self) -> Option<String> {
        self.module().into_iter().next()
    }

    /// The rooms that the file names, with the lines.
    fn references(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        // Modules written inside the file, each with the depth of its braces.
        let mut inline: Vec<(String, usize)> = Vec::new();
        let mut depth = 0;
        for (i, (_, token)) in self.tokens.iter().enumerate() {
            match token {
                Token::Other('{') => {
                    depth += 1;
                    if let [.., (_, keyword), (_, Token::Word(name))] = &self.tokens[..i]
                        && keyword.is("mod")
                    {
                        inline.push((name.clone(), depth));
                    }
                }
                Token::Other('}') => {
                    inline.pop_if(|(_, at)| *at == depth);
                    depth -= 1;
                }
                Token::Word(word) if i == 0 || self.tokens[i - 1].1 != Token::Path => {
                    let mut base = self.module();
                    base.extend(inline.iter().map(|(name, _)| name.clone()));
                    match word.as_str() {
                        "crate" | "kiln" => base.clear(),
                        "self" => {}
                        "super" => drop(base.pop()),
                        _ => continue,
                    }
                    found.extend(self.heads(i + 1, base));
                }
                Token::Word(_) | Token::Path | Token::Other(_) => {}
            }
        }
        found
    }

    /// What follows a path's beginning at `i`, if that beginning is the crate's root.
    fn heads(&self, mut i: usize, mut base: Vec<String>) -> Vec<(usize, String)> {
        while let Some([(_, Token::Path), (line, next)]) = self.tokens.get(i..i + 2) {
            match next {
                Token::Word(word) if word == "super" => drop(base.pop()),
                Token::Word(word) if base.is_empty() => return vec![(*line, word.clone())],
                Token::Other('{') if base.is_empty() => return self.group(i + 2),
                Token::Word(_) | Token::Path | Token::Other(_) => return Vec::new(),
            }
            i += 2;
        }
        Vec::new()
    }

    /// The first words of the members of a `{…}` that begins before `i`.
    fn group(&self, i: usize) -> Vec<(usize, String)> {
        let mut heads = Vec::new();
        let mut depth = 1;
        let mut first = true;
        for (line, token) in &self.tokens[i..] {
            match token {
                Token::Other('{') => depth += 1,
                Token::Other('}') => depth -= 1,
                Token::Other(',') if depth == 1 => first = true,
                Token::Word(word) if first && depth == 1 => {
                    heads.push((*line, word.clone()));
                    first = false;
                }
                Token::Word(_) | Token::Path | Token::Other(_) => {}
            }
            if depth == 0 {
                break;
            }
        }
        heads
    }

    /// The lines in which a path begins with this crate.
    fn uses_of<'s>(&'s self, krate: &'s str) -> impl Iterator<Item = usize> + 's {
        let at = |i: usize| self.tokens.get(i).map(|(_, token)| token);
        self.tokens.iter().enumerate().filter_map(move |(i, (line, token))| {
            let before = i.checked_sub(1).and_then(at);
            let begins = token.is(krate) && before != Some(&Token::Path);
            let imported = before.is_some_and(|token| token.is("use") || token.is("crate"));
            (begins && (at(i + 1) == Some(&Token::Path) || imported)).then_some(*line)
        })
    }
}

/// Cuts a text into words and signs; comments, lifetimes and literals are left out.
fn tokens(text: &str) -> Vec<(usize, Token)> {
    let chars: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    let (mut i, mut line) = (0, 1);
    while i < chars.len() {
        let start = i;
        let next = chars.get(i + 1);
        match chars[i] {
            '/' if next == Some(&'/') => i = end_of_line(&chars, i),
            '/' if next == Some(&'*') => i = end_of_comment(&chars, i),
            '"' => i = end_of_string(&chars, i + 1),
            '\'' => i = end_of_quote(&chars, i),
            c if c.is_alphanumeric() || c == '_' => {
                let rest = chars[i..].iter();
                i += rest.take_while(|c| c.is_alphanumeric() || **c == '_').count();
                let word: String = chars[start..i].iter().collect();
                match (word.as_str(), chars.get(i)) {
                    ("r" | "br" | "cr", Some('"' | '#')) => i = end_of_raw(&chars, i),
                    _ => found.push((line, Token::Word(word))),
                }
            }
            ':' if next == Some(&':') => {
                found.push((line, Token::Path));
                i += 2;
            }
            c => {
                if !c.is_whitespace() {
                    found.push((line, Token::Other(c)));
                }
                i += 1;
            }
        }
        i = i.min(chars.len());
        line += chars[start..i].iter().filter(|c| **c == '\n').count();
    }
    found
}

fn end_of_line(chars: &[char], i: usize) -> usize {
    i + chars[i..].iter().take_while(|c| **c != '\n').count()
}

fn end_of_comment(chars: &[char], start: usize) -> usize {
    let mut depth = 0;
    let mut i = start;
    while i + 1 < chars.len() {
        match (chars[i], chars[i + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                i += 1;
                continue;
            }
        }
        i += 2;
        if depth == 0 {
            return i;
        }
    }
    chars.len()
}

fn end_of_string(chars: &[char], mut i: usize) -> usize {
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

/// A character, or the quote of a lifetime.
fn end_of_quote(chars: &[char], i: usize) -> usize {
    if chars.get(i + 1) == Some(&'\\') {
        let rest = chars[(i + 3).min(chars.len())..].iter();
        return i + 4 + rest.take_while(|c| **c != '\'').count();
    }
    if chars.get(i + 2) == Some(&'\'') { i + 3 } else { i + 1 }
}

/// A raw string, or the `#` of a raw identifier.
fn end_of_raw(chars: &[char], i: usize) -> usize {
    let hashes = chars[i..].iter().take_while(|c| **c == '#').count();
    if chars.get(i + hashes) != Some(&'"') {
        return i + hashes;
    }
    let close: Vec<char> = std::iter::once('"').chain(vec!['#'; hashes]).collect();
    let body = i + hashes + 1;
    let length = chars[body..].windows(close.len()).position(|window| window == close);
    length.map_or(chars.len(), |length| body + length + close.len())
}

/// All files of `src/`, sorted.
fn sources() -> Vec<Source> {
    fn collect(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => collect(&path, found),
                false if path.extension().is_some_and(|it| it == "rs") => found.push(path),
                false => {}
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    collect(&root, &mut paths);
    paths.sort();
    let read = |path: &PathBuf| {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
        Source::new(name, fs::read_to_string(path).unwrap())
    };
    paths.iter().map(read).collect()
}

/// The table in `src/lib.rs`: which floor each room is on.
fn floors(sources: &[Source]) -> BTreeMap<String, u32> {
    let lib = sources.iter().find(|source| source.name == "lib.rs").unwrap();
    let mut floors = BTreeMap::new();
    for line in lib.text.lines().filter_map(|line| line.strip_prefix("//! ")) {
        let mut words = line.split_whitespace();
        let Some(floor) = words.next().and_then(|word| word.parse().ok()) else { continue };
        for room in words {
            let twice = floors.insert(room.to_owned(), floor).is_some();
            assert!(!twice, "the table in src/lib.rs has `{room}` twice");
        }
    }
    floors
}

/// Which references of a file do not go down.
fn arrows(source: &Source, floors: &BTreeMap<String, u32>) -> Vec<String> {
    let Some(room) = source.room() else { return Vec::new() };
    let own = floors[&room];
    let wrong = |(line, to): (usize, String)| {
        let floor = *floors.get(&to)?;
        let up = to != room && floor >= own;
        up.then(|| {
            format!("src/{}:{line}: {room} (floor {own}) names {to} (floor {floor})", source.name)
        })
    };
    source.references().into_iter().filter_map(wrong).collect()
}

fn assert_none(rule: &str, violations: &[String]) {
    assert!(violations.is_empty(), "{rule}:\n{}", violations.join("\n"));
}

#[test]
fn every_room_has_one_floor() {
    let sources = sources();
    let floors = floors(&sources);
    let mut rooms: Vec<String> = sources.iter().filter_map(Source::room).collect();
    rooms.dedup();
    let listed: Vec<&String> = floors.keys().collect();
    assert_eq!(rooms.iter().collect::<Vec<_>>(), listed, "src/ against the table in src/lib.rs");
}

#[test]
fn arrows_go_downward() {
    let sources = sources();
    let floors = floors(&sources);
    let up: Vec<String> = sources.iter().flat_map(|source| arrows(source, &floors)).collect();
    assert_none("a room may name only rooms on lower floors", &up);
}

#[test]
fn one_crate_has_one_door() {
    let mut violations = Vec::new();
    // Tests hold the program against crates that it does not use.
    for source in sources().iter().filter(|source| !source.name.ends_with("/tests.rs")) {
        for (krate, rooms) in DOORS {
            if !rooms.iter().any(|room| source.name.starts_with(room)) {
                let wrong = |line| format!("src/{}:{line}: {krate}", source.name);
                violations.extend(source.uses_of(krate).map(wrong));
            }
        }
    }
    assert_none("a crate may be named only in its rooms", &violations);
}

#[test]
fn unsafe_stays_in_its_room() {
    let mut violations = Vec::new();
    for source in sources().iter().filter(|source| source.name != UNSAFE_ROOM) {
        let found = source.tokens.iter().filter(|(_, token)| token.is("unsafe"));
        violations.extend(found.map(|(line, _)| format!("src/{}:{line}", source.name)));
    }
    assert_none("`unsafe` is only for src/sandbox/sys.rs", &violations);
}

#[test]
fn the_library_reads_no_environment_and_never_exits() {
    let mut violations = Vec::new();
    for source in sources() {
        if source.name == "main.rs" || source.name.starts_with("cli/") {
            continue;
        }
        for window in source.tokens.windows(3) {
            let [(line, module), (_, Token::Path), (_, Token::Word(function))] = window else {
                continue;
            };
            let forbidden = match function.as_str() {
                "var" | "var_os" | "vars" | "vars_os" | "args" | "args_os" => module.is("env"),
                "exit" => module.is("process"),
                _ => false,
            };
            if forbidden {
                violations.push(format!("src/{}:{line}: {function}", source.name));
            }
        }
    }
    assert_none("only the binary may", &violations);
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = sources().into_iter().filter(|source| !source.text.starts_with("//! "));
    let silent: Vec<String> = silent.map(|source| format!("src/{}", source.name)).collect();
    assert_none("a file opens with `//!`", &silent);
}

#[test]
fn files_are_short_and_have_names_that_say_something() {
    let mut violations = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        let reason = LONG_FILES.iter().find(|(name, _)| *name == source.name);
        match reason {
            None if lines > LONG => {
                violations.push(format!("src/{}: {lines} lines, and no reason given", source.name));
            }
            Some(_) if lines <= LONG => {
                violations.push(format!("src/{}: no longer long: strike it out", source.name));
            }
            Some(_) | None => {}
        }
        if source.module().iter().any(|name| EMPTY_NAMES.contains(&name.as_str())) {
            violations.push(format!("src/{}: an empty name", source.name));
        }
    }
    for (name, _) in LONG_FILES {
        if !Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(name).exists() {
            violations.push(format!("src/{name}: gone: strike it out"));
        }
    }
    assert_none("one file, one subject", &violations);
}

/// The rules are worth nothing if the reader is blind.
#[test]
fn the_reader_sees_what_it_should() {
    let text = r##"//! crate::no
        use crate::{store::{lock, crate_no}, graph as g, // crate::no
            layer};
        use super::super::source;
        use super::sibling; /* crate::no /* crate::no */ crate::no */
        fn f<'a>(x: &'a str) { let _ = ("crate::no\"", r#"crate::no""#, '"', '\'', crate::oci::X); }
        pub(crate) fn g() { a::crate_::b(); my::nom::x(); nom::bytes(); }
        mod tests {
            use super::super::super::cli;
            use super::super::cousin;
            mod deep { fn f() {} }
            use super::super::super::fs;
        }
        use super::super::event;
        use zstd;
    "##;
    let source = Source::new("solve/run.rs", text.to_owned());
    let references = source.references();
    let found: Vec<(usize, &str)> = references.iter().map(|(n, it)| (*n, it.as_str())).collect();
    let expected = [
        (2, "store"),
        (2, "graph"),
        (3, "layer"),
        (4, "source"),
        (6, "oci"),
        (9, "cli"),
        (12, "fs"),
        (14, "event"),
    ];
    assert_eq!(found, expected);
    assert_eq!(source.uses_of("nom").collect::<Vec<_>>(), [7]);
    assert_eq!(source.uses_of("zstd").collect::<Vec<_>>(), [15]);
    let floors = BTreeMap::from([("solve", 5), ("cli", 7), ("store", 2), ("export", 5)]);
    let floors = floors.into_iter().map(|(room, floor)| (room.to_owned(), floor)).collect();
    let expected = ["src/solve/run.rs:9: solve (floor 5) names cli (floor 7)"];
    assert_eq!(arrows(&source, &floors), expected);
}
