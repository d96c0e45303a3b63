//! The keys of issuers (RFC 7517): read from their URLs and kept in the process.
//!
//! - An id that is not known has the keys read again, at most once a minute.
//! - After an hour the keys are read again, so that a key that the issuer has withdrawn is forgotten.
//! - If the issuer does not answer, the keys that are known go on working.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;
use tokio::sync::Mutex as AsyncMutex;

use crate::clock;
use crate::limits::{
    JWKS_FAILURE_PAUSE_SECONDS, JWKS_FETCH, JWKS_PAUSE_SECONDS, JWKS_REFRESH_SECONDS, MAX_JWKS_BYTES,
    MAX_JWKS_KEYS, MAX_KEPT_JWKS,
};
use crate::outbound::client::OutboundClient;

/// The signature algorithms that are taken (RFC 7518 §3.1). Each needs a public key.
pub const ALGORITHMS: [(Algorithm, &str); 3] =
    [(Algorithm::RS256, "RS256"), (Algorithm::PS256, "PS256"), (Algorithm::ES256, "ES256")];

/// The keys of all issuers that this process has asked.
pub struct IssuerKeys {
    client: OutboundClient,
    kept: Mutex<HashMap<String, Arc<AsyncMutex<KeptKeys>>>>,
}

/// The keys of one issuer.
#[derive(Default)]
struct KeptKeys {
    keys: Vec<IssuerKey>,
    /// When they were read, in seconds since 1970. `None`: never.
    read: Option<u64>,
    /// When they were last asked for, in seconds since 1970.
    tried: Option<u64>,
    /// Whether the last attempt failed.
    is_down: bool,
}

/// A public key of an issuer.
#[derive(Clone)]
struct IssuerKey {
    id: String,
    /// Whether it is an RSA key. Otherwise it is one of the curve P-256.
    is_rsa: bool,
    /// The only algorithm that it is for, if it says so.
    algorithm: Option<Algorithm>,
    key: DecodingKey,
}

/// Why there is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoKey {
    /// The issuer has no such key.
    Unknown,
    /// The keys of the issuer cannot be read just now.
    IssuerDown,
}

impl IssuerKeys {
    /// No keys yet. They are read by this client.
    pub fn new(client: OutboundClient) -> Self {
        Self { client, kept: Mutex::default() }
    }

    /// The key of this id for this algorithm.
    ///
    /// # Errors
    /// [`NoKey`].
    pub async fn find(&self, url: &str, id: &str, algorithm: Algorithm) -> Result<DecodingKey, NoKey> {
        let kept = self.of(url);
        let mut kept = kept.lock().await;
        let now = clock::epoch_seconds();
        let is_over = |time: Option<u64>, seconds: u64| time.is_none_or(|time| time + seconds <= now);
        let is_due = kept.find(id, algorithm).is_none() || is_over(kept.read, JWKS_REFRESH_SECONDS);
        let pause = if kept.is_down { JWKS_FAILURE_PAUSE_SECONDS } else { JWKS_PAUSE_SECONDS };
        if is_due && is_over(kept.tried, pause) {
            kept.tried = Some(now);
            match self.read(url).await {
                // An issuer without keys has withdrawn them, or is broken. Their end counts at once, and it is asked
                // again soon.
                Ok(keys) => {
                    kept.is_down = keys.is_empty();
                    if kept.is_down {
                        tracing::warn!("an issuer has no key that can be used");
                    }
                    (kept.keys, kept.read) = (keys, Some(now));
                }
                Err(why) => {
                    kept.is_down = true;
                    tracing::warn!(why, "the keys of an issuer cannot be read");
                }
            }
        }
        let missing = if kept.is_down { NoKey::IssuerDown } else { NoKey::Unknown };
        kept.find(id, algorithm).ok_or(missing)
    }

