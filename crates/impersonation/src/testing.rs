//! What the tests share: requests, and identities that a real signature proves, because there is no other way to
//! have one.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use identity::{Keys, ReservedGroups, UnixTime, VerifiedIdentity};
use serde_json::{Value, json};

use crate::{MAX_IMPERSONATION_VALUES, StripRefusal, Stripped, strip};

const NOW: i64 = 1_800_000_000;

const CONFIGURATION: &str = r#"
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer:
    url: https://issuer.example.com
    audiences: [keyway]
  claimMappings:
    username: {claim: sub, prefix: ""}
    groups: {claim: groups, prefix: ""}
"#;
/// A claim that is mapped must be there, so this is for tokens that have one.
const UID: &str = "    uid: {claim: uid}\n";

/// The identity of a signed and verified token.
pub(crate) fn identity(user: &str, groups: &[&str], uid: Option<&str>, jti: Option<&str>) -> VerifiedIdentity {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let mut claims = json!({
        "iss": "https://issuer.example.com", "aud": "keyway", "iat": NOW, "exp": NOW + 600,
        "sub": user, "groups": groups,
    });
    let mut configuration = CONFIGURATION.to_owned();
    if let Some(uid) = uid {
        claims["uid"] = uid.into();
        configuration.push_str(UID);
    }
    if let Some(jti) = jti {
        claims["jti"] = jti.into();
    }
    let signed = format!("{}.{}", encode(&json!({"alg": "ES256", "kid": "1", "typ": "JWT"})), encode(&claims));
    let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()));

    let point = key.public_key().as_ref();
    let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
    let jwk = json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "1", "x": x, "y": y});
    let (keys, _faults) = Keys::parse(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap();
    let reserved = ReservedGroups::new(vec!["system:authenticated".to_owned()]).unwrap();
    let issuers = identity::parse_authentication_config(&configuration, &reserved).unwrap();
    identity::verify(&token, &keys, &issuers[0].rules, UnixTime(NOW)).unwrap()
}

/// `joe` with two groups, a UID and a token id.
pub(crate) fn joe() -> VerifiedIdentity {
    identity("joe@example.com", &["dev", "ops"], Some("u-1"), Some("t-1"))
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A request for `/api` with these headers; the name may be in any case.
pub(crate) fn request(headers: &[(&str, &str)]) -> Parts {
    request_for(Method::GET, "/api", headers)
}

pub(crate) fn request_for(method: Method, target: &str, headers: &[(&str, &str)]) -> Parts {
    let (mut parts, ()) = Request::builder().method(method).uri(target).body(()).unwrap().into_parts();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        parts.headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    parts
}

pub(crate) fn stripped(headers: &[(&str, &str)]) -> Stripped {
    strip(request(headers), MAX_IMPERSONATION_VALUES).unwrap()
}

pub(crate) fn refused(headers: &[(&str, &str)]) -> StripRefusal {
    strip(request(headers), MAX_IMPERSONATION_VALUES).unwrap_err()
}

/// All fields, sorted.
pub(crate) fn fields(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut fields: Vec<_> = headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    fields.sort();
    fields
}

/// Owned pairs, sorted, to compare with [`fields`].
pub(crate) fn expected(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut pairs: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    pairs.sort();
    pairs
}
