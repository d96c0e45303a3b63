//! Keeps `userName` and the primary email equal, under policies that require it.

use serde_json::{Map, Value};

use crate::limits::MAX_NAME_CHARS;
use crate::scim::document_rules::primary_email;
use crate::scim::equality::merge_into_equal;
use crate::scim::error::ScimError;
use crate::scim::note_texts::{NoteKind, Rule};
use crate::scim::policy::Policy;
use crate::scim::resource_type::ResourceType;
use crate::scim::username::canonical;
use crate::scim::values::{is_blank, is_primary};
use crate::scim::work::WorkBudget;

/// Writes a new `userName` into the primary email, or a new primary email into `userName`, if a PATCH changed only
/// one of them. Microsoft Entra ID changes them in two operations, and sometimes only one. It does nothing if both
/// changed, or if they were not equal before.
/// [`check_username_and_email`](crate::scim::document_rules::check_username_and_email) refuses what is then unequal.
/// An email that is the same as the primary one then is merged with it (RFC 7643 §2.4). `users` is the type of users.
///
/// # Errors
/// `invalidValue` if the new `userName` is not an email address, or is too long; the error of [`WorkBudget::spend`].
pub fn sync_username_and_email(
    before: &Map<String, Value>,
    after: &mut Map<String, Value>,
    (users, policy): (&ResourceType, &Policy),
    work: &WorkBudget,
) -> Result<(), ScimError> {
    if !policy.user_name_is_primary_email {
        return Ok(());
    }
    let (Some(old_name), Some(old_email)) = (user_name(before), email(before)) else { return Ok(()) };
    let (Some(name), Some(email)) = (user_name(after), email(after)) else { return Ok(()) };
    if canonical(old_name) != canonical(old_email) {
        return Ok(());
    }
    let moved = (canonical(old_name) != canonical(name), canonical(old_email) != canonical(email));
    let address = match moved {
        // A name that is missing is refused as such.
        (true, false) if is_blank(name) => return Ok(()),
        (true, false) => name.to_owned(),
        (false, true) => email.to_owned(),
        _ => return Ok(()),
    };
    if !is_email(&address) {
        let detail = "userName must match the email marked as primary, so it must be an email address.";
        return Err(ScimError::invalid_value(detail).by(Rule::UserNameIsEmail, "userName"));
    }
    if address.chars().count() > MAX_NAME_CHARS {
        return Err(ScimError::invalid_value(format!(
            "Attribute userName must be at most {MAX_NAME_CHARS} characters long."
        )));
    }
    work.notes.add(NoteKind::Followed, if moved.1 { "userName" } else { "emails.value" });
    if moved.1 {
        after.insert("userName".to_owned(), address.into());
    } else if let Some(Value::Array(emails)) = after.get_mut("emails")
        && let Some(place) = emails.iter().position(is_primary)
        && let Some(Value::Object(primary)) = emails.get_mut(place)
        && let Some(attribute) = users.core_attribute("emails")
    {
        primary.insert("value".to_owned(), address.into());
        merge_into_equal(attribute, emails, place, work)?;
    }
    Ok(())
}

fn user_name(user: &Map<String, Value>) -> Option<&str> {
    user.get("userName")?.as_str()
}

fn email(user: &Map<String, Value>) -> Option<&str> {
    primary_email(user)?.get("value")?.as_str()
}

