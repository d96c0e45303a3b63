//! Tenants written out and read in.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::time::Duration;

use rollcall::admin::check::report::Problem;
use rollcall::admin::group::{Assignment, assign};
use rollcall::admin::progress::Progress;
use rollcall::admin::tenant::{self, NewTenant};
use rollcall::admin::transfer::definitions::{definition_lines, import_definitions};
use rollcall::admin::transfer::export::export;
use rollcall::admin::transfer::import::{Fate, ImportedLine, import};
use rollcall::admin::transfer::move_in::move_in;
use rollcall::admin::transfer::rows::{ImportFile, json_lines};
use rollcall::admin::transfer::user_table::user_table;
use rollcall::admin::user;
use rollcall::scim::policy::{Policy, VEZA};
use rollcall::scim::resource_type::Kind;
use rollcall::store::feed::reader::FeedReader;
use rollcall::store::keys::TenantId;
use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::support;
use crate::support::check;
use crate::support::client::{self, Client};
use crate::support::feed::{changes_of, check_feed, read_feed};

const GROUP_URN: &str = "urn:ietf:params:scim:schemas:extension:rollcall:2.0:Group";
const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

fn id(name: &str) -> TenantId {
    name.parse().unwrap()
}

/// Clients of two tenants in one table.
async fn two(policy: &'static str) -> (Client, Client) {
    let table = support::embedded().await;
    for name in ["acme", "globex"] {
        let mut new = NewTenant::new(&id(name), Policy::named(policy).unwrap(), &"u".repeat(40));
        // The same in both, so that the answers can be.
        new.admin = "keyholder@example.com".to_owned();
        tenant::create(&table, &new, OffsetDateTime::now_utc()).await.expect("a tenant");
    }
    let acme = Client::new(table, policy).await;
    let globex = acme.of("globex");
    (acme, globex)
}

async fn exported(client: &Client) -> String {
    let mut out = Vec::new();
    export(&client.table, &id(&client.tenant), &mut out, &Progress::hidden()).await.expect("an export");
    String::from_utf8(out).unwrap()
}

async fn imported(client: &Client, text: &str, dry_run: bool) -> Vec<ImportedLine> {
    import(&client.table, &id(&client.tenant), &json_lines(text), dry_run, &|_| ()).await.expect("an import")
}

fn count(outcomes: &[ImportedLine]) -> BTreeMap<Fate, usize> {
    let mut counts = BTreeMap::new();
    for outcome in outcomes {
        *counts.entry(outcome.fate).or_default() += 1;
    }
    counts
}

