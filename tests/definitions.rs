//! Roles and entitlements: what identity providers read of them, what they grant, what they cost, and their changes.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rollcall::admin::check::run::check;
use rollcall::admin::definition;
use rollcall::admin::transfer::definitions::{definition_lines, import_definitions};
use rollcall::admin::transfer::export::export;
use rollcall::admin::{tenant, wipe};
use rollcall::clock;
use rollcall::limits::MAX_DEFINITIONS;
use rollcall::provider::changing::definitions::NewDefinition;
use rollcall::scim::policy::STANDARD;
use rollcall::scim::resource_type::DefinedKind;
use rollcall::store::definition::DefinitionIndex;
use rollcall::store::keys;
use rollcall::store::transaction::Action;
use serde_json::{Value, json};

use crate::app_support::App;
use crate::support::client::{Client, user};

const EXTENSION: &str = "urn:ietf:params:scim:schemas:extension:rollcall:2.0:User";
const OKTA_ROLE: &str = "urn:okta:scim:schemas:core:1.0:Role";
const IETF_ROLE: &str = "urn:ietf:params:scim:schemas:core:2.0:Role";

/// Makes a role that grants these roles in teams.
async fn role(app: &App, id: &str, grants: Value) -> Value {
    let body = json!({ "id": id, "displayName": format!("Role {id}"), "grants": grants });
    app.send("POST", "/tenants/acme/roles", Some(body)).await.expect(201)
}

/// The effective roles of a user, as the application reads them.
async fn effective(app: &App, user: &str) -> BTreeSet<(String, String)> {
    let user = app.get(&format!("/tenants/acme/Users/{user}")).await.expect(200);
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let roles = user[EXTENSION]["roles"].as_array().into_iter().flatten();
    roles.map(|role| (text(&role["team"]), text(&role["role"]))).collect()
}

fn granted(grants: &[(&str, &str)]) -> BTreeSet<(String, String)> {
    grants.iter().map(|(team, role)| ((*team).to_owned(), (*role).to_owned())).collect()
}

#[tokio::test]
async fn a_user_has_what_its_groups_and_its_roles_grant() {
    let app = App::start().await;
    let client = app.tenant("standard").await;
    let team = client.group("Team", &[]).await;
    let ann = client.user("ann").await;
    let group = client.group("Crew", std::slice::from_ref(&ann)).await;
    role(&app, "billing", json!([{ "team": team, "role": "payer" }])).await;
    let own = (group.as_str(), "member");
    assert_eq!(effective(&app, &ann).await, granted(&[own]));

    let path = format!("/Users/{ann}");
    let give = |values: &[&str]| {
        let roles: Vec<Value> = values.iter().map(|value| json!({ "value": value })).collect();
        json!([{ "op": "replace", "path": "roles", "value": roles }])
    };
    client.patch(&path, give(&["billing", "nothing"])).await.expect(200);
    let both = granted(&[own, (&team, "payer")]);
    assert_eq!(effective(&app, &ann).await, both);
    let asked = client.get(&format!("{path}?attributes={EXTENSION}:roles")).await.expect(200);
    assert_eq!(asked.body[EXTENSION]["roles"].as_array().map(Vec::len), Some(2));

    // A change of the role changes its users at once, in lists, filters and the feed too.
    let change = json!({ "grants": [{ "team": team, "role": "owner" }] });
    app.send("PATCH", "/tenants/acme/roles/billing", Some(change)).await.expect(200);
    assert_eq!(effective(&app, &ann).await, granted(&[own, (&team, "owner")]));
    let filter = format!("{EXTENSION}:roles[team eq \"{team}\" and role eq \"owner\"]");
    let found = client.get(&format!("/Users?filter={filter}")).await.expect(200);
    assert_eq!(found.body["totalResults"], 1, "{}", found.body);
    let filter = filter.replace("owner", "payer");
    assert_eq!(client.get(&format!("/Users?filter={filter}")).await.expect(200).body["totalResults"], 0);
    let list = app.get("/tenants/acme/Users?filter=userName eq \"ann@example.com\"").await.expect(200);
    assert_eq!(list["Resources"][0][EXTENSION]["roles"].as_array().map(Vec::len), Some(2));

    // What a group grants as well stays when the role goes.
    let assignments = json!({ "assignments": [{ "team": team, "role": "owner" }] });
    let at = format!("/tenants/acme/Groups/{group}/assignments");
    app.send("PUT", &at, Some(assignments)).await.expect(200);
    app.send("DELETE", "/tenants/acme/roles/billing", None).await.expect(204);
    assert_eq!(effective(&app, &ann).await, granted(&[(&team, "owner")]));
    let kept = client.get(&path).await.expect(200);
    assert_eq!(kept.body["roles"][0]["value"], "billing", "the user keeps the value");
}

