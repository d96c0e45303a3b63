use super::*;
use crate::scim::error::ErrorKind;
use crate::scim::filter::parse::parse;
use crate::scim::policy::STANDARD;
use crate::scim::resource_type::{Kind, Model};

fn bound(text: &str, kind: Kind, root: bool, coerce: bool) -> Result<String, String> {
    let more: Vec<(Kind, crate::scim::schema::Schema)> = serde_json::from_value::<Vec<_>>(
        serde_json::json!([{ "id": "urn:x:2.0:User", "name": "X", "attributes": [
            { "name": "level", "type": "integer", "multiValued": false },
            { "name": "ratio", "type": "decimal", "multiValued": false },
            { "name": "tags", "type": "string", "multiValued": true, "caseExact": true },
        ]}]),
    )
    .expect("a schema")
    .into_iter()
    .map(|schema| (Kind::User, schema))
    .collect();
    let model = Model::new(&STANDARD, &more).expect("a model");
    let types = model.types();
    let others: Vec<&ResourceType> =
        types.into_iter().filter(|other| root && other.kind != Some(kind)).collect();
    let filter = parse(text).expect(text);
    bind(&filter, model.of(kind), &others, coerce).map(|bound| bound.canonical()).map_err(|error| {
        assert_eq!(error.kind, ErrorKind::InvalidFilter, "{text}");
        error.detail
    })
}

