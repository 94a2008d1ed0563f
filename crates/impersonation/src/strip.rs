//! Strip first, whatever follows: the client's headers without anything that could name a user, vouch for an
//! address, or concern the client's connection only.
//!
//! Everything is removed here, before anything of the proxy's own is added. So no client can name one of the proxy's
//! headers in `Connection` (RFC 9110 section 7.6.1 lets it name any) and have it removed later.

use std::net::IpAddr;

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};

use crate::credential::{self, BearerToken, Credentials};
use crate::refusal::{StripRefusal, shown};
use crate::requested::RequestedImpersonation;

/// A request that has been taken apart.
#[derive(Debug)]
pub struct Stripped {
    /// The request without anything that could name a user.
    pub request: StrippedRequest,
    /// The client's bearer token, if it sent one.
    pub credential: Option<BearerToken>,
    /// The scheme of an `Authorization` that is not a bearer token: a registered scheme's name, or `unknown`.
    pub other_scheme: Option<&'static str>,
    /// Whom the client asks to be, if it asks to be someone else.
    pub requested: Option<RequestedImpersonation>,
    /// Whether the client asks to switch to WebSocket or SPDY, and the request will ask kube-apiserver for it.
    pub upgrade: bool,
}

/// A request without anything of what this module removes. Only [`strip()`] makes one.
#[derive(Debug)]
pub struct StrippedRequest {
    parts: Parts,
    /// The value of `Upgrade`, if the client asks for an upgrade; added again when the request goes on.
    upgrade: Option<HeaderValue>,
}

/// More header fields than this are refused. A header map holds at most 32,768 names and panics beyond; this leaves
/// room for all that is added.
const MAX_HEADERS: usize = 4096;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Families of header names that a client must not send on. `-` matches `_` too, here and in [`REMOVED`]: servers
/// that turn header names into variables (RFC 3875 section 4.1.18) cannot tell the two apart.
const REMOVED_PREFIXES: [&str; 3] = [
    // Who the user is, said by a front proxy: kube-apiserver, Kubernetes' aggregated API servers.
    "impersonate-",
    "x-remote-",
    // Where the user is: kube-apiserver writes it into its audit log.
    "x-forwarded-",
];

const REMOVED: [&str; 18] = [
    // Names the request in the audit log, where a client could make two look like one.
    "audit-id",
    "authorization",
    "forwarded",
    "x-real-ip",
    // RFC 9110 section 7.6.1: hop by hop.
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    // The server that took this request has answered the expectation (RFC 9110 section 10.1.1) when it reads the body.
    "expect",
    // Written anew for the connection on which the request goes on.
    "host",
    // The length of the body is that of the body as it was read, which the connection says again. A second statement
    // of it could differ: that is request smuggling over HTTP/1.1, and a stream error over HTTP/2.
    "content-length",
    "x-forwarded",
];

/// Takes a request apart.
///
/// Method, path and query are never changed: `..`, `//` and `%2F` are kube-apiserver's to judge, as sent. Of an
/// absolute target (RFC 9112 section 3.2.2, and every HTTP/2 request) the scheme and authority are dropped. A wish to
/// be someone else may have `max_impersonation_values` values.
///
/// # Errors
/// [`StripRefusal`]: contradictory or malformed credentials, an impersonation that no kube-apiserver would take, a
/// target that is not a path, an upgrade with a body.
pub fn strip(mut parts: Parts, max_impersonation_values: usize) -> Result<Stripped, StripRefusal> {
    if parts.headers.len() > MAX_HEADERS {
        return Err(StripRefusal::TooManyHeaders(parts.headers.len(), MAX_HEADERS));
    }
    parts.uri = target(&parts.method, &parts.uri)?;
    // What the client says to the proxy is read before `Connection` is looked at: it could name these too.
    let upgrade = upgrade(&parts.method, &parts.headers)?;
    let websocket = upgrade.as_ref().is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let Credentials { token, other_scheme } = credential::take(&mut parts.headers, websocket)?;
    let requested = RequestedImpersonation::read(&parts.headers, max_impersonation_values)?;

    remove(&mut parts.headers);
    parts.version = Version::default();
    // They belong to the server that read the request, and may hold what it was before.
    parts.extensions = Extensions::new();
    Ok(Stripped {
        upgrade: upgrade.is_some(),
        request: StrippedRequest { parts, upgrade },
        credential: token,
        other_scheme,
        requested,
    })
}