/// Everything that a tenant answers, with names for ids and nothing of times, in a fixed order.
async fn answers(client: &Client) -> Vec<String> {
    let mut names = BTreeMap::new();
    let mut found = Vec::new();
    for (path, name) in [("/Users", "userName"), ("/Groups", "displayName")] {
        let list = client.get(path).await.expect(200).body;
        for resource in list["Resources"].as_array().unwrap() {
            let key = resource["id"].as_str().unwrap().to_owned();
            names.insert(key.clone(), format!("<{}>", resource[name].as_str().unwrap()));
            let mut resource = resource.clone();
            resource.as_object_mut().unwrap().remove("meta");
            found.push(resource);
            if path == "/Groups" {
                let path = format!("/Groups/{key}?attributes=displayName,{GROUP_URN}:assignments");
                let mut shown = client.get(&path).await.expect(200).body;
                shown.as_object_mut().unwrap().remove("meta");
                found.push(shown);
            }
        }
    }
    for resource in &mut found {
        for (list, key) in [("members", "value"), ("groups", "value")] {
            if let Some(elements) = resource.get_mut(list).and_then(Value::as_array_mut) {
                elements.sort_by_key(|element| names.get(element[key].as_str().unwrap()).cloned());
            }
        }
        if let Some(roles) = resource.get_mut(GROUP_URN).and_then(|own| own["assignments"].as_array_mut()) {
            roles.sort_by_key(|role| names.get(role["team"].as_str().unwrap()).cloned());
        }
    }
    let mut lines: Vec<String> = found.iter().map(Value::to_string).collect();
    for line in &mut lines {
        for (id, name) in &names {
            *line = line.replace(id, name);
        }
    }
    lines.sort();
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_is_written_out_and_read_in_answers_the_same() {
    for policy in ["veza", "standard"] {
        let (acme, globex) = two(policy).await;
        let mut people = Vec::new();
        for n in 0..50 {
            let mut body = client::user(&format!("p{n}"));
            if n > 0 {
                body["schemas"] = json!(["urn:ietf:params:scim:schemas:core:2.0:User", ENTERPRISE]);
                body[ENTERPRISE] = json!({ "department": "R&D", "manager": { "value": people[0] } });
            }
            body["active"] = json!(n % 7 != 3);
            people.push(acme.post("/Users", body).await.expect(201).id());
        }
        // A manager who comes after those whom he manages.
        let manager = json!([{ "op": "replace", "path": format!("{ENTERPRISE}:manager"), "value": { "value": people[49] } }]);
        acme.patch(&format!("/Users/{}", people[1]), manager).await.expect(200);
        let team = acme.group("Team", &people[..48]).await;
        let board = acme.group("Board", &[people[0].clone(), team.clone()]).await;
        for (team, role) in [(None, "reviewer"), (Some("root".to_owned()), "admin")] {
            let wanted =
                Assignment { tenant: id("acme"), group: board.parse().unwrap(), team, role: role.to_owned() };
            assign(&acme.table, &wanted, true).await.expect("a role");
        }
        let text = exported(&acme).await;
        assert!(text.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));

        // Nothing is written when it is only tried.
        let empty = answers(&globex).await;
        let tried = count(&imported(&globex, &text, true).await);
        assert_eq!(tried.get(&Fate::Created), Some(&52), "{tried:?}");
        assert_eq!(tried.get(&Fate::Refused), None);
        assert_eq!(answers(&globex).await, empty);

        // A run that is interrupted, and the next.
        let part: Vec<&str> = text.lines().take(23).collect();
        imported(&globex, &part.join("\n"), false).await;
        let outcomes = imported(&globex, &text, false).await;
        assert_eq!(count(&outcomes).get(&Fate::Refused), None, "{outcomes:?}");
        assert_eq!(answers(&globex).await, answers(&acme).await);
        let again = count(&imported(&globex, &text, false).await);
        assert_eq!(again.keys().collect::<Vec<_>>(), [&Fate::Unchanged], "{again:?}");
        support::assert_consistent(&globex).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_with_mistakes_is_read_but_for_them() {
    let (acme, _) = two("veza").await;
    let text = "userName,name.givenName,name.familyName,displayName,emails,active\n\
        ada@x.example,Ada,Lovelace,Ada,ada@x.example,true\n\
        bob@x.example,Bob,,Bob,bob@x.example,true\n\
        eve@x.example,Eve,E,Eve,other@x.example,false\n\
        cy@x.example,Cy,C,Cy,cy@x.example,false\n";
    let model = tenant::model(&VEZA).unwrap();
    let rows = user_table(text, model.of(Kind::User)).unwrap();
    let file = ImportFile { rows, root_team: None };
    let outcomes = import(&acme.table, &id("acme"), &file, false, &|_| ()).await.unwrap();
    let fates: Vec<_> = outcomes.iter().map(|outcome| (outcome.line, outcome.fate)).collect();
    let expected = [(2, Fate::Created), (3, Fate::Refused), (4, Fate::Refused), (5, Fate::Created)];
    assert_eq!(fates, expected);
    assert!(outcomes[1].error.as_deref().unwrap().contains("name.familyName"), "{:?}", outcomes[1]);
    let found = acme.get("/Users?filter=userName eq \"cy@x.example\"").await.expect(200).body;
    assert_eq!(found["Resources"][0]["active"], false);
    support::assert_consistent(&acme).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_import_of_the_same_changes_nothing_and_a_dry_run_says_what_an_import_does() {
    let (acme, _) = two("standard").await;
    let schemas = "[\"urn:ietf:params:scim:schemas:core:2.0:User\"]";
    let line = |name: &str, more: &str| format!("{{\"schemas\":{schemas},\"userName\":\"{name}\"{more}}}\n");
    let local = ",\"urn:ietf:params:scim:schemas:extension:rollcall:2.0:User\":{\"account\":\"local\"}";
    let good = line("ada", "") + &line("bob", local);
    let refused = line("e\u{200b}ve", "") + &line("cy", ",\"userName\":\"dan\"");
    let text = good + &refused;
    for (dry_run, expected) in [
        (true, [Fate::Created, Fate::Created, Fate::Refused, Fate::Refused]),
        (false, [Fate::Created, Fate::Created, Fate::Refused, Fate::Refused]),
        (true, [Fate::Unchanged, Fate::Unchanged, Fate::Refused, Fate::Refused]),
        (false, [Fate::Unchanged, Fate::Unchanged, Fate::Refused, Fate::Refused]),
    ] {
        let fates: Vec<_> = imported(&acme, &text, dry_run).await.iter().map(|line| line.fate).collect();
        assert_eq!(fates, expected, "dry run: {dry_run}");
    }
    // Lines of one name: each after the one before it.
    let group = |name: &str| {
        json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": name }).to_string()
            + "\n"
    };
    let again = line("dup", "") + &line("DUP", ",\"title\":\"x\",\"active\":true");
    let again =
        again + &line("dup", ",\"title\":\"x\"") + &line("ada", "") + &line("ada", ",\"title\":\"y\"");
    let again = again + &group("Team") + &group("Team");
    for dry_run in [true, false] {
        let fates: Vec<_> = imported(&acme, &again, dry_run).await.iter().map(|line| line.fate).collect();
        let expected = [
            Fate::Created,
            Fate::Updated,
            Fate::Updated,
            Fate::Unchanged,
            Fate::Updated,
            Fate::Created,
            Fate::Unchanged,
        ];
        assert_eq!(fates, expected, "dry run: {dry_run}");
    }
    // Someone who has left stays so where a line does not say otherwise.
    imported(&acme, &line("eve", ",\"active\":false"), false).await;
    let left = line("eve", ",\"title\":\"x\"") + &line("eve", ",\"title\":\"x\",\"active\":false");
    let left = left + &line("eve", ",\"title\":\"x\",\"active\":true") + &line("eve", ",\"title\":\"x\"");
    // Members are a set.
    let ids = acme.users(0..2).await;
    let team = |members: [&String; 2]| {
        let members = members.map(|id| json!({ "value": id }));
        json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "Two", "members": members })
            .to_string()
            + "\n"
    };
    let left = left + &team([&ids[0], &ids[1]]) + &team([&ids[1], &ids[0]]);
    for dry_run in [true, false] {
        let fates: Vec<_> = imported(&acme, &left, dry_run).await.iter().map(|line| line.fate).collect();
        let expected =
            [Fate::Updated, Fate::Unchanged, Fate::Updated, Fate::Unchanged, Fate::Created, Fate::Unchanged];
        assert_eq!(fates, expected, "dry run: {dry_run}");
    }
    support::assert_consistent(&acme).await;
}

#[tokio::test]
async fn groups_of_a_user_are_refused_by_the_dry_run_too() {
    for (policy, expected) in [("veza", Fate::Refused), ("standard", Fate::Created)] {
        let (acme, _) = two(policy).await;
        let mut line = client::user("ann");
        line["groups"] = json!([{ "value": "x" }]);
        for dry_run in [true, false] {
            let outcomes = imported(&acme, &format!("{line}\n"), dry_run).await;
            assert_eq!(fates(&outcomes), [expected], "{policy}, dry run: {dry_run}");
        }
    }
}

/// Makes a tenant with everything that a move must carry. Returns the ids of users and of two groups.
async fn a_tenant_to_move(policy: &'static str) -> (Client, Vec<String>, [String; 2]) {
    let (acme, _) = two(policy).await;
    let ids = acme.users(0..130).await;
    let team = acme.group("Team", &ids[..120]).await;
    let board = acme.group("Board", &[ids[0].clone(), ids[1].clone(), team.clone()]).await;
    let itself = json!([{ "op": "add", "path": "members", "value": [{ "value": board }] }]);
    acme.patch(&format!("/Groups/{board}"), itself).await.expect(200);
    for (team, role) in [(None, "reviewer"), (Some("root".to_owned()), "admin")] {
        let group = board.parse().unwrap();
        let wanted = Assignment { tenant: id("acme"), group, team, role: role.to_owned() };
        assign(&acme.table, &wanted, true).await.expect("a role");
    }
    let active = json!([{ "op": "replace", "path": "active", "value": false }]);
    acme.patch(&format!("/Users/{}", ids[5]), active).await.expect(200);
    acme.patch(&format!("/Users/{}", ids[6]), json!([{ "op": "add", "path": "title", "value": "x" }]))
        .await
        .expect(200);
    // Under `veza` these accounts are kept, and one of them is erased.
    for n in [7, 8, 9] {
        acme.delete(&format!("/Users/{}", ids[n])).await.expect(204);
    }
    if policy == "veza" {
        user::purge(&acme.table, &id("acme"), ids[9].parse().unwrap()).await.expect("an account");
        // Another user takes the name of a deactivated account.
        let mut body = client::user("u8");
        body["externalId"] = json!("heir");
        acme.put(&format!("/Users/{}", ids[10]), body).await.expect(200);
    }
    let user = user::create(&acme.table, &id("acme"), &client::user("local")).await.expect("an account");
    tenant::set(&acme.table, &id("acme"), OffsetDateTime::now_utc(), |settings| settings.retention_days = 7)
        .await
        .expect("a setting");
    support::work(&acme).await;
    assert!(!ids.contains(&user.id.to_string()));
    (acme, ids, [team, board])
}

/// An empty tenant `acme` in a table of its own.
async fn an_empty_tenant(policy: &'static str) -> Client {
    let table = support::embedded().await;
    let new = NewTenant::new(&id("acme"), Policy::named(policy).unwrap(), &"n".repeat(40));
    tenant::create(&table, &new, OffsetDateTime::now_utc()).await.expect("a tenant");
    Client::new(table, policy).await
}

async fn moved(client: &Client, text: &str) -> Result<BTreeMap<Fate, usize>, String> {
    let outcomes = move_in(&client.table, &id("acme"), text, false, &|_| ()).await;
    outcomes.map(|outcomes| count(&outcomes)).map_err(|error| error.to_string())
}

/// Everything that an identity provider reads of a tenant: all resources with their `meta`, and their ETags.
async fn read_by_provider(client: &Client) -> Vec<Value> {
    let mut found = Vec::new();
    for kind in ["Users", "Groups"] {
        let list = client.get(&format!("/{kind}?count=200")).await.expect(200).body;
        for resource in list["Resources"].as_array().unwrap() {
            let path = format!("/{kind}/{}", resource["id"].as_str().unwrap());
            let mut answer = client.get(&path).await.expect(200).body;
            for (list, key) in [("members", "value"), ("groups", "value")] {
                if let Some(elements) = answer.get_mut(list).and_then(Value::as_array_mut) {
                    elements.sort_by_key(|element| element[key].to_string());
                }
            }
            found.push(answer);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_moves_keeps_ids_versions_times_and_deactivated_accounts() {
    for policy in ["veza", "standard"] {
        // The feed that it moves to is older than what moves.
        let there = an_empty_tenant(policy).await;
        FeedReader::open(&there.table).await.expect("a feed");
        let (acme, ids, [team, board]) = a_tenant_to_move(policy).await;
        let text = exported(&acme).await;
        let done = moved(&there, &text).await.expect("a move");
        assert_eq!(done.keys().collect::<Vec<_>>(), [&Fate::Created], "{done:?}");
        assert_eq!(read_by_provider(&there).await, read_by_provider(&acme).await);
        assert_eq!(exported(&there).await, text, "it can be moved on");
        support::assert_consistent(&there).await;
        assert_eq!(tenant::get(&there.table, &id("acme")).await.unwrap().settings.retention_days, 7);

        // The feed tells mirrors to read the tenant again, and no change of what came with the move.
        let told = changes_of(&there.table, "acme").await;
        check_feed(&read_feed(&there.table).await);
        assert_eq!(told.last().unwrap()["type"], "tenant.resync");
        let moved_ids = [&ids[0], &ids[6], &team, &board];
        assert!(told.iter().all(|change| !moved_ids.iter().any(|id| change["resourceId"] == **id)));

        // Life goes on: versions, accounts that come back, the rule of the last administrator.
        let title = json!([{ "op": "add", "path": "title", "value": "y" }]);
        there.patch(&format!("/Users/{}", ids[6]), title).await.expect(200);
        let told = changes_of(&there.table, "acme").await;
        assert_eq!(
            (&told.last().unwrap()["type"], &told.last().unwrap()["version"]),
            (&json!("user.updated"), &json!(3))
        );
        if policy == "veza" {
            assert_eq!(
                there.post("/Users", client::user("u7")).await.expect(201).id(),
                ids[7],
                "it comes back"
            );
            assert_ne!(
                there.post("/Users", client::user("u9")).await.expect(201).id(),
                ids[9],
                "it is erased"
            );
        }
        for admin in [&ids[0], &ids[1]] {
            there.delete(&format!("/Users/{admin}")).await.expect(204);
        }
        let root = tenant::get(&there.table, &id("acme")).await.unwrap().root_team.unwrap();
        let last = there.delete(&format!("/Groups/{root}")).await;
        assert_eq!(last.status, 400, "the last administrator stays: {:?}", last.body);
        there.delete(&format!("/Groups/{team}")).await.expect(204);
        support::work(&there).await;
        support::assert_consistent(&there).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_was_interrupted_is_finished_by_the_next_run() {
    let (acme, _, _) = a_tenant_to_move("veza").await;
    let text = exported(&acme).await;
    let there = an_empty_tenant("veza").await;
    // At any moment: a run is dropped after so many milliseconds.
    for pause in [5, 20, 40, 80, 160] {
        let run = moved(&there, &text);
        if tokio::time::timeout(Duration::from_millis(pause), run).await.is_ok() {
            break;
        }
    }
    // It has ended, or does now.
    let last = moved(&there, &text).await;
    assert!(last.as_ref().map_or_else(|error| error.contains("has ended"), |_| true), "{last:?}");
    assert_eq!(read_by_provider(&there).await, read_by_provider(&acme).await);
    assert_eq!(exported(&there).await, text);
    support::assert_consistent(&there).await;
    let told = changes_of(&there.table, "acme").await;
    assert_eq!(told.iter().filter(|change| change["type"] == "tenant.resync").count(), 1);
    assert!(moved(&there, &text).await.expect_err("it has ended").contains("has ended"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_refuses_what_does_not_fit() {
    let (acme, ids, [team, _]) = a_tenant_to_move("standard").await;
    let text = exported(&acme).await;
    // The file.
    let there = an_empty_tenant("standard").await;
    let cut = text.lines().take(30).collect::<Vec<_>>().join("\n");
    assert!(moved(&there, &cut).await.expect_err("cut").contains("not whole"));
    let (_, rest) = text.split_once('\n').unwrap();
    assert!(moved(&there, rest).await.expect_err("a line is missing").contains("not whole"));
    let twice = text.replacen('\n', &format!("\n{}\n", text.lines().next().unwrap()), 1);
    assert!(moved(&there, &twice).await.expect_err("twice").contains("twice"));
    let strict = an_empty_tenant("strict").await;
    assert!(moved(&strict, &text).await.expect_err("a policy").contains("--policy standard"));
    // A tenant that is in use, and one that has the file already.
    let used = an_empty_tenant("standard").await;
    used.user("somebody").await;
    assert!(moved(&used, &text).await.expect_err("in use").contains("not empty"));
    assert!(moved(&acme, &text).await.expect_err("itself").contains("nothing is left to do"));
    // One line: the others are written, and the import does not end before the line is corrected.
    let wrong = text.replace(
        &format!("{{\"value\":\"{}\",\"type\":\"User\"", ids[2]),
        &format!("{{\"value\":\"{}\",\"type\":\"User\"", Uuid::now_v7()),
    );
    let done = moved(&there, &wrong).await.expect("a run");
    assert_eq!(done.get(&Fate::Refused), Some(&1), "{done:?}");
    assert!(changes_of(&there.table, "acme").await.iter().all(|change| change["type"] != "tenant.resync"));
    let report = check(&there, true).await;
    assert!(
        report.findings.iter().any(|finding| finding.problem == Problem::MoveOpen),
        "{:?}",
        report.findings
    );
    // An id with other content.
    let title = json!([{ "op": "add", "path": "title", "value": "y" }]);
    there.patch(&format!("/Users/{}", ids[3]), title).await.expect(200);
    let outcomes = move_in(&there.table, &id("acme"), &text, false, &|_| ()).await.expect("a run");
    let refused: Vec<_> = outcomes.iter().filter(|line| line.fate == Fate::Refused).collect();
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(refused[0].id.as_ref(), Some(&ids[3]));
    assert!(refused[0].error.as_ref().unwrap().contains("other content"));
    assert!(outcomes.iter().any(|line| line.id.as_ref() == Some(&team) && line.fate == Fate::Created));
}

/// Which fates a file has, in the order of its lines.
fn fates(outcomes: &[ImportedLine]) -> Vec<Fate> {
    outcomes.iter().map(|outcome| outcome.fate).collect()
}

/// The names of a group's members.
async fn members_of(client: &Client, group: &str) -> Vec<String> {
    let list = client.get(&format!("/Groups?filter=displayName eq \"{group}\"")).await.expect(200).body;
    let members = list["Resources"][0]["members"].as_array().cloned().unwrap_or_default();
    let mut names = Vec::new();
    for member in members {
        let kind = if member["type"] == "Group" { "Groups" } else { "Users" };
        let found = client.get(&format!("/{kind}/{}", member["value"].as_str().unwrap())).await.expect(200);
        let name = if kind == "Groups" { &found.body["displayName"] } else { &found.body["userName"] };
        names.push(name.as_str().unwrap().to_owned());
    }
    names.sort();
    names
}

/// The line of the group that the export says is the root team.
fn root_line(text: &str) -> usize {
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let root = &lines.last().unwrap()["rootTeam"];
    1 + lines.iter().position(|line| line["id"] == *root).unwrap()
}

/// The root team is recognised by what the export says of it. The members of another group of its name do not become
/// administrators.
#[tokio::test(flavor = "multi_thread")]
async fn the_root_team_is_not_recognised_by_its_name() {
    let (acme, globex) = two("strict").await;
    let users = acme.users(0..2).await;
    let root = acme.get("/Groups?filter=displayName eq \"Root\"").await.expect(200).body;
    let root = root["Resources"][0]["id"].as_str().unwrap().to_owned();
    let join = json!([{ "op": "add", "path": "members", "value": [{ "value": users[0] }] }]);
    acme.patch(&format!("/Groups/{root}"), join).await.expect(200);
    let namesake = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "Root",
        "members": [{ "value": users[1] }] });
    acme.post("/Groups", namesake).await.expect(201);
    let chiefs =
        json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "Chiefs" });
    let chiefs = acme.post("/Groups", chiefs).await.expect(201).id();
    let nest = json!([{ "op": "add", "path": "members", "value": [{ "value": chiefs }] }]);
    acme.patch(&format!("/Groups/{root}"), nest).await.expect(200);
    for renamed in [false, true] {
        if renamed {
            let rename = json!([{ "op": "replace", "path": "displayName", "value": "Administrators" }]);
            acme.patch(&format!("/Groups/{root}"), rename).await.expect(200);
        }
        let text = exported(&acme).await;
        for dry_run in [true, false] {
            let outcomes = imported(&globex, &text, dry_run).await;
            let refused: Vec<_> = outcomes.iter().filter(|outcome| outcome.fate == Fate::Refused).collect();
            assert_eq!(refused.len(), 1, "{outcomes:?}");
            let expected = if renamed { Fate::Unchanged } else { Fate::Updated };
            let of_root = outcomes.iter().find(|outcome| outcome.line == root_line(&text)).unwrap();
            assert_eq!(of_root.fate, expected, "dry run {dry_run}: {outcomes:?}");
            assert!(refused[0].error.as_ref().unwrap().contains("root team"), "{refused:?}");
        }
        assert_eq!(members_of(&globex, "Root").await, ["Chiefs", "keyholder@example.com", "u0@example.com"]);
        let groups = globex.get("/Groups").await.expect(200).body;
        assert_eq!(groups["totalResults"], 2, "{groups}");
    }
}

/// A row may name a later one: a manager, members, and the teams of roles.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_later_is_read_in_too() {
    let (acme, globex) = two("standard").await;
    let (parent, zebra) = (acme.group("Parent", &[]).await, acme.group("Zebra", &[]).await);
    let (child, apple) = (acme.group("Child", &[]).await, acme.group("Apple", &[]).await);
    let join = json!([{ "op": "add", "path": "members", "value": [{ "value": child }] }]);
    acme.patch(&format!("/Groups/{parent}"), join).await.expect(200);
    let cycle =
        json!([{ "op": "add", "path": "members", "value": [{ "value": parent }, { "value": child }] }]);
    acme.patch(&format!("/Groups/{child}"), cycle).await.expect(200);
    let role = |group: &str, team: &str, role: &str| Assignment {
        tenant: id("acme"),
        group: group.parse().unwrap(),
        team: Some(team.to_owned()),
        role: role.to_owned(),
    };
    assign(&acme.table, &role(&zebra, &apple, "reviewer"), true).await.unwrap();
    assign(&acme.table, &role(&apple, &apple, "member"), false).await.unwrap();
    let text = exported(&acme).await;
    let tried = fates(&imported(&globex, &text, true).await);
    let outcomes = imported(&globex, &text, false).await;
    assert_eq!(fates(&outcomes), tried, "{outcomes:?}");
    assert_eq!(count(&outcomes).get(&Fate::Refused), None, "{outcomes:?}");
    assert_eq!(answers(&globex).await, answers(&acme).await);
    for dry_run in [true, false] {
        let again = count(&imported(&globex, &text, dry_run).await);
        assert_eq!(again.keys().collect::<Vec<_>>(), [&Fate::Unchanged], "dry run {dry_run}: {again:?}");
    }
    // A role that is taken away meanwhile comes back, and one that the file does not have goes.
    let groups = globex.get("/Groups").await.expect(200).body;
    let there = |name: &str| {
        let found = groups["Resources"].as_array().unwrap().iter().find(|group| group["displayName"] == name);
        found.unwrap()["id"].as_str().unwrap().to_owned()
    };
    let (zebra, apple) = (there("Zebra"), there("Apple"));
    let of_globex = |assignment: Assignment| Assignment { tenant: id("globex"), ..assignment };
    assign(&globex.table, &of_globex(role(&zebra, &apple, "reviewer")), false).await.unwrap();
    assign(&globex.table, &of_globex(role(&apple, &apple, "extra")), true).await.unwrap();
    for dry_run in [true, false] {
        let updated = count(&imported(&globex, &text, dry_run).await);
        assert_eq!(updated.get(&Fate::Updated), Some(&2), "dry run {dry_run}: {updated:?}");
    }
    assert_eq!(answers(&globex).await, answers(&acme).await);
    support::assert_consistent(&globex).await;
}

/// What cannot be imported is refused before anything of the line is written.
#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_refused_leaves_nothing() {
    let (acme, _) = two("strict").await;
    let group = |name: &str, id: &str, roles: Value| {
        json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group", GROUP_URN], "id": id,
            "displayName": name, GROUP_URN: { "assignments": roles } })
        .to_string()
            + "\n"
    };
    let ids: Vec<String> = (0..4).map(|_| Uuid::now_v7().to_string()).collect();
    let text = group("Bad", &ids[0], json!([{ "team": ids[0], "role": "Bad Role" }]))
        + &group("Lost", &ids[1], json!([{ "team": Uuid::now_v7().to_string(), "role": "member" }]))
        + &group("Team", &ids[2], json!([]))
        + &group("team", &ids[3], json!([]))
        + &json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "Names one",
            "members": [{ "value": ids[3] }] })
        .to_string();
    for dry_run in [true, false] {
        let outcomes = imported(&acme, &text, dry_run).await;
        let expected = [Fate::Refused, Fate::Refused, Fate::Created, Fate::Refused, Fate::Refused];
        assert_eq!(fates(&outcomes), expected, "dry run {dry_run}: {outcomes:?}");
        assert!(outcomes[3].error.as_ref().unwrap().contains("line 3"), "{outcomes:?}");
    }
    let groups = acme.get("/Groups").await.expect(200).body;
    assert_eq!(groups["totalResults"], 2, "{groups}");
}

