//! What the tests share: real keys, tokens that they sign with any of the nine algorithms, and rules to judge them by.
//!
//! A hostile token is wrong in one place and right in all others, so nothing here goes through the code under test: a
//! token is put together from a header, a payload and whatever signs the two.

use std::sync::LazyLock;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::UnixTime;
use crate::algorithm::Algorithm;
use crate::jwk::Keys;
use crate::rejection::Rejection;
use crate::rules::{PrefixedClaim, ReservedGroups, Rules};
use crate::verify::{VerifiedIdentity, verify};

pub(crate) const NOW: i64 = 1_800_000_000;
pub(crate) const ISSUER: &str = "https://issuer.example.com";
pub(crate) const AUDIENCE: &str = "keyway";

/// A private key.
pub(crate) enum SigningKey {
    Rsa(RsaKeyPair),
    Ec { pair: EcdsaKeyPair, curve: &'static str },
}

/// The issuer's keys. RSA keys are slow to make, so all tests share them.
pub(crate) static RSA: LazyLock<SigningKey> = LazyLock::new(rsa);
pub(crate) static P256: LazyLock<SigningKey> = LazyLock::new(|| ec(&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256"));
pub(crate) static P384: LazyLock<SigningKey> = LazyLock::new(|| ec(&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384"));
pub(crate) static P521: LazyLock<SigningKey> = LazyLock::new(|| ec(&ECDSA_P521_SHA512_FIXED_SIGNING, "P-521"));

/// The same kinds of keys in other hands.
pub(crate) static OTHER_RSA: LazyLock<SigningKey> = LazyLock::new(rsa);
pub(crate) static OTHER_P256: LazyLock<SigningKey> = LazyLock::new(|| ec(&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256"));
pub(crate) static OTHER_P384: LazyLock<SigningKey> = LazyLock::new(|| ec(&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384"));
pub(crate) static OTHER_P521: LazyLock<SigningKey> = LazyLock::new(|| ec(&ECDSA_P521_SHA512_FIXED_SIGNING, "P-521"));

fn rsa() -> SigningKey {
    SigningKey::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
}

fn ec(algorithm: &'static EcdsaSigningAlgorithm, curve: &'static str) -> SigningKey {
    SigningKey::Ec { pair: EcdsaKeyPair::generate(algorithm).unwrap(), curve }
}

impl SigningKey {
    /// RFC 7518 section 3. An EC key has one algorithm, whatever is asked for.
    pub(crate) fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(rsa_encoding(algorithm), &random, message, &mut signature).unwrap();
                signature
            }
            Self::Ec { pair, .. } => pair.sign(&random, message).unwrap().as_ref().to_vec(),
        }
    }

    /// The public key as a JWK without `use` and `alg`.
    pub(crate) fn jwk(&self, kid: &str) -> Value {
        match self {
            Self::Rsa(_) => json!({"kty": "RSA", "kid": kid, "n": encode(&self.modulus()), "e": "AQAB"}),
            Self::Ec { pair, curve } => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({"kty": "EC", "kid": kid, "crv": curve, "x": encode(x), "y": encode(y)})
            }
        }
    }

    /// The public key as bytes: an `RSAPublicKey` in DER, or an uncompressed point.
    pub(crate) fn public_bytes(&self) -> Vec<u8> {
        match self {
            Self::Rsa(pair) => pair.public_key().as_ref().to_vec(),
            Self::Ec { pair, .. } => pair.public_key().as_ref().to_vec(),
        }
    }

    /// The public key as a `SubjectPublicKeyInfo` in DER.
    pub(crate) fn public_info(&self) -> Vec<u8> {
        match self {
            Self::Rsa(pair) => pair.public_key().as_der().unwrap().as_ref().to_vec(),
            Self::Ec { pair, .. } => pair.public_key().as_der().unwrap().as_ref().to_vec(),
        }
    }

    /// The modulus of an RSA key, from `SEQUENCE { INTEGER (0, modulus), INTEGER 65537 }`.
    pub(crate) fn modulus(&self) -> Vec<u8> {
        let der = self.public_bytes();
        assert_eq!(der[..9], [0x30, 0x82, 1, 10, 2, 0x82, 1, 1, 0]);
        assert_eq!(der[265..], [2, 3, 1, 0, 1]);
        der[9..265].to_vec()
    }

    /// ES256 in the form of X9.62 (DER), which JWS does not use.
    pub(crate) fn sign_as_der(&self, message: &[u8]) -> Vec<u8> {
        let Self::Ec { pair, .. } = self else { panic!("not an EC key") };
        let document = pair.to_pkcs8v1().unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref()).unwrap();
        pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }
}

fn rsa_encoding(algorithm: Algorithm) -> &'static dyn RsaEncoding {
    match algorithm {
        Algorithm::Rs256 => &RSA_PKCS1_SHA256,
        Algorithm::Rs384 => &RSA_PKCS1_SHA384,
        Algorithm::Rs512 => &RSA_PKCS1_SHA512,
        Algorithm::Ps256 => &RSA_PSS_SHA256,
        Algorithm::Ps384 => &RSA_PSS_SHA384,
        Algorithm::Ps512 => &RSA_PSS_SHA512,
        Algorithm::Es256 | Algorithm::Es384 | Algorithm::Es512 => panic!("not an algorithm for RSA"),
    }
}

/// The issuer's key for an algorithm, and its `kid`.
pub(crate) fn key_for(algorithm: Algorithm) -> (&'static SigningKey, &'static str) {
    match algorithm {
        Algorithm::Es256 => (&P256, "p256"),
        Algorithm::Es384 => (&P384, "p384"),
        Algorithm::Es512 => (&P521, "p521"),
        _ => (&RSA, "rsa"),
    }
}

/// A key of someone else for an algorithm.
pub(crate) fn other_key_for(algorithm: Algorithm) -> &'static SigningKey {
    match algorithm {
        Algorithm::Es256 => &OTHER_P256,
        Algorithm::Es384 => &OTHER_P384,
        Algorithm::Es512 => &OTHER_P521,
        _ => &OTHER_RSA,
    }
}

/// All keys of the issuer.
pub(crate) fn keys() -> &'static Keys {
    static KEYS: LazyLock<Keys> =
        LazyLock::new(|| keys_of(&[RSA.jwk("rsa"), P256.jwk("p256"), P384.jwk("p384"), P521.jwk("p521")]));
    &KEYS
}

/// A set of these JWKs, all of them usable.
pub(crate) fn keys_of(jwks: &[Value]) -> Keys {
    let (keys, faults) = Keys::parse(json!({"keys": jwks}).to_string().as_bytes()).unwrap();
    assert_eq!(faults, []);
    keys
}

/// Rules that accept [`claims`] signed with anything.
pub(crate) fn rules() -> Rules {
    Rules {
        issuer: ISSUER.to_owned(),
        audiences: vec![AUDIENCE.to_owned()],
        algorithms: Algorithm::ALL.to_vec(),
        username: prefixed("", "sub"),
        groups: Some(prefixed("", "groups")),
        uid_claim: None,
        required: Vec::new(),
        reserved: ReservedGroups::default(),
    }
}

pub(crate) fn prefixed(prefix: &str, claim: &str) -> PrefixedClaim {
    PrefixedClaim { claim: claim.to_owned(), prefix: prefix.to_owned() }
}

/// The claims of `joe`, good for ten minutes.
pub(crate) fn claims() -> Value {
    json!({"iss": ISSUER, "aud": AUDIENCE, "iat": NOW, "exp": NOW + 600, "sub": "joe", "groups": ["dev", "ops"]})
}

/// [`claims`] with others in the place of, or beside, the usual ones.
pub(crate) fn claims_with(others: &Value) -> Value {
    let mut claims = claims();
    for (name, value) in object(others) {
        claims[name] = value;
    }
    claims
}

/// The members of an object.
pub(crate) fn object(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

pub(crate) fn header(algorithm: Algorithm) -> Value {
    json!({"alg": algorithm.name(), "kid": key_for(algorithm).1, "typ": "JWT"})
}

/// A token of the issuer, perfect but for its claims.
pub(crate) fn token(algorithm: Algorithm, claims: &Value) -> String {
    signed(algorithm, &header(algorithm).to_string(), &claims.to_string())
}

/// A header and a payload of any bytes, signed by the issuer.
pub(crate) fn signed(
    algorithm: Algorithm,
    header: &(impl AsRef<[u8]> + ?Sized),
    payload: &(impl AsRef<[u8]> + ?Sized),
) -> String {
    assemble(header.as_ref(), payload.as_ref(), |message| key_for(algorithm).0.sign(algorithm, message))
}

/// RFC 7515 section 7.1.
pub(crate) fn assemble(header: &[u8], payload: &[u8], sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", encode(header), encode(payload));
    let signature = encode(&sign(message.as_bytes()));
    format!("{message}.{signature}")
}

/// base64url without padding.
pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What becomes of a token of the issuer with these claims.
pub(crate) fn verify_claims(claims: &Value, rules: &Rules) -> Result<VerifiedIdentity, Rejection> {
    verify(&token(Algorithm::Es256, claims), keys(), rules, UnixTime(NOW))
}

/// What becomes of a token by the usual rules.
pub(crate) fn verify_token(token: &str) -> Result<VerifiedIdentity, Rejection> {
    verify(token, keys(), &rules(), UnixTime(NOW))
}
