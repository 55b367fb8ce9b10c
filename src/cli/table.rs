//! Columns for people, and what stands in them.

/// Aligns columns with three spaces between them.
pub(super) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:width$}   "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// How long ago a time was, roughly.
pub(super) fn ago(time: jiff::Timestamp) -> String {
    let seconds = jiff::Timestamp::now().as_second() - time.as_second();
    let (count, unit) = match seconds {
        ..60 => return "seconds ago".to_owned(),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        86_400..1_209_600 => (seconds / 86_400, "day"),
        1_209_600..5_184_000 => (seconds / 604_800, "week"),
        5_184_000..63_072_000 => (seconds / 2_592_000, "month"),
        _ => (seconds / 31_536_000, "year"),
    };
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["A", "LONG"], ["wide", "x"]].map(|row| row.map(str::to_owned));
        assert_eq!(columns(&rows), "A      LONG\nwide   x\n");
    }

    #[test]
    fn ages() {
        let now = jiff::Timestamp::now();
        let shown = [5, 61, 7300, 86_400, 1_300_000, 40_000_000]
            .map(|seconds| ago(now - jiff::SignedDuration::from_secs(seconds)));
        let expected = [
            "seconds ago",
            "1 minute ago",
            "2 hours ago",
            "1 day ago",
            "2 weeks ago",
            "15 months ago",
        ];
        assert_eq!(shown[..4], expected[..4]);
        assert_eq!(shown[5], expected[5]);
    }
}
