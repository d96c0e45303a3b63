//! Application keys: made, rotated, revoked and checked.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use rollcall::auth::app_authorizer::authorize_application;
use rollcall::auth::application::ApplicationScope;
use rollcall::auth::authorizer::{Decision, Reason, authorize};
use rollcall::store::call::Table;
use rollcall::store::feed::reader::{ChangeQuery, FeedReader};
use rollcall::store::keys::TenantId;
use rollcall::tenants::actor::Actor;
use rollcall::tenants::application::{NewApplication, create, list, revoke, rotate};
use rollcall::tenants::error::TenantError;
use time::{Duration, OffsetDateTime};

use crate::app_support::{self, App};
use crate::support;

fn new(name: &str) -> NewApplication {
    NewApplication { name: name.to_owned(), scope: ApplicationScope::Manage, expires: None }
}

async fn refusal(table: &Table, key: &str, now: OffsetDateTime) -> Option<Reason> {
    let header = format!("Bearer {key}");
    authorize_application(table, &header, now).await.unwrap().err().map(|(reason, _)| reason)
}

#[tokio::test]
async fn a_key_works_until_it_is_revoked_or_its_overlap_ends() {
    let table = support::embedded().await;
    let (by, now) = (Actor::operator(), OffsetDateTime::now_utc());
    let (old, record) = create(&table, &by, new(" portal "), now).await.unwrap();
    assert_eq!((record.name.as_str(), record.version), ("portal", 1));
    assert_eq!(refusal(&table, old.reveal(), now).await, None);
    let (next, successor, until) = rotate(&table, &by, &record.id, Duration::hours(24), now).await.unwrap();
    assert_eq!((successor.scope, successor.name.as_str()), (record.scope, "portal"));
    assert_eq!(until, now + Duration::hours(24));
    assert_eq!(refusal(&table, old.reveal(), now).await, None);
    assert_eq!(refusal(&table, old.reveal(), until).await, Some(Reason::Expired));
    assert!(revoke(&table, &by, &successor.id, now).await.unwrap());
    assert!(!revoke(&table, &by, &successor.id, now).await.unwrap());
    assert_eq!(refusal(&table, next.reveal(), now).await, Some(Reason::Revoked));
    let ended = rotate(&table, &by, &successor.id, Duration::hours(1), now).await;
    assert!(matches!(ended, Err(TenantError::KeyEnded(_))));
    assert_eq!(list(&table).await.unwrap().len(), 2);
    for unknown in ["app_1", "app_a#b", "key_1", ""] {
        let refused = revoke(&table, &by, unknown, now).await;
        assert!(matches!(refused, Err(TenantError::NoApplication(_))), "{unknown}");
    }
    for name in ["", " ", "a\nb", &"x".repeat(101)] {
        assert!(matches!(create(&table, &by, new(name), now).await, Err(TenantError::Input(_))));
    }

    // The changes are in the feed, in the order of their versions.
    support::feed::sequence(&table).await;
    let reader = FeedReader::open(&table).await.unwrap();
    let tenant = TenantId::deployment();
    let query = ChangeQuery { limit: 100, tenant: Some(tenant.as_str()) };
    let changes = reader.read(&reader.oldest(), query).await.unwrap().unwrap().changes;
    let of = |id: &str| {
        let changes = changes.iter().filter(|change| change.resource_id == id);
        changes.map(|change| (change.event_type.as_str(), change.version)).collect::<Vec<_>>()
    };
    assert_eq!(of(&record.id), [("application.created", 1), ("application.updated", 2)]);
    assert_eq!(of(&successor.id), [("application.created", 1), ("application.revoked", 2)]);
    assert!(changes.iter().all(|change| change.resource_type == "Application"));
}

#[tokio::test]
async fn keys_of_applications_and_of_tenants_open_different_doors() {
    let table = support::embedded().await;
    let now = OffsetDateTime::now_utc();
    let (key, _) = create(&table, &Actor::operator(), new("portal"), now).await.unwrap();
    let header = format!("Bearer {}", key.reveal());
    let decision = authorize(&table, &header, now).await.unwrap();
    assert!(matches!(decision, Decision::Deny(Reason::Malformed, None)));
    let other = rollcall::auth::key::ApplicationKey::generate().unwrap();
    assert_eq!(refusal(&table, other.reveal(), now).await, Some(Reason::Unknown));
    let bearer = rollcall::auth::key::BearerKey::generate(&"acme".parse().unwrap()).unwrap();
    assert_eq!(refusal(&table, bearer.reveal(), now).await, Some(Reason::Malformed));
}

#[tokio::test]
async fn the_day_of_the_last_use_is_noted_by_both_functions() {
    let app = app_support::App::start().await;
    let used = async || {
        let listed = list(&app.table).await.unwrap();
        listed.into_iter().map(|listed| (listed.record.scope.name(), listed.last_used)).collect::<Vec<_>>()
    };
    assert_eq!(used().await, [("manage", None), ("read", None)]);
    let today = || Some(rollcall::clock::timestamp()[..10].to_owned());
    app.with_key(&app.reader, "GET", "/tenants").await.expect(200);
    assert_eq!(used().await, [("manage", None), ("read", today())]);
    app.send("POST", "/tenants", Some(serde_json::json!({ "tenant": "acme" }))).await.expect(201);
    assert_eq!(used().await, [("manage", today()), ("read", today())]);
}

/// API Gateway, as the emulator, caches the answer of the authorizer for longer than the key may live.
#[tokio::test(flavor = "multi_thread")]
async fn an_application_key_ends_at_its_time_whatever_the_gateway_has_cached() {
    let app = App::start().await;
    let end = OffsetDateTime::now_utc() + Duration::seconds(2);
    let new = NewApplication { name: "short".to_owned(), scope: ApplicationScope::Read, expires: Some(end) };
    let made = create(&app.table, &Actor::operator(), new, OffsetDateTime::now_utc()).await;
    let key = made.expect("a key").0.reveal().to_owned();
    app.with_key(&key, "GET", "/tenants").await.expect(200);
    tokio::time::sleep(std::time::Duration::from_millis(2_100)).await;
    let refused = app.with_key(&key, "GET", "/tenants").await;
    // The function answers: API Gateway still takes the key for a good one, and does not say how to authenticate.
    assert!(refused.headers.get("www-authenticate").is_none());
    let detail = refused.problem(401, "");
    assert!(detail.contains("expired"), "{detail}");
}