impl StrippedRequest {
    /// The method, as sent.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.parts.method
    }

    /// The path and query, as sent; neither scheme nor authority.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.parts.uri
    }

    /// What is left of the headers. `Connection` and `Upgrade` of an upgrade are not among them yet.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// Says where the request comes from: kube-apiserver has the address in its audit log as a source IP. What the
    /// client itself said about it is gone.
    pub fn set_forwarded_for(&mut self, client: IpAddr) {
        if let Ok(address) = HeaderValue::try_from(client.to_string()) {
            self.parts.headers.insert(X_FORWARDED_FOR, address);
        }
    }

    /// The request as it goes on, for the two modules that add a user to it.
    pub(crate) fn into_parts(self) -> Parts {
        let mut parts = self.parts;
        if let Some(protocol) = self.upgrade {
            parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            parts.headers.insert(UPGRADE, protocol);
        }
        parts
    }
}

/// RFC 9112 section 3.2: of the four forms of a target, those with a path.
fn target(method: &Method, uri: &Uri) -> Result<Uri, StripRefusal> {
    if method == Method::CONNECT {
        return Err(StripRefusal::Connect);
    }
    match uri.path_and_query() {
        Some(path) if path.as_str().starts_with('/') => Ok(Uri::from(path.clone())),
        Some(query) if uri.authority().is_some() && query.as_str().starts_with('?') => {
            // `http://host?query`: RFC 9112 section 3.2.1 makes an empty path `/`.
            let path = PathAndQuery::try_from(format!("/{}", query.as_str()));
            path.map(Uri::from).map_err(|_invalid| StripRefusal::Target(shown(&uri.to_string())))
        }
        _ => Err(StripRefusal::Target(shown(&uri.to_string()))),
    }
}

/// RFC 9110 section 7.8: the protocol that the client asks to switch to, if `Connection` names `upgrade`.
///
/// kube-apiserver switches to two: WebSocket and SPDY/3.1. Every other is ignored, as that section lets a server:
/// after a switch to `h2c` a client could send requests of its own on the proxy's connection, unseen.
fn upgrade(method: &Method, headers: &HeaderMap) -> Result<Option<HeaderValue>, StripRefusal> {
    let mut protocols = headers.get_all(UPGRADE).iter();
    let (Some(protocol), None) = (protocols.next(), protocols.next()) else { return Ok(None) };
    let known = protocol.as_bytes().eq_ignore_ascii_case(b"websocket") || is_spdy(protocol.as_bytes());
    if !known
        || !matches!(*method, Method::GET | Method::POST)
        || !named_in_connection(headers).any(|name| name == UPGRADE)
    {
        return Ok(None);
    }
    let has_body = headers.contains_key(TRANSFER_ENCODING)
        || headers.get_all(CONTENT_LENGTH).iter().any(|length| length.as_bytes() != b"0");
    if has_body {
        // Body and upgraded stream follow the headers on the same connection: where one ends, the proxy and
        // kube-apiserver must not read differently.
        return Err(StripRefusal::UpgradeWithBody(String::from_utf8_lossy(protocol.as_bytes()).into_owned()));
    }
    Ok(Some(protocol.clone()))
}

fn is_spdy(protocol: &[u8]) -> bool {
    protocol.eq_ignore_ascii_case(b"spdy/3.1")
}

/// RFC 9110 section 7.6.1: the names in all values of all `Connection` headers. What cannot be a name names nothing.
pub fn named_in_connection(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
}

fn remove(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = named_in_connection(headers).collect();
    let ours: Vec<HeaderName> = headers.keys().filter(|name| is_removed(name.as_str())).cloned().collect();
    for name in named.iter().chain(&ours) {
        headers.remove(name);
    }
}

fn is_removed(name: &str) -> bool {
    let starts_with = |prefix: &str| name.get(..prefix.len()).is_some_and(|start| is_same(start, prefix));
    REMOVED_PREFIXES.into_iter().any(starts_with) || REMOVED.into_iter().any(|removed| is_same(name, removed))
}

/// Whether the header `name` is `listed`, where `_` in it counts as `-`. Both are lower case.
fn is_same(name: &str, listed: &str) -> bool {
    let dashed = |byte| if byte == b'_' { b'-' } else { byte };
    name.len() == listed.len() && name.bytes().map(dashed).eq(listed.bytes())
}

#[cfg(test)]
mod tests;
