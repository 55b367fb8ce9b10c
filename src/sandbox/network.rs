//! The two files that describe the network to a command: /etc/resolv.conf and /etc/hosts.

use super::spec::Network;

/// Used where the host names no server that a network namespace of its own could reach.
const PUBLIC_SERVERS: [&str; 4] =
    ["8.8.8.8", "8.8.4.4", "2001:4860:4860::8888", "2001:4860:4860::8844"];

/// The file that names the real servers where /etc/resolv.conf names systemd's own.
pub(super) const SYSTEMD_RESOLV_CONF: &str = "/run/systemd/resolve/resolv.conf";

/// Returns the content of /etc/resolv.conf.
///
/// `host` is the host's file, `systemd` that of [`SYSTEMD_RESOLV_CONF`]. On the host's network the host's file holds
/// as it is. Elsewhere loopback servers cannot be reached: systemd's stub is looked through, others are dropped, and
/// public servers take their place if none is left.
pub(super) fn resolv_conf(network: Network, host: &str, systemd: Option<&str>) -> String {
    match network {
        Network::Host => host.to_owned(),
        Network::None => {
            let stub_only = servers(host).eq(["127.0.0.53"]);
            reachable(systemd.filter(|_| stub_only).unwrap_or(host))
        }
        Network::Private(gateway) => {
            let others = host.lines().filter(|line| server(line).is_none());
            let others: String = others.map(|line| format!("{line}\n")).collect();
            format!("nameserver {}\n{others}", gateway.name_server())
        }
    }
}

fn servers(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(server)
}

fn server(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    (words.next() == Some("nameserver")).then(|| words.next())?
}

fn is_loopback(server: &str) -> bool {
    server.starts_with("127.") || server == "::1"
}

fn reachable(text: &str) -> String {
    let mut result = String::new();
    for line in text.lines().filter(|line| !server(line).is_some_and(is_loopback)) {
        result.push_str(line);
        result.push('\n');
    }
    if servers(&result).next().is_none() {
        for server in PUBLIC_SERVERS {
            result.push_str(&format!("nameserver {server}\n"));
        }
    }
    result
}

/// Returns the content of /etc/hosts.
pub(super) fn hosts(hostname: &str, extra: &[(String, String)]) -> String {
    let mut text =
        format!("127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    for (address, name) in extra {
        text.push_str(&format!("{address}\t{name}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Gateway;

    #[test]
    fn resolv_conf_names_what_can_be_reached() {
        let public = "nameserver 8.8.8.8\nnameserver 8.8.4.4\n\
                      nameserver 2001:4860:4860::8888\nnameserver 2001:4860:4860::8844\n";
        let stub = "nameserver 127.0.0.53\noptions edns0\n";
        let cases = [
            (Network::Host, stub, None, stub.to_owned()),
            (Network::None, stub, Some("nameserver 10.0.0.1\n"), "nameserver 10.0.0.1\n".into()),
            (Network::None, stub, None, format!("options edns0\n{public}")),
            (
                Network::Private(Gateway::Pasta),
                stub,
                Some("unused"),
                "nameserver 169.254.1.1\noptions edns0\n".into(),
            ),
            (
                Network::Private(Gateway::Slirp4netns),
                "search a.b\nnameserver ::1\nnameserver 10.0.0.2",
                None,
                "nameserver 10.0.2.3\nsearch a.b\n".into(),
            ),
            (Network::None, "", None, public.to_owned()),
            (
                Network::None,
                "search a.b\nnameserver ::1\nnameserver 10.0.0.2",
                Some("unused"),
                "search a.b\nnameserver 10.0.0.2\n".into(),
            ),
        ];
        for (network, host, systemd, want) in cases {
            assert_eq!(resolv_conf(network, host, systemd), want, "{host:?}");
        }
    }

    #[test]
    fn hosts_lists_the_extra_names_last() {
        let extra = [("10.0.0.1".to_owned(), "db".to_owned())];
        assert_eq!(
            hosts("buildkitsandbox", &extra),
            "127.0.0.1\tlocalhost buildkitsandbox\n\
             ::1\tlocalhost ip6-localhost ip6-loopback\n10.0.0.1\tdb\n"
        );
    }
}
