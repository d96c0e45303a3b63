//! The component schemas of the application's side.

use serde_json::{Map, Value, json};

use super::schemas;
use crate::auth::plan::RatePlan;
use crate::limits::{MAX_ASSIGNMENTS, MAX_DEFINITION_DESCRIPTION_CHARS, MAX_DEFINITION_NAME_CHARS};
use crate::scim::policy::POLICIES;
use crate::scim::resource_type::Model;

/// Every component schema: those of users and groups are SCIM's.
pub(super) fn schemas(model: &Model) -> Value {
    let mut all = Map::new();
    let scim = schemas::schemas(model);
    for name in ["User", "UserList", "Group", "GroupList"] {
        all.insert(name.to_owned(), scim[name].clone());
    }
    for part in [feed(), status(), tenants(), keys(), clients(), groups(), definitions(), webhooks()] {
        all.extend(part.as_object().cloned().unwrap_or_default());
    }
    all.insert("Problem".to_owned(), problem());
    Value::Object(all)
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn text(description: &str) -> Value {
    json!({ "type": "string", "description": description })
}

fn number(description: &str) -> Value {
    json!({ "type": "integer", "minimum": 0, "description": description })
}

fn time(description: &str) -> Value {
    json!({ "type": ["string", "null"], "format": "date-time", "description": description })
}

fn texts(description: &str) -> Value {
    json!({ "type": "array", "items": { "type": "string" }, "description": description })
}

fn list(item: &str) -> Value {
    json!({ "type": "array", "items": reference(item) })
}

/// An object that has nothing but these members.
fn object(properties: &Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn feed() -> Value {
    let change = json!({
        "seq": number("Its number: 1, 2, 3 … over the whole deployment, without a gap."),
        "id": text("Its own id."),
        "type": text("What happened: user.created, group.updated, key.revoked, … tenant.resync asks for a new snapshot of the tenant. Ignore types that you do not know."),
        "tenant": text("The name of the tenant. deployment for what belongs to no tenant, such as application keys."),
        "incarnation": text("Tells a tenant from an earlier one of the same name."),
        "resourceType": text("User, Group, Key, Client, Tenant, Application, Webhook, Role or Entitlement."),
        "resourceId": text("The id of the resource."),
        "version": number("The version of the resource after the change."),
        "part": number("Of a large change: 0 for its commit, 1 to parts for its parts."),
        "parts": number("Of a large change: how many parts follow the commit."),
        "time": text("When, in RFC 3339."),
        "actor": text("Who did it: the id of a key or a client, operator, or worker."),
        "requestId": text("The request that it was part of: lambda_request_id in the log. No caller can choose it."),
        "attributes": texts("The names of the changed attributes."),
        "added": texts("The ids of members that it added."),
        "removed": texts("The ids of members that it removed."),
        "addedCount": number("How many members it added, named or not."),
        "removedCount": number("How many members it removed, named or not."),
        "warning": text("What an operator should look at."),
        "resource": {
            "description": "With include=resource: the state of the user, group, role or entitlement now, never older than the change. null if it is gone. Groups have no members here.",
            "anyOf": [reference("User"), reference("Group"), reference("Role"), reference("Entitlement"), { "type": "null" }],
        },
    });
    let required = [
        "seq",
        "id",
        "type",
        "tenant",
        "incarnation",
        "resourceType",
        "resourceId",
        "version",
        "time",
        "actor",
        "requestId",
    ];
    json!({
        "Change": object(&change, &required),
        "Changes": object(&json!({
            "changes": list("Change"),
            "next": text("The position after these changes: send it as after."),
            "more": { "type": "boolean", "description": "Whether more changes can be read at once." },
        }), &["changes", "next", "more"]),
    })
}

/// Where the feed stands, and how far each delivery is.
fn status() -> Value {
    let place = json!({
        "seq": number("The number of the change."),
        "time": text("When it happened."),
        "position": text("A position to send as after."),
    });
    let delivery = json!({
        "name": text("bus, or the id of a webhook."),
        "seq": number("The number of the last change that it has taken."),
        "changesBehind": number("How many changes of the feed it has not taken yet. After `rollcall feed renew` those from before are not counted."),
        "lastSuccess": time("When it last took changes."),
        "lastError": { "type": ["string", "null"], "description": "Why the last attempt failed, or why changes were skipped." },
    });
    json!({
        "Status": object(&json!({
            "snapshot": text("The position from which to follow the feed after a snapshot."),
            "newest": { "anyOf": [reference("Place"), { "type": "null" }] },
            "oldest": reference("Place"),
            "lagSeconds": number("The age of the oldest change that is not in the feed yet."),
            "deliveries": list("Delivery"),
        }), &["snapshot", "newest", "oldest", "lagSeconds", "deliveries"]),
        "Place": object(&place, &["seq", "position"]),
        "Delivery": object(&delivery, &["name", "seq", "changesBehind", "lastSuccess", "lastError"]),
    })
}

fn tenants() -> Value {
    let policies: Vec<&str> = POLICIES.iter().map(|policy| policy.name).collect();
    let plans = RatePlan::ALL.map(RatePlan::name);
    let plan = json!({ "type": "string", "enum": plans, "description": "Its rate. No request is refused while it changes." });
    let settings = json!({
        "retentionDays": { "type": "integer", "minimum": 0, "maximum": 3650, "description": "Days for which a deactivated account is kept." },
        "rootTeamProtected": { "type": "boolean", "description": "Whether no bearer key changes who administers the root team." },
        "breakerPercent": { "type": ["integer", "null"], "minimum": 0, "maximum": 100, "description": "How many percent of the active users may be deactivated within an hour." },
        "breakerLiftedUntil": time("Until when that limit is lifted."),
    });
    let mut changes = settings.clone();
    changes["plan"] = plan;
    json!({
        "NewTenant": object(&json!({
            "tenant": { "type": "string", "pattern": "^[a-z][a-z0-9-]{1,30}$", "description": "Its name." },
            "policy": { "type": "string", "enum": policies, "description": "The rules that it runs under. They cannot change." },
            "plan": { "type": "string", "enum": plans, "description": "Its rate: default is 200 requests a minute, high is 30 a second." },
            "adminEmail": text("The address and userName of the local break-glass administrator."),
        }), &["tenant"]),
        "Settings": object(&settings, &[]),
        "TenantChange": object(&changes, &[]),
        "Tenant": object(&json!({
            "tenant": text("Its name."),
            "status": { "type": "string", "enum": ["active", "beingDeleted"], "description": "Nothing is made or set in a tenant that is being deleted." },
            "incarnation": text("Tells it from an earlier one of the same name."),
            "version": number("Counts its changes."),
            "policy": { "type": "string", "enum": policies },
            "plan": { "type": "string", "enum": plans },
            "created": text("When it was made."),
            "rootTeam": { "type": ["string", "null"], "description": "The id of the group whose administrators administer the tenant." },
            "settings": reference("Settings"),
        }), &["tenant", "status", "incarnation", "version", "policy", "plan", "created", "rootTeam", "settings"]),
        "TenantPage": object(&json!({
            "tenants": list("Tenant"), "next": text("The cursor of the next page; absent on the last."),
        }), &["tenants"]),
    })
}

fn keys() -> Value {
    let key = json!({
        "id": text("Its id."),
        "name": text("What it is called."),
        "scope": { "type": "string", "enum": ["provision", "read"] },
        "status": { "type": "string", "enum": ["active", "expired", "revoked"] },
        "version": number("Counts its changes."),
        "created": text("When it was made."),
        "expires": time("From when on it is refused."),
        "user": { "type": ["string", "null"], "description": "The user that /Me stands for." },
    });
    let required = ["id", "name", "scope", "status", "version", "created", "expires", "user"];
    let with = |more: &[(&str, Value)]| {
        let mut properties = key.clone();
        let mut required = required.to_vec();
        for (name, schema) in more {
            properties[*name] = schema.clone();
            required.push(name);
        }
        object(&properties, &required)
    };
    let shown = ("key", text("The key. Only this answer shows it."));
    let last_used = json!({ "type": ["string", "null"], "description": "The day of its last request." });
    json!({
        "NewKey": object(&json!({
            "name": text("What to call it."),
            "scope": { "type": "string", "enum": ["provision", "read"], "description": "provision if absent." },
            "expires": time("From when on it is refused."),
            "user": { "type": ["string", "null"], "description": "The user that /Me stands for, by its id." },
        }), &["name"]),
        "Key": with(&[("lastUsed", last_used)]),
        "KeyList": object(&json!({ "keys": list("Key") }), &["keys"]),
        "MadeKey": with(std::slice::from_ref(&shown)),
        "Rotation": object(&json!({
            "overlapSeconds": { "type": "integer", "minimum": 0, "maximum": 31_622_400, "description": "How long the old key or secret goes on working; a day if absent." },
        }), &[]),
        "RotatedKey": with(&[
            shown.clone(),
            ("replaces", text("The id of the old key.")),
            ("oldKeyExpires", text("When the old key ends.")),
        ]),
    })
}

fn clients() -> Value {
    let hours = json!({ "type": "integer", "minimum": 1, "maximum": 6, "description": "How many hours an access token lives; 1 if absent." });
    let optional = |description: &str| json!({ "type": ["string", "null"], "description": description });
    let texts = [
        ("subject", text("The claim sub of its assertions.")),
        ("audience", text("The claim aud of its assertions.")),
        ("issuer", text("The claim iss of its assertions.")),
        ("jwksUrl", text("Where the issuer's keys are: https, with a public address.")),
    ];
    let mut federation = Map::new();
    federation.extend(texts.into_iter().map(|(name, schema)| (name.to_owned(), schema)));
    let mut given = federation.clone();
    let directory =
        "The directory id at Entra ID. It gives issuer and jwksUrl, and the claim tid must be it.";
    given.insert("entraDirectory".to_owned(), text(directory));
    federation.insert("entraDirectory".to_owned(), optional(directory));
    let secret = json!({
        "id": text("Its id."), "created": text("When it was made."), "expires": text("From when on it is refused."),
    });
    let client = json!({
        "id": text("Its id: the client_id of token requests."),
        "name": text("What it is called."),
        "scope": { "type": "string", "enum": ["provision", "read"], "description": "What its access tokens may do." },
        "status": { "type": "string", "enum": ["active", "expired", "revoked"], "description": "A client with secrets has expired when all of them have." },
        "version": number("Counts its changes."),
        "created": text("When it was made."),
        "tokenHours": hours,
        "secrets": { "type": "array", "items": object(&secret, &["id", "created", "expires"]), "description": "Its secrets that are in force, without their texts." },
        "federation": { "anyOf": [reference("Federation"), { "type": "null" }], "description": "What the assertions of a federated client must hold." },
    });
    let with = |more: &[(&str, Value)], optional: &[(&str, Value)]| {
        let mut properties = client.clone();
        more.iter().for_each(|(name, schema)| properties[*name] = schema.clone());
        let required: Vec<String> =
            properties.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
        optional.iter().for_each(|(name, schema)| properties[*name] = schema.clone());
        object(&properties, &required.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let shown = ("clientSecret", text("The secret. Only this answer shows it. A federated client has none."));
    json!({
        "Federation": object(&Value::Object(federation), &["issuer", "subject", "audience", "jwksUrl", "entraDirectory"]),
        "NewFederation": object(&Value::Object(given), &["subject", "audience"]),
        "NewClient": object(&json!({
            "name": text("What to call it."),
            "scope": { "type": "string", "enum": ["provision", "read"], "description": "What its access tokens may do; provision if absent." },
            "tokenHours": hours,
            "secretYears": { "type": "integer", "minimum": 1, "maximum": 3, "description": "How many years a secret lives; 1 if absent." },
            "federation": { "anyOf": [reference("NewFederation"), { "type": "null" }], "description": "For a client without secrets: what its assertions must hold." },
        }), &["name"]),
        "Client": with(&[("lastUsed", optional("The day of its last request."))], &[]),
        "ClientList": object(&json!({ "clients": list("Client") }), &["clients"]),
        "MadeClient": with(&[], std::slice::from_ref(&shown)),
        "RotatedClient": with(&[
            shown.clone(),
            ("secretId", text("The id of the new secret.")),
            ("otherSecretsExpire", text("When the other secrets end, unless they end earlier.")),
        ], &[]),
    })
}

fn groups() -> Value {
    let assignment = json!({
        "team": text("The group that the role is in, by its id."),
        "role": { "type": "string", "pattern": "^[a-z0-9_-]{1,64}$" },
    });
    json!({
        "Assignment": object(&assignment, &["team", "role"]),
        "NewAssignments": object(&json!({ "assignments": list("Assignment") }), &["assignments"]),
        "Assignments": object(&json!({
            "version": number("The version of the group."), "assignments": list("Assignment"),
        }), &["version", "assignments"]),
        "Member": object(&json!({
            "value": text("The id of the member."),
            "type": { "type": "string", "enum": ["User", "Group"] },
            "display": text("The name that the identity provider gave the member."),
        }), &["value", "type"]),
        "MemberPage": object(&json!({
            "version": number("A version of the group. The page has what every change up to it did, and perhaps some of later ones."),
            "members": list("Member"),
            "next": text("The cursor of the next page; absent on the last."),
        }), &["version", "members"]),
    })
}

fn definitions() -> Value {
    let name = json!({ "type": "string", "minLength": 1, "maxLength": MAX_DEFINITION_NAME_CHARS, "description": "The name for people." });
    let description = json!({ "type": ["string", "null"], "maxLength": MAX_DEFINITION_DESCRIPTION_CHARS, "description": "What it is for." });
    let grants = json!({ "type": "array", "items": reference("Assignment"), "maxItems": MAX_ASSIGNMENTS, "description": "The roles in teams that its users have. It cannot be the administration of the root team." });
    let label = json!({ "type": ["string", "null"], "minLength": 1, "maxLength": MAX_DEFINITION_NAME_CHARS, "description": "Its function, in a word." });
    let mut all = Map::new();
    for (kind, list_name, own, schema) in
        [("Role", "roles", "grants", &grants), ("Entitlement", "entitlements", "type", &label)]
    {
        let id = json!({ "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$", "description": format!("Its id, and the value that names it in a user's {list_name}.") });
        let change = json!({ "displayName": name, "description": description, own: schema });
        let mut new = json!({ "id": id });
        let mut whole = new.clone();
        for (member, schema) in change.as_object().into_iter().flatten() {
            new[member] = schema.clone();
            whole[member] = schema.clone();
        }
        whole["version"] = number("Counts its changes.");
        whole["created"] = text("When it was made.");
        whole["lastModified"] = text("When it was last changed.");
        let required = ["id", "displayName", "description", own, "version", "created", "lastModified"];
        all.insert(format!("New{kind}"), object(&new, &["id", "displayName"]));
        all.insert(format!("{kind}Change"), object(&change, &[]));
        all.insert(kind.to_owned(), object(&whole, &required));
        let page = json!({ list_name: list(kind), "next": text("The cursor of the next page; absent on the last.") });
        all.insert(format!("{kind}Page"), object(&page, &[list_name]));
    }
    Value::Object(all)
}

fn webhooks() -> Value {
    let flag = |description: &str| json!({ "type": "boolean", "description": description });
    let (url, include) = (
        text("Where messages go: https, with a public address."),
        flag("Whether changes of users and groups carry their state now."),
    );
    let test = json!({
        "id": text("Its id. The id of its message ends with it."),
        "state": { "type": "string", "enum": ["pending", "taken", "failed"] },
        "requested": text("When it was asked for."),
        "finished": time("When the attempt ended."),
        "status": { "type": ["integer", "null"], "description": "The status that the receiver answered." },
        "error": { "type": ["string", "null"], "description": "Why it failed." },
    });
    let webhook = json!({
        "id": text("Its id."),
        "version": number("Counts its changes."),
        "url": url,
        "includeResource": include,
        "enabled": flag("Whether messages are sent."),
        "disabledReason": { "type": ["string", "null"], "description": "Why and since when it is disabled." },
        "created": text("When it was made."),
        "seq": { "type": ["integer", "null"], "description": "The number of the last change that it has taken." },
        "lastSuccess": time("When it last took changes."),
        "lastError": { "type": ["string", "null"], "description": "Why the last attempt failed, or why changes were skipped." },
        "failedAttempts": number("How many attempts have failed since the last success."),
        "nextAttempt": time("After failed attempts: when the next one is made."),
        "test": { "anyOf": [reference("WebhookTest"), { "type": "null" }], "description": "The test that was asked for last." },
    });
    let members = |schema: &Value| {
        schema.as_object().map(|all| all.keys().cloned().collect::<Vec<_>>()).unwrap_or_default()
    };
    let with = |more: &[(&str, Value)]| {
        let mut properties = webhook.clone();
        more.iter().for_each(|(name, schema)| properties[*name] = schema.clone());
        let required = members(&properties);
        object(&properties, &required.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let secret = ("secret", text("The secret that signs messages. Only this answer shows it."));
    json!({
        "NewWebhook": object(&json!({ "url": url, "includeResource": include }), &["url"]),
        "WebhookSettings": object(&json!({
            "url": url, "includeResource": include, "enabled": flag("true enables a disabled webhook, and makes the next attempt within a minute."),
        }), &[]),
        "WebhookTest": object(&test, &["id", "state", "requested", "finished", "status", "error"]),
        "Webhook": with(&[]),
        "WebhookPage": object(&json!({
            "webhooks": list("Webhook"), "next": text("The cursor of the next page; absent on the last."),
        }), &["webhooks"]),
        "MadeWebhook": with(std::slice::from_ref(&secret)),
        "RotatedWebhook": with(&[secret.clone(), ("oldSecretUntil", time("Until when the old secret signs too."))]),
    })
}

/// RFC 9457.
fn problem() -> Value {
    json!({
        "type": "object",
        "description": "A refusal (RFC 9457).",
        "properties": {
            "type": text("about:blank, or urn:rollcall:problem: and a name."),
            "title": text("What the type is called."),
            "status": { "type": "integer", "minimum": 400, "maximum": 599 },
            "detail": text("What to change."),
        },
        "required": ["type", "title", "status", "detail"],
    })
}
