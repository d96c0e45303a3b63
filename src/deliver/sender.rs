//! Sends a message to a URL: one connection for each attempt, to an address that was checked.
//!
//! - The name is resolved once. If any of its addresses is not public, nothing is sent.
//! - The connection goes to one of the checked addresses. Nothing resolves the name a second time.
//! - Redirects are not followed. A proxy of the environment is not used.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::signature::{WebhookSecret, sign_with_all};
use super::target::{NOT_PUBLIC, TargetRule, TargetUrl};
use crate::clock;
use crate::limits::{MAX_RETRY_AFTER_SECONDS, WEBHOOK_ATTEMPT};

const HTTP_DATE: &[BorrowedFormatItem<'static>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

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

    /// An attempt that was given up before its time was over.
    pub fn given_up() -> Self {
        Self { is_given_up: true, ..Self::because("no answer in a short time") }
    }
}

/// Sends messages.
#[derive(Clone)]
pub struct MessageSender {
    rule: TargetRule,
    tls: TlsConnector,
}

impl MessageSender {
    /// A sender that trusts the certificates that this system trusts.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn new(rule: TargetRule) -> Result<Self, String> {
        Self::with_roots(rule, system_roots())
    }

    /// A sender that trusts these certificates.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn with_roots(rule: TargetRule, roots: RootCertStore) -> Result<Self, String> {
        Ok(Self { rule, tls: tls_connector(roots)? })
    }

    /// Which URLs it sends to.
    pub const fn rule(&self) -> TargetRule {
        self.rule
    }

    /// Sends a message once. Any status from 200 to 299 means that the receiver has taken it. Returns the status.
    ///
    /// # Errors
    /// [`FailedAttempt`].
    pub async fn send(&self, url: &str, message: &SignedMessage<'_>) -> Result<u16, FailedAttempt> {
        let target = TargetUrl::parse(url, self.rule).map_err(FailedAttempt::because)?;
        match tokio::time::timeout(WEBHOOK_ATTEMPT, self.attempt(&target, message)).await {
            Ok(Ok(answer)) => judge(&answer),
            Ok(Err(why)) => Err(FailedAttempt::because(why)),
            Err(_) => {
                let seconds = WEBHOOK_ATTEMPT.as_secs();
                Err(FailedAttempt::because(format!("no answer within {seconds} seconds")))
            }
        }
    }

    async fn attempt(
        &self,
        target: &TargetUrl,
        message: &SignedMessage<'_>,
    ) -> Result<Response<Incoming>, String> {
        let stream = self.connect(target).await?;
        let request = request(target, message).map_err(|failed| failed.to_string())?;
        if !target.is_tls {
            return exchange(stream, request).await;
        }
        let name = ServerName::try_from(target.host.clone()).map_err(|_| "the host has no valid name")?;
        let stream = self.tls.connect(name, stream).await.map_err(|failed| format!("TLS: {failed}"))?;
        exchange(stream, request).await
    }

    /// Resolves the name, checks all addresses, and connects to the first one that answers.
    async fn connect(&self, target: &TargetUrl) -> Result<TcpStream, String> {
        let addresses = tokio::net::lookup_host((target.host.as_str(), target.port)).await;
        let addresses: Vec<SocketAddr> =
            addresses.map_err(|failed| format!("the name cannot be resolved: {failed}"))?.collect();
        if addresses.is_empty() {
            return Err("the name has no address".to_owned());
        }
        if !addresses.iter().all(|address| target.allows(*address, self.rule)) {
            return Err(NOT_PUBLIC.to_owned());
        }
        let mut last = None;
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(failed) => last = Some(failed),
            }
        }
        Err(format!("no connection: {}", last.unwrap_or_else(|| io::ErrorKind::NotFound.into())))
    }
}

/// The certificates that this system trusts.
pub fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// What opens TLS connections to servers that these certificates vouch for.
///
/// # Errors
/// If TLS cannot be set up.
pub fn tls_connector(roots: RootCertStore) -> Result<TlsConnector, String> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|failed| failed.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn request(target: &TargetUrl, message: &SignedMessage<'_>) -> Result<Request<Full<Bytes>>, http::Error> {
    let timestamp = clock::epoch_seconds();
    let path = target.uri.path_and_query().map_or("/", |path| path.as_str());
    let host = target.uri.authority().map_or("", |authority| authority.as_str());
    Request::post(path)
        .header(HOST, host)
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, concat!("Rollcall/", env!("CARGO_PKG_VERSION")))
        .header("webhook-id", message.id)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", sign_with_all(message.secrets, message.id, timestamp, &message.body))
        .body(Full::new(message.body.clone()))
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let broken = |failed: hyper::Error| format!("no answer: {failed}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(sender.send_request(request));
    // The connection ends with this function. The body of the answer is not read.
    tokio::select! {
        biased;
        answer = &mut answer => answer.map_err(broken),
        ended = &mut connection => match ended {
            Ok(()) => answer.await.map_err(broken),
            Err(failed) => Err(broken(failed)),
        },
    }
}

fn judge(answer: &Response<Incoming>) -> Result<u16, FailedAttempt> {
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
        Err(_) => {
            let date = time::PrimitiveDateTime::parse(text, HTTP_DATE).ok()?;
            let at: OffsetDateTime = date.assume_utc();
            u64::try_from(at.unix_timestamp()).ok()?.saturating_sub(now)
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
            ("Wed, 25 Feb 2026 06:14:20 GMT", Some(60)),
            ("Wed, 25 Feb 2026 06:00:00 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
        ] {
            assert_eq!(read_retry_after(text, now).map(|wait| wait.as_secs()), expected, "{text}");
        }
    }
}
