//! The token endpoint and SCIM behind one gateway, and issuers of assertions.
#![allow(dead_code, clippy::expect_used, clippy::unwrap_used)]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
};
use axum::Router;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use lambda_http::{Body, Request, RequestExt as _};
use rollcall::admin::tenant::{self, NewTenant};
use rollcall::auth::client::{ClientRecord, Federation};
use rollcall::auth::record::Scope;
use rollcall::dev::backend::{Backend, Connection};
use rollcall::dev::gateway::lambda::Clock;
use rollcall::dev::gateway::rest_api::Gateway;
use rollcall::dev::template::facts::ApiFacts;
use rollcall::dev::template::read::{TEMPLATE, TemplateFacts};
use rollcall::dev::wiring::connect;
use rollcall::oauth::function::TokenFunction;
use rollcall::outbound::target::TargetRule;
use rollcall::scim::policy::STANDARD as STANDARD_POLICY;
use rollcall::store::call::Table;
use rollcall::store::keys::TenantId;
use rollcall::tenants::actor::Actor;
use rollcall::tenants::client::{NewClient, NewProof, create};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::net::TcpListener;

use crate::support;

/// The media type of a token request.
pub const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// A deployment with two tenants.
pub struct Service {
    gateway: Gateway,
    oauth: Gateway,
    pub table: Table,
    pub endpoint: String,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Value,
}

impl Reply {
    /// Asserts an access token; its text.
    #[track_caller]
    pub fn token(&self) -> String {
        assert_eq!(self.status, 200, "{}", self.body);
        self.is_of_the_token_endpoint();
        assert_eq!(self.body["token_type"], "Bearer");
        self.body["access_token"].as_str().expect("a token").to_owned()
    }

    /// Asserts a refusal of the form of RFC 6749 §5.2.
    #[track_caller]
    pub fn refused(&self, what: &str, status: u16, error: &str) {
        assert_eq!(self.status, status, "{what}: {}", self.body);
        assert_eq!(self.body["error"], error, "{what}: {}", self.body);
        self.has_the_form_of_a_refusal(what);
        // API Gateway renames the header, and so does the local gateway.
        let challenge = self.headers.get("x-amzn-remapped-www-authenticate");
        let challenge = challenge.or_else(|| self.headers.get("www-authenticate"));
        let challenge = challenge.and_then(|value| value.to_str().ok()).map(str::to_owned);
        assert_eq!(challenge, (status == 401).then(|| "Basic realm=\"token\"".to_owned()), "{what}");
    }

    /// Asserts headers and body of RFC 6749 §5.2.
    #[track_caller]
    pub fn has_the_form_of_a_refusal(&self, what: &str) {
        self.is_of_the_token_endpoint();
        let is_allowed = |c: char| matches!(c, ' '..='!' | '#'..='[' | ']'..='~');
        for member in ["error", "error_description"] {
            let text = self.body[member].as_str().unwrap_or_default();
            assert!(!text.is_empty() && text.chars().all(is_allowed), "{what}: {}", self.body);
        }
        assert_eq!(self.body.as_object().expect("an object").len(), 2, "{what}");
    }

    #[track_caller]
    fn is_of_the_token_endpoint(&self) {
        for (name, value) in
            [("content-type", "application/json"), ("cache-control", "no-store"), ("pragma", "no-cache")]
        {
            assert_eq!(self.headers[name], value, "{}", self.body);
        }
    }
}

impl Service {
    pub async fn start() -> Self {
        let embedded = support::serve().await;
        for name in ["acme", "globex"] {
            let new = NewTenant::new(&name.parse().unwrap(), &STANDARD_POLICY, &"u".repeat(40));
            tenant::create(&embedded.table, &new, OffsetDateTime::now_utc()).await.expect("a tenant");
        }
        Self::over(&embedded.endpoint, embedded.table, |_| {})
    }

