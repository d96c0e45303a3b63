//! Queries: `GET /Users`, `POST /Users/.search`, `POST /.search` (RFC 7644 §3.4.2, §3.4.3) with
//! both kinds of paging (RFC 7644 §3.4.2.4, RFC 9865).

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::answer::Provider;
use super::cursor::Cursor;
use super::failure::Failure;
use super::walk::{Found, Search};
use crate::scim::discovery::MAX_RESULTS;
use crate::scim::error::{ErrorKind, ScimError};
use crate::scim::filter::bind::{Bound, bind};
use crate::scim::filter::parse::parse;
use crate::scim::projection::Projection;
use crate::scim::resource_type::{Kind, ResourceType};
use crate::scim::sort::{SortBy, resolve};
use crate::scim::urn;
use crate::store::keys::hash;
use crate::store::list::{Mark, Position};

/// A query as the client sent it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// RFC 7644 §3.4.2.2.
    pub filter: Option<String>,
    /// RFC 7644 §3.4.2.3.
    pub sort_by: Option<String>,
    /// `sortOrder` is `descending`.
    pub descending: bool,
    /// 1-based; smaller is 1 (RFC 7644 §3.4.2.4).
    pub start_index: Option<i64>,
    /// Negative is 0 (RFC 7644 §3.4.2.4).
    pub count: Option<i64>,
    /// Pages by cursor; empty on the first page (RFC 9865 §2).
    pub cursor: Option<String>,
}

/// A query that was understood.
pub(super) struct Understood<'a> {
    pub kinds: &'a [Kind],
    /// Beside each kind, if there is a filter.
    pub filters: Vec<Option<Bound>>,
    /// The filter's tree.
    pub filter: Option<crate::scim::filter::ast::Filter>,
    pub sort: Option<SortBy>,
    pub descending: bool,
    /// A hash of all that decides what is found and in which order.
    pub hash: String,
}

