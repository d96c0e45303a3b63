//! Where a filter's name leads: to a schema, or to a value in a resource or in an element.

use super::ast::Filter;
use crate::scim::absent::{counts_as, counts_as_in_element};
use crate::scim::attr_path::AttrPath;
use crate::scim::resource_type::{AttributeTarget, Resolved, ResourceType};
use crate::scim::schema::{Attribute, Returned, Schema};

/// Where a value stands in a resource or, within brackets, in an element. Names are the schema's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ValueLocation {
    /// The URN of the extension's object.
    pub(super) extension: Option<String>,
    pub(super) attribute: String,
    pub(super) sub: Option<String>,
    /// It is the element itself, which has no sub-attributes.
    pub(super) is_element: bool,
    /// What a boolean counts as where it is absent.
    pub(super) absent: Option<bool>,
}

/// What a path names.
pub(super) enum Found<'a> {
    /// A whole schema.
    Schema(&'a Schema),
    /// A value.
    Value(NamedAttribute<'a>),
}

/// The definition that a path ends at, the URN of the schema that holds it, and its place.
pub(super) struct NamedAttribute<'a> {
    pub(super) attribute: &'a Attribute,
    pub(super) urn: &'a str,
    pub(super) place: ValueLocation,
    /// Whether answers never hold it.
    pub(super) is_never_returned: bool,
}

impl ValueLocation {
    /// The object that holds the attributes of an extension.
    pub(super) fn of_schema(schema: &Schema) -> Self {
        Self { extension: None, attribute: schema.id.clone(), sub: None, is_element: false, absent: None }
    }
}

impl<'a> Found<'a> {
    /// What the path names in a resource of this type.
    pub(super) fn resolve(path: &AttrPath, resource_type: &'a ResourceType) -> Option<Self> {
        Some(match resource_type.resolve(path)? {
            Resolved::Schema(schema) => Self::Schema(schema),
            Resolved::Attribute(target) => Self::Value(NamedAttribute::of(target, resource_type)),
        })
    }
}

impl<'a> NamedAttribute<'a> {
    pub(super) fn of(target: AttributeTarget<'a>, resource_type: &'a ResourceType) -> Self {
        Self {
            attribute: target.leaf(),
            is_never_returned: target.is_never_returned(),
            urn: target.extension.unwrap_or(&resource_type.schema.id),
            place: ValueLocation {
                extension: target.extension.map(ToOwned::to_owned),
                attribute: target.attribute.name.clone(),
                sub: target.sub.map(|sub| sub.name.clone()),
                is_element: false,
                absent: counts_as(resource_type.kind, &target),
            },
        }
    }

    /// What a path without a URN names within the brackets of an attribute: a sub-attribute, or the
    /// element itself where that is a simple value.
    pub(super) fn of_element(attribute: &'a Attribute, urn: &'a str, path: &AttrPath) -> Option<Self> {
        let place = |name: &str| ValueLocation {
            extension: None,
            attribute: name.to_owned(),
            sub: None,
            is_element: false,
            absent: None,
        };
        if attribute.is_list_of_simple_values() {
            let is_value = path.sub.is_none() && path.attribute.eq_ignore_ascii_case("value");
            let place = ValueLocation { is_element: true, ..place("value") };
            let is_never_returned = attribute.returned == Returned::Never;
            return is_value.then_some(Self { attribute, urn, place, is_never_returned });
        }
        let inner = attribute.sub_attribute(&path.attribute)?;
        let place = ValueLocation { absent: counts_as_in_element(attribute, inner), ..place(&inner.name) };
        let is_never_returned = inner.returned == Returned::Never;
        let Some(name) = &path.sub else {
            return Some(Self { attribute: inner, urn, place, is_never_returned });
        };
        let leaf = inner.sub_attribute(name)?;
        let place = ValueLocation { sub: Some(leaf.name.clone()), absent: None, ..place };
        let is_never_returned = is_never_returned || leaf.returned == Returned::Never;
        Some(Self { attribute: leaf, urn, place, is_never_returned })
    }
}

/// A path within the brackets of an attribute without its URN, which is that of the schema that
/// defines the attribute: `urn:…:User:emails.type` and `urn:…:User:type` are `type` in the brackets of
/// `emails`. `None` for another URN.
pub(super) fn strip_urn(path: &AttrPath, attribute: &Attribute, urn: &str) -> Option<AttrPath> {
    let Some(own) = &path.urn else { return Some(path.clone()) };
    if !own.eq_ignore_ascii_case(urn) {
        return None;
    }
    Some(match &path.sub {
        Some(sub) if path.attribute.eq_ignore_ascii_case(&attribute.name) => {
            AttrPath { urn: None, attribute: sub.clone(), sub: None }
        }
        _ => AttrPath { urn: None, ..path.clone() },
    })
}

/// What stands in the brackets of an attribute, its names without the URN of the schema that defines
/// the attribute. Names with other URNs stay as they are.
pub fn strip_urns(filter: &Filter, attribute: &Attribute, urn: &str) -> Filter {
    let name = |path: &AttrPath| strip_urn(path, attribute, urn).unwrap_or_else(|| path.clone());
    let all = |filters: &[Filter]| filters.iter().map(|filter| strip_urns(filter, attribute, urn)).collect();
    match filter {
        Filter::Present(path) => Filter::Present(name(path)),
        Filter::Compare(path, op, value) => Filter::Compare(name(path), *op, value.clone()),
        Filter::ValuePath(path, inner) => Filter::ValuePath(name(path), inner.clone()),
        Filter::And(filters) => Filter::And(all(filters)),
        Filter::Or(filters) => Filter::Or(all(filters)),
        Filter::Not(inner) => Filter::Not(Box::new(strip_urns(inner, attribute, urn))),
    }
}
