//! The checker of the change feed: silent about what the service writes, also while it writes, and loud about
//! every damage.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use futures_util::future::join_all;
use rollcall::admin::check::feed::check_feed;
use rollcall::admin::check::report::{CheckReport, Finding, Problem};
use rollcall::admin::key::{self, NewKey};
use rollcall::admin::tenant::{self, NewTenant};
use rollcall::auth::application::ApplicationScope;
use rollcall::auth::record::Scope;
use rollcall::deliver::registry::Registry;
use rollcall::outbound::target::TargetRule;
use rollcall::scim::policy::VEZA;
use rollcall::scim::resource_type::Kind;
use rollcall::store::feed::sequencer::Sequencer;
use rollcall::store::item::{Item, key_of, number, text};
use rollcall::store::keys::outbox::OutboxName;
use rollcall::store::keys::{self, Key, TenantId};
use rollcall::store::transaction::{Action, Expression};
use rollcall::tenants::actor::Actor;
use rollcall::tenants::application::{self, NewApplication};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::support;
use crate::support::client::Client;
use crate::support::feed::{read_feed, sequence};
use crate::support::pending::commit;
use crate::support::torn::Tearing;
use crate::support::{assert_consistent, check, serve_torn};

fn tenant_id() -> TenantId {
    support::client::TENANT.parse().unwrap()
}

/// A tenant with changes in several pages, and with changes that wait in the outbox.
struct Scene {
    client: Client,
    ids: Vec<String>,
    /// A group. Its last change is a large one, whose commit and parts are in the outbox.
    group: String,
    /// The bearer key, the application key and the webhook.
    bearer: Key,
    application: Key,
    webhook: Key,
    /// The pages of the feed.
    pages: Vec<Item>,
    /// The change of the first user in the outbox.
    waiting: Item,
}

impl Scene {
    async fn new() -> Self {
        let client = Client::new(support::embedded().await, "standard").await;
        let new = NewTenant::new(&tenant_id(), &VEZA, &"u".repeat(40));
        tenant::create(&client.table, &new, OffsetDateTime::now_utc()).await.expect("a tenant");
        sequence(&client.table).await;
        // What is older than the feed is not judged.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        let mut ids = Vec::new();
        for n in 0..4 {
            ids.push(client.user(&format!("u{n}")).await);
            sequence(&client.table).await;
        }
        let title = json!([{ "op": "add", "path": "title", "value": "x" }]);
        client.patch(&format!("/Users/{}", ids[2]), title.clone()).await.expect(200);
        let (bearer, application, webhook) = keys_and_webhook(&client).await;
        sequence(&client.table).await;
        let more = client.users(10..60).await;
        let group = client.group("Team", &[]).await;
        sequence(&client.table).await;
        let pending = commit(&client, &group, &more, &[]).await;
        let until = Instant::now() + Duration::from_secs(60);
        assert!(client.store().large_changes().apply_until(&pending, until).await.unwrap());
        client.patch(&format!("/Users/{}", ids[0]), title).await.expect(200);
        let pages = client.table.query_all(&keys::feed_bucket(1), None).await.unwrap();
        let waiting = client.table.get(&waiting_key(&ids[0], 2, 0)).await.unwrap().expect("a change");
        Self { client, ids, group, bearer, application, webhook, pages, waiting }
    }

    async fn write(&self, actions: &[Action]) {
        self.client.table.transact(|| actions.to_vec()).await.expect("a write");
    }

    /// What takes these actions back.
    async fn undo(&self, actions: &[Action]) -> Vec<Action> {
        let mut undo = Vec::new();
        for action in actions {
            let item = self.client.table.get(&action.key).await.expect("a table");
            undo.push(item.map_or_else(
                || Action::delete(action.key.clone()),
                |item| Action::put(action.key.clone(), item),
            ));
        }
        undo
    }

    fn user(&self, n: usize) -> Key {
        keys::resource(&tenant_id(), Kind::User, self.ids[n].parse().unwrap())
    }

    /// The page with changed contents.
    fn edit_page(&self, page: usize, edit: impl Fn(&mut Vec<Value>)) -> Action {
        let mut item = self.pages[page].clone();
        let Some(AttributeValue::B(packed)) = item.remove("changes") else { unreachable!("a page") };
        let mut changes = String::new();
        GzDecoder::new(packed.as_ref()).read_to_string(&mut changes).unwrap();
        let mut changes: Vec<Value> = serde_json::from_str(&changes).unwrap();
        edit(&mut changes);
        let mut packer = GzEncoder::new(Vec::new(), Compression::default());
        packer.write_all(&serde_json::to_vec(&changes).unwrap()).unwrap();
        item.insert("changes".to_owned(), AttributeValue::B(Blob::new(packer.finish().unwrap())));
        put(item)
    }

