//! A word, a zero byte, the value of every variable: words without anything special stand for themselves, and what
//! comes out is bounded.

use kiln::dockerfile::word::{Environment, Expander};

/// Checks `word [0x00 value]` under every combination of switches.
pub(crate) fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (word, value) = match text.split_once('\0') {
        Some((word, value)) => (word, Some(value)),
        None => (&*text, None),
    };
    check_word(word, value);
}

/// Checks a word where every variable has this value, or none has any.
fn check_word(word: &str, value: Option<&str>) {
    let env: Environment<'_> = &|name| value.filter(|_| !name.starts_with('_')).map(str::to_owned);
    for escape in ['\\', '`'] {
        for switches in 0..16 {
            let expander = Expander {
                escape,
                skip_unset_env: switches & 1 != 0,
                raw_quotes: switches & 2 != 0,
                raw_escapes: switches & 4 != 0,
                skip_process_quotes: switches & 8 != 0,
            };
            check_with(&expander, word, env);
        }
    }
}

fn check_with(expander: &Expander, word: &str, env: Environment<'_>) {
    let expanded = expander.expand(word, env);
    assert_eq!(expanded, expander.expand(word, env), "expanded twice, two results");
    let special = ['$', '\'', '"', '\u{feff}', expander.escape];
    if !word.contains(special) {
        assert_eq!(expanded.as_deref(), Ok(word));
    }
    if let Err(error) = &expanded {
        assert!(!error.to_string().is_empty());
        assert_ne!(error.hint().as_deref(), Some(""));
    }
    // Splitting fails exactly where expanding does: both read the whole text.
    let words = expander.process_words(word, env);
    assert_eq!(words.is_ok(), expanded.is_ok(), "{word:?}: {words:?} and {expanded:?}");
    if let Ok(expanded) = expanded {
        assert!(expanded.len() <= kiln::dockerfile::word::LONGEST);
    }
}
