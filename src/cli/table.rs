//! Columns for people, and what stands in them.

use super::text;

/// Aligns columns with three spaces between them.
pub(super) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| text::width(&row[column])).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            push_padded(&mut line, cell, width + SPACE);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The least width of a column, with the space after it.
const NARROWEST: usize = 10;
/// The space after the widest cell of a column.
const SPACE: usize = 3;

/// Aligns the cells of lines, which tabs end, as docker does: neighbouring lines that have a cell in a column share its
/// width.
pub(super) fn aligned(lines: &str) -> String {
    let rows: Vec<Vec<&str>> = lines.lines().map(|line| line.split('\t').collect()).collect();
    let mut widths: Vec<Vec<usize>> = rows.iter().map(|row| vec![0; row.len()]).collect();
    let most = rows.iter().map(Vec::len).max().unwrap_or(0);
    for column in 0..most {
        let mut first = 0;
        while first < rows.len() {
            // A cell at the end of its line is in no column.
            let together = rows[first..].iter().take_while(|row| row.len() > column + 1).count();
            let block = first..first + together;
            let width = |row: &Vec<&str>| text::width(row[column]) + SPACE;
            let width = rows[block.clone()].iter().map(width).max().unwrap_or(0).max(NARROWEST);
            for row in &mut widths[block] {
                row[column] = width;
            }
            first += together.max(1);
        }
    }
    let mut text = String::new();
    for (row, widths) in rows.iter().zip(&widths) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            push_padded(&mut line, cell, *width);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn push_padded(line: &mut String, cell: &str, width: usize) {
    line.push_str(cell);
    line.push_str(&" ".repeat(width.saturating_sub(text::width(cell))));
}

/// How long ago a time was, roughly, in docker's words.
pub(super) fn ago(time: jiff::Timestamp) -> String {
    let seconds = jiff::Timestamp::now().as_second() - time.as_second();
    // From an hour on half of one counts as one.
    let hours = (seconds + 1800) / 3600;
    let (count, unit) = match (seconds, hours) {
        (..1, _) => return "Less than a second ago".to_owned(),
        (1..60, _) => (seconds, "second"),
        (60..120, _) => return "About a minute ago".to_owned(),
        (120..3600, _) => (seconds / 60, "minute"),
        (_, ..2) => return "About an hour ago".to_owned(),
        (_, 2..48) => (hours, "hour"),
        (_, 48..336) => (hours / 24, "day"),
        (_, 336..1440) => (hours / 168, "week"),
        (_, 1440..17_520) => (hours / 720, "month"),
        _ => (seconds / 31_536_000, "year"),
    };
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}

/// A time as `docker images` writes it.
pub(super) fn time(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()
}

/// A time as `docker history` writes it.
pub(super) fn instant(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A number of bytes with three digits, in powers of 1000, as docker writes it.
pub(super) fn human_size(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let (mut number, mut unit) = (bytes as f64, 0);
    // What is rounded up to 1000 is one of the next unit.
    while number >= 999.5 && unit + 1 < units.len() && bytes >= 1000 {
        number /= 1000.0;
        unit += 1;
    }
    let decimals = match number {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    let digits = format!("{number:.decimals$}");
    let digits = match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.'),
        false => &digits,
    };
    format!("{digits}{}", units[unit])
}

/// An id as tables show it.
pub(super) fn short_id(id: &kiln::digest::Digest) -> String {
    id.hex()[..12].to_owned()
}

/// A text cut to so many characters, the last of which then is `…`.
pub(super) fn ellipsis(text: &str, most: usize) -> String {
    match text.chars().count() > most {
        true => text.chars().take(most - 1).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["A", "LONG"], ["wide", "x"]].map(|row| row.map(str::to_owned));
        assert_eq!(columns(&rows), "A      LONG\nwide   x\n");
        let rows = [["漢字", "x"], ["abc", "y"]].map(|row| row.map(str::to_owned));
        assert_eq!(columns(&rows), "漢字   x\nabc    y\n");
    }

    #[test]
    fn neighbouring_lines_share_columns() {
        let cases = [
            ("A\tLONG\nwide\tx\n", "A         LONG\nwide      x\n"),
            ("0123456789\tx\n漢字\ty\n", "0123456789   x\n漢字         y\n"),
            (
                "a\tb\tc\nno cells\nlonger than ten\tb\n",
                "a         b         c\nno cells\nlonger than ten   b\n",
            ),
            ("a\t\n", "a\n"),
            ("", ""),
        ];
        for (lines, expected) in cases {
            assert_eq!(aligned(lines), expected);
        }
    }

    /// As docker's client shows them.
    #[test]
    fn ages() {
        let (minute, hour, day) = (60, 3600, 86_400);
        let cases = [
            (0, "Less than a second ago"),
            (5, "5 seconds ago"),
            (61, "About a minute ago"),
            (2 * minute + 1, "2 minutes ago"),
            (hour + 1, "About an hour ago"),
            (2 * hour + 1, "2 hours ago"),
            (day + 1, "24 hours ago"),
            (2 * day + 1, "2 days ago"),
            (15 * day, "2 weeks ago"),
            (61 * day, "2 months ago"),
            (500 * day, "16 months ago"),
            (731 * day, "2 years ago"),
        ];
        for (seconds, expected) in cases {
            let time = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(seconds);
            assert_eq!(ago(time), expected, "{seconds}");
        }
    }

    #[test]
    fn sizes() {
        let cases = [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1234, "1.23kB"),
            (3216, "3.22kB"),
            (9_996, "10kB"),
            (12_345, "12.3kB"),
            (999_499, "999kB"),
            (999_500, "1MB"),
            (1_982_256, "1.98MB"),
            (45_600_000, "45.6MB"),
            (u64::MAX, "18.4EB"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(human_size(bytes), expected, "{bytes}");
        }
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(ellipsis("größe", 5), "größe");
        assert_eq!(ellipsis("größer", 5), "größ…");
    }

    #[test]
    fn times() {
        let when = "2026-11-21T15:38:49.5Z".parse().unwrap();
        assert_eq!(time(when), "2026-11-21 15:38:49 +0000 UTC");
        assert_eq!(instant(when), "2026-11-21T15:38:49Z");
    }
}