/// An account of the operator stays one, also if its manager comes later.
#[tokio::test(flavor = "multi_thread")]
async fn an_import_converts_no_account() {
    let (acme, _) = two("veza").await;
    let manager = Uuid::now_v7().to_string();
    let line = |name: &str, id: Option<&str>, title: &str, account: &str| {
        let mut user = client::user(name);
        user["title"] = title.into();
        user["id"] = id.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned).into();
        user["urn:ietf:params:scim:schemas:extension:rollcall:2.0:User"] = json!({ "account": account });
        if id.is_none() {
            user[ENTERPRISE] = json!({ "manager": { "value": manager } });
            user["schemas"] = json!(["urn:ietf:params:scim:schemas:core:2.0:User", ENTERPRISE]);
        }
        user.to_string() + "\n"
    };
    let account = async || {
        let urn = "urn:ietf:params:scim:schemas:extension:rollcall:2.0:User:account";
        let path =
            format!("/Users?filter=userName eq \"local@example.com\"&attributes=title,{ENTERPRISE},{urn}");
        let list = acme.get(&path).await.expect(200).body;
        list["Resources"][0].clone()
    };
    for title in ["a", "b"] {
        let text = line("local", None, title, "local") + &line("boss", Some(&manager), title, "sso");
        let outcomes = imported(&acme, &text, false).await;
        assert_eq!(count(&outcomes).get(&Fate::Refused), None, "{outcomes:?}");
        let found = account().await;
        assert_eq!(
            found["urn:ietf:params:scim:schemas:extension:rollcall:2.0:User"]["account"], "local",
            "{found}"
        );
        assert_eq!(found["title"], title);
        let boss = acme.get("/Users?filter=userName eq \"boss@example.com\"").await.expect(200).body;
        assert_eq!(found[ENTERPRISE]["manager"]["value"], boss["Resources"][0]["id"]);
    }
}

