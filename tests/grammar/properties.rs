//! What holds of every text of a kind, whatever the text.

use std::fmt::Write as _;

use kiln::dockerfile::ast::{Command, Instruction, Span, Stage};
use kiln::dockerfile::word::{Expander, environment};
use kiln::dockerfile::{Dockerfile, KEYWORDS, duration, mount};
use kiln::dockerignore::{Matcher, Parents};
use kiln::oci::Reference;
use kiln::wildcard;
use proptest::prelude::*;

use super::ebnf::Grammar;
use super::generate::{Generator, Sentence};
use super::mutate::mutate;
use super::rng::Rng;

/// A Dockerfile that the grammar derives.
fn dockerfile() -> impl Strategy<Value = Sentence> {
    any::<u64>().prop_map(|seed| {
        let grammar = Grammar::load("dockerfile");
        Generator::new(&grammar, seed).sentence("dockerfile", '\\')
    })
}

/// A sentence of another grammar file's first root.
fn sentence(file: &'static str) -> impl Strategy<Value = String> {
    any::<u64>().prop_map(move |seed| {
        let grammar = Grammar::load(file);
        Generator::new(&grammar, seed).sentence(&grammar.roots[0], '\\').text
    })
}

/// Names of a few letters, so that they meet.
fn path() -> impl Strategy<Value = String> {
    proptest::collection::vec("[ab]{1,2}", 1..4).prop_map(|parts| parts.join("/"))
}

/// The same tree with nothing in it that says where anything stands.
fn placeless(mut tree: Dockerfile) -> Dockerfile {
    let clear = |command: &mut Command| command.span = Span::default();
    tree.global_args.iter_mut().for_each(clear);
    for stage in &mut tree.stages {
        stage.span = Span::default();
        stage.commands.iter_mut().for_each(clear);
    }
    tree.directives.iter_mut().for_each(|directive| directive.span = Span::default());
    tree.syntax.iter_mut().for_each(|syntax| syntax.span = Span::default());
    tree.check.iter_mut().for_each(|check| check.span = Span::default());
    tree.warnings.iter_mut().for_each(|warning| warning.span = Span::default());
    tree
}

/// The bodies of here-documents keep their line ends, and so do the files and triggers made of them.
fn with_line_feeds(mut tree: Dockerfile) -> Dockerfile {
    let feed = |text: &mut String| *text = text.replace("\r\n", "\n");
    for command in tree.stages.iter_mut().flat_map(|stage| &mut stage.commands) {
        command.heredocs.iter_mut().for_each(|heredoc| feed(&mut heredoc.content));
        match &mut command.instruction {
            Instruction::Copy(copy) => copy.inline.iter_mut().for_each(|file| feed(&mut file.data)),
            Instruction::Add(add) => add.inline.iter_mut().for_each(|file| feed(&mut file.data)),
            Instruction::Onbuild(trigger) => feed(trigger),
            _ => {}
        }
    }
    tree
}

fn parse(text: &str) -> Dockerfile {
    Dockerfile::parse(text.as_bytes()).unwrap_or_else(|errors| panic!("{text:?}: {}", errors[0]))
}

/// Puts a line before each instruction but one that begins the file.
fn between(text: &str, tree: &Dockerfile, line: &str) -> String {
    let commands = tree.stages.iter().flat_map(|stage| &stage.commands).chain(&tree.global_args);
    let spans =
        commands.map(|command| command.span).chain(tree.stages.iter().map(|stage| stage.span));
    let mut firsts: Vec<u32> = spans.map(|span| span.first_line).collect();
    firsts.sort_unstable();
    let mut whole = String::new();
    for (number, physical) in (1..).zip(text.split_inclusive('\n')) {
        // A byte order mark counts at the top of the file only.
        if number > 1 && firsts.contains(&number) {
            whole.push_str(line);
        }
        whole.push_str(physical);
    }
    whole
}

/// The tree without comments and what is made of them.
fn commentless(tree: Dockerfile) -> Dockerfile {
    let mut tree = placeless(tree);
    let clear = |command: &mut Command| {
        command.comments.clear();
        if let Instruction::Arg(definitions) = &mut command.instruction {
            definitions.iter_mut().for_each(|definition| definition.doc.clear());
        }
    };
    tree.global_args.iter_mut().for_each(clear);
    for stage in &mut tree.stages {
        stage.comments.clear();
        stage.doc.clear();
        stage.commands.iter_mut().for_each(clear);
    }
    tree
}

