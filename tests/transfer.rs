//! Tenants written out and read in.
#![cfg(feature = "cli")]
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;

use rollcall::admin::group::{Assignment, assign};
use rollcall::admin::tenant::{self, NewTenant};
use rollcall::admin::transfer::export::export;
use rollcall::admin::transfer::import::{Fate, ImportedLine, import};
use rollcall::admin::transfer::rows::{csv, json_lines};
use rollcall::scim::policy::Policy;
use rollcall::store::keys::TenantId;
use serde_json::{Value, json};
use support::client::{self, Client};
use time::OffsetDateTime;

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
    export(&client.table, &id(&client.tenant), &mut out, &|_| ()).await.expect("an export");
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
    let outcomes = import(&acme.table, &id("acme"), &csv(text).unwrap(), false, &|_| ()).await.unwrap();
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
    support::assert_consistent(&acme).await;
}
