//! What the proxy shows kube-apiserver of itself: a bearer token, usually the projected one of its service account,
//! which the kubelet replaces while the proxy runs.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

/// Where the proxy's own bearer token comes from.
#[derive(Clone, Debug, Default)]
pub enum Credential {
    /// No bearer token: a client certificate, or nothing at all.
    #[default]
    None,
    /// A token that never changes.
    Token(SecretString),
    /// A file that is read again when it changes.
    TokenFile(PathBuf),
    /// HTTP Basic, for servers that still take it.
    Basic {
        /// The user name; it has no colon.
        username: String,
        /// The password.
        password: SecretString,
    },
}

/// Why the proxy's own credential cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The token file cannot be read.
    #[error("cannot read the token file {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The token is empty or holds characters that a header cannot carry.
    #[error("the token {from} is empty, or holds characters that no HTTP header can carry")]
    Malformed {
        /// The file, or "of the kubeconfig".
        from: String,
    },
}

/// The `Authorization` header of the proxy itself, as it is now.
pub(crate) struct CurrentCredential {
    source: Credential,
    header: ArcSwapOption<HeaderValue>,
}

impl CurrentCredential {
    pub(crate) fn new(source: Credential) -> Result<Self, CredentialError> {
        let credential = Self { source, header: ArcSwapOption::empty() };
        credential.reload()?;
        Ok(credential)
    }

    /// Reads the source again; true if the header is another one now. The old header stays if the source is broken.
    pub(crate) fn reload(&self) -> Result<bool, CredentialError> {
        let fresh = match &self.source {
            Credential::None => return Ok(false),
            Credential::Token(token) => bearer(token.expose_secret(), "of the kubeconfig")?,
            Credential::TokenFile(path) => {
                let text = runtime::files::read_text(path)
                    .map_err(|source| CredentialError::Unreadable { path: path.clone(), source })?;
                bearer(text.trim(), &format!("in {}", path.display()))?
            }
            Credential::Basic { username, password } => {
                use base64::Engine as _;
                let pair = format!("{username}:{}", password.expose_secret());
                authorization(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)), "")?
            }
        };
        let changed = self.header.load().as_deref() != Some(&fresh);
        if changed {
            self.header.store(Some(Arc::new(fresh)));
        }
        Ok(changed)
    }

    /// The header to send. It is not marked sensitive: that would make HPACK send a kilobyte of token anew with
    /// every request, and an attacker who sees sizes on the wire can at best test whole tokens for equality.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        self.header.load().as_deref().cloned()
    }

    /// The file behind the credential, if there is one.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        if let Credential::TokenFile(path) = &self.source { Some(path.clone()) } else { None }
    }
}

fn bearer(token: &str, from: &str) -> Result<HeaderValue, CredentialError> {
    if token.is_empty() || token.contains(char::is_whitespace) {
        return Err(CredentialError::Malformed { from: from.to_owned() });
    }
    authorization(format!("Bearer {token}"), from)
}

fn authorization(value: String, from: &str) -> Result<HeaderValue, CredentialError> {
    HeaderValue::from_maybe_shared(bytes::Bytes::from(value))
        .map_err(|_invalid| CredentialError::Malformed { from: from.to_owned() })
}