    /// The change that waits, with changed contents.
    fn edit_waiting(&self, edit: impl Fn(&mut Value)) -> Action {
        let mut item = self.waiting.clone();
        let mut change: Value = serde_json::from_str(item["change"].as_s().unwrap()).unwrap();
        edit(&mut change);
        item.extend([text("change", change.to_string())]);
        put(item)
    }
}

async fn keys_and_webhook(client: &Client) -> (Key, Key, Key) {
    let (table, now) = (&client.table, OffsetDateTime::now_utc());
    let new = NewKey {
        tenant: tenant_id(),
        name: "Okta".to_owned(),
        scope: Scope::Provision,
        expires: None,
        user: None,
    };
    let (_, bearer) = key::create(table, new, now).await.expect("a key");
    let new = NewApplication { name: "app".to_owned(), scope: ApplicationScope::Read, expires: None };
    let (_, application) = application::create(table, &Actor::operator(), new, now).await.expect("a key");
    let rule = TargetRule::Public;
    let registry = Registry { table, actor: "operator", request_id: "test", rule };
    let (webhook, _) = registry.create("https://app.example/hook", false).await.expect("a webhook");
    (
        keys::bearer(bearer.hash.as_str()),
        keys::application(application.hash.as_str()),
        keys::webhook(&webhook.id),
    )
}

fn waiting_key(resource: &str, version: u64, part: u32) -> Key {
    OutboxName { tenant: tenant_id(), resource: resource.to_owned(), version, part }.key()
}

/// Puts an item as it is, with its key.
fn put(mut item: Item) -> Action {
    let key = key_of(&item).expect("a key");
    item.retain(|name, _| name != "pk" && name != "sk");
    Action::put(key, item)
}

fn put_at(key: Key, item: &Item) -> Action {
    let mut item = item.clone();
    item.retain(|name, _| name != "pk" && name != "sk");
    Action::put(key, item)
}

fn set(key: Key, name: &str, value: u64) -> Action {
    Action::update(key, Expression::update().set(name, AttributeValue::N(value.to_string())))
}

fn problems(findings: &[Finding]) -> Vec<Problem> {
    let mut problems: Vec<Problem> = findings.iter().map(|finding| finding.problem).collect();
    problems.sort();
    problems.dedup();
    problems
}

/// Damages of the changes of a tenant, which a `tenant.resync` settles.
fn tenant_damages(scene: &Scene) -> Vec<(&'static str, Vec<Problem>, Vec<Action>)> {
    use Problem::{ChangeMissing, ChangeOrder, ResourceBehind};
    let (ids, group) = (&scene.ids, &scene.group);
    vec![
        ("a lost change", vec![ChangeMissing], vec![Action::delete(waiting_key(&ids[0], 2, 0))]),
        ("a lost part", vec![ChangeMissing], vec![Action::delete(waiting_key(group, 2, 2))]),
        ("a lost commit", vec![ChangeMissing], vec![Action::delete(waiting_key(group, 2, 0))]),
        ("a version without a change", vec![ChangeMissing], vec![set(scene.user(1), "ver", 2)]),
        ("a later version", vec![ChangeMissing], vec![set(scene.user(0), "ver", 3)]),
        ("an earlier version", vec![ResourceBehind], vec![set(scene.user(2), "ver", 1)]),
        ("a version of a key", vec![ChangeMissing], vec![set(scene.bearer.clone(), "ver", 2)]),
        ("a version of the tenant", vec![ChangeMissing], vec![set(keys::tenant(&tenant_id()), "ver", 4)]),
        (
            "a change that does not follow",
            vec![ChangeOrder, ResourceBehind],
            vec![scene.edit_page(5, |changes| {
                let change = changes.iter_mut().find(|change| change["type"] == "user.updated").unwrap();
                change["version"] = json!(3);
            })],
        ),
    ]
}

/// What a check of the tenant reports of changes.
fn of_changes(report: &CheckReport) -> Vec<Finding> {
    let findings = report.findings.iter();
    let of_changes = |finding: &&Finding| finding.problem >= Problem::ChangeMissing;
    findings.filter(of_changes).cloned().collect()
}

