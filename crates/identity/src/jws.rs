//! The JWS compact serialization (RFC 7515 section 7.1), strictly.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::json;
use crate::rejection::{Kind, Rejection};

/// The longest token that is looked at. Headers carry them, and those are bounded too.
const MAX_TOKEN_BYTES: usize = 64 * 1024;

/// A token taken apart; nothing in it is verified yet.
pub(crate) struct Compact<'a> {
    pub(crate) algorithm: String,
    /// Empty when the header names none.
    pub(crate) kid: String,
    /// What the signature covers: the first two parts as they came.
    pub(crate) signing_input: &'a [u8],
    pub(crate) signature: Vec<u8>,
    payload: &'a str,
}

impl<'a> Compact<'a> {
    /// Takes `raw` apart and reads its header. RFC 7515 section 5.2, steps 1 to 7.
    pub(crate) fn parse(raw: &'a str) -> Result<Self, Rejection> {
        let (header, payload, signature) = split(raw)?;
        let signing_input = raw.get(..header.len() + 1 + payload.len()).unwrap_or_default().as_bytes();
        let header = object(header, "header")?;
        let (algorithm, kid) = read_header(&header)?;
        let signature = decode(signature, "signature")?;
        Ok(Self { algorithm, kid, signing_input, signature, payload })
    }

    /// The claims. Whoever calls this before the signature is verified must not believe them.
    pub(crate) fn claims(&self) -> Result<Map<String, Value>, Rejection> {
        object(self.payload, "payload")
    }
}

/// The claims of a token that nobody has verified.
pub(crate) fn unverified_claims(raw: &str) -> Result<Map<String, Value>, Rejection> {
    let (_, payload, _) = split(raw)?;
    object(payload, "payload")
}

fn split(raw: &str) -> Result<(&str, &str, &str), Rejection> {
    if raw.len() > MAX_TOKEN_BYTES {
        return Err(malformed(format!("the token has {} bytes, more than {MAX_TOKEN_BYTES}", raw.len())));
    }
    let mut parts = raw.split('.');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(header), Some(payload), Some(signature), None) => Ok((header, payload, signature)),
        _ => Err(malformed("the token is not of three parts between two dots")),
    }
}

fn read_header(header: &Map<String, Value>) -> Result<(String, String), Rejection> {
    // RFC 7515 section 4.1.11: an extension that is not understood must be refused, and none is. RFC 7797's b64 is
    // one that changes what is signed; RFC 7519 section 5.2: cty says that the payload is a token again.
    for name in ["crit", "b64", "cty"] {
        if header.contains_key(name) {
            return Err(malformed(format!("the token's header has {name:?}, which is not accepted")));
        }
    }
    let text = |name: &str| match header.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(malformed(format!("{name:?} in the token's header is not a string"))),
    };
    let algorithm = text("alg")?.ok_or_else(|| malformed("the token's header names no algorithm"))?;
    Ok((algorithm, text("kid")?.unwrap_or_default()))
}

fn object(part: &str, what: &str) -> Result<Map<String, Value>, Rejection> {
    json::object(&decode(part, what)?).map_err(|error| malformed(format!("the token's {what}: {error}")))
}

/// RFC 7515 section 2: base64url without padding, and without anything between. Trailing bits must be zero, or one
/// token would have several spellings.
fn decode(part: &str, what: &str) -> Result<Vec<u8>, Rejection> {
    URL_SAFE_NO_PAD.decode(part).map_err(|error| malformed(format!("the token's {what} is not base64url: {error}")))
}

fn malformed(operator: impl Into<String>) -> Rejection {
    Rejection::new(Kind::Malformed, operator)
}

#[cfg(test)]
mod tests;
