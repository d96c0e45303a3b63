//! `GET /changes`: the change feed from a position on.

use http::StatusCode;
use lambda_http::{Body, Response};
use serde_json::Value;

use super::problem::{ProblemDetails, lost_position};
use super::request::{AppRequest, json_text};
use crate::limits::{
    CHANGES_PER_LOOK, FEED_READS_PER_ANSWER, MAX_FEED_ANSWER_BYTES, MAX_FEED_ANSWER_CHANGES,
};
use crate::store::error::StoreError;
use crate::store::feed::reader::{ChangeList, ChangeQuery, FeedPosition, FeedReader};
use crate::store::keys::TenantId;
use crate::tenants::current_state::CurrentStates;

/// What the query asks for.
struct ChangesQuery {
    after: Option<FeedPosition>,
    limit: usize,
    tenant: Option<TenantId>,
    includes_resource: bool,
}

impl ChangesQuery {
    fn read(app: &AppRequest<'_>) -> Result<Self, ProblemDetails> {
        let position = |text: String| {
            let advice = "after must be a position: next of an earlier answer, or snapshot of GET /status.";
            FeedPosition::parse(&text).ok_or_else(|| ProblemDetails::invalid(advice))
        };
        let tenant = |name: String| {
            name.parse().map_err(|_| ProblemDetails::invalid("tenant must be the name of a tenant."))
        };
        Ok(Self {
            after: app.parameter("after").map(position).transpose()?,
            limit: app.limit(MAX_FEED_ANSWER_CHANGES)?,
            tenant: app.parameter("tenant").map(tenant).transpose()?,
            includes_resource: match app.parameter("include").as_deref() {
                None => false,
                Some("resource") => true,
                Some(_) => return Err(ProblemDetails::invalid("include can only be resource.")),
            },
        })
    }
}

/// Answers some changes after a position.
///
/// # Errors
/// 400 for a query that cannot be read; 410 for a position at which the feed cannot be read.
pub async fn list(app: &AppRequest<'_>) -> Result<Response<Body>, ProblemDetails> {
    let query = ChangesQuery::read(app)?;
    let reader = FeedReader::open(app.table).await?;
    let after = query.after.unwrap_or_else(|| reader.oldest());
    let list = match &query.tenant {
        None => read(&reader, &after, query.limit).await?,
        Some(tenant) => read_of_tenant(&reader, after, (tenant, query.limit)).await?,
    };
    let written = match query.includes_resource {
        true => write_with_resources(app, list).await?,
        false => write(list)?,
    };
    let next = Value::from(reader.at(written.seq).to_text());
    let body = format!("{{\"changes\":[{}],\"next\":{next},\"more\":{}}}", written.changes, written.more);
    Ok(json_text(StatusCode::OK, body))
}

async fn read(
    reader: &FeedReader<'_>,
    after: &FeedPosition,
    limit: usize,
) -> Result<ChangeList, ProblemDetails> {
    reader.read(after, ChangeQuery { limit, tenant: None }).await?.map_err(lost_position)
}

/// Reads the changes of one tenant. The changes of the others are read too, so the answer may end, with fewer
/// changes than `limit` or none, before the feed does.
async fn read_of_tenant(
    reader: &FeedReader<'_>,
    mut after: FeedPosition,
    (tenant, limit): (&TenantId, usize),
) -> Result<ChangeList, ProblemDetails> {
    let (mut list, mut bytes) = (ChangeList { seq: after.seq, ..ChangeList::default() }, 0);
    for _ in 0..FEED_READS_PER_ANSWER {
        let some = read(reader, &after, MAX_FEED_ANSWER_CHANGES).await?;
        for change in some.changes {
            if change.tenant == tenant.as_str() {
                if list.changes.len() == limit || bytes > MAX_FEED_ANSWER_BYTES {
                    list.more = true;
                    return Ok(list);
                }
                bytes += change.json(None)?.len();
                list.changes.push(change.clone());
            }
            list.seq = change.seq;
        }
        list.seq = some.seq;
        after = reader.at(some.seq);
        list.more = some.more;
        if !some.more {
            break;
        }
    }
    Ok(list)
}

/// Changes as JSON, a comma between two of them.
struct WrittenChanges {
    changes: String,
    /// The number after which to go on.
    seq: u64,
    more: bool,
}

fn write(list: ChangeList) -> Result<WrittenChanges, ProblemDetails> {
    let changes = list.changes.iter().map(|change| change.json(None));
    let changes: Vec<String> = changes.collect::<Result<_, _>>()?;
    Ok(WrittenChanges { changes: changes.join(","), seq: list.seq, more: list.more })
}

/// Writes changes with the state of their resources, until they are as large as an answer may be.
async fn write_with_resources(
    app: &AppRequest<'_>,
    list: ChangeList,
) -> Result<WrittenChanges, ProblemDetails> {
    let mut states = CurrentStates::new(app.providers());
    let mut written = WrittenChanges { changes: String::new(), seq: list.seq, more: list.more };
    let mut last = None;
    for some in list.changes.chunks(CHANGES_PER_LOOK) {
        let found = match (states.fetch(some).await, last) {
            // A resource is changed all the time. The changes before it can be told.
            (Err(StoreError::Conflict), Some(last)) => {
                return Ok(WrittenChanges { seq: last, more: true, ..written });
            }
            // Nothing is wrong with the request, so it is to be sent again.
            (Err(StoreError::Conflict), None) => return Err(StoreError::Throttled.into()),
            (found, _) => found?,
        };
        for change in some {
            let text = change.json(found.of(change))?;
            if let Some(last) = last
                && written.changes.len() + text.len() > MAX_FEED_ANSWER_BYTES
            {
                return Ok(WrittenChanges { seq: last, more: true, ..written });
            }
            if last.is_some() {
                written.changes.push(',');
            }
            written.changes.push_str(&text);
            last = Some(change.seq);
        }
    }
    Ok(written)
}
