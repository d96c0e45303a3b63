//! One call to a service of AWS: signed (Signature Version 4), over one connection.
//!
//! The SDKs of Lambda and CodeDeploy would be two large dependencies for one operation each. The signature is made by
//! the crate that they use for it.

use std::time::Duration;

use aws_sdk_dynamodb::config::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::clock;
use crate::config::{self, ConfigError};
use crate::limits::{MAX_PROBE_ANSWER_BYTES, PROBE_ATTEMPTS, PROBE_BACKOFF, PROBE_CALL};
use crate::outbound::tls::{TlsClient, system_roots};

/// The header of a body that is JSON.
pub const CONTENT_TYPE_JSON: (&str, &str) = ("content-type", "application/json");
/// The header of a body that is JSON in AWS's own protocol.
pub const CONTENT_TYPE_AWS_JSON: (&str, &str) = ("content-type", "application/x-amz-json-1.1");

/// What makes calls, in the name of the function's role.
#[derive(Clone)]
pub struct AwsCaller {
    region: String,
    credentials: Credentials,
    tls: TlsClient,
}

/// A call.
#[derive(Clone, Debug)]
pub struct Call<'c> {
    /// The name of the service in signatures.
    pub service: &'static str,
    /// Where the service answers, without a slash at the end.
    pub url: &'c str,
    /// The path, and the query if there is one.
    pub path: &'c str,
    /// Further headers.
    pub headers: &'c [(&'static str, &'c str)],
    /// The body.
    pub body: Bytes,
}

/// The answer to a call.
#[derive(Clone, Debug)]
pub struct CallAnswer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl CallAnswer {
    /// Whether the service only asks to try again: it is busy, or a new version is not ready yet.
    fn is_for_a_moment(&self) -> bool {
        // CodeDeploy's protocol has `ThrottlingException` with 400.
        let throttled = self.body.windows(7).any(|word| word == b"Throttl");
        let status = self.status.as_u16();
        matches!(status, 409 | 429 | 500..) || (status == 400 && throttled)
    }
}

impl AwsCaller {
    /// What calls with the credentials and in the region that Lambda puts into the environment.
    ///
    /// # Errors
    /// One line that names the missing variable, or says that TLS cannot be set up.
    pub fn from_env() -> Result<Self, String> {
        let missing = |missing: ConfigError| missing.to_string();
        let region = config::required(config::REGION).map_err(missing)?;
        let credentials = config::credentials().map_err(missing)?;
        Ok(Self { region, credentials, tls: TlsClient::new(system_roots())? })
    }

    /// Makes a call. Makes it again if it was refused for a moment only.
    ///
    /// # Errors
    /// One line, if there was no answer.
    pub async fn send(&self, call: &Call<'_>) -> Result<CallAnswer, String> {
        let mut pause = PROBE_BACKOFF;
        for attempt in 1.. {
            let answer = match tokio::time::timeout(PROBE_CALL, self.send_once(call)).await {
                Ok(answer) => answer,
                // Another attempt would take as long.
                Err(_) => return Err(format!("no answer within {} seconds", PROBE_CALL.as_secs())),
            };
            let is_last = attempt >= PROBE_ATTEMPTS;
            match answer {
                Ok(answer) if is_last || !answer.is_for_a_moment() => return Ok(answer),
                Err(failed) if is_last => return Err(failed),
                Ok(_) | Err(_) => {}
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(Duration::from_secs(8));
        }
        Err("no attempt was made".to_owned())
    }

    async fn send_once(&self, call: &Call<'_>) -> Result<CallAnswer, String> {
        let uri: Uri = format!("{}{}", call.url, call.path).parse().map_err(|_| "the URL is not valid")?;
        let host = uri.host().ok_or("the URL names no host")?.to_owned();
        let is_tls = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let request = self.sign(call, &uri)?;
        let stream = TcpStream::connect((host.as_str(), port)).await;
        let stream = stream.map_err(|failed| format!("no connection: {failed}"))?;
        if !is_tls {
            return exchange(stream, request).await;
        }
        let stream = self.tls.connect(host, stream).await?;
        exchange(stream, request).await
    }

    /// The signed request.
    fn sign(&self, call: &Call<'_>, uri: &Uri) -> Result<Request<Full<Bytes>>, String> {
        let failed = |failed: &dyn std::fmt::Display| format!("the call cannot be signed: {failed}");
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let mut headers = vec![(HOST.as_str(), authority)];
        headers.extend(call.headers.iter().copied());
        let identity = self.credentials.clone().into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(call.service)
            .time(clock::now().into())
            .settings(SigningSettings::default())
            .build()
            .map_err(|e| failed(&e))?
            .into();
        let body = SignableBody::Bytes(&call.body);
        let signable =
            SignableRequest::new(Method::POST.as_str(), uri.to_string(), headers.iter().copied(), body)
                .map_err(|e| failed(&e))?;
        let (instructions, _) = sign(signable, &parameters).map_err(|e| failed(&e))?.into_parts();
        let mut request = Request::post(call.path);
        for (name, value) in headers.iter().copied().chain(instructions.headers()) {
            request = request.header(name, value);
        }
        request.body(Full::new(call.body.clone())).map_err(|e| failed(&e))
    }
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<CallAnswer, String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let broken = |failed: hyper::Error| format!("no answer: {failed}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let answer = async {
        let answer = sender.send_request(request).await.map_err(broken)?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, MAX_PROBE_ANSWER_BYTES).collect().await;
        let body = body.map_err(|failed| format!("the answer broke off: {failed}"))?.to_bytes();
        Ok(CallAnswer { status: head.status, headers: head.headers, body })
    };
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        ended = &mut connection => match ended {
            Ok(()) => answer.await,
            Err(failed) => Err(broken(failed)),
        },
    }
}
