//! A filter and the schemas (RFC 7644 §3.4.2.2): what its names are, and whether it compares what
//! can be compared.

use serde_json::Value;

use super::ast::{CompareOp, Filter};
use super::operand::Operand;
use super::place::{Found, NamedAttribute, ValueLocation, strip_urn};
use crate::scim::attr_path::AttrPath;
use crate::scim::error::ScimError;
use crate::scim::refusal::shorten_text;
use crate::scim::resource_type::{AttributeTarget, ResourceType};
use crate::scim::schema::{Attribute, Returned};

/// A filter that is ready to be put to resources of one type.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    pub(super) root: FilterNode,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum FilterNode {
    /// The same for every resource.
    Known(bool),
    Present(ValueLocation),
    Compare(ValueLocation, CompareOp, Operand),
    /// Some element of the attribute is as the node says.
    Elements(ValueLocation, Box<FilterNode>),
    And(Vec<FilterNode>),
    Or(Vec<FilterNode>),
    Not(Box<FilterNode>),
}

/// Reads a filter against the schemas of a resource type. What only `others` define is absent on
/// every resource of this type: a search at the root asks all types at once (RFC 7644 §3.4.2.1).
///
/// With `coerce`, `"True"` and `"False"` in any case are booleans where the attribute is one:
/// Microsoft Entra ID writes `roles[primary eq "True"]` in the path of a PATCH.
///
/// # Errors
/// `invalidFilter` for a name that no schema defines, an operator that does not apply to the
/// attribute's type, and an operand of another type.
pub fn bind(
    filter: &Filter,
    resource_type: &ResourceType,
    others: &[&ResourceType],
    coerce: bool,
) -> Result<Bound, ScimError> {
    let binder = Binder { scope: BindingScope::Resource { resource_type, others }, coerce };
    Ok(Bound { root: binder.node(filter)? })
}

/// Reads what stands in the brackets after an attribute of a resource type.
/// [`Bound::matches_element`] is then asked with an element of the attribute.
///
/// # Errors
/// As [`bind`].
pub fn bind_element(
    filter: &Filter,
    resource_type: &ResourceType,
    target: AttributeTarget<'_>,
    coerce: bool,
) -> Result<Bound, ScimError> {
    let binder = Binder { scope: BindingScope::Resource { resource_type, others: &[] }, coerce };
    let within = binder.brackets(&NamedAttribute::of(target, resource_type))?;
    Ok(Bound { root: within.node(filter)? })
}

struct Binder<'a> {
    scope: BindingScope<'a>,
    coerce: bool,
}

enum BindingScope<'a> {
    Resource {
        resource_type: &'a ResourceType,
        others: &'a [&'a ResourceType],
    },
    /// Within brackets: the attribute, the URN of the schema that defines it, and its path.
    Element {
        attribute: &'a Attribute,
        urn: &'a str,
        path: String,
    },
}

impl<'a> Binder<'a> {
    fn node(&self, filter: &Filter) -> Result<FilterNode, ScimError> {
        match filter {
            Filter::And(filters) => Ok(FilterNode::all(self.nodes(filters)?)),
            Filter::Or(filters) => Ok(FilterNode::any(self.nodes(filters)?)),
            Filter::Not(filter) => Ok(self.node(filter)?.negate()),
            Filter::Present(path) => self.at(path, |found| Ok(self.present(found))),
            Filter::Compare(path, op, value) => {
                self.at(path, |found| self.comparison(named(found)?, *op, value))
            }
            Filter::ValuePath(path, filter) => self.at(path, |found| {
                let named = named(found)?;
                let node = self.brackets(&named)?.node(filter)?;
                Ok(FilterNode::Elements(named.place, Box::new(node)))
            }),
        }
    }

    fn nodes(&self, filters: &[Filter]) -> Result<Vec<FilterNode>, ScimError> {
        filters.iter().map(|filter| self.node(filter)).collect()
    }

