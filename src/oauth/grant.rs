//! The client credentials grant (RFC 6749 §4.4): checks the client and the scope, and makes an access token.

use aws_sdk_dynamodb::types::AttributeValue;
use http::StatusCode;
use lambda_http::{Body, Request, Response};
use serde_json::json;
use time::OffsetDateTime;

use super::credentials::{PresentedClient, PresentedProof};
use super::error::{TokenError, TokenErrorKind, answer};
use super::form::TokenForm;
use crate::auth::access_token::{AccessToken, SecretText, TokenRecord};
use crate::auth::assertion::{AssertionRefusal, CheckedAssertion, check_assertion};
use crate::auth::client::{ClientProof, ClientRecord};
use crate::auth::jwks::IssuerKeys;
use crate::auth::record::{Scope, Status};
use crate::clock;
use crate::http::log::Line;
use crate::store::call::Table;
use crate::store::error::{Refusal, StoreError};
use crate::store::item::{Item, number};
use crate::store::keys::oauth;
use crate::store::transaction::{Action, Expression};

/// The name of the claim on the id of an assertion.
const USED_ASSERTION: &str = "assertion";
/// Everything that the client may do.
const ALL: &str = "scim";
/// Reading only.
const READ: &str = "scim.read";
/// Reading and writing.
const READ_WRITE: &str = "scim.readwrite";
/// The scopes that can be asked for.
pub(super) const SCOPES: [&str; 3] = [ALL, READ, READ_WRITE];

/// Answers a token request.
///
/// # Errors
/// [`TokenError`].
pub(super) async fn grant(
    table: &Table,
    issuers: &IssuerKeys,
    request: &Request,
    line: &mut Line,
) -> Result<Response<Body>, TokenError> {
    let form = TokenForm::read(request)?;
    match form.get("grant_type") {
        Some("client_credentials") => {}
        None => return Err(TokenError::invalid_request("grant_type is missing.")),
        Some(_) => {
            let description = "grant_type must be client_credentials.";
            return Err(TokenError::new(TokenErrorKind::UnsupportedGrantType, description));
        }
    }
    let presented = PresentedClient::read(request, &form)?;
    let now = clock::now();
    let client = find_client(table, &presented.id).await?;
    line.key_id = Some(client.id.clone());
    line.tenant = Some(client.tenant.to_string());
    let proof = check_proof(issuers, &client, &presented.proof, now).await?;
    let scope = GrantedScope::read(form.get("scope"), client.scope)?;
    let token = AccessToken::generate(&client.tenant).map_err(|failed| TokenError {
        source: Some(failed.to_string()),
        ..TokenError::new(TokenErrorKind::Internal, "The service has no randomness just now.")
    })?;
    let record = TokenRecord {
        hash: token.sha256(),
        tenant: client.tenant.clone(),
        client: client.id.clone(),
        secret: proof.secret,
        scope: scope.scope,
        expires: now + client.token_life(),
    };
    write(table, &record, proof.assertion.as_ref()).await?;
    let body = json!({
        "access_token": token.reveal(),
        "token_type": "Bearer",
        "expires_in": client.token_life().whole_seconds(),
        "scope": scope.text,
    });
    Ok(answer(StatusCode::OK, &body))
}

/// The client of this id, if it is in force.
async fn find_client(table: &Table, id: &str) -> Result<ClientRecord, TokenError> {
    if !ClientRecord::is_id(id) {
        return Err(TokenError::invalid_client("malformed client id"));
    }
    let item = table.get(&oauth::client(id)).await?;
    let record = item.as_ref().map(ClientRecord::from_item).transpose()?;
    match record {
        Some(record) if record.status == Status::Active => Ok(record),
        Some(_) => Err(TokenError::invalid_client("revoked client")),
        None => Err(TokenError::invalid_client("unknown client")),
    }
}

/// A proof that was checked.
struct CheckedProof {
    /// The id of the secret.
    secret: Option<String>,
    assertion: Option<CheckedAssertion>,
}

