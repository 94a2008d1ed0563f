//! An issuer's keys: JSON Web Keys (RFC 7517, RFC 7518 section 6), parsed once, each for the algorithms it can verify.

use std::ops::RangeInclusive;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::algorithm::Algorithm;
use crate::json;

/// More keys than any issuer has; each costs a signature check for a token without `kid`.
const MAX_KEYS: usize = 100;

/// RFC 7518 section 3.3 demands 2048; longer ones than 8192 cost whoever verifies too much.
const RSA_BITS: RangeInclusive<usize> = 2048..=8192;

/// A set of public keys.
#[derive(Debug)]
pub struct Keys {
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Key {
    kid: String,
    /// One parsed key for each algorithm that it may verify.
    verifiers: Vec<(Algorithm, ParsedPublicKey)>,
}

/// A key of a set that is left out, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key {kid:?}: {reason}")]
pub struct KeyFault {
    kid: String,
    reason: String,
}

/// A document that is no key set at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a JSON Web Key Set: {0}")]
pub struct JwksError(String);

impl Keys {
    /// Parses a JWK Set. Keys of other uses and types are left out silently (RFC 7517 section 5); a key that should
    /// work and does not is left out with a fault, and does not spoil the others.
    ///
    /// # Errors
    /// If the document is not a key set, has no usable key, or more than 100.
    pub fn parse(jwks: &[u8]) -> Result<(Self, Vec<KeyFault>), JwksError> {
        let document = json::object(jwks).map_err(JwksError)?;
        let Some(Value::Array(members)) = document.get("keys") else {
            return Err(JwksError("it has no list \"keys\"".to_owned()));
        };
        if members.len() > MAX_KEYS {
            return Err(JwksError(format!("it has {} keys, more than {MAX_KEYS}", members.len())));
        }
        let (mut keys, mut faults) = (Vec::new(), Vec::new());
        for member in members {
            let Value::Object(jwk) = member else {
                faults.push(KeyFault { kid: String::new(), reason: "not an object".to_owned() });
                continue;
            };
            match parse_key(jwk) {
                Ok(Some(key)) => keys.push(key),
                Ok(None) => {}
                Err(reason) => faults.push(KeyFault { kid: text(jwk, "kid").unwrap_or_default().to_owned(), reason }),
            }
        }
        if keys.is_empty() {
            let reasons: Vec<String> = faults.iter().map(ToString::to_string).collect();
            return Err(JwksError(format!("it has no usable key ({})", reasons.join("; "))));
        }
        Ok((Self { keys }, faults))
    }

    /// Whether a key has this `kid`.
    pub fn contains_kid(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.kid == kid)
    }

    /// How many keys are usable.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Never: a set without a usable key is an error.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether a key named `kid`, or any key if the token names none, made `signature`. As go-oidc chooses: by `kid`
    /// alone; a key verifies only algorithms of its own type, curve and `alg` (RFC 8725 section 3.1).
    pub(crate) fn verify(&self, kid: &str, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        self.keys
            .iter()
            .filter(|key| kid.is_empty() || key.kid == kid)
            .flat_map(|key| &key.verifiers)
            .filter(|(own, _)| *own == algorithm)
            .any(|(_, parsed)| parsed.verify_sig(message, signature).is_ok())
    }
}

/// Members of private keys (RFC 7518 sections 6.2.2 and 6.3.2).
const PRIVATE: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "oth"];

