//! The parameters of a token request: `application/x-www-form-urlencoded` (RFC 6749 §3.2 and appendix B).

use std::collections::BTreeMap;
use std::sync::LazyLock;

use http::header::CONTENT_TYPE;
use lambda_http::Request;
use percent_encoding::percent_decode_str;

use super::error::{TokenError, TokenErrorKind};
use crate::limits::{MAX_TOKEN_BODY_BYTES, MAX_TOKEN_PARAMETERS};

static TOO_LARGE: LazyLock<String> =
    LazyLock::new(|| format!("The body has more than {MAX_TOKEN_BODY_BYTES} bytes."));
static TOO_MANY: LazyLock<String> =
    LazyLock::new(|| format!("The request has more than {MAX_TOKEN_PARAMETERS} parameters."));
const UNREADABLE: &str = "The body cannot be decoded as application/x-www-form-urlencoded in UTF-8.";

/// The parameters by their names. One without a value counts as absent (RFC 6749 §3.2).
pub(super) struct TokenForm(BTreeMap<String, String>);

impl TokenForm {
    /// Reads the body. Query parameters count for nothing.
    ///
    /// # Errors
    /// 413; 400 for another media type, what cannot be decoded, and a repeated parameter.
    pub fn read(request: &Request) -> Result<Self, TokenError> {
        let body: &[u8] = request.body().as_ref();
        if body.len() > MAX_TOKEN_BODY_BYTES {
            return Err(TokenError::new(TokenErrorKind::TooLarge, &TOO_LARGE));
        }
        let media_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = media_type.and_then(|text| text.split(';').next()).unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            let description = "Send the parameters in the body, as application/x-www-form-urlencoded.";
            return Err(TokenError::invalid_request(description));
        }
        let text = std::str::from_utf8(body).ok();
        Self::parse(text.ok_or(TokenError::invalid_request(UNREADABLE))?)
    }

    fn parse(text: &str) -> Result<Self, TokenError> {
        let mut parameters = BTreeMap::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(name), Some(value)) = (decode(name), decode(value)) else {
                return Err(TokenError::invalid_request(UNREADABLE));
            };
            if parameters.contains_key(&name) {
                return Err(TokenError::repeated(&name));
            }
            parameters.insert(name, value);
            if parameters.len() > MAX_TOKEN_PARAMETERS {
                return Err(TokenError::invalid_request(&TOO_MANY));
            }
        }
        Ok(Self(parameters))
    }

    /// A parameter, if it has a value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// Decodes a part of a form. `None` if it is malformed.
pub(super) fn decode(text: &str) -> Option<String> {
    let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let bytes = text.as_bytes();
    let is_whole = |(at, byte): (usize, &u8)| {
        *byte != b'%' || (is_digit(bytes.get(at + 1)) && is_digit(bytes.get(at + 2)))
    };
    if !bytes.iter().enumerate().all(is_whole) {
        return None;
    }
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_decoded_once_and_repeats_nothing() {
        let form = TokenForm::parse("grant_type=client_credentials&scope=a+b%2B&empty=&flag&&x%5B=1")
            .expect("a form");
        assert_eq!(form.get("grant_type"), Some("client_credentials"));
        assert_eq!(form.get("scope"), Some("a b+"));
        assert_eq!((form.get("empty"), form.get("flag"), form.get("none")), (None, None, None));
        assert_eq!(form.get("x["), Some("1"));
        let many = (0..=MAX_TOKEN_PARAMETERS).map(|at| format!("p{at}=1")).collect::<Vec<_>>().join("&");
        for bad in ["a=1&a=1", "a=1&a=", "a&%61=2", "a=%", "a=%2", "a=%zz", "a=%ff", "%ff=1", &many] {
            assert!(TokenForm::parse(bad).is_err(), "{bad}");
        }
    }
}
