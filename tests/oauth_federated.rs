//! The token endpoint with assertions of an issuer: which are taken, which are refused, and how its keys rotate.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rollcall::auth::client::{ClientRecord, Federation};
use rollcall::auth::record::Scope;
use rollcall::clock::with_seconds_ahead;
use rollcall::limits::{JWKS_FAILURE_PAUSE_SECONDS, JWKS_PAUSE_SECONDS, JWKS_REFRESH_SECONDS};
use rollcall::oauth::function::TokenFunction;
use rollcall::outbound::target::TargetRule;
use rollcall::store::call::Table;
use rollcall::tenants::actor::Actor;
use rollcall::tenants::client::{NewClient, NewProof, create};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::oauth_support::{
    Issuer, Reply, Service, Signer, answer, assertion_request, client, federated, form, more_requests,
};
use crate::support::faults::{Call, Fate, Proxy};

const DIRECTORY: &str = "3b2c1d0e-0000-4000-8000-00000000acde";

fn now() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}

/// A client whose assertions an issuer of this machine signs.
struct Scene {
    service: Service,
    function: TokenFunction,
    issuer: Issuer,
    record: ClientRecord,
}

fn federation(issuer: &Issuer) -> Federation {
    Federation {
        issuer: Federation::entra_urls(DIRECTORY).0,
        subject: "9f1e2d3c-0000-4000-8000-00000000beef".to_owned(),
        audience: "api://rollcall".to_owned(),
        jwks_url: issuer.jwks_url.clone(),
        directory: Some(DIRECTORY.to_owned()),
    }
}

impl Scene {
    async fn new(signers: &[&Signer]) -> Self {
        let (service, issuer) = (Service::start().await, Issuer::start(signers).await);
        let record = federated(&service.table, "acme", federation(&issuer)).await;
        let function = function(&service);
        Self { service, function, issuer, record }
    }

    async fn ask(&self, assertion: &str) -> Reply {
        answer(&self.function, assertion_request(&self.record.id, assertion)).await
    }

    async fn ask_later(&self, seconds: u64, assertion: &str) -> Reply {
        with_seconds_ahead(i64::try_from(seconds).unwrap(), self.ask(assertion)).await
    }
}

fn function(service: &Service) -> TokenFunction {
    TokenFunction::new(service.table.fresh(), None, TargetRule::PublicOrLoopback).unwrap()
}

