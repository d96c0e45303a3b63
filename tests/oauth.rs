//! The token endpoint with secrets: what it answers, what its tokens open, and when that ends.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::{HeaderName, HeaderValue};
use lambda_http::{Body, RequestExt as _};
use rollcall::auth::access_token::{AccessToken, TokenRecord};
use rollcall::auth::authorizer::{Decision, Reason, authorize};
use rollcall::auth::client::{ClientProof, ClientRecord};
use rollcall::auth::record::Scope;
use rollcall::dev::template::facts::Throttle;
use rollcall::dev::template::gateway_response::Piece;
use rollcall::dev::template::read::{TEMPLATE, TemplateFacts};
use rollcall::limits::MAX_TOKEN_BODY_BYTES;
use rollcall::oauth::function::TokenFunction;
use rollcall::outbound::target::TargetRule;
use rollcall::store::feed::reader::{ChangeQuery, FeedReader};
use rollcall::store::item::get_number;
use rollcall::store::keys::{self, TenantId};
use rollcall::tenants::actor::Actor;
use rollcall::tenants::client::{list, revoke, revoke_secret, rotate};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::oauth_support::{FORM, Reply, Service, answer, basic, client, form, more_requests, token_request};
use crate::support;

const GRANT: (&str, &str) = ("grant_type", "client_credentials");

fn acme() -> TenantId {
    "acme".parse().unwrap()
}

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

