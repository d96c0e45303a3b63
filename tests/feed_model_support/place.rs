//! A tenant that several writers work on, and its end and new beginning.

use std::sync::Arc;
use std::time::Duration;

use rollcall::admin::error::AdminError;
use rollcall::admin::tenant::{self, NewTenant};
use rollcall::admin::wipe::wipe;
use rollcall::clock;
use rollcall::limits::TENANT_NAME_GRACE_SECONDS;
use rollcall::scim::policy::VEZA;
use rollcall::store::call::Table;
use serde_json::{Value, json};
use tokio::sync::RwLock;

use super::ending::Ending;
use super::{Dice, GROUPS, PEOPLE, TEAR};
use crate::support::client::Client;
use crate::support::feed::sequence;
use crate::support::torn::Torn;

/// A tenant.
#[derive(Clone)]
pub struct Place {
    pub name: &'static str,
    pub table: Table,
    /// Its groups. Whoever works on the tenant holds this for reading.
    pub groups: Arc<RwLock<Vec<String>>>,
}

impl Place {
    /// Makes the tenant with its people and groups.
    pub async fn make(table: &Table, name: &'static str) -> Self {
        let place = Self { name, table: table.clone(), groups: Arc::default() };
        place.fill(0).await;
        place
    }

    /// A client of the tenant, with a function of its own.
    pub async fn client(&self) -> Client {
        Client::new(self.table.fresh(), "veza").await.of(self.name)
    }

    /// Makes the tenant, `seconds` after now by the clock of the test.
    async fn fill(&self, seconds: u64) {
        let new = NewTenant::new(&self.name.parse().unwrap(), &VEZA, &"u".repeat(40));
        loop {
            let now = clock::now() + Duration::from_secs(seconds);
            match tenant::create(&self.table, &new, now).await {
                Ok(_) => break,
                // Changes of the tenant before are in the outbox, or its deletion is visible in part.
                Err(AdminError::NameRests(..) | AdminError::Exists(_)) => drop(sequence(&self.table).await),
                Err(error) => unreachable!("{error}"),
            }
        }
        let client = self.client().await;
        for some in (0..PEOPLE).collect::<Vec<_>>().chunks(20) {
            let make = |n: &usize| json!({ "method": "POST", "path": "/Users", "bulkId": format!("b{n}"), "data": person(*n) });
            let operations: Vec<Value> = some.iter().map(make).collect();
            client.post("/Bulk", bulk(&operations)).await.expect(200);
        }
        let mut groups = Vec::new();
        for n in 0..GROUPS {
            groups.push(client.group(&format!("Group {n}"), &[]).await);
        }
        *self.groups.write().await = groups;
    }

    /// Deletes the tenant. Requests that go on may stop a run, and then another one does the rest.
    async fn delete(&self, dice: &mut Dice) {
        let id = self.name.parse().unwrap();
        for attempt in 1.. {
            let run = clock::with_seconds_ahead(dice.seconds_ahead(), async {
                wipe(&self.table.fresh(), &id, &[], Duration::ZERO, clock::now()).await
            });
            match run.await {
                Ok(_) | Err(AdminError::NoTenant(_)) => return,
                Err(error) => assert!(attempt < 20, "the tenant is never deleted: {error}"),
            }
        }
    }

    /// Deletes the tenant and makes it again, several times, while writers work on it. Their requests go on for a
    /// moment after the deletion, as those of a key that API Gateway still knows. Before the name is given again, they
    /// end, and what they have written becomes visible. A deployment has an hour for that.
    pub async fn renew(self, torn: Torn, ending: Ending, mut dice: Dice) {
        loop {
            tokio::time::sleep(Duration::from_millis(2_000 + dice.roll(4_000) as u64)).await;
            if ending.is_over() {
                return;
            }
            self.delete(&mut dice).await;
            tokio::time::sleep(Duration::from_millis(dice.roll(500) as u64)).await;
            self.groups.write().await.clear();
            tokio::time::sleep(TEAR).await;
            torn.settled().await;
            self.fill(TENANT_NAME_GRACE_SECONDS + 10).await;
        }
    }
}

/// A person who is complete under every policy.
pub fn person(n: usize) -> Value {
    crate::support::client::user(&format!("p{n}"))
}

/// A Bulk request (RFC 7644 §3.7).
pub fn bulk(operations: &[Value]) -> Value {
    json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"], "Operations": operations })
}
