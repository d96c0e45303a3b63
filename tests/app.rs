//! The application's side through its whole stack: every route, scopes, pages, hostile input.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::collections::BTreeSet;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rollcall::app::function::AppFunction;
use rollcall::app::request::Managing;
use rollcall::app::router::APP_ROUTES;
use rollcall::auth::application::ApplicationScope;
use rollcall::auth::plan::RatePlan;
use rollcall::deliver::registry::Registry;
use rollcall::http::event::ProxyEvent;
use rollcall::http::response::Transfer;
use rollcall::limits::FEED_BUCKET;
use rollcall::outbound::target::TargetRule;
use rollcall::store::item::{number, text};
use rollcall::store::keys::{self, TenantId};
use rollcall::tenants::error::TenantError;
use rollcall::tenants::usage::{MadeUsageKey, UsageKeys};
use serde_json::{Value, json};

use crate::app_support::{App, assert_changes_described};
use crate::support;
use crate::support::client::user;

const USER: &str = "urn:ietf:params:scim:schemas:extension:rollcall:2.0:User";
const GROUP: &str = "urn:ietf:params:scim:schemas:extension:rollcall:2.0:Group";

fn texts<'a>(list: &'a Value, name: &str) -> Vec<&'a str> {
    list.as_array().unwrap().iter().map(|one| one[name].as_str().unwrap()).collect()
}

/// Reads the whole feed after a position.
async fn changes(app: &App, query: &str) -> (Vec<Value>, String) {
    let (mut all, mut next) = (Vec::new(), String::new());
    loop {
        let after = if next.is_empty() { String::new() } else { format!("&after={next}") };
        let page = app.get(&format!("/changes?{query}{after}")).await.expect(200);
        all.extend(page["changes"].as_array().unwrap().iter().cloned());
        next = page["next"].as_str().unwrap().to_owned();
        if page["more"] == false {
            return (all, next);
        }
    }
}