async fn check_proof(
    issuers: &IssuerKeys,
    client: &ClientRecord,
    presented: &PresentedProof,
    now: OffsetDateTime,
) -> Result<CheckedProof, TokenError> {
    match (presented, &client.proof) {
        (PresentedProof::Secret(text), ClientProof::Secrets { .. }) => {
            let hash = SecretText::parse(text).map(|secret| secret.sha256());
            let hash = hash.map_err(|_| TokenError::invalid_client("malformed secret"))?;
            let secret = client.live_secret(&hash, now);
            let secret = secret.ok_or_else(|| TokenError::invalid_client("wrong secret"))?;
            Ok(CheckedProof { secret: Some(secret.id.clone()), assertion: None })
        }
        (PresentedProof::Assertion(text), ClientProof::Federated(federation)) => {
            let checked = check_assertion(issuers, federation, text, now.unix_timestamp()).await?;
            Ok(CheckedProof { secret: None, assertion: Some(checked) })
        }
        _ => Err(TokenError::invalid_client("another kind of proof")),
    }
}

/// What the token may do, and how that is called.
struct GrantedScope {
    scope: Scope,
    text: String,
}

impl GrantedScope {
    /// Reads the parameter `scope`: names with blanks between them. Without one, the token may do what the client may.
    ///
    /// # Errors
    /// 400 for a scope that is unknown, or that the client may not have.
    fn read(asked: Option<&str>, client: Scope) -> Result<Self, TokenError> {
        let asked = asked.unwrap_or(ALL);
        let names: Vec<&str> = asked.split(' ').collect();
        if !names.iter().all(|name| SCOPES.contains(name)) {
            let description = "scope can be scim, scim.read or scim.readwrite.";
            return Err(TokenError::new(TokenErrorKind::InvalidScope, description));
        }
        if names.contains(&READ_WRITE) && client == Scope::Read {
            let description = "The scope of this client is read: ask for scim.read, or leave scope out.";
            return Err(TokenError::new(TokenErrorKind::InvalidScope, description));
        }
        let scope = if names.iter().all(|name| *name == READ) { Scope::Read } else { client };
        // `scope` tells what was granted where that is less than was asked for (RFC 6749 §5.1).
        let text = if scope == Scope::Read { READ } else { asked };
        Ok(Self { scope, text: text.to_owned() })
    }
}

/// Writes the token. The id of an assertion is written in the same transaction, on condition that it is not there.
async fn write(
    table: &Table,
    record: &TokenRecord,
    assertion: Option<&CheckedAssertion>,
) -> Result<(), TokenError> {
    let actions = || {
        let place = oauth::access_token(record.hash.as_str());
        let token = Action::put(place, record.to_item()).only_if(Expression::absent(), Refusal::Exists);
        let used = assertion.and_then(|CheckedAssertion { id, usable_until }| {
            let id = id.as_deref()?;
            let item = Item::from([number("ttl", *usable_until)]);
            let over = Expression::new("#ttl <= :now")
                .name("ttl")
                .value(":now", AttributeValue::N(clock::epoch_seconds().to_string()));
            let is_new = Expression::absent().or(over);
            let place = oauth::used_assertion(&record.client, id);
            Some(Action::put(place, item).only_if(is_new, Refusal::Taken(USED_ASSERTION)))
        });
        [Some(token), used].into_iter().flatten().collect()
    };
    match table.transact(actions).await {
        Ok(()) => Ok(()),
        Err(StoreError::Refused(why)) if why.contains(&Refusal::Taken(USED_ASSERTION)) => {
            Err(AssertionRefusal::Replayed.into())
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_what_the_client_may_or_less() {
        use Scope::{Provision, Read};
        for (asked, client, granted) in [
            (None, Provision, Some((Provision, "scim"))),
            (None, Read, Some((Read, "scim.read"))),
            (Some("scim"), Provision, Some((Provision, "scim"))),
            (Some("scim"), Read, Some((Read, "scim.read"))),
            (Some("scim.read"), Provision, Some((Read, "scim.read"))),
            (Some("scim.readwrite"), Provision, Some((Provision, "scim.readwrite"))),
            (Some("scim.readwrite scim.read"), Provision, Some((Provision, "scim.readwrite scim.read"))),
            (Some("scim.readwrite"), Read, None),
            (Some("scim admin"), Provision, None),
            (Some("SCIM"), Provision, None),
            (Some(" scim"), Provision, None),
            (Some("scim  scim.read"), Provision, None),
        ] {
            let found = GrantedScope::read(asked, client).ok().map(|found| (found.scope, found.text));
            assert_eq!(found, granted.map(|(scope, text)| (scope, text.to_owned())), "{asked:?}");
        }
    }
}