/// What an answer showed may be sent back, and the order is that of what answers show.
#[tokio::test]
async fn granted_roles_can_be_sent_back_and_sorted_by() {
    let app = App::start().await;
    let client = app.tenant("standard").await;
    let team = client.group("Team", &[]).await;
    role(&app, "a", json!([{ "team": team, "role": "author" }])).await;
    role(&app, "z", json!([{ "team": team, "role": "zoologist" }])).await;
    let mut expected = Vec::new();
    // The ids are in the order of their making.
    for roles in [json!([]), json!([{ "value": "z" }]), json!([{ "value": "a" }])] {
        let mut body = user(&format!("user{}", expected.len()));
        body["roles"] = roles;
        expected.insert(0, client.post("/Users", body).await.expect(201).id());
    }
    let attribute = format!("{EXTENSION}:roles");
    let path = format!("/Users/{}", expected[0]);
    let shown = client.get(&format!("{path}?attributes={attribute}")).await.expect(200).body;
    let roles = shown[EXTENSION]["roles"].clone();
    assert_eq!(roles.as_array().map(Vec::len), Some(1), "{shown}");
    let set = |value: Value| json!([{ "op": "replace", "path": attribute, "value": value }]);
    client.patch(&path, set(roles)).await.expect(200);
    assert_eq!(client.patch(&path, set(json!([{ "team": team, "role": "other" }]))).await.status, 400);
    let sorted = client.get(&format!("/Users?sortBy={attribute}.role")).await.expect(200).body;
    let ids: Vec<&str> =
        sorted["Resources"].as_array().expect("users").iter().filter_map(|u| u["id"].as_str()).collect();
    // The break-glass account is an admin, which comes first.
    assert_eq!(ids[1..], expected, "by role, and those without one last");
}

/// A cursor is of one tenant, one kind and one query, and nobody else makes one.
async fn cursors_are_of_one_query(client: &Client) {
    let page = client.get("/Roles?count=1&cursor=").await.expect(200).body;
    let own = page["nextCursor"].as_str().expect("a cursor");
    let made_up = URL_SAFE_NO_PAD.encode([&URL_SAFE_NO_PAD.decode(own).expect("base64")[..], b"x"].concat());
    for (client, path) in [
        (&client.of("other-tenant"), format!("/Roles?count=1&cursor={own}")),
        (client, format!("/Entitlements?count=1&cursor={own}")),
        (client, format!("/Roles?count=1&cursor={made_up}")),
        (client, format!("/Roles?count=1&filter=id pr&cursor={own}")),
        (client, format!("/Users?count=1&cursor={own}")),
    ] {
        assert_eq!(client.get(&path).await.expect(400).body["scimType"], "invalidCursor", "{path}");
    }
}

