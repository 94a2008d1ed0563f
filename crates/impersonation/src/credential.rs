//! The bearer token of a request: from `Authorization` (RFC 6750 section 2.1), or from the WebSocket subprotocol that
//! Kubernetes has for browsers, which cannot set headers on a WebSocket.
//!
//! What counts as a token is what kube-apiserver takes for one (`apiserver/pkg/authentication/request/bearertoken` and
//! `…/websocket`). Where kube-apiserver would choose between two credentials, the request is refused here: the two
//! could differ in what the proxy and someone behind it take for the user.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};

use crate::refusal::StripRefusal;

/// `<prefix><base64url of the token>` among the WebSocket subprotocols; Kubernetes compares it with its case.
const SUBPROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";

/// Authentication schemes that may be named in messages (IANA's registry, and what is common beside it). Any other
/// word in the place of a scheme is kept secret, for it may be a token whose scheme was forgotten.
const SCHEMES: [&str; 11] = [
    "Basic",
    "Digest",
    "DPoP",
    "GNAP",
    "HOBA",
    "Mutual",
    "Negotiate",
    "NTLM",
    "OAuth",
    "SCRAM-SHA-256",
    "AWS4-HMAC-SHA256",
];

/// A client's bearer token: one or more visible ASCII characters. Not printed by `Debug`, and overwritten when dropped.
pub struct BearerToken(SecretString);

impl BearerToken {
    /// The token itself: for verification, and for nothing that is logged.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// The value of an `Authorization` header with this token, marked as sensitive (it is never in HPACK's table).
    pub(crate) fn authorization(&self) -> HeaderValue {
        #[expect(clippy::expect_used, reason = "`parse` lets nothing but visible ASCII into a token")]
        let mut value = HeaderValue::try_from(format!("Bearer {}", self.expose())).expect("visible ASCII");
        value.set_sensitive(true);
        value
    }

    fn parse(token: String) -> Result<Self, StripRefusal> {
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(StripRefusal::MalformedToken);
        }
        Ok(Self(token.into()))
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("BearerToken([redacted])")
    }
}

/// What a request says about who sends it.
pub(crate) struct Credentials {
    pub(crate) token: Option<BearerToken>,
    pub(crate) other_scheme: Option<&'static str>,
}

/// Takes the credentials out of `headers`. `websocket` says whether the request asks for a WebSocket: elsewhere the
/// subprotocol is no credential, but is removed all the same.
pub(crate) fn take(headers: &mut HeaderMap, websocket: bool) -> Result<Credentials, StripRefusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let authorization = values.next().map(from_authorization).transpose()?;
    if values.next().is_some() {
        return Err(StripRefusal::SeveralAuthorizations);
    }
    headers.remove(AUTHORIZATION);
    let (bearer, other_scheme) = match authorization {
        None | Some(Authorization::Empty) => (None, None),
        Some(Authorization::Other(scheme)) => (None, Some(scheme)),
        Some(Authorization::Bearer(token)) => (Some(token), None),
    };
    match (bearer, take_subprotocol(headers)?) {
        (Some(_), Some(_)) => Err(StripRefusal::TokenInTwoPlaces),
        (None, Some(token)) if websocket => Ok(Credentials { token: Some(token), other_scheme: None }),
        (token, _) => Ok(Credentials { token, other_scheme }),
    }
}

enum Authorization {
    Empty,
    Bearer(BearerToken),
    Other(&'static str),
}

/// `bearertoken.go`: trimmed, split at single spaces; the first part is `bearer` in any case, the second the token.
/// With more than one space the token is empty there and the request anonymous; here that is said.
fn from_authorization(value: &HeaderValue) -> Result<Authorization, StripRefusal> {
    let value = value.as_bytes().trim_ascii();
    if value.is_empty() {
        return Ok(Authorization::Empty);
    }
    let mut parts = value.split(|byte| *byte == b' ');
    let scheme = parts.next().unwrap_or_default();
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        let known = SCHEMES.into_iter().find(|known| scheme.eq_ignore_ascii_case(known.as_bytes()));
        return Ok(Authorization::Other(known.unwrap_or("unknown")));
    }
    match parts.next() {
        None | Some(b"") => Err(StripRefusal::NoTokenAfterBearer),
        Some(token) => {
            let token = String::from_utf8(token.to_vec()).map_err(|_invalid| StripRefusal::MalformedToken)?;
            Ok(Authorization::Bearer(BearerToken::parse(token)?))
        }
    }
}

/// `websocket/protocol.go`: one subprotocol may hold the token; it is taken out of the list, and another must remain
/// for the server to choose, because the one with the token must never be echoed.
fn take_subprotocol(headers: &mut HeaderMap) -> Result<Option<BearerToken>, StripRefusal> {
    let mut token = None;
    let mut removed = false;
    let mut others: Vec<&[u8]> = Vec::new();
    for value in headers.get_all(SEC_WEBSOCKET_PROTOCOL) {
        // RFC 6455 section 4.1: tokens between commas. Kubernetes trims Unicode's whitespace around them too, so that
        // it would find a credential where this does not.
        if !value.as_bytes().iter().all(|byte| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t')) {
            return Err(StripRefusal::SubprotocolCharacters);
        }
        for protocol in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            match protocol.split_at_checked(SUBPROTOCOL.len()) {
                Some((prefix, encoded)) if prefix == SUBPROTOCOL.as_bytes() => {
                    if token.replace(decode(encoded)?).is_some() {
                        return Err(StripRefusal::SeveralSubprotocolTokens);
                    }
                }
                // In another case it is no credential to Kubernetes; but it is a secret that no one else should see.
                Some((prefix, _)) if prefix.eq_ignore_ascii_case(SUBPROTOCOL.as_bytes()) => removed = true,
                _ if protocol.is_empty() => {}
                _ => others.push(protocol),
            }
        }
    }
    if token.is_none() && !removed {
        return Ok(None);
    }
    let remaining = HeaderValue::from_bytes(&others.join(&b", "[..]));
    match remaining {
        Ok(remaining) if !others.is_empty() => {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, remaining);
        }
        _ if token.is_some() => return Err(StripRefusal::NoOtherSubprotocol),
        _ => {
            headers.remove(SEC_WEBSOCKET_PROTOCOL);
        }
    }
    Ok(token)
}

fn decode(encoded: &[u8]) -> Result<BearerToken, StripRefusal> {
    let token = URL_SAFE_NO_PAD.decode(encoded).map_err(|_invalid| StripRefusal::SubprotocolEncoding)?;
    let token = String::from_utf8(token).map_err(|_invalid| StripRefusal::SubprotocolEncoding)?;
    BearerToken::parse(token)
}

#[cfg(test)]
mod tests;
