//! A resource as it is answered: the stored document and what the server knows besides.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::failure::Failure;
use crate::scim::error::ScimError;
use crate::scim::projection::Projection;
use crate::scim::resource::{Meta, assemble, etag, location};
use crate::scim::resource_type::{Kind, Model, ResourceType};
use crate::scim::urn;
use crate::store::membership::Membership;
use crate::store::record::Record;
use crate::store::resource::Store;

/// Everything that an operation works with: whose resources, under which rules, where they stand.
#[derive(Debug)]
pub struct Provider<'a> {
    /// The table as this request sees it.
    pub store: Store,
    /// The resource types under the tenant's policy.
    pub model: &'a Model,
    /// The SCIM base URL, without a slash at its end.
    pub base_url: String,
    /// The user that the key is bound to, for `/Me`.
    pub bound_user: Option<Uuid>,
    /// How many days a deactivated account is kept.
    pub retention_days: u32,
}

/// A resource on its way out.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Where it is.
    pub location: String,
    /// Its version.
    pub version: u64,
    /// The body; `None` where the operation answers none (204).
    pub body: Option<Map<String, Value>>,
}

impl Answer {
    /// The entity tag.
    pub fn etag(&self) -> String {
        etag(self.version)
    }
}

/// What a resource shows that is not in its own item.
#[derive(Debug, Default)]
pub struct Relations<'a> {
    /// The names of the groups that users are in, by id; `None` where they were not read.
    pub group_names: Option<&'a BTreeMap<String, Option<String>>>,
    /// A group's members; `None` where they were not read.
    pub members: Option<&'a [Membership]>,
}

impl Provider<'_> {
    /// The resource type of a kind.
    pub fn ty(&self, kind: Kind) -> &ResourceType {
        self.model.of(kind)
    }

    /// The whole resource, before projection.
    pub fn whole(&self, record: &Record, relations: &Relations<'_>) -> Map<String, Value> {
        let id = record.id.to_string();
        let meta = Meta {
            kind: record.kind,
            created: record.created.clone(),
            last_modified: record.modified.clone(),
            location: location(&self.base_url, record.kind, &id),
            version: record.version,
        };
        let extra = match record.kind {
            Kind::User => vec![
                ("groups".to_owned(), self.groups(record, relations.group_names)),
                (urn::ROLLCALL_USER.to_owned(), json!({ "account": record.account.as_str() })),
            ],
            Kind::Group => {
                vec![("members".to_owned(), self.members(relations.members.unwrap_or_default()))]
            }
        };
        assemble(&record.doc, self.ty(record.kind), &id, &meta, extra)
    }

    fn groups(&self, record: &Record, names: Option<&BTreeMap<String, Option<String>>>) -> Value {
        let Some(names) = names else { return Value::Null };
        // A group that is not among the names is gone: its deletion has not reached the user yet.
        let shown = record.groups.iter().filter_map(|id| {
            let mut group = json!({ "value": id, "$ref": location(&self.base_url, Kind::Group, id) });
            if let Some(name) = names.get(id)? {
                group["display"] = name.as_str().into();
            }
            group["type"] = "direct".into();
            Some(group)
        });
        shown.collect()
    }

    fn members(&self, members: &[Membership]) -> Value {
        let shown = members.iter().map(|membership| {
            let mut element = membership.member().element();
            let id = membership.id.to_string();
            element.insert("$ref".to_owned(), location(&self.base_url, membership.kind, &id).into());
            Value::Object(element)
        });
        shown.collect()
    }

    /// The body of an answer for one resource, projected.
    pub fn project(
        &self,
        record: &Record,
        relations: &Relations<'_>,
        projection: &Projection,
    ) -> Map<String, Value> {
        let mut body = self.whole(record, relations);
        projection.apply(&mut body, self.ty(record.kind));
        // Clients that check what they are sent know the extensions in /ResourceTypes alone; the
        // server's own comes only to those who ask for it.
        if !body.contains_key(urn::ROLLCALL_USER)
            && let Some(Value::Array(schemas)) = body.get_mut("schemas")
        {
            schemas.retain(|schema| schema != urn::ROLLCALL_USER);
        }
        body
    }

    /// The answer for a user: reads the names of its groups if they are shown.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn answer_user(&self, record: &Record, projection: &Projection) -> Result<Answer, Failure> {
        let mut names = BTreeMap::new();
        if projection.wants("groups") && !record.groups.is_empty() {
            names = self.store.group_names(&record.groups).await?;
        }
        let relations = Relations { group_names: Some(&names), ..Relations::default() };
        Ok(self.answer(record, Some(self.project(record, &relations, projection))))
    }

    /// The answer for a record with this body.
    pub fn answer(&self, record: &Record, body: Option<Map<String, Value>>) -> Answer {
        let location = location(&self.base_url, record.kind, &record.id.to_string());
        Answer { location, version: record.version, body }
    }

    /// The names of all groups that these users are in.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn names_for(&self, records: &[Record]) -> Result<BTreeMap<String, Option<String>>, Failure> {
        let ids: BTreeSet<String> =
            records.iter().filter(|r| r.kind == Kind::User).flat_map(|r| r.groups.iter().cloned()).collect();
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        Ok(self.store.group_names(&ids).await?)
    }
}

/// There is no such resource.
pub fn not_found(kind: Kind) -> ScimError {
    ScimError::not_found(format!("There is no {} with this id.", kind.name()))
}
