//! In which order the rows of an import are written. This file is pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::rows::Row;
use crate::scim::resource_type::Kind;
use crate::scim::urn;

/// Sorts rows into levels. A row stands above all earlier rows that it needs: its members, its manager, the teams of
/// its roles, and rows of the same name. So the rows of one level can be written side by side. `name_of` is what a
/// row is recognised by. Rows that cannot be read are in no level.
pub fn levels(
    rows: &[Row],
    name_of: impl Fn(Kind, &Map<String, Value>) -> Option<String>,
) -> Vec<Vec<usize>> {
    let (mut by_id, mut by_name) = (BTreeMap::new(), BTreeMap::new());
    let mut levels: Vec<Vec<usize>> = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let Ok((kind, body)) = &row.resource else { continue };
        let id = body.get("id").and_then(Value::as_str);
        let name = name_of(*kind, body).map(|name| (*kind, name));
        let needed = needs(body).into_iter().chain(id).filter_map(|id| by_id.get(id));
        let same = name.as_ref().and_then(|name| by_name.get(name));
        let level = needed.chain(same).max().map_or(0, |below: &usize| below + 1);
        by_id.extend(id.map(|id| (id, level)));
        by_name.extend(name.map(|name| (name, level)));
        if levels.len() <= level {
            levels.resize(level + 1, Vec::new());
        }
        levels[level].push(at);
    }
    levels
}

/// The ids that a resource names.
fn needs(body: &Map<String, Value>) -> BTreeSet<&str> {
    let members = body.get("members").and_then(Value::as_array).into_iter().flatten();
    let roles = body.get(urn::ROLLCALL_GROUP).and_then(|own| own["assignments"].as_array());
    let teams = roles.into_iter().flatten().filter_map(|role| role["team"].as_str());
    let manager = body.get(urn::ENTERPRISE_USER).and_then(|own| own["manager"]["value"].as_str());
    let members = members.filter_map(|member| member["value"].as_str());
    let own = body.get("id").and_then(Value::as_str);
    members.chain(teams).chain(manager).filter(|id| Some(*id) != own).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::admin::transfer::rows::json_lines;

    #[test]
    fn a_row_stands_above_what_it_needs() {
        let user = |id: &str, more: Value| {
            let mut user = json!({ "schemas": [urn::USER], "id": id, "userName": id });
            user.as_object_mut()
                .into_iter()
                .for_each(|user| user.extend(more.as_object().cloned().unwrap_or_default()));
            user
        };
        let group = |id: &str, members: &[&str], team: &str| {
            let members: Vec<Value> = members.iter().map(|member| json!({ "value": member })).collect();
            json!({ "schemas": [urn::GROUP], "id": id, "displayName": id, "members": members,
                urn::ROLLCALL_GROUP: { "assignments": [{ "team": team, "role": "member" }] } })
        };
        let managed = |by: &str| json!({ urn::ENTERPRISE_USER: { "manager": { "value": by } } });
        let lines = [
            user("a", json!({})),
            user("b", managed("a")),
            user("c", managed("d")),
            user("d", json!({})),
            user("e", json!({ "userName": "a" })),
            group("g", &["a", "b"], "g"),
            group("h", &["g", "h"], "h"),
            group("i", &["d"], "j"),
            group("j", &[], "j"),
        ];
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let name = |_: Kind, body: &Map<String, Value>| {
            let name = body.get("userName").or_else(|| body.get("displayName"));
            name.and_then(Value::as_str).map(str::to_owned)
        };
        let found = levels(&json_lines(&text).rows, name);
        assert_eq!(
            found,
            [vec![0, 2, 3, 8], vec![1, 4, 7], vec![5], vec![6]],
            "later rows are not waited for"
        );
    }
}
