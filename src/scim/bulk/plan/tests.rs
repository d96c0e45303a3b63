use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::scim::bulk::request::read;
use crate::scim::policy::STANDARD;
use crate::scim::resource_type::Kind;

const ID: &str = "019aaf5c-8b40-7c3e-9d52-6f1b2a3c4d5e";

fn user(bulk_id: &str, name: &str) -> Value {
    json!({ "method": "POST", "path": "/Users", "bulkId": bulk_id, "data": { "userName": name } })
}

fn group(bulk_id: &str, members: &[&str]) -> Value {
    let members: Vec<_> = members.iter().map(|member| json!({ "value": member })).collect();
    let data = json!({ "displayName": bulk_id, "members": members });
    json!({ "method": "POST", "path": "/Groups", "bulkId": bulk_id, "data": data })
}

fn patch(path: &str, operation: &Value) -> Value {
    json!({ "method": "PATCH", "path": path, "data": { "Operations": [operation] } })
}

/// `0 1<0 (2 3)<0,1`: units by their operations, and the units that they wait for.
fn planned(operations: &[Value]) -> String {
    planned_by(operations, &TenantState::default())
}

fn planned_by(operations: &[Value], rules: &TenantState) -> String {
    let body = json!({ "Operations": operations });
    let request = read(body.as_object().expect("an object"), &STANDARD).expect("a request");
    let list = |numbers: &mut dyn Iterator<Item = usize>, by: &str| {
        numbers.map(|n| n.to_string()).collect::<Vec<_>>().join(by)
    };
    let model = Model::new(&STANDARD, &[]).expect("a model");
    let shown = Plan::new(&request, &model, rules).units.into_iter().map(|unit| {
        let mut text = list(&mut unit.operations.iter().copied(), " ");
        if unit.circular {
            text = format!("({text})");
        }
        if !unit.after.is_empty() {
            text = format!("{text}<{}", list(&mut unit.after.into_iter(), ","));
        }
        text
    });
    shown.collect::<Vec<_>>().join(" ")
}

fn assert_plans<const N: usize>(rows: [(&str, Vec<Value>, &str); N]) {
    let found: Vec<_> = rows.iter().map(|(about, operations, _)| (*about, planned(operations))).collect();
    let expected: Vec<_> = rows.iter().map(|(about, _, expected)| (*about, (*expected).to_owned())).collect();
    assert_eq!(found, expected);
}

#[test]
fn references_decide_the_order() {
    assert_plans([
        ("independent", vec![user("a", "A"), user("b", "B"), group("g", &[])], "0 1 2"),
        ("backward", vec![user("a", "A"), group("g", &["bulkId:a"])], "0 1<0"),
        ("forward", vec![group("g", &["bulkId:a"]), user("b", "B"), user("a", "A")], "1 2 0<1"),
        (
            "a chain forward",
            vec![group("g", &["bulkId:h"]), group("h", &["bulkId:a"]), user("a", "A")],
            "2 1<0 0<1",
        ),
        (
            "a circle, and what needs it",
            vec![
                group("g", &["bulkId:h"]),
                group("h", &["bulkId:g", "bulkId:a"]),
                group("i", &["bulkId:g"]),
                user("a", "A"),
            ],
            "3 (0 1)<0 2<1",
        ),
        ("of itself", vec![group("g", &["bulkId:g"])], "(0)"),
        ("an unknown name waits for nothing", vec![group("g", &["bulkId:x"])], "0"),
    ]);
}

