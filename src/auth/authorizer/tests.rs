use time::Duration;
use time::macros::datetime;

use super::*;
use crate::auth::key::KeyHash;
use crate::auth::plan::RatePlan;
use crate::auth::tenant::Settings;
use crate::scim::policy::VEZA;

const NOW: OffsetDateTime = datetime!(2026-06-01 12:00 UTC);

fn parts() -> (BearerKey, KeyRecord, TenantRecord) {
    let tenant: TenantId = "acme".parse().expect("a tenant");
    let key = BearerKey::generate(&tenant).expect("randomness");
    let record = KeyRecord {
        hash: key.sha256(),
        tenant: tenant.clone(),
        key_id: "key_1".to_owned(),
        name: "Okta".to_owned(),
        scope: Scope::Provision,
        status: Status::Active,
        created: NOW,
        expires: None,
        planned_life: None,
        user: None,
        version: 1,
    };
    let tenant = TenantRecord {
        id: tenant,
        policy: &VEZA,
        usage_key: "u".repeat(40),
        created: NOW,
        usage_plan: None,
        usable_from: 0,
        plan: RatePlan::Default,
        other_key: None,
        root_team: None,
        settings: Settings::default(),
        request: None,
        version: 1,
        is_being_deleted: false,
    };
    (key, record, tenant)
}

fn reason(decision: &Decision) -> Option<Reason> {
    match decision {
        Decision::Allow(_) => None,
        Decision::Deny(reason, _) => Some(*reason),
    }
}

#[test]
fn the_decision_table() {
    type Change = fn(&mut KeyRecord, &mut TenantRecord);
    let rows: &[(Change, Option<Reason>)] = &[
        (|_, _| {}, None),
        (|key, _| key.scope = Scope::Read, None),
        (|key, _| key.expires = Some(NOW + Duration::SECOND), None),
        (|key, _| key.expires = Some(NOW), Some(Reason::Expired)),
        (|key, _| key.expires = Some(NOW - Duration::SECOND), Some(Reason::Expired)),
        (|key, _| key.status = Status::Revoked, Some(Reason::Revoked)),
        (|key, _| key.hash = KeyHash::from_stored("00"), Some(Reason::Unknown)),
        (|key, _| key.tenant = "other".parse().expect("a tenant"), Some(Reason::OtherTenant)),
        (|_, tenant| tenant.id = "other".parse().expect("a tenant"), Some(Reason::NoTenant)),
    ];
    for (at, (change, expected)) in rows.iter().enumerate() {
        let (key, mut record, mut tenant) = parts();
        change(&mut record, &mut tenant);
        let decision = decide(&key, Some(&record), Some(&tenant), NOW);
        assert_eq!(reason(&decision), *expected, "row {at}");
    }
    let (key, record, tenant) = parts();
    assert_eq!(reason(&decide(&key, None, Some(&tenant), NOW)), Some(Reason::Unknown));
    assert_eq!(reason(&decide(&key, Some(&record), None, NOW)), Some(Reason::NoTenant));
    assert_eq!(reason(&decide(&key, None, None, NOW)), Some(Reason::Unknown));
}

#[test]
fn the_scheme_has_any_case_and_spaces() {
    let (key, ..) = parts();
    let key = key.reveal();
    for good in ["Bearer ", "bearer ", "BEARER   "] {
        assert!(bearer(&format!("{good}{key}")).is_some(), "{good:?}");
    }
    for bad in ["", "Bearer", "Bearer\t", " Bearer ", "Basic ", "Bearer Bearer ", "Bearer: "] {
        assert!(bearer(&format!("{bad}{key}")).is_none(), "{bad:?}");
    }
    for bad in ["", " ", "Bearer", "Bearer "] {
        assert!(bearer(bad).is_none(), "{bad:?}");
    }
}

#[test]
fn an_arn_becomes_its_whole_stage() {
    let stage = "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/prod/*";
    for tail in ["", "/", "/GET/scim/v2/Users", "/GET/scim/v2/Schemas/urn:ietf:params:*", "/POST/x?y=é"] {
        let arn = format!("arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/prod{tail}");
        assert_eq!(whole_stage(&arn).as_deref(), Some(stage), "{arn}");
    }
    let other = "arn:aws-us-gov:execute-api:us-gov-west-1:1:a/test-invoke-stage/GET/";
    assert!(whole_stage(other).is_some_and(|stage| stage.starts_with("arn:aws-us-gov:")));
    for bad in [
        "",
        "arn",
        "arn:aws:execute-api:eu-west-1:1",
        "arn:aws:execute-api:eu-west-1:1:",
        "arn:aws:execute-api:eu-west-1:1:api",
        "arn:aws:execute-api:eu-west-1:1:api/",
        "arn:aws:execute-api:eu-west-1:1:*/prod/GET/",
        "arn:aws:execute-api:eu-west-1:1:api/*/GET/",
        "arn:aws:execute-api:eu-west-1:1:api/pr?d/GET/",
        "arn:aws:s3:eu-west-1:1:api/prod/GET/",
    ] {
        assert_eq!(whole_stage(bad), None, "{bad}");
    }
}

#[test]
fn an_allow_names_the_tenant_and_its_usage_key_in_texts() {
    let (key, mut record, tenant) = parts();
    record.user = Uuid::try_parse("01890a5d-ac96-774b-bcce-b302099a8057").ok();
    let allowed = answer(&decide(&key, Some(&record), Some(&tenant), NOW), "arn/*");
    let expected = json!({
        "principalId": "acme/key_1",
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [{ "Action": "execute-api:Invoke", "Effect": "Allow", "Resource": "arn/*" }],
        },
        "context": {
            "tenantId": "acme", "keyId": "key_1", "scope": "provision", "policy": "veza",
            "retentionDays": "30",
            "userId": "01890a5d-ac96-774b-bcce-b302099a8057",
        },
        "usageIdentifierKey": "u".repeat(40),
    });
    assert_eq!(allowed, expected);
}

#[test]
fn every_deny_looks_the_same() {
    let (key, mut record, tenant) = parts();
    record.status = Status::Revoked;
    let revoked = answer(&decide(&key, Some(&record), Some(&tenant), NOW), "arn/*");
    assert_eq!(revoked, answer(&Decision::Deny(Reason::Malformed, None), "arn/*"));
    assert_eq!(revoked["policyDocument"]["Statement"][0]["Effect"], "Deny");
    assert_eq!(revoked["context"], json!({}));
    assert_eq!(revoked.get("usageIdentifierKey"), None);
}
