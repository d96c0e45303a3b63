//! References to what other operations create: `bulkId:` and the name of the operation
//! (RFC 7644 §3.7.2). Only attributes that refer to resources hold any: a title that begins with
//! `bulkId:` is a text.

use std::collections::BTreeSet;
use std::ops::Range;

use serde_json::{Map, Value};

use crate::scim::attr_path::AttrPath;
use crate::scim::filter::ast::Filter;
use crate::scim::patch::path::PatchPath;
use crate::scim::resource_type::{Kind, Resolved, ResourceType};
use crate::scim::schema::{Attribute, Schema, Type};
use crate::scim::values::names_resource;

/// What a reference begins with.
pub const PREFIX: &str = "bulkId:";

/// What a reference stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referent {
    /// The id of the resource.
    pub id: String,
    /// Where it is.
    pub location: String,
}

/// The form of an operation's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkDataForm {
    /// A resource: POST and PUT.
    Resource,
    /// The message of a PATCH.
    Patch,
}

/// What an operation's data is about: the type of the resource, and the form.
#[derive(Clone, Copy, Debug)]
pub struct BulkSubject<'a> {
    /// The type of the resource.
    pub resource_type: &'a ResourceType,
    /// The form of the data.
    pub form: BulkDataForm,
}

/// The names in all references in an operation's data.
pub fn names(data: &Map<String, Value>, subject: BulkSubject<'_>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut any = false;
    for (key, value) in data {
        each_text(key, value, &mut |_, text| any |= text.contains(PREFIX));
    }
    if any {
        // The walk may change what it meets. This one does not, but works on a copy.
        let mut copy = data.clone();
        let mut note = |site, text: &mut String| {
            names.extend(span(site, text).map(|span| text[span][PREFIX.len()..].to_owned()));
        };
        Walk { subject, call: &mut note }.data(&mut copy);
    }
    names
}

/// The data with what its references stand for, where that is known.
pub fn resolve(
    data: &mut Map<String, Value>,
    subject: BulkSubject<'_>,
    find: &impl Fn(&str) -> Option<Referent>,
) {
    let mut put = |site, text: &mut String| {
        let Some(span) = span(site, text) else { return };
        let Some(referent) = find(&text[span.clone()][PREFIX.len()..]) else { return };
        let whole = span == (0..text.len());
        let uri = whole && site == Site::Uri;
        text.replace_range(span, if uri { &referent.location } else { &referent.id });
    };
    Walk { subject, call: &mut put }.data(data);
}

/// Divides a resource into what can be written now and what waits for one of these names: elements
/// of an array, attributes otherwise. Both parts have the form of a resource, so that the second
/// can be added to what the first made.
pub fn divide(
    data: &Map<String, Value>,
    resource_type: &ResourceType,
    open: &BTreeSet<String>,
) -> (Map<String, Value>, Map<String, Value>) {
    divide_under(None, data, resource_type, open)
}

/// As [`divide`], for the attributes that stand under the URN of a schema.
fn divide_under(
    urn: Option<&str>,
    data: &Map<String, Value>,
    resource_type: &ResourceType,
    open: &BTreeSet<String>,
) -> (Map<String, Value>, Map<String, Value>) {
    let (mut now, mut later) = (Map::new(), Map::new());
    let subject = BulkSubject { resource_type, form: BulkDataForm::Resource };
    for (key, value) in data {
        let path = urn.map_or_else(|| key.clone(), |urn| format!("{urn}:{key}"));
        let waits = |value: &Value| {
            let alone = Map::from_iter([(path.clone(), value.clone())]);
            !names(&alone, subject).is_disjoint(open)
        };
        match value {
            value if !waits(value) => {
                now.insert(key.clone(), value.clone());
            }
            Value::Array(elements) => {
                let (waiting, ready): (Vec<Value>, Vec<Value>) = elements.iter().cloned().partition(waits);
                later.insert(key.clone(), waiting.into());
                if !ready.is_empty() {
                    now.insert(key.clone(), ready.into());
                }
            }
            Value::Object(attributes) if urn.is_none() && resource_type.schema_of(key).is_some() => {
                let (ready, waiting) = divide_under(Some(key), attributes, resource_type, open);
                later.insert(key.clone(), waiting.into());
                if !ready.is_empty() {
                    now.insert(key.clone(), ready.into());
                }
            }
            value => {
                later.insert(key.clone(), value.clone());
            }
        }
    }
    (now, later)
}

