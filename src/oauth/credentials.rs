//! Who the client says it is, and how it proves it (RFC 6749 §2.3, RFC 7523 §2.2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use lambda_http::Request;

use super::error::TokenError;
use super::form::{TokenForm, decode};

/// The type of an assertion (RFC 7523 §2.2).
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What a request says of its client.
pub(super) struct PresentedClient {
    pub id: String,
    pub proof: PresentedProof,
}

/// A proof that was not checked yet.
pub(super) enum PresentedProof {
    Secret(String),
    Assertion(String),
}

impl PresentedClient {
    /// Reads the header `Authorization` or the parameters.
    ///
    /// # Errors
    /// 400 if the client authenticates in two ways, or names no client; 401 if it does not authenticate.
    pub fn read(request: &Request, form: &TokenForm) -> Result<Self, TokenError> {
        let secret = form.get("client_secret");
        let assertion = read_assertion(form)?;
        let mut headers = request.headers().get_all(AUTHORIZATION).iter();
        let header = headers.next();
        let ways = usize::from(header.is_some()) + headers.count() + usize::from(secret.is_some());
        if ways + usize::from(assertion.is_some()) > 1 {
            let description =
                "Authenticate in one way: the header Authorization, client_secret or client_assertion.";
            return Err(TokenError::invalid_request(description));
        }
        if let Some(header) = header {
            let header = header.to_str().ok().and_then(read_basic);
            let (id, secret) = header.ok_or_else(TokenError::unreadable_header)?;
            if form.get("client_id").is_some_and(|other| other != id) {
                let description = "client_id is another one than in the header Authorization.";
                return Err(TokenError::invalid_request(description));
            }
            return Ok(Self { id, proof: PresentedProof::Secret(secret) });
        }
        let proof = match (secret, assertion) {
            (Some(secret), _) => PresentedProof::Secret(secret.to_owned()),
            (None, Some(assertion)) => PresentedProof::Assertion(assertion.to_owned()),
            (None, None) => return Err(TokenError::no_proof()),
        };
        let id = form.get("client_id").ok_or(TokenError::invalid_request("client_id is missing."))?;
        Ok(Self { id: id.to_owned(), proof })
    }
}

fn read_assertion(form: &TokenForm) -> Result<Option<&str>, TokenError> {
    match (form.get("client_assertion_type"), form.get("client_assertion")) {
        (None, None) => Ok(None),
        (Some(JWT_BEARER), Some(assertion)) => Ok(Some(assertion)),
        (Some(JWT_BEARER), None) => Err(TokenError::invalid_request("client_assertion is missing.")),
        _ => Err(TokenError::invalid_request(
            "client_assertion_type must be urn:ietf:params:oauth:client-assertion-type:jwt-bearer.",
        )),
    }
}

/// Reads `Basic <base64 of id:secret>`; id and secret are form-encoded before (RFC 6749 §2.3.1).
fn read_basic(header: &str) -> Option<(String, String)> {
    let (scheme, rest) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(rest.trim_matches(' ')).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    Some((decode(id)?, decode(secret)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_credentials_are_form_encoded() {
        let header = |text: &str| format!("Basic {}", STANDARD.encode(text));
        let read = |text: &str| read_basic(&header(text));
        let pair = |id: &str, secret: &str| Some((id.to_owned(), secret.to_owned()));
        assert_eq!(read("client_1:rcs_a"), pair("client_1", "rcs_a"));
        assert_eq!(read("client%5F1:a%3Ab+c"), pair("client_1", "a:b c"));
        assert_eq!(read("a:b:c"), pair("a", "b:c"));
        for bad in ["a", "a:%", "%zz:b"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        for bad in ["Basic", "Basic ?", "Bearer YTpi", "Basic YTp", ""] {
            assert_eq!(read_basic(bad), None, "{bad}");
        }
        assert_eq!(read_basic("basic  YTpi"), pair("a", "b"));
    }
}
