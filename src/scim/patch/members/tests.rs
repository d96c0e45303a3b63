use serde_json::json;

use super::*;
use crate::scim::error::ErrorKind::{self, InvalidFilter, InvalidSyntax, InvalidValue, Mutability, NoTarget};
use crate::scim::patch::request;
use crate::scim::policy::{STANDARD, STRICT};
use crate::scim::resource_type::{Kind, Model};

/// What is stored under an id.
fn stored_kind(id: &str) -> Kind {
    if id.starts_with('g') { Kind::Group } else { Kind::User }
}

/// What the caller finds out for [`MemberChange::net`].
fn identify(change: &MemberChange<'_>, current: &BTreeMap<String, Member>) -> BTreeMap<String, Kind> {
    let asked = change.members_to_identify(&WorkBudget::of_body()).into_keys();
    asked.filter(|id| !current.contains_key(id)).map(|id| (id.clone(), stored_kind(&id))).collect()
}

type Outcome = Result<(MembersToRead, Vec<String>, Vec<String>), ErrorKind>;

/// The group has the members a (a user shown as A) and g (a group).
fn net(policy: &'static Policy, operations: &Value) -> Outcome {
    let model = Model::new(policy, &[]).expect("a model");
    let groups = model.of(Kind::Group);
    let body =
        json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations });
    let run = || {
        let steps =
            request::parse(body.as_object().expect("an object"), groups, policy, &WorkBudget::of_body())?;
        let change = MemberChange::read(&steps, groups, policy, &WorkBudget::of_body())?;
        let touched = change.members_to_read();
        let mut current = BTreeMap::from([
            (
                "a".to_owned(),
                Member { id: "a".to_owned(), kind: Some(Kind::User), display: Some("A".to_owned()) },
            ),
            ("g".to_owned(), Member { id: "g".to_owned(), kind: Some(Kind::Group), display: None }),
        ]);
        if let MembersToRead::Ids(ids) = &touched {
            current.retain(|id, _| ids.contains(id));
        }
        let net = change.net(&current, &identify(&change, &current), &WorkBudget::of_body())?;
        Ok((touched, net.add.into_iter().map(|member| member.id).collect(), net.remove))
    };
    run().map_err(|error: ScimError| error.kind)
}

fn some(touched: &[&str], add: &[&str], remove: &[&str]) -> Outcome {
    let own = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    Ok((MembersToRead::Ids(own(touched).into_iter().collect()), own(add), own(remove)))
}

fn all(add: &[&str], remove: &[&str]) -> Outcome {
    some(&[], add, remove).map(|(_, add, remove)| (MembersToRead::All, add, remove))
}

fn ids(ids: &[&str]) -> Value {
    ids.iter().map(|id| json!({ "value": id })).collect()
}

fn assert_net<const N: usize>(rows: [(Value, Outcome); N]) {
    for (operations, expected) in rows {
        for policy in [&STANDARD, &STRICT] {
            assert_eq!(net(policy, &operations), expected, "{} {operations}", policy.name);
        }
    }
}

#[test]
fn members_are_added() {
    assert_net([
        (
            json!([{ "op": "add", "path": "members", "value": ids(&["b", "c", "b"]) }]),
            some(&["b", "c"], &["b", "c"], &[]),
        ),
        (json!([{ "op": "add", "path": "members", "value": ids(&["a"]) }]), some(&["a"], &[], &[])),
        (json!([{ "op": "add", "value": { "members": ids(&["b"]) } }]), some(&["b"], &["b"], &[])),
        (
            json!([{ "op": "add", "path": "members", "value": [{ "value": "a", "display": "Z" }] }]),
            some(&["a"], &[], &[]),
        ),
    ]);
}

