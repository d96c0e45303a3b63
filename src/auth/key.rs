//! A bearer key's text (RFC 6750): made here, checked here, stored nowhere.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::store::keys::TenantId;

/// 62 digits; their order is that of ASCII.
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 62^43 is a little more than 2^256.
const SECRET: usize = 43;
/// 62^6 is more than 2^32.
const CHECKSUM: usize = 6;

/// A key as its holder has it:
///
/// ```text
/// key      = "rc_" tenant "_" 43base62 "_" 6base62
/// base62   = ALPHA / DIGIT
/// ```
///
/// The last part is the CRC-32 of everything before its underscore, most significant digit first. So the
/// authorizer refuses a mistyped or cut key without a call, and scanners for leaked secrets recognise a key.
///
/// The text names the tenant, so that the tenant's item and the key's are read side by side. The key's item
/// decides which tenant the key belongs to.
#[derive(Clone)]
pub struct BearerKey {
    text: String,
    tenant: TenantId,
}

/// The text is not a bearer key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the text is not a bearer key")
    }
}

impl std::error::Error for Malformed {}

/// The SHA-256 of a key in lower-case hexadecimal: the only form in which a key is stored.
/// Compared in constant time, and never printed by `Debug`.
#[derive(Clone)]
pub struct KeyHash(String);

impl KeyHash {
    /// A hash as the table has it.
    pub fn from_stored(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The hash of a key's text.
    pub(super) fn of(text: &str) -> Self {
        let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble & 15)]);
        let digest = Sha256::digest(text.as_bytes());
        Self(digest.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect())
    }

    /// The hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PartialEq for KeyHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for KeyHash {}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(…)")
    }
}

/// The head of an application key.
const APPLICATION: &str = "rca";

/// The key of an application, which works for every tenant:
///
/// ```text
/// key = "rca_" 43base62 "_" 6base62
/// ```
///
/// Secret and checksum are those of a [`BearerKey`].
#[derive(Clone)]
pub struct ApplicationKey {
    text: String,
}

impl BearerKey {
    /// Makes a new key of at least 256 random bits from the operating system.
    ///
    /// # Errors
    /// The operating system's error if it has no random bytes.
    pub fn generate(tenant: &TenantId) -> Result<Self, getrandom::Error> {
        Ok(Self { text: generate_text(&format!("rc_{tenant}"))?, tenant: tenant.clone() })
    }

    /// Reads a key and checks its tenant, lengths, alphabet and checksum. It does not check that the key exists.
    ///
    /// # Errors
    /// [`Malformed`]. It does not say what is wrong.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let tenant = check_text(text)?.strip_prefix("rc_").ok_or(Malformed)?;
        Ok(Self { text: text.to_owned(), tenant: tenant.parse().map_err(|_| Malformed)? })
    }

    /// The tenant that the text names. The key's item in the table decides which tenant it belongs to.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The hash of the whole text. The table stores the hash, not the key.
    pub fn sha256(&self) -> KeyHash {
        KeyHash::of(&self.text)
    }

    /// The whole text. It is shown once, to the operator who made the key.
    pub fn reveal(&self) -> &str {
        &self.text
    }
}

impl ApplicationKey {
    /// A new key, as random as a [`BearerKey`].
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub fn generate() -> Result<Self, getrandom::Error> {
        Ok(Self { text: generate_text(APPLICATION)? })
    }

    /// Reads a key: lengths, alphabet and checksum.
    ///
    /// # Errors
    /// [`Malformed`], whatever is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if check_text(text)? == APPLICATION { Ok(Self { text: text.to_owned() }) } else { Err(Malformed) }
    }

    /// Under what the table knows the key.
    pub fn sha256(&self) -> KeyHash {
        KeyHash::of(&self.text)
    }

    /// The whole text, to be shown once to whoever made the key.
    pub fn reveal(&self) -> &str {
        &self.text
    }
}

/// Makes the text of a key that begins with `head`: a new secret and the checksum behind it.
pub(super) fn generate_text(head: &str) -> Result<String, getrandom::Error> {
    let body = format!("{head}_{}", random_base62(SECRET)?);
    Ok(format!("{body}_{}", checksum(&body)))
}

/// Checks the secret and the checksum in the text of a key. Returns what stands before them.
pub(super) fn check_text(text: &str) -> Result<&str, Malformed> {
    let (body, sum) = text.rsplit_once('_').ok_or(Malformed)?;
    let (head, secret) = body.rsplit_once('_').ok_or(Malformed)?;
    let good = secret.len() == SECRET
        && secret.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && sum == checksum(body);
    if good { Ok(head) } else { Err(Malformed) }
}

/// Names the tenant and nothing else.
impl fmt::Debug for BearerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BearerKey(rc_{}_…)", self.tenant)
    }
}

impl fmt::Debug for ApplicationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApplicationKey(rca_…)")
    }
}

/// Returns random base62 digits. A byte of 248 or more is discarded, since 248 is four times 62. So all digits have
/// the same probability.
///
/// # Errors
/// The operating system's error if it has no random bytes.
pub fn random_base62(digits: usize) -> Result<String, getrandom::Error> {
    let mut text = String::with_capacity(digits);
    let mut bytes = [0; 64];
    while text.len() < digits {
        getrandom::fill(&mut bytes)?;
        let fair = bytes.iter().filter(|byte| **byte < 248);
        let open = digits - text.len();
        text.extend(fair.take(open).map(|byte| char::from(BASE62[usize::from(byte % 62)])));
    }
    Ok(text)
}

