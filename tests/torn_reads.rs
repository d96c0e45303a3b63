//! Readers beside writers while transactions are torn: whatever a reader is shown was the truth at some
//! moment.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rollcall::store::call::Table;
use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};

use crate::support;
use crate::support::client::{Client, Reply, user};
use crate::support::faults::{Call, Fate, Proxy};
use crate::support::serve_torn;
use crate::support::torn::{Tearing, Torn};

fn values(ids: &[String]) -> Value {
    ids.iter().map(|id| json!({ "value": id })).collect()
}

fn members_of(group: &Value) -> BTreeSet<String> {
    let members = group["members"].as_array().cloned().unwrap_or_default();
    members.iter().map(|member| member["value"].as_str().unwrap().to_owned()).collect()
}

fn version_of(group: &Value) -> u64 {
    let version = group["meta"]["version"].as_str().unwrap();
    version.trim_start_matches("W/\"").trim_end_matches('"').parse().unwrap()
}

/// Sends a change until it is made.
async fn insist(client: &Client, method: &str, path: &str, body: Option<Value>) -> Reply {
    for _ in 0..50 {
        let reply = client.send(method, path, body.clone(), &[]).await;
        if ![409, 503].contains(&reply.status) {
            return reply;
        }
    }
    panic!("{method} {path} never succeeds");
}

fn operations(operations: Value) -> Option<Value> {
    Some(json!({ "Operations": operations }))
}

/// Who reads while others write; ends when the writers do.
struct Readers {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<usize>,
}

impl Readers {
    fn new() -> Self {
        Self { stop: Arc::default(), tasks: JoinSet::new() }
    }

    /// Reads again and again.
    fn read<F>(&mut self, client: &Client, look: impl Fn(Client) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, client) = (self.stop.clone(), client.clone());
        self.tasks.spawn(async move {
            let mut looks = 0;
            while !stop.load(Ordering::SeqCst) {
                Box::pin(look(client.clone())).await;
                looks += 1;
            }
            looks
        });
    }

    async fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        for looks in self.tasks.join_all().await {
            assert!(looks > 2, "{looks} looks");
        }
    }
}

/// A version of a group, and the members that it was shown with.
type ShownGroup = (u64, BTreeSet<String>);

/// Reads a group again and again at one place, and notes what was shown. Versions do not go back.
fn look_at_group(readers: &mut Readers, client: &Client, look: String, shown: Arc<Mutex<Vec<ShownGroup>>>) {
    let last = Arc::new(Mutex::new(0));
    readers.read(client, move |client| {
        let (look, shown, last) = (look.clone(), shown.clone(), last.clone());
        async move {
            let reply = client.get(&look).await;
            if reply.status == 503 {
                assert!(reply.headers.contains_key("retry-after"), "{look}: {:?}", reply.headers);
                return;
            }
            let reply = reply.expect(200);
            let found = reply.body.get("Resources").map_or(&reply.body, |all| &all[0]);
            assert!(found.is_object(), "{look}: {}", reply.body);
            let version = version_of(found);
            let before = std::mem::replace(&mut *last.lock().unwrap(), version);
            assert!(before <= version, "{look}: {before}, then {version}");
            shown.lock().unwrap().push((version, members_of(found)));
        }
    });
}

