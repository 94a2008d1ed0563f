//! The connection settings while they are put together: every value with the place that it comes from, for the
//! message when it is wrong.

use std::path::PathBuf;

use crate::options::Fault;
use secrecy::SecretString;

use super::{ApiserverConfig, ClientFlags, fault, parse_server};
use crate::options::Host;
use crate::upstream::{Credential, Pem, UpstreamTls};

/// A value, and the flag or field that it comes from.
pub(super) type From<T> = Option<(T, String)>;

#[derive(Default)]
pub(super) struct Draft {
    pub(super) server: From<String>,
    pub(super) ca: From<Pem>,
    pub(super) insecure: From<()>,
    pub(super) server_name: From<String>,
    pub(super) token: From<SecretString>,
    pub(super) token_file: From<PathBuf>,
    pub(super) certificate: From<Pem>,
    pub(super) key: From<Pem>,
    pub(super) basic: From<(String, SecretString)>,
    /// A credential that the proxy does not take, and why; a credential by flag replaces it.
    pub(super) unusable: From<&'static str>,
}

impl Draft {
    /// Lays the flags over it, as `clientcmd` does.
    pub(super) fn override_with(&mut self, flags: &ClientFlags) {
        if let Some(server) = &flags.server {
            self.server = Some((server.clone(), "--server".to_owned()));
            // The name was that of the other server.
            self.server_name = None;
        }
        if let Some(name) = &flags.tls_server_name {
            self.server_name = Some((name.clone(), "--tls-server-name".to_owned()));
        }
        if flags.insecure_skip_tls_verify || flags.certificate_authority.is_some() {
            self.insecure = flags.insecure_skip_tls_verify.then(|| ((), "--insecure-skip-tls-verify".to_owned()));
            self.ca = from_flag(flags.certificate_authority.as_ref(), "--certificate-authority");
        }
        if let Some(token) = &flags.token {
            self.token = Some((token.clone(), "--token".to_owned()));
            (self.token_file, self.basic, self.unusable) = (None, None, None);
        }
        if flags.client_certificate.is_some() {
            self.certificate = from_flag(flags.client_certificate.as_ref(), "--client-certificate");
            self.unusable = None;
        }
        if flags.client_key.is_some() {
            self.key = from_flag(flags.client_key.as_ref(), "--client-key");
        }
    }

    /// Checks it as a whole.
    pub(super) fn finish(self, host: &Host<'_>) -> Result<ApiserverConfig, Vec<Fault>> {
        let mut faults = Vec::new();
        if let Some((why, path)) = &self.unusable {
            faults.push(fault(path, *why));
        }
        if let (Some((_, ca)), Some((_, insecure))) = (&self.ca, &self.insecure) {
            faults
                .push(fault(insecure, format!("cannot be set together with {ca}: verify with these roots, or do not")));
        }
        match (&self.certificate, &self.key) {
            (Some((_, path)), None) => faults.push(fault(path, "the key of this client certificate is not given")),
            (None, Some((_, path))) => faults.push(fault(path, "the client certificate of this key is not given")),
            _ => {}
        }
        let mut file = |file: &PathBuf, path: &str| {
            if let Err(error) = (host.readable)(file) {
                faults.push(fault(path, format!("cannot read {}: {error}", file.display())));
            }
        };
        for (pem, path) in [&self.ca, &self.certificate, &self.key].into_iter().flatten() {
            if let Pem::File(pem) = pem {
                file(pem, path);
            }
        }
        if let Some((token, path)) = &self.token_file {
            file(token, path);
        }
        let url = match &self.server {
            Some((server, path)) => parse_server(server).map_err(|reason| fault(path, reason)),
            None => Err(fault("--server", "nothing says where kube-apiserver is; give --server or --kubeconfig")),
        };
        let has_token = self.token.is_some() || self.token_file.is_some();
        let credential = match (self.token_file, self.token, self.basic) {
            (_, _, Some((_, path))) if has_token => {
                faults.push(fault(path, "a user has a token or a password, not both"));
                Credential::None
            }
            // As in client-go, which reads the file again when it changes.
            (Some((file, _)), _, _) => Credential::TokenFile(file),
            (None, Some((token, _)), _) => Credential::Token(token),
            (None, None, Some(((username, password), _))) => Credential::Basic { username, password },
            (None, None, None) => Credential::None,
        };
        match url {
            Ok(url) if faults.is_empty() => Ok(ApiserverConfig {
                url,
                tls: UpstreamTls {
                    ca: self.ca.map(|(pem, _)| pem),
                    client: self.certificate.zip(self.key).map(|((certificate, _), (key, _))| (certificate, key)),
                    server_name: self.server_name.map(|(name, _)| name),
                    insecure: self.insecure.is_some(),
                },
                credential,
            }),
            Ok(_) => Err(faults),
            Err(fault) => {
                faults.push(fault);
                Err(faults)
            }
        }
    }
}

fn from_flag(file: Option<&PathBuf>, flag: &str) -> From<Pem> {
    file.map(|file| (Pem::File(file.clone()), flag.to_owned()))
}
