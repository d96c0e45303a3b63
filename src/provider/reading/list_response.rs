//! A ListResponse (RFC 7644 §3.4.2): the resources of a page, each written out before the next is made,
//! since a page can hold 200 resources of 400 KB.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use uuid::Uuid;

use super::Reading;
use super::evaluate::{read_records, teams_of};
use super::page::ResourcePage;
use crate::limits::{GROUPS_READ_AT_ONCE, MAX_DOCUMENT_BYTES, MAX_LIST_BYTES};
use crate::provider::answer::{Relations, check_answerable, has_roles, shows_groups, shows_roles};
use crate::provider::failure::Failure;
use crate::scim::error::ScimError;
use crate::scim::members::MEMBERS;
use crate::scim::projection::Projection;
use crate::scim::resource_type::Kind;
use crate::scim::urn;
use crate::store::digest::MembershipDigest;
use crate::store::item::{Item, get_text, key_of};
use crate::store::keys::{self, Key};
use crate::store::list::Position;
use crate::store::members::WholeGroup;
use crate::store::membership::Membership;
use crate::store::reader::{Pace, Reader};
use crate::store::record::Record;
use crate::store::role_grants::RoleGrants;

/// About how many bytes the server adds to a document in an answer: the id, `meta` and `schemas`.
const DERIVED_BYTES: usize = 500;

/// A list of resources, which are text already.
#[derive(Clone, Debug, Default)]
pub struct ListResponse {
    /// `totalResults`.
    pub total: u64,
    /// `startIndex`, where the page was asked for by index.
    pub start_index: Option<u64>,
    /// `nextCursor`, where the page was asked for by cursor and another follows.
    pub next_cursor: Option<String>,
    /// The resources on the page.
    pub resources: Resources,
}

/// Resources as JSON, a comma between two of them.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    text: String,
    count: usize,
}

impl Resources {
    /// No resources, and room for texts of this many bytes, so that the list need not be copied while it grows.
    fn with_capacity(bytes: usize) -> Self {
        // The resource that exceeds the limit fits, too.
        Self {
            text: String::with_capacity(bytes.min(MAX_LIST_BYTES + MAX_DOCUMENT_BYTES + DERIVED_BYTES)),
            count: 0,
        }
    }

    /// One more resource, which `write` writes at the end of a text.
    ///
    /// # Errors
    /// `tooMany` when there are more than can be passed on.
    pub(super) fn push(&mut self, write: impl FnOnce(&mut String)) -> Result<(), ScimError> {
        if self.count > 0 {
            self.text.push(',');
        }
        write(&mut self.text);
        self.count += 1;
        if self.text.len() > MAX_LIST_BYTES {
            return Err(ScimError::too_many(
                "The resources on the page are larger than what can be passed on. Send a smaller count, or leave attributes out with attributes or excludedAttributes.",
            ));
        }
        Ok(())
    }
}

impl ListResponse {
    /// The body of the answer.
    pub fn text(self) -> String {
        let Resources { text: mut resources, count } = self.resources;
        let head = json!({
            "schemas": [urn::LIST_RESPONSE], "totalResults": self.total, "itemsPerPage": count
        });
        let head = head.to_string();
        let mut tail = String::from("]");
        if let Some(start) = self.start_index {
            tail.push_str(&format!(",\"startIndex\":{start}"));
        }
        if let Some(cursor) = self.next_cursor {
            tail.push_str(&format!(",\"nextCursor\":{}", Value::from(cursor)));
        }
        tail.push('}');
        // The large part is moved, not copied.
        resources.insert_str(0, &format!("{},\"Resources\":[", head.trim_end_matches('}')));
        resources.push_str(&tail);
        resources
    }
}