    fn of(&self, url: &str) -> Arc<AsyncMutex<KeptKeys>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_KEPT_JWKS && !kept.contains_key(url) {
            kept.clear();
        }
        kept.entry(url.to_owned()).or_default().clone()
    }

    async fn read(&self, url: &str) -> Result<Vec<IssuerKey>, String> {
        let body = tokio::time::timeout(JWKS_FETCH, self.client.fetch(url, MAX_JWKS_BYTES)).await;
        let body = body.map_err(|_| format!("no answer within {} seconds", JWKS_FETCH.as_secs()))??;
        read_keys(&body).ok_or_else(|| "the answer is not a set of keys (RFC 7517)".to_owned())
    }
}

impl KeptKeys {
    fn find(&self, id: &str, algorithm: Algorithm) -> Option<DecodingKey> {
        let fits = |key: &&IssuerKey| key.id == id && key.fits(algorithm);
        self.keys.iter().find(fits).map(|key| key.key.clone())
    }
}

impl IssuerKey {
    /// `None` for a key that is not for signatures, or of another type.
    fn read(key: &Value) -> Option<Self> {
        let text = |name: &str| key.get(name).and_then(Value::as_str);
        if text("use").is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let algorithm = match key.get("alg") {
            None | Some(Value::Null) => None,
            Some(name) => Some(ALGORITHMS.iter().find(|(_, own)| name == own)?.0),
        };
        let (is_rsa, parsed) = match text("kty")? {
            "RSA" => (true, DecodingKey::from_rsa_components(text("n")?, text("e")?)),
            "EC" if text("crv") == Some("P-256") => {
                (false, DecodingKey::from_ec_components(text("x")?, text("y")?))
            }
            _ => return None,
        };
        Some(Self { id: text("kid")?.to_owned(), is_rsa, algorithm, key: parsed.ok()? })
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        self.is_rsa == (algorithm != Algorithm::ES256) && self.algorithm.is_none_or(|own| own == algorithm)
    }
}

/// The keys of a set. Those that cannot be used are left out.
fn read_keys(body: &[u8]) -> Option<Vec<IssuerKey>> {
    let set: Value = serde_json::from_slice(body).ok()?;
    let keys = set.get("keys")?.as_array()?;
    Some(keys.iter().filter_map(IssuerKey::read).take(MAX_JWKS_KEYS).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_public_keys_for_signatures_are_kept() {
        let rsa = json!({ "kty": "RSA", "kid": "r", "n": "AQAB", "e": "AQAB" });
        let ec = json!({ "kty": "EC", "crv": "P-256", "kid": "e", "x": "AQAB", "y": "AQAB" });
        let with = |key: &Value, name: &str, value: Value| {
            let mut key = key.clone();
            key[name] = value;
            key
        };
        let ids = |keys: &[Value]| {
            let body = json!({ "keys": keys }).to_string();
            let keys = read_keys(body.as_bytes()).expect("a set");
            keys.into_iter().map(|key| key.id).collect::<Vec<_>>()
        };
        assert_eq!(ids(&[rsa.clone(), ec.clone()]), ["r", "e"]);
        for bad in [
            with(&rsa, "use", json!("enc")),
            with(&rsa, "alg", json!("HS256")),
            with(&rsa, "alg", json!("none")),
            with(&rsa, "kty", json!("oct")),
            with(&rsa, "kid", json!(1)),
            with(&rsa, "n", json!("ä")),
            with(&ec, "crv", json!("P-384")),
            json!({ "kty": "oct", "kid": "o", "k": "AQAB" }),
            json!("key"),
        ] {
            assert_eq!(ids(std::slice::from_ref(&bad)), [""; 0], "{bad}");
        }
        for not in ["", "[]", "{}", "{\"keys\":1}", "<html>"] {
            assert!(read_keys(not.as_bytes()).is_none(), "{not}");
        }
        let key = |value: &Value| IssuerKey::read(value).expect("a key");
        assert!(key(&rsa).fits(Algorithm::RS256) && key(&rsa).fits(Algorithm::PS256));
        assert!(!key(&rsa).fits(Algorithm::ES256) && !key(&ec).fits(Algorithm::RS256));
        let only = key(&with(&rsa, "alg", json!("RS256")));
        assert!(only.fits(Algorithm::RS256) && !only.fits(Algorithm::PS256));
    }
}
