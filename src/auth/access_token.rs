//! Access tokens (RFC 6749 §1.4) and the secrets of clients: their texts, and what the table knows of a token.

use std::fmt;

use time::OffsetDateTime;

use super::key::{KeyHash, Malformed, check_text, generate_text};
use super::record::{Scope, broken, moment, optional};
use crate::clock;
use crate::store::error::StoreError;
use crate::store::item::{Item, must_text, number, text};
use crate::store::keys::{self, TenantId};

/// The head of an access token. It is not that of a bearer key. So the authorizer knows from the text which item to
/// read, and the function that writes tokens needs no permission to write keys.
const TOKEN: &str = "rct_";
/// The head of the secret of a client.
const SECRET: &str = "rcs";

/// An access token as its holder has it:
///
/// ```text
/// token = "rct_" tenant "_" 43base62 "_" 6base62
/// ```
///
/// Secret and checksum are those of a [`BearerKey`](super::key::BearerKey). To the client the token is opaque.
#[derive(Clone)]
pub struct AccessToken {
    text: String,
    tenant: TenantId,
}

impl AccessToken {
    /// Makes a new token, as random as a bearer key.
    ///
    /// # Errors
    /// The operating system's error if it has no random bytes.
    pub fn generate(tenant: &TenantId) -> Result<Self, getrandom::Error> {
        Ok(Self { text: generate_text(&format!("{TOKEN}{tenant}"))?, tenant: tenant.clone() })
    }

    /// Reads a token: tenant, lengths, alphabet and checksum. It does not check that the token exists.
    ///
    /// # Errors
    /// [`Malformed`]. It does not say what is wrong.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let tenant = check_text(text)?.strip_prefix(TOKEN).ok_or(Malformed)?;
        Ok(Self { text: text.to_owned(), tenant: tenant.parse().map_err(|_| Malformed)? })
    }

    /// The tenant that the text names.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The hash of the whole text, by which the table knows the token.
    pub fn sha256(&self) -> KeyHash {
        KeyHash::of(&self.text)
    }

    /// The whole text, for the client that asked for it.
    pub fn reveal(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccessToken({TOKEN}{}_…)", self.tenant)
    }
}

/// The secret of a client:
///
/// ```text
/// secret = "rcs_" 43base62 "_" 6base62
/// ```
#[derive(Clone)]
pub struct SecretText(String);

impl SecretText {
    /// Makes a new secret, as random as a bearer key.
    ///
    /// # Errors
    /// The operating system's error if it has no random bytes.
    pub fn generate() -> Result<Self, getrandom::Error> {
        Ok(Self(generate_text(SECRET)?))
    }

    /// Reads a secret: lengths, alphabet and checksum.
    ///
    /// # Errors
    /// [`Malformed`]. It does not say what is wrong.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if check_text(text)? == SECRET { Ok(Self(text.to_owned())) } else { Err(Malformed) }
    }

    /// The hash of the whole text. The table stores the hash, not the secret.
    pub fn sha256(&self) -> KeyHash {
        KeyHash::of(&self.0)
    }

    /// The whole text, to be shown once.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(rcs_…)")
    }
}

/// What the table knows of an access token: the item `O#<sha256>`/`TOKEN`. DynamoDB deletes it some time after its
/// end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    /// The hash of its text, which is its place in the table.
    pub hash: KeyHash,
    /// Whose data it opens.
    pub tenant: TenantId,
    /// The client that it was given to.
    pub client: String,
    /// The id of the secret that it was given for. `None` if it was given for an assertion.
    pub secret: Option<String>,
    /// What it may do.
    pub scope: Scope,
    /// From when on it is refused.
    pub expires: OffsetDateTime,
}

impl TokenRecord {
    /// The item's attributes, without its key.
    pub fn to_item(&self) -> Item {
        let mut item = Item::from([
            text("tenant", self.tenant.as_str()),
            text("client", &self.client),
            text("scope", self.scope.name()),
            text("expires", clock::text(self.expires)),
            number("ttl", self.expires.unix_timestamp()),
        ]);
        item.extend(self.secret.as_ref().map(|secret| text("secret", secret)));
        item
    }

    /// Reads the item back.
    ///
    /// # Errors
    /// [`StoreError::Broken`] if an attribute is missing or not of its form: such a token opens nothing.
    pub fn from_item(item: &Item) -> Result<Self, StoreError> {
        let hash = must_text(item, "pk")?.strip_prefix(keys::oauth::ACCESS_TOKENS);
        Ok(Self {
            hash: KeyHash::from_stored(hash.ok_or_else(|| broken("pk"))?),
            tenant: must_text(item, "tenant")?.parse().map_err(|_| broken("tenant"))?,
            client: must_text(item, "client")?.to_owned(),
            secret: optional(item, "secret", |id| Some(id.to_owned()))?,
            scope: Scope::named(must_text(item, "scope")?).ok_or_else(|| broken("scope"))?,
            expires: moment(must_text(item, "expires")?).ok_or_else(|| broken("expires"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::AttributeValue;
    use time::macros::datetime;

    use super::super::key::{ApplicationKey, BearerKey};
    use super::*;
    use crate::scim::notes::looks_secret;
    use crate::store::item::with_key;

    #[test]
    fn tokens_keys_and_secrets_are_told_apart() {
        let tenant: TenantId = "acme".parse().expect("a tenant");
        let token = AccessToken::generate(&tenant).expect("randomness");
        let key = BearerKey::generate(&tenant).expect("randomness");
        let application = ApplicationKey::generate().expect("randomness");
        let secret = SecretText::generate().expect("randomness");
        assert_eq!(AccessToken::parse(token.reveal()).expect("a token").tenant(), &tenant);
        assert_eq!(SecretText::parse(secret.reveal()).expect("a secret").sha256(), secret.sha256());
        assert!(BearerKey::parse(token.reveal()).is_err() && SecretText::parse(token.reveal()).is_err());
        for other in [key.reveal(), application.reveal()] {
            assert!(AccessToken::parse(other).is_err() && SecretText::parse(other).is_err());
        }
        assert_eq!(format!("{token:?} {secret:?}"), "AccessToken(rct_acme_…) SecretText(rcs_…)");
        for secret in [token.reveal(), secret.reveal(), key.reveal(), application.reveal()] {
            assert!(looks_secret(secret), "no log may have it");
        }
        let cut = &token.reveal()[..token.reveal().len() - 1];
        assert!(AccessToken::parse(cut).is_err());
    }

    #[test]
    fn a_record_reads_back_and_what_cannot_be_read_opens_nothing() {
        let record = TokenRecord {
            hash: KeyHash::from_stored("00ff"),
            tenant: "acme".parse().expect("a tenant"),
            client: "client_1".to_owned(),
            secret: Some("secret_1".to_owned()),
            scope: Scope::Read,
            expires: datetime!(2027-01-01 0:00 UTC),
        };
        let mut item = with_key(&keys::oauth::access_token("00ff"));
        item.extend(record.to_item());
        assert_eq!(TokenRecord::from_item(&item).expect("whole"), record);
        for name in ["pk", "tenant", "client", "scope", "expires"] {
            let mut item = item.clone();
            item.remove(name);
            assert!(TokenRecord::from_item(&item).is_err(), "without {name}");
        }
        for name in ["pk", "tenant", "client", "secret", "scope", "expires"] {
            let mut item = item.clone();
            item.insert(name.to_owned(), AttributeValue::Null(true));
            assert!(TokenRecord::from_item(&item).is_err(), "another {name}");
        }
    }
}
