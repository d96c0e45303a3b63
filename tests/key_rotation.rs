//! Keys that are rotated more than once: how long their successors live, and rotations at the same time.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::collections::BTreeSet;

use rollcall::admin::tenant::{self, NewTenant};
use rollcall::auth::application::ApplicationScope;
use rollcall::auth::record::Scope;
use rollcall::clock;
use rollcall::scim::policy::VEZA;
use rollcall::store::call::Table;
use rollcall::store::keys::TenantId;
use rollcall::tenants::actor::Actor;
use rollcall::tenants::application::{self, NewApplication};
use rollcall::tenants::key::{self, NewKey};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::app_support::App;
use crate::support;
use crate::support::faults::{Call, Fate, Proxy};

fn acme() -> TenantId {
    "acme".parse().unwrap()
}

async fn make_tenant(table: &Table) {
    let new = NewTenant::new(&acme(), &VEZA, &"u".repeat(40));
    tenant::create(table, &new, OffsetDateTime::now_utc()).await.expect("a tenant");
}

fn new_key(expires: Option<OffsetDateTime>) -> NewKey {
    NewKey { tenant: acme(), name: "Okta".to_owned(), scope: Scope::Provision, expires, user: None }
}

fn new_application(expires: Option<OffsetDateTime>) -> NewApplication {
    NewApplication { name: "portal".to_owned(), scope: ApplicationScope::Read, expires }
}

#[tokio::test]
async fn each_rotation_of_a_key_gives_a_successor_of_the_whole_life() {
    let table = support::embedded().await;
    make_tenant(&table).await;
    let (tenant, by, now) = (acme(), Actor::operator(), OffsetDateTime::now_utc());
    for days in [None, Some(90)] {
        let expires = |made: OffsetDateTime| days.map(|days| made + Duration::days(days));
        let (_, old) = key::create(&table, &by, new_key(expires(now)), now).await.unwrap();
        for hours in [0, 1, 20] {
            let at = now + Duration::hours(hours);
            let which = (&tenant, old.key_id.as_str());
            let (_, next, until) = key::rotate(&table, &by, which, Duration::days(1), at).await.unwrap();
            assert_eq!(next.expires, expires(at), "{days:?} days, after {hours} hours");
            // The first rotation says when the old key ends.
            assert_eq!(clock::text(until), clock::text(now + Duration::days(1)));
        }
    }
}

#[tokio::test]
async fn each_rotation_of_an_application_key_gives_a_successor_of_the_whole_life() {
    let table = support::embedded().await;
    let (by, now) = (Actor::operator(), OffsetDateTime::now_utc());
    for days in [None, Some(90)] {
        let expires = |made: OffsetDateTime| days.map(|days| made + Duration::days(days));
        let new = new_application(expires(now));
        let (_, old) = application::create(&table, &by, new, now).await.unwrap();
        for hours in [0, 1, 20] {
            let at = now + Duration::hours(hours);
            let rotated = application::rotate(&table, &by, &old.id, Duration::days(1), at).await;
            let (_, next, until) = rotated.unwrap();
            assert_eq!(next.expires, expires(at), "{days:?} days, after {hours} hours");
            assert_eq!(clock::text(until), clock::text(now + Duration::days(1)));
        }
    }
}

#[tokio::test]
async fn the_same_rotation_several_times_gives_keys_that_do_not_expire() {
    let app = App::start().await;
    app.tenant("veza").await;
    let made = app.send("POST", "/tenants/acme/keys", Some(json!({ "name": "Okta" }))).await.expect(201);
    let path = format!("/tenants/acme/keys/{}/rotate", made["id"].as_str().unwrap());
    let send = || app.send("POST", &path, None);
    let (one, other) = tokio::join!(send(), send());
    let last = send().await;
    let mut ids = BTreeSet::new();
    for reply in [one, other, last] {
        let next = reply.expect(201);
        assert_eq!((&next["expires"], &next["replaces"]), (&Value::Null, &made["id"]));
        ids.insert(next["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids.len(), 3);
}

/// A way to the table on which the first transaction is held.
async fn slow_way(endpoint: &str) -> (Proxy, Table) {
    let proxy = Proxy::before(endpoint).await;
    let mut is_first = true;
    proxy.decide(move |call: &Call| {
        let is_write = call.operation == "TransactWriteItems";
        if is_write && std::mem::take(&mut is_first) { Fate::Held } else { Fate::Pass }
    });
    let table = Table::new(support::client(&proxy.endpoint), support::TABLE);
    (proxy, table)
}

#[tokio::test]
async fn a_rotation_that_another_one_overtakes_succeeds_too() {
    let embedded = support::serve().await;
    let table = &embedded.table;
    make_tenant(table).await;
    let (tenant, by, now) = (acme(), Actor::operator(), OffsetDateTime::now_utc());
    let overlap = Duration::days(1);

    let (_, old) = key::create(table, &by, new_key(None), now).await.unwrap();
    let which = (&tenant, old.key_id.as_str());
    let (proxy, slow) = slow_way(&embedded.endpoint).await;
    let (overtaken, faster) = tokio::join!(key::rotate(&slow, &by, which, overlap, now), async {
        proxy.held().await;
        let rotated = key::rotate(table, &by, which, overlap, now).await;
        proxy.release();
        rotated
    });
    let ((_, overtaken, _), (_, faster, _)) = (overtaken.unwrap(), faster.unwrap());
    assert_ne!(overtaken.key_id, faster.key_id);
    assert_eq!((overtaken.expires, faster.expires), (None, None));
    assert_eq!(key::list(table, &tenant).await.unwrap().len(), 3);

    let (_, old) = application::create(table, &by, new_application(None), now).await.unwrap();
    let (proxy, slow) = slow_way(&embedded.endpoint).await;
    let (overtaken, faster) = tokio::join!(application::rotate(&slow, &by, &old.id, overlap, now), async {
        proxy.held().await;
        let rotated = application::rotate(table, &by, &old.id, overlap, now).await;
        proxy.release();
        rotated
    });
    let ((_, overtaken, _), (_, faster, _)) = (overtaken.unwrap(), faster.unwrap());
    assert_ne!(overtaken.id, faster.id);
    assert_eq!((overtaken.expires, faster.expires), (None, None));
    assert_eq!(application::list(table).await.unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_a_user_who_is_gone_has_no_successor_and_says_so() {
    let app = App::start().await;
    let scim = app.tenant("standard").await;
    let user = scim.user("anna").await;
    let made = app.send("POST", "/tenants/acme/keys", Some(json!({ "name": "Okta", "user": user }))).await;
    let id = made.expect(201)["id"].as_str().unwrap().to_owned();
    scim.delete(&format!("/Users/{user}")).await.expect(204);
    let path = format!("/tenants/acme/keys/{id}/rotate");
    let detail = app.send("POST", &path, Some(json!({}))).await.problem(409, "keyEnded");
    assert!(detail.contains("bound to a user who is deleted"), "{detail}");
}