#[tokio::test]
async fn a_secret_gives_a_token_that_opens_its_tenant() {
    let service = Service::start().await;
    let (record, secret) = client(&service.table, "acme", Scope::Provision).await;
    // As Entra ID sends it, with the secret in the body.
    let sent = service.ask_with_secret(&record.id, &secret).await;
    let token = sent.token();
    assert_eq!((&sent.body["expires_in"], &sent.body["scope"]), (&json!(3600), &json!("scim")));
    assert!(token.starts_with("rct_acme_"));
    // As RFC 6749 §2.3.1 wants it, and with what is to be ignored.
    let header = basic(&record.id, &secret);
    let body =
        form(&[GRANT, ("client_id", &record.id), ("baseAddress", "https://x"), ("scope", "scim.readwrite")]);
    let headers =
        [("content-type", "application/x-www-form-urlencoded; charset=UTF-8"), ("authorization", &header)];
    let by_header = service.send(("POST", "/oauth2/token?client_id=other"), &headers, &body).await;
    assert_ne!(by_header.token(), token);
    assert_eq!(by_header.body["scope"], "scim.readwrite");

    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/scim+json")];
    let body = support::client::user("ann").to_string();
    let made = service.send(("POST", "/scim/v2/Users"), &headers, &body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let found = service
        .send(("GET", "/scim/v2/Users?filter=userName%20eq%20%22ann@example.com%22"), &headers, "")
        .await;
    assert_eq!(found.body["totalResults"], 1);
    // The change names the client, and the list tells the day of its last use.
    support::feed::sequence(&service.table).await;
    let reader = FeedReader::open(&service.table).await.unwrap();
    let query = ChangeQuery { limit: 100, tenant: Some("acme") };
    let changes = reader.read(&reader.oldest(), query).await.unwrap().unwrap().changes;
    let change = changes.iter().find(|change| change.resource_id == made.body["id"]).unwrap();
    assert_eq!((change.event_type.as_str(), change.actor.as_str()), ("user.created", record.id.as_str()));
    let listed = list(&service.table, &acme()).await.unwrap();
    assert_eq!(listed[0].last_used.as_deref(), Some(&rollcall::clock::timestamp()[..10]));
    // The table deletes the token after its end, and has no text of it.
    let hash = AccessToken::parse(&token).unwrap().sha256();
    let item = service.table.get(&keys::oauth::access_token(hash.as_str())).await.unwrap().unwrap();
    let ttl: i64 = get_number(&item, "ttl").unwrap();
    assert!((ttl - now().unix_timestamp() - 3600).abs() < 60);
    assert!(!format!("{item:?}").contains(&token));
}

#[tokio::test]
async fn a_token_of_a_reader_only_reads() {
    let service = Service::start().await;
    let (reader, secret) = client(&service.table, "acme", Scope::Read).await;
    let (writer, other) = client(&service.table, "acme", Scope::Provision).await;
    let reading = [GRANT, ("client_id", &writer.id), ("client_secret", &other), ("scope", "scim.read")];
    let by_client = service.ask_with_secret(&reader.id, &secret).await;
    let by_scope = service.ask(&reading).await;
    for sent in [by_client, by_scope] {
        assert_eq!(sent.body["scope"], "scim.read");
        let bearer = format!("Bearer {}", sent.token());
        assert_eq!(service.status_with(&sent.token()).await, 200);
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/scim+json")];
        let refused = service.send(("POST", "/scim/v2/Users"), &headers, "{}").await;
        assert_eq!((refused.status, &refused.body["status"]), (403, &json!("403")));
    }
    let read_write =
        [GRANT, ("client_id", &reader.id), ("client_secret", &secret), ("scope", "scim.readwrite")];
    service.ask(&read_write).await.refused("more than the client may", 400, "invalid_scope");
}

/// A request that must be refused: what it is, its parameters, and what is answered.
type Hostile<'a> = (&'a str, Vec<(&'a str, &'a str)>, u16, &'a str);

#[tokio::test]
async fn hostile_requests_get_no_token() {
    let service = Service::start().await;
    let (record, secret) = client(&service.table, "acme", Scope::Provision).await;
    let (other, other_secret) = client(&service.table, "globex", Scope::Provision).await;
    let (revoked, revoked_secret) = client(&service.table, "acme", Scope::Provision).await;
    revoke(&service.table, &Actor::operator(), (&acme(), &revoked.id), now()).await.unwrap();
    let token = service.ask_with_secret(&record.id, &secret).await.token();
    let (id, own) = (("client_id", record.id.as_str()), ("client_secret", secret.as_str()));
    let unknown = "client_000000000000";
    let (cut, upper) = (&secret[..secret.len() - 1], secret.to_uppercase());
    let (request, invalid) = ("invalid_request", "invalid_client");
    let rows: Vec<Hostile<'_>> = vec![
        ("nothing", vec![], 400, request),
        ("no grant", vec![id, own], 400, request),
        ("an empty grant", vec![("grant_type", ""), id, own], 400, request),
        ("the password grant", vec![("grant_type", "password"), id, own], 400, "unsupported_grant_type"),
        ("a code", vec![("grant_type", "authorization_code"), id, own], 400, "unsupported_grant_type"),
        ("a refresh token", vec![("grant_type", "refresh_token"), id, own], 400, "unsupported_grant_type"),
        ("another case", vec![("grant_type", "Client_Credentials"), id, own], 400, "unsupported_grant_type"),
        ("no proof", vec![GRANT, id], 401, invalid),
        ("an empty secret", vec![GRANT, id, ("client_secret", "")], 401, invalid),
        ("no client", vec![GRANT, own], 400, request),
        ("an unknown client", vec![GRANT, ("client_id", unknown), own], 401, invalid),
        ("a client id of another form", vec![GRANT, ("client_id", "acme"), own], 401, invalid),
        ("a client id with a piece of a key", vec![GRANT, ("client_id", "client_a#b"), own], 401, invalid),
        ("a client id of a megabyte", vec![GRANT, ("client_id", "client_x%00"), own], 401, invalid),
        ("a cut secret", vec![GRANT, id, ("client_secret", cut)], 401, invalid),
        ("another case of the secret", vec![GRANT, id, ("client_secret", &upper)], 401, invalid),
        ("the other tenant's secret", vec![GRANT, id, ("client_secret", &other_secret)], 401, invalid),
        ("the other tenant's client", vec![GRANT, ("client_id", &other.id), own], 401, invalid),
        ("a token as secret", vec![GRANT, id, ("client_secret", &token)], 401, invalid),
        (
            "a revoked client",
            vec![GRANT, ("client_id", &revoked.id), ("client_secret", &revoked_secret)],
            401,
            invalid,
        ),
    ];
    for (what, parameters, status, error) in rows {
        service.ask(&parameters).await.refused(what, status, error);
    }
}

