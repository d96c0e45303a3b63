use serde_json::json;

use super::*;
use crate::scim::error::ErrorKind::{self, InvalidFilter, InvalidValue, Mutability, NoTarget};
use crate::scim::patch::request;
use crate::scim::policy::{STANDARD, STRICT};
use crate::scim::resource_type::{Kind, Model};

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
        let net = change.net(&current, &WorkBudget::of_body())?;
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
