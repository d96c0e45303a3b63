//! `GET /Roles` and `/Entitlements`: the resources that a tenant defines. There are at most 1,000 of a kind, so a query
//! reads all of them, and filters, sorts and pages in memory.

use serde_json::{Map, Value, json};

use super::Reading;
use super::cursor::{Seal, definition_cursor, expired_cursor, parse_definition_cursor};
use super::list_response::{ListResponse, Resources};
use super::query::{ParsedTerms, Query, check_paging, page_size, parse_terms};
use crate::provider::answer::{Answer, not_found_of};
use crate::provider::failure::Failure;
use crate::provider::precondition::Preconditions;
use crate::scim::discovery::DefinedTypes;
use crate::scim::error::ScimError;
use crate::scim::projection::Projection;
use crate::scim::resource::{Meta, assemble, location_below};
use crate::scim::resource_type::DefinedKind;
use crate::scim::sort::SortKey;
use crate::scim::urn;
use crate::store::definition::Definition;

/// A match of a query, with its place in the order.
struct DefinitionMatch {
    key: Option<SortKey>,
    id: String,
    resource: Map<String, Value>,
}

impl Reading<'_> {
    /// Which kinds of resource the tenant defines.
    ///
    /// # Errors
    /// 503 if the table does not answer; 500 if an item cannot be read.
    pub async fn defined_types(&self) -> Result<DefinedTypes, Failure> {
        let index = self.provider.store.definitions().index().await?;
        Ok(DefinedTypes { roles: index.roles > 0, entitlements: index.entitlements > 0 })
    }

    /// Reads one role or entitlement. No body when the client has this version already (304).
    ///
    /// # Errors
    /// 404; 412 when `If-Match` names other versions.
    pub async fn retrieve_definition(
        &self,
        (kind, id): (DefinedKind, &str),
        projection: &Projection,
        preconditions: &Preconditions,
    ) -> Result<Answer, Failure> {
        let found = self.find_definition(kind, id).await?;
        let (ty, version) = (self.provider.model.defined(kind), found.version);
        let body = preconditions.wants(version)?.then(|| {
            let mut resource = self.represent_definition(&found);
            projection.apply(&mut resource, ty);
            Value::Object(resource).to_string()
        });
        Ok(Answer { location: location_below(&self.provider.base_url, ty.endpoint, id), version, body })
    }

    /// Reads a definition.
    ///
    /// # Errors
    /// 404.
    pub async fn find_definition(&self, kind: DefinedKind, id: &str) -> Result<Definition, Failure> {
        let found = self.provider.store.definitions().fetch(kind, id).await?;
        Ok(found.ok_or_else(|| not_found_of(kind.name()))?)
    }

    /// Answers a query over one kind.
    ///
    /// # Errors
    /// 400 `invalidFilter`, `invalidValue`, `tooMany`, `invalidCursor`, `expiredCursor`, `invalidCount`.
    pub async fn query_definitions(
        &self,
        kind: DefinedKind,
        query: &Query,
        projection: &Projection,
    ) -> Result<ListResponse, Failure> {
        let ty = self.provider.model.defined(kind);
        let terms = parse_terms(&[ty], query)?;
        let count = page_size(query)?;
        check_paging(query)?;
        let store = &self.provider.store;
        let key = match &query.cursor {
            Some(_) => Some(store.cursor_key(&self.provider.cursor_keys).await?),
            None => None,
        };
        let seal = key.as_ref().map(|key| Seal { key, tenant: &store.tenant, query: &terms.hash });
        let found = self.find_definitions(kind, &terms, query.descending).await?;
        let skip = match query.cursor.as_deref().zip(seal.as_ref()) {
            Some(("", _)) => 0,
            Some((cursor, seal)) => place_after(&parse_definition_cursor(cursor, seal)?, &terms, &found)?,
            None => query.start_index.and_then(|start| usize::try_from(start).ok()).unwrap_or(1).max(1) - 1,
        };
        let total = found.len();
        let mut resources = Resources::default();
        let mut last = None;
        for mut one in found.into_iter().skip(skip).take(count) {
            projection.apply(&mut one.resource, ty);
            resources.push(|out| out.push_str(&Value::Object(one.resource).to_string()))?;
            last = Some(one.id);
        }
        let has_more = skip.saturating_add(count) < total;
        let next_cursor = last.zip(seal).filter(|_| has_more).map(|(id, seal)| definition_cursor(&id, &seal));
        let start_index = query.cursor.is_none().then_some(skip as u64 + 1);
        Ok(ListResponse { total: total as u64, start_index, next_cursor, resources })
    }

    /// The definitions that the filter selects, in their order.
    async fn find_definitions(
        &self,
        kind: DefinedKind,
        terms: &ParsedTerms,
        descending: bool,
    ) -> Result<Vec<DefinitionMatch>, Failure> {
        let work = &self.provider.work;
        let mut found = Vec::new();
        for definition in self.provider.store.definitions().list(kind).await? {
            let resource = self.represent_definition(&definition);
            if let Some(filter) = terms.filters.first().and_then(Option::as_ref)
                && !filter.matches(&resource, work)?
            {
                continue;
            }
            let key = match &terms.sort {
                Some(sort) => Some(sort.key(kind.name(), &resource, work)?),
                None => None,
            };
            found.push(DefinitionMatch { key, id: definition.id, resource });
        }
        if terms.sort.is_some() {
            found.sort_by(|a, b| (&a.key, &a.id).cmp(&(&b.key, &b.id)));
            if descending {
                found.reverse();
            }
        }
        Ok(found)
    }

    /// A role or an entitlement as a resource: Okta's attributes, and those of the draft in its extension.
    fn represent_definition(&self, definition: &Definition) -> Map<String, Value> {
        let ty = self.provider.model.defined(definition.kind);
        let text = &definition.text;
        let mut document = Map::from_iter([("displayName".to_owned(), json!(text.name))]);
        document.extend(text.description.as_ref().map(|text| ("description".to_owned(), json!(text))));
        let mut draft = json!({ "value": definition.id, "display": text.name });
        if let Some(label) = &text.label {
            draft["type"] = json!(label);
        }
        draft["supported"] = true.into();
        let extension = match definition.kind {
            DefinedKind::Role => urn::IETF_ROLE,
            DefinedKind::Entitlement => {
                document.insert("type".to_owned(), json!(ty.name));
                urn::IETF_ENTITLEMENT
            }
        };
        let meta = Meta {
            resource_type: ty.name,
            created: &definition.created,
            last_modified: &definition.modified,
            location: location_below(&self.provider.base_url, ty.endpoint, &definition.id),
            version: definition.version,
        };
        assemble(document, ty, &definition.id, &meta, vec![(extension.to_owned(), draft)])
    }
}

/// How many matches stand up to the one that a cursor names.
///
/// # Errors
/// `expiredCursor` if it is gone, and the matches are sorted by an attribute.
fn place_after(id: &str, terms: &ParsedTerms, found: &[DefinitionMatch]) -> Result<usize, ScimError> {
    match (&terms.sort, found.iter().position(|one| one.id == id)) {
        (_, Some(place)) => Ok(place + 1),
        // Without a sort attribute the ids are the order.
        (None, None) => Ok(found.partition_point(|one| one.id.as_str() <= id)),
        (Some(_), None) => Err(expired_cursor()),
    }
}
