//! Bulk requests (RFC 7644 §3.7) through the function, over an embedded DynamoDB.
#![allow(clippy::expect_used)]

use std::sync::Arc;
use std::time::Duration;

use rollcall::http::function::Function;
use rollcall::provider::Provider;
use rollcall::provider::bulk::run::Budget;
use rollcall::scim::bulk::request::read;
use rollcall::scim::policy::STANDARD;
use rollcall::scim::resource_type::Model;
use rollcall::store::Store;
use rollcall::store::call::Table;
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::faults::{Fate, Proxy};
use crate::support::{self, Dice, tenant_of};

const BASE: &str = "https://scim.example.com/scim/v2";
const BULK: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";
const PATCH: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

struct Service {
    function: Arc<Function>,
    table: Table,
}

impl Service {
    async fn start() -> Self {
        let table = support::embedded().await;
        let function = Function::new(table.clone(), Some(BASE.to_owned())).expect("a function");
        Self { function: Arc::new(function), table }
    }

    async fn send(&self, method: &str, path: &str, scope: &str, body: Option<String>) -> (u64, Value) {
        let event = include_str!("../events/bulk.json");
        let mut event: Value = serde_json::from_str(event).expect("an event");
        event["httpMethod"] = method.into();
        event["path"] = format!("/scim/v2{path}").into();
        event["requestContext"]["httpMethod"] = method.into();
        event["requestContext"]["path"] = format!("/prod/scim/v2{path}").into();
        event["requestContext"]["authorizer"]["policy"] = "standard".into();
        event["requestContext"]["authorizer"]["scope"] = scope.into();
        event["body"] = body.into();
        let answer = self.function.clone().invoke(event).await.expect("an answer");
        let body = answer["body"].as_str().and_then(|text| serde_json::from_str(text).ok());
        (answer["statusCode"].as_u64().expect("a status"), body.unwrap_or_default())
    }

    async fn get(&self, location: &Value) -> (u64, Value) {
        let path = location.as_str().and_then(|url| url.strip_prefix(BASE)).expect("a location here");
        self.send("GET", path, "provision", None).await
    }

    async fn total(&self, endpoint: &str) -> Value {
        self.send("GET", endpoint, "provision", None).await.1["totalResults"].clone()
    }

    /// Sends operations and returns their results.
    async fn bulk(&self, operations: &[Value], fail_on_errors: Option<u64>) -> Vec<Value> {
        let body = json!({ "schemas": [BULK], "failOnErrors": fail_on_errors, "Operations": operations });
        let (status, body) = self.send("POST", "/Bulk", "provision", Some(body.to_string())).await;
        assert_eq!(status, 200, "{body}");
        assert_eq!(body["schemas"], json!(["urn:ietf:params:scim:api:messages:2.0:BulkResponse"]));
        body["Operations"].as_array().expect("results").clone()
    }
}

fn user(bulk_id: &str, name: &str) -> Value {
    json!({ "method": "POST", "path": "/Users", "bulkId": bulk_id, "data": { "userName": name } })
}

fn group(bulk_id: &str, name: &str, members: &[&str]) -> Value {
    let members: Vec<_> = members.iter().map(|member| json!({ "value": member })).collect();
    let data = json!({ "displayName": name, "members": members });
    json!({ "method": "POST", "path": "/Groups", "bulkId": bulk_id, "data": data })
}

fn patch(path: &str, attribute: &str, value: &str) -> Value {
    let operations = json!([{ "op": "replace", "path": attribute, "value": value }]);
    json!({ "method": "PATCH", "path": path, "data": { "schemas": [PATCH], "Operations": operations } })
}

fn delete(path: &str) -> Value {
    json!({ "method": "DELETE", "path": path })
}

fn statuses(results: &[Value]) -> Vec<&str> {
    results.iter().map(|result| result["status"].as_str().expect("a status as text")).collect()
}

fn id(result: &Value) -> &str {
    result["location"].as_str().and_then(|url| url.rsplit('/').next()).expect("a location")
}