impl Provider<'_> {
    /// Answers a query over one kind or, at the root, over all.
    ///
    /// # Errors
    /// 400 `invalidFilter`, `invalidValue`, `tooMany`, `invalidCursor`, `expiredCursor`,
    /// `invalidCount`.
    pub async fn query(
        &self,
        kinds: &[Kind],
        query: &Query,
        projection: &Projection,
    ) -> Result<Map<String, Value>, Failure> {
        let understood = self.understand(kinds, query)?;
        let count = page_size(query)?;
        if query.cursor.is_some() && query.start_index.is_some() {
            return Err(ScimError::invalid_value(
                "startIndex and cursor exclude one another: send one of them.",
            )
            .into());
        }
        match &query.cursor {
            Some(text) => self.by_cursor(&understood, text, count, projection).await,
            None => {
                let start = query.start_index.and_then(|i| u64::try_from(i).ok()).unwrap_or(1).max(1);
                self.by_index(&understood, start, count, projection).await
            }
        }
    }

    fn understand<'q>(&self, kinds: &'q [Kind], query: &Query) -> Result<Understood<'q>, ScimError> {
        let types: Vec<&ResourceType> = kinds.iter().map(|kind| self.ty(*kind)).collect();
        let mut filters: Vec<Option<Bound>> = kinds.iter().map(|_| None).collect();
        let mut filter = None;
        let mut identity: Vec<String> = kinds.iter().map(|kind| kind.name().to_owned()).collect();
        if let Some(text) = &query.filter {
            let tree = parse(text)
                .map_err(|e| ScimError::invalid_filter(format!("The filter cannot be read: {e}.")))?;
            for (ty, bound) in types.iter().zip(&mut filters) {
                let found = bind(&tree, ty, &types, false)?;
                identity.push(found.canonical());
                *bound = Some(found);
            }
            filter = Some(tree);
        }
        let sort = match &query.sort_by {
            Some(sort_by) => {
                identity.push(format!("{} {}", sort_by.to_lowercase(), query.descending));
                Some(resolve(sort_by, &types)?)
            }
            None => None,
        };
        let hash = hash(&identity.join("\n"))[..16].to_owned();
        Ok(Understood { kinds, filters, filter, sort, descending: query.descending, hash })
    }

    async fn by_index(
        &self,
        query: &Understood<'_>,
        start: u64,
        count: usize,
        projection: &Projection,
    ) -> Result<Map<String, Value>, Failure> {
        let mark = match start {
            1 => None,
            _ => self.store.mark(&query.hash, start).await?,
        };
        let search = match mark {
            Some(mark) => {
                Search { after: mark.after, sort_key: None, skip: 0, total: Some(mark.total), count }
            }
            None => Search { after: None, sort_key: None, skip: start - 1, total: None, count },
        };
        let found = self.search(query, search).await?;
        let resources = match found.last {
            // Where the next page of this walk begins; only a page that has a next leaves a mark.
            Some((after, _)) if found.more && query.sort.is_none() => {
                let next = start + found.len() as u64;
                let mark = Mark { after: Some(after), total: found.total };
                let (resources, marked) = futures_util::future::join(
                    self.present(&found, projection),
                    self.store.set_mark(&query.hash, next, mark),
                )
                .await;
                // Without its mark the next page costs more, no more than that.
                if let Err(failed) = marked {
                    tracing::warn!(error = %failed, "a page mark was not written");
                }
                resources?
            }
            _ => self.present(&found, projection).await?,
        };
        let mut list = list_response(found.total, resources);
        list.insert("startIndex".to_owned(), start.into());
        Ok(list)
    }

    async fn by_cursor(
        &self,
        query: &Understood<'_>,
        text: &str,
        count: usize,
        projection: &Projection,
    ) -> Result<Map<String, Value>, Failure> {
        let mut search = Search { after: None, sort_key: None, skip: 0, total: None, count };
        if !text.is_empty() {
            let cursor = Cursor::parse(text, &query.hash)?;
            search.after = Some(cursor.after);
            search.sort_key = cursor.sort_key;
            search.total = Some(cursor.total);
        }
        let found = self.search(query, search).await?;
        let resources = self.present(&found, projection).await?;
        let mut list = list_response(found.total, resources);
        if let (true, Some((after, sort_key))) = (found.more, found.last) {
            let next = Cursor { after, sort_key, total: found.total };
            list.insert("nextCursor".to_owned(), next.text(&query.hash).into());
        }
        Ok(list)
    }

    /// The resources of a page as they are answered.
    async fn present(&self, found: &Found, projection: &Projection) -> Result<Vec<Value>, Failure> {
        let loaded = self.load(found, projection).await?;
        Ok(loaded.into_iter().map(Value::Object).collect())
    }

    /// `GET /Me`: the id of the user that the key is bound to.
    ///
    /// # Errors
    /// 501 for a key that is bound to no user.
    pub fn me(&self) -> Result<Uuid, ScimError> {
        self.bound_user.ok_or_else(|| {
            ScimError::new(
                ErrorKind::NotImplemented,
                "/Me works with a key that is bound to a user; this one is not. Make one with rollcall key create --user.",
            )
        })
    }
}

/// The size of the page, at most [`MAX_RESULTS`].
fn page_size(query: &Query) -> Result<usize, ScimError> {
    let most = MAX_RESULTS;
    match query.count {
        None => Ok(most),
        Some(count) if count < 0 && query.cursor.is_some() => Err(ScimError::new(
            ErrorKind::InvalidCount,
            format!("count must be between 0 and {most} when paging by cursor."),
        )),
        Some(count) => Ok(usize::try_from(count.max(0)).unwrap_or(most).min(most)),
    }
}

fn list_response(total: u64, resources: Vec<Value>) -> Map<String, Value> {
    let mut list = Map::new();
    list.insert("schemas".to_owned(), json!([urn::LIST_RESPONSE]));
    list.insert("totalResults".to_owned(), total.into());
    list.insert("itemsPerPage".to_owned(), resources.len().into());
    list.insert("Resources".to_owned(), Value::Array(resources));
    list
}

/// The position of a record.
pub(super) fn position(record: &crate::store::record::Record) -> Position {
    Position { kind: record.kind, id: record.id }
}
