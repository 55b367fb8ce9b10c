//! Spellings and matching, held against containerd's own answers.

use super::*;

fn parse(text: &str) -> Platform {
    Platform::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn platforms_are_normalised() {
    let host = Platform::host().to_string();
    #[rustfmt::skip]
    let cases = [
        ("linux", host.as_str()), ("Linux", host.as_str()), ("arm64", "linux/arm64"), ("aarch64", "linux/arm64"),
        ("x86_64", "linux/amd64"), ("armhf", "linux/arm/v7"), ("armel", "linux/arm/v6"), ("arm", "linux/arm/v7"),
        ("i386", "linux/386"), ("linux/arm64/v8", "linux/arm64"), ("linux/arm64/v9.0", "linux/arm64/v9"),
        ("linux/arm", "linux/arm/v7"), ("linux/arm/6", "linux/arm/v6"), ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v2", "linux/amd64/v2"), ("LINUX/AMD64", "linux/amd64"), ("macos/arm64", "darwin/arm64"),
        ("freebsd/unheard-of/x", "freebsd/unheard-of/x"), ("windows(10.0.17763)/amd64", "windows/amd64"),
    ];
    for (text, normal) in cases {
        assert_eq!(parse(text).to_string(), normal, "{text}");
    }
    for text in ["windows(10.0.17763)/amd64", "windows(10.0%2B1+b%28+win32k)/arm/v7"] {
        assert_eq!(parse(text).format_all(), text);
    }
    assert_eq!(Platform::default().to_string(), "unknown");
}

#[test]
fn what_is_no_platform_is_refused() {
    for text in [
        "",
        "/",
        "linux/",
        "linux//v7",
        "*",
        "linux/*",
        "a/b/c/d",
        "linux/a b",
        "x(1",
        "(1)",
        "x(1)y",
        "x(%z)",
        "x(1+)",
    ] {
        assert_eq!(Platform::parse(text), Err(PlatformError::Format(text.into())), "{text}");
    }
    let unknown = Platform::parse("vax").unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "invalid platform `vax`: unknown operating system or architecture"
    );
}

/// What containerd's `Only` accepts of all the platforms in the table for each of them, the best first.
const ONLY: &str = include_str!("../../../testdata/platforms/only.txt");

#[test]
fn what_suits_is_what_containerd_takes() {
    let rows: Vec<(&str, &str)> = ONLY.lines().map(|line| line.split_once(':').unwrap()).collect();
    let all: Vec<Platform> = rows.iter().map(|(wanted, _)| parse(wanted)).collect();
    for (wanted, expected) in &rows {
        let wanted = parse(wanted);
        let mut ranked: Vec<_> =
            all.iter().filter_map(|offered| Some((wanted.rank(offered)?, offered))).collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        let found: Vec<_> = ranked.iter().map(|(_, platform)| platform.format_all()).collect();
        assert_eq!(found.join(" "), expected.trim_start(), "for {wanted}");
    }
}

/// Words, and what containerd's `Parse` and `Normalize` make of them on linux/amd64; `!`: an error.
const PARSE: &str = include_str!("../../../testdata/platforms/parse.txt");

#[test]
fn words_mean_what_they_mean_to_containerd() {
    let here = Platform::host().architecture;
    for line in PARSE.lines() {
        let (text, expected) = line.split_once(' ').unwrap();
        let inferred = !text.contains('/') && SYSTEMS.contains(&normal_os(text).as_str());
        let expected =
            if inferred { expected.replace("amd64", &here) } else { expected.to_owned() };
        let found = Platform::parse(text).map_or("!".to_owned(), |platform| platform.format_all());
        assert_eq!(found, expected, "{text}");
    }
}
