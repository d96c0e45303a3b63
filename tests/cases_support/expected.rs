//! Whether an answer is the expected one, and where it is not.

use regex::Regex;
use serde_json::Value;

use super::names::{Names, placeholder};

/// What keys of one-member objects say instead of a value.
const UNORDERED: &str = "{unordered}";
const HOLDS: &str = "{holds}";
const EACH: &str = "{each}";

/// Compares, captures, and appends every difference to `differences`.
pub fn compare(expected: &Value, found: &Value, at: &str, names: &mut Names, differences: &mut Vec<String>) {
    match expected {
        Value::String(text) => compare_text(text, found, at, names, differences),
        Value::Object(object) if object.len() == 1 && object.contains_key(UNORDERED) => {
            unordered(&object[UNORDERED], found, at, names, differences);
        }
        Value::Object(object) if object.len() == 1 && object.contains_key(HOLDS) => {
            holds(&object[HOLDS], found, at, names, differences);
        }
        Value::Object(object) if object.len() == 1 && object.contains_key(EACH) => match found {
            Value::Array(elements) if !elements.is_empty() => {
                for (index, element) in elements.iter().enumerate() {
                    compare(&object[EACH], element, &format!("{at}[{index}]"), names, differences);
                }
            }
            _ => differences.push(format!("{at}: expected an array with elements, found {found}")),
        },
        Value::Object(object) => {
            let Value::Object(answered) = found else {
                return differences.push(format!("{at}: expected {expected}, found {found}"));
            };
            for (key, value) in object {
                let at = format!("{at}.{key}");
                match answered.get(key) {
                    Some(found) => compare(value, found, &at, names, differences),
                    None => differences.push(format!("{at}: expected {value}, found nothing")),
                }
            }
            for (key, value) in answered.iter().filter(|(key, _)| !object.contains_key(*key)) {
                differences.push(format!("{at}.{key}: expected nothing, found {value}"));
            }
        }
        Value::Array(elements) => match found {
            Value::Array(answered) if answered.len() == elements.len() => {
                for (index, (element, found)) in elements.iter().zip(answered).enumerate() {
                    compare(element, found, &format!("{at}[{index}]"), names, differences);
                }
            }
            Value::Array(answered) => differences.push(format!(
                "{at}: expected {} elements, found {}: {found}",
                elements.len(),
                answered.len()
            )),
            _ => differences.push(format!("{at}: expected {expected}, found {found}")),
        },
        _ if expected == found => {}
        _ => differences.push(format!("{at}: expected {expected}, found {found}")),
    }
}

/// The same elements in any order.
fn unordered(expected: &Value, found: &Value, at: &str, names: &mut Names, differences: &mut Vec<String>) {
    let (Value::Array(elements), Value::Array(answered)) = (expected, found) else {
        return differences.push(format!("{at}: expected an array of {expected}, found {found}"));
    };
    let mut left: Vec<&Value> = answered.iter().collect();
    for element in elements {
        match left.iter().position(|found| matches(element, found, names)) {
            Some(index) => compare(element, left.remove(index), at, names, differences),
            None => differences.push(format!("{at}: expected an element {element}, found {found}")),
        }
    }
    if elements.len() != answered.len() {
        differences.push(format!("{at}: expected {} elements, found {}", elements.len(), answered.len()));
    }
}

/// At least these members, or these elements in any order.
fn holds(expected: &Value, found: &Value, at: &str, names: &mut Names, differences: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(object), Value::Object(answered)) => {
            for (key, value) in object {
                let at = format!("{at}.{key}");
                match answered.get(key) {
                    Some(found) => compare(value, found, &at, names, differences),
                    None => differences.push(format!("{at}: expected {value}, found nothing")),
                }
            }
        }
        (Value::Array(elements), Value::Array(answered)) => {
            for element in elements {
                match answered.iter().find(|found| matches(element, found, names)) {
                    Some(found) => compare(element, found, at, names, differences),
                    None => differences.push(format!("{at}: expected an element {element}, found {found}")),
                }
            }
        }
        _ => differences.push(format!("{at}: expected {expected}, found {found}")),
    }
}

fn matches(expected: &Value, found: &Value, names: &Names) -> bool {
    let mut differences = Vec::new();
    compare(expected, found, "", &mut names.clone(), &mut differences);
    differences.is_empty()
}

fn compare_text(text: &str, found: &Value, at: &str, names: &mut Names, differences: &mut Vec<String>) {
    // Names are filled in here and not before: an answer may use what it has itself just named.
    let text = match names.value(&Value::String(text.to_owned())) {
        Ok(Value::String(text)) => text,
        Ok(value) if value == *found => return,
        Ok(value) => return differences.push(format!("{at}: expected {value}, found {found}")),
        Err(unknown) => return differences.push(format!("{at}: {unknown}")),
    };
    let text = text.as_str();
    let differs = || format!("{at}: expected \"{text}\", found {found}");
    if let Some(name) = placeholder(text).filter(|name| name.len() + 2 == text.len()) {
        let (form, capture) = name.split_once(':').unwrap_or((name, ""));
        if form == "any" {
            if found.is_null() {
                return differences.push(differs());
            }
            if !capture.is_empty() {
                names.set(capture, found.clone());
            }
            return;
        }
    }
    let Value::String(found_text) = found else { return differences.push(differs()) };
    let (pattern, captures) = pattern(text);
    // Most texts have no forms, and to make a regular expression takes longer than the request.
    if captures.is_empty() {
        if text != found_text {
            differences.push(differs());
        }
        return;
    }
    let Some(groups) = Regex::new(&pattern).ok().and_then(|regex| regex.captures(found_text)) else {
        return differences.push(differs());
    };
    for (index, capture) in captures.iter().enumerate() {
        if let (false, Some(group)) = (capture.is_empty(), groups.get(index + 1)) {
            names.set(capture, group.as_str().into());
        }
    }
}

/// A text with forms in it as a regular expression, and the name that each of its groups is kept as.
fn pattern(text: &str) -> (String, Vec<String>) {
    let (mut pattern, mut captures, mut rest) = ("(?s)^".to_owned(), Vec::new(), text);
    while let Some(open) = rest.find('{') {
        pattern.push_str(&regex::escape(&rest[..open]));
        let tail = &rest[open..];
        let form = placeholder(tail).and_then(|name| {
            let (form, capture) = name.split_once(':').unwrap_or((name, ""));
            let expression = match form {
                "any" | "text" => "(.+)",
                "id" => "([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})",
                "time" => "([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\\.[0-9]+)?Z)",
                "version" => "(W/\"[^\"]+\")",
                _ => return None,
            };
            Some((expression, capture, name.len() + 2))
        });
        match form {
            Some((expression, capture, length)) => {
                pattern.push_str(expression);
                captures.push(capture.to_owned());
                rest = &tail[length..];
            }
            None => {
                pattern.push_str(r"\{");
                rest = &tail[1..];
            }
        }
    }
    pattern.push_str(&regex::escape(rest));
    pattern.push('$');
    (pattern, captures)
}
