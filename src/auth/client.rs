//! What the table knows of an OAuth client (RFC 6749 §2): the item `C#<client id>`/`CLIENT`.

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::key::KeyHash;
use super::record::{Scope, Status, broken, moment};
use crate::clock;
use crate::limits::{SECRET_YEARS, TOKEN_HOURS};
use crate::store::error::StoreError;
use crate::store::event::{Subject, SubjectId};
use crate::store::item::{Item, get_number, must_text, number, text};
use crate::store::keys::{self, TenantId};

/// A client of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRecord {
    /// Its public id: `client_…`. It is the `client_id` of token requests.
    pub id: String,
    /// Whose data its tokens open.
    pub tenant: TenantId,
    /// What the operator calls it.
    pub name: String,
    /// What its tokens may do at most.
    pub scope: Scope,
    /// Whether it is in force.
    pub status: Status,
    /// When it was made.
    pub created: OffsetDateTime,
    /// How many hours a token of it lives.
    pub token_hours: u64,
    /// How it proves who it is.
    pub proof: ClientProof,
    /// Counts its changes.
    pub version: u64,
}

/// How a client proves who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientProof {
    /// By a secret (RFC 6749 §2.3.1).
    Secrets {
        /// The secrets that it has, the oldest first.
        secrets: Vec<ClientSecret>,
        /// How many years a new one lives.
        years: u64,
    },
    /// By an assertion of an issuer (RFC 7523 §2.2).
    Federated(Federation),
}

/// A secret of a client: never its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSecret {
    /// Its public id: `secret_…`.
    pub id: String,
    /// The hash of its text.
    pub hash: KeyHash,
    /// When it was made.
    pub created: OffsetDateTime,
    /// From when on it is refused.
    pub expires: OffsetDateTime,
}

/// What the assertions of a federated client must hold. Each is compared exactly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Federation {
    /// The claim `iss`.
    pub issuer: String,
    /// The claim `sub`.
    pub subject: String,
    /// The claim `aud`.
    pub audience: String,
    /// Where the keys of the issuer are (RFC 7517 §5).
    pub jwks_url: String,
    /// The claim `tid` of Entra ID, if the client was made for a directory of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
}

impl Federation {
    /// The issuer and the JWKS URL of a directory of Entra ID.
    pub fn entra_urls(directory: &str) -> (String, String) {
        let authority = format!("https://login.microsoftonline.com/{directory}");
        (format!("{authority}/v2.0"), format!("{authority}/discovery/v2.0/keys"))
    }
}

impl ClientProof {
    /// The name in the table and on the command line.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Secrets { .. } => "secret",
            Self::Federated(_) => "federated",
        }
    }

    /// The secrets. A federated client has none.
    pub fn secrets(&self) -> &[ClientSecret] {
        match self {
            Self::Secrets { secrets, .. } => secrets,
            Self::Federated(_) => &[],
        }
    }
}

impl ClientSecret {
    fn to_value(&self) -> AttributeValue {
        AttributeValue::M(Item::from([
            text("id", &self.id),
            text("hash", self.hash.as_str()),
            text("created", clock::text(self.created)),
            text("expires", clock::text(self.expires)),
        ]))
    }

    fn from_value(value: &AttributeValue) -> Result<Self, StoreError> {
        let item = value.as_m().map_err(|_| broken("secrets"))?;
        Ok(Self {
            id: must_text(item, "id")?.to_owned(),
            hash: KeyHash::from_stored(must_text(item, "hash")?),
            created: moment(must_text(item, "created")?).ok_or_else(|| broken("secrets"))?,
            expires: moment(must_text(item, "expires")?).ok_or_else(|| broken("secrets"))?,
        })
    }
}