/// Parameters that are repeated, contradict one another, or are too many.
#[tokio::test]
async fn hostile_parameters_get_no_token() {
    let service = Service::start().await;
    let (record, secret) = client(&service.table, "acme", Scope::Provision).await;
    let (other, _) = client(&service.table, "globex", Scope::Provision).await;
    let (id, own) = (("client_id", record.id.as_str()), ("client_secret", secret.as_str()));
    let jwt = ("client_assertion", "a.b.c");
    let jwt_type = ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    let saml = ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer");
    let (request, invalid) = ("invalid_request", "invalid_client");
    let rows: Vec<Hostile<'_>> = vec![
        ("two grants", vec![GRANT, GRANT, id, own], 400, request),
        ("two clients", vec![GRANT, id, ("client_id", &other.id), own], 400, request),
        ("two secrets", vec![GRANT, id, own, own], 400, request),
        ("two unknown parameters", vec![GRANT, id, own, ("x", "1"), ("x", "2")], 400, request),
        ("an empty repetition", vec![GRANT, id, own, ("client_secret", "")], 400, request),
        ("a secret and an assertion", vec![GRANT, id, own, jwt_type, jwt], 400, request),
        ("an assertion of a client with a secret", vec![GRANT, id, jwt_type, jwt], 401, invalid),
        ("an assertion without a type", vec![GRANT, id, jwt], 400, request),
        ("a type without an assertion", vec![GRANT, id, jwt_type], 400, request),
        ("a type beside a secret", vec![GRANT, id, own, jwt_type], 400, request),
        ("a SAML assertion", vec![GRANT, id, saml, jwt], 400, request),
        ("an unknown scope", vec![GRANT, id, own, ("scope", "admin")], 400, "invalid_scope"),
        ("a scope in another case", vec![GRANT, id, own, ("scope", "SCIM")], 400, "invalid_scope"),
        ("a scope and an unknown one", vec![GRANT, id, own, ("scope", "scim admin")], 400, "invalid_scope"),
    ];
    for (what, parameters, status, error) in rows {
        service.ask(&parameters).await.refused(what, status, error);
    }
    let long = "x".repeat(20_000);
    service.ask(&[GRANT, id, own, ("x", &long)]).await.refused("a large body", 413, request);
}

#[tokio::test]
async fn hostile_headers_and_bodies_get_no_token() {
    let service = Service::start().await;
    let (record, secret) = client(&service.table, "acme", Scope::Provision).await;
    let good = form(&[GRANT, ("client_id", &record.id), ("client_secret", &secret)]);
    let path = ("POST", "/oauth2/token");
    let (request, invalid) = ("invalid_request", "invalid_client");
    let authorized = basic(&record.id, &secret);
    let grant = form(&[GRANT]);
    for (what, header, body, status, error) in [
        ("Basic and a secret", authorized.as_str(), good.clone(), 400, request),
        ("Basic of another client", &authorized, form(&[GRANT, ("client_id", "client_1")]), 400, request),
        ("Basic with a wrong secret", &basic(&record.id, "rcs_x"), grant.clone(), 401, invalid),
        ("Basic without a colon", &format!("Basic {}", "YWJj"), grant.clone(), 401, invalid),
        ("Basic that is not base64", "Basic ???", grant.clone(), 401, invalid),
        ("an empty Basic", "Basic ", grant.clone(), 401, invalid),
        ("a bearer key", "Bearer rc_acme_x", grant.clone(), 401, invalid),
        ("Digest", "Digest username=x", grant.clone(), 401, invalid),
        ("another client in Basic", &basic("client_000000000000", &secret), grant.clone(), 401, invalid),
    ] {
        let headers = [FORM, ("authorization", header)];
        service.send(path, &headers, &body).await.refused(what, status, error);
    }
    // API Gateway and lambda_http leave the last one of two headers. The function counts them.
    let function = TokenFunction::new(service.table.fresh(), None, TargetRule::Public).unwrap();
    let mut two = token_request(grant.clone());
    for header in [&authorized, &basic(&record.id, "rcs_x")] {
        two.headers_mut().append("authorization", header.parse().unwrap());
    }
    answer(&function, two).await.refused("two headers", 400, request);
    let json = json!({ "grant_type": "client_credentials" }).to_string();
    for (what, media_type, body) in [
        ("JSON", "application/json", json.as_str()),
        ("a form called JSON", "application/json", &good),
        ("multipart", "multipart/form-data; boundary=x", &good),
        ("no media type", "", &good),
        ("malformed percent", FORM.1, "grant_type=%zz"),
        ("not UTF-8", FORM.1, "grant_type=%ff"),
        ("too many parameters", FORM.1, &(0..40).map(|at| format!("p{at}=1")).collect::<Vec<_>>().join("&")),
    ] {
        service.send(path, &[("content-type", media_type)], body).await.refused(what, 400, request);
    }
    let in_query = format!("/oauth2/token?{good}");
    service.send(("POST", &in_query), &[FORM], "").await.refused("in the query", 400, request);
    for method in ["GET", "PUT", "DELETE", "PATCH"] {
        let refused = service.send((method, "/oauth2/token"), &[FORM], &good).await;
        refused.refused(method, 405, request);
        assert_eq!(refused.headers["allow"], "POST, OPTIONS");
    }
    assert_eq!(service.send(("OPTIONS", "/oauth2/token"), &[], "").await.status, 204);
    let large = format!("{good}&x={}", "x".repeat(MAX_TOKEN_BODY_BYTES));
    let refused = service.send(path, &[FORM], &large).await;
    refused.refused("a large body", 413, request);
    let description = refused.body["error_description"].as_str().unwrap();
    assert!(description.contains(&format!(" {MAX_TOKEN_BODY_BYTES} bytes")), "{description}");
}

