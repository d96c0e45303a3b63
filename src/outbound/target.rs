//! The URLs that requests may be sent to.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::Uri;

use super::address::is_public;
use crate::limits::MAX_OUTBOUND_URL_BYTES;

/// Why a host is refused.
pub const NOT_PUBLIC: &str = "the host has an address that is not public";

const NO_URL: &str = "write the URL as https://app.example.com/path";

/// Which URLs are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetRule {
    /// `https`, and public addresses.
    Public,
    /// Besides those of `Public`: `http` and `https` to loopback addresses. For `rollcall dev`.
    PublicOrLoopback,
}

/// A URL that requests can be sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetUrl {
    /// The whole URL.
    pub uri: Uri,
    /// Its host: a name or an address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether it is `https`.
    pub is_tls: bool,
}

impl TargetUrl {
    /// Reads a URL. A host that is a name is resolved only when a request is sent.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(text: &str, rule: TargetRule) -> Result<Self, &'static str> {
        if text.len() > MAX_OUTBOUND_URL_BYTES {
            return Err("the URL has at most 2,048 bytes");
        }
        let uri: Uri = text.parse().map_err(|_| match text.is_ascii() {
            true => NO_URL,
            false => "the URL must be ASCII: write the host as xn--…, and percent-encode the rest",
        })?;
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(NO_URL),
        };
        let authority = uri.authority().ok_or(NO_URL)?;
        if authority.as_str().contains('@') {
            return Err("the URL must hold no user name and no password");
        }
        let host = authority.host();
        let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if address.is_some_and(|address| address.parse::<Ipv6Addr>().is_err()) {
            return Err("the host of the URL must be a name, or an address without a zone, as [2001:db8::1]");
        }
        let host = address.unwrap_or(host).to_owned();
        if host.is_empty() || text.contains('#') {
            return Err("the URL must name a host and have no fragment");
        }
        let port = match (authority.as_str() == authority.host(), authority.port_u16()) {
            (true, _) => {
                if is_tls {
                    443
                } else {
                    80
                }
            }
            (false, None | Some(0)) => return Err("the port of the URL must be a number from 1 to 65535"),
            (false, Some(port)) => port,
        };
        let target = Self { host, port, is_tls, uri };
        target.check_host(rule)?;
        Ok(target)
    }

    /// Refuses what can be told without resolving the name of the host.
    fn check_host(&self, rule: TargetRule) -> Result<(), &'static str> {
        let address = self.host.parse::<IpAddr>().ok();
        let is_here =
            self.host.eq_ignore_ascii_case("localhost") || address.is_some_and(|ip| ip.is_loopback());
        match (self.is_tls, rule) {
            (false, TargetRule::Public) => return Err("the URL must begin with https://"),
            (false, TargetRule::PublicOrLoopback) if !is_here => {
                return Err("the URL must begin with https://; http:// may lead to this machine only");
            }
            _ => {}
        }
        match address {
            Some(address) if !self.allows(SocketAddr::new(address, self.port), rule) => Err(NOT_PUBLIC),
            // Resolvers read 2130706433, 0x7f.1 and 127.1 as addresses, too.
            None if ends_in_number(&self.host) || !is_name(&self.host) => {
                Err("the host of the URL must be a name, or an address written as 203.0.113.7")
            }
            _ => Ok(()),
        }
    }

    /// Whether an address of the host is allowed.
    pub fn allows(&self, address: SocketAddr, rule: TargetRule) -> bool {
        let is_local = rule == TargetRule::PublicOrLoopback && address.ip().is_loopback();
        is_local || (self.is_tls && is_public(address.ip()))
    }
}

/// Whether a host can be a name in DNS (RFC 1123 §2.1; many have underscores, too).
fn is_name(host: &str) -> bool {
    let of_label = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_label = |label: &str| {
        let is_long_enough = (1..=63).contains(&label.len());
        is_long_enough && label.bytes().all(of_label) && !label.starts_with('-') && !label.ends_with('-')
    };
    host.len() <= 254 && host.strip_suffix('.').unwrap_or(host).split('.').all(is_label)
}

/// Whether the last label of a host is a number, so that the host can only be an address (WHATWG URL, "ends in a
/// number").
fn ends_in_number(host: &str) -> bool {
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    let is_hex = hex.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    is_hex || last.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_checked() {
        use TargetRule::{Public, PublicOrLoopback};
        for (text, rule, good) in [
            ("https://example.com/hook?a=b", Public, true),
            ("https://example.com:8443", Public, true),
            ("https://127.0.0.1/", Public, false),
            ("https://[::1]/", Public, false),
            ("https://10.0.0.1/", PublicOrLoopback, false),
            ("http://8.8.8.8/", PublicOrLoopback, false),
            ("https://8.8.8.8/", Public, true),
            ("https://[2606:4700::1]/", Public, true),
            ("http://example.com/", Public, false),
            ("http://example.com/", PublicOrLoopback, false),
            ("http://localhost:8000/", PublicOrLoopback, true),
            ("http://[::1]:8000/", PublicOrLoopback, true),
            ("https://example.com:99999/", Public, false),
            ("https://example.com:0/", Public, false),
            ("https://example.com:/", Public, false),
            ("https://[2606:4700::1]:8443/", Public, true),
            ("https://2130706433/", Public, false),
            ("https://0x7f.1/", Public, false),
            ("https://127.0.0.1./", Public, false),
            ("https://127.1/", PublicOrLoopback, false),
            ("https://1.example.com/", Public, true),
            ("http://127.0.0.1:8000/hook", Public, false),
            ("http://127.0.0.1:8000/hook", PublicOrLoopback, true),
            ("ftp://example.com/", PublicOrLoopback, false),
            ("https://user:password@example.com/", Public, false),
            ("https://", Public, false),
            ("/hook", Public, false),
            ("example.com", Public, false),
            ("https://example.com/ a", Public, false),
            ("https://[fe80::1%25eth0]/", Public, false),
            ("https://[example.com]/", Public, false),
            ("https://a..b/", Public, false),
            ("https://-/", Public, false),
            ("https://b\u{fc}cher.example/", Public, false),
            ("https://xn--bcher-kva.example/", Public, true),
            ("https://a_b.example.com./", Public, true),
        ] {
            assert_eq!(TargetUrl::parse(text, rule).is_ok(), good, "{text}");
        }
        let local = TargetUrl::parse("http://localhost/", PublicOrLoopback).expect("a URL");
        for (address, allowed) in
            [("127.0.0.1:80", true), ("[::1]:80", true), ("8.8.8.8:80", false), ("10.0.0.1:80", false)]
        {
            assert_eq!(local.allows(address.parse().expect("an address"), PublicOrLoopback), allowed);
        }
    }
}
