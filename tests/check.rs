//! The consistency checker: silent about what the service writes, and loud about every damage.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use aws_sdk_dynamodb::types::AttributeValue;
use rollcall::admin::check::report::Problem;
use rollcall::admin::tenant::{NewTenant, create};
use rollcall::scim::policy::STANDARD;
use rollcall::scim::resource_type::Kind;
use rollcall::store::item::{Item, text};
use rollcall::store::keys::{self, Key, TenantId};
use rollcall::store::large_change::pending_change::{ChangeState, PendingTask};
use rollcall::store::membership::MemberChanges;
use rollcall::store::side::Side;
use rollcall::store::transaction::{Action, Expression};
use serde_json::json;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::support;
use crate::support::client::{Client, user};
use crate::support::{assert_consistent, check};

fn tenant() -> TenantId {
    support::client::TENANT.parse().unwrap()
}

async fn write(client: &Client, action: Action) {
    client.table.transact(|| vec![action.clone()]).await.expect("a write");
}

fn number(value: i64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// A damage: the problems that the checker must report, whether it can repair them, and the write that does the
/// damage.
struct Damage {
    problems: &'static [Problem],
    mended: bool,
    action: Action,
}

fn mended(problems: &'static [Problem], action: Action) -> Damage {
    Damage { problems, mended: true, action }
}

fn not_mended(problems: &'static [Problem], action: Action) -> Damage {
    Damage { problems, mended: false, action }
}

/// The ids that the damages are done to.
#[derive(Clone, Copy)]
struct Ids {
    user: Uuid,
    /// A group that the user is in.
    group: Uuid,
    /// The id of no resource.
    nobody: Uuid,
}

fn damages(ids: Ids) -> Vec<Damage> {
    let t = &tenant();
    [entry_damages(t, ids), claim_damages(t, ids), member_damages(t, ids), change_damages(t, ids)]
        .into_iter()
        .flatten()
        .collect()
}

/// Adds 3 to a counter.
fn add_three(name: &str) -> Expression {
    Expression::new(format!("ADD #{name} :n")).name(name).value(":n", number(3))
}

/// Damages of list entries, look-ups and the counter.
fn entry_damages(t: &TenantId, Ids { user, nobody, .. }: Ids) -> Vec<Damage> {
    let lookup = |attribute: &str, value: &str, id| keys::lookup(t, Kind::User, attribute, value, id);
    vec![
        mended(
            &[Problem::MissingListEntry, Problem::Counter],
            Action::delete(keys::list_entry(t, Kind::User, user)),
        ),
        mended(
            &[Problem::OrphanListEntry, Problem::Counter],
            Action::put(keys::list_entry(t, Kind::Group, nobody), Item::new()),
        ),
        mended(&[Problem::MissingLookup], Action::delete(lookup("externalId", "ext-ann", user))),
        mended(&[Problem::OrphanLookup], Action::put(lookup("externalId", "another", user), Item::new())),
        mended(&[Problem::OrphanLookup], Action::put(lookup("emails.value", "x", nobody), Item::new())),
        mended(&[Problem::Counter], Action::update(keys::counter(t, Kind::User, 2), add_three("n"))),
    ]
}

/// Damages of claims, of a tombstone, and an item of no known kind.
fn claim_damages(t: &TenantId, Ids { user, nobody, .. }: Ids) -> Vec<Damage> {
    let of_nobody = Item::from([text("id", nobody.to_string())]);
    let gone = Expression::new("SET gone = :gone").value(":gone", AttributeValue::Bool(true));
    let tombstone = Item::from([
        text("doc", "{}"),
        text("created", "2026-01-01T00:00:00.000Z"),
        text("modified", "2026-01-01T00:00:00.000Z"),
        ("ver".to_owned(), number(1)),
        ("keptUntil".to_owned(), number(4_102_444_800)),
    ]);
    vec![
        mended(
            &[Problem::OrphanClaim, Problem::MissingClaim],
            Action::update(keys::claim(t, "userName", "ann@example.com"), gone),
        ),
        mended(&[Problem::TombstoneLeft], Action::put(keys::tombstone(t, user), tombstone)),
        mended(&[Problem::MissingClaim], Action::delete(keys::claim(t, "userName", "ann@example.com"))),
        mended(&[Problem::OrphanClaim], Action::put(keys::claim(t, "userName", "nobody"), of_nobody)),
        not_mended(
            &[Problem::Unknown],
            Action::put(Key { pk: format!("T#{t}#Z"), sk: "Z".to_owned() }, Item::new()),
        ),
    ]
}

/// Damages of memberships.
fn member_damages(t: &TenantId, Ids { user: id, group, nobody }: Ids) -> Vec<Damage> {
    let user = keys::resource(t, Kind::User, id);
    let groups = |verb: &str, id: Uuid| {
        let ids = AttributeValue::Ss(vec![id.to_string()]);
        Expression::new(format!("{verb} #groups :g")).name("groups").value(":g", ids)
    };
    let membership = || Item::from([text("type", "User"), text("since", "2026-01-01T00:00:00.000Z")]);
    vec![
        mended(&[Problem::MemberUnaware], Action::update(user.clone(), groups("DELETE", group))),
        mended(&[Problem::GroupUnaware], Action::update(user, groups("ADD", nobody))),
        mended(
            &[Problem::MemberCount],
            Action::update(keys::resource(t, Kind::Group, group), add_three("memberCount")),
        ),
        mended(
            &[Problem::GroupUnaware, Problem::MemberCount],
            Action::delete(keys::membership(t, group, id)),
        ),
        mended(
            &[Problem::MemberGone, Problem::MemberCount],
            Action::put(keys::membership(t, group, nobody), membership()),
        ),
        mended(&[Problem::GroupGone], Action::put(keys::membership(t, nobody, id), membership())),
    ]
}

/// Damages of pending changes.
fn change_damages(t: &TenantId, Ids { user, group, nobody }: Ids) -> Vec<Damage> {
    let chunk = keys::chunk(t, nobody, Side::Add, user);
    let name_change =
        Expression::new("SET #change = :c").name("change").value(":c", AttributeValue::S(nobody.to_string()));
    vec![
        mended(&[Problem::OrphanChunks], Action::put(chunk, Item::from([text("members", "[]")]))),
        mended(&[Problem::ChangeGone], Action::update(keys::resource(t, Kind::Group, group), name_change)),
    ]
}

#[tokio::test]
async fn every_damage_is_found_and_mended_where_that_is_safe() {
    let nil = Uuid::nil();
    for at in 0..damages(Ids { user: nil, group: nil, nobody: nil }).len() {
        let client = Client::new(support::embedded().await, "standard").await;
        let id = client.user("ann").await;
        let group = client.group("Team", std::slice::from_ref(&id)).await;
        assert_consistent(&client).await;
        let ids = Ids { user: id.parse().unwrap(), group: group.parse().unwrap(), nobody: Uuid::now_v7() };
        let damage = damages(ids).remove(at);
        write(&client, damage.action.clone()).await;
        let report = check(&client, false).await;
        let mut found: Vec<Problem> = report.findings.iter().map(|finding| finding.problem).collect();
        let mut expected = damage.problems.to_vec();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{at}: {:?}", report.findings);
        let report = check(&client, true).await;
        assert_eq!(report.findings.is_empty(), damage.mended, "{at}: {:?}", report.findings);
        assert_eq!(report.repaired.is_empty(), !damage.mended, "{at}");
        if damage.mended {
            assert_consistent(&client).await;
        }
    }
}

#[tokio::test]
async fn a_tenant_in_use_adds_up() {
    for policy in ["veza", "standard"] {
        let client = Client::new(support::embedded().await, policy).await;
        let mut ids = Vec::new();
        for at in 0..60 {
            ids.push(client.user(&format!("u{at}")).await);
        }
        let first = client.group("First", &ids[..50]).await;
        let second = client.group("Second", &[ids[3].clone(), first.clone()]).await;
        let itself = json!([{ "op": "add", "path": "members", "value": [{ "value": first }] }]);
        client.patch(&format!("/Groups/{first}"), itself).await.expect(200);
        let rename = json!([{ "op": "replace", "path": "displayName", "value": "Third" }]);
        client.patch(&format!("/Groups/{second}"), rename).await.expect(200);
        for at in [1, 2, 3] {
            client.delete(&format!("/Users/{}", ids[at])).await.expect(204);
        }
        client.post("/Users", user("u2")).await.expect(201);
        let mut moved = user("u5");
        moved["userName"] = json!("five@example.com");
        moved["emails"] =
            json!([{ "value": "five@example.com", "primary": true }, { "value": "v@example.com" }]);
        moved["externalId"] = json!("another");
        client.put(&format!("/Users/{}", ids[5]), moved).await.expect(200);
        assert_consistent(&client).await;
        client.delete(&format!("/Groups/{first}")).await.expect(204);
        assert_consistent(&client).await;
        // Another tenant's items are none of its business.
        client.of("acme-2").user("ann").await;
        assert_consistent(&client).await;
        assert_consistent(&client.of("acme-2")).await;
    }
}

#[tokio::test]
async fn a_pending_change_is_no_damage_until_it_is_forgotten() {
    let client = Client::new(support::embedded().await, "standard").await;
    let id = client.user("ann").await;
    let store = client.store();
    let group: Uuid = client.group("Team", &[]).await.parse().unwrap();
    let record = store.fetch(Kind::Group, group).await.unwrap().unwrap();
    let mut staged = store.large_changes().stage(&record, MemberChanges::default()).await.unwrap();
    let report = check(&client, false).await;
    assert_eq!((report.findings, report.pending), (vec![], 1));
    staged.created = 0;
    store.table.put(&staged.key(), staged.attributes()).await.unwrap();
    let report = check(&client, false).await;
    assert_eq!(report.findings.iter().map(|f| f.problem).collect::<Vec<_>>(), [Problem::ChangeLeft]);
    assert_eq!(check(&client, true).await.repaired.len(), 1);
    assert_consistent(&client).await;
    // Committed, as far as the change item knows, and unknown to its group.
    for task in [PendingTask::ChangeMembers, PendingTask::RemoveAllMembers] {
        let unknown = store.large_changes().new_change(task, group, ChangeState::Committed);
        store.table.put(&unknown.key(), unknown.attributes()).await.unwrap();
        let report = check(&client, false).await;
        assert_eq!(report.findings.iter().map(|f| f.problem).collect::<Vec<_>>(), [Problem::ChangeUnknown]);
        let report = check(&client, true).await;
        let repaired: Vec<_> = report.repaired.iter().map(|finding| finding.problem).collect();
        assert_eq!(repaired, [Problem::ChangeUnknown, Problem::ChangeLeft]);
        assert_consistent(&client).await;
    }
    client.get(&format!("/Users/{id}")).await.expect(200);
    client.get(&format!("/Groups/{group}")).await.expect(200);
}

/// A table that was restored may have the group after the commit, and the change before it.
#[tokio::test]
async fn a_change_that_its_group_names_is_committed_and_applied() {
    let client = Client::new(support::embedded().await, "standard").await;
    let ids = client.users(0..60).await;
    let group = client.group("Team", &ids[..2]).await;
    let mut change = support::pending::commit(&client, &group, &ids[2..], &ids[..1]).await;
    change.state = ChangeState::Staged;
    client.table.put(&change.key(), change.attributes()).await.unwrap();
    let report = check(&client, false).await;
    assert_eq!(report.findings.iter().map(|f| f.problem).collect::<Vec<_>>(), [Problem::ChangeStaged]);
    let report = check(&client, true).await;
    assert_eq!(report.repaired.iter().map(|f| f.problem).collect::<Vec<_>>(), [Problem::ChangeStaged]);
    assert_consistent(&client).await;
    let found = client.get(&format!("/Groups/{group}")).await.expect(200);
    assert_eq!(found.body["members"].as_array().unwrap().len(), 59);
}

/// A tenant as the operator makes it, with a root team.
async fn tenant_with_root_team() -> Client {
    let client = Client::new(support::embedded().await, "standard").await;
    let new = NewTenant::new(&tenant(), &STANDARD, &"u".repeat(40));
    create(&client.table, &new, OffsetDateTime::now_utc()).await.expect("a tenant");
    assert_consistent(&client).await;
    client
}

#[tokio::test]
async fn a_lost_guard_is_found_and_written_anew() {
    let client = tenant_with_root_team().await;
    let key = keys::admin_guard(&tenant());
    let before = client.store().admin_guard().fetch().await.unwrap().expect("a guard");
    write(&client, Action::delete(key.clone())).await;
    let report = check(&client, false).await;
    assert_eq!(report.findings.iter().map(|f| f.problem).collect::<Vec<_>>(), [Problem::Guard]);
    assert_eq!(check(&client, true).await.findings, []);
    let after = client.store().admin_guard().fetch().await.unwrap().expect("a guard");
    assert_eq!((after.root, &after.granting, &after.admins), (before.root, &before.granting, &before.admins));
    // The rule holds again.
    let admin = before.admins.keys().next().expect("an administrator");
    let refused = client.delete(&format!("/Users/{admin}")).await;
    assert_eq!(refused.status, 400, "{}", refused.body);
    assert_consistent(&client).await;
    // Nor is anything left of a tenant that is being deleted.
    write(&client, Action::delete(key.clone())).await;
    let mark = Expression::update().set("deleting", AttributeValue::Bool(true));
    write(&client, Action::update(keys::tenant(&tenant()), mark)).await;
    assert!(check(&client, true).await.repaired.is_empty());
    assert!(client.store().admin_guard().fetch().await.unwrap().is_none());
    let no_mark = Expression::update().remove("deleting");
    write(&client, Action::update(keys::tenant(&tenant()), no_mark)).await;
    assert_eq!(check(&client, true).await.findings, []);
    // An import that has not ended has no guard. A repair must not end it.
    write(&client, Action::delete(key)).await;
    write(&client, Action::put(keys::move_mark(&tenant()), [])).await;
    let report = check(&client, true).await;
    assert_eq!(report.findings.iter().map(|f| f.problem).collect::<Vec<_>>(), [Problem::MoveOpen]);
    assert!(report.repaired.is_empty() && client.store().admin_guard().fetch().await.unwrap().is_none());
}

#[tokio::test]
async fn a_tenant_that_is_not_listed_is_found_and_listed() {
    let client = tenant_with_root_team().await;
    write(&client, Action::delete(keys::tenant_listing(&tenant()))).await;
    let report = check(&client, false).await;
    assert_eq!(report.findings.iter().map(|f| f.problem).collect::<Vec<_>>(), [Problem::TenantUnlisted]);
    assert_eq!(check(&client, true).await.findings, []);
    assert!(client.table.get(&keys::tenant_listing(&tenant())).await.unwrap().is_some());
    assert_consistent(&client).await;
}

/// An item that cannot be read is named. The others are checked, and none is repaired by what is not known.
#[tokio::test]
async fn an_item_that_cannot_be_read_is_found_beside_the_others() {
    let client = tenant_with_root_team().await;
    let id = client.user("ann").await;
    let group = client.group("Team", std::slice::from_ref(&id)).await;
    let damaged = keys::resource(&tenant(), Kind::User, id.parse().unwrap());
    let broken = |name: &str| Expression::update().set(name, AttributeValue::S("{".to_owned()));
    write(&client, Action::update(damaged.clone(), broken("doc"))).await;
    write(&client, Action::update(keys::counter(&tenant(), Kind::Group, 1), add_three("n"))).await;
    let report = check(&client, true).await;
    assert!(report.repaired.is_empty() && !report.resync, "{:?}", report.repaired);
    let unreadable: Vec<_> = report.findings.iter().filter(|f| f.problem == Problem::Unreadable).collect();
    assert_eq!(unreadable.iter().map(|finding| &finding.key).collect::<Vec<_>>(), [&damaged]);
    assert!(report.findings.iter().any(|finding| finding.problem == Problem::Counter));
    client.get(&format!("/Groups/{group}")).await.expect(200);
    // A key of another tenant is none of its business.
    let other = Item::from([text("tenant", "other-tenant"), text("scope", "none")]);
    write(&client, Action::put(keys::bearer(&"0".repeat(64)), other)).await;
    assert_eq!(check(&client, false).await.findings, report.findings);
    let own = Item::from([text("tenant", tenant().as_str()), text("scope", "none")]);
    write(&client, Action::put(keys::bearer(&"1".repeat(64)), own)).await;
    let listing = keys::bearer_listing(&tenant(), "key_x");
    write(&client, Action::put(listing.clone(), [])).await;
    let found = check(&client, false).await.findings;
    for key in [keys::bearer(&"1".repeat(64)), listing] {
        assert!(found.iter().any(|f| f.problem == Problem::Unreadable && f.key == key), "{key:?}");
    }
}