#[tokio::test]
async fn identity_providers_list_filter_sort_and_page() {
    let app = App::start().await;
    let client = app.tenant("veza").await;
    for (id, name) in [("c", "Ann"), ("a", "Cid"), ("b", "Bob"), ("d", "Bob")] {
        let body = json!({ "id": id, "displayName": name, "description": format!("is {id}") });
        app.send("POST", "/tenants/acme/roles", Some(body)).await.expect(201);
    }
    let ids = |body: &Value| -> Vec<String> {
        let list = body["Resources"].as_array().into_iter().flatten();
        list.map(|one| one["id"].as_str().expect("an id").to_owned()).collect()
    };
    for (query, expected, total) in [
        ("", &["a", "b", "c", "d"][..], 4),
        ("?count=1&startIndex=1", &["a"], 4),
        ("?startIndex=3&count=5", &["c", "d"], 4),
        ("?startIndex=9", &[], 4),
        ("?count=0", &[], 4),
        ("?filter=displayName eq \"bob\"", &["b", "d"], 2),
        ("?filter=id eq \"c\"", &["c"], 1),
        (&format!("?filter={IETF_ROLE}:value sw \"d\""), &["d"], 1),
        ("?filter=description co \"IS\" and not (id eq \"a\")", &["b", "c", "d"], 3),
        ("?sortBy=displayName", &["c", "b", "d", "a"], 4),
        ("?sortBy=displayName&sortOrder=descending", &["a", "d", "b", "c"], 4),
        (&format!("?sortBy={IETF_ROLE}:display&count=2&startIndex=2"), &["b", "d"], 4),
    ] {
        let found = client.get(&format!("/Roles{query}")).await.expect(200).body;
        assert_eq!(ids(&found), expected, "{query}");
        assert_eq!((&found["totalResults"], &found["itemsPerPage"]), (&json!(total), &json!(expected.len())));
    }
    for query in ["", "&sortBy=displayName"] {
        let (mut seen, mut cursor) = (Vec::new(), Some(String::new()));
        while let Some(at) = cursor {
            let page = client.get(&format!("/Roles?count=3{query}&cursor={at}")).await.expect(200).body;
            assert!(page.get("startIndex").is_none());
            seen.extend(ids(&page));
            cursor = page["nextCursor"].as_str().map(str::to_owned);
        }
        assert_eq!(seen.len(), 4, "{query}");
        assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 4);
    }
    cursors_are_of_one_query(&client).await;

    let one = client.get("/Roles/b").await.expect(200);
    assert_eq!(one.body[IETF_ROLE], json!({ "value": "b", "display": "Bob", "supported": true }));
    assert_eq!(one.body["schemas"], json!([OKTA_ROLE, IETF_ROLE]));
    let tag = one.headers["etag"].to_str().expect("a tag").to_owned();
    client.send("GET", "/Roles/b", None, &[("if-none-match", &tag)]).await.expect(304);
    let some = client.get("/Roles/b?attributes=displayName").await.expect(200).body;
    assert_eq!(some.as_object().map(serde_json::Map::len), Some(3), "{some}");
    assert!(
        client
            .get("/Roles/b?excludedAttributes=description")
            .await
            .expect(200)
            .body
            .get("description")
            .is_none()
    );
    client.get("/Roles/x").await.expect(404);
    assert_eq!(client.get("/Entitlements").await.expect(200).body["totalResults"], 0);
}

#[tokio::test]
async fn a_search_by_post_answers_as_a_query_does() {
    let app = App::start().await;
    let client = app.tenant("veza").await;
    for (id, name) in [("a", "Cid"), ("b", "Bob"), ("d", "Bob")] {
        let body = json!({ "id": id, "displayName": name, "description": format!("is {id}") });
        app.send("POST", "/tenants/acme/roles", Some(body)).await.expect(201);
    }
    let search = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],
        "filter": "displayName eq \"bob\"", "sortBy": "id", "sortOrder": "descending", "count": 1,
        "attributes": ["displayName"],
    });
    let found = client.post("/Roles/.search", search).await.expect(200).body;
    let query = "filter=displayName eq \"bob\"&sortBy=id&sortOrder=descending&count=1&attributes=displayName";
    assert_eq!(found, client.get(&format!("/Roles?{query}")).await.expect(200).body);
    assert_eq!((&found["totalResults"], &found["Resources"][0]["id"]), (&json!(2), &json!("d")));
}

