//! The actions that put a new resource into the table: its item, and the items by which it is found.

use super::claim::{put_lookup, take_claim};
use super::counter::{count_inactive, count_resource};
use super::error::Refusal;
use super::expression::Expression;
use super::index::IndexEntries;
use super::item::id_set;
use super::keys::{self, TenantId};
use super::record::Record;
use super::trail::parts_attribute;
use super::transaction::Action;
use crate::config::EmailLookups;
use crate::scim::resource_type::ResourceType;

/// How many actions the creation of a user with an address has, with its event.
const USUAL_ACTIONS: usize = 8;

/// The actions that create a resource, without its members and its event: those of [`put_resource`],
/// and its counters.
pub fn create_resource(
    tenant: &TenantId,
    record: &Record,
    ty: &ResourceType,
    claim_is_free: &Expression,
    form: EmailLookups,
) -> Vec<Action> {
    let mut actions = put_resource(tenant, record, ty, claim_is_free, form);
    actions.push(count_resource(tenant, record.kind, 1));
    actions.extend(count_inactive(tenant, None, Some(record)));
    actions
}

/// The actions that write a new resource: its item, its entry in the list, its claim on condition of
/// `claim_is_free`, and its look-ups in this form.
pub fn put_resource(
    tenant: &TenantId,
    record: &Record,
    ty: &ResourceType,
    claim_is_free: &Expression,
    form: EmailLookups,
) -> Vec<Action> {
    let mut item = record.attributes();
    item.extend(parts_attribute(record.parts));
    if !record.groups.is_empty() {
        item.push(("groups".to_owned(), id_set(&record.groups)));
    }
    // Room for what the caller adds, too: an action is large to move.
    let mut actions = Vec::with_capacity(USUAL_ACTIONS);
    actions.push(Action::put(record.key(tenant), item).only_if(Expression::absent(), Refusal::Exists));
    actions.push(Action::put(keys::list_entry(tenant, record.kind, record.id), []));
    let IndexEntries { claim, lookups } = record.written_entries(ty, form);
    actions.extend(claim.map(|entry| take_claim(tenant, &entry, record.id, claim_is_free.clone())));
    actions.extend(lookups.iter().map(|entry| put_lookup(tenant, record, entry)));
    actions
}
