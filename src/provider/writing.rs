//! The text of a resource in an answer. What is stored is copied as it is, unless the projection takes parts of it
//! away. So no value is made of a document that is only passed on, and no value of the members of a group.

use serde_json::{Value, json};

use super::Provider;
use super::answer::{Relations, represent_own_extension};
use crate::limits::MEMBERS_WRITTEN_AT_ONCE;
use crate::scim::json::push_text;
use crate::scim::members::MEMBERS;
use crate::scim::projection::{Projection, Shown};
use crate::scim::resource::{Meta, location_prefix};
use crate::scim::resource_type::{Kind, ResourceType};
use crate::scim::schema::{Attribute, Returned, Schema};
use crate::scim::urn;
use crate::store::document::{AttributeText, Document};
use crate::store::membership::Membership;
use crate::store::record::Record;

/// The attribute that stands before the others.
const EXTERNAL_ID: &str = "externalId";

impl Provider<'_> {
    /// The body of an answer for one resource, projected, as JSON.
    pub fn write_projected<D: Document>(
        &self,
        record: &Record<D>,
        relations: &Relations<'_>,
        projection: &Projection,
    ) -> String {
        let mut text = String::with_capacity(1_024);
        self.append_projected(&mut text, record, relations, projection);
        text
    }

    /// The same, at the end of a text.
    pub(super) fn append_projected<D: Document>(
        &self,
        text: &mut String,
        record: &Record<D>,
        relations: &Relations<'_>,
        projection: &Projection,
    ) {
        let resource_type = self.ty(record.kind);
        let mut writer = ResourceWriter { text, projection, resource_type };
        let shown: Vec<(&str, AttributeText<'_>)> =
            record.doc.attributes().filter(|(_, value)| !value.is_unassigned()).collect();
        let extension = |name: &str| resource_type.extensions.iter().find(|schema| schema.id == name);
        let own = self.own_extension(record, relations, projection);
        let own = own.as_ref().map(|(name, value)| (*name, AttributeText::Parsed(value)));

        writer.text.push_str("{\"schemas\":[");
        push_text(writer.text, &resource_type.schema.id);
        let extensions: Vec<(&str, AttributeText<'_>)> = resource_type
            .extensions
            .iter()
            .filter_map(|schema| {
                let found = shown.iter().chain(&own).find(|(name, _)| *name == schema.id).copied()?;
                may_be_returned(schema, found.1).then_some(found)
            })
            .collect();
        for (urn, _) in &extensions {
            writer.text.push(',');
            push_text(writer.text, urn);
        }
        writer.text.push_str("],\"id\":");
        push_text(writer.text, &record.id.to_string());

        let core = || shown.iter().filter(|(name, _)| extension(name).is_none());
        let external_id = core().filter(|(name, _)| *name == EXTERNAL_ID);
        for (name, value) in external_id.chain(core().filter(|(name, _)| *name != EXTERNAL_ID)) {
            writer.attribute(name, *value);
        }
        match record.kind {
            Kind::User => writer.value("groups", &self.represent_groups(record, relations.teams)),
            Kind::Group => self.write_members(relations.members.unwrap_or_default(), &mut writer),
        }
        for (urn, value) in extensions {
            writer.attribute(urn, value);
        }
        writer.meta(&self.meta(record));
        writer.text.push('}');
    }

    /// The server's own extension, as far as it is shown. Clients that check what they are sent know the extensions in
    /// `/ResourceTypes` alone, so it comes only to those who ask for it.
    fn own_extension<D: Document>(
        &self,
        record: &Record<D>,
        relations: &Relations<'_>,
        projection: &Projection,
    ) -> Option<(&'static str, Value)> {
        let urn = match record.kind {
            Kind::User => urn::ROLLCALL_USER,
            Kind::Group => urn::ROLLCALL_GROUP,
        };
        if !projection.names_extension(urn) {
            return None;
        }
        let (name, mut value) = represent_own_extension(record, &record.doc, relations)?;
        projection.keep(name, &mut value, self.ty(record.kind)).then_some((name, value))
    }

    fn write_members(&self, members: &[Membership], writer: &mut ResourceWriter<'_>) {
        if members.is_empty() {
            return;
        }
        match writer.projection.shows(MEMBERS, writer.resource_type) {
            Shown::Nothing => {}
            Shown::Whole => {
                let prefix = |kind| location_prefix(&self.base_url, kind);
                let prefixes = Kind::ALL.map(|kind| (kind, prefix(kind)));
                writer.name(MEMBERS);
                for (at, membership) in members.iter().enumerate() {
                    writer.text.push(if at == 0 { '[' } else { ',' });
                    let prefix = prefixes.iter().find(|(kind, _)| *kind == membership.kind);
                    push_member(writer.text, membership, prefix.map_or("", |(_, prefix)| prefix));
                }
                writer.text.push(']');
            }
            // As values they take four times the memory, so only some of them are values at the same time.
            Shown::Parts => {
                let mut is_first = true;
                for some in members.chunks(MEMBERS_WRITTEN_AT_ONCE) {
                    let mut some = self.represent_members(some);
                    if !writer.projection.keep(MEMBERS, &mut some, writer.resource_type) {
                        continue;
                    }
                    for member in some.as_array().into_iter().flatten() {
                        if is_first {
                            writer.name(MEMBERS);
                        }
                        writer.text.push(if is_first { '[' } else { ',' });
                        writer.text.push_str(&member.to_string());
                        is_first = false;
                    }
                }
                if !is_first {
                    writer.text.push(']');
                }
            }
        }
    }
}

/// Writes the attributes of one resource, as far as they are shown.
struct ResourceWriter<'w> {
    text: &'w mut String,
    projection: &'w Projection,
    resource_type: &'w ResourceType,
}