#[tokio::test]
async fn discovery_announces_what_there_is() {
    let app = App::start().await;
    let client = app.tenant("strict").await;
    let names = |body: &Value, member: &str| -> Vec<String> {
        let list = body["Resources"].as_array().cloned().unwrap_or_default();
        list.iter().map(|one| one[member].as_str().expect("a text").to_owned()).collect()
    };
    let discover = async || {
        let types = client.get("/ResourceTypes").await.expect(200).body;
        let schemas = client.get("/Schemas").await.expect(200).body;
        let config = client.get("/ServiceProviderConfig").await.expect(200).body;
        (names(&types, "name"), names(&schemas, "id"), config["RolesAndEntitlements"].clone())
    };
    let (types, schemas, config) = discover().await;
    assert_eq!((types.len(), schemas.len(), config), (2, 8, Value::Null));
    client.get("/ResourceTypes/Role").await.expect(404);
    client.get(&format!("/Schemas/{OKTA_ROLE}")).await.expect(404);

    role(&app, "r", json!([])).await;
    let (types, schemas, config) = discover().await;
    assert_eq!(types, ["User", "Group", "Role"]);
    assert!(schemas.contains(&OKTA_ROLE.to_owned()) && schemas.contains(&IETF_ROLE.to_owned()));
    assert_eq!(
        (&config["roles"]["supported"], &config["entitlements"]["supported"]),
        (&json!(true), &json!(false))
    );
    let body = json!({ "id": "seat", "displayName": "Seat", "type": "license" });
    app.send("POST", "/tenants/acme/entitlements", Some(body)).await.expect(201);
    assert_eq!(discover().await.0, ["User", "Group", "Role", "Entitlement"]);
    let seat = client.get("/Entitlements/seat").await.expect(200).body;
    client.send("GET", "/Entitlements/seat", None, &[("if-match", "W/\"999\"")]).await.expect(412);
    assert_eq!(seat["type"], "Entitlement", "Okta wants the name of the resource type");
    assert_eq!(seat["urn:ietf:params:scim:schemas:core:2.0:Entitlement"]["type"], "license");

    app.send("DELETE", "/tenants/acme/roles/r", None).await.expect(204);
    assert_eq!(discover().await.0, ["User", "Group", "Entitlement"]);
}

#[tokio::test]
async fn a_role_cannot_grant_the_root_teams_administration() {
    let app = App::start().await;
    let client = app.tenant("standard").await;
    let root = app.get("/tenants/acme").await.expect(200)["rootTeam"].as_str().expect("a team").to_owned();
    let team = client.group("Team", &[]).await;
    let admin = json!([{ "team": team, "role": "member" }, { "team": root, "role": "admin" }]);
    let body = json!({ "id": "r", "displayName": "R", "grants": admin });
    let detail = app.send("POST", "/tenants/acme/roles", Some(body)).await.problem(400, "invalidValue");
    assert!(detail.contains("root team"), "{detail}");
    role(&app, "r", json!([{ "team": root, "role": "member" }])).await;
    let change = json!({ "grants": admin });
    app.send("PATCH", "/tenants/acme/roles/r", Some(change)).await.problem(400, "invalidValue");
    let nameless = json!({ "displayName": null });
    app.send("PATCH", "/tenants/acme/roles/r", Some(nameless)).await.problem(400, "invalidValue");
    let found = app.get("/tenants/acme/roles/r").await.expect(200);
    assert_eq!((&found["version"], &found["grants"][0]["role"]), (&json!(1), &json!("member")));
}

