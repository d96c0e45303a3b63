//! The state in a change is never older than the change, while plain reads show the state before it.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::time::{Duration, Instant};

use rollcall::clock;
use rollcall::limits::CHANGES_PER_LOOK;
use rollcall::scim::resource_type::Kind;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::app_support::App;
use crate::support::client::{Client, user};
use crate::support::pending::commit;
use crate::support::serve_torn;
use crate::support::torn::{Answering, Tearing, Torn};

/// The application's side over a table whose transactions are torn, and a user.
async fn scene() -> (App, Client, Torn, String) {
    let embedded = serve_torn(None).await;
    let app = App::over(&embedded.endpoint, embedded.table.fresh(), |_| {}).await;
    let scim = app.tenant("veza").await;
    let id = scim.user("person").await;
    app.sequence().await;
    embedded.tear(Tearing { longest: Duration::ZERO, ..Tearing::short(1) }).await;
    (app, scim, embedded.torn.expect("a layer"), id)
}

/// The last change of the feed with the state of its resource. What is held becomes visible meanwhile.
async fn newest(app: &App, torn: &Torn) -> Value {
    app.sequence().await;
    let page = app.get("/changes?limit=500").await.expect(200);
    let last = page["changes"].as_array().unwrap().last().unwrap()["seq"].as_u64().unwrap();
    let (feed, _) = page["next"].as_str().unwrap().split_once('-').unwrap();
    let path = format!("/changes?include=resource&after={feed}-{}", last - 1);
    let releasing = release_soon(torn);
    let mut page = app.get(&path).await.expect(200);
    releasing.await.unwrap();
    page["changes"][0].take()
}

fn version(resource: &Value) -> u64 {
    resource["meta"]["version"].as_str().expect("a version").trim_matches(['W', '/', '"']).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_from_before_the_change_is_read_again() {
    let (app, scim, torn, id) = scene().await;
    torn.hold("#U#");
    let writer = scim.clone();
    let path = format!("/Users/{id}");
    let change = json!([{ "op": "replace", "path": "displayName", "value": "New" }]);
    let writing = tokio::spawn(async move { Box::pin(writer.patch(&path, change)).await });
    torn.held().await;
    let before = scim.store().fetch(Kind::User, id.parse().unwrap()).await.unwrap().expect("the user");
    assert_eq!(before.version, 1, "a plain read shows the state before");
    let change = newest(&app, &torn).await;
    assert_eq!((&change["type"], &change["version"]), (&json!("user.updated"), &json!(2)));
    assert_eq!((version(&change["resource"]), &change["resource"]["displayName"]), (2, &json!("New")));
    writing.await.unwrap().expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_resource_that_is_not_visible_yet_is_read_again() {
    let (app, scim, torn, _) = scene().await;
    torn.hold("#U#");
    let writer = scim.clone();
    let writing = tokio::spawn(async move { Box::pin(writer.post("/Users", user("late"))).await });
    torn.held().await;
    let change = newest(&app, &torn).await;
    assert_eq!(change["type"], "user.created");
    assert_eq!(change["resource"]["userName"], "late@example.com");
    writing.await.unwrap().expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_resource_that_is_still_visible_is_null() {
    let (app, scim, torn, id) = scene().await;
    torn.hold("#U#");
    let (writer, path) = (scim.clone(), format!("/Users/{id}"));
    let writing = tokio::spawn(async move { Box::pin(writer.delete(&path)).await });
    torn.held().await;
    let before = scim.store().fetch(Kind::User, id.parse().unwrap()).await.unwrap();
    assert!(before.is_some(), "a plain read shows the state before");
    let change = newest(&app, &torn).await;
    assert_eq!((&change["type"], &change["resource"]), (&json!("user.deactivated"), &Value::Null));
    writing.await.unwrap().expect(204);
}

/// Shows what is held, soon.
fn release_soon(torn: &Torn) -> JoinHandle<()> {
    let torn = torn.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(150)).await;
        torn.release();
    })
}

