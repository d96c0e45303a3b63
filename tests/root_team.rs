//! The rule of the last administrator, through every door, and the roles that groups grant.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use aws_sdk_dynamodb::types::AttributeValue;
use rollcall::admin::check::report::Problem;
use rollcall::admin::error::AdminError;
use rollcall::admin::group::{Assignment, assign};
use rollcall::provider::changing::admin_rule::read_guard_for;
use rollcall::scim::resource_type::Kind;
use rollcall::store::admin_guard::AdminGuard;
use rollcall::store::item::text;
use rollcall::store::keys;
use rollcall::store::transaction::{Action, Expression};
use rollcall::store::worker;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support;
use crate::support::client::{Client, Reply};
use crate::support::feed::{read_feed, sequence};
use crate::support::{assert_consistent, check, embedded, tenant_of};

const USER_URN: &str = "urn:ietf:params:scim:schemas:extension:rollcall:2.0:User";
const GROUP_URN: &str = "urn:ietf:params:scim:schemas:extension:rollcall:2.0:Group";

fn is_refused(reply: &Reply) {
    assert_eq!((reply.status, reply.body["scimType"].as_str()), (400, Some("mutability")), "{}", reply.body);
    let detail = reply.body["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("break-glass@acme.invalid") && detail.contains("administrator"), "{detail}");
}

fn remove(user: &str) -> Value {
    json!([{ "op": "remove", "path": format!("members[value eq \"{user}\"]") }])
}

fn add(users: &[&String]) -> Value {
    let users: Vec<Value> = users.iter().map(|id| json!({ "value": id })).collect();
    json!([{ "op": "add", "path": "members", "value": users }])
}

fn named_root() -> Value {
    json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "Root" })
}

fn active(value: bool) -> Value {
    json!([{ "op": "replace", "path": "active", "value": value }])
}