#[tokio::test]
async fn refusals_of_the_applications_side() {
    let app = App::start().await;
    app.tenant("standard").await;
    let roles = "/tenants/acme/roles";
    for (body, part) in [
        (json!({ "displayName": "x" }), "id is required"),
        (json!({ "id": "x" }), "displayName is required"),
        (json!({ "id": "a b", "displayName": "x" }), "The id of a role"),
        (json!({ "id": ".x", "displayName": "x" }), "The id of a role"),
        (json!({ "id": "x", "displayName": "  " }), "The name must have"),
        (json!({ "id": "x", "displayName": "x", "description": "d".repeat(1_001) }), "The description"),
        (json!({ "id": "x", "displayName": "x", "grants": "y" }), "grants must be a list"),
        (
            json!({ "id": "x", "displayName": "x", "grants": [{ "team": "y", "role": "z" }] }),
            "the id of a group",
        ),
        (
            json!({ "id": "x", "displayName": "x", "grants": [{ "team": uuid::Uuid::nil(), "role": "z" }] }),
            "no group",
        ),
        (json!({ "id": "x", "displayName": "x", "type": "y" }), "unknown member: type"),
    ] {
        let reply = app.send("POST", roles, Some(body.clone())).await;
        assert_eq!(reply.status, 400, "{body}");
        let detail = reply.body["detail"].as_str().expect("a detail").to_owned();
        assert!(detail.contains(part), "{body}: {detail}");
    }
    let entitlement = json!({ "id": "x", "displayName": "x", "grants": [] });
    app.send("POST", "/tenants/acme/entitlements", Some(entitlement)).await.problem(400, "invalidValue");
    role(&app, "x", json!([])).await;
    let again = json!({ "id": "x", "displayName": "other" });
    app.send("POST", roles, Some(again)).await.problem(409, "uniqueness");
    for (method, path) in [
        ("GET", "/tenants/acme/roles/y"),
        ("DELETE", "/tenants/acme/roles/y"),
        ("GET", "/tenants/acme/entitlements/x"),
    ] {
        app.send(method, path, None).await.problem(404, "");
    }
    app.send("PATCH", "/tenants/acme/roles/y", Some(json!({}))).await.problem(404, "");
    app.get("/tenants/nobody/roles").await.problem(404, "");
    app.get("/tenants/acme/roles?cursor=%2F").await.problem(400, "invalidCursor");
    app.with_key(&app.reader, "GET", "/tenants/acme/roles").await.expect(200);
    app.with_key(&app.reader, "DELETE", "/tenants/acme/roles/x").await.problem(403, "");
    let stale = [("authorization", format!("Bearer {}", app.key)), ("if-match", "W/\"7\"".to_owned())];
    let stale: Vec<(&str, &str)> = stale.iter().map(|(name, value)| (*name, value.as_str())).collect();
    app.raw(("DELETE", "/tenants/acme/roles/x"), &stale, bytes::Bytes::new()).await.problem(412, "");
}

