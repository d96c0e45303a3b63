//! The URLs that requests may be sent to.

use std::net::SocketAddr;

use http::Uri;

use super::address::is_public;
use crate::limits::MAX_OUTBOUND_URL_BYTES;

/// Why a host is refused.
pub const NOT_PUBLIC: &str = "the host has an address that is not public";

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
        let uri: Uri = text.parse().map_err(|_| "this is not a URL")?;
        let is_tls = match (uri.scheme_str(), rule) {
            (Some("https"), _) => true,
            (Some("http"), TargetRule::PublicOrLoopback) => false,
            _ => return Err("the URL must begin with https://"),
        };
        let authority = uri.authority().ok_or("the URL names no host")?;
        if authority.as_str().contains('@') {
            return Err("the URL must hold no user name and no password");
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        if host.is_empty() || text.contains('#') {
            return Err("the URL must name a host and have no fragment");
        }
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let target = Self { host, port, is_tls, uri };
        match target.host.parse() {
            Ok(address) if !target.allows(SocketAddr::new(address, port), rule) => Err(NOT_PUBLIC),
            _ => Ok(target),
        }
    }

    /// Whether an address of the host is allowed.
    pub fn allows(&self, address: SocketAddr, rule: TargetRule) -> bool {
        let is_local = rule == TargetRule::PublicOrLoopback && address.ip().is_loopback();
        is_local || (self.is_tls && is_public(address.ip()))
    }
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
            ("http://127.0.0.1:8000/hook", Public, false),
            ("http://127.0.0.1:8000/hook", PublicOrLoopback, true),
            ("ftp://example.com/", PublicOrLoopback, false),
            ("https://user:password@example.com/", Public, false),
            ("https://", Public, false),
            ("/hook", Public, false),
            ("example.com", Public, false),
            ("https://example.com/ a", Public, false),
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