/// The claims that Entra ID sends. Each assertion is a new one (`uti`).
fn claims() -> Value {
    json!({
        "uti": uuid::Uuid::now_v7().to_string(),
        "iss": Federation::entra_urls(DIRECTORY).0, "sub": "9f1e2d3c-0000-4000-8000-00000000beef",
        "aud": "api://rollcall", "tid": DIRECTORY, "oid": "9f1e2d3c-0000-4000-8000-00000000beef",
        "appid": "0000000a-0000-4000-8000-000000000001", "idp": Federation::entra_urls(DIRECTORY).0,
        "iat": now(), "nbf": now(), "exp": now() + 3_900, "ver": "2.0",
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

#[tokio::test]
async fn assertions_of_the_issuer_give_tokens() {
    let (rsa, ec) = (Signer::rsa("rsa"), Signer::ec("ec"));
    let scene = Scene::new(&[&rsa, &ec]).await;
    let ps256 = rsa.jwt_with(&json!({ "alg": "PS256", "kid": "rsa" }), &claims().to_string());
    for assertion in [
        rsa.jwt(&claims()),
        ps256,
        ec.jwt(&claims()),
        // Within the tolerance, and in the other forms of numbers and audiences.
        rsa.jwt(&with("exp", json!(now() - 50))),
        rsa.jwt(&with("nbf", json!(now() + 50))),
        rsa.jwt(&with("iat", json!(now() + 50))),
        rsa.jwt(&with("exp", json!(now() as f64 + 600.5))),
        rsa.jwt(&with("aud", json!(["api://rollcall"]))),
        rsa.jwt(&without("nbf")),
        rsa.jwt(&without("iat")),
    ] {
        let token = scene.ask(&assertion).await.token();
        assert_eq!(scene.service.status_with(&token).await, 200);
    }
    assert_eq!(scene.issuer.fetches(), 1);
    // Without an id, an assertion can be used until it ends. An empty id is none.
    for claims in [with("about", json!("no id")), with("jti", json!(""))] {
        let plain = ec.jwt(&claims);
        scene.ask(&plain).await.token();
        scene.ask(&plain).await.token();
        scene.ask_later(4_000, &plain).await.refused("when it is over", 401, "invalid_client");
    }
    // One with an id can be used once.
    let once = rsa.jwt(&with("jti", json!("1")));
    scene.ask(&once).await.token();
    scene.ask(&once).await.refused("a replay", 401, "invalid_client");
    let resigned = ec.jwt(&with("jti", json!("1")));
    scene.ask(&resigned).await.refused("the same id, signed again", 401, "invalid_client");
    scene.ask(&rsa.jwt(&with("jti", json!("2")))).await.token();
    // The id of another client is another id, and so is one that is over.
    let other = federated(&scene.service.table, "globex", federation(&scene.issuer)).await;
    answer(&scene.function, assertion_request(&other.id, &once)).await.token();
    let late = rsa.jwt(&json!({ "jti": "1", "exp": now() + 9_000, "iss": claims()["iss"], "sub": claims()["sub"], "aud": claims()["aud"], "tid": DIRECTORY }));
    scene.ask_later(4_000, &late).await.token();
}

/// What a hostile assertion is, and the assertion.
type Hostile = (&'static str, String);

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// Good claims under a header that the key's algorithm does not fit, or whose key is not the issuer's.
fn hostile_headers(rsa: &Signer) -> Vec<Hostile> {
    let stranger = Signer::rsa("rsa");
    let headed = |header: Value| rsa.jwt_with(&header, &claims().to_string());
    let strange = |header: Value| stranger.jwt_with(&header, &claims().to_string());
    vec![
        ("RS384", headed(json!({ "alg": "RS384", "kid": "rsa" }))),
        ("RS512", headed(json!({ "alg": "RS512", "kid": "rsa" }))),
        ("ES256 with an RSA key", headed(json!({ "alg": "ES256", "kid": "rsa" }))),
        ("RS256 with a curve's key", headed(json!({ "alg": "RS256", "kid": "ec" }))),
        ("no alg", headed(json!({ "kid": "rsa" }))),
        ("no kid", headed(json!({ "alg": "RS256" }))),
        ("an unknown kid", headed(json!({ "alg": "RS256", "kid": "gone" }))),
        ("an empty kid", headed(json!({ "alg": "RS256", "kid": "" }))),
        ("a kid that is a path", headed(json!({ "alg": "RS256", "kid": "../../etc/passwd" }))),
        ("a kid that is a number", headed(json!({ "alg": "RS256", "kid": 1 }))),
        ("a critical header", headed(json!({ "alg": "RS256", "kid": "rsa", "crit": ["exp"] }))),
        (
            "an unencoded payload",
            headed(json!({ "alg": "RS256", "kid": "rsa", "b64": false, "crit": ["b64"] })),
        ),
        ("a key in the header", strange(json!({ "alg": "RS256", "kid": "x", "jwk": stranger.jwk() }))),
        (
            "a URL in the header",
            strange(json!({ "alg": "RS256", "kid": "x", "jku": "https://evil.example/keys" })),
        ),
        ("a stranger's key", stranger.jwt(&claims())),
    ]
}

/// A good assertion without its signature, with another one, or in another form.
fn hostile_signatures(rsa: &Signer) -> Vec<Hostile> {
    let good = rsa.jwt(&claims());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    let jwk = rsa.jwk();
    let modulus = jwk["n"].as_str().unwrap();
    let hmac = |key: &[u8]| {
        use hmac::{Hmac, KeyInit as _, Mac as _};
        let message = format!("{}.{payload}", part(&json!({ "alg": "HS256", "kid": "rsa" })));
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key).unwrap();
        mac.update(message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    };
    let of = |algorithm: &str| part(&json!({ "alg": algorithm, "kid": "rsa" }));
    let mut flipped = signature.to_owned().into_bytes();
    flipped[10] = if flipped[10] == b'A' { b'B' } else { b'A' };
    let flipped = format!("{message}.{}", String::from_utf8(flipped).unwrap());
    vec![
        ("alg none", format!("{}.{payload}.", of("none"))),
        ("alg None", format!("{}.{payload}.", of("None"))),
        ("alg none with a signature", format!("{}.{payload}.{signature}", of("none"))),
        ("PS256 on a signature of RS256", format!("{}.{payload}.{signature}", of("PS256"))),
        ("HS256 with the modulus", hmac(modulus.as_bytes())),
        ("HS256 with the key as JSON", hmac(jwk.to_string().as_bytes())),
        ("HS256 with the decoded modulus", hmac(&URL_SAFE_NO_PAD.decode(modulus).unwrap())),
        ("HS256 with nothing", hmac(b"")),
        ("a changed signature", flipped),
        ("no signature", format!("{message}.")),
        ("another payload", format!("{header}.{}.{signature}", part(&with("sub", json!("someone"))))),
        ("two parts", message.to_owned()),
        ("four parts", format!("{good}.x")),
        ("five parts", format!("{good}.x.y")),
        ("no JWT", "hello".to_owned()),
        ("dots", "..".to_owned()),
        ("blanks around", format!(" {good} ")),
        ("padding", format!("{message}.{signature}==")),
        ("base64 with a plus", format!("{header}.{payload}+.{signature}")),
    ]
}

/// Signed by the issuer, with names that are not those of the client.
fn hostile_names(rsa: &Signer, client: &str) -> Vec<Hostile> {
    let issuer = claims()["iss"].as_str().unwrap().to_owned();
    let other_directory = "3b2c1d0e-0000-4000-8000-00000000ffff";
    let claim = |name: &str, value: Value| rsa.jwt(&with(name, value));
    vec![
        ("another directory", claim("tid", json!(other_directory))),
        ("no directory", rsa.jwt(&without("tid"))),
        ("the issuer of another directory", claim("iss", json!(Federation::entra_urls(other_directory).0))),
        ("the issuer without its version", claim("iss", json!(issuer.trim_end_matches("/v2.0")))),
        ("the issuer with a slash", claim("iss", json!(format!("{issuer}/")))),
        ("the issuer in capitals", claim("iss", json!(issuer.to_uppercase()))),
        ("no issuer", rsa.jwt(&without("iss"))),
        ("a list of issuers", claim("iss", json!([issuer]))),
        ("another audience", claim("aud", json!("api://other"))),
        ("the audience with a suffix", claim("aud", json!("api://rollcall/.default"))),
        ("several audiences", claim("aud", json!(["api://rollcall", "api://other"]))),
        ("no audiences", claim("aud", json!([]))),
        ("no audience", rsa.jwt(&without("aud"))),
        ("an audience that is null", claim("aud", Value::Null)),
        ("another subject", claim("sub", json!("someone"))),
        ("the client as subject", claim("sub", json!(client))),
        ("no subject", rsa.jwt(&without("sub"))),
    ]
}

/// Signed by the issuer, at another time, or with claims that are none.
fn hostile_claims(rsa: &Signer) -> Vec<Hostile> {
    let raw = |text: &str| rsa.jwt_with(&json!({ "alg": "RS256", "kid": "rsa" }), text);
    let claim = |name: &str, value: Value| rsa.jwt(&with(name, value));
    let mut beyond = claims();
    beyond["exp"] = json!(1e300);
    vec![
        ("expired", claim("exp", json!(now() - 61))),
        ("expired long ago", claim("exp", json!(0))),
        ("a negative end", claim("exp", json!(-1))),
        ("no end", rsa.jwt(&without("exp"))),
        ("an end that is a text", claim("exp", json!((now() + 600).to_string()))),
        ("an end that is null", claim("exp", Value::Null)),
        ("an end beyond all time", raw(&beyond.to_string())),
        ("a long life", claim("exp", json!(now() + 2 * 86_400))),
        ("from the future", claim("iat", json!(now() + 120))),
        ("not yet", claim("nbf", json!(now() + 120))),
        ("a start that is a text", claim("nbf", json!("soon"))),
        ("an id that is a number", claim("jti", json!(7))),
        ("a long id", claim("jti", json!("x".repeat(1_025)))),
        ("oversized", claim("x", json!("x".repeat(8_000)))),
        ("not JSON", raw("hello")),
        ("an array", raw("[]")),
        ("nothing", raw("")),
        ("two subjects", raw(&claims().to_string().replacen('{', "{\"sub\":\"someone\",", 1))),
    ]
}

#[tokio::test]
async fn hostile_assertions_get_no_token() {
    let (rsa, ec) = (Signer::rsa("rsa"), Signer::ec("ec"));
    let scene = Scene::new(&[&rsa, &ec]).await;
    let rows = [
        hostile_headers(&rsa),
        hostile_signatures(&rsa),
        hostile_names(&rsa, &scene.record.id),
        hostile_claims(&rsa),
    ];
    let rows = rows.concat();
    assert!(rows.len() >= 60, "{}", rows.len());
    for (what, assertion) in rows {
        scene.ask(&assertion).await.refused(what, 401, "invalid_client");
    }
    // Whatever they name, the keys were read once.
    assert_eq!(scene.issuer.fetches(), 1);
    scene.ask(&rsa.jwt(&claims())).await.token();
}

#[tokio::test]
async fn an_assertion_is_for_one_client_of_one_tenant() {
    let rsa = Signer::rsa("rsa");
    let scene = Scene::new(&[&rsa]).await;
    let table = &scene.service.table;
    let mut other = federation(&scene.issuer);
    other.subject = "someone".to_owned();
    let globex = federated(table, "globex", other).await;
    let (secret_client, secret) = client(table, "acme", Scope::Provision).await;
    let good = rsa.jwt(&claims());
    for (what, id) in [
        ("the other tenant's client", globex.id.as_str()),
        ("a client with a secret", &secret_client.id),
        ("an unknown client", "client_000000000000"),
    ] {
        let asked = answer(&scene.function, assertion_request(id, &good)).await;
        asked.refused(what, 401, "invalid_client");
    }
    let asked = scene.service.ask_with_secret(&scene.record.id, &secret).await;
    asked.refused("a secret of a federated client", 401, "invalid_client");
    let jwt = ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    let grant = ("grant_type", "client_credentials");
    let nobody = scene.service.ask(&[grant, jwt, ("client_assertion", &good)]).await;
    nobody.refused("no client", 400, "invalid_request");
    // The gateway passes an assertion on, too.
    let whole = [grant, ("client_id", &scene.record.id), jwt, ("client_assertion", &good), ("scope", "scim")];
    let token = scene.service.ask(&whole).await.token();
    assert!(token.starts_with("rct_acme_"));
    assert!(form(&whole).len() < 4_096);
}

#[tokio::test]
async fn keys_rotate_and_outlive_an_outage() {
    let (old, new, last) = (Signer::rsa("old"), Signer::ec("new"), Signer::ec("last"));
    let scene = Scene::new(&[&old]).await;
    scene.ask(&old.jwt(&claims())).await.token();
    // A new key is looked for, at most once a minute.
    scene.issuer.publish(&[&old, &new]);
    let unknown = scene.ask(&new.jwt(&claims())).await;
    unknown.refused("within the pause", 401, "invalid_client");
    assert_eq!(scene.issuer.fetches(), 1);
    for _ in 0..3 {
        scene.ask_later(JWKS_PAUSE_SECONDS + 1, &new.jwt(&claims())).await.token();
    }
    assert_eq!(scene.issuer.fetches(), 2);
    scene.ask(&old.jwt(&claims())).await.token();
    // While the issuer is down, the keys that are known go on working, and others are asked for later.
    scene.issuer.set_down(true);
    let later = 2 * JWKS_PAUSE_SECONDS + 2;
    for _ in 0..3 {
        let down = scene.ask_later(later, &last.jwt(&claims())).await;
        down.refused("down", 503, "temporarily_unavailable");
        assert_eq!(down.headers["retry-after"], "30");
        scene.ask_later(later, &old.jwt(&claims())).await.token();
    }
    assert_eq!(scene.issuer.fetches(), 3);
    let stale = JWKS_REFRESH_SECONDS + 200;
    let lasting = || with("exp", json!(now() + 9_000));
    for signer in [&old, &new] {
        scene.ask_later(stale, &signer.jwt(&lasting())).await.token();
    }
    assert_eq!(scene.issuer.fetches(), 4);
    // A key that the issuer has withdrawn is forgotten.
    scene.issuer.set_down(false);
    scene.issuer.publish(&[&new, &last]);
    let after = stale + JWKS_PAUSE_SECONDS + 1;
    scene.ask_later(after, &new.jwt(&lasting())).await.token();
    scene.ask_later(after, &last.jwt(&lasting())).await.token();
    scene.ask_later(after, &old.jwt(&lasting())).await.refused("withdrawn", 401, "invalid_client");
}

#[tokio::test]
async fn only_an_issuer_that_is_down_is_no_fault_of_the_service() {
    let rsa = Signer::rsa("rsa");
    let scene = Scene::new(&[&rsa]).await;
    let request = || assertion_request(&scene.record.id, &rsa.jwt(&claims()));
    scene.issuer.set_down(true);
    let (_, line) = scene.function.answer_with_line(request()).await;
    let source = Some("assertion: issuer_down");
    assert_eq!((line.status, line.is_excused, line.source.as_deref()), (503, true, source));
    scene.issuer.set_down(false);
    let proxy = Proxy::before(&scene.service.endpoint).await;
    let table = Table::new(crate::support::client(&proxy.endpoint), crate::support::TABLE);
    let function = TokenFunction::new(table, None, TargetRule::PublicOrLoopback).unwrap();
    proxy.decide(|_: &Call| Fate::Denied);
    let (_, line) = function.answer_with_line(request()).await;
    assert!(line.status >= 500 && !line.is_excused, "{line:?}");
    proxy.decide(|_: &Call| Fate::Pass);
    let (_, line) = function.answer_with_line(request()).await;
    assert_eq!((line.status, line.is_excused), (200, false));
}

/// An issuer that publishes no key is as one that is down.
#[tokio::test]
async fn an_issuer_without_keys_has_withdrawn_them_and_is_asked_again_soon() {
    let (known, other) = (Signer::rsa("known"), Signer::ec("other"));
    let scene = Scene::new(&[&known]).await;
    scene.ask(&known.jwt(&claims())).await.token();
    scene.issuer.publish(&[]);
    let mut later = JWKS_PAUSE_SECONDS + 1;
    for signer in [&other, &known] {
        let asked = scene.ask_later(later, &signer.jwt(&claims())).await;
        asked.refused("an issuer without keys", 503, "temporarily_unavailable");
    }
    assert_eq!(scene.issuer.fetches(), 2, "there is a pause");
    scene.issuer.publish(&[&known]);
    later += JWKS_FAILURE_PAUSE_SECONDS;
    scene.ask_later(later, &known.jwt(&claims())).await.token();
    assert_eq!(scene.issuer.fetches(), 3);
}

#[tokio::test]
async fn keys_are_read_from_allowed_places_only() {
    let rsa = Signer::rsa("rsa");
    let scene = Scene::new(&[&rsa]).await;
    let table = &scene.service.table;
    for end in ["/moved", "/large", "/none"] {
        let mut federation = federation(&scene.issuer);
        federation.jwks_url = federation.jwks_url.replace("/keys", end);
        let record = federated(table, "acme", federation).await;
        let asked =
            answer(&function(&scene.service), assertion_request(&record.id, &rsa.jwt(&claims()))).await;
        asked.refused(end, 503, "temporarily_unavailable");
    }
    assert_eq!(scene.issuer.fetches(), 0);
    // A deployed function reads no address of its own network, and nothing without TLS.
    let deployed = TokenFunction::new(table.fresh(), None, TargetRule::Public).unwrap();
    let asked = answer(&deployed, assertion_request(&scene.record.id, &rsa.jwt(&claims()))).await;
    asked.refused("a private address", 503, "temporarily_unavailable");
    assert_eq!(scene.issuer.fetches(), 0);
    for url in [
        "http://login.example/keys",
        "https://127.0.0.1/keys",
        "https://169.254.169.254/",
        "https://user@a.example/",
        "keys",
    ] {
        let federation = Federation { jwks_url: url.to_owned(), ..federation(&scene.issuer) };
        let proof = NewProof::Federated(federation, TargetRule::Public);
        let new = NewClient {
            tenant: "acme".parse().unwrap(),
            name: "x".to_owned(),
            scope: Scope::Read,
            token_hours: 1,
            proof,
        };
        assert!(create(table, &Actor::operator(), new, OffsetDateTime::now_utc()).await.is_err(), "{url}");
    }
}

/// Clients send assertions while the issuer rotates its keys, as an issuer does: a key is published before it signs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_keys_of_an_issuer_rotate_under_load_without_a_refused_request() {
    let signers: Vec<Arc<Signer>> = (0..4).map(|at| Arc::new(Signer::ec(&format!("k{at}")))).collect();
    let scene = Arc::new(Scene::new(&[&signers[0]]).await);
    let current = Arc::new(std::sync::Mutex::new((0_usize, 0_u64)));
    let is_over = Arc::new(AtomicBool::new(false));
    let requests = Arc::new(AtomicUsize::new(0));
    let users = (0..4).map(|_| {
        let (scene, current, is_over) = (scene.clone(), current.clone(), is_over.clone());
        let (signers, requests) = (signers.clone(), requests.clone());
        tokio::spawn(async move {
            while !is_over.load(Ordering::SeqCst) {
                let (at, seconds) = *current.lock().unwrap();
                let claims = with("jti", json!(uuid::Uuid::now_v7().to_string()));
                let token = scene.ask_later(seconds, &signers[at].jwt(&claims)).await.token();
                assert_eq!(scene.service.status_with(&token).await, 200);
                requests.fetch_add(1, Ordering::SeqCst);
            }
        })
    });
    let users: Vec<_> = users.collect();
    for at in 1..4 {
        scene.issuer.publish(&[&signers[at - 1], &signers[at]]);
        more_requests(&requests).await;
        // Two minutes later the issuer signs with the new key. It is down for a while before.
        scene.issuer.set_down(true);
        more_requests(&requests).await;
        scene.issuer.set_down(false);
        *current.lock().unwrap() = (at, at as u64 * 120);
        more_requests(&requests).await;
    }
    is_over.store(true, Ordering::SeqCst);
    for user in users {
        user.await.unwrap();
    }
    assert!(scene.issuer.fetches() <= 5, "{}", scene.issuer.fetches());
}
