//! Queries: `GET /Users`, `POST /Users/.search`, `POST /.search` (RFC 7644 §3.4.2, §3.4.3) with
//! both kinds of paging (RFC 7644 §3.4.2.4, RFC 9865).

use futures_util::future::{join, try_join};
use uuid::Uuid;

use super::Reading;
use super::cursor::{Cursor, Seal, expired_cursor};
use super::list_response::ListResponse;
use super::page::{PageRequest, ResourcePage};
use super::parsed_query::ParsedQuery;
use crate::limits::{MAX_RESULTS, MAX_SORT_KEY_BYTES};
use crate::provider::failure::Failure;
use crate::scim::error::{ErrorKind, ScimError};
use crate::scim::filter::ast::Filter;
use crate::scim::filter::bind::{Bound, bind};
use crate::scim::filter::parse::parse;
use crate::scim::projection::Projection;
use crate::scim::resource_type::{Kind, ResourceType};
use crate::scim::sort::{SortBy, SortKey, resolve};
use crate::store::cursor::CursorKey;
use crate::store::keys::hash;
use crate::store::list::{PageCheckpoint, Position};

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

impl Reading<'_> {
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
    ) -> Result<ListResponse, Failure> {
        let types: Vec<&ResourceType> = kinds.iter().map(|kind| self.provider.ty(*kind)).collect();
        let parsed = parse_query(kinds, &types, query)?;
        let count = page_size(query)?;
        check_paging(query)?;
        match &query.cursor {
            Some(text) => self.by_cursor(&parsed, text, count, projection).await,
            None => {
                let start = query.start_index.and_then(|i| u64::try_from(i).ok()).unwrap_or(1).max(1);
                self.by_index(&parsed, start, count, projection).await
            }
        }
    }

    async fn by_index(
        &self,
        query: &ParsedQuery<'_>,
        start: u64,
        count: usize,
        projection: &Projection,
    ) -> Result<ListResponse, Failure> {
        let mut found = self.find_page_at(query, start, count).await?;
        let recent = &self.provider.recent_checkpoints;
        let (total, next) = (found.total, start + found.len() as u64);
        let resources = match found.last {
            // Where the next page of this walk begins; only a page that has a next leaves a mark.
            Some((after, _)) if found.more && query.sort.is_none() => {
                let mark = PageCheckpoint { after: Some(after), total };
                let (resources, marked) = join(
                    self.write_page(&mut found, projection),
                    self.provider.store.save_page_checkpoint(recent, &query.hash, next, mark),
                )
                .await;
                // Without its mark the next page costs more, no more than that.
                if let Err(failed) = marked {
                    tracing::warn!(error = %failed, "a page checkpoint was not written");
                }
                resources?
            }
            _ => self.write_page(&mut found, projection).await?,
        };
        Ok(ListResponse { total, start_index: Some(start), next_cursor: None, resources })
    }

    /// Finds the page that starts at an index. If this process wrote a checkpoint for it, a list is read from there while
    /// the checkpoint in the table is read. If the two differ, the list is read again.
    async fn find_page_at(
        &self,
        query: &ParsedQuery<'_>,
        start: u64,
        count: usize,
    ) -> Result<ResourcePage, Failure> {
        let store = &self.provider.store;
        let request = |mark: Option<PageCheckpoint>| match mark {
            Some(PageCheckpoint { after, total }) => {
                PageRequest { after, sort_key: None, skip: 0, total: Some(total), count }
            }
            None => PageRequest { after: None, sort_key: None, skip: start - 1, total: None, count },
        };
        if start == 1 {
            return self.find_page(query, request(None)).await;
        }
        let is_list = query.filter.is_none() && query.sort.is_none();
        let recent = &self.provider.recent_checkpoints;
        let recent = store.recent_page_checkpoint(recent, &query.hash, start).filter(|_| is_list);
        let mark = store.fetch_page_checkpoint(&query.hash, start);
        let Some(recent) = recent else {
            return self.find_page(query, request(mark.await?)).await;
        };
        let (mark, found) = join(mark, self.find_page(query, request(Some(recent)))).await;
        match mark? {
            Some(mark) if mark == recent => found,
            mark => self.find_page(query, request(mark)).await,
        }
    }

    async fn by_cursor(
        &self,
        query: &ParsedQuery<'_>,
        text: &str,
        count: usize,
        projection: &Projection,
    ) -> Result<ListResponse, Failure> {
        let key =
            async { Ok::<_, Failure>(self.provider.store.cursor_key(&self.provider.cursor_keys).await?) };
        let mut request = PageRequest { after: None, sort_key: None, skip: 0, total: None, count };
        let (key, mut found) = if text.is_empty() {
            // The cursor at the end of the first page needs the key.
            try_join(key, self.find_page(query, request)).await?
        } else {
            let key = key.await?;
            let cursor = Cursor::parse(text, &self.seal(&key, query))?;
            request.sort_key = match cursor.sort_mark {
                Some(id) => {
                    Some(self.provider.store.fetch_sort_checkpoint(id).await?.ok_or_else(expired_cursor)?)
                }
                None => None,
            };
            request.after = Some(cursor.after);
            request.total = Some(cursor.total);
            (key, self.find_page(query, request).await?)
        };
        let total = found.total;
        let (resources, next_cursor) = match found.last.take() {
            Some((after, sort_key)) if found.more => {
                let next = self.next_cursor(query, &key, (after, sort_key), total);
                try_join(self.write_page(&mut found, projection), next).await?
            }
            _ => (self.write_page(&mut found, projection).await?, None),
        };
        Ok(ListResponse { total, start_index: None, next_cursor, resources })
    }

    fn seal<'s>(&'s self, key: &'s CursorKey, query: &'s ParsedQuery<'_>) -> Seal<'s> {
        Seal { key, tenant: &self.provider.store.tenant, query: &query.hash }
    }

    /// The cursor of the page after this place. Where the walk is sorted, the table keeps the sort key:
    /// a cursor carries no value.
    async fn next_cursor(
        &self,
        query: &ParsedQuery<'_>,
        key: &CursorKey,
        (after, sort_key): (Position, Option<SortKey>),
        total: u64,
    ) -> Result<Option<String>, Failure> {
        let mut sort_mark = None;
        if let Some(sort_key) = sort_key {
            if sort_key.bytes() > MAX_SORT_KEY_BYTES {
                return Err(ScimError::too_many(
                    "The values to sort by are too large to go on from. Sort by an attribute with shorter values.",
                )
                .into());
            }
            let id = Uuid::now_v7();
            self.provider.store.save_sort_checkpoint(id, &sort_key).await?;
            sort_mark = Some(id);
        }
        let cursor = Cursor { after, sort_mark, total };
        Ok(Some(cursor.text(&self.seal(key, query))))
    }
}