impl ResourceWriter<'_> {
    /// The name of an attribute that is not the first.
    fn name(&mut self, name: &str) {
        self.text.push(',');
        push_text(self.text, name);
        self.text.push(':');
    }

    fn attribute(&mut self, name: &str, value: AttributeText<'_>) {
        match self.projection.shows(name, self.resource_type) {
            Shown::Nothing => {}
            Shown::Whole => {
                self.name(name);
                value.write(self.text);
            }
            Shown::Parts => {
                let mut value = value.to_value();
                if self.projection.keep(name, &mut value, self.resource_type) {
                    self.name(name);
                    AttributeText::Parsed(&value).write(self.text);
                }
            }
        }
    }

    fn meta(&mut self, meta: &Meta<'_>) {
        match self.projection.shows("meta", self.resource_type) {
            Shown::Whole => {
                self.name("meta");
                self.text.push_str(&serde_json::to_string(meta).unwrap_or_default());
            }
            _ => self.attribute("meta", AttributeText::Parsed(&json!(meta))),
        }
    }

    fn value(&mut self, name: &str, value: &Value) {
        let value = AttributeText::Parsed(value);
        if !value.is_unassigned() {
            self.attribute(name, value);
        }
    }
}

/// Whether an extension has a value that an answer can hold. `schemas` must not tell of values that are never returned.
fn may_be_returned(schema: &Schema, value: AttributeText<'_>) -> bool {
    let is_never = |attribute: &Attribute| attribute.returned == Returned::Never;
    if !schema.attributes.iter().any(is_never) {
        return true;
    }
    let value = value.to_value();
    let mut names = value.as_object().into_iter().flat_map(|object| object.keys());
    names.any(|name| schema.attribute(name).is_some_and(|attribute| !is_never(attribute)))
}

fn push_member(text: &mut String, membership: &Membership, location_prefix: &str) {
    let id = membership.id.to_string();
    text.push_str("{\"value\":");
    push_text(text, &id);
    text.push_str(",\"type\":");
    push_text(text, membership.kind.name());
    if let Some(display) = &membership.display {
        text.push_str(",\"display\":");
        push_text(text, display);
    }
    text.push_str(",\"$ref\":");
    push_text(text, &format!("{location_prefix}{id}"));
    text.push('}');
}
