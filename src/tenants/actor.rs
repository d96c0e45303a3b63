//! Who changes tenants and keys.

use time::OffsetDateTime;
use uuid::Uuid;

use crate::store::event::{Event, Subject};

/// Who makes a change, as its event names it.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The id of an application key, or `operator`.
    pub id: String,
    /// The request that the change is part of.
    pub request_id: String,
}

impl Actor {
    /// The operator, in a request of its own.
    pub fn operator() -> Self {
        Self { id: "operator".to_owned(), request_id: Uuid::now_v7().to_string() }
    }

    /// An event of a change that this actor makes.
    pub fn event(&self, event_type: &'static str, subject: Subject, now: OffsetDateTime) -> Event {
        Event::new(event_type, subject, &self.id, &self.request_id, now)
    }
}
