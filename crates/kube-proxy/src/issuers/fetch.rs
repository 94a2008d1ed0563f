//! Fetching an issuer's keys: OpenID Connect Discovery 1.0 section 4, then the JWK Set that it names.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::redirect::Policy;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;

/// Discovery documents and key sets are a few kilobytes.
const MAX_BYTES: usize = 1 << 20;
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where an issuer's keys are, and how to get there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// The issuer as tokens name it; discovery must name it too.
    pub(crate) issuer: String,
    /// Where the discovery document is, when not below the issuer.
    pub(crate) discovery_url: Option<String>,
    /// The CA of the issuer's server; the host's roots when absent.
    pub(crate) ca: Option<Ca>,
    /// A client certificate and key, for issuers that ask for one.
    pub(crate) client: Option<(PathBuf, PathBuf)>,
}

/// A CA bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ca {
    Inline(String),
    File(PathBuf),
}

/// Why keys could not be fetched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("{0}")]
    Configuration(String),
    #[error("GET {url}: {reason}")]
    Request { url: String, reason: String },
    #[error("GET {url}: HTTP {status}")]
    Status { url: String, status: u16 },
    #[error("GET {url}: more than {MAX_BYTES} bytes")]
    TooLarge { url: String },
    #[error("{url} is not a discovery document: {reason}")]
    Discovery { url: String, reason: String },
    #[error("{url} says that the issuer is {found:?}, but {expected:?} is configured")]
    OtherIssuer { url: String, found: String, expected: String },
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

impl Source {
    /// The bytes of the issuer's JWK Set. Files are read and the server is asked anew each time: this happens every
    /// few minutes, and so a replaced CA or client certificate counts from the next time on.
    pub(crate) async fn jwks(&self) -> Result<Vec<u8>, FetchError> {
        let client = self.client()?;
        let url = match &self.discovery_url {
            Some(url) => url.clone(),
            None => {
                format!("{}/.well-known/openid-configuration", self.issuer.strip_suffix('/').unwrap_or(&self.issuer))
            }
        };
        let document = get(&client, &url).await?;
        let discovery: Discovery = serde_json::from_slice(&document)
            .map_err(|error| FetchError::Discovery { url: url.clone(), reason: error.to_string() })?;
        // Section 4.3: the issuer must be exactly the one that was asked for, or tokens of another are accepted.
        if discovery.issuer != self.issuer {
            return Err(FetchError::OtherIssuer { url, found: discovery.issuer, expected: self.issuer.clone() });
        }
        if !discovery.jwks_uri.starts_with("https://") {
            let reason = format!("jwks_uri {:?} is not an https URL", discovery.jwks_uri);
            return Err(FetchError::Discovery { url, reason });
        }
        get(&client, &discovery.jwks_uri).await
    }

    fn client(&self) -> Result<reqwest::Client, FetchError> {
        let bad = |error: &dyn std::fmt::Display| FetchError::Configuration(error.to_string());
        let unreadable = |path: &PathBuf, error: std::io::Error| {
            FetchError::Configuration(format!("cannot read {}: {error}", path.display()))
        };
        let roots = match &self.ca {
            None => runtime::trust::host_roots(),
            Some(Ca::Inline(pem)) => runtime::trust::roots_from_pem(pem.as_bytes()),
            Some(Ca::File(path)) => {
                let pem = runtime::files::read(path).map_err(|error| unreadable(path, error))?;
                runtime::trust::roots_from_pem(&pem)
            }
        };
        let builder = rustls::ClientConfig::builder_with_provider(runtime::crypto::provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| bad(&error))?
            .with_root_certificates(roots.map_err(|error| bad(&error))?);
        let tls = match &self.client {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let cert_pem = runtime::files::read(cert).map_err(|error| unreadable(cert, error))?;
                let key_pem = runtime::files::read(key).map_err(|error| unreadable(key, error))?;
                let chain = CertificateDer::pem_slice_iter(&cert_pem).collect::<Result<Vec<_>, _>>();
                let chain = chain.map_err(|error| bad(&error))?;
                let key = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|error| bad(&error))?;
                builder.with_client_auth_cert(chain, key).map_err(|error| bad(&error))?
            }
        };
        reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .https_only(true)
            .redirect(Policy::limited(3))
            .timeout(TIMEOUT)
            .user_agent(concat!("keyway/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| bad(&error))
    }
}

async fn get(client: &reqwest::Client, url: &str) -> Result<Vec<u8>, FetchError> {
    let failed = |error: reqwest::Error| FetchError::Request { url: url.to_owned(), reason: chain(&error) };
    let mut response = client.get(url).send().await.map_err(failed)?;
    if !response.status().is_success() {
        return Err(FetchError::Status { url: url.to_owned(), status: response.status().as_u16() });
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > MAX_BYTES {
            return Err(FetchError::TooLarge { url: url.to_owned() });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// An error with its causes: reqwest's own text stops at "error sending request".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