#[tokio::test]
async fn tenants_are_made_once_listed_and_set() {
    let app = App::start().await;
    let body =
        json!({ "tenant": "acme", "policy": "standard", "plan": "default", "adminEmail": "a@acme.test" });
    let made = app.send("POST", "/tenants", Some(body.clone())).await.expect(201);
    assert_eq!((&made["policy"], &made["version"]), (&json!("standard"), &json!(1)));
    assert_eq!(app.send("POST", "/tenants", Some(body.clone())).await.expect(200), made);
    for (member, value) in [("policy", "veza"), ("adminEmail", "b@acme.test")] {
        let mut other = body.clone();
        other[member] = value.into();
        app.send("POST", "/tenants", Some(other)).await.problem(409, "tenantExists");
    }
    for (member, value) in [
        ("tenant", json!("Acme")),
        ("tenant", json!("deployment")),
        ("tenant", json!(1)),
        ("tenant", Value::Null),
        ("policy", json!("lax")),
        ("plan", json!("free")),
        ("adminEmail", json!("nobody")),
        ("color", json!("red")),
    ] {
        let mut other = body.clone();
        other["tenant"] = "fresh".into();
        other[member] = value;
        app.send("POST", "/tenants", Some(other)).await.problem(400, "invalidValue");
    }
    app.get("/tenants/fresh").await.problem(404, "");
    app.get("/tenants/Fr%23sh").await.problem(404, "");

    // The same request twice at once makes one tenant.
    let twice = json!({ "tenant": "twice" });
    let send = || app.send("POST", "/tenants", Some(twice.clone()));
    let (one, other) = tokio::join!(send(), send());
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert!(statuses == [200, 201] || statuses == [200, 200], "{statuses:?}");

    for at in 0..5 {
        app.send("POST", "/tenants", Some(json!({ "tenant": format!("t{at}") }))).await.expect(201);
    }
    let (mut names, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = app.get(&format!("/tenants?limit=3{cursor}")).await.expect(200);
        names.extend(texts(&page["tenants"], "tenant").into_iter().map(str::to_owned));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(names, ["acme", "t0", "t1", "t2", "t3", "t4", "twice"]);
    app.get("/tenants?cursor=A%23").await.problem(400, "invalidCursor");
    app.get("/tenants?limit=0").await.problem(400, "invalidValue");
}

#[tokio::test]
async fn settings_change_one_by_one() {
    let app = App::start().await;
    app.send("POST", "/tenants", Some(json!({ "tenant": "acme" }))).await.expect(201);
    let patch = json!({ "retentionDays": 90, "rootTeamProtected": true, "breakerPercent": 10 });
    let set = app.send("PATCH", "/tenants/acme", Some(patch)).await.expect(200);
    assert_eq!(set["version"], 2);
    assert_eq!(set["settings"]["breakerPercent"], 10);
    let set = app.send("PATCH", "/tenants/acme", Some(json!({ "breakerPercent": null }))).await.expect(200);
    assert_eq!(set["settings"]["retentionDays"], 90);
    assert_eq!(set["settings"]["breakerPercent"], Value::Null);
    assert_eq!(app.get("/tenants/acme").await.expect(200), set);
    for lifted in [json!("2099-01-31T18:00:00.000Z"), Value::Null] {
        let patch = json!({ "breakerLiftedUntil": lifted });
        let set = app.send("PATCH", "/tenants/acme", Some(patch)).await.expect(200);
        assert_eq!(set["settings"]["breakerLiftedUntil"], lifted);
    }
    for patch in
        [json!({ "retentionDays": 3651 }), json!({ "breakerPercent": 101 }), json!({ "policy": "veza" })]
    {
        app.send("PATCH", "/tenants/acme", Some(patch)).await.problem(400, "invalidValue");
    }
    app.send("PATCH", "/tenants/none", Some(json!({}))).await.problem(404, "");
}

#[tokio::test]
async fn users_and_groups_are_read_as_scim_reads_them() {
    let app = App::start().await;
    let scim = app.tenant("veza").await;
    let ids = scim.users(0..7).await;
    let group = scim.group("Team", &ids[..3]).await;
    let of = |path: &str| format!("/tenants/acme{path}");

    let one = app.get(&of(&format!("/Users/{}", ids[0]))).await;
    let etag = one.headers["etag"].to_str().unwrap().to_owned();
    let one = one.expect(200);
    assert_eq!(one[USER]["account"], "sso");
    assert_eq!(one[USER]["roles"][0]["role"], "member");
    let location = format!("http://app.example.com/app/v1/tenants/acme/Users/{}", ids[0]);
    assert_eq!(one["meta"]["location"], location.as_str());
    let key = format!("Bearer {}", app.key);
    let headers = [("authorization", key.as_str()), ("if-none-match", etag.as_str())];
    let path = of(&format!("/Users/{}", ids[0]));
    assert_eq!(app.raw(("GET", &path), &headers, Bytes::new()).await.status, 304);
    let headers = [("authorization", key.as_str()), ("if-match", "W/\"999\"")];
    app.raw(("GET", &path), &headers, Bytes::new()).await.problem(412, "");

    let some =
        app.get(&of("/Users?filter=userName eq \"u2@example.com\"&attributes=userName")).await.expect(200);
    assert_eq!(some["totalResults"], 1);
    assert!(some["Resources"][0].get("displayName").is_none());
    assert_eq!(some["Resources"][0][USER]["account"], "sso");

    let (mut seen, mut cursor) = (Vec::new(), Some(String::new()));
    while let Some(at) = cursor {
        let page = app.get(&of(&format!("/Users?count=3&sortBy=userName&cursor={at}"))).await.expect(200);
        seen.extend(texts(&page["Resources"], "userName").into_iter().map(str::to_owned));
        cursor = page["nextCursor"].as_str().map(str::to_owned);
    }
    assert_eq!(seen.len(), 8, "seven and the break-glass administrator");
    assert!(seen.is_sorted());

    let found = app.get(&of(&format!("/Groups/{group}?excludedAttributes=members"))).await.expect(200);
    assert!(found.get("members").is_none());
    assert_eq!(found[GROUP]["assignments"][0]["team"], group.as_str());
    assert_eq!(
        app.get(&of(&format!("/Groups/{group}"))).await.expect(200)["members"].as_array().unwrap().len(),
        3
    );

    app.get(&of("/Users?filter=userName")).await.problem(400, "invalidFilter");
    app.get(&of("/Users?count=3&cursor=x")).await.problem(400, "invalidCursor");
    for id in ["none", "01890a5d-ac96-774b-bcce-b302099a8057", "%00", "a%2Fb"] {
        app.get(&of(&format!("/Users/{id}"))).await.problem(404, "");
        app.get(&of(&format!("/Groups/{id}/members"))).await.problem(404, "");
    }
    app.get("/tenants/other/Users").await.problem(404, "");
    let head = app.send("HEAD", &path, None).await;
    assert_eq!((head.status, head.body), (200, Value::Null));
}

#[tokio::test]
async fn members_come_page_by_page_with_pending_changes() {
    let app = App::start().await;
    let scim = app.tenant("standard").await;
    let ids = scim.users(0..25).await;
    let group = scim.group("Team", &ids[..10]).await;
    // A change that is in force, and of which nothing is applied.
    support::pending::commit(&scim, &group, &ids[10..], &ids[..4]).await;
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/tenants/acme/Groups/{group}/members?limit=4{cursor}");
        let page = app.get(&path).await.expect(200);
        assert!(page["members"].as_array().unwrap().len() <= 4);
        seen.extend(texts(&page["members"], "value").into_iter().map(str::to_owned));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ids[4..]);
    app.get(&format!("/tenants/acme/Groups/{group}/members?cursor=x")).await.problem(400, "invalidCursor");
}