    /// Resolves the path and makes the node of what it names.
    fn at(
        &self,
        path: &AttrPath,
        make: impl Fn(Found<'a>) -> Result<FilterNode, ScimError>,
    ) -> Result<FilterNode, ScimError> {
        match &self.scope {
            BindingScope::Resource { resource_type, others } => {
                if let Some(found) = Found::resolve(path, resource_type) {
                    return make(self.shown(found)?);
                }
                if let Some(found) = others.iter().find_map(|other| Found::resolve(path, other)) {
                    let found = self.shown(found)?;
                    return Ok(FilterNode::Known(make(found)?.selects_nothing_assigned()));
                }
            }
            BindingScope::Element { attribute, urn, .. } => {
                let plain = strip_urn(path, attribute, urn);
                if let Some(found) = plain.and_then(|path| NamedAttribute::of_element(attribute, urn, &path))
                {
                    return make(self.shown(Found::Value(found))?);
                }
            }
        }
        let path = self.full(&shorten_text(&path.to_string()));
        Err(ScimError::invalid_filter(format!("No schema defines the attribute {path}.")))
    }

    /// Refuses an attribute that is never returned: filters would read its value out letter by letter.
    fn shown<'f>(&self, found: Found<'f>) -> Result<Found<'f>, ScimError> {
        match &found {
            Found::Value(named) if named.is_never_returned => Err(self.refuse_hidden(&named.place)),
            _ => Ok(found),
        }
    }

    fn refuse_hidden(&self, place: &ValueLocation) -> ScimError {
        let path = self.full(&place.to_string());
        ScimError::invalid_filter(format!("Attribute {path} is never returned, so no filter can ask for it."))
    }

    fn present(&self, found: Found<'_>) -> FilterNode {
        match (found, &self.scope) {
            (Found::Value(named), _) => FilterNode::Present(named.place),
            // Every resource has its core schema.
            (Found::Schema(schema), BindingScope::Resource { resource_type, .. })
                if schema.id == resource_type.schema.id =>
            {
                FilterNode::Known(true)
            }
            (Found::Schema(schema), _) => FilterNode::Present(ValueLocation::of_schema(schema)),
        }
    }

    /// What reads the brackets after an attribute: one with sub-attributes, or one with several simple
    /// values, of which `value` is then each.
    fn brackets<'n>(&self, named: &NamedAttribute<'n>) -> Result<Binder<'n>, ScimError> {
        let (attribute, path) = (named.attribute, self.full(&named.place.to_string()));
        let is_complex = !attribute.sub_attributes.is_empty() && named.place.sub.is_none();
        if is_complex || attribute.is_list_of_simple_values() {
            return Ok(Binder {
                scope: BindingScope::Element { attribute, urn: named.urn, path },
                coerce: self.coerce,
            });
        }
        Err(ScimError::invalid_filter(format!(
            "Attribute {path} has no sub-attributes for brackets to ask about."
        )))
    }

    fn comparison(
        &self,
        named: NamedAttribute<'_>,
        op: CompareOp,
        value: &Value,
    ) -> Result<FilterNode, ScimError> {
        let NamedAttribute { mut attribute, mut place, .. } = named;
        match (value, op) {
            (Value::Null, CompareOp::Eq) => return Ok(FilterNode::Present(place).negate()),
            (Value::Null, CompareOp::Ne) => return Ok(FilterNode::Present(place)),
            _ => {}
        }
        // emails co "x" asks about the default sub-attribute, value (RFC 7643 §2.4).
        if let (None, Some(default)) = (&place.sub, attribute.sub_attribute("value")) {
            attribute = default;
            place.sub = Some(default.name.clone());
            if default.returned == Returned::Never {
                return Err(self.refuse_hidden(&place));
            }
        }
        match Operand::read(attribute, op, value, self.coerce) {
            Ok(operand) => Ok(FilterNode::Compare(place, op, operand)),
            Err(why) => {
                let path = self.full(&place.to_string());
                Err(ScimError::invalid_filter(format!("Attribute {path} {why}.")))
            }
        }
    }

    /// A path within brackets, as one sees it from the resource.
    fn full(&self, path: &str) -> String {
        match &self.scope {
            BindingScope::Resource { .. } => path.to_owned(),
            BindingScope::Element { path: holder, .. } => format!("{holder}.{path}"),
        }
    }
}

fn named(found: Found<'_>) -> Result<NamedAttribute<'_>, ScimError> {
    match found {
        Found::Value(named) => Ok(named),
        Found::Schema(schema) => Err(ScimError::invalid_filter(format!(
            "{} is a schema: name one of its attributes, or ask with pr whether there is any.",
            schema.id
        ))),
    }
}

impl FilterNode {
    /// Whether the node selects a resource that has nothing at all.
    fn selects_nothing_assigned(&self) -> bool {
        match self {
            Self::Known(known) => *known,
            Self::Present(_) | Self::Elements(..) => false,
            Self::Compare(_, op, _) => *op == CompareOp::Ne,
            Self::And(nodes) => nodes.iter().all(Self::selects_nothing_assigned),
            Self::Or(nodes) => nodes.iter().any(Self::selects_nothing_assigned),
            Self::Not(node) => !node.selects_nothing_assigned(),
        }
    }

    /// All of these, in the fewest words.
    fn all(nodes: Vec<Self>) -> Self {
        let mut all = Vec::with_capacity(nodes.len());
        for node in nodes {
            match node {
                Self::Known(true) => {}
                Self::Known(false) => return Self::Known(false),
                Self::And(nodes) => all.extend(nodes),
                node => all.push(node),
            }
        }
        one_of(all, Self::And, true)
    }

    /// Any of these, in the fewest words.
    fn any(nodes: Vec<Self>) -> Self {
        let mut any = Vec::with_capacity(nodes.len());
        for node in nodes {
            match node {
                Self::Known(false) => {}
                Self::Known(true) => return Self::Known(true),
                Self::Or(nodes) => any.extend(nodes),
                node => any.push(node),
            }
        }
        one_of(any, Self::Or, false)
    }

    fn negate(self) -> Self {
        match self {
            Self::Known(known) => Self::Known(!known),
            Self::Not(node) => *node,
            node => Self::Not(Box::new(node)),
        }
    }
}

fn one_of(mut nodes: Vec<FilterNode>, join: fn(Vec<FilterNode>) -> FilterNode, none: bool) -> FilterNode {
    if nodes.len() > 1 {
        return join(nodes);
    }
    nodes.pop().unwrap_or(FilterNode::Known(none))
}

#[cfg(test)]
mod tests;