#[tokio::test]
async fn changes_have_consecutive_versions_and_pages_have_all() {
    let app = App::start().await;
    app.tenant("standard").await;
    role(&app, "acme", json!([])).await;
    let path = "/tenants/acme/roles/acme";
    app.send("PATCH", path, Some(json!({ "description": "d" }))).await.expect(200);
    app.send("PATCH", path, Some(json!({ "description": "d" }))).await.expect(200);
    app.send("DELETE", path, None).await.expect(204);
    let again = role(&app, "acme", json!([])).await;
    assert_eq!(again["version"], 4, "the versions of an id go on");
    // An entitlement, a role and the tenant may have the same id.
    let body = json!({ "id": "acme", "displayName": "Acme" });
    app.send("POST", "/tenants/acme/entitlements", Some(body)).await.expect(201);
    app.sequence().await;
    let changes = app.get("/changes?tenant=acme&include=resource").await.expect(200);
    let own: Vec<(String, u64, bool)> = changes["changes"]
        .as_array()
        .expect("changes")
        .iter()
        .filter(|change| change["resourceType"] == "Role")
        .map(|change| {
            assert_eq!(change["resourceId"], "acme");
            let kind = change["type"].as_str().expect("a type").to_owned();
            (kind, change["version"].as_u64().expect("a version"), change["resource"].is_null())
        })
        .collect();
    let expected = ["created", "updated", "deleted", "created"].map(|what| format!("role.{what}"));
    for (at, (kind, version, is_gone)) in own.iter().enumerate() {
        assert_eq!((kind, *version, *is_gone), (&expected[at], at as u64 + 1, false));
    }
    for id in ["b", "c", "d"] {
        role(&app, id, json!([])).await;
    }
    let (mut seen, mut path) = (Vec::new(), "/tenants/acme/roles?limit=2".to_owned());
    loop {
        let page = app.get(&path).await.expect(200);
        seen.extend(page["roles"].as_array().expect("roles").iter().map(|role| role["id"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/tenants/acme/roles?limit=2&cursor={next}");
    }
    assert_eq!(seen, ["acme", "b", "c", "d"]);
}

#[tokio::test]
async fn a_user_costs_one_read_unit_more_where_roles_are_shown() {
    let app = App::start().await;
    let client = app.tenant("standard").await;
    let team = client.group("Team", &[]).await;
    for at in 0..20 {
        role(&app, &format!("role-{at}"), json!([{ "team": team, "role": "member" }])).await;
    }
    let mut ann = user("ann");
    ann["roles"] = (0..20).map(|at| json!({ "value": format!("role-{at}") })).collect();
    let path = format!("/Users/{}", client.post("/Users", ann).await.expect(201).id());
    let plain = client.get(&path).await.expect(200).line.usage;
    assert_eq!((plain.rounds, plain.read_units), (1, 1.0), "roles are not shown");
    let shown = client.get(&format!("{path}?attributes={EXTENSION}:roles")).await.expect(200).line.usage;
    assert_eq!((shown.rounds, shown.read_units), (2, 2.0));
    let bob = format!("/Users/{}", client.user("bob").await);
    let without = client.get(&format!("{bob}?attributes={EXTENSION}:roles")).await.expect(200).line.usage;
    assert_eq!((without.rounds, without.read_units), (1, 1.0), "a user without roles");
    let types = client.get("/ResourceTypes").await.expect(200).line.usage;
    assert_eq!((types.rounds, types.read_units), (1, 1.0));
}

#[tokio::test]
async fn the_checker_mends_the_index_and_a_deletion_takes_everything() {
    let app = App::start().await;
    let client = app.tenant("standard").await;
    let team = client.group("Team", &[]).await;
    role(&app, "r", json!([{ "team": team, "role": "member" }])).await;
    role(&app, "gone", json!([])).await;
    app.send("DELETE", "/tenants/acme/roles/gone", None).await.expect(204);
    let id = "acme".parse().unwrap();
    let model = tenant::model(&STANDARD).expect("a model");
    let report = check(&app.table, &id, &model, false).await.expect("a check");
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    let index = keys::definition::definition_index(&id);
    let wrong = DefinitionIndex { version: 7, roles: 3, ..DefinitionIndex::default() };
    let item = wrong.action(&id).expect("an action");
    app.table
        .transact(|| {
            vec![item.clone().only_if(
                rollcall::store::expression::Expression::exists(),
                rollcall::store::error::Refusal::Changed,
            )]
        })
        .await
        .expect("a write");
    let report = check(&app.table, &id, &model, true).await.expect("a check");
    assert_eq!((report.findings.len(), report.repaired.len()), (0, 1), "{report:?}");
    let mended = app.table.get(&index).await.unwrap().expect("an index");
    assert_eq!(DefinitionIndex::from_item(&mended).expect("an index").roles, 1);

    wipe::wipe(&app.table, &id, &[], std::time::Duration::ZERO, clock::now()).await.expect("a deletion");
    let left = app.table.query_all(&keys::definition::definitions(&id), None).await.expect("a query");
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn an_export_has_them_and_an_import_makes_them() {
    let app = App::start().await;
    let client = app.tenant("standard").await;
    let team = client.group("Team", &[]).await;
    role(&app, "r", json!([{ "team": team, "role": "member" }])).await;
    let body = json!({ "id": "seat", "displayName": "Seat", "type": "license", "description": "d" });
    app.send("POST", "/tenants/acme/entitlements", Some(body)).await.expect(201);
    let id = "acme".parse().unwrap();
    let mut file = Vec::new();
    export(&app.table, &id, &mut file, &rollcall::admin::progress::Progress::hidden())
        .await
        .expect("an export");
    let lines = definition_lines(&String::from_utf8(file).unwrap());
    assert_eq!(lines.len(), 2);

    let there = Client::new(app.table.fresh(), "standard").await.of("other");
    let new = tenant::NewTenant::new(&"other".parse().unwrap(), &STANDARD, &"u".repeat(40));
    tenant::create(&app.table, &new, clock::now()).await.expect("a tenant");
    let other_team = there.group("Team", &[]).await;
    let ids = std::collections::BTreeMap::from([(team, other_team.clone())]);
    for expected in ["Created", "Unchanged"] {
        let outcomes = import_definitions(&app.table, &new.id, &lines, &ids, false).await.expect("an import");
        for outcome in outcomes {
            assert_eq!(format!("{:?}", outcome.fate), expected, "{outcome:?}");
        }
    }
    let made = app.get("/tenants/other/roles/r").await.expect(200);
    assert_eq!(made["grants"], json!([{ "team": other_team, "role": "member" }]));
    assert_eq!(app.get("/tenants/other/entitlements/seat").await.expect(200)["type"], "license");
}

#[tokio::test]
async fn concurrent_changes_all_count_and_the_number_is_limited() {
    let app = App::start().await;
    app.tenant("standard").await;
    let tenant = tenant::get(&app.table, &"acme".parse().unwrap()).await.expect("a tenant");
    let named = |name: &str| NewDefinition { name: Some(name.to_owned()), ..NewDefinition::default() };
    let (table, tenant) = (&app.table, &tenant);
    let make = |at: usize| async move {
        let (id, new) = (format!("r{at}"), named("R"));
        definition::create(table, tenant, (DefinedKind::Role, &id), &new).await.is_ok()
    };
    let made =
        futures_util::future::join_all((0..8).map(make)).await.into_iter().filter(|made| *made).count();
    let index =
        app.table.get(&keys::definition::definition_index(&tenant.id)).await.unwrap().expect("an index");
    assert_eq!(DefinitionIndex::from_item(&index).expect("an index").roles, made as u64);
    assert!(made > 0);
    let full = DefinitionIndex { version: made as u64, roles: MAX_DEFINITIONS, ..DefinitionIndex::default() };
    let item = full.action(&tenant.id).expect("an action");
    app.table.transact(|| vec![item.clone()]).await.expect("a write");
    let refused = definition::create(&app.table, tenant, (DefinedKind::Role, "more"), &named("More")).await;
    assert!(refused.unwrap_err().to_string().contains("at most"));
}

/// Users name roles without regard to case (RFC 7643 §8.7.1), so two ids that differ only in case would be one.
#[tokio::test]
async fn a_role_is_named_in_any_case_and_has_no_namesake() {
    let app = App::start().await;
    let client = app.tenant("standard").await;
    let team = client.group("Team", &[]).await;
    role(&app, "Billing", json!([{ "team": team, "role": "payer" }])).await;
    let mut body = user("ann");
    body["roles"] = json!([{ "value": "BILLING" }, { "value": "billing" }]);
    let ann = client.post("/Users", body).await.expect(201);
    assert_eq!(ann.body["roles"].as_array().map(Vec::len), Some(1), "{}", ann.body);
    assert_eq!(effective(&app, &ann.id()).await, granted(&[(&team, "payer")]));

    for kind in ["roles", "entitlements"] {
        let path = format!("/tenants/acme/{kind}");
        let make = |id: &str| app.send("POST", &path, Some(json!({ "id": id, "displayName": id })));
        make("Other").await.expect(201);
        let refused = make("oTHER").await.expect(409);
        let detail = refused["detail"].as_str().expect("a text");
        assert!(detail.contains("Other, which differs from oTHER only in case"), "{detail}");
        // The id of a deleted one is free in any case.
        app.send("DELETE", &format!("/tenants/acme/{kind}/Other"), None).await.expect(204);
        make("oTHER").await.expect(201);
    }
}

/// A later tenant of the same name has resources of its own, also under the same ids.
#[tokio::test]
async fn a_change_of_an_earlier_tenant_shows_no_role_of_the_later_one() {
    let app = App::start().await;
    app.tenant("standard").await;
    role(&app, "billing", json!([])).await;
    let change = json!({ "description": "d" });
    app.send("PATCH", "/tenants/acme/roles/billing", Some(change)).await.expect(200);
    app.sequence().await;
    let id = "acme".parse().unwrap();
    wipe::wipe(&app.table, &id, &[], std::time::Duration::ZERO, clock::now()).await.expect("a deletion");
    // As if its name had rested.
    let rested = || vec![Action::delete(keys::tenant_deleted(&id))];
    app.table.transact(rested).await.expect("a write");
    app.tenant("standard").await;
    role(&app, "billing", json!([])).await;
    app.sequence().await;
    let page = app.get("/changes?tenant=acme&include=resource").await.expect(200);
    let changes = page["changes"].as_array().expect("changes").iter();
    let shown: Vec<_> = changes
        .filter(|change| change["resourceType"] == "Role")
        .map(|change| (change["version"].as_u64(), change["resource"]["version"].as_u64()))
        .collect();
    assert_eq!(shown, [(Some(1), None), (Some(2), None), (Some(1), Some(1))]);
}
