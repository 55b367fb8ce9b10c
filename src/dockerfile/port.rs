//! EXPOSE: one port or a range of ports.
//!
//! An address and a host port in front are read, checked and dropped, as the reference does; [`notation`] tells lint
//! that they were there.

use std::net::IpAddr;

use nom::branch::alt;
use nom::bytes::complete::tag_no_case;
use nom::character::complete::{char, digit1};
use nom::combinator::{all_consuming, map_res, opt, value};
use nom::{IResult, Parser};

/// The protocols that a port can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
    /// SCTP
    Sctp,
}

impl Protocol {
    /// Returns its name in the image's config.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// What one word of EXPOSE means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRange {
    /// The first port.
    pub first: u16,
    /// The last port.
    pub last: u16,
    /// The protocol.
    pub protocol: Protocol,
}

/// How a word of EXPOSE is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notation {
    /// Whether the protocol has upper case letters.
    pub upper_case: bool,
    /// Whether an address or a host port stands in front.
    pub published: bool,
}

impl PortRange {
    /// Returns the keys of the image's config, such as `80/tcp`.
    pub fn ports(&self) -> impl Iterator<Item = String> + use<> {
        let name = self.protocol.name();
        (self.first..=self.last).map(move |port| format!("{port}/{name}"))
    }
}

/// A word that is no port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// The port or range itself.
    #[error("`{0}` is not a port")]
    Port(String),
    /// The protocol.
    #[error("`{0}` is not a protocol")]
    Protocol(String),
    /// The address in front.
    #[error("`{0}` is not an IP address")]
    Address(String),
    /// The host port and the port are ranges of different length.
    #[error("the port ranges `{0}` and `{1}` differ in length")]
    Lengths(String, String),
}

impl PortError {
    /// Returns what to try, if something can be said.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Port(_) => {
                "write it as `80`, `8000-8010` or `53/udp`, with numbers up to 65535".into()
            }
            Self::Protocol(_) => "the protocols are `tcp`, `udp` and `sctp`".into(),
            Self::Address(_) | Self::Lengths(..) => {
                "name the container's port alone: `EXPOSE` publishes nothing".into()
            }
        })
    }
}

/// The parts of a word.
struct Parts<'t> {
    front: &'t str,
    host: &'t str,
    range: &'t str,
    name: &'t str,
    protocol: Protocol,
}

fn parts(text: &str) -> Result<Parts<'_>, PortError> {
    let mut parts = text.rsplitn(3, ':');
    let container = parts.next().unwrap_or_default();
    let host = parts.next().unwrap_or_default();
    let front = parts.next().unwrap_or_default();
    let (range, name) = container.split_once('/').unwrap_or((container, ""));
    if range.is_empty() {
        return Err(PortError::Port(text.to_owned()));
    }
    let (_, protocol) =
        all_consuming(protocol).parse(name).map_err(|_| PortError::Protocol(name.to_owned()))?;
    Ok(Parts { front, host, range, name, protocol })
}

/// Says how a word is written, also if an address or a number in it is wrong; nothing if not even the protocol is one.
pub fn notation(text: &str) -> Option<Notation> {
    let parts = parts(text).ok()?;
    let upper_case = parts.name.chars().any(|c| c.is_ascii_uppercase());
    let published = !parts.host.is_empty() || !parts.front.is_empty();
    Some(Notation { upper_case, published })
}

/// `port ::= ((address? ":")? port_range? ":")? port_range ("/" protocol)?`
pub fn port(text: &str) -> Result<PortRange, PortError> {
    let Parts { front, host, range, protocol, .. } = parts(text)?;
    address(front)?;
    let (first, last) = read_range(range)?;
    if !host.is_empty() {
        let (host_first, host_last) = read_range(host)?;
        // A range of host ports for a single port is a choice; else the two must pair up.
        if last - first != host_last - host_first && last != first {
            return Err(PortError::Lengths(host.to_owned(), range.to_owned()));
        }
    }
    Ok(PortRange { first, last, protocol })
}

/// `protocol ::= ('tcp' | 'udp' | 'sctp')?`
fn protocol(input: &str) -> IResult<&str, Protocol> {
    alt((
        value(Protocol::Tcp, tag_no_case("tcp")),
        value(Protocol::Udp, tag_no_case("udp")),
        value(Protocol::Sctp, tag_no_case("sctp")),
        value(Protocol::Tcp, nom::combinator::eof),
    ))
    .parse(input)
}

/// `address ::= "["? ([0-9]+ ("." [0-9]+)+ | [0-9A-Fa-f]* (":" [0-9A-Fa-f]*)+ ("." [0-9]+)*) "]"?`
fn address(text: &str) -> Result<(), PortError> {
    let inner = match text.strip_prefix('[') {
        Some(open) => open.strip_suffix(']'),
        None => Some(text),
    };
    match inner {
        Some("") if text.is_empty() => Ok(()),
        Some(inner) if inner.parse::<IpAddr>().is_ok() => Ok(()),
        Some(_) | None => Err(PortError::Address(text.to_owned())),
    }
}

fn read_range(text: &str) -> Result<(u16, u16), PortError> {
    match all_consuming(port_range).parse(text) {
        Ok((_, (first, last))) if first <= last => Ok((first, last)),
        Ok(_) | Err(_) => Err(PortError::Port(text.to_owned())),
    }
}

/// `port_range ::= port_number ("-" port_number)?`
fn port_range(input: &str) -> IResult<&str, (u16, u16)> {
    let (rest, first) = port_number(input)?;
    let (rest, last) = opt((char('-'), port_number)).parse(rest)?;
    Ok((rest, (first, last.map_or(first, |(_, last)| last))))
}

/// `port_number ::= "+"? [0-9]+`
fn port_number(input: &str) -> IResult<&str, u16> {
    map_res((opt(char('+')), digit1), |(_, digits): (_, &str)| digits.parse()).parse(input)
}

#[cfg(test)]
mod tests {
    use super::{notation, port};

    #[test]
    fn forms() {
        let table = [
            ("80", Some("80/tcp 80/tcp")),
            ("80-82/UDP", Some("80/udp 82/udp")),
            ("127.0.0.1:8080:80/sctp", Some("80/sctp 80/sctp")),
            ("[::1]:8080-8081:80-81", Some("80/tcp 81/tcp")),
            ("::1:8080:80", Some("80/tcp 80/tcp")),
            ("8000-8002:80", Some("80/tcp 80/tcp")),
            ("8000-8002:80-81", None),
            ("80/", Some("80/tcp 80/tcp")),
            ("80/http", None),
            ("82-80", None),
            ("65536", None),
            ("", None),
            ("a", None),
            ("-1", None),
            ("x:1:80", None),
        ];
        for (text, expected) in table {
            let found = port(text).ok().map(|range| {
                let ports: Vec<_> = range.ports().collect();
                format!("{} {}", ports[0], ports[ports.len() - 1])
            });
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn notations() {
        let table = [
            ("80/tcp", Some((false, false))),
            ("80/UdP", Some((true, false))),
            ("5000:80", Some((false, true))),
            ("[::1]::80", Some((false, true))),
            (":80", Some((false, false))),
            ("x:y", Some((false, true))),
            ("80/HTTP", None),
            ("/TCP", None),
        ];
        for (text, expected) in table {
            let found = notation(text).map(|found| (found.upper_case, found.published));
            assert_eq!(found, expected, "{text}");
        }
    }
}
