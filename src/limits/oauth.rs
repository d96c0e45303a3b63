//! The limits of clients, access tokens and the token endpoint.

use std::ops::RangeInclusive;
use std::time::Duration;

/// The longest URL that requests are sent to, in bytes.
pub const MAX_OUTBOUND_URL_BYTES: usize = 2_048;

/// The most header lines in an answer to a request of ours.
pub const MAX_ANSWER_HEADERS: usize = 1_000;

/// The most secrets of a client that live at once. A rotation needs two.
pub const MAX_CLIENT_SECRETS: usize = 5;

/// The most secrets of a client that its item keeps. Those that have ended are kept until the last token of them has.
pub const MAX_KEPT_CLIENT_SECRETS: usize = 50;

/// How many years a secret can live. Microsoft's gallery asks for one to three.
pub const SECRET_YEARS: RangeInclusive<u64> = 1..=3;

/// How many hours an access token can live. Microsoft's gallery asks for one to six.
pub const TOKEN_HOURS: RangeInclusive<u64> = 1..=6;

/// The longest issuer, subject or audience of a federated client, in bytes.
pub const MAX_FEDERATION_TEXT_BYTES: usize = 1_024;

/// The largest body of a token request. An assertion is the largest part of it.
pub const MAX_TOKEN_BODY_BYTES: usize = 16_384;

/// The most parameters of a token request. RFC 6749 and RFC 7523 define seven.
pub const MAX_TOKEN_PARAMETERS: usize = 32;

/// The largest assertion. Those of Entra ID have about 1,500 bytes.
pub const MAX_ASSERTION_BYTES: usize = 8_192;

/// By how many seconds the clock of an issuer may differ.
pub const ISSUER_CLOCK_TOLERANCE_SECONDS: i64 = 60;

/// The longest time between now and the end (`exp`) of an assertion, in seconds. The id of a used assertion is kept
/// until its end.
pub const MAX_ASSERTION_SECONDS: i64 = 86_400;

/// The longest id (`jti`) of an assertion, in bytes.
pub const MAX_ASSERTION_ID_BYTES: usize = 1_024;

/// The largest set of keys of an issuer. That of Entra ID has about 20 KB.
pub const MAX_JWKS_BYTES: usize = 262_144;

/// The most keys of an issuer that are kept.
pub const MAX_JWKS_KEYS: usize = 100;

/// The most issuers whose keys a process keeps. With more it forgets all, and reads them again.
pub const MAX_KEPT_JWKS: usize = 1_000;

/// The shortest time before the keys of an issuer are read again after a read that failed, in seconds. It is shorter than
/// the time after which clients that were refused come again.
pub const JWKS_FAILURE_PAUSE_SECONDS: u64 = 5;
/// The shortest time between two reads of the keys of an issuer, in seconds.
pub const JWKS_PAUSE_SECONDS: u64 = 60;

/// After how many seconds the keys of an issuer are read again, so that a key that it has withdrawn is forgotten.
pub const JWKS_REFRESH_SECONDS: u64 = 3_600;

/// How long reading the keys of an issuer may take.
pub const JWKS_FETCH: Duration = Duration::from_secs(4);
