//! Random work on a tenant: what identity providers, operators and applications do.

use std::collections::BTreeSet;
use std::time::Duration;

use rollcall::admin::group::{self, Assignment};
use rollcall::admin::{definition, tenant, user};
use rollcall::clock;
use rollcall::provider::changing::definitions::NewDefinition;
use rollcall::scim::resource_type::DefinedKind;
use rollcall::store::record::Role;
use serde_json::{Value, json};

use super::ending::Ending;
use super::place::{Place, bulk, person};
use super::{Dice, PEOPLE};
use crate::support::client::{Client, Reply};

/// The work of one client on one tenant.
pub struct Writer {
    pub place: Place,
    pub dice: Dice,
    pub ending: Ending,
}

impl Writer {
    /// Works. Now and then a request dies at a random step, as a function does that is stopped.
    pub async fn work(mut self) {
        let seconds = self.dice.seconds_ahead();
        clock::with_seconds_ahead(seconds, async {
            let client = self.place.client().await;
            while !self.ending.is_over() {
                let groups = self.place.groups.clone();
                let groups = groups.read().await;
                if groups.is_empty() {
                    drop(groups);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
                let step = Step { client: &client, groups: &groups, dice: self.dice.split() };
                let step = Box::pin(step.play(&self.place));
                if self.dice.roll(20) == 0 {
                    let lifetime = Duration::from_millis(1 + self.dice.roll(150) as u64);
                    drop(tokio::time::timeout(lifetime, step).await);
                } else {
                    step.await;
                }
            }
        })
        .await;
    }
}

/// One step of a writer.
struct Step<'s> {
    client: &'s Client,
    groups: &'s [String],
    dice: Dice,
}

