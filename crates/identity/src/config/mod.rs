//! What an operator writes about issuers, turned into [`Rules`]: kube-apiserver's flags, or its
//! `AuthenticationConfiguration`. Whatever kube-apiserver v1.37 refuses at start is refused here, and all faults are
//! reported at once.

mod authority;
mod document;
mod file;
mod flags;
mod issuer_url;

use std::sync::Arc;

use crate::rules::{RESERVED, Rules};
use crate::text::{flaw, quoted};

pub use file::parse_authentication_config;
pub use flags::{OidcFlags, from_flags};

/// One issuer as configured.
#[derive(Clone, Debug)]
pub struct IssuerConfig {
    /// The issuer as tokens name it in `iss`.
    pub url: String,
    /// Where the discovery document is, when not at `<url>/.well-known/openid-configuration`.
    pub discovery_url: Option<String>,
    /// PEM certificates to verify the issuer's server by; the host's roots when absent.
    pub certificate_authority: Option<String>,
    /// What its tokens must fulfil.
    pub rules: Arc<Rules>,
}

/// Something wrong in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where: a flag such as `--oidc-issuer-url`, or a field such as `jwt[0].issuer.url`.
    pub path: String,
    /// What, and what would be right.
    pub reason: String,
}

impl Fault {
    pub(crate) fn new(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { path: path.into(), reason: reason.into() }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.path.is_empty() { f.write_str(&self.reason) } else { write!(f, "{}: {}", self.path, self.reason) }
    }
}

/// Why no name could be made with this prefix. kube-apiserver takes such prefixes; here every token would be refused,
/// which is better said at start.
fn prefix_flaw(prefix: &str) -> Option<String> {
    if prefix.starts_with(RESERVED) {
        return Some(format!("must not begin with '{RESERVED}': every name would be one that Kubernetes reserves"));
    }
    // What follows a prefix is a name of its own, so only its beginning and its characters count.
    let why = flaw(&format!("{prefix}x"))?;
    Some(format!("{} {why}, which no header carries unchanged", quoted(prefix)))
}

#[cfg(test)]
mod tests;