/// Calls back with every text and the key that holds it. A key that is a path with a filter is a text too.
pub fn each_text<'v>(key: &'v str, value: &'v Value, call: &mut impl FnMut(&'v str, &'v str)) {
    match value {
        Value::String(text) => call(key, text),
        Value::Array(elements) => elements.iter().for_each(|element| each_text(key, element, call)),
        Value::Object(object) => {
            for (key, value) in object {
                if key.contains('[') {
                    call(key, key);
                }
                each_text(key, value, call);
            }
        }
        _ => {}
    }
}

/// What a text that may hold a reference is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Site {
    /// The id of a resource.
    Id,
    /// The URI of a resource.
    Uri,
}

/// Where a reference stands in a text: the text is one, or it is a URI that ends in one.
fn span(site: Site, text: &str) -> Option<Range<usize>> {
    if text.len() > PREFIX.len() && text.starts_with(PREFIX) {
        return Some(0..text.len());
    }
    if site == Site::Id {
        return None;
    }
    let end = text.trim_end_matches('/').len();
    let at = text[..end].rfind('/')? + 1;
    (text[at..end].starts_with(PREFIX) && end > at + PREFIX.len()).then_some(at..end)
}

/// Goes through an operation's data and calls back with every text that may hold a reference, which
/// the schemas tell.
struct Walk<'a, 'c> {
    subject: BulkSubject<'a>,
    call: &'c mut dyn FnMut(Site, &mut String),
}

/// What a path names.
enum PathMeaning<'a> {
    Schema(&'a Schema),
    Attribute(&'a Attribute, Option<&'a Attribute>),
}

