//! Keys that sign tokens with any of the nine algorithms of RFC 7518 that Kubernetes accepts.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// A signature algorithm by its JOSE name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
}

impl Algorithm {
    /// All nine.
    pub const ALL: [Self; 9] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
    ];

    /// The JOSE name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
        }
    }

    fn rsa(self) -> Option<&'static dyn RsaEncoding> {
        Some(match self {
            Self::Rs256 => &RSA_PKCS1_SHA256,
            Self::Rs384 => &RSA_PKCS1_SHA384,
            Self::Rs512 => &RSA_PKCS1_SHA512,
            Self::Ps256 => &RSA_PSS_SHA256,
            Self::Ps384 => &RSA_PSS_SHA384,
            Self::Ps512 => &RSA_PSS_SHA512,
            Self::Es256 | Self::Es384 | Self::Es512 => return None,
        })
    }

    fn ecdsa(self) -> (&'static EcdsaSigningAlgorithm, &'static str) {
        match self {
            Self::Es384 => (&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384"),
            Self::Es512 => (&ECDSA_P521_SHA512_FIXED_SIGNING, "P-521"),
            _ => (&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256"),
        }
    }
}

/// A private key with its `kid`.
pub struct SigningKey {
    algorithm: Algorithm,
    kid: String,
    pair: Pair,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ecdsa(Box<EcdsaKeyPair>),
}

#[expect(clippy::expect_used, reason = "generating and signing fail only without entropy")]
impl SigningKey {
    /// A fresh key.
    pub fn generate(algorithm: Algorithm, kid: &str) -> Self {
        let pair = if algorithm.rsa().is_some() {
            Pair::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).expect("an RSA key")))
        } else {
            Pair::Ecdsa(Box::new(EcdsaKeyPair::generate(algorithm.ecdsa().0).expect("an EC key")))
        };
        Self { algorithm, kid: kid.to_owned(), pair }
    }

    /// What it signs with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Its name.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// RFC 7518 section 3: for ECDSA the two numbers, not DER.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match (&self.pair, self.algorithm.rsa()) {
            (Pair::Rsa(pair), Some(encoding)) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, message, &mut signature).expect("a signature");
                signature
            }
            (Pair::Ecdsa(pair), _) => pair.sign(&random, message).expect("a signature").as_ref().to_vec(),
            (Pair::Rsa(_), None) => Vec::new(),
        }
    }

    /// The public key as bytes: the RSA key in PKCS#1 DER, the EC point uncompressed.
    pub fn public_bytes(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Rsa(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ecdsa(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    /// The public key as a JWK (RFC 7517).
    pub fn jwk(&self) -> Value {
        match &self.pair {
            Pair::Rsa(pair) => {
                let (n, e) = pkcs1_numbers(pair.public_key().as_ref());
                json!({ "kty": "RSA", "kid": self.kid, "use": "sig", "alg": self.algorithm.name(),
                        "n": encode(n), "e": encode(e) })
            }
            Pair::Ecdsa(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = point.get(1..).unwrap_or_default().split_at(point.len() / 2);
                json!({ "kty": "EC", "kid": self.kid, "use": "sig", "alg": self.algorithm.name(),
                        "crv": self.algorithm.ecdsa().1, "x": encode(x), "y": encode(y) })
            }
        }
    }
}

/// The two INTEGERs of an `RSAPublicKey` (RFC 8017 appendix A.1.1), without leading zeros.
fn pkcs1_numbers(der: &[u8]) -> (&[u8], &[u8]) {
    let (sequence, _) = element(der);
    let (n, rest) = element(sequence);
    let (e, _) = element(rest);
    (strip_zeros(n), strip_zeros(e))
}

/// The content of the first DER element, and what follows it.
fn element(der: &[u8]) -> (&[u8], &[u8]) {
    let (length, header) = match der.get(1).copied().unwrap_or_default() {
        long if long >= 0x80 => {
            let bytes = usize::from(long & 0x7f);
            let digits = der.get(2..2 + bytes).unwrap_or_default();
            (digits.iter().fold(0, |length, byte| (length << 8) | usize::from(*byte)), 2 + bytes)
        }
        short => (usize::from(short), 2),
    };
    let content = der.get(header..).unwrap_or_default();
    content.split_at(length.min(content.len()))
}

fn strip_zeros(mut bytes: &[u8]) -> &[u8] {
    while let [0, rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

/// base64url without padding.
pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
