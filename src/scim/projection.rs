//! Which attributes an answer holds: `attributes` and `excludedAttributes` (RFC 7644 §3.9).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::attr_path::AttrPath;
use super::error::ScimError;
use super::resource_type::{Resolved, ResourceType};
use super::schema::{Attribute, Returned, Schema, find};
use crate::limits::MAX_PROJECTION_NAMES;

/// What the client asked to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Projection {
    mode: Mode,
    /// Of every type that the answer may hold.
    names: BTreeMap<&'static str, TypeNames>,
    /// The URNs of extensions that are shown whatever the client asked for.
    always: BTreeSet<String>,
    /// The paths of attributes that are returned on request, and that the client has written.
    written: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Default,
    Only,
    Except,
}

/// What an answer shows of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// All of it.
    Whole,
    /// Nothing.
    Nothing,
    /// What [`Projection::keep`] leaves.
    Parts,
}

/// What the list names of one type, in the spelling of the type's schemas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct TypeNames {
    /// Of the core schema and the common attributes.
    core: SchemaNames,
    /// Of the extensions, by URN.
    extensions: BTreeMap<String, SchemaNames>,
}

/// What the list names of one schema.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct SchemaNames {
    /// The schema as a whole, by its URN.
    whole: bool,
    attributes: BTreeMap<String, AttributeNames>,
}

/// What the list names of one attribute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct AttributeNames {
    /// The attribute itself.
    whole: bool,
    /// Some of its sub-attributes.
    subs: BTreeSet<String>,
}

impl Projection {
    /// Reads the parameters `attributes` and `excludedAttributes` (RFC 7644 §3.9). Each is a list of names with
    /// commas between them. A name may have its URN, and a URN names a whole schema. Letter case does not count.
    /// A name that no type defines selects nothing. A list without any text counts as absent.
    ///
    /// ```
    /// # use rollcall::scim::{policy::STANDARD, projection::Projection, resource_type::{Kind, Model}};
    /// # use serde_json::json;
    /// let model = Model::new(&STANDARD, &[])?;
    /// let users = model.of(Kind::User);
    /// let mut user = json!({ "schemas": [], "id": "1", "userName": "a", "title": "T", "active": true });
    ///
    /// let projection = Projection::parse(&["username,TITLE"], &[], &[users])?;
    /// projection.apply(user.as_object_mut().unwrap(), users);
    ///
    /// assert_eq!(user, json!({ "schemas": [], "id": "1", "userName": "a", "title": "T" }));
    /// # Ok::<(), rollcall::scim::error::ScimError>(())
    /// ```
    ///
    /// # Errors
    /// - `invalidValue` if both parameters are given, since they exclude one another
    /// - `tooMany` for more than [`MAX_PROJECTION_NAMES`] names
    pub fn parse(attributes: &[&str], excluded: &[&str], types: &[&ResourceType]) -> Result<Self, ScimError> {
        let (only, except) =
            (split_names("attributes", attributes)?, split_names("excludedAttributes", excluded)?);
        let (mode, texts) = match (only.is_empty(), except.is_empty()) {
            (true, true) => return Ok(Self::default()),
            (false, true) => (Mode::Only, only),
            (true, false) => (Mode::Except, except),
            (false, false) => {
                return Err(ScimError::invalid_value(
                    "attributes and excludedAttributes exclude one another: send one of them.",
                ));
            }
        };
        let mut names: BTreeMap<&'static str, TypeNames> = BTreeMap::new();
        for path in texts.iter().filter_map(|text| AttrPath::parse(text).ok()) {
            for resource_type in types {
                if let Some(resolved) = resource_type.resolve(&path) {
                    names.entry(resource_type.name).or_default().add(resolved, &resource_type.schema);
                }
            }
        }
        Ok(Self { mode, names, ..Self::default() })
    }

    /// The same, but answers hold these extensions whatever the client asked for.
    #[must_use]
    pub fn always_showing(mut self, urns: &[&str]) -> Self {
        self.always.extend(urns.iter().map(|urn| (*urn).to_owned()));
        self
    }