/// Lines that somebody wrote by hand: ids of their own, or none, and members and teams that are refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_refuses_what_an_import_refuses() {
    let (acme, _) = two("standard").await;
    let group = |id: Option<&str>, name: &str, members: &[&str], roles: Value| {
        let members: Vec<Value> = members.iter().map(|id| json!({ "value": id })).collect();
        let mut line = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group", GROUP_URN],
            "displayName": name, "members": members });
        if let Some(id) = id {
            line["id"] = id.into();
        }
        if !roles.is_null() {
            line[GROUP_URN] = json!({ "assignments": roles });
        }
        line.to_string() + "\n"
    };
    let role = |team: &str| json!([{ "team": team, "role": "reviewer" }]);
    let nobody = "{\"schemas\":[\"urn:ietf:params:scim:schemas:core:2.0:User\"],\"id\":\"no\"}\n";
    let text = nobody.to_owned()
        + &group(Some("early"), "Early", &["no"], Value::Null)
        + &group(Some("late"), "Late", &["gone"], Value::Null)
        + &group(Some("g1"), "One", &[], Value::Null)
        + &group(Some("g2"), "Two", &["g1"], role("g1"))
        + &group(None, "Three", &["g2"], role("g3"))
        + &group(Some("g3"), "Four", &[], json!([]))
        + &nobody.replace("\"no\"", "\"gone\"")
        + &group(None, "Root", &[], Value::Null);
    for again in [false, true] {
        for dry_run in [true, false] {
            let outcomes = imported(&acme, &text, dry_run).await;
            let done = if again { Fate::Unchanged } else { Fate::Created };
            let refused = Fate::Refused;
            let expected = [refused, refused, refused, done, done, done, done, refused, refused];
            assert_eq!(fates(&outcomes), expected, "dry run {dry_run}, again {again}: {outcomes:#?}");
        }
    }
    let list =
        acme.get(&format!("/Groups?attributes=displayName,{GROUP_URN}:assignments")).await.expect(200).body;
    let grants = |name: &str| {
        let found = list["Resources"].as_array().unwrap().iter().find(|group| group["displayName"] == name);
        found.unwrap()[GROUP_URN]["assignments"].as_array().map_or(0, Vec::len)
    };
    // A line without an id cannot name itself: the group keeps its role.
    assert_eq!(["One", "Two", "Three", "Four"].map(grants), [1, 1, 2, 0], "{list}");
}