/// A group is shown with the members of its version, by GET and in a list; versions do not go back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_shown_in_one_version() {
    for seed in 1..=2 {
        let embedded = serve_torn(None).await;
        let client = Client::new(embedded.table.clone(), "standard").await;
        let ids = client.users(0..130).await;
        let group = client.group("Team", &ids[..2]).await;
        let path = format!("/Groups/{group}");
        embedded.tear(Tearing { longest: Duration::from_millis(30), ..Tearing::short(seed) }).await;
        let truth = Arc::new(Mutex::new(BTreeMap::from([(1, ids[..2].iter().cloned().collect())])));
        let shown = Arc::new(Mutex::new(Vec::<ShownGroup>::new()));
        let mut readers = Readers::new();
        let list = format!("/Groups?filter=id eq \"{group}\"");
        let named = "/Groups?filter=displayName eq \"Team\"".to_owned();
        for look in [path.clone(), list, named] {
            look_at_group(&mut readers, &client, look, shown.clone());
        }
        let mut now: BTreeSet<String> = ids[..2].iter().cloned().collect();
        for (at, (op, some)) in [
            ("add", &ids[2..10]),
            ("remove", &ids[1..5]),
            ("add", &ids[10..110]),
            ("remove", &ids[20..100]),
            ("add", &ids[2..3]),
            ("add", &ids[60..130]),
        ]
        .into_iter()
        .enumerate()
        {
            let change = operations(json!([{ "op": op, "path": "members", "value": values(some) }]));
            let reply = insist(&client, "PATCH", &path, change).await;
            assert!([200, 204].contains(&reply.status), "{}", reply.body);
            for id in some {
                if op == "add" {
                    now.insert(id.clone())
                } else {
                    now.remove(id)
                };
            }
            truth.lock().unwrap().insert(at as u64 + 2, now.clone());
        }
        readers.end().await;
        let (truth, shown) = (truth.lock().unwrap().clone(), std::mem::take(&mut *shown.lock().unwrap()));
        for (version, members) in &shown {
            let expected: &BTreeSet<String> = &truth[version];
            let number = |id: &String| ids.iter().position(|own| own == id);
            let more: Vec<_> = members.difference(expected).map(number).collect();
            let less: Vec<_> = expected.difference(members).map(number).collect();
            assert!(
                more.is_empty() && less.is_empty(),
                "seed {seed}, {version}: {more:?} more, {less:?} less"
            );
        }
        support::work(&client).await;
        support::assert_consistent(&client).await;
    }
}

/// A client of a table whose transactions are torn, but quickly. What becomes visible late is held.
async fn scene(policy: &'static str, users: usize) -> (Torn, Client, Vec<String>) {
    let embedded = serve_torn(None).await;
    let client = Client::new(embedded.table.clone(), policy).await;
    let ids = client.users(0..users).await;
    embedded.tear(Tearing { longest: Duration::ZERO, ..Tearing::short(1) }).await;
    (embedded.torn.expect("a layer"), client, ids)
}

/// Sends a request that is not waited for.
fn send(client: &Client, method: &'static str, path: &str, body: Option<Value>) -> JoinHandle<Reply> {
    let (client, path) = (client.clone(), path.to_owned());
    tokio::spawn(async move { Box::pin(client.send(method, &path, body, &[])).await })
}

/// Shows what is held, soon.
fn release_soon(torn: &Torn) -> JoinHandle<()> {
    let torn = torn.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(150)).await;
        torn.release();
    })
}

/// A client that is refused because a name is taken finds its holder, though the user's item is not visible yet.
#[tokio::test]
async fn a_name_that_is_taken_is_found() {
    let (torn, client, ids) = scene("standard", 1).await;
    let found = async |filter: &str| {
        let found = client.get(&format!("/Users?filter={filter}")).await.expect(200).body;
        found["Resources"].as_array().cloned().unwrap_or_default()
    };
    torn.hold("#U#");
    let making = send(&client, "POST", "/Users", Some(user("ann")));
    torn.held().await;
    let refused = client.post("/Users", user("ann")).await.expect(409);
    assert_eq!(refused.body["scimType"], "uniqueness");
    let releasing = release_soon(&torn);
    assert_eq!(found("userName eq \"ann@example.com\"").await.len(), 1);
    releasing.await.unwrap();
    making.await.unwrap().expect(201);

    torn.hold("#U#");
    let rename = json!([
        { "op": "replace", "path": "userName", "value": "zoe@example.com" },
        { "op": "replace", "path": "emails[type eq \"work\"].value", "value": "zoe@example.com" }
    ]);
    let renaming = send(&client, "PATCH", &format!("/Users/{}", ids[0]), operations(rename));
    torn.held().await;
    let releasing = release_soon(&torn);
    assert_eq!(found("userName eq \"zoe@example.com\" and active eq true").await[0]["id"], ids[0].as_str());
    assert_eq!(found("userName eq \"u0@example.com\"").await.len(), 0);
    releasing.await.unwrap();
    renaming.await.unwrap().expect(200);
}

