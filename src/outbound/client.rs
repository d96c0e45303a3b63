//! Sends a request to a URL: one connection for each, to an address that was checked.
//!
//! - The name is resolved once. If any of its addresses is not public, nothing is sent.
//! - The connection goes to one of the checked addresses. Nothing resolves the name a second time.
//! - Redirects are not followed. A proxy of the environment is not used.

use std::io;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, HOST, USER_AGENT};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::rustls::RootCertStore;

use super::target::{NOT_PUBLIC, TargetRule, TargetUrl};
use super::tls::{TlsClient, system_roots};
use crate::limits::MAX_ANSWER_HEADERS;

/// Sends requests.
#[derive(Clone)]
pub struct OutboundClient {
    rule: TargetRule,
    tls: TlsClient,
}

impl OutboundClient {
    /// A client that trusts the certificates that this system trusts.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn new(rule: TargetRule) -> Result<Self, String> {
        Self::with_roots(rule, system_roots())
    }

    /// A client that trusts these certificates.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn with_roots(rule: TargetRule, roots: RootCertStore) -> Result<Self, String> {
        Ok(Self { rule, tls: TlsClient::new(roots)? })
    }

    /// Which URLs it sends to.
    pub const fn rule(&self) -> TargetRule {
        self.rule
    }

    /// Sends a request to a URL and returns the head of the answer. The body is not read. The request's own URI
    /// and its header `Host` are set here.
    ///
    /// # Errors
    /// One line that says why there is no answer.
    pub async fn send(&self, url: &str, request: Request<Full<Bytes>>) -> Result<Response<()>, String> {
        self.exchange(url, request, None).await.map(|answer| answer.map(drop))
    }

    /// Reads the body of a URL with GET, if the answer is 200 and has at most `most` bytes.
    ///
    /// # Errors
    /// One line that says why there is no such body.
    pub async fn fetch(&self, url: &str, most: usize) -> Result<Bytes, String> {
        let request = Request::get("/")
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, USER_AGENT_TEXT)
            .body(Full::new(Bytes::new()))
            .map_err(|failed| failed.to_string())?;
        let answer = self.exchange(url, request, Some(most)).await?;
        match answer.status().as_u16() {
            200 => Ok(answer.into_body()),
            status @ 300..400 => Err(format!("status {status}: redirects are not followed")),
            status => Err(format!("status {status}")),
        }
    }

    async fn exchange(
        &self,
        url: &str,
        mut request: Request<Full<Bytes>>,
        most: Option<usize>,
    ) -> Result<Response<Bytes>, String> {
        let target = TargetUrl::parse(url, self.rule)?;
        let path = target.uri.path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = path.parse().map_err(|_| "this is not a URL")?;
        let host = target.uri.authority().map_or("", |authority| authority.as_str());
        let host = host.parse().map_err(|_| "the host has no valid name")?;
        request.headers_mut().insert(HOST, host);
        let stream = self.connect(&target).await?;
        if !target.is_tls {
            return exchange_on(stream, request, most).await;
        }
        let stream = self.tls.connect(target.host.clone(), stream).await?;
        exchange_on(stream, request, most).await
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

/// What requests call this service.
pub const USER_AGENT_TEXT: &str = concat!("Rollcall/", env!("CARGO_PKG_VERSION"));

async fn exchange_on<S>(
    stream: S,
    request: Request<Full<Bytes>>,
    most: Option<usize>,
) -> Result<Response<Bytes>, String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let handshake = http1::Builder::new().max_headers(MAX_ANSWER_HEADERS).handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(broken)?;
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(async {
        let answer = sender.send_request(request).await.map_err(broken)?;
        match most {
            Some(most) => read_body(answer, most).await,
            None => Ok(answer.map(|_| Bytes::new())),
        }
    });
    // The connection ends with this function.
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        ended = &mut connection => match ended {
            Ok(()) => answer.await,
            Err(failed) => Err(broken(failed)),
        },
    }
}

fn broken(failed: hyper::Error) -> String {
    format!("no answer: {failed}")
}

async fn read_body(answer: Response<Incoming>, most: usize) -> Result<Response<Bytes>, String> {
    let (parts, mut body) = answer.into_parts();
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(broken)?.into_data() {
            if read.len() + data.len() > most {
                return Err(format!("the answer has more than {most} bytes"));
            }
            read.extend_from_slice(&data);
        }
    }
    Ok(Response::from_parts(parts, read.freeze()))
}