#[test]
fn names_and_resources_decide_the_order() {
    let title = json!({ "op": "replace", "path": "title", "value": "t" });
    let rename = |to: &str| json!({ "op": "replace", "path": "userName", "value": to });
    let bare = |to: &str| json!({ "op": "replace", "value": { "USERNAME": to } });
    let join = json!({ "op": "add", "path": "members", "value": [{ "value": ID }] });
    let leave = json!({ "op": "remove", "path": format!("members[value eq \"{ID}\"]") });
    let of_id = format!("/Users/{ID}");
    let delete = |path: &str| json!({ "method": "DELETE", "path": path });
    assert_plans([
        ("names that fold alike", vec![user("a", "Straße"), user("b", "B"), user("c", "STRASSE")], "0 1 2<0"),
        ("names of two kinds", vec![user("a", "x"), group("x", &[])], "0 1"),
        (
            "a rename",
            vec![patch("/Users/1", &rename("A")), user("a", "a"), patch("/Users/2", &bare("A"))],
            "0 1<0 2<1",
        ),
        (
            "creations beside changes, whose names nobody holds",
            vec![
                user("a", "A"),
                patch("/Users/1", &title),
                group("g", &[]),
                user("b", "B"),
                delete("/Users/2"),
            ],
            "0 1 2 3 4",
        ),
        (
            "one resource",
            vec![patch("/Users/1", &title), patch("/Users/2", &title), delete("/Users/1")],
            "0 1 2<0",
        ),
        (
            "a path by bulkId",
            vec![
                patch("/Users/bulkId:a", &title),
                user("a", "A"),
                delete("/Users/bulkId:a"),
                group("g", &["bulkId:a"]),
            ],
            "1 0<0 2<0,1 3<0,2",
        ),
        (
            "mentions run side by side, changes alone",
            vec![
                patch("/Groups/1", &join),
                patch("/Groups/2", &leave),
                delete(&of_id),
                patch("/Groups/3", &join),
            ],
            "0 1 2<0,1 3<2",
        ),
    ]);
}

#[test]
fn who_holds_a_name_decides_the_order() {
    let rename = |to: Value| json!({ "op": "replace", "path": "userName", "value": to });
    let email = json!({ "op": "replace", "path": "emails[type eq \"work\"].value", "value": "A" });
    let primary = json!({ "op": "replace", "path": "emails[type eq \"home\"].primary", "value": true });
    let join = |id: &str| json!({ "op": "add", "path": "members", "value": [{ "value": id }] });
    let delete = |path: &str| json!({ "method": "DELETE", "path": path });
    let put = |path: &str, name: &str| json!({ "method": "PUT", "path": path, "data": { "userName": name } });
    let with_email = |bulk_id: &str, value: &str| {
        let mut user = user(bulk_id, bulk_id);
        user["data"]["emails"] = json!([{ "type": "work", "value": value }]);
        user
    };
    let holder = &format!("/Users/{ID}");
    let a = || rename("a".into());
    let wrapped = rename(json!([{ "$ref": null, "value": "A" }]));
    let holders = BTreeMap::from([((Kind::User, "a".to_owned()), ID.to_owned())]);
    let state = TenantState { holders, names_follow_emails: true, ..TenantState::default() };
    for (operations, expected) in [
        // The holder gives the name up, before and after another one asks for it.
        (vec![patch("/Users/1", &a()), patch(holder, &rename("b".into()))], "0 1<0"),
        (vec![put(holder, "b"), put("/Users/1", "a"), put("/Users/2", "c")], "0 1<0 2"),
        (vec![delete(holder), user("b", "a"), user("c", "c")], "0 1<0 2"),
        (vec![patch(holder, &rename("b".into())), patch("/Users/1", &wrapped)], "0 1<0"),
        // An email alone is no name.
        (vec![delete(holder), with_email("b", "A")], "0 1"),
        // A deactivated account comes back under its id.
        (vec![user("b", "a"), patch("/Groups/1", &join(ID)), patch("/Groups/2", &join(ID))], "0 1<0 2<0"),
        // The name that it has, and names that nobody has.
        (vec![put(holder, "a"), put("/Users/1", "b"), delete("/Users/2"), user("c", "c")], "0 1 2 3"),
        // Any name may become that of another email.
        (vec![put("/Users/1", "b"), patch("/Users/2", &primary), put("/Users/3", "c")], "0 1<0 2<1"),
        (vec![patch("/Users/1", &email), patch("/Users/2", &wrapped), delete("/Groups/9")], "0 1<0 2"),
        // A later creation is brought forward, but not before what sets its name free.
        (vec![patch("/Groups/1", &join("bulkId:b")), delete(holder), user("b", "a")], "1 2<0 0<1"),
        (
            vec![patch("/Groups/1", &join("bulkId:b")), patch("/Groups/1", &join(ID)), user("b", "b")],
            "2 0<0 1<1",
        ),
    ] {
        assert_eq!(planned_by(&operations, &state), expected, "{operations:?}");
    }
}

