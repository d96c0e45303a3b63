//! Makes, changes and deletes webhooks. Each of these is a change in the feed.

use std::fmt;

use uuid::Uuid;

use super::signature::WebhookSecret;

use crate::clock;
use crate::limits::{CHANGE_RETRIES, MAX_WEBHOOKS};
use crate::outbound::target::{NOT_PUBLIC, TargetRule, TargetUrl};
use crate::store::call::Table;
use crate::store::error::{Refusal, StoreError};
use crate::store::event::{self, Event, Subject, SubjectId};
use crate::store::feed::consumer::ConsumerState;
use crate::store::feed::reader::FeedReader;
use crate::store::keys::{self, TenantId};
use crate::store::retry::Attempts;
use crate::store::transaction::Action;
use crate::store::webhook::Webhook;
use crate::store::webhook_test::WebhookTest;

/// Why a webhook was not made or changed.
#[derive(Debug)]
pub enum RegistryError {
    /// Something given cannot be used: a sentence that says why.
    Input(String),
    /// There is no webhook of this id.
    Unknown(String),
    /// Someone else changed it at the same time.
    Changed,
    /// The table.
    Store(StoreError),
}

impl From<StoreError> for RegistryError {
    fn from(failed: StoreError) -> Self {
        match failed {
            StoreError::Refused(why) if why.contains(&Refusal::Changed) || why.contains(&Refusal::Gone) => {
                Self::Changed
            }
            failed => Self::Store(failed),
        }
    }
}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(problem) => f.write_str(problem),
            Self::Unknown(id) => write!(f, "there is no webhook {id}: see `rollcall webhook list`"),
            Self::Changed => f.write_str("the webhook was changed at the same time: try again"),
            Self::Store(failed) => failed.fmt(f),
        }
    }
}

impl std::error::Error for RegistryError {}

/// What is to be changed of a webhook. `None` leaves it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebhookUpdate {
    /// Where its messages go.
    pub url: Option<String>,
    /// Whether changes carry the state of their resource.
    pub include_resource: Option<bool>,
    /// Whether messages are sent.
    pub enabled: Option<bool>,
}

/// A webhook with its position.
#[derive(Clone, Debug)]
pub struct ListedWebhook {
    /// The webhook.
    pub webhook: Webhook,
    /// Its position, and its last error.
    pub consumer: Option<ConsumerState>,
}

/// The webhooks of a deployment, as one caller changes them.
#[derive(Clone, Debug)]
pub struct Registry<'t> {
    /// The table.
    pub table: &'t Table,
    /// Who changes them, for the events.
    pub actor: &'t str,
    /// The id of the request, for the events.
    pub request_id: &'t str,
    /// Which URLs are allowed.
    pub rule: TargetRule,
}