#[test]
fn members_are_removed_by_a_filter() {
    assert_net([
        (json!([{ "op": "remove", "path": "members[value eq \"a\"]" }]), some(&["a"], &[], &["a"])),
        (json!([{ "op": "remove", "path": "members[value eq \"x\"]" }]), some(&["x"], &[], &[])),
        (
            json!([{ "op": "remove", "path": "members[value eq \"a\" or value eq \"x\"]" }]),
            some(&["a", "x"], &[], &["a"]),
        ),
        (
            json!([{ "op": "remove", "path": "members[value eq \"a\" and type eq \"Group\"]" }]),
            some(&["a"], &[], &[]),
        ),
        (
            json!([{ "op": "remove", "path": "members[$ref eq \"https://x/Users/a\"]" }]),
            some(&["a"], &[], &["a"]),
        ),
        (json!([{ "op": "remove", "path": "members[$ref co \"a\"]" }]), Err(InvalidFilter)),
        (json!([{ "op": "remove", "path": "members[type eq \"Group\"]" }]), all(&[], &["g"])),
        (json!([{ "op": "remove", "path": "members[display eq \"A\"]" }]), all(&[], &["a"])),
    ]);
}

#[test]
fn listed_members_are_removed_or_kept() {
    assert_net([
        // Of those that the filter selects, only who is listed goes.
        (
            json!([{ "op": "remove", "path": "members[value pr]", "value": ids(&["a", "x"]) }]),
            all(&[], &["a"]),
        ),
        (
            json!([{ "op": "remove", "path": "members[type eq \"Group\"]", "value": { "value": "a" } }]),
            all(&[], &[]),
        ),
        (
            json!([{ "op": "remove", "path": "members[value eq \"a\"]", "value": ids(&["g"]) }]),
            some(&[], &[], &[]),
        ),
        (
            json!([{ "op": "remove", "path": "members[value eq \"a\"]", "value": ids(&["a"]) }]),
            some(&["a"], &[], &["a"]),
        ),
        (
            json!([{ "op": "remove", "path": "members[value eq \"a\"]", "value": [] }]),
            some(&["a"], &[], &["a"]),
        ),
        (
            json!([{ "op": "Remove", "path": "members", "value": ids(&["a", "x"]) }]),
            some(&["a", "x"], &[], &["a"]),
        ),
        (json!([{ "op": "Remove", "path": "members", "value": [] }]), some(&[], &[], &[])),
        (json!([{ "op": "Remove", "path": "members" }]), all(&[], &["a", "g"])),
        (json!([{ "op": "replace", "path": "members", "value": [] }]), all(&[], &["a", "g"])),
        (json!([{ "op": "replace", "value": { "members": [] } }]), all(&[], &["a", "g"])),
        (json!([{ "op": "replace", "path": "members", "value": ids(&["a", "b"]) }]), all(&["b"], &["g"])),
    ]);
}

#[test]
fn steps_follow_one_another() {
    assert_net([
        (
            json!([
                { "op": "add", "path": "members", "value": ids(&["b"]) },
                { "op": "remove", "path": "members[value eq \"b\"]" },
                { "op": "remove", "path": "members[value eq \"a\"]" },
                { "op": "add", "path": "members", "value": ids(&["a", "c"]) },
            ]),
            some(&["a", "b", "c"], &["c"], &[]),
        ),
        (
            json!([
                { "op": "remove", "path": "members" },
                { "op": "add", "path": "members", "value": ids(&["g", "n"]) },
            ]),
            all(&["n"], &["a"]),
        ),
    ]);
}

#[test]
fn parts_of_members() {
    assert_net([
        (
            json!([{ "op": "replace", "path": "members[value eq \"a\"].display", "value": "A" }]),
            some(&["a"], &[], &[]),
        ),
        (
            json!([{ "op": "replace", "path": "members[value eq \"a\"].display", "value": "B" }]),
            some(&["a"], &[], &[]),
        ),
        (
            json!([{ "op": "replace", "path": "members[value eq \"a\"]", "value": { "value": "a", "display": "B" } }]),
            some(&["a"], &[], &[]),
        ),
        (
            json!([{ "op": "replace", "path": "members[value eq \"a\"]", "value": { "type": "Group", "display": "B" } }]),
            Err(Mutability),
        ),
        (json!([{ "op": "remove", "path": "members[value eq \"a\"].display" }]), Err(Mutability)),
        (json!([{ "op": "remove", "path": "members[value eq \"g\"].display" }]), some(&["g"], &[], &[])),
        (
            json!([{ "op": "add", "path": "members[value eq \"b\"]", "value": { "display": "B" } }]),
            some(&["b"], &["b"], &[]),
        ),
        (json!([{ "op": "replace", "path": "members.display", "value": "B" }]), Err(Mutability)),
        (
            json!([{ "op": "add", "path": "members[value eq \"b\"]", "value": { "value": "c" } }]),
            Err(InvalidValue),
        ),
        (
            json!([{ "op": "add", "path": "members[display co \"b\"]", "value": { "value": "c" } }]),
            Err(NoTarget),
        ),
        (json!([{ "op": "add", "path": "members", "value": [{ "display": "B" }] }]), Err(InvalidValue)),
        (json!([{ "op": "replace", "path": "displayName", "value": "H" }]), some(&[], &[], &[])),
    ]);
}