async fn grant(client: &Client, group: &str, role: &str, given: bool) -> Result<(), AdminError> {
    let wanted = Assignment {
        tenant: client.tenant.parse().unwrap(),
        group: group.parse().unwrap(),
        team: Some("root".to_owned()),
        role: role.to_owned(),
    };
    assign(&client.table, &wanted, given).await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_has_a_complete_administrator_from_the_start() {
    for policy in ["veza", "standard", "strict"] {
        let (client, root, admin) = tenant_of(embedded().await, policy).await;
        let user = client.get(&format!("/Users/{admin}")).await.expect(200).body;
        assert_eq!(user["userName"], "break-glass@acme.invalid");
        assert_eq!(user["emails"][0]["value"], user["userName"]);
        assert_eq!((&user["active"], &user["groups"][0]["value"]), (&json!(true), &json!(root)));
        let group = client.get(&format!("/Groups/{root}")).await.expect(200).body;
        assert_eq!((&group["displayName"], &group["members"][0]["value"]), (&json!("Root"), &json!(admin)));
        let path = format!("/Users/{admin}?attributes={USER_URN}:account,{USER_URN}:roles");
        let shown = client.get(&path).await.expect(200).body;
        assert_eq!(
            shown[USER_URN],
            json!({ "account": "local", "roles": [{ "team": root, "role": "admin" }] })
        );
        assert_consistent(&client).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_administrator_stays_whatever_the_door() {
    for policy in ["veza", "standard", "strict"] {
        let (client, root, admin) = tenant_of(embedded().await, policy).await;
        let (user, group) = (format!("/Users/{admin}"), format!("/Groups/{root}"));
        is_refused(&client.patch(&user, active(false)).await);
        let mut body = client.get(&user).await.body;
        body["active"] = json!(false);
        is_refused(&client.put(&user, body).await);
        is_refused(&client.delete(&user).await);
        is_refused(&client.patch(&group, remove(&admin)).await);
        is_refused(&client.patch(&group, json!([{ "op": "remove", "path": "members" }])).await);
        is_refused(&client.put(&group, named_root()).await);
        let deleted = client.delete(&group).await.expect(400).body;
        assert!(deleted["detail"].as_str().unwrap().contains("root team"), "{deleted}");
        let refused = grant(&client, &root, "admin", false).await.expect_err("the last").to_string();
        assert!(refused.contains("break-glass@acme.invalid"), "{refused}");
        let operations = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
            "Operations": [{ "method": "DELETE", "path": user }, { "method": "DELETE", "path": group }]
        });
        let bulk = client.post("/Bulk", operations).await.expect(200).body;
        for operation in bulk["Operations"].as_array().unwrap() {
            assert_eq!(operation["status"], "400", "{bulk}");
        }
        // It may be renamed; and leave for another who comes in the same change.
        client.patch(&group, json!([{ "op": "replace", "path": "displayName", "value": "Top" }])).await;
        let other = client.user("other").await;
        let mut swap = add(&[&other]);
        swap.as_array_mut().unwrap().push(remove(&admin)[0].clone());
        assert_eq!(client.patch(&group, swap).await.status / 100, 2);
        assert_eq!(client.patch(&user, active(false)).await.status / 100, 2);
        assert_eq!(client.patch(&format!("/Users/{other}"), active(false)).await.status, 400);
        assert_consistent(&client).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sleeping_administrator_keeps_nothing() {
    let (client, root, admin) = tenant_of(embedded().await, "standard").await;
    let other = client.user("other").await;
    client.patch(&format!("/Users/{other}"), active(false)).await.expect(200);
    let group = format!("/Groups/{root}");
    client.patch(&group, add(&[&other])).await.expect(200);
    is_refused(&client.patch(&group, remove(&admin)).await);
    client.patch(&format!("/Users/{other}"), active(true)).await.expect(200);
    client.patch(&group, remove(&admin)).await.expect(200);
    assert_eq!(client.patch(&format!("/Users/{other}"), active(false)).await.status, 400);
    assert_consistent(&client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_the_union_over_groups() {
    let (client, root, admin) = tenant_of(embedded().await, "standard").await;
    let user = client.user("both").await;
    let one = client.group("One", std::slice::from_ref(&user)).await;
    let two = client.group("Two", std::slice::from_ref(&user)).await;
    grant(&client, &one, "admin", true).await.expect("a role");
    grant(&client, &two, "admin", true).await.expect("a role");
    let path = format!("/Groups/{one}?attributes={GROUP_URN}:assignments");
    let shown = client.get(&path).await.expect(200).body[GROUP_URN]["assignments"].clone();
    let mut expected = [json!({ "team": root, "role": "admin" }), json!({ "team": one, "role": "member" })];
    expected.sort_by_key(|role| role["team"].to_string());
    assert_eq!(shown, json!(expected));
    // The administrator of the start is not needed any more.
    client.delete(&format!("/Users/{admin}")).await.expect(204);
    client.patch(&format!("/Groups/{one}"), remove(&user)).await.expect(200);
    assert_eq!(client.patch(&format!("/Groups/{two}"), remove(&user)).await.status, 400);
    let filter = format!("/Users?filter={USER_URN}:roles[team eq \"{root}\" and role eq \"admin\"]");
    let found = client.get(&filter).await.expect(200).body;
    assert_eq!((&found["totalResults"], &found["Resources"][0]["id"]), (&json!(1), &json!(user)));
    assert_eq!(client.delete(&format!("/Groups/{two}")).await.status, 400);
    assert!(grant(&client, &two, "admin", false).await.is_err());
    assert_consistent(&client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_writes_what_the_service_knows() {
    let (client, root, admin) = tenant_of(embedded().await, "standard").await;
    let roles = json!([{ "team": root, "role": "admin" }]);
    let mut body = support::client::user("sly");
    body[USER_URN] = json!({ "account": "local", "roles": roles });
    let user = client.post("/Users", body).await.expect(201).id();
    let path = format!("/Users/{user}?attributes={USER_URN}:account,{USER_URN}:roles");
    assert_eq!(client.get(&path).await.body[USER_URN], json!({ "account": "sso" }));
    let set = json!([{ "op": "replace", "path": format!("{USER_URN}:roles"), "value": roles }]);
    assert_eq!(client.patch(&format!("/Users/{user}"), set).await.expect(400).body["scimType"], "mutability");
    // An update converts the break-glass account, and says so.
    client.patch(&format!("/Users/{admin}"), active(true)).await.expect(200);
    let path = format!("/Users/{admin}?attributes={USER_URN}:account");
    assert_eq!(client.get(&path).await.body[USER_URN]["account"], "sso");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_changes_keep_the_rule() {
    let (client, root, admin) = tenant_of(embedded().await, "standard").await;
    let mut users = Vec::new();
    for n in 0..60 {
        users.push(client.user(&format!("many{n}")).await);
    }
    let group = format!("/Groups/{root}");
    assert_eq!(client.patch(&group, add(&users.iter().collect::<Vec<_>>())).await.status / 100, 2);
    client.delete(&format!("/Users/{admin}")).await.expect(204);
    // All at once is refused, all but one is not.
    assert_eq!(client.put(&group, named_root()).await.status, 400);
    let mut one = named_root();
    one["members"] = json!([{ "value": users[0] }]);
    assert_eq!(client.put(&group, one).await.status / 100, 2);
    assert_eq!(client.delete(&format!("/Users/{}", users[0])).await.status, 400);
    worker::round(&client.table).await.expect("a round");
    assert_consistent(&client).await;
}

/// In the order of the request nothing leaves the root team without an administrator.
#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_request_hands_the_administration_over() {
    let (client, root, admin) = tenant_of(embedded().await, "standard").await;
    let other = client.user("next").await;
    let patch = |path: String, operations: Value| json!({ "method": "PATCH", "path": path, "data": { "Operations": operations } });
    let bulk = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
        "Operations": [
            patch(format!("/Groups/{root}"), add(&[&other])),
            patch(format!("/Users/{admin}"), active(false)),
        ],
    });
    let answer = client.post("/Bulk", bulk).await.expect(200).body;
    let statuses = [0, 1].map(|at| answer["Operations"][at]["status"].as_str().expect("a status").to_owned());
    assert_eq!(statuses, ["200", "200"], "{answer}");
    assert_consistent(&client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_leave_at_once_do_not_both_go() {
    let (client, root, admin) = tenant_of(embedded().await, "standard").await;
    let group = format!("/Groups/{root}");
    for round in 0..100 {
        let other = client.user(&format!("second{round}")).await;
        client.patch(&group, add(&[&other])).await.expect(200);
        let other_path = format!("/Users/{other}");
        let admin_path = format!("/Users/{admin}");
        let (one, two) = match round % 3 {
            0 => tokio::join!(client.patch(&group, remove(&admin)), client.patch(&group, remove(&other))),
            1 => tokio::join!(client.patch(&admin_path, active(false)), client.delete(&other_path)),
            _ => tokio::join!(client.patch(&group, remove(&admin)), client.patch(&other_path, active(false))),
        };
        let good = [&one, &two].iter().filter(|reply| reply.status / 100 == 2).count();
        assert_eq!(good, 1, "round {round}: {} {} {} {}", one.status, one.body, two.status, two.body);
        // As it was.
        client.patch(&group, add(&[&admin])).await;
        client.patch(&admin_path, active(true)).await;
        client.patch(&group, remove(&other)).await;
    }
    assert_consistent(&client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_guard_is_found_and_mended() {
    let (client, root, admin) = tenant_of(embedded().await, "standard").await;
    let other = client.user("other").await;
    client.patch(&format!("/Groups/{root}"), add(&[&other])).await.expect(200);
    client.patch(&format!("/Users/{other}"), active(false)).await.expect(200);
    assert_consistent(&client).await;
    let tenant = client.tenant.parse().unwrap();
    // The guard forgets who is there, a mark is lost, and so is a count of the inactive.
    let whole = client.table.get(&keys::admin_guard(&tenant)).await.unwrap().expect("a guard");
    let mut guard = AdminGuard::from_item(&whole).unwrap();
    guard.forget_user(other.parse().unwrap());
    client.table.transact(|| vec![guard.action(&tenant)]).await.unwrap();
    let unmark = || {
        let key = keys::resource(&tenant, Kind::User, admin.parse().unwrap());
        vec![Action::update(key, Expression::new("REMOVE guarded"))]
    };
    client.table.transact(unmark).await.unwrap();
    let recount = || {
        let one = AttributeValue::N("1".to_owned());
        let update = Expression::new("ADD n :one").value(":one", one);
        vec![Action::update(keys::inactive_counter(&tenant, 3), update)]
    };
    client.table.transact(recount).await.unwrap();
    let found = check(&client, false).await.findings;
    let problems: Vec<Problem> = found.iter().map(|finding| finding.problem).collect();
    assert_eq!(problems, [Problem::Counter, Problem::Guard, Problem::Unguarded]);
    let report = check(&client, true).await;
    assert_eq!((report.findings.len(), report.repaired.len()), (0, 3));
    assert_consistent(&client).await;
    is_refused(&client.patch(&format!("/Users/{admin}"), active(false)).await);
}

#[tokio::test]
async fn the_rule_costs_those_alone_whom_it_is_about() {
    let (client, root, admin) = tenant_of(embedded().await, "standard").await;
    let other = client.user("other").await;
    let cost = |reply: Reply| {
        let usage = reply.expect(200).line.usage;
        (usage.rounds, usage.read_units, usage.write_units)
    };
    let path = |id: &str| format!("/Users/{id}?excludedAttributes=groups");
    // A user, an event and the counter of inactive users. Only members of a granting group read the guard.
    assert_eq!(cost(client.patch(&path(&other), active(false)).await), (2, 1.0, 6.0));
    assert_eq!(cost(client.patch(&path(&other), active(true)).await), (2, 1.0, 6.0));
    let group = format!("/Groups/{root}?excludedAttributes=members");
    client.patch(&group, add(&[&other])).await.expect(200);
    // An administrator also reads and writes the guard. The conversion of the local account reads it, too.
    assert_eq!(cost(client.patch(&path(&admin), active(false)).await), (3, 3.0, 8.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_through_two_groups_does_not_lose_both_at_once() {
    let (client, _, admin) = tenant_of(embedded().await, "standard").await;
    let user = client.user("both").await;
    let mut groups = Vec::new();
    for name in ["One", "Two"] {
        let group = client.group(name, std::slice::from_ref(&user)).await;
        grant(&client, &group, "admin", true).await.expect("a role");
        groups.push(format!("/Groups/{group}"));
    }
    client.delete(&format!("/Users/{admin}")).await.expect(204);
    for round in 0..100 {
        let (one, two) = tokio::join!(
            client.patch(&groups[0], remove(&user)),
            client.patch(&groups[1], json!([{ "op": "remove", "path": "members" }]))
        );
        let good = [&one, &two].iter().filter(|reply| reply.status / 100 == 2).count();
        assert_eq!(good, 1, "round {round}: {} {} {} {}", one.status, one.body, two.status, two.body);
        for group in &groups {
            assert_eq!(client.patch(group, add(&[&user])).await.status / 100, 2);
        }
    }
    // A bulk that does both halves: one of them passes.
    let half = |path: &String| {
        let operations = remove(&user);
        let schemas = json!(["urn:ietf:params:scim:api:messages:2.0:PatchOp"]);
        json!({ "method": "PATCH", "path": path, "data": { "schemas": schemas, "Operations": operations } })
    };
    let bulk = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
        "Operations": groups.iter().map(half).collect::<Vec<_>>()
    });
    let done = client.post("/Bulk", bulk).await.expect(200).body;
    let mut statuses: Vec<&str> =
        done["Operations"].as_array().unwrap().iter().map(|one| one["status"].as_str().unwrap()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, ["200", "400"], "{done}");
    assert_consistent(&client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_administrators_than_the_guard_holds_are_refused_and_not_marked() {
    let (client, root, _) = tenant_of(embedded().await, "standard").await;
    let one = client.user("one").await;
    let nobody: Vec<Uuid> = (0..1_000).map(Uuid::from_u128).chain([one.parse().unwrap()]).collect();
    let refused = read_guard_for(&client.store(), &nobody).await.expect_err("too many").error;
    assert!(refused.detail.contains("1000 administrators at most"), "{}", refused.detail);
    let record = client.store().fetch(Kind::User, one.parse().unwrap()).await.unwrap().unwrap();
    assert!(!record.guarded);
    client.patch(&format!("/Groups/{root}"), add(&[&one])).await.expect(200);
    let record = client.store().fetch(Kind::User, one.parse().unwrap()).await.unwrap().unwrap();
    assert!(record.guarded);
}

/// Former administrators keep the mark of one.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_conversion_of_an_administrator_is_a_warning() {
    let (client, root, admin) = tenant_of(embedded().await, "veza").await;
    let former = client.user("former").await;
    client.patch(&format!("/Groups/{root}"), add(&[&former])).await.expect(200);
    client.patch(&format!("/Groups/{root}"), remove(&former)).await.expect(200);
    for (user, warns) in [(&former, false), (&admin, true)] {
        let key = keys::resource(&client.store().tenant, Kind::User, user.parse().unwrap());
        let mut item = client.table.get(&key).await.unwrap().unwrap();
        item.extend([text("account", "local")]);
        client.table.put(&key, item).await.unwrap();
        client
            .patch(&format!("/Users/{user}"), json!([{ "op": "add", "path": "title", "value": "x" }]))
            .await;
        sequence(&client.table).await;
        let changes = read_feed(&client.table).await;
        let last = changes.iter().rfind(|change| change.resource_id == *user).unwrap();
        assert_eq!((last.event_type.as_str(), last.warning.is_some()), ("user.converted", warns));
    }
}
