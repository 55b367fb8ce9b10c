//! "Did you mean": the nearest of a few known words.
//!
//! A word is near if at most two edits turn it into the known one, letter case aside. A word that is already among
//! the known ones has no suggestion, because then something else is wrong.

/// Returns the known word nearest to `word`.
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    const FURTHEST: usize = 2;
    let word: Vec<char> = word.to_lowercase().chars().collect();
    let mut best = None;
    for candidate in known {
        let letters: Vec<char> = candidate.to_lowercase().chars().collect();
        match distance(&word, &letters) {
            0 => return None,
            d if d <= FURTHEST && best.is_none_or(|(least, _)| d < least) => {
                best = Some((d, candidate));
            }
            _ => {}
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// The optimal string alignment distance (Levenshtein's with swapped neighbours as one edit), three rows at a time.
fn distance(a: &[char], b: &[char]) -> usize {
    // Far longer words cannot be near, and a hostile file must not cost a quadratic table.
    if a.len().abs_diff(b.len()) > 8 {
        return usize::MAX;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut least = (above[j] + usize::from(x != y)).min(row[j] + 1).min(above[j + 1] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
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
    use super::nearest;

    #[test]
    fn near_words_are_found_and_others_are_not() {
        let known = ["FROM", "RUN", "COPY", "WORKDIR"];
        assert_eq!(nearest("FORM", known), Some("FROM"));
        assert_eq!(nearest("copyy", known), Some("COPY"));
        assert_eq!(nearest("run", known), None);
        assert_eq!(nearest("apt-get", known), None);
    }
}