#[test]
fn what_only_tolerant_policies_accept() {
    for (value, ids) in
        [(json!("b"), vec!["b"]), (json!(["b", "c"]), vec!["b", "c"]), (json!({ "value": "b" }), vec!["b"])]
    {
        let operations = json!([{ "op": "add", "path": "members", "value": value }]);
        assert_eq!(net(&STANDARD, &operations), some(&ids, &ids, &[]), "{operations}");
        // One member, well formed, is added under every policy.
        let strict = if value.is_object() { some(&ids, &ids, &[]) } else { Err(InvalidValue) };
        assert_eq!(net(&STRICT, &operations), strict, "{operations}");
    }
    let operations = json!([{ "op": "replace", "path": "members[value eq \"b\"].display", "value": "B" }]);
    assert_eq!(net(&STANDARD, &operations), some(&["b"], &["b"], &[]));
    assert_eq!(net(&STRICT, &operations), Err(NoTarget));
}

/// What a step says of a member who is there already is read as it is when it makes the member.
#[test]
fn a_step_on_a_member_may_come_twice() {
    let step = |op: &str, id: &str, value: &Value| json!([{ "op": op, "path": format!("members[value eq \"{id}\"]"), "value": value }]);
    for (value, strict) in [
        (json!([{ "value": "ID" }]), Err(InvalidValue)),
        (json!(["ID"]), Err(InvalidValue)),
        (json!("ID"), Err(InvalidValue)),
        (json!({ "value": "ID", "shoe": 1 }), Err(InvalidSyntax)),
        (json!({ "value": "ID", "type": null }), Ok(())),
        (json!({ "VALUE": "ID", "$ref": null, "display": [] }), Ok(())),
        (json!({ "value": "ID", "$ref": "https://x/Users/ID", "type": "user" }), Ok(())),
        (json!({ "value": null, "display": "Z" }), Ok(())),
    ] {
        for (id, add) in [("a", &[][..]), ("b", &["b"][..])] {
            let value = serde_json::from_str(&value.to_string().replace("ID", id)).expect("JSON");
            for op in ["add", "replace"] {
                let operations = step(op, id, &value);
                assert_eq!(net(&STANDARD, &operations), some(&[id], add, &[]), "{operations}");
                let expected = match op {
                    "replace" if id == "b" => Err(NoTarget),
                    _ => strict.and_then(|()| some(&[id], add, &[])),
                };
                assert_eq!(net(&STRICT, &operations), expected, "strict: {operations}");
            }
        }
    }
    for (op, path, value, expected) in [
        ("replace", "members[value eq \"a\"]", json!([]), some(&["a"], &[], &["a"])),
        ("replace", "members[value eq \"a\"]", json!(null), some(&["a"], &[], &["a"])),
        ("add", "members[value eq \"a\"]", json!([]), some(&["a"], &[], &[])),
        ("replace", "members[value eq \"a\"].display", json!(5), Err(InvalidValue)),
        ("replace", "members[value eq \"a\"].type", json!(5), Err(InvalidValue)),
        ("replace", "members[value eq \"a\"].type", json!("Group"), Err(Mutability)),
        ("replace", "members[value eq \"a\"].value", json!("b"), Err(Mutability)),
        ("add", "members[value eq \"a\"]", json!({ "value": "a", "display": { "x": 1 } }), Err(InvalidValue)),
        ("add", "members[value eq \"a\"]", json!({ "$ref": "https://x/Groups/g" }), Err(Mutability)),
    ] {
        let operations = json!([{ "op": op, "path": path, "value": value }]);
        assert_eq!(net(&STANDARD, &operations), expected, "{operations}");
    }
    for (path, value) in [("", json!(null)), (".display", json!(null)), ("", json!({ "value": "x" }))] {
        let path = format!("members[value eq \"x\"]{path}");
        let operations = json!([{ "op": "replace", "path": path, "value": value }]);
        assert_eq!(net(&STRICT, &operations), Err(NoTarget), "{operations}");
    }
}

