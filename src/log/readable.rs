//! Text that a client sent, on one line for people.

use percent_encoding::percent_decode_str;

use crate::limits::MAX_READABLE_CHARS;
use crate::scim::notes::looks_secret;

/// Words in the names of parameters whose values are secrets.
const SECRETS: [&str; 5] = ["key", "token", "secret", "password", "authorization"];

/// The method, the path and the query of a request. What could be a key or a password is left out.
pub fn describe_request(method: &str, path: &str, query: Option<&str>) -> String {
    let segments: Vec<String> = path.split('/').map(without_secret).collect();
    let mut text = format!("{} {}", without_secret(method), segments.join("/"));
    let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    for (at, pair) in pairs.enumerate() {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_decode_str(&value.replace('+', " ")).decode_utf8_lossy().into_owned();
        let names = [name.to_ascii_lowercase(), value.to_ascii_lowercase()];
        let is_secret = SECRETS.iter().any(|word| names[0].contains(word)) || names[1].contains("password");
        let shown = if is_secret { "…".to_owned() } else { without_secret(&value) };
        text.push(if at == 0 { '?' } else { '&' });
        text.push_str(&format!("{}={shown}", without_secret(name)));
    }
    on_one_line(&text)
}

/// A text without characters that could begin another line, and not too long.
pub fn on_one_line(text: &str) -> String {
    let short = text.char_indices().nth(MAX_READABLE_CHARS).map(|(at, _)| at);
    let mut line = String::with_capacity(text.len().min(MAX_READABLE_CHARS));
    for character in text[..short.unwrap_or(text.len())].chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    if short.is_some() {
        line.push('…');
    }
    line
}

/// A text, or a mark in its place if it holds what looks like a key, a token or a secret.
fn without_secret(text: &str) -> String {
    if looks_secret(text) { "…".to_owned() } else { text.to_owned() }
}

/// A sentence on one line, without the words that look like a key, a token or a secret.
pub fn describe_detail(detail: &str) -> String {
    on_one_line(&detail.split(' ').map(without_secret).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_line_without_keys() {
        for (path, query, expected) in [
            ("/scim/v2/Users", None, "GET /scim/v2/Users"),
            (
                "/scim/v2/Users",
                Some("filter=userName%20eq+%22a%40x%22&count=2"),
                "GET /scim/v2/Users?filter=userName eq \"a@x\"&count=2",
            ),
            ("/U", Some("filter=a%0d%0aGET"), "GET /U?filter=a\\r\\nGET"),
            ("/U", Some("access_token=abc&API_KEY=d"), "GET /U?access_token=…&API_KEY=…"),
            ("/U", Some("filter=password%20eq%20%22x%22"), "GET /U?filter=…"),
            ("/U/rc_demo_abc", Some("x=rc_demo_abc&rc_demo_abc"), "GET /U/…?x=…&…="),
            ("/U/rca_abc/rcs_demo_abc", Some("x=rct_demo_abc&y=whsec_abc"), "GET /U/…/…?x=…&y=…"),
        ] {
            assert_eq!(describe_request("GET", path, query), expected, "{path} {query:?}");
        }
        assert_eq!(describe_request("RC_rc_demo_abc", "/U", None), "… /U");
        assert_eq!(describe_detail("The body has rc_demo_abc.\nIt"), "The body has …");
        assert_eq!(
            describe_detail("name is required;\nthe body has x"),
            "name is required;\\nthe body has x"
        );
        let long = on_one_line(&"é".repeat(MAX_READABLE_CHARS + 1));
        assert_eq!(long.chars().count(), MAX_READABLE_CHARS + 1);
        assert!(long.ends_with('…'));
    }
}
