//! The only place that writes impersonation headers.
//!
//! Source: `ImpersonatingRoundTripper` of Kubernetes' `client-go/transport/round_trippers.go`, and for who really
//! asked the extra fields `originaluser.jetstack.io-*` of kube-oidc-proxy.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use identity::{CREDENTIAL_ID, VerifiedIdentity};

use crate::extra_key;
use crate::requested::{GROUP, ORIGINAL_USER, RequestedImpersonation, UID, USER};
use crate::reviews::AuthorizedTarget;
use crate::strip::StrippedRequest;
use crate::text::{self, Flaw};

/// The group of everybody who is signed in. kube-apiserver adds it to those whom it authenticates itself, but takes
/// the groups of an impersonation as they are.
pub(crate) const AUTHENTICATED: &str = "system:authenticated";

/// The most distinct extra keys of one user; together with what [`strip`](crate::strip()) lets through, a header map
/// has room for them.
const MAX_EXTRA_KEYS: usize = 4096;

/// The impersonation headers of one user, made once and applied to many requests: a clone is a few reference counts.
#[derive(Clone)]
pub struct Impersonation {
    /// Those of the token, shared by all its requests.
    headers: Arc<[(HeaderName, HeaderValue)]>,
    /// Those that [`Impersonation::with_extra`] added.
    more: Vec<(HeaderName, HeaderValue)>,
}

/// A user whom headers cannot carry unchanged. Never sent on with less: a lost group or an empty user name is
/// another user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unrepresentable {
    /// The user name.
    #[error("the user name {0:?} {1}")]
    User(String, Flaw),
    /// A group.
    #[error("the group {0:?} {1}")]
    Group(String, Flaw),
    /// The UID.
    #[error("the UID {0:?} {1}")]
    Uid(String, Flaw),
    /// The key of an extra field.
    #[error("the extra key {0:?} {1}")]
    ExtraKey(String, Flaw),
    /// The value of an extra field.
    #[error("the value {value:?} of the extra field {key:?} {flaw}")]
    ExtraValue {
        /// The field's key.
        key: String,
        /// The value.
        value: String,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// An extra field of those that say who the token's user is or who really asked, from elsewhere.
    #[error("the extra field {0:?} is the proxy's own to set")]
    ReservedExtra(String),
    /// More extra fields than a request has room for.
    #[error("more than {MAX_EXTRA_KEYS} extra fields")]
    TooManyExtras,
    /// A target that someone else was authorized for.
    #[error("the impersonation was authorized for another user than {0:?}")]
    OtherRequester(String),
    /// The extra fields of who really asked could not be written as JSON.
    #[error("the requester's extra fields are not JSON: {0}")]
    OriginalExtra(String),
}

/// The extra fields of who really asked.
fn original(field: &str) -> String {
    format!("{ORIGINAL_USER}-{field}")
}

/// The keys of the extra fields that are written here of the proxy's own accord: its account needs the right to.
pub fn own_extras() -> impl Iterator<Item = String> {
    std::iter::once(CREDENTIAL_ID.to_owned()).chain(["user", "groups", "uid", "extra"].map(original))
}

impl Impersonation {
    /// The user whom a token proves: name, groups and `system:authenticated`, UID, extra fields.
    ///
    /// # Errors
    /// [`Unrepresentable`] if any of them cannot arrive at kube-apiserver as it is.
    pub fn of(identity: &VerifiedIdentity) -> Result<Self, Unrepresentable> {
        let mut headers = Headers::default();
        headers.user(identity.username())?;
        headers.uid(identity.uid())?;
        for group in identity.groups().iter().filter(|group| *group != AUTHENTICATED) {
            headers.group(group)?;
        }
        headers.group(AUTHENTICATED)?;
        for (key, values) in identity.extra() {
            if key.starts_with(ORIGINAL_USER) {
                return Err(Unrepresentable::ReservedExtra(key.clone()));
            }
            headers.extra(key, values.iter().map(String::as_str))?;
        }
        headers.finish()
    }

    /// The user whom `requester` may be by kube-apiserver's own word, and who really asked: in the extra fields
    /// `originaluser.jetstack.io-user`, `-groups`, `-uid`, and `-extra` (a JSON object of lists).
    ///
    /// The groups are those that were asked for and no other. Without any, kube-apiserver gives a service account its
    /// own groups, and it adds `system:authenticated` or, to `system:anonymous`, `system:unauthenticated`; a group
    /// from here would keep it from the first and spoil the second.
    ///
    /// # Errors
    /// [`Unrepresentable`], also if `target` was authorized for someone other than `requester`.
    pub fn of_target(target: AuthorizedTarget, requester: &VerifiedIdentity) -> Result<Self, Unrepresentable> {
        if !target.is_of(requester) {
            return Err(Unrepresentable::OtherRequester(requester.username().to_owned()));
        }
        let mut headers = Headers::default();
        headers.requested(target.requested())?;
        headers.extra(&original("user"), [requester.username()].into_iter())?;
        headers.extra(&original("groups"), requester.groups().iter().map(String::as_str))?;
        headers.extra(&original("uid"), requester.uid().into_iter())?;
        if !requester.extra().is_empty() {
            let mut by_key: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
            for (key, values) in requester.extra() {
                by_key.entry(key).or_default().extend(values.iter().map(String::as_str));
            }
            let json =
                serde_json::to_string(&by_key).map_err(|error| Unrepresentable::OriginalExtra(error.to_string()))?;
            headers.extra(&original("extra"), [json.as_str()].into_iter())?;
        }
        headers.finish()
    }

