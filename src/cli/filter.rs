//! `--filter` of `kiln du` and `kiln prune`: which things in the store are meant; and what `until` means everywhere.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use kiln::diagnostic::{Blame, Diagnostic};
use kiln::dockerfile::duration::duration;
use kiln::gc::{Filter, Kind};

/// Reads the values of all `--filter` flags. Several kinds mean any of them.
pub(super) fn filter(texts: &[String]) -> Result<Filter, Diagnostic> {
    let mut filter = Filter::default();
    for text in texts {
        match text.split_once('=') {
            Some(("until", value)) => filter.until = Some(until(value, Timestamp::now())?.into()),
            Some(("type", value)) => filter.kinds.push(kind(value)?),
            _ => {
                let hint = "the filters are `until=TIME` and `type=KIND`".to_owned();
                let message = format!("unknown filter `{text}`");
                return Err(Diagnostic::new(Blame::Input, message).hint(Some(hint)));
            }
        }
    }
    Ok(filter)
}

fn kind(name: &str) -> Result<Kind, Diagnostic> {
    Kind::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
        let names: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        Diagnostic::new(Blame::Input, format!("unknown type `{name}`"))
            .hint(Some(format!("the types are {}", names.join(", "))))
    })
}

/// Reads a point in time as docker has it: a duration before now, seconds since 1970, or a date with or without a time
/// and a zone; without one it is UTC.
pub(super) fn until(text: &str, now: Timestamp) -> Result<Timestamp, Diagnostic> {
    let ago = || {
        let nanoseconds = duration(text).ok().filter(|nanoseconds| *nanoseconds >= 0)?;
        now.checked_sub(SignedDuration::from_nanos(nanoseconds)).ok()
    };
    let seconds = || {
        let seconds = text.parse().ok().filter(|seconds| *seconds > 0)?;
        Timestamp::from_second(seconds).ok()
    };
    let zoned = || text.parse().ok();
    let civil = || Some(text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp());
    ago().or_else(seconds).or_else(zoned).or_else(civil).ok_or_else(|| {
        let hint = "write a duration (`24h`), a date (`2006-01-02`), a time \
                    (`2006-01-02T15:04:05Z`) or seconds since 1970";
        Diagnostic::new(Blame::Input, format!("invalid time `{text}` for the filter `until`"))
            .hint(Some(hint.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let now = Timestamp::from_second(1_000_000_000).unwrap();
        let seconds = |text| Some(until(text, now).ok()?.as_second());
        let cases = [
            ("24h", Some(999_913_600)),
            ("1h30m", Some(999_994_600)),
            ("0", Some(1_000_000_000)),
            ("1136214245", Some(1_136_214_245)),
            ("2006-01-02", Some(1_136_160_000)),
            ("2006-01-02T15:04:05", Some(1_136_214_245)),
            ("2006-01-02T15:04:05Z", Some(1_136_214_245)),
            ("2006-01-02T15:04:05-01:00", Some(1_136_217_845)),
            ("-1h", None),
            ("yesterday", None),
            ("1x", None),
            ("2026-13-01", None),
            ("99999999999999999", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    #[test]
    fn filters() {
        let given = ["type=step", "type=mount", "until=0"].map(str::to_owned);
        let read = filter(&given).unwrap();
        assert_eq!(read.kinds, [Kind::Step, Kind::Mount]);
        assert!(read.until.is_some());
        for (text, message) in [
            ("label=x", "unknown filter `label=x`"),
            ("until", "unknown filter `until`"),
            ("type=x", "unknown type `x`"),
        ] {
            assert_eq!(filter(&[text.to_owned()]).unwrap_err().message, message);
        }
    }
}