/// If the rule of the last administrator refuses the roles of a line, nothing of the line is written.
#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_takes_the_last_administrator_changes_nothing() {
    let (acme, _) = two("standard").await;
    let users = acme.users(0..2).await;
    let managers = acme.group("Managers", &users).await;
    let admin = Assignment {
        tenant: id("acme"),
        group: managers.parse().unwrap(),
        team: Some("root".to_owned()),
        role: "admin".to_owned(),
    };
    assign(&acme.table, &admin, true).await.unwrap();
    let root = acme.get("/Groups?filter=displayName eq \"Root\"").await.expect(200).body;
    let root = root["Resources"][0]["id"].as_str().unwrap().to_owned();
    acme.patch(&format!("/Groups/{root}"), json!([{ "op": "remove", "path": "members" }])).await;
    let of_root = Assignment { group: root.parse().unwrap(), ..admin };
    let _ = assign(&acme.table, &of_root, false).await;
    let before = acme.get(&format!("/Groups/{managers}")).await.expect(200).body;
    let line = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group", GROUP_URN], "id": managers,
        "displayName": "Managers", "members": [{ "value": users[0] }], GROUP_URN: { "assignments": [] } });
    let outcomes = imported(&acme, &line.to_string(), false).await;
    assert_eq!(fates(&outcomes), [Fate::Refused], "{outcomes:?}");
    assert_eq!(acme.get(&format!("/Groups/{managers}")).await.expect(200).body, before);
}