/// A person whose `userName` changes is found by the email that stays, whichever item becomes visible last: the look-up,
/// the claims or the user.
#[tokio::test]
async fn a_person_whose_name_changes_is_found_by_email() {
    let (torn, client, ids) = scene("standard", 4).await;
    for (at, last) in ["#X#", "#Q#", "#U#", "OUTBOX#"].into_iter().enumerate() {
        torn.hold(last);
        let name = format!("renamed{at}@example.com");
        let rename = json!([{ "op": "replace", "path": "userName", "value": name }]);
        let renaming = send(&client, "PATCH", &format!("/Users/{}", ids[at]), operations(rename));
        torn.held().await;
        let filter = format!("/Users?filter=emails eq \"u{at}@example.com\"");
        let found = client.get(&filter).await.expect(200).body;
        assert_eq!(found["Resources"][0]["id"], ids[at].as_str(), "{last}");
        torn.release();
        renaming.await.unwrap().expect(200);
        assert_eq!(client.get(&filter).await.expect(200).body["totalResults"], 1, "{last}");
    }
    support::assert_consistent(&client).await;
}

/// A person is found by email though the look-ups are read before the `userName` changes and the claim after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_person_whose_name_changes_between_two_reads_is_found_by_email() {
    let embedded = support::serve().await;
    let writer = Client::new(embedded.table.clone(), "standard").await;
    let id = writer.user("ann").await;
    let proxy = Proxy::before(&embedded.endpoint).await;
    let reader = Client::new(Table::new(support::client(&proxy.endpoint), support::TABLE), "standard").await;
    let mut is_first = true;
    proxy.decide(move |call: &Call| {
        let is_claim =
            call.operation == "GetItem" && call.body["Key"]["pk"]["S"].as_str().unwrap().contains("#Q#");
        if is_claim && std::mem::take(&mut is_first) { Fate::Held } else { Fate::Pass }
    });
    let reading = send(&reader, "GET", "/Users?filter=emails eq \"ann@example.com\"", None);
    proxy.held().await;
    let rename = json!([{ "op": "replace", "path": "userName", "value": "bob@example.com" }]);
    writer.patch(&format!("/Users/{id}"), rename).await.expect(200);
    proxy.release();
    let found = reading.await.unwrap().expect(200).body;
    assert_eq!(found["Resources"][0]["id"], id.as_str());
}

/// An address that several people have finds the one whose `userName` it is, though that account is not visible yet.
#[tokio::test]
async fn the_owner_of_a_shared_address_is_found() {
    let (torn, client, _) = scene("standard", 0).await;
    for name in ["amy", "ben"] {
        let mut person = user(name);
        person["emails"][0]["value"] = json!("shared@example.com");
        client.post("/Users", person).await.expect(201);
    }
    torn.hold("#U#");
    let making = send(&client, "POST", "/Users", Some(user("shared")));
    torn.held().await;
    let releasing = release_soon(&torn);
    let found = client.get("/Users?filter=emails eq \"shared@example.com\"").await.expect(200).body;
    assert_eq!(found["totalResults"], 3);
    releasing.await.unwrap();
    making.await.unwrap().expect(201);
}

/// An account that was deactivated comes back under its id, though its tombstone is not visible yet.
#[tokio::test]
async fn an_account_comes_back_whose_tombstone_is_late() {
    let (torn, client, ids) = scene("veza", 1).await;
    torn.hold("T#acme#D");
    let leaving = send(&client, "DELETE", &format!("/Users/{}", ids[0]), None);
    torn.held().await;
    let releasing = release_soon(&torn);
    assert_eq!(client.post("/Users", user("u0")).await.expect(201).id(), ids[0]);
    releasing.await.unwrap();
    leaving.await.unwrap().expect(204);
    support::assert_consistent(&client).await;
}