/// The ids of a group's members, sorted.
fn members(group: &Value) -> Vec<&str> {
    let elements = group["members"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut ids: Vec<&str> = elements.iter().filter_map(|member| member["value"].as_str()).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn references_lead_backward_and_forward() {
    let service = Service::start().await;
    let managed = json!({
        "method": "POST", "path": "/Users/", "bulkId": "carol",
        "data": { "userName": "carol", ENTERPRISE: { "manager": { "value": "bulkId:bob", "$ref": "bulkId:bob" } } },
    });
    let results = service
        .bulk(
            &[
                user("alice", "alice"),
                group("g", "Tour Guides", &["bulkId:alice", "bulkId:bob"]),
                managed,
                user("bob", "bob"),
            ],
            None,
        )
        .await;
    assert_eq!(statuses(&results), ["201"; 4]);
    assert_eq!(results[0]["version"], "W/\"1\"");
    assert_eq!((&results[0]["method"], &results[0]["bulkId"]), (&json!("POST"), &json!("alice")));
    assert!(results[0].get("response").is_none());
    let mut expected = [id(&results[0]), id(&results[3])];
    expected.sort_unstable();
    let (_, stored) = service.get(&results[1]["location"]).await;
    assert_eq!(members(&stored), expected);
    let (_, carol) = service.get(&results[2]["location"]).await;
    assert_eq!(carol[ENTERPRISE]["manager"]["value"], id(&results[3]));
    assert_eq!(carol[ENTERPRISE]["manager"]["$ref"], results[3]["location"]);
}

#[tokio::test]
async fn circles_are_closed() {
    let service = Service::start().await;
    let results = service
        .bulk(
            &[
                group("a", "A", &["bulkId:b", "bulkId:u"]),
                group("b", "B", &["bulkId:a"]),
                group("c", "C", &["bulkId:c", "bulkId:a"]),
                user("u", "u"),
            ],
            None,
        )
        .await;
    assert_eq!(statuses(&results), ["201"; 4]);
    for (at, names) in [(0, vec![1, 3]), (1, vec![0]), (2, vec![0, 2])] {
        let (_, stored) = service.get(&results[at]["location"]).await;
        let mut expected: Vec<&str> = names.iter().map(|name| id(&results[*name])).collect();
        expected.sort_unstable();
        assert_eq!(members(&stored), expected, "{stored}");
        assert_eq!(stored["meta"]["version"], results[at]["version"]);
    }
}

#[tokio::test]
async fn a_circle_is_made_whole_or_not_at_all() {
    let service = Service::start().await;
    let nobody = "019aaf5c-8b40-7c3e-9d52-6f1b2a3c4d5e";
    let results = service
        .bulk(
            &[
                group("a", "A", &["bulkId:b"]),
                group("b", "B", &["bulkId:a", nobody]),
                group("c", "C", &["bulkId:a"]),
                user("u", "u"),
            ],
            None,
        )
        .await;
    assert_eq!(statuses(&results), ["400", "400", "400", "201"]);
    let detail = |at: usize| results[at]["response"]["detail"].as_str().expect("a detail");
    assert!(detail(0).contains("bulkId b failed"), "{}", detail(0));
    assert!(detail(1).contains(nobody), "{}", detail(1));
    assert!(detail(2).contains("bulkId a failed"), "{}", detail(2));
    assert!(results[0].get("location").is_none());
    assert_eq!(service.total("/Groups").await, 0);
}

#[tokio::test]
async fn errors_stop_what_comes_after() {
    let service = Service::start().await;
    let operations = [user("a", "a"), user("b", "A"), user("c", "c"), user("d", "C"), user("e", "e")];
    let results = service.bulk(&operations, Some(2)).await;
    assert_eq!(statuses(&results), ["201", "409", "201", "409"]);
    assert_eq!(service.total("/Users").await, 2);
    let results =
        service.bulk(&[json!({ "method": "GET", "path": "/Users/1" }), user("x", "x")], Some(1)).await;
    assert_eq!(statuses(&results), ["400"]);
    let results =
        service.bulk(&[group("g", "G", &["bulkId:x"]), user("x", "x"), user("y", "a")], Some(1)).await;
    assert_eq!(statuses(&results), ["201", "201", "409"]);
}

#[tokio::test]
async fn every_operation_has_its_own_result() {
    let service = Service::start().await;
    let made = service.bulk(&[user("a", "a"), user("b", "b")], None).await;
    let path = |at: usize| format!("/Users/{}", id(&made[at]));
    let mut stale = patch(&path(0), "title", "x");
    stale["version"] = "W/\"7\"".into();
    let mut fresh = patch(&path(1), "title", "y");
    fresh["version"] = "W/\"1\"".into();
    let put = json!({ "method": "put", "path": path(0), "data": { "userName": "a2" } });
    let nameless = json!({ "method": "POST", "path": "/Users", "data": { "userName": "n" } });
    let operations = [
        nameless,
        json!({ "method": "TRACE", "path": "/Users", "bulkId": "t" }),
        json!({ "method": "POST", "path": "/Robots", "bulkId": "r", "data": {} }),
        json!({ "method": "PUT", "path": path(0), "bulkId": "p" }),
        stale,
        fresh,
        put,
        user("same", "twice"),
        user("again", "TWICE"),
        group("g", "G", &["bulkId:nobody"]),
        delete("/Users/1"),
        json!({ "method": "PATCH", "path": "/Users/1", "data": {} }),
        group("h", "H", &["bulkId:again"]),
        user("same", "other"),
        json!("DELETE"),
    ];
    let results = service.bulk(&operations, None).await;
    assert_eq!(
        statuses(&results),
        [
            "400", "400", "404", "400", "412", "200", "200", "201", "409", "400", "404", "404", "400", "400",
            "400"
        ]
    );
    let error = |at: usize| &results[at]["response"];
    assert_eq!(error(0)["scimType"], "invalidValue");
    assert_eq!(error(8)["scimType"], "uniqueness");
    assert_eq!(error(4)["status"], "412");
    assert!(error(9)["detail"].as_str().expect("a detail").contains("bulkId:nobody"));
    assert_eq!(results[3]["location"], made[0]["location"]);
    assert_eq!(results[4]["location"], made[0]["location"]);
    assert_eq!(results[10]["location"], format!("{BASE}/Users/1"));
    assert_eq!(results[5]["version"], "W/\"2\"");
    assert_eq!((&results[6]["method"], &results[6]["version"]), (&json!("PUT"), &json!("W/\"2\"")));
    assert_eq!(service.total("/Users").await, 3);
    assert_eq!(service.total("/Groups").await, 0);
}

#[tokio::test]
async fn what_was_just_created_can_be_changed_and_deleted() {
    let service = Service::start().await;
    let results = service
        .bulk(
            &[
                patch("/Users/bulkId:a", "title", "Guide"),
                user("a", "a"),
                user("b", "b"),
                group("g", "G", &["bulkId:b"]),
                delete("/Users/bulkId:b"),
                delete("/Users/bulkId:c"),
            ],
            None,
        )
        .await;
    assert_eq!(statuses(&results), ["200", "201", "201", "201", "204", "400"]);
    assert_eq!(results[0]["location"], results[1]["location"]);
    assert_eq!(service.get(&results[1]["location"]).await.1["title"], "Guide");
    assert_eq!(service.get(&results[4]["location"]).await.0, 404);
    assert!(results[4].get("version").is_none());
    let (_, stored) = service.get(&results[3]["location"]).await;
    assert!(stored.get("members").is_none(), "{stored}");
}

/// Side by side, with the result of one after the other (RFC 7644 §3.7.3).
#[tokio::test]
async fn a_name_that_is_set_free_can_be_taken() {
    let service = Service::start().await;
    let made = service.bulk(&[user("a", "a"), user("b", "b")], None).await;
    let path = |at: usize| format!("/Users/{}", id(&made[at]));
    let results =
        service.bulk(&[delete(&path(0)), patch(&path(1), "userName", "a"), user("c", "b")], None).await;
    assert_eq!(statuses(&results), ["204", "200", "201"]);
}

/// A name that a later operation sets free is taken until then.
#[tokio::test]
async fn a_name_that_is_set_free_later_is_taken() {
    let service = Service::start().await;
    let made = service.bulk(&[user("a", "a"), user("b", "b"), user("z", "z")], None).await;
    let path = |at: usize| format!("/Users/{}", id(&made[at]));
    for (later, status) in [(patch(&path(0), "userName", "c"), "200"), (delete(&path(1)), "204")] {
        let name = if status == "200" { "a" } else { "b" };
        let operations = [patch(&path(2), "title", name), user("new", name), later];
        assert_eq!(statuses(&service.bulk(&operations, None).await), ["200", "409", status], "{name}");
    }
    assert_eq!(service.total("/Users").await, 2);
}

/// One of some operations that meet at names, members, versions, administrators, an account that can come back, and what
/// an earlier operation creates. It is the operation `at` this place.
fn any_operation(at: usize, dice: &mut Dice, scene: &BulkScene) -> Value {
    let names = ["u0", "u1", "u2", "gone", "new"].map(|name| format!("{name}@example.com"));
    let (name, other) = (names[dice.below(5)].as_str(), names[dice.below(5)].as_str());
    let mut someone = || match dice.below(3) {
        0 if at > 0 => format!("bulkId:b{}", dice.below(at)),
        _ => scene.users[dice.below(5)].clone(),
    };
    let (path, id) = (format!("/Users/{}", someone()), someone());
    let path = path.as_str();
    let group = format!("/Groups/{}", scene.groups[dice.below(2)]);
    let version = format!("W/\"{}\"", 1 + dice.below(3));
    let named = |name: &str| support::client::user(name.split('@').next().expect("a name"));
    let value = |value: Value| json!({ "schemas": [PATCH], "Operations": [{ "op": "add", "value": value }] });
    match dice.below(11) {
        0 | 9 => {
            json!({ "method": "POST", "path": "/Users", "bulkId": format!("b{at}"), "data": named(name) })
        }
        1 => patch(path, "userName", name),
        2 => json!({ "method": "PUT", "path": path, "data": named(name) }),
        3 => json!({ "method": "PATCH", "path": path, "data": value(named(other)) }),
        4 | 5 => delete(path),
        6 => {
            json!({ "method": "PATCH", "path": group, "data": value(json!({ "members": [{ "value": id }] })) })
        }
        7 => {
            json!({ "method": "PATCH", "path": group, "version": version, "data": value(json!({ "members": [{ "value": id }] })) })
        }
        8 => json!({ "method": "DELETE", "path": group, "version": version }),
        _ => patch(path, "active", if dice.below(2) == 0 { "true" } else { "false" }),
    }
}

/// The users of a tenant, one of whom is deactivated and one of whom administers it, and its groups.
struct BulkScene {
    client: Client,
    /// The same, behind a proxy.
    slow: Client,
    proxy: Proxy,
    users: [String; 5],
    groups: [String; 2],
}

impl BulkScene {
    async fn new() -> Self {
        let embedded = support::serve().await;
        let (client, root, admin) = tenant_of(embedded.table, "veza").await;
        let proxy = Proxy::before(&embedded.endpoint).await;
        let table = Table::new(support::client(&proxy.endpoint), support::TABLE);
        let slow = Client::new(table, "veza").await;
        let mut users = Vec::new();
        for name in ["u0", "u1", "u2", "gone"] {
            users.push(client.user(name).await);
        }
        client.delete(&format!("/Users/{}", users[3])).await.expect(204);
        let team = client.group("Team", &users[..2]).await;
        users.push(admin);
        Self { client, slow, proxy, users: users.try_into().expect("five"), groups: [root, team] }
    }

    /// Sends operations. One write, which the `late` one is from 1, takes longer than the others. Returns the statuses,
    /// and who is there then: the names, who is active, the members.
    async fn play(
        &self,
        operations: &[Value],
        fail_on_errors: Option<u64>,
        late: usize,
    ) -> (Vec<String>, Vec<String>) {
        let body = json!({ "schemas": [BULK], "failOnErrors": fail_on_errors, "Operations": operations });
        let mut writes = 0;
        self.proxy.decide(move |call| {
            writes += usize::from(call.operation == "TransactWriteItems");
            if writes == late && call.operation == "TransactWriteItems" { Fate::Held } else { Fate::Pass }
        });
        let proxy = self.proxy.clone();
        let released = tokio::spawn(async move {
            proxy.held().await;
            tokio::time::sleep(Duration::from_millis(40)).await;
            proxy.release();
        });
        let results = self.slow.post("/Bulk", body).await.expect(200).body["Operations"].clone();
        released.abort();
        let statuses = results.as_array().expect("results").iter();
        let statuses = statuses.map(|result| result["status"].as_str().expect("a status").to_owned());
        let place = |id: &str| {
            self.users.iter().position(|user| user == id).map_or("new".to_owned(), |at| at.to_string())
        };
        let mut there = Vec::new();
        for kind in ["Users", "Groups"] {
            let list = self.client.get(&format!("/{kind}")).await.expect(200).body;
            for found in list["Resources"].as_array().expect("resources") {
                let mut members: Vec<String> = members(found).into_iter().map(place).collect();
                members.sort_unstable();
                let id = place(found["id"].as_str().expect("an id"));
                there.push(format!("{id} {} {} {members:?}", found["userName"], found["active"]));
            }
        }
        there.sort_unstable();
        (statuses.collect(), there)
    }
}

/// Side by side, with the answers and the state of one after the other (RFC 7644 §3.7).
#[tokio::test]
async fn side_by_side_ends_as_one_after_the_other() {
    for seed in 1..=40 {
        let mut dice = Dice(seed);
        let late = 1 + dice.below(4);
        let seeds: Vec<u64> = (0..6).map(|_| dice.below(1 << 30) as u64).collect();
        let mut ends = Vec::new();
        for fail_on_errors in [Some(100), None] {
            let scene = BulkScene::new().await;
            let operations: Vec<Value> = seeds
                .iter()
                .enumerate()
                .map(|(at, seed)| any_operation(at, &mut Dice(*seed), &scene))
                .collect();
            let shown = operations.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
            ends.push((scene.play(&operations, fail_on_errors, late).await, shown));
        }
        assert_eq!(ends[0].0, ends[1].0, "seed {seed}:\n{}", ends[1].1);
    }
}

#[tokio::test]
async fn hundreds_complete_and_answer_in_order() {
    let service = Service::start().await;
    let operations: Vec<Value> = (0..300).map(|n| user(&format!("u{n}"), &format!("user{n}"))).collect();
    let results = service.bulk(&operations, None).await;
    assert_eq!(statuses(&results), ["201"; 300]);
    for (n, result) in results.iter().enumerate() {
        assert_eq!(result["bulkId"], format!("u{n}"));
    }
    assert_eq!(service.total("/Users").await, 300);
    let (_, last) = service.get(&results[299]["location"]).await;
    assert_eq!(last["userName"], "user299");
}

#[tokio::test]
async fn the_request_as_a_whole_is_refused() {
    let service = Service::start().await;
    let body = |operations: &Value| json!({ "schemas": [BULK], "Operations": operations }).to_string();
    let with_zero = |operations: &Value| {
        json!({ "schemas": [BULK], "failOnErrors": 0, "Operations": operations }).to_string()
    };
    let many: Value = (0..1001).map(|n| user(&n.to_string(), "x")).collect();
    let mut large = user("a", "a");
    large["data"]["title"] = "x".repeat(1_048_576).into();
    for (text, status, said) in [
        (body(&many), 413, "1000"),
        // Its size is judged before what it says.
        (with_zero(&many), 413, "1000"),
        (with_zero(&json!([user("a", "a")])), 400, "failOnErrors"),
        (body(&json!([large])), 413, "1048576"),
        (body(&json!({})), 400, "Operations"),
        ("[]".to_owned(), 400, "object"),
    ] {
        let (answered, error) = service.send("POST", "/Bulk", "provision", Some(text)).await;
        assert_eq!(answered, status, "{error}");
        assert!(error["detail"].as_str().expect("a detail").contains(said), "{error}");
    }
    let (status, _) = service.send("POST", "/Bulk", "read", Some(body(&json!([user("a", "a")])))).await;
    assert_eq!(status, 403);
    assert_eq!(service.send("GET", "/Bulk", "provision", None).await.0, 405);
    let (_, config) = service.send("GET", "/ServiceProviderConfig", "read", None).await;
    assert_eq!(
        config["bulk"],
        json!({ "supported": true, "maxOperations": 1000, "maxPayloadSize": 1_048_576 })
    );
}

/// What there is no time for is answered as such, and nothing of it is done.
#[tokio::test]
async fn the_time_is_bounded() {
    let service = Service::start().await;
    let model = Model::new(&STANDARD, &[]).expect("a model");
    let provider = Provider {
        store: Store {
            table: service.table.fresh(),
            tenant: "demo".parse().expect("a tenant"),
            actor: "k_events".to_owned(),
            request_id: "r".to_owned(),
        },
        model: &model,
        base_url: BASE.to_owned(),
        retention_days: 365,
        max_scan_time: rollcall::limits::MAX_SCAN_TIME,
        breaker: None,
        root_team_protected: false,
        converts_local_accounts: true,
        work: rollcall::scim::work::WorkBudget::of_body(),
        bound_user: None,
        cursor_keys: rollcall::store::cursor::CursorKeys::default(),
        recent_checkpoints: rollcall::store::list::RecentCheckpoints::default(),
        known_groups: rollcall::store::known_groups::KnownGroups::default(),
    };
    let operations =
        [user("a", "a"), group("g", "G", &["bulkId:a"]), group("h", "H", &["bulkId:h"]), user("b", "b")];
    for fail_on_errors in [Value::Null, json!(1)] {
        let body = json!({ "Operations": operations, "failOnErrors": fail_on_errors });
        let request = read(body.as_object().expect("an object"), &STANDARD).expect("a request");
        let none = Budget { begin: Duration::ZERO, answer: Duration::from_secs(5) };
        let answer = provider.bulk().run(&request, none).await.expect("an answer");
        let results = answer["Operations"].as_array().expect("results");
        assert_eq!(statuses(results)[0], "503");
        if fail_on_errors.is_null() {
            assert_eq!(statuses(results), ["503"; 4]);
        }
    }
    let body = json!({ "Operations": operations });
    let request = read(body.as_object().expect("an object"), &STANDARD).expect("a request");
    let unanswered = Budget { begin: Duration::from_secs(5), answer: Duration::ZERO };
    let answer = provider.bulk().run(&request, unanswered).await.expect("an answer");
    let results = answer["Operations"].as_array().expect("results");
    assert_eq!(statuses(results), ["503"; 4]);
    let detail = |at: usize| results[at]["response"]["detail"].as_str().expect("a detail");
    assert!(detail(0).contains("not known"), "{}", detail(0));
    assert!(detail(1).contains("before the operation was begun"), "{}", detail(1));

    // What the order of the operations depends on is not waited for any longer.
    let embedded = support::serve().await;
    let proxy = Proxy::before(&embedded.endpoint).await;
    proxy.decide(|_| Fate::Held);
    let table = Table::new(support::client(&proxy.endpoint), support::TABLE);
    let provider = Provider { store: Store { table, ..provider.store.clone() }, ..provider };
    let gone = json!({ "method": "DELETE", "path": format!("/Users/{}", uuid::Uuid::now_v7()) });
    let body = json!({ "Operations": [gone, user("a", "a")] });
    let request = read(body.as_object().expect("an object"), &STANDARD).expect("a request");
    let short = Budget { begin: Duration::from_millis(200), answer: Duration::from_secs(5) };
    let answer = tokio::time::timeout(Duration::from_secs(3), provider.bulk().run(&request, short)).await;
    let answer = answer.expect("an answer in time").expect("an answer");
    assert_eq!(statuses(answer["Operations"].as_array().expect("results")), ["503"; 2]);
}