#[test]
fn names_that_the_request_gives_decide_the_order() {
    let rename = |to: Value| json!({ "op": "replace", "path": "userName", "value": to });
    let title = json!({ "op": "replace", "path": "title", "value": "t" });
    let delete = |path: &str| json!({ "method": "DELETE", "path": path });
    let holder = &format!("/Users/{ID}");
    let holders = BTreeMap::from([((Kind::User, "a".to_owned()), ID.to_owned())]);
    let state = TenantState { holders, ..TenantState::default() };
    for (operations, expected) in [
        // Names that the request gives and sets free again.
        (vec![user("a", "x"), delete("/Users/bulkId:a"), user("b", "x"), user("c", "c")], "0 1<0 2<1 3"),
        (vec![user("a", "x"), patch("/Users/bulkId:a", &rename("y".into())), user("b", "x")], "0 1<0 2<1"),
        (
            vec![
                patch("/Users/1", &rename("x".into())),
                patch("/Users/1", &rename("y".into())),
                user("b", "x"),
            ],
            "0 1<0 2<1",
        ),
        // A deactivated account that comes back has two names.
        (
            vec![user("b", "a"), patch("/Users/bulkId:b", &rename("a".into())), patch(holder, &title)],
            "0 1<0 2<1",
        ),
        // More names than are read.
        (
            vec![
                patch("/Users/1", &rename((0..9).map(|at| json!(at.to_string())).collect())),
                delete("/Users/2"),
                user("b", "b"),
                patch("/Users/3", &title),
            ],
            "0 1<0 2<0 3",
        ),
    ] {
        assert_eq!(planned_by(&operations, &state), expected, "{operations:?}");
    }
}

#[test]
fn the_rules_of_a_tenant_decide_the_order() {
    const ROOT: &str = "019aaf5c-8b40-7c3e-9d52-6f1b2a3c4d00";
    let delete = |path: &str| json!({ "method": "DELETE", "path": path });
    let active = json!({ "op": "replace", "path": "active", "value": false });
    let join = json!({ "op": "add", "path": "members", "value": [{ "value": ID }] });
    let operations = [
        patch(&format!("/Groups/{ROOT}"), &join),
        delete("/Users/admin"),
        delete("/Users/1"),
        delete(&format!("/Users/{ID}")),
        patch("/Users/2", &active),
    ];
    let administrators = BTreeSet::from([ROOT.to_owned(), "admin".to_owned()]);
    let rules = TenantState { administrators: administrators.clone(), ..TenantState::default() };
    assert_eq!(planned_by(&operations, &rules), "0 1<0 2 3<0,1 4");
    let rules = TenantState { administrators, limits_deactivations: true, ..TenantState::default() };
    assert_eq!(planned_by(&operations, &rules), "0 1<0 2<1 3<0,1,2 4<3");
    let versioned = |path: &str| {
        let mut operation = patch(path, &join);
        operation["version"] = "W/\"1\"".into();
        operation
    };
    assert_plans([(
        "a deletion raises the versions of groups",
        vec![delete("/Users/1"), versioned("/Groups/2"), patch("/Groups/3", &join), delete("/Users/4")],
        "0 1<0 2 3<1",
    )]);
    let mut delete_group = delete("/Groups/2");
    delete_group["version"] = "W/\"1\"".into();
    assert_plans([(
        "a deletion on condition of the version of a group",
        vec![delete("/Users/1"), delete_group, delete("/Users/4")],
        "0 1<0 2<1",
    )]);
}

#[test]
fn the_longest_chain_is_planned() {
    let groups: Vec<Value> =
        (0..1000).map(|at| group(&format!("g{at}"), &[&format!("bulkId:g{}", at + 1)])).collect();
    assert!(planned(&groups).ends_with(" 0<998"));
}
