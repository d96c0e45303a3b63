//! Tenants by the application's side: what is refused of their settings and keys, and what is refused while a tenant
//! is being deleted.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use rollcall::clock;
use rollcall::store::item::text;
use rollcall::store::keys;
use serde_json::{Value, json};

use crate::app_support::App;

#[tokio::test]
async fn a_time_that_is_not_in_the_years_0_to_9999_of_utc_is_refused() {
    let app = App::start().await;
    app.tenant("veza").await;
    let (tenant, keys) = ("/tenants/acme", "/tenants/acme/keys");
    for time in ["9999-12-31T23:59:59-01:00", "0000-01-01T00:00:00+01:00"] {
        let body = json!({ "name": "Okta", "expires": time });
        let detail = app.send("POST", keys, Some(body)).await.problem(400, "invalidValue");
        assert!(
            detail.starts_with("expires must be a time before the year 10000, such as "),
            "{time}: {detail}"
        );
        let body = json!({ "breakerLiftedUntil": time });
        let detail = app.send("PATCH", tenant, Some(body)).await.problem(400, "invalidValue");
        assert!(
            detail.starts_with("breakerLiftedUntil must be a time before the year 10000, such as "),
            "{time}: {detail}"
        );
    }
    assert_eq!(app.get(keys).await.expect(200)["keys"], json!([]));
    let settings = app.get(tenant).await.expect(200)["settings"].clone();
    assert_eq!(settings["breakerLiftedUntil"], Value::Null);
    // The last second is one, in any offset.
    for last in ["9999-12-31T23:59:59Z", "9999-12-31T22:59:59-01:00"] {
        let body = json!({ "name": "Okta", "expires": last });
        let made = app.send("POST", keys, Some(body)).await.expect(201);
        assert_eq!(made["expires"], "9999-12-31T23:59:59.000Z");
        let body = json!({ "breakerLiftedUntil": last });
        let set = app.send("PATCH", tenant, Some(body)).await.expect(200);
        assert_eq!(set["settings"]["breakerLiftedUntil"], "9999-12-31T23:59:59.000Z");
    }
}

#[tokio::test]
async fn a_setting_that_every_tenant_has_cannot_be_null() {
    let app = App::start().await;
    app.tenant("veza").await;
    let before = app.get("/tenants/acme").await.expect(200);
    for name in ["retentionDays", "plan"] {
        let mut body = json!({ "rootTeamProtected": true });
        body[name] = Value::Null;
        let detail = app.send("PATCH", "/tenants/acme", Some(body)).await.problem(400, "invalidValue");
        assert!(detail.starts_with(&format!("{name} cannot be null")), "{detail}");
    }
    assert_eq!(app.get("/tenants/acme").await.expect(200), before);
}

/// Notes that the tenant is being deleted, as its deletion does first.
async fn begin_deletion(app: &App) {
    let key = keys::tenant(&"acme".parse().unwrap());
    let mut item = app.table.get(&key).await.unwrap().expect("the tenant");
    item.extend([text("deleting", clock::timestamp())]);
    app.table.put(&key, item).await.unwrap();
}

#[tokio::test]
async fn nothing_is_made_or_set_in_a_tenant_that_is_being_deleted() {
    let app = App::start().await;
    let new = json!({ "tenant": "acme", "policy": "veza" });
    let made = app.send("POST", "/tenants", Some(new.clone())).await.expect(201);
    assert_eq!(made["status"], "active");
    assert_eq!(app.get("/tenants/acme").await.expect(200)["status"], "active");
    let key = app.send("POST", "/tenants/acme/keys", Some(json!({ "name": "Okta" }))).await.expect(201);
    let client = app.send("POST", "/tenants/acme/clients", Some(json!({ "name": "Okta" }))).await.expect(201);
    begin_deletion(&app).await;
    let found = app.get("/tenants/acme").await.expect(200);
    assert_eq!((&found["status"], &found["version"]), (&json!("beingDeleted"), &made["version"]));
    assert_eq!(app.get("/tenants").await.expect(200)["tenants"], json!([found]));

    let rotation = format!("/tenants/acme/keys/{}/rotate", key["id"].as_str().unwrap());
    let new_secret = format!("/tenants/acme/clients/{}/rotate", client["id"].as_str().unwrap());
    let assignments = format!("/tenants/acme/Groups/{}/assignments", made["rootTeam"].as_str().unwrap());
    for (method, path, body) in [
        ("POST", "/tenants", new),
        ("POST", "/tenants", json!({ "tenant": "acme", "policy": "strict" })),
        ("PATCH", "/tenants/acme", json!({ "rootTeamProtected": true })),
        ("PATCH", "/tenants/acme", json!({ "plan": "high" })),
        ("PATCH", "/tenants/acme", json!({})),
        ("POST", "/tenants/acme/keys", json!({ "name": "Entra" })),
        ("POST", &rotation, json!({})),
        ("POST", &new_secret, json!({})),
        ("POST", "/tenants/acme/clients", json!({ "name": "Entra" })),
        ("PUT", &assignments, json!({ "assignments": [] })),
        ("POST", "/tenants/acme/roles", json!({ "id": "billing", "displayName": "Billing" })),
        ("PATCH", "/tenants/acme/roles/billing", json!({ "displayName": "Billing" })),
    ] {
        let sent = format!("{method} {path} {body}");
        let reply = app.send(method, path, Some(body)).await;
        assert_eq!(reply.status, 409, "{sent}: {}", reply.body);
        let detail = reply.problem(409, "tenantBeingDeleted");
        assert!(detail.contains("rollcall tenant delete acme"), "{sent}: {detail}");
    }
    assert_eq!(app.get("/tenants/acme").await.expect(200), found);
    let listed = app.get("/tenants/acme/keys").await.expect(200);
    assert_eq!(listed["keys"].as_array().unwrap().len(), 1);
}

/// As on the SCIM side, 404 comes before 415 and 400.
#[tokio::test]
async fn a_missing_tenant_or_webhook_is_told_first() {
    let app = App::start().await;
    let unknown = "wh_0123456789abcdef0123456789abcdef";
    for (method, path, body) in [
        ("POST", "/tenants/nope/keys".to_owned(), json!({})),
        ("POST", "/tenants/nope/keys/key_1/rotate".to_owned(), json!({ "overlapSeconds": -1 })),
        ("POST", "/tenants/nope/clients".to_owned(), json!({ "name": 5 })),
        ("POST", "/tenants/nope/roles".to_owned(), json!({})),
        ("PATCH", "/tenants/nope".to_owned(), json!({ "unknown": 1 })),
        ("PATCH", format!("/webhooks/{unknown}"), json!({ "url": 5 })),
        ("POST", format!("/webhooks/{unknown}/rotate"), json!({ "overlapSeconds": "x" })),
    ] {
        app.send(method, &path, Some(body)).await.problem(404, "");
    }
    app.get("/tenants/nope?x=1").await.problem(404, "");
    let text = [("authorization", format!("Bearer {}", app.key)), ("content-type", "text/plain".to_owned())];
    let text = text.each_ref().map(|(name, value)| (*name, value.as_str()));
    app.raw(("POST", "/tenants/nope/keys"), &text, "x".into()).await.problem(404, "");
    app.tenant("standard").await;
    app.raw(("POST", "/tenants/acme/keys"), &text, "x".into()).await.problem(415, "");
    app.send("POST", "/tenants/acme/keys", Some(json!({}))).await.problem(400, "invalidValue");
}