    /// The same for the answer to a write: without `attributes`, it shows what is returned on request and what the client
    /// has written (RFC 7643 §2.4). Only extensions have such attributes. `is_written` is asked with the URN of an extension
    /// and the name of an attribute, as the schema spells it. A complex attribute counts as a whole.
    pub fn showing_written(
        &self,
        resource_type: &ResourceType,
        is_written: impl Fn(&str, &str) -> bool,
    ) -> Cow<'_, Self> {
        let mut written = BTreeSet::new();
        for extension in resource_type.extensions.iter().filter(|extension| !extension.is_shown_by_default) {
            let on_request = |attribute: &&Attribute| {
                !attribute.is_read_only()
                    && !attribute.is_shown_by_default()
                    && is_written(&extension.id, &attribute.name)
            };
            let found = extension.attributes.iter().filter(on_request);
            written.extend(found.map(|attribute| attribute.path.clone()));
        }
        match written.is_empty() {
            true => Cow::Borrowed(self),
            false => Cow::Owned(Self { written, ..self.clone() }),
        }
    }

    /// Whether nothing was asked for in particular.
    pub fn is_default(&self) -> bool {
        self.mode == Mode::Default
    }

    /// Whether an answer would show this core attribute of a resource type, or a part of it: if not, it need not be
    /// read from the table. The attribute is one that is returned by default.
    pub fn wants(&self, resource_type: &ResourceType, core_attribute: &str) -> bool {
        let is_whole = |core: &SchemaNames| {
            core.whole || core.attributes.get(core_attribute).is_some_and(|named| named.whole)
        };
        match self.mode {
            Mode::Default => true,
            Mode::Only => self.names_attribute(core_attribute),
            Mode::Except => !self.names.get(resource_type.name).is_some_and(|names| is_whole(&names.core)),
        }
    }

    /// Whether `attributes` names this core attribute, a part of it, or the schema that holds it.
    pub fn names_attribute(&self, core_attribute: &str) -> bool {
        let is_named = |core: &SchemaNames| core.whole || core.attributes.contains_key(core_attribute);
        self.mode == Mode::Only && self.names.values().any(|names| is_named(&names.core))
    }

    /// Whether answers hold an extension or a part of it that is returned on request only.
    pub fn names_extension(&self, urn: &str) -> bool {
        self.always.contains(urn)
            || self.mode == Mode::Only && self.names.values().any(|names| names.extensions.contains_key(urn))
    }

    /// Removes the attributes that the answer must not hold from a whole resource. `id` and `schemas` stay, since
    /// they are always returned (RFC 7643 §7).
    pub fn apply(&self, resource: &mut Map<String, Value>, resource_type: &ResourceType) {
        resource.retain(|key, value| self.keep(key, value, resource_type));
    }

    /// What an answer shows of the attribute or extension of this name, before its value is looked at.
    pub fn shows(&self, key: &str, resource_type: &ResourceType) -> Shown {
        let names = self.names.get(resource_type.name);
        if let Some(extension) = resource_type.extensions.iter().find(|schema| schema.id == key) {
            let is_named = names.is_some_and(|names| names.extensions.contains_key(key));
            let is_plain = self.mode != Mode::Only && !is_named;
            let is_whole = self.always.contains(key) || is_plain && extension.is_shown_by_default;
            return if is_whole { Shown::Whole } else { Shown::Parts };
        }
        // The common attributes are shown by default, too. The URN of an extension that this process does not have is no
        // attribute.
        let is_urn = key.contains(':');
        if self.mode == Mode::Default && resource_type.schema.is_shown_by_default && !is_urn {
            return Shown::Whole;
        }
        let Some(attribute) = resource_type.core_attribute(key) else {
            // It is of an extension schema that this process does not have: it may be one that is never returned.
            return Shown::Nothing;
        };
        let is_named = names.is_some_and(|names| {
            names.core.attributes.contains_key(&attribute.name)
                || names.core.whole && resource_type.schema.attribute(key).is_some()
        });
        match (self.mode, attribute.returned) {
            (Mode::Only, Returned::Default) if !is_named => Shown::Nothing,
            (Mode::Default | Mode::Except, _) if !is_named && attribute.is_shown_by_default() => Shown::Whole,
            _ => Shown::Parts,
        }
    }

    /// Removes the parts of an attribute or extension that the answer must not hold. Returns whether something is left
    /// to show.
    pub fn keep(&self, key: &str, value: &mut Value, resource_type: &ResourceType) -> bool {
        let nothing = TypeNames::default();
        let names = self.names.get(resource_type.name).unwrap_or(&nothing);
        if let Some(extension) = resource_type.extensions.iter().find(|schema| schema.id == key) {
            let Value::Object(object) = value else { return false };
            if self.always.contains(key) {
                return true;
            }
            let named = names.extensions.get(key);
            let is_whole = named.is_some_and(|named| named.whole);
            object.retain(|key, value| {
                let Some(attribute) = find(&extension.attributes, key) else { return false };
                let named = named.and_then(|named| named.attributes.get(&attribute.name));
                self.keep_attribute(attribute, is_whole, named, value)
            });
            return !object.is_empty();
        }
        let Some(attribute) = resource_type.core_attribute(key) else { return false };
        // A schema's URN does not cover the common attributes, which belong to none (RFC 7643 §3.1).
        let is_whole = names.core.whole && resource_type.schema.attribute(key).is_some();
        self.keep_attribute(attribute, is_whole, names.core.attributes.get(&attribute.name), value)
    }

    /// Whether an attribute stays, and what of its value. `schema` tells whether its schema is named,
    /// `named` what of the attribute is.
    fn keep_attribute(
        &self,
        attribute: &Attribute,
        schema: bool,
        named: Option<&AttributeNames>,
        value: &mut Value,
    ) -> bool {
        let whole = named.is_some_and(|named| named.whole);
        let is_written = self.written.contains(&attribute.path);
        let kept = match (attribute.returned, self.mode) {
            (Returned::Never, _) => return false,
            (Returned::Always, _) => true,
            // The URN of a schema does not ask for it; its own name, or that of a part, does.
            (Returned::Request, Mode::Only) => named.is_some(),
            (Returned::Request, _) => is_written && !whole && !schema,
            (Returned::Default, Mode::Default) => true,
            (Returned::Default, Mode::Only) => schema || named.is_some(),
            (Returned::Default, Mode::Except) => !whole && !schema,
        };
        if !kept || attribute.sub_attributes.is_empty() {
            return kept;
        }
        let every = whole || schema || attribute.returned == Returned::Always;
        let keep_sub = |name: &str| self.keeps_sub(attribute, every, named, name);
        match value {
            Value::Object(object) => {
                object.retain(|name, _| keep_sub(name));
                !object.is_empty()
            }
            Value::Array(elements) => {
                elements.retain_mut(|element| match element {
                    Value::Object(object) => {
                        object.retain(|name, _| keep_sub(name));
                        !object.is_empty()
                    }
                    _ => true,
                });
                !elements.is_empty()
            }
            _ => true,
        }
    }

    /// Whether a sub-attribute of a value stays; `every` tells whether all of them are named.
    fn keeps_sub(
        &self,
        attribute: &Attribute,
        every: bool,
        named: Option<&AttributeNames>,
        name: &str,
    ) -> bool {
        let Some(sub) = attribute.sub_attribute(name) else { return false };
        let named = || named.is_some_and(|named| named.subs.contains(&sub.name));
        match (sub.returned, self.mode) {
            (Returned::Never, _) => false,
            (Returned::Always, _) => true,
            (Returned::Request, Mode::Only) => named(),
            (Returned::Request, _) => self.written.contains(&attribute.path) && !named(),
            (Returned::Default, Mode::Default) => true,
            (Returned::Default, Mode::Only) => every || named(),
            (Returned::Default, Mode::Except) => !named(),
        }
    }
}