fn is_email(text: &str) -> bool {
    let parts = text.rsplit_once('@');
    parts.is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
        && !text.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scim::document_rules::{check_required, check_username_and_email};
    use crate::scim::error::ErrorKind::{InvalidValue, Mutability};
    use crate::scim::patch::apply::apply;
    use crate::scim::patch::request::parse;
    use crate::scim::policy::{STANDARD, VEZA};
    use crate::scim::resource_type::{Kind, Model};

    fn map(value: &Value) -> Map<String, Value> {
        value.as_object().cloned().expect("an object")
    }

    fn user(name: &str, emails: &[(&str, bool)]) -> Value {
        let emails: Vec<_> =
            emails.iter().map(|(v, primary)| json!({ "value": v, "primary": primary })).collect();
        json!({ "userName": name, "emails": emails })
    }

    #[test]
    fn the_one_that_did_not_change_follows() {
        let old = user("a@x", &[("A@x", true), ("c@x", false)]);
        for (before, after, expected) in [
            (old.clone(), user("b@x", &[("A@x", true)]), Ok(user("b@x", &[("b@x", true)]))),
            (old.clone(), user("a@x", &[("b@x", true)]), Ok(user("b@x", &[("b@x", true)]))),
            (
                old.clone(),
                user("a@x", &[("A@x", false), ("c@x", true)]),
                Ok(user("c@x", &[("A@x", false), ("c@x", true)])),
            ),
            (old.clone(), user("b@x", &[("c@x", true)]), Ok(user("b@x", &[("c@x", true)]))),
            (old.clone(), user("A@X", &[("a@x", true)]), Ok(user("A@X", &[("a@x", true)]))),
            (old.clone(), user("b@x", &[]), Ok(user("b@x", &[]))),
            (old.clone(), user("bob", &[("A@x", true)]), Err(InvalidValue)),
            (old.clone(), user("a@x", &[("bob", true)]), Err(InvalidValue)),
            (old.clone(), user("b b@x", &[("a@x", true)]), Err(InvalidValue)),
            // Two that never were the same go their own ways.
            (user("a", &[("c@x", true)]), user("b", &[("c@x", true)]), Ok(user("b", &[("c@x", true)]))),
            // Two that become the same are one.
            (old.clone(), user("c@x", &[("A@x", true), ("c@x", false)]), Ok(user("c@x", &[("c@x", true)]))),
        ] {
            let sync = |policy: &'static Policy| {
                let mut found = map(&after);
                let model = Model::new(policy, &[]).expect("a model");
                let users = model.of(Kind::User);
                let work = WorkBudget::of_body();
                sync_username_and_email(&map(&before), &mut found, (users, policy), &work)
                    .map(|()| Value::Object(found))
            };
            assert_eq!(sync(&VEZA).map_err(|e| e.kind), expected, "{before} {after}");
            assert_eq!(sync(&STANDARD), Ok(after.clone()));
        }
    }

    #[test]
    fn a_whole_patch_is_judged_by_its_final_state() {
        let before = json!({
            "userName": "a@x", "displayName": "A", "name": { "givenName": "A", "familyName": "X" },
            "emails": [{ "value": "a@x", "type": "work", "primary": true }, { "value": "h@x", "type": "home" }],
        });
        let name = |value: &str| json!({ "op": "Replace", "path": "userName", "value": value });
        let email = |value: &str| json!({ "op": "Replace", "path": "emails[type eq \"work\"].value", "value": value });
        let remove = |path: &str| json!({ "op": "remove", "path": path });
        for (operations, expected) in [
            (json!([name("b@x")]), Ok("b@x b@x")),
            (json!([email("b@x")]), Ok("b@x b@x")),
            (json!([name("b@x"), email("B@X")]), Ok("b@x B@X")),
            (json!([email("b@x"), name("b@x")]), Ok("b@x b@x")),
            (json!([email("b@x"), name("c@x")]), Err(InvalidValue)),
            (json!([name("bob")]), Err(InvalidValue)),
            (
                json!([{ "op": "replace", "value": { "emails[type eq \"home\"].primary": "True" } }]),
                Ok("h@x h@x"),
            ),
            (
                json!([{ "op": "replace", "path": "emails[type eq \"work\"].primary", "value": false }]),
                Err(InvalidValue),
            ),
            (json!([remove("emails[type eq \"work\"]")]), Err(InvalidValue)),
            (json!([remove("emails[value pr]")]), Err(InvalidValue)),
            (json!([remove("emails")]), Err(Mutability)),
            (json!([{ "op": "replace", "path": "displayName", "value": " " }]), Err(InvalidValue)),
        ] {
            let model = Model::new(&VEZA, &[]).expect("a model");
            let users = model.of(Kind::User);
            let mut after = map(&before);
            let body = map(&json!({ "Operations": operations }));
            let result = parse(&body, users, &VEZA, &WorkBudget::of_body())
                .and_then(|steps| apply(&mut after, &steps, users, &VEZA, &WorkBudget::of_body()))
                .and_then(|()| {
                    let work = WorkBudget::of_body();
                    sync_username_and_email(&map(&before), &mut after, (users, &VEZA), &work)
                })
                .and_then(|()| check_required(&after, users))
                .and_then(|()| check_username_and_email(&after, &VEZA));
            let shown =
                || format!("{} {}", user_name(&after).unwrap_or("-"), super::email(&after).unwrap_or("-"));
            assert_eq!(
                result.map(|()| shown()).map_err(|e| e.kind),
                expected.map(str::to_owned),
                "{operations}"
            );
        }
    }
}
