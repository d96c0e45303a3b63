//! Checks the assertion of a federated client (RFC 7523 §2.2 and §3).
//!
//! The signature is checked before the claims. So only who holds a key of the issuer is told which claim differs.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::Number;

use super::client::Federation;
use super::jwks::{ALGORITHMS, IssuerKeys, NoKey};
use crate::limits::{
    ISSUER_CLOCK_TOLERANCE_SECONDS, MAX_ASSERTION_BYTES, MAX_ASSERTION_ID_BYTES, MAX_ASSERTION_SECONDS,
};

static NO_JWT: LazyLock<String> =
    LazyLock::new(|| format!("The assertion is not a signed JWT of at most {MAX_ASSERTION_BYTES} bytes."));
static TOO_LONG: LazyLock<String> =
    LazyLock::new(|| format!("The assertion lives for more than {} hours.", MAX_ASSERTION_SECONDS / 3_600));

/// An assertion that holds what it must.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedAssertion {
    /// Its `jti`, which tells it from others of the client. Without one it can be used again until it ends, as RFC 7523
    /// §3 allows: Entra ID sends none, and may send one assertion several times.
    pub id: Option<String>,
    /// Until when it could be used again, in seconds since 1970.
    pub usable_until: i64,
}

/// Why an assertion is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssertionRefusal {
    /// It is not a signed JWT.
    Form,
    /// Its algorithm is not taken, or its header has critical members.
    Algorithm,
    /// It names no key, or one that the issuer does not have.
    UnknownKey,
    /// The keys of the issuer cannot be read just now.
    IssuerDown,
    /// Its signature is wrong.
    Signature,
    /// Its claims are not those of an assertion.
    Claims,
    /// Another `iss`.
    Issuer,
    /// Another `sub`.
    Subject,
    /// Another `aud`, or several.
    Audience,
    /// Another `tid`.
    Directory,
    /// It has expired.
    Expired,
    /// It is from the future.
    NotYet,
    /// It lives for too long.
    TooLong,
    /// It was used before.
    Replayed,
}

impl AssertionRefusal {
    /// What the client is told. RFC 6749 §5.2 allows only ASCII without quotes and backslashes.
    pub fn description(self) -> &'static str {
        match self {
            Self::Form => &NO_JWT,
            Self::Algorithm => {
                "The assertion must be signed with RS256, PS256 or ES256, without critical header members."
            }
            Self::UnknownKey => {
                "The header of the assertion names no key (kid) that the issuer has for this algorithm."
            }
            Self::IssuerDown => {
                "The keys of the issuer cannot be read just now. Send the request again later."
            }
            Self::Signature => "The signature of the assertion is wrong.",
            Self::Claims => "The claims of the assertion cannot be read: iss, sub, aud and exp are required.",
            Self::Issuer => "The claim iss of the assertion is not the issuer of this client.",
            Self::Subject => "The claim sub of the assertion is not the subject of this client.",
            Self::Audience => "The claim aud of the assertion is not exactly the audience of this client.",
            Self::Directory => "The claim tid of the assertion is not the directory of this client.",
            Self::Expired => "The assertion has expired.",
            Self::NotYet => "The assertion is from the future (iat, nbf): check the clock of the issuer.",
            Self::TooLong => &TOO_LONG,
            Self::Replayed => "The assertion was used before: each request needs a new one.",
        }
    }

    /// The word in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown_key",
            Self::IssuerDown => "issuer_down",
            Self::Signature => "signature",
            Self::Claims => "claims",
            Self::Issuer => "issuer",
            Self::Subject => "subject",
            Self::Audience => "audience",
            Self::Directory => "directory",
            Self::Expired => "expired",
            Self::NotYet => "not_yet",
            Self::TooLong => "too_long",
            Self::Replayed => "replayed",
        }
    }
}