/// The names in the lists of a parameter.
fn split_names<'a>(parameter: &str, lists: &[&'a str]) -> Result<Vec<&'a str>, ScimError> {
    let names = lists.iter().flat_map(|list| list.split(',')).map(str::trim);
    let names: Vec<&str> = names.filter(|name| !name.is_empty()).take(MAX_PROJECTION_NAMES + 1).collect();
    if names.len() > MAX_PROJECTION_NAMES {
        return Err(ScimError::too_many(format!(
            "{parameter} lists more than {MAX_PROJECTION_NAMES} names. Name only the attributes that you need."
        )));
    }
    Ok(names)
}

impl TypeNames {
    fn add(&mut self, resolved: Resolved<'_>, core: &Schema) {
        match resolved {
            Resolved::Schema(schema) if schema.id == core.id => self.core.whole = true,
            Resolved::Schema(schema) => self.extensions.entry(schema.id.clone()).or_default().whole = true,
            Resolved::Attribute(target) => {
                let names = match target.extension {
                    None => &mut self.core,
                    Some(urn) => self.extensions.entry(urn.to_owned()).or_default(),
                };
                let names = names.attributes.entry(target.attribute.name.clone()).or_default();
                match target.sub {
                    None => names.whole = true,
                    Some(sub) => {
                        names.subs.insert(sub.name.clone());
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