impl Reading<'_> {
    /// The resources of a page as they are answered: read where they were not yet, projected.
    ///
    /// # Errors
    /// `tooMany` for more than can be answered.
    pub(super) async fn write_page(
        &self,
        page: &mut ResourcePage,
        projection: &Projection,
    ) -> Result<Resources, Failure> {
        let mut items = self.items_of_page(page).await?;
        let users = || items.iter().filter(|(place, _)| place.kind == Kind::User).map(|(_, item)| item);
        let mut teams = BTreeMap::new();
        if shows_groups(self.provider, projection) {
            teams = teams_of(self.provider, users()).await?;
        }
        let mut grants = RoleGrants::default();
        if shows_roles(projection) && read_records(users())?.iter().any(has_roles) {
            grants = self.provider.store.definitions().index().await?.grants;
        }
        let mut groups = BTreeMap::new();
        if projection.wants(self.provider.ty(Kind::Group), MEMBERS) {
            groups = self.groups_of_page(&mut items).await?;
        }
        let lengths =
            items.values().filter_map(|item| get_text(item, "doc")).map(|text| text.len() + DERIVED_BYTES);
        let mut resources = Resources::with_capacity(lengths.sum());
        for place in &page.ids {
            let relations = |members| Relations { teams: Some(&teams), members, grants: Some(&grants) };
            // The group is answered in the version that its members are of.
            if let Some((record, members)) = groups.remove(&place.id) {
                let relations = relations(Some(&members));
                resources.push(|out| self.provider.append_projected(out, &record, &relations, projection))?;
            } else if let Some(item) = items.remove(place)
                && let Some(record) = Record::raw_from_item(&item)?
            {
                let relations = relations(None);
                resources.push(|out| self.provider.append_projected(out, &record, &relations, projection))?;
            }
            tokio::task::yield_now().await;
        }
        Ok(resources)
    }

    /// The items of a page. Those that finding them did not leave are read.
    async fn items_of_page(&self, page: &mut ResourcePage) -> Result<BTreeMap<Position, Item>, Failure> {
        let mut items = std::mem::take(&mut page.items);
        let missing = page.ids.iter().filter(|place| !items.contains_key(place));
        let places: BTreeMap<Key, Position> = missing
            .map(|place| (keys::resource(&self.provider.store.tenant, place.kind, place.id), *place))
            .collect();
        let mut reader = Reader::new(&self.provider.store.table, places.keys().cloned(), Pace::default());
        while let Some(some) = reader.next().await? {
            for item in some {
                if let Some(place) = key_of(&item).and_then(|key| places.get(&key)) {
                    items.insert(*place, item);
                }
            }
        }
        Ok(items)
    }

    /// The groups of a page that have members, with these. Those that are gone meanwhile are taken out of
    /// the items.
    async fn groups_of_page(
        &self,
        items: &mut BTreeMap<Position, Item>,
    ) -> Result<BTreeMap<Uuid, (Record, Vec<Membership>)>, Failure> {
        let groups = items.iter().filter(|(place, _)| place.kind == Kind::Group);
        let counts = groups.map(|(place, item)| (*place, MembershipDigest::from_item(item).count));
        let filled: Vec<(Position, u64)> = counts.filter(|(_, count)| *count > 0).collect();
        check_answerable(filled.iter().map(|(_, count)| count).sum())?;
        let mut read = BTreeMap::new();
        for some in filled.chunks(GROUPS_READ_AT_ONCE) {
            let ids: Vec<Uuid> = some.iter().map(|(place, _)| place.id).collect();
            for WholeGroup { record, members } in
                self.provider.store.members().fetch_groups(&ids, None).await?
            {
                read.insert(record.id, (record, members));
            }
            for (place, _) in some {
                items.remove(place);
            }
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_one_json_object() {
        let mut resources = Resources::default();
        for id in ["a", "b"] {
            resources.push(|out| out.push_str(&json!({ "id": id }).to_string())).expect("small");
        }
        let list =
            ListResponse { total: 7, start_index: Some(3), next_cursor: Some("c\"".to_owned()), resources };
        let body: Value = serde_json::from_str(&list.text()).expect("JSON");
        assert_eq!(
            body,
            json!({
                "schemas": [urn::LIST_RESPONSE], "totalResults": 7, "itemsPerPage": 2, "startIndex": 3,
                "nextCursor": "c\"", "Resources": [{ "id": "a" }, { "id": "b" }]
            })
        );
        let empty: Value = serde_json::from_str(&ListResponse::default().text()).expect("JSON");
        assert_eq!(
            empty,
            json!({ "schemas": [urn::LIST_RESPONSE], "totalResults": 0, "itemsPerPage": 0, "Resources": [] })
        );
    }

    #[test]
    fn a_list_that_no_transfer_passes_on_is_refused() {
        let mut resources = Resources::default();
        let large = json!({ "title": "x".repeat(MAX_LIST_BYTES / 2) }).to_string();
        assert!(resources.push(|out| out.push_str(&large)).is_ok());
        assert!(resources.push(|out| out.push_str(&large)).is_err());
    }
}