#[tokio::test]
async fn keys_are_made_rotated_and_revoked() {
    let app = App::start().await;
    let scim = app.tenant("veza").await;
    let person = scim.user("person").await;
    let body = json!({ "name": "Okta", "scope": "read", "expires": "2099-01-01T00:00:00Z", "user": person });
    let made = app.send("POST", "/tenants/acme/keys", Some(body)).await.expect(201);
    assert!(made["key"].as_str().unwrap().starts_with("rc_acme_"));
    let id = made["id"].as_str().unwrap();
    let rotate = format!("/tenants/acme/keys/{id}/rotate");
    let next = app.send("POST", &rotate, None).await.expect(201);
    assert_eq!((&next["replaces"], &next["user"]), (&made["id"], &made["user"]));
    let listed = app.get("/tenants/acme/keys").await.expect(200);
    assert_eq!(texts(&listed["keys"], "name"), ["Okta", "Okta"]);
    assert!(!listed.to_string().contains("rc_acme_"));
    let path = format!("/tenants/acme/keys/{}", next["id"].as_str().unwrap());
    app.send("DELETE", &path, None).await.expect(204);
    app.send("DELETE", &path, None).await.expect(204);
    app.send("POST", &format!("{path}/rotate"), None).await.problem(409, "keyEnded");
    for (member, value) in [
        ("name", json!("")),
        ("name", Value::Null),
        ("scope", json!("manage")),
        ("expires", json!("2001-01-01T00:00:00Z")),
        ("expires", json!("tomorrow")),
        ("user", json!("x")),
        ("user", json!("01890a5d-ac96-774b-bcce-b302099a8057")),
        ("tenant", json!("other")),
    ] {
        let mut body = json!({ "name": "x" });
        body[member] = value;
        app.send("POST", "/tenants/acme/keys", Some(body)).await.problem(400, "invalidValue");
    }
    app.send("POST", &rotate, Some(json!({ "overlapSeconds": -1 }))).await.problem(400, "invalidValue");
    app.send("DELETE", "/tenants/acme/keys/key_none", None).await.problem(404, "");
    app.send("POST", "/tenants/other/keys", Some(json!({ "name": "x" }))).await.problem(404, "");
    // The application is the actor of what it did.
    app.sequence().await;
    let (all, _) = changes(&app, "tenant=acme").await;
    let of_keys: Vec<&Value> = all.iter().filter(|change| change["resourceType"] == "Key").collect();
    assert_eq!(of_keys.len(), 4);
    assert!(of_keys.iter().all(|change| change["actor"].as_str().unwrap().starts_with("app_")));
}

