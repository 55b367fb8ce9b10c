//! Sizes as docker writes them: `128m`, `1.5g`, `4096`; binary multiples.

/// Parses a size into bytes.
pub(super) fn parse(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let text = text.strip_suffix("ib").or_else(|| text.strip_suffix('b')).unwrap_or(&text);
    let (number, shift) = match text.chars().last()? {
        'k' => (&text[..text.len() - 1], 10),
        'm' => (&text[..text.len() - 1], 20),
        'g' => (&text[..text.len() - 1], 30),
        't' => (&text[..text.len() - 1], 40),
        _ => (text, 0),
    };
    let value: f64 = number.trim().parse().ok()?;
    let bytes = value * (1_u64 << shift) as f64;
    (value.is_finite() && value >= 0.0 && bytes < 9e18).then_some(bytes as u64)
}

/// Writes a number of bytes for people, in decimal units.
pub(super) fn show(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes}B"),
        _ if value < 9.995 => format!("{value:.2}{}", UNITS[unit]),
        _ if value < 99.95 => format!("{value:.1}{}", UNITS[unit]),
        _ => format!("{value:.0}{}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_shown() {
        let cases =
            [("64m", 64 << 20), ("1.5g", 3 << 29), ("4096", 4096), ("2KiB", 2048), ("1b", 1)];
        for (text, bytes) in cases {
            assert_eq!(parse(text), Some(bytes), "{text}");
        }
        assert_eq!((parse("x"), parse(""), parse("-1")), (None, None, None));
        assert_eq!([show(999), show(1500), show(12_345_678)], ["999B", "1.50kB", "12.3MB"]);
    }
}
