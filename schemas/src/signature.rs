//! Who said it: parties that run their own workers sign their predictions and answers (ed25519, RFC 8032), and whoever
//! counts them checks.
//!
//! A signature covers the record's `ce_id`, run, round, attempt, step, chunk, slot and body: the same words under another
//! identity are not signed.

use crate::digest::{Digest, digits, from_digits};
use crate::task::Attempt;
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Header with a record's signature, as 128 hexadecimal digits.
pub const SIGNATURE: &str = "fedstill_signature";
/// Header with the id of the party that a record is of, or for.
pub const PARTY: &str = "fedstill_party";
/// What keys begin with in text.
const SCHEME: &str = "ed25519:";

/// A party of a deployed run: its place in the run is its slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartyIdentity {
    /// Its id.
    pub id: String,
    /// Its public key.
    pub key: PublicKey,
}

/// A public key, as `ed25519:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

/// A private key. Never printed.
#[derive(Clone)]
pub struct PrivateKey(SigningKey);

/// The text is no key.
#[derive(Debug, thiserror::Error)]
#[error("it is no key: expected {SCHEME} and 64 hexadecimal digits, as `fedstill party init` writes them")]
pub struct NotAKey;

/// What a signature covers besides the body.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// The record's `ce_id`.
    pub ce_id: &'a str,
    /// Run, round and attempt.
    pub at: &'a Attempt,
    /// The step.
    pub step: &'a str,
    /// The chunk of predictions.
    pub chunk: Option<u32>,
    /// The party's place in the run.
    pub slot: u32,
}

impl Signed<'_> {
    /// The bytes that are signed: one line a field, then the body's sha256. No field can hold a line's end.
    fn bytes(&self, body: &[u8]) -> Vec<u8> {
        let chunk = self.chunk.map_or_else(|| "-".to_owned(), |chunk| chunk.to_string());
        let Attempt { run, round, attempt } = self.at;
        let (id, step, slot) = (self.ce_id, self.step, self.slot);
        let sha256 = Digest::of(body);
        format!("fedstill signature 1\n{id}\n{run}\n{round}\n{attempt}\n{step}\n{chunk}\n{slot}\n{sha256}\n")
            .into_bytes()
    }
}

impl PrivateKey {
    /// A key of 32 random bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(bytes))
    }

    /// As it is kept in a file.
    pub fn to_text(&self) -> String {
        format!("{SCHEME}{}\n", digits(&self.0.to_bytes()))
    }

    /// What others check its signatures with.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// The signature of a body, for [`SIGNATURE`].
    pub fn sign(&self, signed: Signed<'_>, body: &[u8]) -> String {
        digits(&self.0.sign(&signed.bytes(body)).to_bytes())
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey of {}", self.public())
    }
}

impl FromStr for PrivateKey {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        Ok(Self::from_bytes(&key_bytes(text.trim())?))
    }
}

impl PublicKey {
    /// Whether a signature (the value of [`SIGNATURE`]) is this key's.
    pub fn verifies(&self, signed: Signed<'_>, body: &[u8], signature: &[u8]) -> bool {
        let signature = std::str::from_utf8(signature).ok().and_then(from_digits::<64>);
        let key = VerifyingKey::from_bytes(&self.0);
        let (Some(signature), Ok(key)) = (signature, key) else {
            return false;
        };
        let signature = ed25519_dalek::Signature::from_bytes(&signature);
        key.verify_strict(&signed.bytes(body), &signature).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", digits(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let bytes = key_bytes(text)?;
        VerifyingKey::from_bytes(&bytes).map_err(|_| NotAKey)?;
        Ok(Self(bytes))
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

fn key_bytes(text: &str) -> Result<[u8; 32], NotAKey> {
    text.strip_prefix(SCHEME).and_then(from_digits).ok_or(NotAKey)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> Attempt {
        Attempt {
            run: "a-fedmd-0".into(),
            round: 1,
            attempt: 0,
        }
    }

    #[test]
    fn a_signature_holds_for_its_record_and_for_no_other() {
        let key = PrivateKey::from_bytes(&[7; 32]);
        let at = at();
        let signed = Signed {
            ce_id: "id",
            at: &at,
            step: "predict",
            chunk: Some(2),
            slot: 1,
        };
        let signature = key.sign(signed, b"body");
        let verifies = |signed, body: &[u8]| key.public().verifies(signed, body, signature.as_bytes());
        assert!(verifies(signed, b"body"));
        assert!(!verifies(signed, b"bodi"));
        assert!(!verifies(
            Signed {
                chunk: Some(3),
                ..signed
            },
            b"body"
        ));
        assert!(!verifies(Signed { chunk: None, ..signed }, b"body"));
        assert!(!verifies(Signed { slot: 2, ..signed }, b"body"));
        assert!(!verifies(Signed { ce_id: "ie", ..signed }, b"body"));
        assert!(!verifies(
            Signed {
                step: "digest",
                ..signed
            },
            b"body"
        ));
        let later = Attempt { round: 2, ..at.clone() };
        assert!(!verifies(Signed { at: &later, ..signed }, b"body"));
        let again = Attempt {
            attempt: 1,
            ..at.clone()
        };
        assert!(!verifies(Signed { at: &again, ..signed }, b"body"));
        let other = PrivateKey::from_bytes(&[8; 32]);
        assert!(!other.public().verifies(signed, b"body", signature.as_bytes()));
        for nonsense in ["", "00", "é", &"zz".repeat(64)] {
            assert!(!key.public().verifies(signed, b"body", nonsense.as_bytes()));
        }
    }

    #[test]
    fn keys_survive_their_texts_and_private_ones_are_never_printed() {
        let key = PrivateKey::from_bytes(&[7; 32]);
        let again: PrivateKey = key.to_text().parse().unwrap();
        assert_eq!(again.public(), key.public());
        assert_eq!(key.public().to_string().parse::<PublicKey>().unwrap(), key.public());
        assert!(!format!("{key:?}").contains(&digits(&[7; 32])));
        assert!("ed25519:12".parse::<PublicKey>().is_err() && "x".parse::<PrivateKey>().is_err());
    }

    #[test]
    fn signatures_are_those_of_the_standard() {
        // RFC 8032, 7.1, test 1: the public key of this private key.
        let private = from_digits("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
        let public = "ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert_eq!(PrivateKey::from_bytes(&private).public().to_string(), public);
    }
}