/// Two lines of one resource, both of which name a later one; and many groups whose members administer the tenant.
#[tokio::test(flavor = "multi_thread")]
async fn lines_that_wait_and_lines_of_administrators_come_one_after_another() {
    let (acme, globex) = two("standard").await;
    let urn = "urn:ietf:params:scim:schemas:core:2.0:User";
    let line = |id: &str, title: &str, manager: &str| {
        json!({ "schemas": [urn, ENTERPRISE], "id": id, "userName": id, "title": title,
            ENTERPRISE: { "manager": { "value": manager } } })
        .to_string()
            + "\n"
    };
    let text = line("a", "x", "b") + &line("a", "y", "b") + &line("b", "z", "a");
    let tried = fates(&imported(&globex, &text, true).await);
    assert_eq!(fates(&imported(&globex, &text, false).await), tried);
    let found = globex.get("/Users?filter=userName eq \"a\"").await.expect(200).body;
    assert_eq!(found["Resources"][0]["title"], "y", "the later line counts");

    let users = acme.users(0..2).await;
    for at in 0..40 {
        let group = acme.group(&format!("G{at}"), &users).await;
        let admin = Assignment {
            tenant: id("acme"),
            group: group.parse().unwrap(),
            team: Some("root".to_owned()),
            role: "admin".to_owned(),
        };
        assign(&acme.table, &admin, true).await.unwrap();
    }
    let text = exported(&acme).await;
    let outcomes = imported(&globex, &text, false).await;
    assert_eq!(count(&outcomes).get(&Fate::Refused), None, "{outcomes:?}");
    // All lines take the role away.
    let fewer = text.replace("\"role\":\"admin\"},{", "\"role\":\"reviewer\"},{");
    assert!(fewer != text);
    let outcomes = imported(&globex, &fewer, false).await;
    assert_eq!(count(&outcomes).get(&Fate::Refused), None, "{outcomes:?}");
    support::assert_consistent(&globex).await;
}

