//! The Lambda authorizer of the application's side: may this application key pass, and with which scope.

use std::time::Instant;

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::application::ApplicationRecord;
use super::authorizer::{Reason, bearer_text, deny, policy_document, read_event};
use super::key::ApplicationKey;
use super::record::Status;
use crate::clock;
use crate::store::call::Table;
use crate::store::error::StoreError;
use crate::store::keys;

/// The authorizer of application keys over a table.
#[derive(Clone, Debug)]
pub struct AppAuthorizer {
    table: Table,
    /// The value by which the usage plan counts: one for all applications.
    usage_key: String,
}

/// Decides on an `Authorization` header. What has not the form of a key costs no call. A refusal has the id
/// of the key, if there is one.
///
/// # Errors
/// [`StoreError::Unavailable`], [`StoreError::Broken`].
pub async fn authorize_application(
    table: &Table,
    header: &str,
    now: OffsetDateTime,
) -> Result<Result<ApplicationRecord, (Reason, Option<String>)>, StoreError> {
    let Some(key) = bearer_text(header).and_then(|text| ApplicationKey::parse(text).ok()) else {
        return Ok(Err((Reason::Malformed, None)));
    };
    let item = table.get(&keys::application(key.sha256().as_str())).await?;
    let record = item.as_ref().map(ApplicationRecord::from_item).transpose()?;
    let Some(record) = record.filter(|record| record.hash == key.sha256()) else {
        return Ok(Err((Reason::Unknown, None)));
    };
    Ok(if record.status == Status::Revoked {
        Err((Reason::Revoked, Some(record.id)))
    } else if record.is_expired(now) {
        Err((Reason::Expired, Some(record.id)))
    } else {
        Ok(record)
    })
}

impl AppAuthorizer {
    /// An authorizer over a table.
    pub fn new(table: Table, usage_key: String) -> Self {
        Self { table, usage_key }
    }

    /// Answers one `TOKEN` authorizer event, and logs one line.
    ///
    /// # Errors
    /// When the table does not answer, or the event is none of API Gateway's: API Gateway then answers 500
    /// and caches nothing.
    pub async fn invoke(&self, event: Value) -> Result<Value, lambda_runtime::Error> {
        let started = Instant::now();
        let (resource, header) = read_event(&event)?;
        let decision = authorize_application(&self.table.fresh(), header, clock::now()).await;
        let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        match decision {
            Ok(Ok(record)) => {
                let (key_id, scope) = (record.id.as_str(), record.scope.name());
                tracing::info!(decision = "allow", key_id, scope, duration_ms, "authorization");
                let mut context = json!({ "keyId": key_id, "scope": scope });
                // API Gateway may cache the answer for longer. So the function looks at the end, too.
                if let Some(expires) = record.expires {
                    context["expires"] = clock::text(expires).into();
                }
                Ok(json!({
                    "principalId": key_id,
                    "policyDocument": policy_document("Allow", &resource),
                    "context": context,
                    "usageIdentifierKey": self.usage_key,
                }))
            }
            Ok(Err((reason, key_id))) => {
                tracing::info!(
                    decision = "deny",
                    reason = reason.name(),
                    key_id,
                    duration_ms,
                    "authorization"
                );
                Ok(deny(&resource))
            }
            Err(error) => {
                tracing::error!(decision = "error", reason = %error, duration_ms, "authorization");
                Err(error.into())
            }
        }
    }
}
