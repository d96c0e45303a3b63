//! A mirror of a tenant that an application keeps by the API alone: a snapshot beside work that goes on, and then
//! the feed. Transactions become visible one item at a time. At the end the mirror is what the API answers.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use crate::app_support::App;
use crate::support;
use crate::support::client::Client;
use crate::support::serve_torn;
use crate::support::torn::Tearing;

/// What the application's own tables hold.
#[derive(Clone, Debug, Default, PartialEq)]
struct Mirror {
    users: BTreeMap<String, Value>,
    groups: BTreeSet<String>,
    members: BTreeMap<String, BTreeSet<String>>,
}

/// Names and versions of users, and members of groups, by id.
type Shown<'m> = (BTreeMap<&'m str, (&'m str, &'m str)>, BTreeMap<&'m str, BTreeSet<&'m str>>);

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| unreachable!("{name} in {value}"))
}

impl Mirror {
    /// Reads all of a tenant, page by page.
    async fn snapshot(app: &App) -> Self {
        let mut mirror = Self::default();
        for user in all(app, "Users").await {
            mirror.users.insert(text(&user, "id").to_owned(), user);
        }
        for group in all(app, "Groups").await {
            let id = text(&group, "id").to_owned();
            let (mut members, mut cursor) = (BTreeSet::new(), String::new());
            loop {
                let path = format!("/tenants/acme/Groups/{id}/members?limit=20{cursor}");
                let page = app.get(&path).await;
                // The group is deleted meanwhile: the feed will tell.
                if page.status == 404 {
                    break;
                }
                let page = page.expect(200);
                let some = page["members"].as_array().unwrap();
                members.extend(some.iter().map(|member| text(member, "value").to_owned()));
                let Some(next) = page["next"].as_str() else { break };
                cursor = format!("&cursor={next}");
            }
            mirror.members.insert(id.clone(), members);
            mirror.groups.insert(id);
        }
        mirror
    }

    fn apply(&mut self, change: &Value) {
        let id = text(change, "resourceId").to_owned();
        let is_gone = change["resource"].is_null();
        match text(change, "resourceType") {
            "User" if is_gone => {
                self.users.remove(&id);
            }
            "User" => {
                self.users.insert(id, change["resource"].clone());
            }
            "Group" => {
                let members = self.members.entry(id.clone()).or_default();
                let named = |name: &str| change[name].as_array().cloned().unwrap_or_default();
                members.extend(named("added").iter().map(|id| id.as_str().unwrap().to_owned()));
                for id in named("removed") {
                    members.remove(id.as_str().unwrap());
                }
                if text(change, "type") == "group.deleted" {
                    self.members.remove(&id);
                }
                if is_gone {
                    self.groups.remove(&id);
                } else {
                    self.groups.insert(id);
                }
            }
            _ => {}
        }
    }

    /// What the application shows: memberships of users and groups that exist; of users the name and version.
    fn shown(&self) -> Shown<'_> {
        let users = self.users.iter();
        let users = users
            .map(|(id, user)| (id.as_str(), (text(user, "displayName"), text(&user["meta"], "version"))));
        let groups = self.groups.iter().map(|group| {
            let members = self.members.get(group).into_iter().flatten();
            let there = members.filter(|id| self.users.contains_key(*id));
            (group.as_str(), there.map(String::as_str).collect())
        });
        (users.collect(), groups.collect())
    }
}

/// All resources of a kind, by cursor.
async fn all(app: &App, kind: &str) -> Vec<Value> {
    let (mut found, mut cursor) = (Vec::new(), Some(String::new()));
    while let Some(at) = cursor {
        let path = format!("/tenants/acme/{kind}?count=15&excludedAttributes=members&cursor={at}");
        let page = app.get(&path).await.expect(200);
        found.extend(page["Resources"].as_array().unwrap().iter().cloned());
        cursor = page["nextCursor"].as_str().map(str::to_owned);
    }
    found
}

/// Work of an identity provider: people come, change and leave, groups change by few and by many.
async fn work(scim: &Client, ids: &[String], round: usize) {
    let rename = json!([{ "op": "replace", "path": "displayName", "value": format!("Name {round}") }]);
    let some = |from: usize, count: usize| {
        let from = (round * 7 + from) % ids.len();
        let members: Vec<Value> =
            ids.iter().cycle().skip(from).take(count).map(|id| json!({ "value": id })).collect();
        Value::from(members)
    };
    let leaver = scim.user(&format!("leaver{round}")).await;
    let team = scim.group(&format!("Team {round}"), &[leaver.clone(), ids[round % ids.len()].clone()]).await;
    scim.patch(&format!("/Users/{}", ids[round % ids.len()]), rename).await;
    let path = format!("/Groups/{team}");
    for (op, members) in [("add", some(0, 60)), ("remove", some(3, 20)), ("add", some(5, 3))] {
        scim.patch(&path, json!([{ "op": op, "path": "members", "value": members }])).await;
    }
    scim.delete(&format!("/Users/{leaver}")).await;
    if round % 3 == 2 {
        scim.delete(&path).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_and_the_feed_are_the_state_of_the_tenant() {
    let embedded = serve_torn(None).await;
    let app = App::over(&embedded.endpoint, embedded.table.fresh(), |_| {}).await;
    let scim = app.tenant("veza").await;
    let ids = scim.users(0..70).await;
    embedded.tear(Tearing::short(7)).await;
    let (writer, people) = (scim.clone(), ids.clone());
    let working = tokio::spawn(async move {
        for round in 0..8 {
            Box::pin(work(&writer, &people, round)).await;
        }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    app.sequence().await;
    let status = app.get("/status").await.expect(200);
    let mut position = text(&status, "snapshot").to_owned();
    let mut mirror = Mirror::snapshot(&app).await;
    let mut ended = false;
    loop {
        let path = format!("/changes?tenant=acme&include=resource&limit=50&after={position}");
        let page = app.get(&path).await.expect(200);
        for change in page["changes"].as_array().unwrap() {
            mirror.apply(change);
        }
        position = text(&page, "next").to_owned();
        if page["more"] == true {
            continue;
        }
        if ended {
            break;
        }
        if working.is_finished() {
            // What requests and sequencers have left over.
            support::work(&scim).await;
            ended = true;
        }
        app.sequence().await;
    }
    working.await.expect("the work");
    let truth = Mirror::snapshot(&app).await;
    assert_eq!(mirror.shown(), truth.shown());
    assert!(truth.groups.len() > 5 && truth.users.len() > 70, "the work was done");
}