/// A user is no team, and a role has a name that the tool can take away again.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_command_would_give_is_not_read_in() {
    let (acme, _) = two("standard").await;
    let (user, group) = (Uuid::now_v7().to_string(), Uuid::now_v7().to_string());
    let text =
        json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "id": user, "userName": "u" })
            .to_string()
            + "\n"
            + &json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group", GROUP_URN], "id": group,
            "displayName": "Team", GROUP_URN: { "assignments": [{ "team": user, "role": "member" }] } })
            .to_string();
    for dry_run in [true, false] {
        let outcomes = imported(&acme, &text, dry_run).await;
        let known = if dry_run { Fate::Created } else { outcomes[0].fate };
        assert_eq!(fates(&outcomes), [known, Fate::Refused], "dry run {dry_run}: {outcomes:?}");
    }
    let team = acme.group("Apple", &[]).await;
    let definition = |id: &str, name: &str, role: &str| {
        json!({ "schemas": ["urn:rollcall:export:Definition"], "id": id, "displayName": name,
            "grants": [{ "team": team, "role": role }],
            "meta": { "resourceType": "Role", "created": "2026-01-01T00:00:00Z",
                "lastModified": "2026-01-01T00:00:00Z", "version": "W/\"1\"" } })
        .to_string()
            + "\n"
    };
    let text =
        definition("a", "A", "NO NO") + &definition("b", " ", "member") + &definition("c", "C", "member");
    let lines = definition_lines(&text);
    for dry_run in [true, false] {
        let done = import_definitions(&acme.table, &id("acme"), &lines, &BTreeMap::new(), dry_run).await;
        let expected = [Fate::Refused, Fate::Refused, Fate::Created];
        assert_eq!(fates(&done.unwrap()), expected, "dry run {dry_run}");
    }
}
