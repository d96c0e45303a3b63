//! Under each policy, a PATCH is refused or makes a document that a client could have written. Read as the body
//! of a PUT, the document stays the same.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rollcall::scim::document_rules::{check_required, check_size, check_username_and_email};
use rollcall::scim::error::ScimError;
use rollcall::scim::members::{MEMBERS, Member};
use rollcall::scim::patch::apply::apply;
use rollcall::scim::patch::members::MemberChange;
use rollcall::scim::patch::request::{PatchStep, parse};
use rollcall::scim::patch::group_attributes::check_group_attributes;
use rollcall::scim::patch::sync_username_and_email::sync_username_and_email;
use rollcall::scim::resource::document;
use rollcall::scim::resource_type::{Kind, Model};
use rollcall::scim::validate::read;
use rollcall::scim::work::WorkBudget;
use serde_json::{Map, Value, json};

static MODELS: LazyLock<Vec<Model>> = LazyLock::new(|| Model::all(&[]).expect("the models"));
static RESOURCES: LazyLock<[Map<String, Value>; 2]> = LazyLock::new(|| {
    [include_str!("user.json"), include_str!("group.json")]
        .map(|text| serde_json::from_str(text).expect("a resource"))
});

/// The document that a PATCH makes of a resource, as the provider goes about it.
fn patched(body: &Map<String, Value>, model: &Model, kind: Kind) -> Result<Map<String, Value>, ScimError> {
    let (resource_type, policy) = (model.of(kind), model.policy);
    let whole = &RESOURCES[usize::from(kind == Kind::Group)];
    let steps = parse(body, resource_type, policy, &WorkBudget::of_body())?;
    let of_members = |step: &PatchStep| kind == Kind::Group && step.attribute() == Some(MEMBERS);
    let (member_steps, steps): (Vec<PatchStep>, Vec<PatchStep>) = steps.into_iter().partition(of_members);
    let work = WorkBudget::of_body();
    let members = MemberChange::read(&member_steps, resource_type, policy, &work)?;
    members.members_to_read();
    let mut after = whole.clone();
    apply(&mut after, &steps, resource_type, policy, &work)?;
    check_group_attributes(whole, &after, resource_type, policy)?;
    if kind == Kind::User {
        sync_username_and_email(whole, &mut after, (resource_type, policy), &work)?;
    }
    let current = ["a", "b", "c"].map(|id| (id.to_owned(), Member::of_id(id)));
    let current = BTreeMap::from(current);
    members.members_to_identify(&work);
    let net = members.net(&current, &BTreeMap::new(), &work)?;
    assert!(net.add.iter().all(|member| !current.contains_key(&member.id)));
    assert!(net.remove.iter().all(|id| current.contains_key(id)));
    let document = document(&after, resource_type);
    check_required(&document, resource_type)?;
    if kind == Kind::User {
        check_username_and_email(&document, policy)?;
    }
    check_size(&document)?;
    Ok(document)
}

fuzz_target!(|input: &str| {
    // A list of operations, or the whole body.
    let body = match serde_json::from_str(input) {
        Ok(Value::Object(body)) => body,
        Ok(operations) => {
            let schemas = json!(["urn:ietf:params:scim:api:messages:2.0:PatchOp"]);
            Map::from_iter([("schemas".to_owned(), schemas), ("Operations".to_owned(), operations)])
        }
        Err(_) => return,
    };
    for model in MODELS.iter() {
        for kind in Kind::ALL {
            let Ok(made) = patched(&body, model, kind) else { continue };
            let mut again = made.clone();
            again.insert("schemas".to_owned(), json!([model.of(kind).schema.id]));
            let again = read(&again, model.of(kind), model.policy, &WorkBudget::of_body());
            assert_eq!(again.as_ref(), Ok(&made), "{} {}", model.policy.name, kind.name());
        }
    }
});
