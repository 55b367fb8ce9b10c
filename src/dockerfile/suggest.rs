//! "Did you mean": the nearest of a few known words.
//!
//! A word is near if at most two edits turn it into the known one, letter case aside. A word that is already among
//! the known ones has no suggestion, because then something else is wrong.
//!
//! [`nearest`] is kiln's own, for its errors. [`similar`] answers as the reference does, for findings of lint.

/// The most edits that a near word is away.
const FURTHEST: usize = 2;

/// Longer words are never near: a hostile file must not cost a large table for each pair of words.
const LONGEST: usize = 256;

/// Whether two swapped neighbours are one edit or two.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Swaps {
    One,
    Two,
}

/// Returns the known word nearest to `word`.
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    best(word, known, |word| word.to_lowercase().chars().collect(), Swaps::One)
}

/// Returns the known word nearest to `word`, where letter case counts and a swap of neighbours is two edits.
pub fn similar<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    best(word, known, |word| word.chars().collect(), Swaps::Two)
}

fn best<'k>(
    word: &str,
    known: impl IntoIterator<Item = &'k str>,
    letters: fn(&str) -> Vec<char>,
    swaps: Swaps,
) -> Option<&'k str> {
    let word = letters(word);
    let mut best = None;
    for candidate in known {
        match distance(&word, &letters(candidate), swaps) {
            0 => return None,
            d if d <= FURTHEST && best.is_none_or(|(least, _)| d < least) => {
                best = Some((d, candidate));
            }
            _ => {}
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, or the optimal string alignment distance where a swap is one edit; three rows at a time.
fn distance(a: &[char], b: &[char], swaps: Swaps) -> usize {
    if a == b {
        return 0;
    }
    if a.len().abs_diff(b.len()) > FURTHEST || a.len() > LONGEST {
        return usize::MAX;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut least = (above[j] + usize::from(x != y)).min(row[j] + 1).min(above[j + 1] + 1);
            if swaps == Swaps::One && i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::{nearest, similar};

    #[test]
    fn near_words_are_found_and_others_are_not() {
        let known = ["FROM", "RUN", "COPY", "WORKDIR"];
        assert_eq!(nearest("FORM", known), Some("FROM"));
        assert_eq!(nearest("copyy", known), Some("COPY"));
        assert_eq!(nearest("run", known), None);
        assert_eq!(nearest("apt-get", known), None);
    }

    #[test]
    fn findings_compare_as_the_reference_does() {
        assert_eq!(similar("PAHT", ["HOME", "PATH"]), Some("PATH"));
        assert_eq!(similar("OAHT", ["PATH"]), None, "a swap is two edits");
        assert_eq!(similar("path", ["PATH"]), None, "letter case counts");
        assert_eq!(similar("A", ["B", "C"]), Some("B"), "the first of equals");
        assert_eq!(similar("A", ["B", "A"]), None, "the word itself is known");
    }
}
