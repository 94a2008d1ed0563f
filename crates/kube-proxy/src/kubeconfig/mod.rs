//! Where kube-apiserver is, and who the proxy is there: from the pod's service account, or from a kubeconfig, with the
//! flags over it. The rules are client-go's (`rest.InClusterConfig`, `clientcmd`); the merging of several files is
//! described at <https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/>.
//!
//! What is in files stays a path here: the pools read it, and read it again when it changes.

mod draft;
mod files;

use std::path::{Path, PathBuf};

use crate::options::Fault;
use http::Uri;
use http::uri::Scheme;
use secrecy::SecretString;

use self::draft::Draft;
use crate::options::Host;
use crate::upstream::{Credential, Pem, UpstreamTls};

/// Where the kubelet puts the credential of a pod.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The flags that say something about kube-apiserver. Empty values count as absent.
#[derive(Clone, Debug, Default)]
pub struct ClientFlags {
    /// Whether any of the flags was written that turn from the pod's service account to a kubeconfig.
    pub use_kubeconfig: bool,
    /// The one file to read.
    pub kubeconfig: Option<PathBuf>,
    /// Instead of the current context.
    pub context: Option<String>,
    /// Instead of the context's cluster.
    pub cluster: Option<String>,
    /// Instead of the context's user.
    pub user: Option<String>,
    /// Instead of the cluster's URL.
    pub server: Option<String>,
    /// Instead of the host of the URL.
    pub tls_server_name: Option<String>,
    /// Instead of the cluster's.
    pub certificate_authority: Option<PathBuf>,
    /// Verify nothing.
    pub insecure_skip_tls_verify: bool,
    /// Instead of the user's.
    pub token: Option<SecretString>,
    /// Instead of the user's.
    pub client_certificate: Option<PathBuf>,
    /// Instead of the user's.
    pub client_key: Option<PathBuf>,
}

/// How to reach kube-apiserver as the proxy itself.
#[derive(Clone, Debug)]
pub struct ApiserverConfig {
    /// `https://host[:port][/prefix]`, without a query.
    pub url: Uri,
    /// The roots, the client certificate, the name to expect.
    pub tls: UpstreamTls,
    /// The bearer token or password, beside the client certificate: Kubernetes allows both.
    pub credential: Credential,
}

impl ApiserverConfig {
    /// Whether kube-apiserver can know who the proxy is.
    #[must_use]
    pub fn has_credential(&self) -> bool {
        self.tls.client.is_some() || !matches!(self.credential, Credential::None)
    }
}

/// Finds the connection settings, and checks that the files which they name can be read.
///
/// # Errors
/// Every fault; its path is a flag, or a file and a field in it.
pub fn resolve(flags: &ClientFlags, host: &Host<'_>) -> Result<ApiserverConfig, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut draft = base(flags, host, &mut faults);
    draft.override_with(flags);
    // With faults so far the draft has holes, which would be reported a second time.
    if !faults.is_empty() {
        return Err(faults);
    }
    draft.finish(host)
}

fn base(flags: &ClientFlags, host: &Host<'_>, faults: &mut Vec<Fault>) -> Draft {
    if !flags.use_kubeconfig {
        return in_cluster(host).unwrap_or_else(|| {
            faults.push(fault(
                "--kubeconfig",
                "this is not a pod (KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set), and no flag says \
                 where kube-apiserver is; give --kubeconfig",
            ));
            Draft::default()
        });
    }
    let found = files::load(flags.kubeconfig.as_deref(), host, faults);
    if found.is_empty() && faults.is_empty() {
        // As in client-go: flags, but no file that they could be about.
        return in_cluster(host).unwrap_or_default();
    }
    files::pick(&found, flags, faults)
}

/// `rest.InClusterConfig`; nothing outside a pod.
fn in_cluster(host: &Host<'_>) -> Option<Draft> {
    let variable = |name| (host.env)(name).filter(|value| !value.is_empty());
    let (address, port) = (variable("KUBERNETES_SERVICE_HOST")?, variable("KUBERNETES_SERVICE_PORT")?);
    let address = if address.contains(':') { format!("[{address}]") } else { address };
    let directory = Path::new(SERVICE_ACCOUNT);
    let origin = "the pod's service account";
    Some(Draft {
        server: Some((format!("https://{address}:{port}"), "KUBERNETES_SERVICE_HOST".to_owned())),
        ca: Some((Pem::File(directory.join("ca.crt")), origin.to_owned())),
        token_file: Some((directory.join("token"), origin.to_owned())),
        ..Draft::default()
    })
}

/// kube-apiserver's URL. Without a scheme it is a host and port, as in client-go.
fn parse_server(text: &str) -> Result<Uri, String> {
    if text.is_empty() {
        return Err("is empty, and should be kube-apiserver's https:// URL".to_owned());
    }
    if text.contains('@') {
        return Err("must not hold a user name or password".to_owned());
    }
    let absolute = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let uri: Uri = absolute.parse().map_err(|error| format!("'{text}' is not a URL: {error}"))?;
    if uri.scheme() != Some(&Scheme::HTTPS) {
        return Err(format!("'{text}' must begin with https://: the proxy shows its credential there"));
    }
    let authority = uri.authority().filter(|authority| !authority.host().is_empty());
    let authority = authority.ok_or_else(|| format!("'{text}' names no host"))?;
    Uri::builder()
        .scheme(Scheme::HTTPS)
        .authority(authority.clone())
        .path_and_query(uri.path())
        .build()
        .map_err(|error| format!("'{text}' is not a URL: {error}"))
}

fn fault(path: impl Into<String>, reason: impl Into<String>) -> Fault {
    Fault { path: path.into(), reason: reason.into() }
}

#[cfg(test)]
mod tests;