/// An account comes back without its groups, though the change that takes it out of them is not visible
/// yet.
#[tokio::test]
async fn an_account_comes_back_without_groups_whose_detachment_is_late() {
    let (torn, client, ids) = scene("veza", 1).await;
    let mut groups = Vec::new();
    for at in 0..50 {
        groups.push(client.group(&format!("Team {at}"), &ids).await);
    }
    torn.hold("WORK#");
    let leaving = send(&client, "DELETE", &format!("/Users/{}", ids[0]), None);
    torn.held().await;
    let returning = send(&client, "POST", "/Users", Some(user("u0")));
    tokio::time::sleep(Duration::from_millis(300)).await;
    // Back already, or after the release: then it joins a group again, and stays there.
    let is_back = returning.is_finished();
    if !is_back {
        torn.release();
    }
    let back = returning.await.unwrap();
    if back.status == 201 {
        assert_eq!(back.id(), ids[0]);
    } else {
        assert!([409, 503].contains(&back.status), "{}", back.body);
        assert_eq!(client.post("/Users", user("u0")).await.expect(201).id(), ids[0]);
    }
    let join = json!([{ "op": "add", "path": "members", "value": values(&ids) }]);
    let joining = send(&client, "PATCH", &format!("/Groups/{}", groups[49]), operations(join));
    tokio::time::sleep(Duration::from_millis(300)).await;
    torn.release();
    leaving.await.unwrap().expect(204);
    joining.await.unwrap().expect(200);
    support::work(&client).await;
    let shown = client.get(&format!("/Users/{}", ids[0])).await.expect(200);
    assert_eq!(shown.body["groups"].as_array().map(Vec::len), Some(1), "{}", shown.body);
    for (at, group) in groups.iter().enumerate() {
        let shown = client.get(&format!("/Groups/{group}")).await.expect(200);
        assert_eq!(members_of(&shown.body).len(), usize::from(at == 49), "group {at}");
    }
    support::assert_consistent(&client).await;
}

/// A change of a group waits for another one that is committed, though it still looks staged.
#[tokio::test]
async fn a_change_waits_for_one_that_looks_staged() {
    let (torn, client, ids) = scene("standard", 60).await;
    let group = client.group("Team", &[]).await;
    let path = format!("/Groups/{group}");
    torn.hold("WORK#");
    let add = json!([{ "op": "add", "path": "members", "value": values(&ids[1..]) }]);
    let adding = send(&client, "PATCH", &path, operations(add));
    torn.held().await;
    let releasing = release_soon(&torn);
    let more = json!([{ "op": "add", "path": "members", "value": values(&ids[..1]) }]);
    let made = client.patch(&path, more).await;
    assert!([200, 204].contains(&made.status), "{}", made.body);
    releasing.await.unwrap();
    adding.await.unwrap().expect(200);
    assert_eq!(members_of(&client.get(&path).await.expect(200).body).len(), 60);
    support::work(&client).await;
    support::assert_consistent(&client).await;
}

/// A reader of a group whose items are in transactions at every attempt is told to ask again. Nothing is wrong with the
/// request, so the answer is not 409.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_meets_transactions_at_every_attempt_is_503() {
    let (torn, client, ids) = scene("standard", 40).await;
    let group = client.group("Team", &ids[..1]).await;
    let path = format!("/Groups/{group}");
    let search = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "attributes": ["members"] });
    let reads = [
        ("GET", path.clone(), None),
        ("GET", "/Groups?attributes=members".to_owned(), None),
        ("GET", "/Groups?attributes=members&filter=displayName eq \"Team\"".to_owned(), None),
        ("GET", "/Groups?filter=members.display sw \"u\"".to_owned(), None),
        ("POST", "/Groups/.search".to_owned(), Some(search.clone())),
        ("POST", "/.search".to_owned(), Some(search)),
    ];
    torn.hold("#G#|GROUP");
    let add = json!([{ "op": "add", "path": "members", "value": values(&ids[1..]) }]);
    let adding = send(&client, "PATCH", &path, operations(add));
    torn.held().await;
    let sent = reads.iter().map(|(method, path, body)| send(&client, method, path, body.clone()));
    for (at, read) in sent.collect::<Vec<_>>().into_iter().enumerate() {
        let reply = read.await.unwrap();
        assert_eq!(reply.status, 503, "{:?}: {}", reads[at], reply.body);
        assert!(reply.headers.contains_key("retry-after"), "{:?}: {:?}", reads[at], reply.headers);
        assert!(reply.line.is_excused, "clients alone can cause it: {:?}", reads[at]);
    }
    torn.release();
    adding.await.unwrap().expect(200);
    assert_eq!(members_of(&client.get(&path).await.expect(200).body).len(), 40);
    support::assert_consistent(&client).await;
}
