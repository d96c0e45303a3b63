//! Every operation with the ids of another tenant. They do not exist for the caller, and no request changes them.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support;
use crate::support::client::{Client, Reply, user};

/// A tenant whose name begins with another's: a key cut short or compared by its beginning would
/// mix them up.
const TENANTS: [&str; 4] = ["acme", "acme-2", "ac", "other"];

/// What one tenant holds.
struct Holdings {
    client: Client,
    users: Vec<String>,
    group: String,
}

async fn holdings(policy: &'static str) -> Vec<Holdings> {
    let first = Client::new(support::embedded().await, policy).await;
    let mut all = Vec::new();
    for tenant in TENANTS {
        let client = first.of(tenant);
        // The same names and external ids in every tenant.
        let mut users = Vec::new();
        for name in ["ann", "bob", "eve"] {
            users.push(client.user(name).await);
        }
        let group = client.group("Team", &users[..2]).await;
        all.push(Holdings { client, users, group });
    }
    all
}

/// Everything that a tenant sees of itself.
async fn seen(client: &Client) -> (Value, Value) {
    (client.get("/Users").await.expect(200).body, client.get("/Groups").await.expect(200).body)
}

fn ids(reply: &Reply) -> BTreeSet<String> {
    let resources = reply.body["Resources"].as_array().cloned().unwrap_or_default();
    resources.iter().map(|r| r["id"].as_str().expect("an id").to_owned()).collect()
}

#[tokio::test]
async fn every_operation_on_a_strangers_id_is_404() {
    for policy in ["veza", "standard"] {
        let all = holdings(policy).await;
        for own in &all {
            for other in all.iter().filter(|other| other.client.tenant != own.client.tenant) {
                let before = seen(&other.client).await;
                let client = &own.client;
                let title = json!([{ "op": "replace", "path": "title", "value": "Mine" }]);
                let name = json!([{ "op": "replace", "path": "displayName", "value": "Mine" }]);
                let (user_path, group_path) =
                    (format!("/Users/{}", other.users[0]), format!("/Groups/{}", other.group));
                for (path, patch, body) in [
                    (&user_path, title, user("ann")),
                    (&group_path, name, json!({ "displayName": "Team", "members": [] })),
                ] {
                    client.get(path).await.expect(404);
                    client.patch(path, patch).await.expect(404);
                    client.put(path, body).await.expect(404);
                    client.delete(path).await.expect(404);
                    // The other kind's door, too.
                    let swapped = if path.starts_with("/Users") {
                        path.replace("/Users", "/Groups")
                    } else {
                        path.replace("/Groups", "/Users")
                    };
                    client.get(&swapped).await.expect(404);
                }
                assert_eq!(
                    seen(&other.client).await,
                    before,
                    "{} touched by {}",
                    other.client.tenant,
                    client.tenant
                );
            }
        }
    }
}

#[tokio::test]
async fn no_filter_or_list_finds_a_stranger() {
    let all = holdings("standard").await;
    for own in &all {
        let mine: BTreeSet<String> = own.users.iter().cloned().chain([own.group.clone()]).collect();
        for other in all.iter().filter(|other| other.client.tenant != own.client.tenant) {
            let (stranger, strangers) = (&other.users[0], &other.group);
            for query in [
                format!("/Users?filter=id eq \"{stranger}\""),
                format!("/Users?filter=groups.value eq \"{strangers}\""),
                format!("/Groups?filter=id eq \"{strangers}\""),
                format!("/Groups?filter=members eq \"{stranger}\""),
                format!("/Groups?filter=members.value eq \"{stranger}\""),
                format!("/Groups?filter=id eq \"{}\" and members[value eq \"{stranger}\"]", own.group),
                format!("/Users?filter=id eq \"{stranger}\" or title pr"),
            ] {
                assert_eq!(own.client.get(&query).await.expect(200).body["totalResults"], 0, "{query}");
            }
        }
        for query in [
            "/Users",
            "/Groups",
            "/Users?filter=userName eq \"ann@example.com\"",
            "/Users?filter=externalId eq \"ext-ann\"",
            "/Users?filter=emails.value eq \"ann@example.com\"",
            "/Users?filter=userName co \"example\"",
            "/Groups?filter=displayName eq \"team\"",
            "/Users?sortBy=userName",
        ] {
            let found = own.client.get(query).await.expect(200);
            let ids = ids(&found);
            assert!(!ids.is_empty() && ids.is_subset(&mine), "{}: {query}: {ids:?}", own.client.tenant);
            assert_eq!(found.body["totalResults"], ids.len(), "{query}");
        }
        let search = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"] });
        assert_eq!(ids(&own.client.post("/.search", search).await.expect(200)), mine);
    }
}

