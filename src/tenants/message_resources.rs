//! The resources in messages to webhooks: the same states as in `GET /changes?include=resource`.

use futures_util::future::BoxFuture;
use tokio::sync::Mutex;

use super::actor::Actor;
use super::current_state::CurrentStates;
use super::provider::TenantProviders;
use crate::deliver::message::{ChangedResource, ResourceReader};
use crate::limits::{CHANGES_PER_LOOK, MAX_WEBHOOK_BODY_BYTES};
use crate::scim::error::ScimError;
use crate::scim::resource_type::{Kind, Model};
use crate::scim::schema::Schema;
use crate::store::call::Table;
use crate::store::cursor::CursorKeys;
use crate::store::error::StoreError;
use crate::store::feed::change::FeedChange;

/// The name under which the worker reads.
const ACTOR: &str = "worker";

/// Reads the resources that messages carry.
#[derive(Debug)]
pub struct MessageResources {
    models: Vec<Model>,
    base_url: String,
    cursor_keys: CursorKeys,
    actor: Actor,
    /// One message at a time is read for, so that the memory does not grow with the number of webhooks.
    turn: Mutex<()>,
}

impl MessageResources {
    /// A reader with extension schemas of the operator's own. `base_url` is the URL of the application's side.
    ///
    /// # Errors
    /// As [`Model::new`].
    pub fn new(extensions: &[(Kind, Schema)], base_url: String) -> Result<Self, ScimError> {
        let actor = Actor { id: ACTOR.to_owned(), request_id: ACTOR.to_owned() };
        let models = Model::all(extensions)?;
        Ok(Self { models, base_url, cursor_keys: CursorKeys::default(), actor, turn: Mutex::default() })
    }

    /// Reads some changes at a time, and none after those that fill a message.
    async fn read_some(
        &self,
        table: &Table,
        changes: &[FeedChange],
    ) -> Result<Vec<ChangedResource>, StoreError> {
        let _turn = self.turn.lock().await;
        let Self { models, base_url, cursor_keys, actor, .. } = self;
        let mut states = CurrentStates::new(TenantProviders { table, models, cursor_keys, base_url, actor });
        let (mut resources, mut bytes) = (Vec::with_capacity(changes.len()), 0);
        for some in changes.chunks(CHANGES_PER_LOOK) {
            if bytes > MAX_WEBHOOK_BODY_BYTES {
                break;
            }
            let found = states.fetch(some).await?;
            for change in some {
                let state = found.of(change).filter(|state| state.len() <= MAX_WEBHOOK_BODY_BYTES);
                bytes += state.map_or(0, str::len);
                let state = state.map(str::to_owned);
                resources.push(state.map_or(ChangedResource::LeftOut, ChangedResource::State));
            }
        }
        resources.resize(changes.len(), ChangedResource::LeftOut);
        Ok(resources)
    }
}

impl ResourceReader for MessageResources {
    fn read<'r>(
        &'r self,
        table: &'r Table,
        changes: &'r [FeedChange],
    ) -> BoxFuture<'r, Result<Vec<ChangedResource>, StoreError>> {
        Box::pin(self.read_some(table, changes))
    }
}