type Members = BTreeMap<String, Member>;

/// The members after one PATCH.
fn members_after(
    policy: &'static Policy,
    before: &Members,
    operations: &Value,
) -> Result<Members, ErrorKind> {
    let model = Model::new(policy, &[]).expect("a model");
    let groups = model.of(Kind::Group);
    let body =
        json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations });
    let work = WorkBudget::of_body();
    let run = || {
        let steps = request::parse(body.as_object().expect("an object"), groups, policy, &work)?;
        let change = MemberChange::read(&steps, groups, policy, &work)?;
        let mut current = before.clone();
        if let MembersToRead::Ids(ids) = change.members_to_read() {
            current.retain(|id, _| ids.contains(id));
        }
        change.net(&current, &identify(&change, &current), &work)
    };
    let net = run().map_err(|error: ScimError| error.kind)?;
    let mut after = before.clone();
    after.retain(|id, _| !net.remove.contains(id));
    for member in net.add {
        let kind = Some(stored_kind(&member.id));
        after.insert(member.id.clone(), Member { kind, ..member });
    }
    Ok(after)
}

/// What a member is decides the table, not the client. So the operations of one PATCH do the same as if each was sent on
/// its own (RFC 7644 §3.5.2). The group has the members a (a user) and g (a group) before.
#[test]
fn a_filter_sees_what_the_members_are_that_an_earlier_operation_adds() {
    let add = |value: Value| json!({ "op": "add", "path": "members", "value": value });
    let replace = |value: Value| json!({ "op": "replace", "path": "members", "value": value });
    let on = |op: &str, rest: &str, value: Value| json!({ "op": op, "path": format!("members{rest}"), "value": value });
    let gone = |rest: &str| json!({ "op": "remove", "path": format!("members{rest}") });
    let (users, teams) = (r#"[type eq "User"]"#, r#"[type eq "Group"]"#);
    for (operations, expected) in [
        (vec![add(ids(&["b"])), gone(users)], Ok(vec!["g"])),
        (vec![add(ids(&["b"])), gone(teams)], Ok(vec!["a", "b"])),
        (vec![add(ids(&["b"])), gone(r#"[not (type eq "Group")]"#)], Ok(vec!["g"])),
        (vec![add(ids(&["b", "g2"])), gone("[type pr]")], Ok(vec![])),
        (vec![add(json!([{ "value": "g2", "type": "User" }])), gone(users)], Ok(vec!["g", "g2"])),
        (vec![add(json!([{ "$ref": "https://x/Groups/b" }])), gone(teams)], Ok(vec!["a", "b"])),
        (vec![replace(ids(&["b"])), on("add", r#"[type eq "User"].display"#, json!("B"))], Ok(vec!["b"])),
        (
            vec![replace(ids(&["g2"])), on("add", r#"[type eq "User"].display"#, json!("B"))],
            Err(InvalidValue),
        ),
        (vec![gone(""), add(ids(&["b", "g2"])), gone(r#"[type ne "User"]"#)], Ok(vec!["b"])),
        (vec![add(ids(&["b"])), gone(r#"[value eq "b" and type eq "Group"]"#)], Ok(vec!["a", "b", "g"])),
        (vec![add(ids(&["b"])), gone(r#"[value eq "b" and type eq "User"]"#)], Ok(vec!["a", "g"])),
        // A member who goes and comes again.
        (
            vec![gone(r#"[value eq "g"]"#), add(json!([{ "value": "g", "type": "User" }])), gone(users)],
            Ok(vec!["g"]),
        ),
        // A member that a filter describes.
        (
            vec![on("add", r#"[value eq "g2" and type eq "User"].display"#, json!("G")), gone(users)],
            Ok(vec!["g", "g2"]),
        ),
        // A value says what the member is.
        (
            vec![
                add(json!([{ "value": "b", "type": "Group" }])),
                on("replace", r#"[value eq "b"]"#, json!({ "type": "User" })),
            ],
            Ok(vec!["a", "b", "g"]),
        ),
        (
            vec![add(ids(&["b"])), on("replace", r#"[value eq "b"]"#, json!({ "Type": "Group" }))],
            Err(Mutability),
        ),
        (vec![add(ids(&["b"])), on("replace", r#"[value eq "b"].type"#, json!("Group"))], Err(Mutability)),
        (vec![add(ids(&["b"])), gone(r#"[value eq "b"].type"#)], Err(Mutability)),
    ] {
        let before: Members = ["a", "g"]
            .map(|id| (id.to_owned(), Member { kind: Some(stored_kind(id)), ..Member::of_id(id) }))
            .into();
        for policy in [&STANDARD, &STRICT] {
            let together = members_after(policy, &before, &json!(operations));
            let one_by_one = operations.iter().try_fold(before.clone(), |members, operation| {
                members_after(policy, &members, &json!([operation]))
            });
            assert_eq!(together, one_by_one, "{} {operations:?}", policy.name);
            let found = together.map(|members| members.into_keys().collect::<Vec<String>>());
            let expected =
                expected.clone().map(|ids| ids.into_iter().map(str::to_owned).collect::<Vec<String>>());
            assert_eq!(found, expected, "{} {operations:?}", policy.name);
        }
    }
}

#[test]
fn members_are_identified_only_for_a_later_operation_that_asks_what_they_are() {
    let model = Model::new(&STANDARD, &[]).expect("a model");
    let groups = model.of(Kind::Group);
    let add = |names: &[&str]| json!({ "op": "add", "path": "members", "value": ids(names) });
    let replace = |names: &[&str]| json!({ "op": "replace", "path": "members", "value": ids(names) });
    let gone = |rest: &str| json!({ "op": "remove", "path": format!("members[{rest}]") });
    let named = |name: &str| json!({ "op": "add", "path": format!("members[value eq \"{name}\"].display"), "value": "N" });
    let users = "type eq \"User\"";
    let with_urn = "urn:ietf:params:scim:schemas:core:2.0:Group:members.TYPE EQ \"user\"";
    for (operations, expected) in [
        (json!([add(&["b"])]), vec![]),
        (json!([add(&["b"]), gone("value eq \"b\"")]), vec![]),
        (json!([add(&["b"]), gone("display eq \"B\"")]), vec![]),
        (json!([gone(users), add(&["b"])]), vec![]),
        (json!([add(&["b"]), gone("value eq \"c\" and type eq \"User\"")]), vec![]),
        (json!([add(&["b", "c"]), gone("value eq \"c\" and type eq \"User\"")]), vec!["c"]),
        (json!([add(&["b", "c"]), gone(users), add(&["d"])]), vec!["b", "c"]),
        (json!([add(&["b"]), gone(users), add(&["d"]), gone("not (type pr)")]), vec!["b", "d"]),
        (json!([add(&["b"]), replace(&["c"]), gone(with_urn)]), vec!["c"]),
        (json!([named("b"), gone("display co \"x\" or type eq \"User\"")]), vec!["b"]),
    ] {
        let body =
            json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations });
        let work = WorkBudget::of_body();
        let steps = request::parse(body.as_object().expect("an object"), groups, &STANDARD, &work);
        let change = steps.and_then(|steps| MemberChange::read(&steps, groups, &STANDARD, &work));
        let change = change.expect("steps on members");
        let asked: Vec<String> = change.members_to_identify(&work).into_keys().collect();
        assert_eq!(asked, expected, "{operations}");
    }
}
