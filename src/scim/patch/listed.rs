//! Values that a client lists, found among those that are there (RFC 7643 §2.4).

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use crate::scim::equality::{ElementMatcher, identity, key, key_of, remove_common_subs};
use crate::scim::error::ScimError;
use crate::scim::schema::Attribute;
use crate::scim::work::WorkBudget;

/// What it takes to make the key of an element and to look it up.
const STEPS_PER_LOOK_UP: u64 = 8;

/// The elements that a `remove` lists. A listed element means each one that is there of which all
/// is true that it says; it may say less.
pub(super) struct Listed<'a> {
    attribute: &'a Attribute,
    /// What elements say that name the same sub-attributes, by the places of those.
    forms: HashMap<Vec<usize>, ListedShape<'a>>,
}

/// Elements that name the same sub-attributes.
struct ListedShape<'a> {
    /// The single-valued ones.
    subs: Vec<&'a Attribute>,
    /// The multi-valued ones.
    sets: Vec<&'a Attribute>,
    /// By the key of the single-valued ones: what each element says of the multi-valued ones.
    said: HashMap<String, Vec<Vec<HashSet<String>>>>,
}

impl<'a> Listed<'a> {
    /// Takes elements in canonical form.
    ///
    /// # Errors
    /// 413 for more work than the budget holds.
    pub fn new(attribute: &'a Attribute, elements: &[Value], work: &WorkBudget) -> Result<Self, ScimError> {
        let mut forms: HashMap<Vec<usize>, ListedShape<'a>> = HashMap::new();
        for element in elements {
            let names = |sub: &Attribute| element.as_object().is_some_and(|o| o.contains_key(&sub.name));
            let named = attribute.sub_attributes.iter().enumerate().filter(|(_, sub)| names(sub));
            let places = named.clone().map(|(place, _)| place).collect();
            let form = forms.entry(places).or_insert_with(|| {
                let (sets, subs) = named.map(|(_, sub)| sub).partition(|sub| sub.multi_valued);
                ListedShape { subs, sets, said: HashMap::new() }
            });
            let sets = form.sets_of(element, work)?;
            form.said.entry(form.key(attribute, element, work)?).or_default().push(sets);
        }
        Ok(Self { attribute, forms })
    }

    /// Removes the elements that are meant.
    ///
    /// # Errors
    /// 413 for more work than the budget holds.
    pub fn remove_from(&self, elements: &mut Vec<Value>, work: &WorkBudget) -> Result<(), ScimError> {
        if self.forms.is_empty() {
            return Ok(());
        }
        let mut meant = Vec::with_capacity(elements.len());
        for element in elements.iter() {
            meant.push(self.lists_value(element, work)?);
        }
        let mut meant = meant.into_iter();
        elements.retain(|_| !meant.next().unwrap_or(false));
        Ok(())
    }

    /// Which of the elements at these places are meant.
    ///
    /// # Errors
    /// 413 for more work than the budget holds.
    pub fn meant_among(
        &self,
        elements: &[Value],
        places: &[usize],
        work: &WorkBudget,
    ) -> Result<Vec<usize>, ScimError> {
        let mut meant = Vec::new();
        for place in places {
            if let Some(element) = elements.get(*place)
                && self.lists_value(element, work)?
            {
                meant.push(*place);
            }
        }
        Ok(meant)
    }

    /// Whether an element is meant.
    ///
    /// # Errors
    /// 413 for more work than the budget holds.
    pub fn lists_value(&self, element: &Value, work: &WorkBudget) -> Result<bool, ScimError> {
        work.spend(STEPS_PER_LOOK_UP * self.forms.len() as u64)?;
        for form in self.forms.values() {
            let Some(said) = form.said.get(&form.key(self.attribute, element, work)?) else { continue };
            if form.sets.is_empty() {
                return Ok(true);
            }
            let own = form.sets_of(element, work)?;
            for sets in said {
                work.spend(STEPS_PER_LOOK_UP * sets.iter().map(HashSet::len).sum::<usize>() as u64)?;
                if sets.iter().zip(&own).all(|(said, own)| said.is_subset(own)) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

impl ListedShape<'_> {
    fn key(&self, attribute: &Attribute, element: &Value, work: &WorkBudget) -> Result<String, ScimError> {
        match element {
            Value::Object(object) => key_of(&self.subs, object, work),
            simple => key(attribute, simple, work),
        }
    }

    /// The keys of the values of each multi-valued sub-attribute.
    fn sets_of(&self, element: &Value, work: &WorkBudget) -> Result<Vec<HashSet<String>>, ScimError> {
        let values_of = |sub: &&Attribute| {
            let values = element.get(&sub.name).and_then(Value::as_array);
            values.into_iter().flatten().map(|value| key(sub, value, work)).collect()
        };
        self.sets.iter().map(values_of).collect()
    }
}

/// Tells an element what else is said of it.
type Join<'j> = dyn FnMut(&mut Map<String, Value>, Map<String, Value>) -> Result<(), ScimError> + 'j;

/// Adds simple values to a set.
///
/// # Errors
/// 413 for more work than the budget holds.
pub(super) fn add_to_set(
    attribute: &Attribute,
    own: &mut Vec<Value>,
    more: Vec<Value>,
    work: &WorkBudget,
) -> Result<(), ScimError> {
    add(attribute, own, more, work, &mut |_, _| Ok(()))?;
    Ok(())
}

/// Adds elements to a set. If the set has the same element by its [`identity`], `join` gives that one what else the
/// added one says.
/// Returns the places of the added elements, ascending.
///
/// # Errors
/// 413 for more work than the budget allows, and the errors of `join`.
pub(super) fn add(
    attribute: &Attribute,
    own: &mut Vec<Value>,
    mut more: Vec<Value>,
    work: &WorkBudget,
    join: &mut Join<'_>,
) -> Result<Vec<usize>, ScimError> {
    let mut put = |own: &mut Vec<Value>, place: Option<usize>, element: Value| {
        match (place.and_then(|place| own.get_mut(place)), element) {
            (Some(Value::Object(own)), Value::Object(mut element)) => {
                remove_common_subs(attribute, own, &mut element);
                join(own, element)?;
            }
            // A simple value that is there already.
            (Some(_), _) => {}
            (None, element) => own.push(element),
        }
        Ok(place.unwrap_or(own.len() - 1))
    };
    if more.len() == 1 {
        let Some(element) = more.pop() else { return Ok(Vec::new()) };
        let mut matcher = ElementMatcher::new(attribute, &element, work);
        let mut place = None;
        for (at, own) in own.iter().enumerate() {
            if matcher.matches(own)? {
                place = Some(at);
                break;
            }
        }
        return Ok(vec![put(own, place, element)?]);
    }
    let mut places: HashMap<String, usize> = HashMap::with_capacity(own.len() + more.len());
    for (place, element) in own.iter().enumerate() {
        places.entry(identity(attribute, element, work)?).or_insert(place);
    }
    let mut written = Vec::with_capacity(more.len());
    for element in more {
        let identity = identity(attribute, &element, work)?;
        let place = put(own, places.get(&identity).copied(), element)?;
        places.insert(identity, place);
        written.push(place);
    }
    written.sort_unstable();
    written.dedup();
    Ok(written)
}

#[cfg(test)]
pub(super) mod tests;