/// The version of a page of members, and its first member.
async fn page_of_members(app: &App, group: &str, limit: usize) -> (u64, String) {
    let page = app.get(&format!("/tenants/acme/Groups/{group}/members?limit={limit}")).await.expect(200);
    let first = page["members"][0]["value"].as_str().expect("a member");
    (page["version"].as_u64().expect("a version"), first.to_owned())
}

/// A page of members has what every change up to its version did, whether or not it has all members of the group.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_lacks_no_member_that_becomes_visible_after_the_group() {
    for limit in [1_000, 2] {
        let (app, scim, torn, _) = scene().await;
        let ids = scim.users(0..4).await;
        let group = scim.group("Team", &ids[1..]).await;
        torn.hold(&format!("#G#{group}|M#{}", ids[0]));
        let (writer, first) = (scim.clone(), ids[0].clone());
        let path = format!("/Groups/{group}?excludedAttributes=members");
        let change = json!([{ "op": "add", "path": "members", "value": [{ "value": first }] }]);
        let writing = tokio::spawn(async move { Box::pin(writer.patch(&path, change)).await });
        torn.held().await;
        let releasing = release_soon(&torn);
        assert_eq!(page_of_members(&app, &group, limit).await, (2, ids[0].clone()), "limit {limit}");
        releasing.await.unwrap();
        writing.await.unwrap().expect(200);
    }
}

/// The same of a large change that was made long ago, and was applied in this moment.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_lacks_no_member_that_becomes_visible_after_the_end_of_a_large_change() {
    let (app, scim, torn, _) = scene().await;
    let ids = scim.users(0..4).await;
    let group = clock::with_seconds_ahead(-60, scim.group("Team", &ids[1..])).await;
    let pending = commit(&scim, &group, &ids[..1], &[]).await;
    torn.tear(Tearing { longest: Duration::ZERO, answering: Answering::AtCommit, ..Tearing::short(1) }).await;
    torn.hold(&format!("#G#{group}|M#{}", ids[0]));
    let until = Instant::now() + Duration::from_secs(60);
    assert!(scim.store().large_changes().apply_until(&pending, until).await.expect("applied"));
    torn.held().await;
    let releasing = release_soon(&torn);
    assert_eq!(page_of_members(&app, &group, 2).await, (2, ids[0].clone()));
    releasing.await.unwrap();
}

/// A resource on which a transaction is under way all the time does not stop the feed: the changes before it are
/// answered, and then 503 says that the request is to be sent again.
#[tokio::test(flavor = "multi_thread")]
async fn a_resource_in_a_transaction_holds_up_only_what_follows() {
    let (app, scim, torn, id) = scene().await;
    // More than the states of one look.
    for number in 0..2 * CHANGES_PER_LOOK {
        scim.user(&format!("early{number}")).await;
    }
    torn.hold("#U#");
    let (writer, path) = (scim.clone(), format!("/Users/{id}"));
    let change = json!([{ "op": "replace", "path": "displayName", "value": "New" }]);
    let writing = tokio::spawn(async move { Box::pin(writer.patch(&path, change)).await });
    torn.held().await;
    app.sequence().await;
    let all = app.get("/changes?limit=500").await.expect(200);
    let wanted = all["changes"].as_array().unwrap().len();

    let (mut seen, mut after) = (0, String::new());
    let refused = loop {
        let reply = app.get(&format!("/changes?include=resource&limit=500{after}")).await;
        if reply.status != 200 {
            break reply;
        }
        let page = reply.expect(200);
        let some = page["changes"].as_array().unwrap().len();
        assert!(some > 0 && page["more"] == true, "it makes progress, and says that there is more");
        seen += some;
        after = format!("&after={}", page["next"].as_str().unwrap());
    };
    assert_eq!(refused.expect(503)["status"], 503);
    assert!(seen > 0 && wanted - seen <= CHANGES_PER_LOOK, "{seen} of {wanted}");

    torn.release();
    let page = app.get(&format!("/changes?include=resource&limit=500{after}")).await.expect(200);
    assert_eq!(seen + page["changes"].as_array().unwrap().len(), wanted);
    assert_eq!(page["changes"].as_array().unwrap().last().unwrap()["resource"]["displayName"], "New");
    writing.await.unwrap().expect(200);
}