impl Step<'_> {
    async fn play(mut self, place: &Place) {
        // Half of the work is on a few, so that their changes follow one another closely.
        let is_hot = self.dice.roll(2) == 0;
        let n = if is_hot { self.dice.roll(2) } else { self.dice.roll(3 * PEOPLE) };
        let group = if is_hot { 0 } else { self.dice.roll(self.groups.len()) };
        let group = self.groups[group].clone();
        match self.dice.roll(24) {
            0..=2 => drop(self.client.post("/Users", person(n)).await),
            3 => drop(self.on_person(n, "DELETE", None).await),
            4 | 5 => self.change_title(n).await,
            6 | 7 => self.switch(n).await,
            8 => drop(self.on_person(n, "PUT", Some(person(n))).await),
            9..=12 => self.change_members(&group).await,
            13 => self.replace_members(&group).await,
            14 => self.pass_through_group().await,
            15 | 16 => self.change_in_bulk(n, &group).await,
            17 => self.assign(place, &group).await,
            18 => self.purge(place).await,
            19 | 20 => self.define(place, &group).await,
            21 | 22 => self.give_roles(n).await,
            _ => self.set_tenant(place).await,
        }
    }

    async fn id_of(&self, n: usize) -> Option<String> {
        let path = format!("/Users?filter=userName eq \"p{n}@example.com\"&attributes=id");
        let reply = self.client.get(&path).await;
        reply.body["Resources"][0]["id"].as_str().map(str::to_owned)
    }

    async fn on_person(&self, n: usize, method: &str, body: Option<Value>) -> Option<Reply> {
        let path = format!("/Users/{}", self.id_of(n).await?);
        Some(self.client.send(method, &path, body, &[]).await)
    }

    async fn patch_person(&self, n: usize, operations: Value) {
        if let Some(id) = self.id_of(n).await {
            self.client.patch(&format!("/Users/{id}"), operations).await;
        }
    }

    async fn change_title(&mut self, n: usize) {
        let title = self.dice.roll(99).to_string();
        self.patch_person(n, json!([{ "op": "add", "path": "title", "value": title }])).await;
    }

    /// Deactivates somebody, or lets somebody return.
    async fn switch(&mut self, n: usize) {
        let active = self.dice.roll(2) == 0;
        self.patch_person(n, json!([{ "op": "replace", "path": "active", "value": active }])).await;
    }

    async fn change_members(&mut self, group: &str) {
        let mut members = Vec::new();
        for _ in 0..3 {
            members.extend(self.id_of(self.dice.clone().roll(2 * PEOPLE)).await);
            self.dice.roll(2);
        }
        let members: Value = members.iter().map(|id| json!({ "value": id })).collect();
        let op = if self.dice.roll(3) == 0 { "remove" } else { "add" };
        let operations = json!([{ "op": op, "path": "members", "value": members }]);
        self.patch_group(group, operations).await;
    }

    /// A large change: everybody there is, or a few.
    async fn replace_members(&mut self, group: &str) {
        let list = self.client.get("/Users?count=200&attributes=id").await.body;
        let all = list["Resources"].as_array().cloned().unwrap_or_default();
        let most = if self.dice.roll(2) == 0 { all.len() } else { 3.min(all.len()) };
        let members: Value = all[..most].iter().map(|one| json!({ "value": one["id"] })).collect();
        self.patch_group(group, json!([{ "op": "replace", "path": "members", "value": members }])).await;
    }

    async fn patch_group(&self, group: &str, operations: Value) {
        let path = format!("/Groups/{group}?excludedAttributes=members");
        self.client.patch(&path, operations).await;
    }

    /// A group that is made, and deleted at once.
    async fn pass_through_group(&mut self) {
        let name = format!("extra {}", self.dice.roll(1_000_000));
        let made = self.client.post("/Groups", json!({ "displayName": name })).await;
        if let Some(id) = made.body["id"].as_str() {
            self.client.delete(&format!("/Groups/{id}")).await;
        }
    }

    /// Somebody who is made and put into a group by one request, and a group that leaves again.
    async fn change_in_bulk(&mut self, n: usize, group: &str) {
        let name = format!("bulk {}", self.dice.roll(1_000_000));
        let patch = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [{ "op": "add", "path": "members", "value": [{ "value": "bulkId:one" }] }]
        });
        let made = json!({ "displayName": name, "members": [{ "value": "bulkId:one" }] });
        let operations = [
            json!({ "method": "POST", "path": "/Users", "bulkId": "one", "data": person(n) }),
            json!({ "method": "POST", "path": "/Groups", "bulkId": "two", "data": made }),
            json!({ "method": "PATCH", "path": format!("/Groups/{group}"), "data": patch }),
        ];
        let answer = self.client.post("/Bulk", bulk(&operations)).await.body;
        let location = answer["Operations"][1]["location"].as_str().unwrap_or_default();
        // Few stay: every mirror that starts reads all groups.
        if let Some((_, id)) = location.rsplit_once('/').filter(|_| self.dice.roll(12) > 0) {
            self.client.delete(&format!("/Groups/{id}")).await;
        }
    }

    async fn assign(&mut self, place: &Place, group: &str) {
        let role = ["member", "reviewer", "owner"][self.dice.roll(3)].to_owned();
        let team = (self.dice.roll(2) == 0).then(|| self.groups[self.dice.roll(self.groups.len())].clone());
        let tenant = place.name.parse().unwrap();
        let wanted = Assignment { tenant, group: group.parse().unwrap(), team, role };
        drop(group::assign(&place.table.fresh(), &wanted, self.dice.roll(3) > 0).await);
    }

    /// Makes, changes or deletes a role or an entitlement.
    async fn define(&mut self, place: &Place, group: &str) {
        let (table, name) = (place.table.fresh(), place.name.parse().unwrap());
        let Ok(tenant) = tenant::get(&table, &name).await else { return };
        let kind = [DefinedKind::Role, DefinedKind::Role, DefinedKind::Entitlement][self.dice.roll(3)];
        let id = format!("r{}", self.dice.roll(4));
        let role = ["member", "reader", "owner"][self.dice.roll(3)].to_owned();
        let grants = BTreeSet::from([Role { team: group.parse().unwrap(), role }]);
        let new = NewDefinition {
            name: Some(format!("name {}", self.dice.roll(9))),
            grants: (kind == DefinedKind::Role).then_some(grants),
            ..NewDefinition::default()
        };
        match self.dice.roll(4) {
            0 | 1 => drop(definition::create(&table, &tenant, (kind, &id), &new).await),
            2 => drop(definition::update(&table, &tenant, (kind, &id), &new).await),
            _ => drop(definition::delete(&table, &tenant, (kind, &id)).await),
        }
    }

    /// Gives somebody some roles, also such that do not exist.
    async fn give_roles(&mut self, n: usize) {
        let roles: Vec<Value> = (0..5)
            .filter(|_| self.dice.roll(2) == 0)
            .map(|at| json!({ "value": format!("r{at}") }))
            .collect();
        self.patch_person(n, json!([{ "op": "replace", "path": "roles", "value": roles }])).await;
    }

    /// Erases a deactivated account.
    async fn purge(&mut self, place: &Place) {
        let (table, tenant) = (place.table.fresh(), place.name.parse().unwrap());
        let kept = user::list_deactivated(&table, &tenant).await.unwrap_or_default();
        if !kept.is_empty() {
            let (record, _) = &kept[self.dice.roll(kept.len())];
            drop(user::purge(&table, &tenant, record.id).await);
        }
    }

    async fn set_tenant(&mut self, place: &Place) {
        let days = 30 + u32::try_from(self.dice.roll(300)).unwrap();
        let tenant = place.name.parse().unwrap();
        let change = |settings: &mut rollcall::auth::tenant::Settings| settings.retention_days = days;
        drop(tenant::set(&place.table.fresh(), &tenant, clock::now(), change).await);
    }
}