/// The claims that are looked at.
#[derive(Deserialize)]
struct AssertionClaims {
    iss: String,
    sub: String,
    aud: AudienceClaim,
    exp: Number,
    nbf: Option<Number>,
    iat: Option<Number>,
    jti: Option<String>,
    tid: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum AudienceClaim {
    One(String),
    Many(Vec<String>),
}

/// Why the library refuses a header: it knows no such algorithm (as none), or it cannot read the header.
fn refusal_of_header(text: &str) -> AssertionRefusal {
    #[derive(Deserialize)]
    struct NamedAlgorithm {
        alg: String,
    }
    let bytes = text.split('.').next().and_then(|header| URL_SAFE_NO_PAD.decode(header).ok());
    let named = bytes.and_then(|bytes| serde_json::from_slice::<NamedAlgorithm>(&bytes).ok());
    match named.map(|named| named.alg.parse::<Algorithm>()) {
        Some(Err(_)) => AssertionRefusal::Algorithm,
        Some(Ok(_)) | None => AssertionRefusal::Form,
    }
}

/// Checks an assertion against what the client was made with, at `now` in seconds since 1970.
///
/// # Errors
/// [`AssertionRefusal`].
pub async fn check_assertion(
    keys: &IssuerKeys,
    federation: &Federation,
    text: &str,
    now: i64,
) -> Result<CheckedAssertion, AssertionRefusal> {
    if text.len() > MAX_ASSERTION_BYTES || text.split('.').count() != 3 {
        return Err(AssertionRefusal::Form);
    }
    let header = decode_header(text).map_err(|_| refusal_of_header(text))?;
    if header.crit.is_some() || !ALGORITHMS.iter().any(|(taken, _)| *taken == header.alg) {
        return Err(AssertionRefusal::Algorithm);
    }
    let kid = header.kid.ok_or(AssertionRefusal::UnknownKey)?;
    let key = keys.find(&federation.jwks_url, &kid, header.alg).await.map_err(|why| match why {
        NoKey::Unknown => AssertionRefusal::UnknownKey,
        NoKey::IssuerDown => AssertionRefusal::IssuerDown,
    })?;
    // The claims are checked below, with this service's clock and exact comparisons.
    let mut signature = Validation::new(header.alg);
    (signature.validate_exp, signature.validate_aud) = (false, false);
    signature.required_spec_claims.clear();
    let decoded = decode::<AssertionClaims>(text, &key, &signature).map_err(|failed| {
        use jsonwebtoken::errors::ErrorKind::{Base64, Json, Utf8};
        match failed.kind() {
            Json(_) | Utf8(_) | Base64(_) => AssertionRefusal::Claims,
            _ => AssertionRefusal::Signature,
        }
    })?;
    let (id, usable_until) = check_claims(decoded.claims, federation, now)?;
    Ok(CheckedAssertion { id, usable_until })
}

/// Returns the `jti`, and until when the assertion could be used again.
fn check_claims(
    claims: AssertionClaims,
    federation: &Federation,
    now: i64,
) -> Result<(Option<String>, i64), AssertionRefusal> {
    if claims.iss != federation.issuer {
        return Err(AssertionRefusal::Issuer);
    }
    if claims.sub != federation.subject {
        return Err(AssertionRefusal::Subject);
    }
    let is_audience = match &claims.aud {
        AudienceClaim::One(one) => *one == federation.audience,
        AudienceClaim::Many(many) => matches!(many.as_slice(), [one] if *one == federation.audience),
    };
    if !is_audience {
        return Err(AssertionRefusal::Audience);
    }
    if federation.directory.is_some() && claims.tid != federation.directory {
        return Err(AssertionRefusal::Directory);
    }
    let read = |number: &Number| seconds(number).ok_or(AssertionRefusal::Claims);
    let exp = read(&claims.exp)?;
    let usable_until = exp + ISSUER_CLOCK_TOLERANCE_SECONDS;
    if usable_until <= now {
        return Err(AssertionRefusal::Expired);
    }
    if exp > now + MAX_ASSERTION_SECONDS + ISSUER_CLOCK_TOLERANCE_SECONDS {
        return Err(AssertionRefusal::TooLong);
    }
    for time in [&claims.nbf, &claims.iat].into_iter().flatten() {
        if read(time)? > now + ISSUER_CLOCK_TOLERANCE_SECONDS {
            return Err(AssertionRefusal::NotYet);
        }
    }
    if claims.jti.as_ref().is_some_and(|id| id.len() > MAX_ASSERTION_ID_BYTES) {
        return Err(AssertionRefusal::Claims);
    }
    Ok((claims.jti.filter(|id| !id.is_empty()), usable_until))
}

/// A time in seconds since 1970 (RFC 7519 §2, NumericDate). `None` beyond the year 9999.
fn seconds(number: &Number) -> Option<i64> {
    let last = 253_402_300_799_i64;
    #[allow(clippy::cast_possible_truncation)]
    let whole = number.as_i64().or_else(|| number.as_f64().map(|seconds| seconds as i64))?;
    (0..=last).contains(&whole).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_cannot_be_read_is_not_called_another_algorithm() {
        let of = |header: &str| format!("{}.e30.e30", URL_SAFE_NO_PAD.encode(header));
        for (text, expected) in [
            ("..".to_owned(), AssertionRefusal::Form),
            ("%.e30.e30".to_owned(), AssertionRefusal::Form),
            (of("{"), AssertionRefusal::Form),
            (of(r#"{"kid":"a"}"#), AssertionRefusal::Form),
            (of(r#"{"alg":5}"#), AssertionRefusal::Form),
            (of(r#"{"alg":"RS256","kid":5}"#), AssertionRefusal::Form),
            (of(r#"{"alg":"ES256","x5c":5}"#), AssertionRefusal::Form),
            (of(r#"{"alg":"none"}"#), AssertionRefusal::Algorithm),
            (of(r#"{"alg":"ES256K"}"#), AssertionRefusal::Algorithm),
        ] {
            assert!(decode_header(&text).is_err(), "{text}");
            assert_eq!(refusal_of_header(&text), expected, "{text}");
        }
    }
}