#[tokio::test]
async fn assignments_are_replaced_and_the_last_administrator_stays() {
    let app = App::start().await;
    let scim = app.tenant("veza").await;
    let root = app.get("/tenants/acme").await.expect(200)["rootTeam"].as_str().unwrap().to_owned();
    let person = scim.user("person").await;
    let group = scim.group("Team", std::slice::from_ref(&person)).await;
    let path = |group: &str| format!("/tenants/acme/Groups/{group}/assignments");
    let put = |group: &str, roles: Value| {
        let path = path(group);
        let app = &app;
        async move { app.send("PUT", &path, Some(json!({ "assignments": roles }))).await }
    };
    let wanted = json!([{ "team": root, "role": "admin" }, { "team": group, "role": "reviewer" }]);
    let set = put(&group, wanted).await;
    assert!(set.headers.contains_key("etag"));
    let set = set.expect(200);
    assert_eq!((set["assignments"].as_array().unwrap().len(), &set["version"]), (2, &json!(2)));
    // The other administrator may go now, and then this one may not.
    put(&root, json!([])).await.expect(200);
    put(&group, json!([{ "team": group, "role": "reviewer" }])).await.problem(400, "mutability");
    put(&group, json!([{ "team": "01890a5d-ac96-774b-bcce-b302099a8057", "role": "x" }]))
        .await
        .problem(400, "invalidValue");
    for roles in [
        json!(null),
        json!({}),
        json!([1]),
        json!([{ "team": group }]),
        json!([{ "team": group, "role": "Big Boss" }]),
        json!([{ "team": "root", "role": "admin" }]),
    ] {
        put(&group, roles).await.problem(400, "invalidValue");
    }
    put("01890a5d-ac96-774b-bcce-b302099a8057", json!([])).await.problem(404, "");
    let key = format!("Bearer {}", app.key);
    let headers = [("authorization", key.as_str()), ("if-match", "W/\"1\"")];
    let body = Bytes::from_static(b"{\"assignments\":[]}");
    app.raw(("PUT", &path(&group)), &headers, body).await.problem(412, "");
    support::assert_consistent(&scim).await;
}

#[tokio::test]
async fn the_status_tells_how_far_each_delivery_is() {
    let app = App::start().await;
    let rule = TargetRule::Public;
    let registry = Registry { table: &app.table, actor: "operator", request_id: "test", rule };
    let (webhook, _) = registry.create("https://app.example/hook", false).await.expect("a webhook");
    app.sequence().await;
    let delivery = app.get("/status").await.expect(200)["deliveries"][0].clone();
    assert_eq!(
        (delivery["name"].as_str(), &delivery["lastError"]),
        (Some(webhook.id.as_str()), &Value::Null)
    );
    assert!(delivery["changesBehind"].as_u64() >= Some(1), "{delivery}");
    let document: Value = serde_json::from_str(include_str!("../docs/app-openapi.json")).unwrap();
    let described = &document["components"]["schemas"]["Delivery"]["properties"];
    let names = |members: &Value| members.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(described), names(&delivery));
}

#[tokio::test]
async fn the_newest_change_shows_where_a_partition_of_the_feed_ends() {
    let app = App::start().await;
    let (first, last) = (FEED_BUCKET - 2, FEED_BUCKET - 1);
    let state = [text("id", "0123456789abcdef"), number("floor", first), number("nearEnd", first)];
    app.table.put(&keys::feed_state(), state.into()).await.unwrap();
    app.sequence().await;
    let all = app.get("/changes").await.expect(200)["changes"].as_array().unwrap().clone();
    assert_eq!(all.iter().map(|change| change["seq"].as_u64().unwrap()).collect::<Vec<_>>(), [first, last]);
    let newest = app.get("/status").await.expect(200)["newest"].clone();
    assert_eq!((&newest["seq"], &newest["time"]), (&json!(last), &all[1]["time"]));
}

