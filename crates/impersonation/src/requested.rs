//! Whom the client asks to be: `kubectl --as`, `--as-group`, `--as-uid` and the extra fields, which arrive as
//! `Impersonate-*` headers.
//!
//! Read as kube-apiserver reads them (`processImpersonationHeaders` in `apiserver/pkg/endpoints/filters/impersonation`),
//! but stricter where it is lenient for old clients: what is blank, repeated or unknown is refused, not skipped.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::extra_key;
use crate::refusal::{StripRefusal, shown};
use crate::text;

pub(crate) const USER: HeaderName = HeaderName::from_static("impersonate-user");
pub(crate) const GROUP: HeaderName = HeaderName::from_static("impersonate-group");
pub(crate) const UID: HeaderName = HeaderName::from_static("impersonate-uid");
const PREFIX: &str = "impersonate-";

/// How many values a client may ask for by default. Each is a review of its own, so one request must not cause any
/// number of them.
pub const MAX_IMPERSONATION_VALUES: usize = 64;

/// The extra fields in which kube-apiserver's audit log has who really asked; see [`crate::Impersonation::of_target`].
/// A client that could set them could blame someone else.
pub(crate) const ORIGINAL_USER: &str = "originaluser.jetstack.io";

/// Whom the client asks to be. A wish, not a permission: see [`crate::reviews()`].
#[derive(Debug, PartialEq, Eq)]
pub struct RequestedImpersonation {
    pub(crate) user: String,
    pub(crate) groups: Vec<String>,
    pub(crate) uid: Option<String>,
    /// Sorted by key; each key once, with its values in the order in which they came.
    pub(crate) extra: Vec<(String, Vec<String>)>,
    /// All of it as it was sent.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

impl RequestedImpersonation {
    /// The name of the user whom the client asks to be.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The groups that the client asks to be in, as sent.
    #[must_use]
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// Reads the `Impersonate-*` headers, of at most `max` values; `None` if there are none. They are left where they
    /// are.
    pub(crate) fn read(headers: &HeaderMap, max: usize) -> Result<Option<Self>, StripRefusal> {
        let names = || headers.keys().filter(|name| name.as_str().starts_with(PREFIX));
        let count: usize = names().map(|name| headers.get_all(name).iter().count()).sum();
        if count > max {
            return Err(StripRefusal::TooManyValues(count, max));
        }
        if count == 0 {
            return Ok(None);
        }
        let mut extra: Vec<(String, Vec<String>)> = Vec::new();
        for name in names() {
            if let Some(encoded) = name.as_str().strip_prefix(extra_key::PREFIX) {
                let key = key(name, encoded)?;
                let mut values = all(headers, name)?;
                match extra.iter_mut().find(|(known, _)| *known == key) {
                    Some((_, known)) => known.append(&mut values),
                    None => extra.push((key, values)),
                }
            } else if ![USER, GROUP, UID].contains(name) {
                return Err(StripRefusal::UnknownImpersonation(shown(name.as_str())));
            }
        }
        extra.sort();
        let user = only(headers, &USER, "Impersonate-User")?.ok_or(StripRefusal::NoUser)?;
        let uid = only(headers, &UID, "Impersonate-Uid")?;
        let sent =
            |name: &HeaderName| headers.get_all(name).iter().map(|value| (name.clone(), value.clone())).collect();
        let sent = names().flat_map(|name| -> Vec<_> { sent(name) }).collect();
        Ok(Some(Self { user, groups: all(headers, &GROUP)?, uid, extra, headers: sent }))
    }
}

fn key(name: &HeaderName, encoded: &str) -> Result<String, StripRefusal> {
    let key =
        extra_key::from_name(encoded).map_err(|flaw| StripRefusal::ExtraKey { header: shown(name.as_str()), flaw })?;
    if key.starts_with(ORIGINAL_USER) {
        return Err(StripRefusal::ReservedExtra(shown(&key)));
    }
    Ok(key)
}

fn all(headers: &HeaderMap, name: &HeaderName) -> Result<Vec<String>, StripRefusal> {
    let text =
        |value| text::from_value(value).map_err(|flaw| StripRefusal::Value { header: shown(name.as_str()), flaw });
    headers.get_all(name).iter().map(text).collect()
}

fn only(headers: &HeaderMap, name: &HeaderName, shown: &'static str) -> Result<Option<String>, StripRefusal> {
    let mut values = all(headers, name)?;
    let value = values.pop();
    if values.is_empty() { Ok(value) } else { Err(StripRefusal::Repeated(shown)) }
}

#[cfg(test)]
mod tests;
