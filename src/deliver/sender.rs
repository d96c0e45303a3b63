//! Sends a message to the URL of a webhook, and judges the answer.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio_rustls::rustls::RootCertStore;

use super::signature::{WebhookSecret, sign_with_all};
use crate::clock;
use crate::limits::{MAX_RETRY_AFTER_SECONDS, WEBHOOK_ATTEMPT};
use crate::outbound::client::{OutboundClient, USER_AGENT_TEXT};
use crate::outbound::target::TargetRule;

/// A signed message.
#[derive(Clone, Debug)]
pub struct SignedMessage<'m> {
    /// Its id. It is the same in every attempt.
    pub id: &'m str,
    /// The body, as JSON.
    pub body: Bytes,
    /// The secrets that sign it.
    pub secrets: &'m [WebhookSecret],
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedAttempt {
    /// For the operator.
    pub why: String,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// How long the receiver asks to wait.
    pub retry_after: Option<Duration>,
    /// Whether the receiver wants no further message (410).
    pub is_gone: bool,
    /// Whether the attempt was given up before its time was over. A later one waits for longer.
    pub is_given_up: bool,
}

impl FailedAttempt {
    fn because(why: impl Into<String>) -> Self {
        Self { why: why.into(), status: None, retry_after: None, is_gone: false, is_given_up: false }
    }

    /// An attempt for which no message could be made. What the table said is for the log of the operator.
    pub fn unmade() -> Self {
        Self::because(
            "Rollcall could not read what the message is made of: its operator finds the cause in the log",
        )
    }

    /// An attempt that was given up before its time was over.
    pub fn given_up() -> Self {
        Self { is_given_up: true, ..Self::because("no answer in a short time") }
    }
}

/// Sends messages.
#[derive(Clone)]
pub struct MessageSender(OutboundClient);

impl MessageSender {
    /// A sender that trusts the certificates that this system trusts.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn new(rule: TargetRule) -> Result<Self, String> {
        OutboundClient::new(rule).map(Self)
    }

    /// A sender that trusts these certificates.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn with_roots(rule: TargetRule, roots: RootCertStore) -> Result<Self, String> {
        OutboundClient::with_roots(rule, roots).map(Self)
    }

    /// Which URLs it sends to.
    pub const fn rule(&self) -> TargetRule {
        self.0.rule()
    }

    /// Sends a message once. Any status from 200 to 299 means that the receiver has taken it. Returns the status.
    ///
    /// # Errors
    /// [`FailedAttempt`].
    pub async fn send(&self, url: &str, message: &SignedMessage<'_>) -> Result<u16, FailedAttempt> {
        let request = request(message).map_err(|failed| FailedAttempt::because(failed.to_string()))?;
        match tokio::time::timeout(WEBHOOK_ATTEMPT, self.0.send(url, request)).await {
            Ok(Ok(answer)) => judge(&answer),
            Ok(Err(why)) => Err(FailedAttempt::because(why)),
            Err(_) => {
                let seconds = WEBHOOK_ATTEMPT.as_secs();
                Err(FailedAttempt::because(format!("no answer within {seconds} seconds")))
            }
        }
    }
}

fn request(message: &SignedMessage<'_>) -> Result<Request<Full<Bytes>>, http::Error> {
    let timestamp = clock::epoch_seconds();
    Request::post("/")
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, USER_AGENT_TEXT)
        .header("webhook-id", message.id)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", sign_with_all(message.secrets, message.id, timestamp, &message.body))
        .body(Full::new(message.body.clone()))
}

fn judge(answer: &Response<()>) -> Result<u16, FailedAttempt> {
    let status = answer.status();
    if status.is_success() {
        return Ok(status.as_u16());
    }
    let why = match status.is_redirection() {
        true => format!("status {}: redirects are not followed", status.as_u16()),
        false => format!("status {}", status.as_u16()),
    };
    let header = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = header.and_then(|text| read_retry_after(text, clock::epoch_seconds()));
    let is_gone = status == StatusCode::GONE;
    Err(FailedAttempt { status: Some(status.as_u16()), retry_after, is_gone, ..FailedAttempt::because(why) })
}

/// Reads `Retry-After`: seconds, or a date (RFC 9110 §10.2.3). At most a day.
fn read_retry_after(text: &str, now: u64) -> Option<Duration> {
    let text = text.trim();
    let seconds = match text.parse::<u64>() {
        Ok(seconds) => seconds,
        // More than any number that is read.
        Err(_) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => u64::MAX,
        Err(_) => {
            let at = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
            at.as_secs().saturating_sub(now)
        }
    };
    Some(Duration::from_secs(seconds.min(MAX_RETRY_AFTER_SECONDS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = 1_772_000_000;
        for (text, expected) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("999999999", Some(MAX_RETRY_AFTER_SECONDS)),
            ("99999999999999999999", Some(MAX_RETRY_AFTER_SECONDS)),
            ("", None),
            ("Wed, 25 Feb 2026 06:14:20 GMT", Some(60)),
            ("Wed, 25 Feb 2026 06:00:00 GMT", Some(0)),
            ("Wednesday, 25-Feb-26 06:14:20 GMT", Some(60)),
            ("Wed Feb 25 06:14:20 2026", Some(60)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
        ] {
            assert_eq!(read_retry_after(text, now).map(|wait| wait.as_secs()), expected, "{text}");
        }
    }
}