/// A key for signatures, nothing for one of another use or type, or what is wrong with it.
fn parse_key(jwk: &Map<String, Value>) -> Result<Option<Key>, String> {
    // What is not understood must not be read as absent: absent does not restrict the key.
    for name in ["kty", "use", "alg", "kid", "crv"] {
        if !matches!(jwk.get(name), None | Some(Value::Null | Value::String(_))) {
            return Err(format!("{name:?} is not a string"));
        }
    }
    if text(jwk, "use").is_some_and(|usage| usage != "sig") {
        return Ok(None);
    }
    match jwk.get("key_ops") {
        None | Some(Value::Null) => {}
        Some(Value::Array(operations)) if operations.iter().any(|operation| operation == "verify") => {}
        Some(Value::Array(_)) => return Ok(None),
        Some(_) => return Err("\"key_ops\" is not a list".to_owned()),
    }
    let (possible, encoded) = match text(jwk, "kty") {
        Some("RSA") => (RSA, rsa_public_key(jwk)?),
        Some("EC") => match text(jwk, "crv") {
            Some("P-256") => (&EC[..1], ec_point(jwk, 32)?),
            Some("P-384") => (&EC[1..2], ec_point(jwk, 48)?),
            Some("P-521") => (&EC[2..], ec_point(jwk, 66)?),
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    // Whoever reads the set could sign with it, so its signatures prove nothing. go-jose does not verify with one either.
    if PRIVATE.iter().any(|name| jwk.get(*name).is_some_and(|value| !value.is_null())) {
        return Err("it is a private key, published".to_owned());
    }
    let named = match text(jwk, "alg") {
        None => None,
        Some(name) => match Algorithm::from_name(name) {
            // A key for something that is not accepted here.
            None => return Ok(None),
            named => named,
        },
    };
    let mut verifiers = Vec::new();
    for (algorithm, verification) in possible.iter().filter(|(algorithm, _)| named.is_none_or(|own| own == *algorithm))
    {
        let parsed = ParsedPublicKey::new(*verification, &encoded)
            .map_err(|_opaque| "the numbers are not a public key".to_owned())?;
        verifiers.push((*algorithm, parsed));
    }
    if verifiers.is_empty() {
        return Err("its \"alg\" does not fit its type".to_owned());
    }
    Ok(Some(Key { kid: text(jwk, "kid").unwrap_or_default().to_owned(), verifiers }))
}

type Verifier = (Algorithm, &'static dyn VerificationAlgorithm);

const RSA: &[Verifier] = &[
    (Algorithm::Rs256, &RSA_PKCS1_2048_8192_SHA256),
    (Algorithm::Rs384, &RSA_PKCS1_2048_8192_SHA384),
    (Algorithm::Rs512, &RSA_PKCS1_2048_8192_SHA512),
    (Algorithm::Ps256, &RSA_PSS_2048_8192_SHA256),
    (Algorithm::Ps384, &RSA_PSS_2048_8192_SHA384),
    (Algorithm::Ps512, &RSA_PSS_2048_8192_SHA512),
];

const EC: [Verifier; 3] = [
    (Algorithm::Es256, &ECDSA_P256_SHA256_FIXED),
    (Algorithm::Es384, &ECDSA_P384_SHA384_FIXED),
    (Algorithm::Es512, &ECDSA_P521_SHA512_FIXED),
];

fn text<'a>(jwk: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    jwk.get(name).and_then(Value::as_str)
}

fn number(jwk: &Map<String, Value>, name: &str) -> Result<Vec<u8>, String> {
    let encoded = text(jwk, name).ok_or_else(|| format!("{name:?} is missing"))?;
    URL_SAFE_NO_PAD.decode(encoded).map_err(|_error| format!("{name:?} is not base64url"))
}

/// RFC 7518 section 6.2.1: both coordinates in the full length of the curve's field. SEC 1: 4, x, y.
fn ec_point(jwk: &Map<String, Value>, length: usize) -> Result<Vec<u8>, String> {
    let (x, y) = (number(jwk, "x")?, number(jwk, "y")?);
    if x.len() != length || y.len() != length {
        return Err(format!("the coordinates are not of {length} bytes"));
    }
    Ok([&[4], x.as_slice(), y.as_slice()].concat())
}

/// RFC 7518 section 6.3.1 as an `RSAPublicKey` (RFC 8017 appendix A.1.1) in DER.
fn rsa_public_key(jwk: &Map<String, Value>) -> Result<Vec<u8>, String> {
    let (n, e) = (number(jwk, "n")?, number(jwk, "e")?);
    // aws-lc-rs looks at the length only when it verifies, too late for a fault.
    let bits = significant(&n).len() * 8 - significant(&n).first().map_or(0, |byte| byte.leading_zeros() as usize);
    if !RSA_BITS.contains(&bits) {
        let (least, most) = RSA_BITS.into_inner();
        return Err(format!("the modulus has {bits} bits, not {least} to {most}"));
    }
    let mut content = integer(&n);
    content.extend(integer(&e));
    Ok(element(0x30, &content))
}

fn integer(number: &[u8]) -> Vec<u8> {
    let significant = significant(number);
    // An INTEGER has at least one byte, and a leading one bit would make it negative.
    let pad: &[u8] = if significant.first().is_none_or(|byte| *byte >= 0x80) { &[0] } else { &[] };
    element(0x02, &[pad, significant].concat())
}

/// A number without the zeros in front.
fn significant(number: &[u8]) -> &[u8] {
    number.iter().position(|byte| *byte != 0).and_then(|start| number.get(start..)).unwrap_or_default()
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let mut bytes = vec![tag];
    match content.len() {
        short @ 0..0x80 => bytes.push(u8::try_from(short).unwrap_or_default()),
        _ => {
            let digits =
                length.iter().position(|byte| *byte != 0).and_then(|start| length.get(start..)).unwrap_or_default();
            bytes.push(0x80 | u8::try_from(digits.len()).unwrap_or_default());
            bytes.extend(digits);
        }
    }
    bytes.extend(content);
    bytes
}

#[cfg(test)]
mod tests;