#[tokio::test]
async fn every_damage_of_changes_is_found_and_settled_by_a_resync() {
    let count = tenant_damages(&Scene::new().await).len();
    // Side by side, since each scene mostly waits.
    join_all((0..count).map(async |at| {
        let scene = Scene::new().await;
        assert_consistent(&scene.client).await;
        let (what, expected, actions) = tenant_damages(&scene).remove(at);
        scene.write(&actions).await;
        let report = check(&scene.client, false).await;
        assert_eq!(problems(&report.findings), expected, "{what}: {:?}", report.findings);
        let report = check(&scene.client, true).await;
        assert_eq!((report.findings, report.resync), (vec![], true), "{what}");
        // Also while the resync waits in the outbox.
        let report = check(&scene.client, true).await;
        assert_eq!((report.findings, report.resync), (vec![], false), "{what}");
        sequence(&scene.client.table).await;
        assert_consistent(&scene.client).await;
        let last = read_feed(&scene.client.table).await.pop().unwrap();
        assert_eq!(last.event_type, "tenant.resync", "{what}");
    }))
    .await;
}

#[tokio::test]
async fn a_resource_that_only_the_feed_has_is_found() {
    let scene = Scene::new().await;
    scene.write(&[Action::delete(scene.user(3))]).await;
    let found = of_changes(&check(&scene.client, false).await);
    assert_eq!(problems(&found), [Problem::ResourceGone]);
    assert_eq!(found[0].key, scene.user(3));
}