#[tokio::test]
async fn a_strangers_user_is_no_member() {
    let all = holdings("veza").await;
    let (own, other) = (&all[0], &all[1]);
    let stranger = json!([{ "value": other.users[2] }]);
    let group = format!("/Groups/{}", own.group);
    let before = (seen(&own.client).await, seen(&other.client).await);
    own.client.post("/Groups", json!({ "displayName": "Mixed", "members": stranger })).await.expect(400);
    for patch in [
        json!([{ "op": "add", "path": "members", "value": stranger }]),
        json!([{ "op": "replace", "path": "members", "value": stranger }]),
        json!([{ "op": "add", "value": { "members": stranger } }]),
    ] {
        own.client.patch(&group, patch).await.expect(400);
    }
    own.client.put(&group, json!({ "displayName": "Team", "members": stranger })).await.expect(400);
    // To remove an id that is no member is no error, and changes nothing.
    let removal = json!([{ "op": "remove", "path": format!("members[value eq \"{}\"]", other.users[0]) }]);
    own.client.patch(&group, removal).await.expect(200);
    assert_eq!((seen(&own.client).await, seen(&other.client).await), before);
}

#[tokio::test]
async fn bulk_reaches_nothing_of_a_strangers() {
    let all = holdings("standard").await;
    let (own, other) = (&all[0], &all[1]);
    let before = seen(&other.client).await;
    let patch = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{ "op": "replace", "path": "displayName", "value": "Mine" }]
    });
    let members = |value: &str| json!({ "displayName": "Bulk", "members": [{ "value": value }] });
    let bulk = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
        "Operations": [
            { "method": "PATCH", "path": format!("/Users/{}", other.users[0]), "data": patch },
            { "method": "PUT", "path": format!("/Users/{}", other.users[0]), "data": user("ann") },
            { "method": "DELETE", "path": format!("/Users/{}", other.users[1]) },
            { "method": "DELETE", "path": format!("/Groups/{}", other.group) },
            { "method": "POST", "path": "/Groups", "bulkId": "g", "data": members(&other.users[0]) }
        ]
    });
    let answered = own.client.post("/Bulk", bulk).await.expect(200);
    let statuses: Vec<&str> = answered.body["Operations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|o| o["status"].as_str().unwrap())
        .collect();
    assert_eq!(statuses, ["404", "404", "404", "404", "400"]);
    // A bulkId of one tenant's request means nothing in another's.
    let reference = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
        "Operations": [{ "method": "POST", "path": "/Groups", "bulkId": "h", "data": members("bulkId:g") }]
    });
    let answered = other.client.post("/Bulk", reference).await.expect(200);
    assert_eq!(answered.body["Operations"][0]["status"], "400", "{}", answered.body);
    assert_eq!(seen(&other.client).await, before);
}

#[tokio::test]
async fn cursors_and_page_marks_stay_in_their_tenant() {
    let all = holdings("standard").await;
    for own in &all {
        // Every tenant walks under the same key id, so that a mark without its tenant would be found.
        let first = own.client.get("/Users?startIndex=1&count=1").await.expect(200);
        let cursor = own.client.get("/Users?cursor=&count=1").await.expect(200).body["nextCursor"].clone();
        let cursor = cursor.as_str().expect("a cursor").to_owned();
        for other in &all {
            let mine: BTreeSet<String> = other.users.iter().cloned().collect();
            let next = other.client.get("/Users?startIndex=2&count=2").await.expect(200);
            assert!(ids(&next).is_subset(&mine), "{} after {}", other.client.tenant, own.client.tenant);
            assert_eq!(ids(&next).len(), 2);
            // Every tenant signs with a secret of its own.
            let walked = other.client.get(&format!("/Users?cursor={cursor}&count=5")).await;
            match other.client.tenant == own.client.tenant {
                true => assert!(ids(&walked.expect(200)).is_subset(&mine)),
                false => assert_eq!(walked.expect(400).body["scimType"], "invalidCursor"),
            }
        }
        assert_eq!(ids(&first).len(), 1);
    }
}

#[tokio::test]
async fn a_deactivated_account_comes_back_in_its_own_tenant_only() {
    let all = holdings("veza").await;
    let (own, other) = (&all[0], &all[1]);
    own.client.delete(&format!("/Users/{}", own.users[2])).await.expect(204);
    other.client.delete(&format!("/Users/{}", other.users[2])).await.expect(204);
    assert_eq!(other.client.user("eve").await, other.users[2]);
    own.client.get(&format!("/Users/{}", own.users[2])).await.expect(404);
    assert_eq!(own.client.user("eve").await, own.users[2]);
}