/// The CRC-32 of a text (IEEE 802.3) in six base62 digits.
fn checksum(body: &str) -> String {
    let mut rest = crc32fast::hash(body.as_bytes());
    let mut digits = [b'0'; CHECKSUM];
    for digit in digits.iter_mut().rev() {
        // The remainder is less than 62.
        *digit = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    digits.iter().copied().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZEROS: &str = "rc_acme_0000000000000000000000000000000000000000000";

    #[test]
    fn the_checksum_is_the_crc_in_six_digits() {
        // CRC-32 of "123456789" is 0xCBF43926 = 3421780262, its check value in every catalogue.
        assert_eq!(checksum("123456789"), "3jZRME");
        assert_eq!(checksum(""), "000000");
    }

    #[test]
    fn a_generated_key_reads_back() {
        for tenant in ["ab", "acme", "a-1-", "a123456789012345678901234567890"] {
            let tenant: TenantId = tenant.parse().expect("a tenant");
            let key = BearerKey::generate(&tenant).expect("randomness");
            let again = BearerKey::parse(key.reveal()).expect("well formed");
            assert_eq!(again.tenant(), &tenant);
            assert_eq!(again.sha256(), key.sha256());
            assert_eq!(key.reveal().len(), "rc__".len() + tenant.as_str().len() + 43 + "_".len() + 6);
            let other = BearerKey::generate(&tenant).expect("randomness");
            assert_ne!(other.sha256(), key.sha256());
        }
    }

    #[test]
    fn an_application_key_is_no_tenants_key_and_the_other_way_round() {
        let application = ApplicationKey::generate().expect("randomness");
        let again = ApplicationKey::parse(application.reveal()).expect("well formed");
        assert_eq!(again.sha256(), application.sha256());
        assert_eq!(application.reveal().len(), "rca__".len() + 43 + 6);
        assert_eq!(format!("{application:?}"), "ApplicationKey(rca_…)");
        assert_eq!(BearerKey::parse(application.reveal()).err(), Some(Malformed));
        let bearer = BearerKey::generate(&"acme".parse().expect("a tenant")).expect("randomness");
        assert_eq!(ApplicationKey::parse(bearer.reveal()).err(), Some(Malformed));
        for head in ["rca_", "rc", "rca_rca", "RCA", ""] {
            let text = generate_text(head).expect("randomness");
            assert_eq!(ApplicationKey::parse(&text).err(), Some(Malformed), "{head}");
        }
    }

    #[test]
    fn the_hash_is_sha256_in_lower_case() {
        let key = BearerKey { text: "abc".to_owned(), tenant: "ab".parse().expect("a tenant") };
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(key.sha256().as_str(), expected);
    }

    #[test]
    fn neither_key_nor_hash_is_ever_printed() {
        let key = BearerKey::generate(&"acme".parse().expect("a tenant")).expect("randomness");
        assert_eq!(format!("{key:?} {:?}", key.sha256()), "BearerKey(rc_acme_…) KeyHash(…)");
    }

    #[test]
    fn only_the_whole_form_is_a_key() {
        let good = format!("{ZEROS}_{}", checksum(ZEROS));
        assert!(BearerKey::parse(&good).is_ok());
        let with = |body: &str| format!("{body}_{}", checksum(body));
        let secret = "0".repeat(43);
        let bad = [
            ("empty", String::new()),
            ("no checksum", ZEROS.to_owned()),
            ("empty checksum", format!("{ZEROS}_")),
            ("wrong checksum", format!("{ZEROS}_000000")),
            ("short checksum", good[..good.len() - 1].to_owned()),
            ("long checksum", format!("{good}0")),
            ("checksum in another case", good.to_lowercase()),
            ("blank before", format!(" {good}")),
            ("blank after", format!("{good} ")),
            ("another prefix", with(&ZEROS.replacen("rc_", "rk_", 1))),
            ("no prefix", with(&ZEROS["rc_".len()..])),
            ("no tenant", with(&format!("rc__{secret}"))),
            ("tenant in capitals", with(&format!("rc_Acme_{secret}"))),
            ("tenant with a key's separator", with(&format!("rc_a#b_{secret}"))),
            ("long tenant", with(&format!("rc_{}_{secret}", "a".repeat(32)))),
            ("short secret", with(&ZEROS[..ZEROS.len() - 1])),
            ("long secret", with(&format!("{ZEROS}0"))),
            ("secret of another alphabet", with(&ZEROS.replacen('0', "-", 1))),
            ("secret beyond ASCII", with(&format!("rc_acme_{}é", "0".repeat(41)))),
            ("a part too many", with(&format!("{ZEROS}_0"))),
            ("a megabyte", "r".repeat(1 << 20)),
        ];
        for (what, text) in bad {
            assert_eq!(BearerKey::parse(&text).err(), Some(Malformed), "{what}");
        }
    }

    #[test]
    fn every_digit_is_as_likely_as_any_other() {
        let text = random_base62(62 * 1000).expect("randomness");
        for digit in BASE62 {
            let count = text.bytes().filter(|byte| byte == digit).count();
            // 1,000 expected, standard deviation 31: beyond 250 is no accident.
            assert!((750..1250).contains(&count), "{}: {count}", char::from(*digit));
        }
    }
}