/// The filter and the sort attribute of a query, read against the schemas of its types.
pub(super) struct ParsedTerms {
    /// Beside each type, if there is a filter.
    pub filters: Vec<Option<Bound>>,
    /// The filter's tree.
    pub filter: Option<Filter>,
    pub sort: Option<SortBy>,
    /// A hash of all that decides what is found and in which order.
    pub hash: String,
}

/// Reads the filter and the sort attribute.
///
/// # Errors
/// `invalidFilter`; `invalidValue` for a sort attribute that no type defines.
pub(super) fn parse_terms(types: &[&ResourceType], query: &Query) -> Result<ParsedTerms, ScimError> {
    let mut filters: Vec<Option<Bound>> = types.iter().map(|_| None).collect();
    let mut filter = None;
    let mut identity: Vec<String> = types.iter().map(|ty| ty.name.to_owned()).collect();
    if let Some(text) = &query.filter {
        let tree =
            parse(text).map_err(|e| ScimError::invalid_filter(format!("The filter cannot be read: {e}.")))?;
        for (ty, bound) in types.iter().zip(&mut filters) {
            let found = bind(&tree, ty, types, false)?;
            identity.push(found.canonical());
            *bound = Some(found);
        }
        filter = Some(tree);
    }
    let sort = match &query.sort_by {
        Some(sort_by) => {
            identity.push(format!("{} {}", sort_by.to_lowercase(), query.descending));
            Some(resolve(sort_by, types)?)
        }
        None => None,
    };
    let hash = hash(&identity.join("\n"))[..16].to_owned();
    Ok(ParsedTerms { filters, filter, sort, hash })
}

fn parse_query<'q>(
    kinds: &'q [Kind],
    types: &[&ResourceType],
    query: &Query,
) -> Result<ParsedQuery<'q>, ScimError> {
    let ParsedTerms { filters, filter, sort, hash } = parse_terms(types, query)?;
    Ok(ParsedQuery { kinds, filters, filter, sort, descending: query.descending, hash })
}

/// Refuses a query that asks for both kinds of paging.
///
/// # Errors
/// `invalidValue` if `cursor` and `startIndex` are both sent.
pub(super) fn check_paging(query: &Query) -> Result<(), ScimError> {
    match query.cursor.is_some() && query.start_index.is_some() {
        true => Err(ScimError::invalid_value("startIndex and cursor exclude one another: send one of them.")),
        false => Ok(()),
    }
}

/// The size of the page, at most [`MAX_RESULTS`].
pub(super) fn page_size(query: &Query) -> Result<usize, ScimError> {
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