#[tokio::test]
async fn changes_are_followed_with_the_state_of_their_resources() {
    let app = App::start().await;
    let scim = app.tenant("veza").await;
    app.sequence().await;
    let (_, start) = changes(&app, "").await;
    let (stays, goes) = (scim.user("stays").await, scim.user("goes").await);
    let group = scim.group("Team", &[stays.clone(), goes.clone()]).await;
    scim.delete(&format!("/Users/{goes}")).await.expect(204);
    app.sequence().await;
    let page = app.get(&format!("/changes?after={start}&include=resource&limit=500")).await.expect(200);
    let all = page["changes"].as_array().unwrap();
    assert_eq!(page["more"], false);
    assert_changes_described(all);
    let of = |id: &str| all.iter().filter(move |change| change["resourceId"] == id).collect::<Vec<_>>();
    let types: Vec<&str> = of(&goes).iter().map(|change| change["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["user.created", "user.deactivated"]);
    assert!(of(&goes).iter().all(|change| change["resource"] == Value::Null));
    assert!(of(&stays).iter().all(|change| change["resource"][USER]["roles"][0]["role"] == "member"));
    let of_group = of(&group);
    assert_eq!(of_group.last().unwrap()["removed"], json!([goes]));
    for change in &of_group {
        assert!(change["resource"].get("members").is_none());
        let tag = change["resource"]["meta"]["version"].as_str().unwrap();
        let version: u64 = tag.trim_matches(['W', '/', '"']).parse().unwrap();
        assert!(version >= change["version"].as_u64().unwrap());
    }
    // Keys and applications have no state; a feed without `include` has none at all.
    let (plain, _) = changes(&app, "limit=2").await;
    assert!(plain.iter().all(|change| change.get("resource").is_none()));
    let numbers: Vec<u64> = plain.iter().map(|change| change["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    // A tenant's changes come page by page, each once.
    let (of_tenant, _) = changes(&app, "tenant=acme&limit=2").await;
    assert_eq!(of_tenant.len() + 2, plain.len());
    assert!(of_tenant.iter().all(|change| change["tenant"] == "acme"));
    let (own, _) = changes(&app, "tenant=deployment&include=resource").await;
    assert_eq!(own.len(), 2, "the two application keys");
    assert!(own.iter().all(|change| change.get("resource").is_none()));

    let status = app.get("/status").await.expect(200);
    assert_eq!((&status["deliveries"], &status["lagSeconds"]), (&json!([]), &json!(0)));
    assert_eq!(status["newest"]["seq"], numbers.len());
    assert_eq!(status["oldest"]["seq"], 1);
    app.get(&format!("/changes?after={}", status["snapshot"].as_str().unwrap())).await.expect(200);
    let end = status["newest"]["position"].as_str().unwrap();
    let empty = app.get(&format!("/changes?after={end}")).await.expect(200);
    assert_eq!(empty, json!({ "changes": [], "next": end, "more": false }));
}

#[tokio::test]
async fn a_lost_position_is_gone_and_says_what_to_do() {
    let app = App::start().await;
    app.sequence().await;
    let (_, end) = changes(&app, "").await;
    let (feed, _) = end.split_once('-').unwrap();
    for lost in [format!("{feed}-999"), "0123456789abcdef-0".to_owned()] {
        let detail = app.get(&format!("/changes?after={lost}")).await.problem(410, "lostPosition");
        assert!(detail.contains("snapshot"), "{detail}");
    }
    for (query, _) in [
        ("after=x", 0),
        ("after=-1", 0),
        ("after=%00", 0),
        ("limit=0", 0),
        ("limit=501", 0),
        ("limit=many", 0),
        ("tenant=A%23b", 0),
        ("include=all", 0),
    ] {
        app.get(&format!("/changes?{query}")).await.problem(400, "invalidValue");
    }
}

#[tokio::test]
async fn a_large_answer_ends_and_goes_on() {
    let app = App::start().await;
    let scim = app.tenant("veza").await;
    app.sequence().await;
    let (_, start) = changes(&app, "").await;
    let mut body = user("large");
    for attribute in ["title", "nickName", "userType", "locale", "timezone", "preferredLanguage"] {
        body[attribute] = "x".repeat(56 * 1024).into();
    }
    let id = scim.post("/Users", body).await.expect(201).id();
    for at in 0..14 {
        let change = json!([{ "op": "replace", "path": "displayName", "value": format!("n{at}") }]);
        scim.patch(&format!("/Users/{id}"), change).await.expect(200);
    }
    app.sequence().await;
    let (mut seen, mut next, mut pages) = (0, start, 0);
    loop {
        let page = app.get(&format!("/changes?include=resource&after={next}")).await.expect(200);
        assert!(page.to_string().len() <= 4 * 1024 * 1024 + 1024);
        seen += page["changes"].as_array().unwrap().len();
        pages += 1;
        next = page["next"].as_str().unwrap().to_owned();
        if page["more"] == false {
            break;
        }
    }
    assert_eq!((seen, pages), (15, 2));
}

#[tokio::test]
async fn scopes_and_keys_decide_who_passes() {
    let app = App::start().await;
    app.tenant("veza").await;
    let path = |route: &str| {
        let mut path = route.replacen("{}", "acme", 1);
        if path.contains("keys") {
            path = path.replace("{}", "key_none");
        }
        path.replace("{}", "01890a5d-ac96-774b-bcce-b302099a8057")
    };
    for (method, route, operation) in APP_ROUTES {
        let (method, path) = (method.as_str(), path(route));
        let reply = app.with_key(&app.reader, method, &path).await;
        match operation.scope() {
            ApplicationScope::Read => assert!([200, 404].contains(&reply.status), "{method} {path}"),
            ApplicationScope::Manage => assert!(reply.problem(403, "").contains("manage"), "{path}"),
        }
        assert_ne!(app.with_key(&app.key, method, &path).await.status, 403, "{method} {path}");
        for key in [
            "",
            "x",
            "rca_x",
            &format!("{}x", app.key),
            "rc_acme_1234567890123456789012345678901234567890123_abcdef",
        ] {
            app.with_key(key, method, &path).await.problem(401, "");
        }
        app.raw((method, &path), &[], Bytes::new()).await.problem(401, "");
    }
    let body = json!({ "name": "Okta" });
    let key = app.send("POST", "/tenants/acme/keys", Some(body)).await.expect(201);
    app.with_key(key["key"].as_str().unwrap(), "GET", "/changes").await.problem(401, "");
    let unknown = rollcall::auth::key::ApplicationKey::generate().unwrap();
    app.with_key(unknown.reveal(), "GET", "/changes").await.problem(401, "");
}

#[tokio::test]
async fn odd_requests_are_problems() {
    let app = App::start().await;
    app.tenant("veza").await;
    for path in [
        "/",
        "/nowhere",
        "/tenants/acme/users",
        "/tenants//Users",
        "/tenants/%ff",
        "/applications",
        "/tenants/acme/Roles",
    ] {
        app.get(path).await.problem(404, "");
    }
    // A misspelled parameter would not act.
    for path in [
        "/changes?afer=x",
        "/changes?limit=5&limit=6",
        "/tenants/acme/Users?filtr=id%20pr",
        "/tenants/acme?x=1",
        "/tenants?startIndex=1",
    ] {
        app.get(path).await.problem(400, "invalidValue");
    }
    app.get("/tenants/acme/Users?attributes=id&attributes=userName&start_index=1").await.expect(200);
    let settings = json!({ "settings": { "retentionDays": 30 } });
    for (body, advice) in
        [(settings, "not within settings"), (json!({ "policy": "strict" }), "cannot be changed")]
    {
        let detail = app.send("PATCH", "/tenants/acme", Some(body)).await.problem(400, "invalidValue");
        assert!(detail.contains(advice), "{detail}");
    }
    let refused = app.send("DELETE", "/tenants", None).await;
    assert_eq!(refused.headers["allow"], "GET, POST, HEAD, OPTIONS");
    refused.problem(405, "");
    assert_eq!(app.send("OPTIONS", "/tenants", None).await.headers["allow"], "GET, POST, HEAD, OPTIONS");
    let key = format!("Bearer {}", app.key);
    let send = |content_type: &'static str, body: Bytes| {
        let (app, key) = (&app, key.clone());
        async move {
            let headers = [("authorization", key.as_str()), ("content-type", content_type)];
            app.raw(("POST", "/tenants"), &headers, body).await
        }
    };
    send("text/plain", Bytes::from_static(b"{}")).await.problem(415, "");
    for body in ["", "[]", "{", "{\"tenant\":\"a1\",\"tenant\":\"a2\"}"] {
        send("application/json", body.into()).await.problem(400, "invalidSyntax");
    }
    send("application/json", Bytes::from(vec![b' '; 5 * 1024 * 1024])).await.problem(413, "");
    send("application/json", Bytes::from("[".repeat(200_000))).await.problem(400, "invalidSyntax");
}

/// API Gateway that refuses.
struct Refusing;

impl UsageKeys for Refusing {
    fn make<'a>(&'a self, _: &'a TenantId, _: RatePlan) -> BoxFuture<'a, Result<MadeUsageKey, TenantError>> {
        async { Err(TenantError::UsageKey("LimitExceededException".to_owned())) }.boxed()
    }

    fn usage_plan(&self, _: RatePlan) -> Option<&str> {
        None
    }
}

#[tokio::test]
async fn without_its_usage_key_a_tenant_is_neither_made_nor_changed() {
    let app = App::start().await;
    let refusing = Managing { usage_keys: Box::new(Refusing), target_rule: TargetRule::Public };
    let function = AppFunction::new(app.table.fresh(), &[], Some(refusing)).expect("a function");
    let refused = async |method: &str, proxy: &str, body: Value| {
        let event = json!({
            "resource": "/app/v1/{proxy+}", "path": format!("/app/v1/{proxy}"), "httpMethod": method,
            "headers": {}, "multiValueHeaders": { "Host": ["app.example.com"] }, "queryStringParameters": null,
            "multiValueQueryStringParameters": null, "pathParameters": { "proxy": proxy },
            "stageVariables": null, "body": body.to_string(), "isBase64Encoded": false,
            "requestContext": {
                "accountId": "123456789012", "apiId": "api", "httpMethod": method, "requestId": "r-1",
                "authorizer": { "keyId": "app_test", "scope": "manage" },
                "identity": { "sourceIp": "192.0.2.7" }, "path": format!("/prod/app/v1/{proxy}"), "stage": "prod",
            },
        });
        let ProxyEvent(request) = serde_json::from_value(event).expect("an event");
        let (response, line) = function.answer_with_line(request, Transfer::Buffered).await;
        assert_eq!((response.status().as_u16(), line.scim_type), (503, Some("usageKey")));
        assert_eq!(line.source.as_deref(), Some("LimitExceededException"));
    };
    refused("POST", "tenants", json!({ "tenant": "acme" })).await;
    app.get("/tenants/acme").await.problem(404, "");
    assert_eq!(app.get("/tenants").await.expect(200)["tenants"], json!([]));
    let made = app.send("POST", "/tenants", Some(json!({ "tenant": "acme" }))).await.expect(201);
    refused("PATCH", "tenants/acme", json!({ "plan": "high", "retentionDays": 10 })).await;
    assert_eq!(app.get("/tenants/acme").await.expect(200), made);
}