impl<'a> Walk<'a, '_> {
    fn data(&mut self, data: &mut Map<String, Value>) {
        match self.subject.form {
            BulkDataForm::Resource => self.attributes(data),
            BulkDataForm::Patch => {
                let operations = data.iter_mut().filter(|(key, _)| key.eq_ignore_ascii_case("Operations"));
                for operation in operations.filter_map(|(_, value)| value.as_array_mut()).flatten() {
                    if let Value::Object(operation) = operation {
                        self.operation(operation);
                    }
                }
            }
        }
    }

    /// A PATCH operation: its value, and the filter in its path.
    fn operation(&mut self, operation: &mut Map<String, Value>) {
        let is = |name: &'static str| move |key: &str| key.eq_ignore_ascii_case(name);
        let is_path = is("path");
        let path = operation.iter_mut().find(|(key, _)| is_path(key)).map(|(_, path)| path);
        let named = match path {
            Some(Value::String(path)) if !path.trim().is_empty() => match self.path(path) {
                Some(named) => Some(named),
                None => return,
            },
            _ => None,
        };
        let is_value = is("value");
        for (_, value) in operation.iter_mut().filter(|(key, _)| is_value(key)) {
            match (&named, value) {
                (Some(named), value) => self.named(named, value),
                (None, Value::Object(attributes)) => self.attributes_by_path(attributes),
                (None, _) => {}
            }
        }
    }

    /// What a path names. References in its filter are met on the way.
    fn path(&mut self, text: &mut String) -> Option<PathMeaning<'a>> {
        let mut path = PatchPath::parse(text.trim()).ok()?;
        let named = self.resolve(&path)?;
        if let (PathMeaning::Attribute(attribute, _), Some(filter)) = (&named, &mut path.filter)
            && text.contains(PREFIX)
        {
            self.filter(attribute, filter);
            *text = path.to_string();
        }
        Some(named)
    }

    fn resolve(&self, path: &PatchPath) -> Option<PathMeaning<'a>> {
        match self.subject.resource_type.resolve(&path.attribute)? {
            Resolved::Schema(schema) => Some(PathMeaning::Schema(schema)),
            Resolved::Attribute(target) => {
                let sub = path.sub.as_ref().and_then(|name| target.attribute.sub_attribute(name));
                Some(PathMeaning::Attribute(target.attribute, target.sub.or(sub)))
            }
        }
    }

    /// What a key in the object of a schema names: an attribute and, in a PATCH, a path as well.
    fn resolve_in(&self, schema: &'a Schema, key: &str) -> Option<PathMeaning<'a>> {
        match self.subject.form {
            BulkDataForm::Resource => {
                schema.attribute(key).map(|attribute| PathMeaning::Attribute(attribute, None))
            }
            BulkDataForm::Patch => {
                let path = PatchPath::parse(&format!("{}:{key}", schema.id)).ok()?;
                self.resolve(&path)
            }
        }
    }

    fn filter(&mut self, attribute: &Attribute, filter: &mut Filter) {
        match filter {
            Filter::And(filters) | Filter::Or(filters) => {
                filters.iter_mut().for_each(|filter| self.filter(attribute, filter));
            }
            Filter::Not(filter) => self.filter(attribute, filter),
            Filter::Compare(AttrPath { attribute: name, sub, .. }, _, operand) => {
                let sub = attribute.sub_attribute(sub.as_ref().unwrap_or(name));
                if let Some(site) = sub.and_then(|sub| site_of(attribute, sub)) {
                    self.visit_texts(site, operand);
                }
            }
            Filter::Present(_) | Filter::ValuePath(..) => {}
        }
    }

    /// The value of an operation without a path: its keys are paths, which may have filters.
    fn attributes_by_path(&mut self, attributes: &mut Map<String, Value>) {
        if attributes.keys().any(|key| key.contains(PREFIX)) {
            for (mut key, value) in std::mem::take(attributes) {
                let named = key.clone();
                self.path(&mut key);
                // Two keys may become the same path. Then the second keeps its name, and is refused for it.
                let key = if attributes.contains_key(&key) { named } else { key };
                attributes.insert(key, value);
            }
        }
        self.attributes(attributes);
    }

    /// Attributes by their paths.
    fn attributes(&mut self, attributes: &mut Map<String, Value>) {
        for (key, value) in attributes {
            let path = PatchPath::parse(key).ok();
            if let Some(named) = path.and_then(|path| self.resolve(&path)) {
                self.named(&named, value);
            }
        }
    }

    fn named(&mut self, named: &PathMeaning<'a>, value: &mut Value) {
        match (named, value) {
            (PathMeaning::Attribute(attribute, Some(sub)), value) => {
                if let Some(site) = site_of(attribute, sub) {
                    self.visit_texts(site, value);
                }
            }
            (PathMeaning::Attribute(attribute, None), value) => self.attribute(attribute, value),
            (PathMeaning::Schema(schema), Value::Object(attributes)) => {
                for (key, value) in attributes {
                    if let Some(named) = self.resolve_in(schema, key) {
                        self.named(&named, value);
                    }
                }
            }
            (PathMeaning::Schema(_), _) => {}
        }
    }

    /// The value of an attribute, or an element of it, in every form that is read.
    fn attribute(&mut self, attribute: &Attribute, value: &mut Value) {
        match value {
            Value::Array(elements) => {
                elements.iter_mut().for_each(|element| self.attribute(attribute, element));
            }
            Value::Object(object) => {
                for (key, value) in object {
                    let sub = attribute.sub_attribute(key);
                    if let Some(site) = sub.and_then(|sub| site_of(attribute, sub)) {
                        self.visit_texts(site, value);
                    }
                }
            }
            text if names_resource(attribute) => self.visit_texts(Site::Id, text),
            text if refers(attribute) => self.visit_texts(Site::Uri, text),
            _ => {}
        }
    }

    fn visit_texts(&mut self, site: Site, value: &mut Value) {
        match value {
            Value::String(text) => (self.call)(site, text),
            Value::Array(elements) => elements.iter_mut().for_each(|element| self.visit_texts(site, element)),
            _ => {}
        }
    }
}

/// What a sub-attribute's texts are, where they refer to resources.
fn site_of(attribute: &Attribute, sub: &Attribute) -> Option<Site> {
    match sub.name.as_str() {
        "value" if names_resource(attribute) => Some(Site::Id),
        "$ref" => Some(Site::Uri),
        _ => refers(sub).then_some(Site::Uri),
    }
}

/// Whether an attribute holds URIs of resources (RFC 7643 §7, `referenceTypes`).
fn refers(attribute: &Attribute) -> bool {
    let is_kind = |name: &String| Kind::ALL.into_iter().any(|kind| kind.name() == name);
    attribute.kind == Type::Reference && attribute.reference_types.iter().any(is_kind)
}

#[cfg(test)]
mod tests;
