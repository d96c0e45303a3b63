//! Webhooks, as items. The secrets stand in items of their own, so that a role can read a webhook without them.

use std::iter;

use aws_sdk_dynamodb::types::AttributeValue;

use super::call::{Range, Table};
use super::error::{Refusal, StoreError};
use super::expression::Expression;
use super::item::{Item, get_number, get_text, must_text, number, text};
use super::keys;
use super::transaction::Action;

/// How the id of a webhook begins.
const PREFIX: &str = "wh_";

/// A webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Its id: `wh_…`.
    pub id: String,
    /// Its version, from 1.
    pub version: u64,
    /// Where its messages go.
    pub url: String,
    /// Whether changes carry the state of their resource.
    pub include_resource: bool,
    /// Why it is disabled, and since when. `None` if it is enabled.
    pub disabled: Option<String>,
    /// The number of its secret.
    pub secret: u64,
    /// Until when the secret before it signs too, in seconds since 1970. 0 if it does not.
    pub old_secret_until: u64,
    /// When it was made, in RFC 3339.
    pub created: String,
}

impl Webhook {
    fn from_item(item: &Item) -> Result<Self, StoreError> {
        Ok(Self {
            id: must_text(item, "sk")?.to_owned(),
            version: get_number(item, "ver").unwrap_or(1),
            url: must_text(item, "url")?.to_owned(),
            include_resource: item.get("includeResource").is_some_and(|value| value.as_bool() == Ok(&true)),
            disabled: get_text(item, "disabled").map(str::to_owned),
            secret: get_number(item, "secretNumber").unwrap_or(1),
            old_secret_until: get_number(item, "oldSecretUntil").unwrap_or(0),
            created: get_text(item, "created").unwrap_or_default().to_owned(),
        })
    }

    fn attributes(&self) -> Item {
        let mut item = Item::from([
            number("ver", self.version),
            text("url", &self.url),
            ("includeResource".to_owned(), AttributeValue::Bool(self.include_resource)),
            number("secretNumber", self.secret),
            number("oldSecretUntil", self.old_secret_until),
            text("created", &self.created),
        ]);
        item.extend(self.disabled.as_deref().map(|why| text("disabled", why)));
        item
    }

    /// Reads a webhook.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn fetch(table: &Table, id: &str) -> Result<Option<Self>, StoreError> {
        table.get(&keys::webhook(id)).await?.as_ref().map(Self::from_item).transpose()
    }

    /// Reads a webhook at a moment when no transaction on it is under way. So it is at least as new as anything that an
    /// earlier read saw of that transaction.
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::Throttled`], [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn fetch_at_rest(table: &Table, id: &str) -> Result<Option<Self>, StoreError> {
        let item = table.get_together(&[keys::webhook(id)]).await?.pop().flatten();
        item.as_ref().map(Self::from_item).transpose()
    }

    /// Reads all webhooks.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn list(table: &Table) -> Result<Vec<Self>, StoreError> {
        Self::list_items(table).await?.iter().map(Self::from_item).collect()
    }

    /// Reads the items of all webhooks.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn list_items(table: &Table) -> Result<Vec<Item>, StoreError> {
        table.query_all(keys::WEBHOOKS, Some(PREFIX)).await
    }

    /// Reads some webhooks in the order of their ids, after this one. The second result is the id to go on after.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn page(
        table: &Table,
        after: Option<String>,
        limit: i32,
    ) -> Result<(Vec<Self>, Option<String>), StoreError> {
        // One more, which tells whether there are more: DynamoDB does not.
        let (prefix, one_more) = (Some(PREFIX.to_owned()), limit.saturating_add(1));
        let range = Range { prefix, after, limit: Some(one_more), ..Range::default() };
        let items = table.query(keys::WEBHOOKS, &range).await?.items;
        let mut page = items.iter().map(Self::from_item).collect::<Result<Vec<_>, _>>()?;
        let limit = usize::try_from(limit).unwrap_or(0);
        let next = page.get(limit).and(page.get(limit.wrapping_sub(1))).map(|last| last.id.clone());
        page.truncate(limit);
        Ok((page, next))
    }

    /// The id of the webhook that was made last, whether it is still there or not. `None` before the first one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Broken`].
    pub async fn last_made(table: &Table) -> Result<Option<String>, StoreError> {
        let item = table.get(&keys::last_webhook()).await?;
        item.map(|item| must_text(&item, "id").map(str::to_owned)).transpose()
    }

    /// The action that notes that this webhook was made after the one of the id `last`. It is refused as
    /// [`Refusal::Taken`] if another one was made meanwhile. So two of them cannot both be the last one that a limit allows.
    pub fn note_made(&self, last: Option<String>) -> Action {
        let unchanged = match last {
            Some(last) => Expression::equals("id", AttributeValue::S(last)),
            None => Expression::absent(),
        };
        Action::put(keys::last_webhook(), Item::from([text("id", &self.id)]))
            .only_if(unchanged, Refusal::Taken("webhooks"))
    }

    /// Whether a text has the form of a webhook's id.
    pub fn is_id(text: &str) -> bool {
        let digits = text.strip_prefix(PREFIX).unwrap_or_default();
        digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    }

    /// The action that writes the webhook in place of the version before it. It is refused as
    /// [`Refusal::Changed`] if the version before it is not the current one.
    pub fn write(&self) -> Action {
        Action::put(keys::webhook(&self.id), self.attributes())
            .only_if(Expression::version_is_or_absent(self.version - 1), Refusal::Changed)
    }

    /// The action that deletes the webhook, if it is in this version.
    pub fn delete(&self) -> Action {
        Action::delete(keys::webhook(&self.id))
            .only_if(Expression::version_is(self.version), Refusal::Changed)
    }

    /// The action that writes a secret of the webhook.
    pub fn write_secret(&self, number: u64, secret: &str) -> Action {
        Action::put(keys::webhook_secret(&self.id, number), Item::from([text("secret", secret)]))
    }

    /// The action that deletes a secret of the webhook.
    pub fn delete_secret(&self, number: u64) -> Action {
        Action::delete(keys::webhook_secret(&self.id, number))
    }

    /// Reads the secrets that sign at this time, in seconds since 1970: the newest first. It waits for a rotation that is
    /// under way.
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::Throttled`], [`StoreError::Unavailable`], [`StoreError::Broken`].
    /// [`StoreError::Broken`] also if the newest one is missing.
    pub async fn read_secrets(&self, table: &Table, now: u64) -> Result<Vec<String>, StoreError> {
        let missing = || StoreError::Broken(format!("the secret of the webhook {} is missing", self.id));
        let mut wanted = vec![keys::webhook_secret(&self.id, self.secret)];
        if self.secret > 1 && self.old_secret_until > now {
            wanted.push(keys::webhook_secret(&self.id, self.secret - 1));
        }
        let mut found = table.get_together(&wanted).await?.into_iter();
        let newest = found.next().flatten().ok_or_else(missing)?;
        let old = found.flatten().filter_map(|old| get_text(&old, "secret").map(str::to_owned));
        Ok(iter::once(must_text(&newest, "secret")?.to_owned()).chain(old).collect())
    }
}
