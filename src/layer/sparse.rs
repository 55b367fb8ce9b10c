//! Which parts of a sparse file an archive holds.
//!
//! GNU tar has had four ways of saying it; all become a list of (offset, length). Invariant of [`Segments`]: in
//! order, apart, within the file, and together exactly what the archive stores.

use super::reader::number;

/// What comes next in a file.
pub(super) enum Run {
    /// So many bytes of the archive; none at the end.
    Data(usize),
    /// So many zeros.
    Hole(usize),
}

/// A position in a sparse file.
#[derive(Debug)]
pub(super) struct Segments {
    data: std::vec::IntoIter<(u64, u64)>,
    current: (u64, u64),
    at: u64,
    size: u64,
}

impl Segments {
    /// Checks a map against the file's size and the number of bytes stored.
    pub(super) fn new(map: Vec<(u64, u64)>, size: u64, stored: u64) -> Option<Self> {
        let (mut end, mut sum) = (0u64, 0u64);
        for (offset, length) in &map {
            if *offset < end {
                return None;
            }
            end = offset.checked_add(*length)?;
            sum = sum.checked_add(*length)?;
        }
        let fits = end <= size && sum == stored;
        fits.then(|| Self { data: map.into_iter(), current: (0, 0), at: 0, size })
    }

    /// Returns the size of the file.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// Returns what comes next, at most `most` bytes of it. A hole is passed, data are not.
    pub(super) fn next(&mut self, most: usize) -> Run {
        while self.at >= self.current.0 + self.current.1 {
            self.current = match self.data.next() {
                Some(segment) => segment,
                None if self.at < self.size => (self.size, 0),
                None => return Run::Data(0),
            };
        }
        let bounded = |left: u64| usize::try_from(left).unwrap_or(usize::MAX).min(most);
        if self.at < self.current.0 {
            let length = bounded(self.current.0 - self.at);
            self.at += length as u64;
            return Run::Hole(length);
        }
        Run::Data(bounded(self.current.0 + self.current.1 - self.at))
    }

    /// Passes data.
    pub(super) const fn advance(&mut self, length: u64) {
        self.at += length;
    }
}

/// Reads a decimal number and nothing else.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    let digits = text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

/// Reads the fields of GNU's own header and of the blocks after it.
pub(super) fn old_gnu(first: &[u8], rest: &[u8]) -> Option<Vec<(u64, u64)>> {
    let field = |bytes: &[u8]| number(bytes).and_then(|value| u64::try_from(value).ok());
    let pairs = first.chunks_exact(24).chain(rest.chunks_exact(24));
    let used = pairs.take_while(|pair| pair[0] != 0);
    used.map(|pair| Some((field(&pair[..12])?, field(&pair[12..])?))).collect()
}

/// Reads PAX forms 0.0 (a record each) and 0.1 (one record, separated by commas).
pub(super) fn of_records(records: &[(Vec<u8>, Vec<u8>)]) -> Option<Vec<(u64, u64)>> {
    let map = records.iter().rfind(|(key, _)| key == b"GNU.sparse.map");
    let numbers: Option<Vec<u64>> = match map {
        Some((_, text)) => text.split(|byte| *byte == b',').map(decimal).collect(),
        None => {
            let parts = records
                .iter()
                .filter(|(key, _)| key == b"GNU.sparse.offset" || key == b"GNU.sparse.numbytes");
            parts.map(|(_, value)| decimal(value)).collect()
        }
    };
    pairs(&numbers?)
}

/// Reads PAX form 1.0: the number of pairs, then the pairs, a number a line.
pub(super) fn of_lines(text: &[u8], count: u64) -> Option<Vec<(u64, u64)>> {
    let count = usize::try_from(count).ok()?.checked_mul(2)?;
    let lines = text.split(|byte| *byte == b'\n').skip(1).take(count);
    pairs(&lines.map(decimal).collect::<Option<Vec<u64>>>()?)
}

fn pairs(numbers: &[u64]) -> Option<Vec<(u64, u64)>> {
    let whole = numbers.len().is_multiple_of(2);
    whole.then(|| numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(map: &[(u64, u64)], size: u64, stored: u64) -> Option<String> {
        let mut segments = Segments::new(map.to_vec(), size, stored)?;
        let mut out = String::new();
        loop {
            match segments.next(4) {
                Run::Data(0) => return Some(out),
                Run::Hole(n) => out.push_str(&"-".repeat(n)),
                Run::Data(n) => {
                    segments.advance(n as u64);
                    out.push_str(&"x".repeat(n));
                }
            }
        }
    }

    #[test]
    fn holes_and_data_alternate() {
        assert_eq!(runs(&[(2, 3), (5, 1), (8, 2)], 12, 6).unwrap(), "--xxxx--xx--");
        assert_eq!(runs(&[(0, 6), (6, 0)], 6, 6).unwrap(), "xxxxxx");
        assert_eq!(runs(&[(3, 0), (9, 0)], 9, 0).unwrap(), "---------");
        assert_eq!(runs(&[], 0, 0).unwrap(), "");
    }

    #[test]
    fn a_map_that_lies_is_refused() {
        assert!(runs(&[(0, 4)], 3, 4).is_none());
        assert!(runs(&[(0, 4), (2, 4)], 9, 8).is_none());
        assert!(runs(&[(0, 4)], 9, 5).is_none());
        assert!(runs(&[(u64::MAX, 4)], 9, 4).is_none());
    }
}