impl ClientRecord {
    /// Whether a text may be the id of a client.
    pub fn is_id(text: &str) -> bool {
        let digits = text.strip_prefix("client_").unwrap_or_default();
        (1..=32).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_alphanumeric())
    }

    /// The item's attributes, without its key.
    ///
    /// # Errors
    /// Never for what [`ClientRecord::from_item`] has read.
    pub fn to_item(&self) -> Result<Item, StoreError> {
        let mut item = Item::from([
            text("tenant", self.tenant.as_str()),
            text("name", &self.name),
            text("scope", self.scope.name()),
            text("status", self.status.name()),
            text("created", clock::text(self.created)),
            text("proof", self.proof.name()),
            number("tokenHours", self.token_hours),
            number("ver", self.version),
        ]);
        match &self.proof {
            ClientProof::Secrets { secrets, years } => {
                let secrets = secrets.iter().map(ClientSecret::to_value).collect();
                item.extend([
                    ("secrets".to_owned(), AttributeValue::L(secrets)),
                    number("secretYears", years),
                ]);
            }
            ClientProof::Federated(federation) => {
                let json = serde_json::to_string(federation).map_err(|_| broken("federation"))?;
                item.extend([text("federation", &json)]);
            }
        }
        Ok(item)
    }

    /// Reads the item back.
    ///
    /// # Errors
    /// [`StoreError::Broken`] if an attribute is missing or not of its form: such a client gets no token, and its
    /// tokens open nothing.
    pub fn from_item(item: &Item) -> Result<Self, StoreError> {
        let id = must_text(item, "pk")?.strip_prefix(keys::oauth::CLIENTS).ok_or_else(|| broken("pk"))?;
        let proof = match must_text(item, "proof")? {
            "secret" => {
                let secrets = item.get("secrets").and_then(|list| list.as_l().ok());
                let secrets = secrets.ok_or_else(|| broken("secrets"))?.iter().map(ClientSecret::from_value);
                let years = get_number(item, "secretYears").filter(|years| SECRET_YEARS.contains(years));
                ClientProof::Secrets {
                    secrets: secrets.collect::<Result<_, _>>()?,
                    years: years.ok_or_else(|| broken("secretYears"))?,
                }
            }
            "federated" => {
                let json = must_text(item, "federation")?;
                ClientProof::Federated(serde_json::from_str(json).map_err(|_| broken("federation"))?)
            }
            _ => return Err(broken("proof")),
        };
        let hours = get_number(item, "tokenHours").filter(|hours| TOKEN_HOURS.contains(hours));
        Ok(Self {
            id: id.to_owned(),
            tenant: must_text(item, "tenant")?.parse().map_err(|_| broken("tenant"))?,
            name: must_text(item, "name")?.to_owned(),
            scope: Scope::named(must_text(item, "scope")?).ok_or_else(|| broken("scope"))?,
            status: Status::named(must_text(item, "status")?).ok_or_else(|| broken("status"))?,
            created: moment(must_text(item, "created")?).ok_or_else(|| broken("created"))?,
            token_hours: hours.ok_or_else(|| broken("tokenHours"))?,
            proof,
            version: get_number(item, "ver").ok_or_else(|| broken("version"))?,
        })
    }

    /// The secret with this hash that is in force at `now`. All hashes are compared.
    pub fn live_secret(&self, hash: &KeyHash, now: OffsetDateTime) -> Option<&ClientSecret> {
        let live = self.proof.secrets().iter().filter(|secret| secret.expires > now);
        live.fold(None, |found, secret| if secret.hash == *hash { Some(secret) } else { found })
    }

    /// Whether a token that was given for this secret, or for an assertion, goes on working. A secret that was
    /// revoked is not in the list any more. One that has expired is, until the last token of it has ended.
    pub fn allows_token_of(&self, secret: Option<&str>) -> bool {
        match (secret, &self.proof) {
            (Some(id), ClientProof::Secrets { secrets, .. }) => secrets.iter().any(|secret| secret.id == id),
            (None, ClientProof::Federated(_)) => true,
            _ => false,
        }
    }

    /// Whether it has secrets, and all of them have expired.
    pub fn is_expired(&self, now: OffsetDateTime) -> bool {
        match &self.proof {
            ClientProof::Secrets { secrets, .. } => secrets.iter().all(|secret| secret.expires <= now),
            ClientProof::Federated(_) => false,
        }
    }

    /// How long a token of it lives.
    pub fn token_life(&self) -> Duration {
        Duration::hours(i64::try_from(self.token_hours).unwrap_or(1))
    }

    /// The subject of its changes.
    pub fn subject(&self) -> Subject {
        Subject { id: SubjectId::Client(self.id.clone()), version: self.version }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::store::item::with_key;

    const NOW: OffsetDateTime = datetime!(2026-11-26 12:00 UTC);

    fn secret(id: &str, hash: &str, days: i64) -> ClientSecret {
        let (hash, expires) = (KeyHash::from_stored(hash), NOW + Duration::days(days));
        ClientSecret { id: id.to_owned(), hash, created: NOW - Duration::days(9), expires }
    }

    fn record(proof: ClientProof) -> ClientRecord {
        ClientRecord {
            id: "client_1".to_owned(),
            tenant: "acme".parse().expect("a tenant"),
            name: "entra".to_owned(),
            scope: Scope::Provision,
            status: Status::Active,
            created: NOW,
            token_hours: 1,
            proof,
            version: 3,
        }
    }

    fn both() -> [ClientRecord; 2] {
        let secrets = vec![secret("secret_1", "aa", -1), secret("secret_2", "bb", 1)];
        let federation = Federation {
            issuer: "https://issuer.example".to_owned(),
            subject: "s".to_owned(),
            audience: "a".to_owned(),
            jwks_url: "https://issuer.example/keys".to_owned(),
            directory: None,
        };
        [record(ClientProof::Secrets { secrets, years: 1 }), record(ClientProof::Federated(federation))]
    }

    #[test]
    fn a_record_reads_back_and_what_cannot_be_read_opens_nothing() {
        for record in both() {
            let mut item = with_key(&keys::oauth::client("client_1"));
            item.extend(record.to_item().expect("an item"));
            assert_eq!(ClientRecord::from_item(&item).expect("whole"), record);
            let names: Vec<String> = item.keys().filter(|name| *name != "sk").cloned().collect();
            for name in names {
                let mut item = item.clone();
                item.insert(name.clone(), AttributeValue::Null(true));
                assert!(ClientRecord::from_item(&item).is_err(), "another {name}");
                item.remove(&name);
                assert!(ClientRecord::from_item(&item).is_err(), "without {name}");
            }
        }
    }

    #[test]
    fn a_secret_gives_tokens_until_it_ends_and_its_tokens_outlive_it() {
        let [record, federated] = both();
        let live =
            |hash| record.live_secret(&KeyHash::from_stored(hash), NOW).map(|secret| secret.id.as_str());
        assert_eq!([live("aa"), live("bb"), live("cc")], [None, Some("secret_2"), None]);
        let allows = |record: &ClientRecord, secret| record.allows_token_of(secret);
        assert!(allows(&record, Some("secret_1")) && allows(&record, Some("secret_2")));
        assert!(!allows(&record, Some("secret_3")) && !allows(&record, None));
        assert!(allows(&federated, None) && !allows(&federated, Some("secret_1")));
    }
}