/// It says nothing about the client, so the client is not called unknown.
#[tokio::test]
async fn a_header_that_cannot_be_read_is_told_what_to_send() {
    let service = Service::start().await;
    for header in ["Bearer x", "Basic ???", "Basic YWJj", "Digest username=x"] {
        let headers = [FORM, ("authorization", header)];
        let refused = service.send(("POST", "/oauth2/token"), &headers, &form(&[GRANT])).await;
        refused.refused(header, 401, "invalid_client");
        let description = refused.body["error_description"].as_str().unwrap();
        assert!(description.contains("send Basic"), "{header}: {description}");
        assert!(!description.contains("unknown"), "{header}: {description}");
    }
}

#[tokio::test]
async fn revoking_ends_tokens_and_expiring_ends_new_ones() {
    let service = Service::start().await;
    let by = Actor::operator();
    let (record, first) = client(&service.table, "acme", Scope::Provision).await;
    let tenant = acme();
    let which = (&tenant, record.id.as_str());
    let old = service.ask_with_secret(&record.id, &first).await.token();
    let rotated = rotate(&service.table, &by, which, Duration::hours(24), now()).await.unwrap();
    let second = rotated.text.reveal().to_owned();
    for secret in [&first, &second] {
        service.ask_with_secret(&record.id, secret).await.token();
    }
    // A revoked secret: its tokens end, those of the other do not.
    let new = service.ask_with_secret(&record.id, &second).await.token();
    let first_id = record.proof.secrets()[0].id.clone();
    assert!(revoke_secret(&service.table, &by, which, &first_id, now()).await.unwrap());
    assert!(!revoke_secret(&service.table, &by, which, &first_id, now()).await.unwrap());
    service.ask_with_secret(&record.id, &first).await.refused("revoked", 401, "invalid_client");
    assert_eq!((service.status_with(&old).await, service.status_with(&new).await), (401, 200));
    // An expired secret: no new token, and the old ones go on.
    let third = rotate(&service.table, &by, which, Duration::milliseconds(1), now()).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    service.ask_with_secret(&record.id, &second).await.refused("expired", 401, "invalid_client");
    assert_eq!(service.status_with(&new).await, 200);
    // Without an overlap the others are revoked.
    let fourth = rotate(&service.table, &by, which, Duration::ZERO, now()).await.unwrap();
    let third = service.ask_with_secret(&record.id, third.text.reveal()).await;
    third.refused("without an overlap", 401, "invalid_client");
    assert_eq!(service.status_with(&new).await, 401);
    assert_eq!(fourth.record.proof.secrets().len(), 1);
    let last = service.ask_with_secret(&record.id, fourth.text.reveal()).await.token();
    // The client.
    assert!(revoke(&service.table, &by, which, now()).await.unwrap());
    assert!(!revoke(&service.table, &by, which, now()).await.unwrap());
    assert_eq!(service.status_with(&last).await, 401);
    let ended = rotate(&service.table, &by, which, Duration::ZERO, now()).await;
    assert!(ended.is_err());
    support::feed::sequence(&service.table).await;
    let reader = FeedReader::open(&service.table).await.unwrap();
    let query = ChangeQuery { limit: 100, tenant: Some("acme") };
    let changes = reader.read(&reader.oldest(), query).await.unwrap().unwrap().changes;
    let own = changes.iter().filter(|change| change.resource_id == record.id);
    let own: Vec<_> = own.map(|change| (change.event_type.as_str(), change.version)).collect();
    let expected = [
        "client.created",
        "client.updated",
        "client.updated",
        "client.updated",
        "client.updated",
        "client.revoked",
    ];
    assert_eq!(own, expected.into_iter().zip(1..).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_authorizer_reads_the_client_of_a_token() {
    let service = Service::start().await;
    let (record, secret) = client(&service.table, "acme", Scope::Provision).await;
    let token = service.ask_with_secret(&record.id, &secret).await.token();
    let reason = async |token: &str, at| {
        let table = service.table.fresh();
        let decision = authorize(&table, &format!("Bearer {token}"), at).await.unwrap();
        let usage = table.usage();
        let reason = match decision {
            Decision::Allow(granted) => {
                assert_eq!((granted.key_id.as_str(), granted.tenant.as_str()), (record.id.as_str(), "acme"));
                assert!(granted.expires.is_some_and(|end| end > at), "the functions are told when it ends");
                None
            }
            Decision::Deny(reason, _) => Some(reason),
        };
        (reason, usage.calls, usage.rounds)
    };
    assert_eq!(reason(&token, now()).await, (None, 3, 2));
    let end = now() + Duration::hours(1);
    assert_eq!(reason(&token, end).await, (Some(Reason::Expired), 2, 1));
    let unknown = AccessToken::generate(&acme()).unwrap();
    assert_eq!(reason(unknown.reveal(), now()).await, (Some(Reason::Unknown), 2, 1));
    assert_eq!(reason("rct_acme_0", now()).await, (Some(Reason::Malformed), 0, 0));
    // What only a hand in the table can make.
    let put = async |tenant: &str, change: &dyn Fn(&mut TokenRecord)| {
        let token = AccessToken::generate(&tenant.parse().unwrap()).unwrap();
        let secret = Some(record.proof.secrets()[0].id.clone());
        let mut made = TokenRecord {
            hash: token.sha256(),
            tenant: acme(),
            client: record.id.clone(),
            secret,
            scope: Scope::Provision,
            expires: end,
        };
        change(&mut made);
        service.table.put(&keys::oauth::access_token(made.hash.as_str()), made.to_item()).await.unwrap();
        token.reveal().to_owned()
    };
    for (token, expected) in [
        (put("acme", &|_| {}).await, None),
        (put("globex", &|_| {}).await, Some(Reason::OtherTenant)),
        (put("globex", &|made| made.tenant = "globex".parse().unwrap()).await, Some(Reason::NoClient)),
        (put("acme", &|made| made.client = "client_1".to_owned()).await, Some(Reason::NoClient)),
        (put("acme", &|made| made.secret = Some("secret_1".to_owned())).await, Some(Reason::Revoked)),
        (put("acme", &|made| made.secret = None).await, Some(Reason::Revoked)),
    ] {
        assert_eq!(reason(&token, now()).await.0, expected);
    }
}

/// Clients ask for tokens and use them, while their secrets rotate. None is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_rotates_under_load_without_a_refused_request() {
    let service = Arc::new(Service::start().await);
    let (record, secret) = client(&service.table, "acme", Scope::Provision).await;
    let current = Arc::new(std::sync::Mutex::new(secret));
    let is_over = Arc::new(AtomicBool::new(false));
    let requests = Arc::new(AtomicUsize::new(0));
    let users = (0..4).map(|_| {
        let (service, current, is_over) = (service.clone(), current.clone(), is_over.clone());
        let (id, requests) = (record.id.clone(), requests.clone());
        tokio::spawn(async move {
            while !is_over.load(Ordering::SeqCst) {
                let secret = current.lock().unwrap().clone();
                let token = service.ask_with_secret(&id, &secret).await.token();
                assert_eq!(service.status_with(&token).await, 200);
                requests.fetch_add(1, Ordering::SeqCst);
            }
        })
    });
    let users: Vec<_> = users.collect();
    for _ in 0..4 {
        let (by, tenant) = (Actor::operator(), acme());
        let which = (&tenant, record.id.as_str());
        let rotated = rotate(&service.table, &by, which, Duration::hours(1), now());
        let rotated = rotated.await.unwrap();
        more_requests(&requests).await;
        *current.lock().unwrap() = rotated.text.reveal().to_owned();
        more_requests(&requests).await;
    }
    is_over.store(true, Ordering::SeqCst);
    for user in users {
        user.await.unwrap();
    }
}

#[tokio::test]
async fn a_client_has_few_secrets_and_forgets_those_whose_tokens_have_ended() {
    let service = Service::start().await;
    let (record, _) = client(&service.table, "acme", Scope::Provision).await;
    let by = Actor::operator();
    let rotate = async |at| rotate(&service.table, &by, (&acme(), &record.id), Duration::hours(1), at).await;
    for _ in 0..4 {
        rotate(now()).await.unwrap();
    }
    let refused = rotate(now()).await.unwrap_err();
    assert!(format!("{refused:?}").contains("at most 5 secrets"), "{refused:?}");
    // The others have ended an hour from now, so they are not counted. Their tokens end another hour later.
    let rotated = rotate(now() + Duration::minutes(61)).await.unwrap();
    assert_eq!(rotated.record.proof.secrets().len(), 6);
    let rotated = rotate(now() + Duration::minutes(122)).await.unwrap();
    assert_eq!(rotated.record.proof.secrets().len(), 3);
    let years = |record: &ClientRecord| match &record.proof {
        ClientProof::Secrets { years, .. } => *years,
        ClientProof::Federated(_) => 0,
    };
    assert_eq!(years(&rotated.record), 1);
}

#[tokio::test]
async fn the_metadata_names_the_endpoint_by_the_requests_host() {
    let service = Service::start().await;
    for path in ["/.well-known/oauth-authorization-server", "/scim/v2/.well-known/oauth-authorization-server"]
    {
        let found = service.send(("GET", path), &[("x-forwarded-proto", "https")], "").await;
        assert_eq!(
            (found.status, &found.headers["content-type"]),
            (200, &"application/json".parse().unwrap())
        );
        let issuer = found.body["issuer"].as_str().unwrap();
        assert!(issuer.ends_with("://scim.example.com"), "{issuer}");
        assert_eq!(found.body["token_endpoint"], format!("{issuer}/oauth2/token"));
        assert_eq!(found.body["grant_types_supported"], json!(["client_credentials"]));
        assert_eq!(found.body["response_types_supported"], json!([]));
        let methods = json!(["client_secret_basic", "client_secret_post", "private_key_jwt"]);
        assert_eq!(found.body["token_endpoint_auth_methods_supported"], methods);
        let algorithms = json!(["RS256", "PS256", "ES256"]);
        assert_eq!(found.body["token_endpoint_auth_signing_alg_values_supported"], algorithms);
    }
    let (record, secret) = client(&service.table, "acme", Scope::Read).await;
    let token = service.ask_with_secret(&record.id, &secret).await.token();
    let bearer = format!("Bearer {token}");
    let config =
        service.send(("GET", "/scim/v2/ServiceProviderConfig"), &[("authorization", &bearer)], "").await;
    let schemes = config.body["authenticationSchemes"].as_array().unwrap();
    let types: Vec<&Value> = schemes.iter().map(|scheme| &scheme["type"]).collect();
    assert_eq!(types, ["oauthbearertoken", "oauth2"]);
}

/// The limit of the token endpoint is its own.
#[tokio::test]
async fn the_endpoint_has_a_throttle_of_its_own() {
    let service = Service::start().await;
    let (record, secret) = client(&service.table, "acme", Scope::Read).await;
    let limited = Service::over(&service.endpoint, service.table.fresh(), |api| {
        api.stage = Some(Throttle { rate: 0.001, burst: 2.0 });
    });
    let token = limited.ask_with_secret(&record.id, &secret).await.token();
    limited.ask_with_secret(&record.id, "x").await.refused("wrong", 401, "invalid_client");
    let throttled = limited.ask_with_secret(&record.id, &secret).await;
    throttled.refused("throttled", 429, "temporarily_unavailable");
    assert_eq!(throttled.headers["retry-after"], "1");
    assert_eq!(limited.status_with(&token).await, 200);
}

/// What the gateway answers by itself has the form of RFC 6749 §5.2 too.
#[tokio::test]
async fn the_gateway_refuses_in_the_form_of_the_endpoint() {
    let service = Service::start().await;
    let basic = ("authorization", "Basic YTpi");
    for (path, headers) in [
        ("/oauth2", &[][..]),
        ("/oauth2/", &[]),
        ("/oauth2/authorize", &[]),
        ("/oauth2/token/x", &[]),
        ("/oauth2/token/x", &[basic]),
    ] {
        service.send(("POST", path), headers, "").await.refused(path, 404, "invalid_request");
    }
    let large = "x".repeat(11_000);
    let found = service.send(("POST", "/oauth2/token"), &[FORM, ("x-large", &large)], "").await;
    found.refused("a large head", 413, "invalid_request");
    let responses = TemplateFacts::parse(TEMPLATE).expect("the template").oauth_api.gateway_responses;
    for (kind, response) in &responses {
        let headers = response.headers.iter().map(|(name, value)| {
            (name.parse::<HeaderName>().expect(kind), literal(value).parse::<HeaderValue>().expect(kind))
        });
        let body = serde_json::from_str(literal(&response.bodies["application/json"])).expect(kind);
        let status = response.status.expect(kind);
        let reply = Reply { status, headers: headers.collect(), body };
        reply.has_the_form_of_a_refusal(kind);
        assert_eq!(reply.headers["x-content-type-options"], "nosniff", "{kind}");
        assert_eq!(reply.headers.contains_key("retry-after"), status == 429, "{kind}");
    }
    let too_large = literal(&responses["REQUEST_TOO_LARGE"].bodies["application/json"]);
    assert!(too_large.contains(&format!(" {MAX_TOKEN_BODY_BYTES} bytes")), "{too_large}");
}

/// The text of a gateway response, which shows nothing of the request.
#[track_caller]
fn literal(pieces: &[Piece]) -> &str {
    match pieces {
        [Piece::Literal(text)] => text,
        pieces => unreachable!("not a literal: {pieces:?}"),
    }
}

/// The metadata names the URL that is in the variable of the stage. At `execute-api` it is that of another API.
#[tokio::test]
async fn the_metadata_names_the_endpoint_by_the_variable_of_the_stage() {
    let function = TokenFunction::new(support::embedded().await, None, TargetRule::Public).unwrap();
    let url = "https://x1.execute-api.eu-west-1.amazonaws.com/oauth2/token";
    for path in ["/.well-known/oauth-authorization-server", "/scim/v2/.well-known/oauth-authorization-server"]
    {
        let request = http::Request::get(path).header("host", "scim.example.com");
        let request = request.body(Body::Empty).unwrap().with_raw_http_path(path);
        let request = request.with_stage_variables(HashMap::from([("tokenUrl".to_owned(), url.to_owned())]));
        let found = answer(&function, request).await;
        assert_eq!(found.body["token_endpoint"], url);
        assert_eq!(found.body["issuer"], "https://scim.example.com");
    }
    // At execute-api the path of the token endpoint is without its stage.
    let request = http::Request::post("/token").header(FORM.0, FORM.1);
    let request = request.body(Body::Text("grant_type=password".to_owned())).unwrap();
    let found = answer(&function, request.with_raw_http_path("/token")).await;
    found.refused("another grant", 400, "unsupported_grant_type");
}