/// A damage: its name, what the checker finds, and how it is done.
type Damage = (&'static str, Vec<Problem>, Vec<Action>);

/// Damages of the feed, the outbox and the consumers. Nobody mends them.
fn feed_damages(scene: &Scene) -> Vec<Damage> {
    [page_damages(scene), outbox_damages(scene), consumer_damages(scene)].concat()
}

fn page_damages(scene: &Scene) -> Vec<Damage> {
    let page = |n: usize| key_of(&scene.pages[n]).unwrap();
    let mut unread = scene.pages[2].clone();
    unread.extend([("changes".to_owned(), AttributeValue::B(Blob::new("?")))]);
    let mut headless = scene.pages[2].clone();
    headless.remove("last");
    let within = {
        let Action { kind, .. } = scene.edit_page(0, |changes| {
            changes.remove(0);
        });
        Action { kind, ..Action::delete(keys::feed_page(2)) }
    };
    vec![
        ("a page is gone", vec![Problem::PageMissing], vec![Action::delete(page(2))]),
        ("a page begins within another", vec![Problem::PageOverlap], vec![within]),
        ("contents that cannot be read", vec![Problem::PageBroken], vec![put(unread)]),
        ("a page without its end", vec![Problem::PageMissing, Problem::PageBroken], vec![put(headless)]),
        (
            "a page with a change too few",
            vec![Problem::PageBroken],
            vec![scene.edit_page(0, |changes| {
                changes.pop();
            })],
        ),
        (
            "a change of no tenant",
            vec![Problem::PageBroken],
            vec![scene.edit_page(1, |changes| changes[0]["incarnation"] = json!(""))],
        ),
    ]
}

fn outbox_damages(scene: &Scene) -> Vec<Damage> {
    vec![
        (
            "an item that is no change",
            vec![Problem::OutboxBroken],
            vec![Action::put(Key { pk: keys::outbox::outbox_shard(0), sk: "x".to_owned() }, Item::new())],
        ),
        (
            "a change under another key",
            vec![Problem::OutboxBroken],
            vec![put_at(waiting_key(&scene.ids[0], 9, 0), &scene.waiting)],
        ),
        (
            "a change that stays",
            vec![Problem::OutboxOld],
            vec![scene.edit_waiting(|change| change["time"] = json!("2026-01-01T00:00:00.000Z"))],
        ),
        (
            "a change that is in a page",
            vec![Problem::OutboxRepeated],
            vec![scene.edit_waiting(|change| {
                let page = &scene.pages[0];
                let page = rollcall::store::feed::page::FeedPage::from_item(page).unwrap();
                change["id"] = json!(page.changes().unwrap()[0].id);
            })],
        ),
    ]
}

fn consumer_damages(scene: &Scene) -> Vec<Damage> {
    let first = |n: usize| key_of(&scene.pages[n]).unwrap().sk.parse::<u64>().unwrap();
    let consumer = |feed: &str, position: u64| Item::from([text("feed", feed), number("position", position)]);
    let hook = keys::consumer(&scene.webhook.sk);
    vec![
        (
            "a position behind the end",
            vec![Problem::ConsumerLost],
            vec![set(hook.clone(), "position", 9_999)],
        ),
        ("a message behind the end", vec![Problem::ConsumerLost], vec![set(hook.clone(), "batchEnd", 9_999)]),
        (
            "a position in another feed",
            vec![Problem::ConsumerLost],
            vec![put_at(keys::consumer("bus"), &consumer("0123456789abcdef", 1))],
        ),
        ("a webhook without a position", vec![Problem::ConsumerUnknown], vec![Action::delete(hook)]),
        ("a version of a webhook", vec![Problem::ChangeMissing], vec![set(scene.webhook.clone(), "ver", 2)]),
        (
            "a version of an application key",
            vec![Problem::ChangeMissing],
            vec![set(scene.application.clone(), "ver", 2)],
        ),
        ("an end behind the end", vec![Problem::FeedState], vec![set(keys::feed_state(), "nearEnd", 5_000)]),
        (
            "a beginning within a page",
            vec![Problem::PageMissing],
            vec![set(keys::feed_state(), "floor", first(0) + 1)],
        ),
    ]
}

#[tokio::test]
async fn every_damage_of_the_feed_is_found() {
    let scene = Scene::new().await;
    let clean = check_feed(&scene.client.table, false).await.unwrap();
    assert_eq!(clean.findings, []);
    assert!(clean.pages > 6 && clean.outbox > 3 && clean.consumers == 1, "{clean:?}");
    for (what, expected, actions) in feed_damages(&scene) {
        let undo = scene.undo(&actions).await;
        scene.write(&actions).await;
        let report = check_feed(&scene.client.table, false).await.unwrap();
        assert_eq!(problems(&report.findings), expected, "{what}: {:?}", report.findings);
        scene.write(&undo).await;
    }
    let mended = check_feed(&scene.client.table, false).await.unwrap();
    assert_eq!(mended.findings, []);
}

#[tokio::test]
async fn changes_that_were_left_enter_the_feed_with_a_repair() {
    let scene = Scene::new().await;
    scene.write(&[scene.edit_waiting(|change| change["time"] = json!("2026-01-01T00:00:00.000Z"))]).await;
    let report = check_feed(&scene.client.table, true).await.unwrap();
    assert!(report.moved > 3, "{report:?}");
    assert_eq!((report.findings, report.outbox), (vec![], 0));
}

/// Writers, sequencers and checkers at once, with torn transactions.
#[tokio::test(flavor = "multi_thread")]
async fn a_feed_in_use_is_in_order() {
    let embedded = serve_torn(None).await;
    let client = Client::new(embedded.table.clone(), "veza").await;
    let new = NewTenant::new(&tenant_id(), &VEZA, &"u".repeat(40));
    tenant::create(&client.table, &new, OffsetDateTime::now_utc()).await.expect("a tenant");
    sequence(&client.table).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let ids = client.users(0..60).await;
    let group = client.group("Shared", &[]).await;
    embedded.tear(Tearing::short(7)).await;
    let until = Instant::now() + Duration::from_secs(8);
    let writers = (0..3).map(|writer| {
        let (table, ids, group) = (client.table.clone(), ids.clone(), group.clone());
        tokio::spawn(async move {
            let client = Client::new(table, "veza").await;
            let mut made = 0;
            while Instant::now() < until {
                let id = client.user(&format!("w{writer}-{made}")).await;
                let members: Value = ids.iter().map(|id| json!({ "value": id })).collect();
                let path = format!("/Groups/{group}?excludedAttributes=members");
                let verb = if made % 2 == 0 { "add" } else { "remove" };
                let mut change = json!([{ "op": verb, "path": "members", "value": members }]);
                if writer > 0 {
                    change = json!([{ "op": "add", "path": "members", "value": [{ "value": id }] }]);
                }
                client.patch(&path, change).await;
                if made % 3 != 0 {
                    client.delete(&format!("/Users/{id}")).await;
                }
                made += 1;
            }
            made
        })
    });
    let writers: Vec<_> = writers.collect();
    let table = client.table.fresh();
    let sequencer = tokio::spawn(async move {
        while Instant::now() < until {
            drop(Sequencer::new(&table).run(until).await);
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    });
    let mut checks = 0;
    while Instant::now() < until {
        assert_eq!(of_changes(&check(&client, false).await), []);
        assert_eq!(check_feed(&client.table.fresh(), false).await.unwrap().findings, []);
        checks += 1;
    }
    let mut made = 0;
    for writer in writers {
        made += writer.await.expect("a writer");
    }
    sequencer.await.expect("a sequencer");
    assert!(checks > 1 && made > 5, "{checks} checks beside {made} rounds of writes");
    support::work(&client).await;
    sequence(&client.table).await;
    assert_consistent(&client).await;
    assert_eq!(check_feed(&client.table, false).await.unwrap().findings, []);
}