impl Registry<'_> {
    /// Makes a webhook. Its first message has the changes after this moment. The secret is shown once.
    ///
    /// # Errors
    /// [`RegistryError::Input`] for a URL that is not allowed, or too many webhooks; [`RegistryError::Store`].
    pub async fn create(
        &self,
        url: &str,
        include_resource: bool,
    ) -> Result<(Webhook, WebhookSecret), RegistryError> {
        self.check_url(url)?;
        let mut attempts = Attempts::new(CHANGE_RETRIES);
        while attempts.start_next().await {
            if let Some(made) = self.try_to_create(url, include_resource).await? {
                return Ok(made);
            }
        }
        Err(StoreError::Conflict.into())
    }

    /// Makes a webhook. `None` if another one was made meanwhile.
    async fn try_to_create(
        &self,
        url: &str,
        include_resource: bool,
    ) -> Result<Option<(Webhook, WebhookSecret)>, RegistryError> {
        // Before the list: a webhook that the list lacks is a later one.
        let last = Webhook::last_made(self.table).await?;
        if Webhook::list(self.table).await?.len() >= MAX_WEBHOOKS {
            let problem = format!("a deployment has at most {MAX_WEBHOOKS} webhooks: delete one");
            return Err(RegistryError::Input(problem));
        }
        let reader = FeedReader::open(self.table).await?;
        let end = reader.end().await?.next - 1;
        let webhook = Webhook {
            id: format!("wh_{}", Uuid::now_v7().simple()),
            version: 1,
            url: url.to_owned(),
            include_resource,
            disabled: None,
            secret: 1,
            old_secret_until: 0,
            created: clock::timestamp(),
        };
        let secret = new_secret()?;
        let actions = [
            webhook.write_secret(1, &secret.reveal()),
            ConsumerState::new(&webhook.id, reader.at(end)).create(),
            webhook.note_made(last),
        ];
        match self.write(&webhook, "webhook.created", &["url", "includeResource"], &actions).await {
            Ok(()) => Ok(Some((webhook, secret))),
            Err(RegistryError::Store(StoreError::Refused(why)))
                if why.contains(&Refusal::Taken("webhooks")) =>
            {
                Ok(None)
            }
            Err(failed) => Err(failed),
        }
    }

    /// Reads all webhooks with their positions.
    ///
    /// # Errors
    /// [`RegistryError::Store`] if a call fails.
    pub async fn list(&self) -> Result<Vec<ListedWebhook>, RegistryError> {
        let consumers = ConsumerState::list(self.table).await?;
        let with_consumer = |webhook: Webhook| {
            let consumer = consumers.iter().find(|consumer| consumer.name == webhook.id).cloned();
            ListedWebhook { webhook, consumer }
        };
        Ok(Webhook::list(self.table).await?.into_iter().map(with_consumer).collect())
    }

    /// Reads a webhook.
    ///
    /// # Errors
    /// [`RegistryError::Unknown`]; [`RegistryError::Store`].
    pub async fn fetch(&self, id: &str) -> Result<Webhook, RegistryError> {
        let unknown = || RegistryError::Unknown(id.to_owned());
        if !Webhook::is_id(id) {
            return Err(unknown());
        }
        Webhook::fetch(self.table, id).await?.ok_or_else(unknown)
    }

    /// Changes a webhook. A webhook that is enabled again goes on where it stopped, at once.
    ///
    /// # Errors
    /// [`RegistryError::Input`] for a URL that is not allowed; [`RegistryError::Unknown`];
    /// [`RegistryError::Changed`]; [`RegistryError::Store`].
    pub async fn update(&self, id: &str, update: WebhookUpdate) -> Result<Webhook, RegistryError> {
        let mut webhook = self.fetch(id).await?;
        let mut changed = Vec::new();
        if let Some(url) = update.url.filter(|url| *url != webhook.url) {
            self.check_url(&url)?;
            webhook.url = url;
            changed.push("url");
        }
        if let Some(include) = update.include_resource.filter(|include| *include != webhook.include_resource)
        {
            webhook.include_resource = include;
            changed.push("includeResource");
        }
        if let Some(enabled) = update.enabled.filter(|enabled| *enabled == webhook.disabled.is_some()) {
            webhook.disabled =
                (!enabled).then(|| format!("disabled by {} ({})", self.actor, clock::timestamp()));
            changed.push("enabled");
        }
        // The receiver may have been repaired: the next run makes the next attempt.
        let actions = [ConsumerState::begin_anew(id)];
        if changed.is_empty() {
            self.table.transact(|| actions.to_vec()).await?;
            return Ok(webhook);
        }
        webhook.version += 1;
        self.write(&webhook, "webhook.updated", &changed, &actions).await?;
        Ok(webhook)
    }

    /// Disables a webhook that no message reaches, unless somebody has changed it, or its position, since it was in
    /// this state.
    ///
    /// # Errors
    /// [`RegistryError::Changed`]; [`RegistryError::Store`].
    pub async fn disable(
        &self,
        webhook: &Webhook,
        state: &ConsumerState,
        why: &str,
    ) -> Result<(), RegistryError> {
        let disabled = Some(format!("{why} ({})", clock::timestamp()));
        let webhook = Webhook { version: webhook.version + 1, disabled, ..webhook.clone() };
        self.write(&webhook, "webhook.updated", &["enabled"], &[state.end_lease()]).await
    }

    /// Gives a webhook a new secret. For `overlap` seconds its messages have the signatures of both. The new
    /// secret is shown once.
    ///
    /// # Errors
    /// [`RegistryError::Unknown`]; [`RegistryError::Changed`]; [`RegistryError::Store`].
    pub async fn rotate(&self, id: &str, overlap: u64) -> Result<(Webhook, WebhookSecret), RegistryError> {
        let mut webhook = self.fetch(id).await?;
        let secret = new_secret()?;
        let mut actions = vec![
            webhook.write_secret(webhook.secret + 1, &secret.reveal()),
            // A process that delivers would go on with the old secret.
            ConsumerState::begin_anew(id),
        ];
        if webhook.secret > 1 {
            actions.push(webhook.delete_secret(webhook.secret - 1));
        }
        webhook.secret += 1;
        webhook.version += 1;
        webhook.old_secret_until = clock::epoch_seconds() + overlap;
        self.write(&webhook, "webhook.updated", &["secret"], &actions).await?;
        Ok((webhook, secret))
    }

    /// Deletes a webhook with its position and its secrets.
    ///
    /// # Errors
    /// [`RegistryError::Unknown`]; [`RegistryError::Changed`]; [`RegistryError::Store`].
    pub async fn delete(&self, id: &str) -> Result<(), RegistryError> {
        let webhook = self.fetch(id).await?;
        let mut actions = vec![webhook.delete(), Action::delete(keys::consumer(id)), WebhookTest::delete(id)];
        actions.push(webhook.delete_secret(webhook.secret));
        if webhook.secret > 1 {
            actions.push(webhook.delete_secret(webhook.secret - 1));
        }
        let gone = Webhook { version: webhook.version + 1, ..webhook };
        actions.push(self.event(&gone, "webhook.deleted", &[]));
        Ok(self.table.transact(|| actions.clone()).await?)
    }

    /// Asks the worker to send a message without changes. Replaces an earlier request.
    ///
    /// # Errors
    /// [`RegistryError::Unknown`]; [`RegistryError::Changed`]; [`RegistryError::Store`].
    pub async fn request_test(&self, id: &str) -> Result<WebhookTest, RegistryError> {
        let webhook = self.fetch(id).await?.id;
        let (id, requested) = (Uuid::now_v7().simple().to_string(), clock::timestamp());
        let test = WebhookTest { webhook, id, requested, result: None };
        self.table.transact(|| test.write().to_vec()).await?;
        Ok(test)
    }

    fn check_url(&self, url: &str) -> Result<(), RegistryError> {
        match TargetUrl::parse(url, self.rule) {
            Ok(_) => Ok(()),
            Err(NOT_PUBLIC) => Err(RegistryError::Input(format!(
                "{NOT_PUBLIC}. To receive on your own machine, run rollcall webhook listen --forward-to URL"
            ))),
            Err(problem) => Err(RegistryError::Input(problem.to_owned())),
        }
    }

    async fn write(
        &self,
        webhook: &Webhook,
        what: &'static str,
        attributes: &[&str],
        further: &[Action],
    ) -> Result<(), RegistryError> {
        let mut actions = vec![webhook.write(), self.event(webhook, what, attributes)];
        actions.extend_from_slice(further);
        Ok(self.table.transact(|| actions.clone()).await?)
    }

    fn event(&self, webhook: &Webhook, what: &'static str, attributes: &[&str]) -> Action {
        let subject = Subject { id: SubjectId::Webhook(webhook.id.clone()), version: webhook.version };
        let now = clock::now();
        let event = Event::new(what, subject, self.actor, self.request_id, now);
        let tenant = TenantId::deployment();
        let event = Event { incarnation: tenant.to_string(), ..event.attributes(attributes.iter().copied()) };
        event::action(&tenant, &event)
    }
}

fn new_secret() -> Result<WebhookSecret, RegistryError> {
    WebhookSecret::generate()
        .map_err(|failed| RegistryError::Input(format!("the operating system gives no randomness: {failed}")))
}