    /// This user with further extra fields: `--extra-user-headers`, the client's address. Values are added to those
    /// that a key has already; keys are taken in lower case, as kube-apiserver takes them.
    ///
    /// # Errors
    /// [`Unrepresentable`] if a key or value cannot arrive as it is.
    pub fn with_extra<'pair>(
        &self,
        pairs: impl Iterator<Item = (&'pair str, &'pair str)>,
    ) -> Result<Self, Unrepresentable> {
        let mut added = Headers(self.more.clone());
        for (key, value) in pairs {
            added.extra(key, [value].into_iter())?;
        }
        let more = added.0;
        if self.headers.len() + more.len() > MAX_EXTRA_KEYS {
            check_room(self.headers.iter().chain(&more))?;
        }
        Ok(Self { headers: self.headers.clone(), more })
    }

    pub(crate) fn headers(&self) -> impl Iterator<Item = &(HeaderName, HeaderValue)> {
        self.headers.iter().chain(&self.more)
    }
}

/// Whether an extra field that an operator configures for every user can be one: [`Impersonation::with_extra`] will
/// take it, and it is none of those that say who a token's user is or who really asked.
///
/// # Errors
/// [`Unrepresentable`].
pub fn check_extra(key: &str, value: &str) -> Result<(), Unrepresentable> {
    let lower = key.to_ascii_lowercase();
    if lower.starts_with(ORIGINAL_USER) || lower == CREDENTIAL_ID {
        return Err(Unrepresentable::ReservedExtra(key.to_owned()));
    }
    Headers::default().extra(key, [value].into_iter())
}

impl fmt::Debug for Impersonation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.headers().map(|(name, value)| (name, value))).finish()
    }
}

/// A request that kube-apiserver sees as coming from the impersonated user; only [`apply()`] makes one.
#[derive(Debug)]
pub struct UpstreamRequest {
    parts: Parts,
}

/// Adds the user to a request that has no trace of any.
#[must_use]
pub fn apply(impersonation: &Impersonation, request: StrippedRequest) -> UpstreamRequest {
    let mut parts = request.into_parts();
    for (name, value) in impersonation.headers() {
        // Cannot exceed the map: both sides are bounded, see MAX_EXTRA_KEYS.
        parts.headers.append(name.clone(), value.clone());
    }
    UpstreamRequest { parts }
}

impl UpstreamRequest {
    /// The method, as the client sent it.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.parts.method
    }

    /// The path and query, as the client sent them.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.parts.uri
    }

    /// The headers as they go to kube-apiserver, but for its host name and the proxy's own credential.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// The request to send: to kube-apiserver, on the proxy's own connections.
    #[must_use]
    pub fn into_parts(self) -> Parts {
        self.parts
    }
}

/// Writes what the client asked for, as it was sent, onto a request that carries the client's own credential: there
/// kube-apiserver reviews it itself. For [`crate::PassthroughRequest`], which never meets the proxy's credential.
pub(crate) fn ask_again(headers: &mut HeaderMap, requested: RequestedImpersonation) {
    for (name, value) in requested.headers {
        headers.append(name, value);
    }
}

/// Impersonation headers in the making; every text is checked on its way in.
#[derive(Default)]
struct Headers(Vec<(HeaderName, HeaderValue)>);

impl Headers {
    fn user(&mut self, user: &str) -> Result<(), Unrepresentable> {
        let value = text::to_value(user).map_err(|flaw| Unrepresentable::User(user.to_owned(), flaw))?;
        self.0.push((USER, value));
        Ok(())
    }

    fn uid(&mut self, uid: Option<&str>) -> Result<(), Unrepresentable> {
        if let Some(uid) = uid {
            let value = text::to_value(uid).map_err(|flaw| Unrepresentable::Uid(uid.to_owned(), flaw))?;
            self.0.push((UID, value));
        }
        Ok(())
    }

    fn group(&mut self, group: &str) -> Result<(), Unrepresentable> {
        let value = text::to_value(group).map_err(|flaw| Unrepresentable::Group(group.to_owned(), flaw))?;
        self.0.push((GROUP, value));
        Ok(())
    }

    fn extra<'value>(&mut self, key: &str, values: impl Iterator<Item = &'value str>) -> Result<(), Unrepresentable> {
        let name = extra_key::to_name(key).map_err(|flaw| Unrepresentable::ExtraKey(key.to_owned(), flaw))?;
        for value in values {
            let flawed = |flaw| Unrepresentable::ExtraValue { key: key.to_owned(), value: value.to_owned(), flaw };
            self.0.push((name.clone(), text::to_value(value).map_err(flawed)?));
        }
        Ok(())
    }

    fn requested(&mut self, requested: &RequestedImpersonation) -> Result<(), Unrepresentable> {
        self.user(&requested.user)?;
        self.uid(requested.uid.as_deref())?;
        for group in &requested.groups {
            self.group(group)?;
        }
        for (key, values) in &requested.extra {
            self.extra(key, values.iter().map(String::as_str))?;
        }
        Ok(())
    }

    fn finish(self) -> Result<Impersonation, Unrepresentable> {
        check_room(self.0.iter())?;
        Ok(Impersonation { headers: self.0.into(), more: Vec::new() })
    }
}

fn check_room<'header>(
    headers: impl Iterator<Item = &'header (HeaderName, HeaderValue)>,
) -> Result<(), Unrepresentable> {
    let names: std::collections::HashSet<&HeaderName> = headers.map(|(name, _)| name).collect();
    if names.len() > MAX_EXTRA_KEYS { Err(Unrepresentable::TooManyExtras) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
