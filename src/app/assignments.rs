//! `PUT /tenants/{t}/Groups/{id}/assignments`: which roles a group grants.

use std::collections::BTreeSet;

use http::header::ETAG;
use http::{HeaderValue, StatusCode};
use lambda_http::{Body, Response};
use serde_json::{Value, json};

use super::body::BodyFields;
use super::problem::ProblemDetails;
use super::request::{AppRequest, json, resource_id};
use crate::http::request;
use crate::limits::{APP_APPLY_TIMEOUT, MAX_ASSIGNMENTS};
use crate::provider::changing::assignments::{AssignmentTarget, change_assignments, is_role, missing_team};
use crate::scim::resource::etag;
use crate::scim::resource_type::Kind;
use crate::store::keys::parse_id;
use crate::store::record::Role;

/// Replaces what a group grants. Answers the assignments as they are afterwards.
///
/// # Errors
/// - 400 for roles and teams that cannot be used, and if the root team would lose its last active administrator.
/// - 404, 412.
/// - 409 while a large change of the group is applied, or while the tenant is being deleted.
pub async fn replace(app: &AppRequest<'_>, tenant: &str, id: &str) -> Result<Response<Body>, ProblemDetails> {
    let tenant = app.lasting_tenant(tenant).await?;
    let group = resource_id(Kind::Group, id)?;
    let mut body = BodyFields::read(app.request)?;
    let wanted = body.take("assignments");
    body.finish()?;
    let roles = read_roles("assignments", wanted)?;
    let provider = app.provider(&tenant)?;
    if let Some(missing) = missing_team(&provider.store, &roles, Some(group)).await? {
        return Err(ProblemDetails::invalid(format!("The tenant has no group {missing}.")));
    }
    let preconditions = request::preconditions(app.request);
    let target = AssignmentTarget {
        group,
        ty: provider.ty(Kind::Group),
        root_team: tenant.root_team,
        preconditions: &preconditions,
        wait: APP_APPLY_TIMEOUT,
    };
    let after = change_assignments(&provider.store, &target, |_| roles.clone()).await?;
    let granted: Vec<Value> = after.assignments().iter().map(role_json).collect();
    let mut response = json(StatusCode::OK, &json!({ "version": after.version, "assignments": granted }));
    if let Ok(tag) = HeaderValue::from_str(&etag(after.version)) {
        response.headers_mut().insert(ETAG, tag);
    }
    Ok(response)
}

pub(super) fn role_json(role: &Role) -> Value {
    json!({ "team": role.team.to_string(), "role": role.role })
}

/// Reads roles in teams. `name` is the member of the body that has them.
///
/// # Errors
/// 400 for anything else.
pub(super) fn read_roles(name: &str, wanted: Option<Value>) -> Result<BTreeSet<Role>, ProblemDetails> {
    let form = || ProblemDetails::invalid(format!("{name} must be a list of objects with team and role."));
    let Some(Value::Array(wanted)) = wanted else { return Err(form()) };
    if wanted.len() > MAX_ASSIGNMENTS {
        return Err(ProblemDetails::invalid(format!("{name} can have at most {MAX_ASSIGNMENTS} elements.")));
    }
    let mut roles = BTreeSet::new();
    for one in &wanted {
        let text = |name: &str| one.get(name).and_then(Value::as_str).ok_or_else(form);
        let (team, role) = (text("team")?, text("role")?);
        if one.as_object().is_some_and(|one| one.len() != 2) {
            return Err(form());
        }
        let advice =
            "team must be the id of a group. The id of the root team is rootTeam in GET /tenants/{tenant}.";
        let team = parse_id(team).ok_or_else(|| ProblemDetails::invalid(advice))?;
        if !is_role(role) {
            return Err(ProblemDetails::invalid(
                "role must have 1 to 64 lower-case letters, digits, - or _.",
            ));
        }
        roles.insert(Role { team, role: role.to_owned() });
    }
    Ok(roles)
}