#[test]
fn names_and_operands_become_the_schemas() {
    const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
    const CORE: &str = "URN:ietf:params:scim:schemas:core:2.0:user";
    for (text, meaning) in [
        (r#"USERNAME eq "A""#, r#"userName eq "a""#),
        (&format!(r#"{CORE}:userName eq "A""#), r#"userName eq "a""#),
        (r#"ID eq "A""#, r#"id eq "A""#),
        (r#"emails co "X""#, r#"emails.value co "x""#),
        ("emails pr", "emails pr"),
        ("emails ne null", "emails pr"),
        ("title eq null", "not (title pr)"),
        ("name eq null", "not (name pr)"),
        ("not (not (title pr))", "title pr"),
        ("(title pr and active pr) and name pr", "title pr and active pr and name pr"),
        ("(title pr or active pr) and name pr", "(title pr or active pr) and name pr"),
        (r#"EMAILS[TYPE eq "Work" and Primary eq true]"#, r#"emails[type eq "work" and primary eq true]"#),
        (r#"name[familyname sw "X"]"#, r#"name[familyName sw "x"]"#),
        (r#"meta.lastmodified gt "1970-01-01T02:00:00.5+02:00""#, r"meta.lastModified gt 500000000"),
        (r#"meta.created sw "2024-01""#, r#"meta.created sw "2024-01""#),
        (&format!(r#"{ENTERPRISE}:manager eq "M""#), &format!(r#"{ENTERPRISE}:manager.value eq "M""#)),
        (&format!("{} pr", ENTERPRISE.to_lowercase()), &format!("{ENTERPRISE} pr")),
        (&format!("{CORE} pr and title pr"), "title pr"),
        ("urn:x:2.0:User:level ge 3", "urn:x:2.0:User:level ge 3"),
        ("urn:x:2.0:User:level eq 2.5", "urn:x:2.0:User:level eq 2.5"),
        ("urn:x:2.0:User:ratio lt -1e2", "urn:x:2.0:User:ratio lt -100.0"),
        (r#"urn:x:2.0:User:tags eq "A""#, r#"urn:x:2.0:User:tags eq "A""#),
        (r#"x509Certificates.value sw "A""#, r#"x509Certificates.value sw "A""#),
    ] {
        assert_eq!(bound(text, Kind::User, false, false).as_deref(), Ok(meaning), "{text}");
    }
}

#[test]
fn what_cannot_be_compared_is_refused_by_name() {
    const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
    let quoted = "must be compared with true or false, without quotation marks";
    for (text, detail) in [
        ("nick pr", "No schema defines the attribute nick."),
        ("password pr", "No schema defines the attribute password."),
        ("members pr", "No schema defines the attribute members."),
        ("emails.nick pr", "No schema defines the attribute emails.nick."),
        ("emails[nick pr]", "No schema defines the attribute emails.nick."),
        ("emails[value.x pr]", "No schema defines the attribute emails.value.x."),
        ("urn:y:User:a pr", "No schema defines the attribute urn:y:User:a."),
        (r#"active eq "true""#, &format!("Attribute active {quoted}.")),
        (r#"emails[primary eq "true"]"#, &format!("Attribute emails.primary {quoted}.")),
        ("active gt true", "Attribute active is a boolean, to which gt does not apply: use eq, ne or pr."),
        ("active co true", "Attribute active is a boolean, to which co does not apply: use eq, ne or pr."),
        (
            r#"x509Certificates gt "a""#,
            "Attribute x509Certificates.value is binary, to which gt does not apply: use eq, ne, co, sw, ew or pr.",
        ),
        (
            "urn:x:2.0:User:level sw 1",
            "Attribute urn:x:2.0:User:level is a number, to which sw does not apply: use eq, ne, gt, ge, lt, le or pr.",
        ),
        (r#"urn:x:2.0:User:level eq "1""#, "Attribute urn:x:2.0:User:level must be compared with a number."),
        ("title eq 1", "Attribute title must be compared with a text in double quotation marks."),
        (
            "profileUrl eq true",
            "Attribute profileUrl must be compared with a text in double quotation marks.",
        ),
        ("title gt null", "Attribute title is compared with null, which gt cannot do."),
        (r#"name eq "x""#, "Attribute name is complex: compare one of its sub-attributes."),
        (r#"addresses co "x""#, "Attribute addresses is complex: compare one of its sub-attributes."),
        (
            r#"meta.created gt "2024-01-01""#,
            "Attribute meta.created must be compared with a date and time such as \"2011-05-13T04:42:34Z\".",
        ),
        ("title[a pr]", "Attribute title has no sub-attributes for brackets to ask about."),
        ("emails.value[a pr]", "Attribute emails.value has no sub-attributes for brackets to ask about."),
        (
            &format!("{ENTERPRISE} eq null"),
            &format!(
                "{ENTERPRISE} is a schema: name one of its attributes, or ask with pr whether there is any."
            ),
        ),
    ] {
        assert_eq!(bound(text, Kind::User, false, false), Err(detail.to_owned()), "{text}");
    }
}

#[test]
fn what_only_another_type_defines_is_absent() {
    for (text, user, group) in [
        (r#"userName eq "x""#, r#"userName eq "x""#, "false"),
        (r#"userName ne "x""#, r#"userName ne "x""#, "true"),
        ("members eq null", "true", "not (members pr)"),
        (
            r#"members[value eq "x"] or displayName pr"#,
            "displayName pr",
            r#"members[value eq "x"] or displayName pr"#,
        ),
        (r#"displayName pr and not (title pr)"#, "displayName pr and not (title pr)", "displayName pr"),
        ("urn:ietf:params:scim:schemas:core:2.0:User pr", "true", "false"),
    ] {
        assert_eq!(bound(text, Kind::User, true, false).as_deref(), Ok(user), "{text}");
        assert_eq!(bound(text, Kind::Group, true, false).as_deref(), Ok(group), "{text}");
    }
    assert!(bound("active eq 1", Kind::Group, true, false).is_err());
    assert!(bound("nick pr", Kind::Group, true, false).is_err());
}

#[test]
fn within_brackets_value_is_a_simple_element_and_names_may_have_their_urn() {
    const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
    let tags = |inner: &str| format!("urn:x:2.0:User:tags[{inner}]");
    let emails = |inner: &str| format!("emails[{inner}]");
    for (text, meaning) in [
        (tags(r#"VALUE eq "A""#), tags(r#"value eq "A""#)),
        (tags("not (value pr)"), tags("not (value pr)")),
        (tags(r#"urn:x:2.0:User:tags.value sw "A""#), tags(r#"value sw "A""#)),
        (tags(r#"urn:X:2.0:user:value sw "A""#), tags(r#"value sw "A""#)),
        (r#"schemas[value eq "urn:a"]"#.to_owned(), r#"schemas[value eq "urn:a"]"#.to_owned()),
        (emails(&format!(r#"{USER}:EMAILS.type eq "A""#)), emails(r#"type eq "a""#)),
        (emails(&format!(r#"{USER}:type eq "A""#)), emails(r#"type eq "a""#)),
        (
            format!(r#"{USER}:emails[{USER}:emails.primary eq true and value pr]"#),
            emails("primary eq true and value pr"),
        ),
    ] {
        assert_eq!(bound(&text, Kind::User, false, false), Ok(meaning), "{text}");
    }
    for text in [
        tags("type pr"),
        tags("value.value pr"),
        tags("value eq 1"),
        emails("urn:x:2.0:User:type pr"),
        emails(&format!("{USER}:name.type pr")),
        emails(&format!("{USER}:emails.nick pr")),
        "urn:x:2.0:User:tags.value pr".to_owned(),
    ] {
        assert!(bound(&text, Kind::User, false, false).is_err(), "{text}");
    }
}

#[test]
fn what_counts_as_true_on_users_is_absent_on_groups() {
    for (text, group) in [("active eq true", "false"), ("active ne false", "true")] {
        assert_eq!(bound(text, Kind::Group, true, false).as_deref(), Ok(group), "{text}");
    }
}

#[test]
fn booleans_in_quotation_marks_are_for_patch() {
    for (text, expected) in [
        (r#"roles[primary eq "True"]"#, Some("roles[primary eq true]")),
        (r#"roles[primary ne "fALSE"]"#, Some("roles[primary ne false]")),
        (r#"roles[primary eq "yes"]"#, None),
        (r#"roles[type eq "True"]"#, Some(r#"roles[type eq "true"]"#)),
    ] {
        assert_eq!(bound(text, Kind::User, false, true).ok().as_deref(), expected, "{text}");
    }
}