/// Writes a stage's instructions as lines, one for each.
fn written(stage: &Stage) -> Option<String> {
    let mut text = format!("{}\n", stage.code);
    for command in &stage.commands {
        let _ = writeln!(text, "{}", command.code);
        for heredoc in &command.heredocs {
            let _ = writeln!(text, "{}{}", heredoc.content, heredoc.name);
        }
    }
    // An escape that stood before trimmed blanks would now join two lines.
    (!text.contains("\\\n") && !text.contains("`\n")).then_some(text)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(11),
        ..Default::default()
    })]

    #[test]
    fn parsing_is_a_function_of_the_text(sentence in dockerfile(), seed: u64) {
        let text = mutate(sentence.text.as_bytes(), &mut Rng::new(seed));
        prop_assert_eq!(Dockerfile::parse(&text), Dockerfile::parse(&text));
    }

    #[test]
    fn line_ends_do_not_matter(sentence in dockerfile()) {
        let unix = sentence.text.replace("\r\n", "\n").replace('\r', " ");
        prop_assume!(Dockerfile::parse(unix.as_bytes()).is_ok());
        let dos = unix.replace('\n', "\r\n");
        prop_assert_eq!(with_line_feeds(placeless(parse(&dos))), placeless(parse(&unix)));
    }

    #[test]
    fn comments_between_instructions_change_nothing_but_lines(sentence in dockerfile()) {
        let tree = parse(&sentence.text);
        let noted = parse(&between(&sentence.text, &tree, "# a note\n"));
        prop_assert_eq!(commentless(noted), commentless(tree.clone()));
        // One that is empty also parts an instruction from the comments above it, and a blank line does not.
        let blank = parse(&between(&sentence.text, &tree, " \t\n"));
        prop_assert_eq!(placeless(blank), placeless(tree));
    }

    /// What the tree keeps of an instruction's text is enough to read the instruction again.
    #[test]
    fn joined_lines_read_the_same(sentence in dockerfile()) {
        let tree = parse(&sentence.text);
        prop_assume!(tree.escape == '\\');
        for stage in &tree.stages {
            let Some(text) = written(stage) else { continue };
            let mut again = commentless(parse(&text)).stages;
            let mut once = commentless(Dockerfile { stages: vec![stage.clone()], ..tree.clone() }).stages;
            // Trailing blanks of the text are not kept.
            for stage in again.iter_mut().chain(&mut once) {
                for command in &mut stage.commands {
                    if let Instruction::Onbuild(trigger) = &mut command.instruction {
                        *trigger = trigger.lines().map(str::trim).collect();
                    }
                }
            }
            prop_assert_eq!(again, once);
        }
    }

    #[test]
    fn keywords_have_no_case(index in 0..KEYWORDS.len(), rest in "[ a-z=/\\[\\]\",]{0,12}") {
        let keyword = KEYWORDS[index];
        let read = |keyword: &str| {
            let text = format!("FROM a\n{keyword} {rest}\n");
            Dockerfile::parse(text.as_bytes()).map(|tree| {
                let commands = tree.stages.into_iter().flat_map(|stage| stage.commands);
                commands.map(|command| command.instruction).collect::<Vec<_>>()
            }).map_err(|errors| errors.iter().map(|error| error.span).collect::<Vec<_>>())
        };
        prop_assert_eq!(read(keyword), read(&keyword.to_lowercase()));
    }

    #[test]
    fn a_plain_word_stands_for_itself(word in "[^$'\"\\\\\u{feff}]{0,24}") {
        let engine = Expander::new('\\');
        prop_assert_eq!(engine.expand(&word, &|_| None), Ok(word.clone()));
        let words: Vec<String> = word.split_whitespace().map(str::to_owned).collect();
        // A here-document's marker holds blanks together.
        prop_assume!(!word.contains("<<"));
        prop_assert_eq!(engine.process_words(&word, &|_| None), Ok(words));
    }

    #[test]
    fn quotes_and_escapes_protect_anything(text in "[^\u{feff}]{0,16}") {
        let engine = Expander::new('\\');
        let env = environment(&["a=1", "b=2"]);
        let escaped: String = text.chars().flat_map(|c| ['\\', c]).collect();
        prop_assert_eq!(engine.expand(&escaped, &env), Ok(text.clone()));
        let quoted = format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$"));
        prop_assert_eq!(engine.expand(&quoted, &env), Ok(text.clone()));
        prop_assume!(!text.contains('\''));
        prop_assert_eq!(engine.expand(&format!("'{text}'"), &env), Ok(text));
    }

    /// `${x-w}` and `${x+w}` choose between the value and the word; `:` takes an empty value for none.
    #[test]
    fn alternatives_choose(value in proptest::option::of("[a-z]{0,3}"), word in "[a-z]{0,3}") {
        let env = |name: &str| value.clone().filter(|_| name == "x");
        let expand = |modifier: &str| {
            Expander::new('\\').expand(&format!("<${{x{modifier}{word}}}>"), &env).map_err(drop)
        };
        let full = value.clone().filter(|value| !value.is_empty());
        let shown = |text: Option<&String>| Ok(format!("<{}>", text.map_or("", |text| text)));
        prop_assert_eq!(expand("-"), shown(value.as_ref().or(Some(&word))));
        prop_assert_eq!(expand(":-"), shown(full.as_ref().or(Some(&word))));
        prop_assert_eq!(expand("+"), shown(value.as_ref().map(|_| &word)));
        prop_assert_eq!(expand(":+"), shown(full.as_ref().map(|_| &word)));
        prop_assert_eq!(expand("?"), value.as_ref().ok_or(()).and_then(|it| shown(Some(it))));
        prop_assert_eq!(expand(":?"), full.as_ref().ok_or(()).and_then(|it| shown(Some(it))));
    }

    #[test]
    fn a_reference_is_read_back(text in sentence("reference")) {
        let reference = Reference::parse(&text).unwrap();
        prop_assert_eq!(&Reference::parse(&reference.to_string()).unwrap(), &reference);
        let familiar = Reference::parse(&reference.familiar());
        prop_assert_eq!(familiar.as_ref(), Ok(&reference));
        prop_assert_eq!(reference.tag().is_some() || reference.digest().is_some(), reference.clone().or_latest() == reference);
    }

    #[test]
    fn an_exception_takes_back_what_its_pattern_took(file in sentence("dockerignore"), path in path()) {
        let pattern = file.trim_start_matches('\u{feff}').lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with(['#', '!']));
        let Some(pattern) = pattern else { return Ok(()) };
        let matched = |patterns: &[&str]| Matcher::parse(patterns.join("\n").as_bytes()).unwrap().matches(&path);
        let back = format!("!{pattern}");
        prop_assume!(wildcard::clean(pattern) != "/");
        prop_assert_eq!(matched(&[pattern, &back]), Ok(false));
        prop_assert_eq!(matched(&[&back, pattern]), matched(&[pattern]));
        prop_assert_eq!(matched(&["**", &back]).map(|it| !it), matched(&[pattern]));
    }

    /// A walk that hands down what matched finds what matching the whole path finds, where no pattern takes
    /// anything back in, and never prunes what an exception matches.
    #[test]
    fn a_walk_finds_the_same(patterns in proptest::collection::vec("[ab*?/]{1,4}", 1..4), back in path(), path in path()) {
        let plain = Matcher::new(&patterns).unwrap();
        let mut parents = Parents::default();
        let mut matched = false;
        for end in path.match_indices('/').map(|(at, _)| at).chain([path.len()]) {
            let verdict = plain.check(&path[..end], &parents).unwrap();
            (matched, parents) = (verdict.matched, verdict.parents);
        }
        prop_assert_eq!(Ok(matched), plain.matches(&path));

        let exception = format!("!{back}");
        let matcher = Matcher::new(patterns.iter().chain([&exception])).unwrap();
        prop_assert_eq!(matcher.matches(&back), Ok(false));
        for (at, _) in back.match_indices('/') {
            prop_assert!(!matcher.can_prune(&back[..at]));
        }
    }

    #[test]
    fn cleaning_is_settled_at_once(path in "[ab./]{0,12}") {
        let cleaned = wildcard::clean(&path);
        prop_assert_eq!(wildcard::clean(&cleaned), cleaned.clone());
        prop_assert_eq!(cleaned.starts_with('/'), path.starts_with('/'));
        prop_assert!(!cleaned.contains("//") && (cleaned == "/" || !cleaned.ends_with('/')));
    }

    #[test]
    fn an_escaped_name_matches_itself_alone(name in "[a-c*?\\[\\]\\\\/-]{0,8}", other in "[a-c*?\\[\\]\\\\/-]{0,8}") {
        let escaped: String = name.chars().flat_map(|c| ['\\', c]).collect();
        prop_assert_eq!(wildcard::matches(&escaped, &name), Ok(true));
        prop_assert_eq!(wildcard::matches(&escaped, &other), Ok(name == other));
    }

    #[test]
    fn durations_add_up(hours in 0..1000_i64, minutes in 0..1000_i64, milliseconds in 0..100_000_i64) {
        let total = ((hours * 60 + minutes) * 60_000 + milliseconds) * 1_000_000;
        let text = format!("{hours}h{minutes}m{milliseconds}ms");
        prop_assert_eq!(duration::duration(&text), Ok(total));
        prop_assert_eq!(duration::duration(&format!("-{text}")), Ok(-total));
        prop_assert_eq!(duration::duration(&format!("{total}ns")), Ok(total));
    }

    /// Where `type` comes first the order of the other options does not matter.
    #[test]
    fn the_order_of_options_does_not_matter(
        options in Just(vec!["target=/a", "id=b", "sharing=locked", "mode=0700", "uid=1", "ro", "source=c"]).prop_shuffle(),
        count in 0..7_usize,
    ) {
        let read = |options: &[&str]| {
            let text = format!("type=cache,{}", options.join(",")).trim_end_matches(',').to_owned();
            mount::parse(&text, &mut |word| Ok(word.to_owned()))
        };
        let mut sorted = options[..count].to_vec();
        sorted.sort_unstable();
        prop_assert!(read(&sorted).is_ok());
        prop_assert_eq!(read(&options[..count]), read(&sorted));
    }
}