    /// The functions over the table at `endpoint`. Nothing is limited, and the authorizer is asked each time. `adapt` may
    /// change the API of the token endpoint.
    pub fn over(endpoint: &str, table: Table, adapt: impl FnOnce(&mut ApiFacts)) -> Self {
        let TemplateFacts { mut api, mut oauth_api, environment, .. } =
            TemplateFacts::parse(TEMPLATE).expect("the template");
        (api.usage_plan, api.high_usage_plan, api.stage) = (None, None, None);
        api.authorizer.as_mut().expect("an authorizer").ttl = Duration::ZERO;
        api.methods.clear();
        oauth_api.stage = None;
        adapt(&mut oauth_api);
        let (client, name) = (support::client(endpoint), support::TABLE.to_owned());
        let connection = Connection {
            client,
            loader: None,
            table: name,
            environment,
            app_url: "http://app/app/v1".to_owned(),
        };
        let backend: Backend = connect(connection, &[]);
        let (gateway, oauth) =
            (backend.gateway(api, Clock::system()), backend.gateway(oauth_api, Clock::system()));
        Self { gateway, oauth, table, endpoint: endpoint.to_owned() }
    }

    /// Sends a request as it is.
    pub async fn send(&self, (method, path): (&str, &str), headers: &[(&str, &str)], body: &str) -> Reply {
        let mut request =
            http::Request::builder().method(method).uri(path).header("host", "scim.example.com");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let nobody: SocketAddr = ([127, 0, 0, 1], 1).into();
        let body = Ok(Bytes::from(body.to_owned()));
        let gateway = if self.oauth.serves(path) { &self.oauth } else { &self.gateway };
        let (parts, body) = gateway.answer(&parts, body, nobody, nobody).await.into_parts();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Reply { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// Sends a token request with these parameters.
    pub async fn ask(&self, parameters: &[(&str, &str)]) -> Reply {
        self.send(("POST", "/oauth2/token"), &[FORM], &form(parameters)).await
    }

    /// Asks for a token with a secret in the body.
    pub async fn ask_with_secret(&self, client: &str, secret: &str) -> Reply {
        let grant = ("grant_type", "client_credentials");
        self.ask(&[grant, ("client_id", client), ("client_secret", secret)]).await
    }

    /// The status of `GET /Users` with a token.
    pub async fn status_with(&self, token: &str) -> u16 {
        let header = format!("Bearer {token}");
        self.send(("GET", "/scim/v2/Users?count=1"), &[("authorization", header.as_str())], "").await.status
    }
}

/// Parameters as a form.
pub fn form(parameters: &[(&str, &str)]) -> String {
    let encode = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let pairs = parameters.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// The header `Authorization` of a client with a secret.
pub fn basic(client: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{client}:{secret}")))
}

fn new(tenant: &str, scope: Scope, proof: NewProof) -> NewClient {
    let tenant: TenantId = tenant.parse().unwrap();
    NewClient { tenant, name: "entra".to_owned(), scope, token_hours: 1, proof }
}

/// A client with a secret, and the secret.
pub async fn client(table: &Table, tenant: &str, scope: Scope) -> (ClientRecord, String) {
    let new = new(tenant, scope, NewProof::Secret(1));
    let (secret, record) = create(table, &Actor::operator(), new, OffsetDateTime::now_utc()).await.unwrap();
    (record, secret.unwrap().reveal().to_owned())
}

/// A federated client.
pub async fn federated(table: &Table, tenant: &str, federation: Federation) -> ClientRecord {
    let proof = NewProof::Federated(federation, TargetRule::PublicOrLoopback);
    let new = new(tenant, Scope::Provision, proof);
    create(table, &Actor::operator(), new, OffsetDateTime::now_utc()).await.unwrap().1
}

/// A request for a token with a secret, as the function gets it.
pub fn secret_request(client: &str, secret: &str) -> Request {
    token_request(form(&[
        ("grant_type", "client_credentials"),
        ("client_id", client),
        ("client_secret", secret),
    ]))
}

/// A token request, as the function gets it.
pub fn token_request(body: String) -> Request {
    let request = http::Request::post("/oauth2/token").header(FORM.0, FORM.1);
    request.body(Body::Text(body)).expect("a request").with_raw_http_path("/oauth2/token")
}

/// A request for a token with an assertion, as the function gets it.
pub fn assertion_request(client: &str, assertion: &str) -> Request {
    token_request(form(&[
        ("grant_type", "client_credentials"),
        ("client_id", client),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", assertion),
        ("baseAddress", "https://scim.example.com/scim/v2"),
    ]))
}

/// Gives a function a request.
pub async fn answer(function: &TokenFunction, request: Request) -> Reply {
    let (response, _) = function.answer_with_line(request).await;
    let (parts, body) = response.into_parts();
    let body = serde_json::from_slice(body.as_ref()).unwrap_or(Value::Null);
    Reply { status: parts.status.as_u16(), headers: parts.headers, body }
}

/// Waits until eight more requests were answered.
pub async fn more_requests(requests: &AtomicUsize) {
    let goal = requests.load(Ordering::SeqCst) + 8;
    for _ in 0..6_000 {
        if requests.load(Ordering::SeqCst) >= goal {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    unreachable!("a request was refused, or none is answered");
}

/// A key that signs assertions.
pub struct Signer {
    pub kid: String,
    pair: SigningPair,
}

enum SigningPair {
    Rsa(Box<RsaKeyPair>),
    Ec(Box<EcdsaKeyPair>),
}

impl Signer {
    pub fn rsa(kid: &str) -> Self {
        let pair = SigningPair::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key")));
        Self { kid: kid.to_owned(), pair }
    }

    pub fn ec(kid: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        Self { kid: kid.to_owned(), pair: SigningPair::Ec(Box::new(pair)) }
    }

    /// The public key as the issuer publishes it.
    pub fn jwk(&self) -> Value {
        match &self.pair {
            SigningPair::Rsa(pair) => {
                let (n, e) = (pair.public_key().modulus(), pair.public_key().exponent());
                let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
                json!({
                    "kty": "RSA", "use": "sig", "kid": self.kid,
                    "n": text(n.big_endian_without_leading_zero()), "e": text(e.big_endian_without_leading_zero()),
                })
            }
            SigningPair::Ec(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({
                    "kty": "EC", "crv": "P-256", "kid": self.kid,
                    "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
                })
            }
        }
    }

    fn algorithm(&self) -> &'static str {
        match self.pair {
            SigningPair::Rsa(_) => "RS256",
            SigningPair::Ec(_) => "ES256",
        }
    }

    /// Signs a text by the algorithm that the header names.
    fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            SigningPair::Rsa(pair) => {
                let encoding: &'static dyn aws_lc_rs::signature::RsaEncoding =
                    if algorithm == "PS256" { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, message, &mut signature).expect("a signature");
                signature
            }
            SigningPair::Ec(pair) => pair.sign(&random, message).expect("a signature").as_ref().to_vec(),
        }
    }

    /// A JWT of these claims.
    pub fn jwt(&self, claims: &Value) -> String {
        self.jwt_with(&json!({ "typ": "JWT", "alg": self.algorithm(), "kid": self.kid }), &claims.to_string())
    }

    /// A JWT with this header. Its signature is of the algorithm that the header names, or of the key's own.
    pub fn jwt_with(&self, header: &Value, claims: &str) -> String {
        let message =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims));
        let algorithm = header["alg"].as_str().unwrap_or_default();
        let signature = self.sign(algorithm, message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// An issuer: it publishes keys at a URL of this machine.
#[derive(Clone)]
pub struct Issuer {
    pub jwks_url: String,
    keys: Arc<Mutex<Value>>,
    is_down: Arc<AtomicBool>,
    fetches: Arc<AtomicUsize>,
}

impl Issuer {
    pub async fn start(signers: &[&Signer]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let jwks_url = format!("http://{}/keys", listener.local_addr().expect("an address"));
        let issuer =
            Self { jwks_url, keys: Arc::default(), is_down: Arc::default(), fetches: Arc::default() };
        issuer.publish(signers);
        let own = issuer.clone();
        let answer = move || {
            let own = own.clone();
            async move {
                own.fetches.fetch_add(1, Ordering::SeqCst);
                match own.is_down.load(Ordering::SeqCst) {
                    true => (http::StatusCode::SERVICE_UNAVAILABLE, String::new()),
                    false => (http::StatusCode::OK, own.keys.lock().unwrap().to_string()),
                }
            }
        };
        let moved = axum::response::Redirect::temporary(&issuer.jwks_url);
        let router = Router::new()
            .route("/keys", get(answer))
            .route("/moved", get(move || async move { moved.clone() }))
            .route("/large", get(|| async { "x".repeat(300_000) }));
        tokio::spawn(async move { axum::serve(listener, router).await });
        issuer
    }

    pub fn publish(&self, signers: &[&Signer]) {
        let keys: Vec<Value> = signers.iter().map(|signer| signer.jwk()).collect();
        *self.keys.lock().unwrap() = json!({ "keys": keys });
    }

    pub fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::SeqCst);
    }

    pub fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}
