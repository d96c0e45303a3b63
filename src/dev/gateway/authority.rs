//! The authority that a request names, where it is one that every URL parser takes.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use http::HeaderMap;
use http::header::HOST;

/// The authority in the `Host` header if it is well-formed, else the address that the request came in on.
///
/// The function's request type makes a URL of it and panics where that fails; API Gateway never passes on a
/// host that is not its own.
pub fn authority(headers: &HeaderMap, local: SocketAddr) -> String {
    let mut named = headers.get_all(HOST).iter();
    match (named.next().and_then(|host| host.to_str().ok()), named.next()) {
        (Some(host), None) if is_authority(host) => host.to_ascii_lowercase(),
        _ => local.to_string(),
    }
}

/// A name, an IPv4 address or a bracketed IPv6 address, with or without a port.
fn is_authority(text: &str) -> bool {
    if let Some(bracketed) = text.strip_prefix('[') {
        return match bracketed.split_once(']') {
            Some((address, "")) => address.parse::<Ipv6Addr>().is_ok(),
            Some((address, rest)) => {
                address.parse::<Ipv6Addr>().is_ok() && rest.strip_prefix(':').is_some_and(is_port)
            }
            None => false,
        };
    }
    match text.split_once(':') {
        Some((host, port)) => is_host(host) && is_port(port),
        None => is_host(text),
    }
}

fn is_port(text: &str) -> bool {
    text.len() <= 5
        && text.bytes().all(|b| b.is_ascii_digit())
        && text.parse::<u16>().is_ok_and(|port| port > 0)
}

/// A name of labels of which the last begins with a letter (URL parsers take others for numbers) and none is
/// Punycode, which may not decode.
fn is_host(text: &str) -> bool {
    if text.parse::<Ipv4Addr>().is_ok() {
        return true;
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("xn--"))
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253 && text.split('.').all(is_label) && last.starts_with(|c: char| c.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_well_formed_hosts_are_taken() {
        let local: SocketAddr = "127.0.0.1:3000".parse().unwrap();
        for (host, taken) in [
            ("localhost:3000", true),
            ("LOCALHOST", true),
            ("scim.example.com", true),
            ("my_host", true),
            ("127.0.0.1:80", true),
            ("[::1]:3000", true),
            ("[::1]", true),
            ("", false),
            ("a b", false),
            ("a..b", false),
            ("a.", false),
            ("host:99999", false),
            ("host:", false),
            ("host:0", false),
            ("[::1", false),
            ("[zz]", false),
            ("[::1]x", false),
            ("1.2.3.4.5", false),
            ("999.1.1.1", false),
            ("0x7f.1", false),
            ("a.0x1", false),
            ("xn--zz--", false),
            ("user@host", false),
            ("host/path", false),
            ("host?x", false),
            ("%41", false),
            ("a\\b", false),
        ] {
            let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_str(host).unwrap())]);
            let expected = if taken { host.to_ascii_lowercase() } else { local.to_string() };
            assert_eq!(authority(&headers, local), expected, "{host:?}");
        }
        assert_eq!(authority(&HeaderMap::new(), local), "127.0.0.1:3000");
        let mut twice = HeaderMap::new();
        twice.append(HOST, HeaderValue::from_static("a"));
        twice.append(HOST, HeaderValue::from_static("b"));
        assert_eq!(authority(&twice, local), "127.0.0.1:3000");
        let bytes = HeaderMap::from_iter([(HOST, HeaderValue::from_bytes(b"\xff").unwrap())]);
        assert_eq!(authority(&bytes, local), "127.0.0.1:3000");
    }
}
