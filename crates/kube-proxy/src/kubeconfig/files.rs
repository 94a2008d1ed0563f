//! Kubeconfig files: finding them, and picking the context, cluster and user. `kube` parses them, and makes the paths
//! in them relative to the file that they are in.

use std::path::{Path, PathBuf};

use crate::options::Fault;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::config::{AuthInfo, Cluster, Kubeconfig, KubeconfigError};
use secrecy::{ExposeSecret, SecretString};

use super::draft::{Draft, From};
use super::{ClientFlags, fault};
use crate::options::Host;
use crate::upstream::Pem;

const EXEC: &str = "the proxy runs no credential plugin (exec): give this user a token file, a client certificate, or \
                    run the proxy with a service account";
const AUTH_PROVIDER: &str = "auth-provider was removed from Kubernetes: give this user a token file or a client \
                             certificate, or run the proxy with a service account";
const IMPERSONATES: &str = "the proxy impersonates its users with its own identity, which cannot be impersonated as \
                            well: remove the user's as, as-uid, as-groups and as-user-extra";
const PROXY_URL: &str = "the proxy connects to kube-apiserver directly; remove proxy-url, or name a server that can be \
                         reached";

/// One file, as it was read.
pub(super) struct File {
    path: PathBuf,
    content: Kubeconfig,
}

/// Reads the file that is named, or those of `$KUBECONFIG` (of which some may not exist), or `~/.kube/config` if it
/// exists.
pub(super) fn load(explicit: Option<&Path>, host: &Host<'_>, faults: &mut Vec<Fault>) -> Vec<File> {
    let variable = |name| (host.env)(name).filter(|value| !value.is_empty());
    let paths: Vec<PathBuf> = if let Some(path) = explicit {
        vec![path.to_owned()]
    } else if let Some(list) = variable("KUBECONFIG") {
        std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect()
    } else {
        variable("HOME").map(|home| Path::new(&home).join(".kube/config")).into_iter().collect()
    };
    let mut files = Vec::new();
    for path in paths {
        if explicit.is_none() && !path.exists() {
            continue;
        }
        if path.exists() && !path.is_file() {
            faults.push(fault(at(explicit, &path), "is not a regular file"));
            continue;
        }
        match Kubeconfig::read_from(&path) {
            Ok(content) => files.push(File { path, content }),
            Err(error) => faults.push(fault(at(explicit, &path), unusable(&error))),
        }
    }
    files
}

/// The parser's own words show the lines around a mistake, and with them the secrets there.
fn unusable(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::Parse(error) => {
            let place = error
                .location()
                .map_or_else(String::new, |at| format!(" at line {}, column {}", at.line(), at.column()));
            format!("does not have the form of a kubeconfig{place}; 'kubectl config view' says more")
        }
        error => format!("is not a usable kubeconfig: {error}"),
    }
}

fn at(explicit: Option<&Path>, path: &Path) -> String {
    let flag = if explicit.is_some() { "--kubeconfig " } else { "kubeconfig " };
    format!("{flag}{}", path.display())
}

/// Of several files, the first that has an entry of a name gives it (kubeconfig merging rules).
pub(super) fn pick(files: &[File], flags: &ClientFlags, faults: &mut Vec<Fault>) -> Draft {
    let names: Vec<String> = files.iter().map(|file| file.path.display().to_string()).collect();
    let all = names.join(", ");
    let current = files.iter().find_map(|file| file.content.current_context.clone().filter(|name| !name.is_empty()));
    let context = flags.context.clone().or(current).and_then(|name| {
        let found = files.iter().find_map(|file| {
            file.content.contexts.iter().find(|context| context.name == name).and_then(|named| named.context.clone())
        });
        if found.is_none() {
            let path = if flags.context.is_some() {
                "--context".to_owned()
            } else {
                format!("kubeconfig {all}: current-context")
            };
            faults.push(fault(path, format!("there is no context '{name}' in {all}")));
        }
        found
    });
    let mut draft = Draft::default();
    let of_context = context.as_ref().map(|context| context.cluster.clone()).filter(|name| !name.is_empty());
    if let Some(name) = flags.cluster.clone().or(of_context) {
        let found = files.iter().find_map(|file| {
            let named = file.content.clusters.iter().find(|cluster| cluster.name == name)?;
            Some((
                named.cluster.clone().unwrap_or_default(),
                format!("kubeconfig {}: cluster '{name}': ", file.path.display()),
            ))
        });
        match found {
            Some((cluster, place)) => take_cluster(&mut draft, cluster, &place, faults),
            None => faults.push(fault(
                if flags.cluster.is_some() { "--cluster" } else { "--context" },
                format!("there is no cluster '{name}' in {all}"),
            )),
        }
    } else if flags.server.is_none() && faults.is_empty() {
        faults.push(fault(
            format!("kubeconfig {all}: current-context"),
            "is not set, so no cluster is chosen; give --context, or --cluster and --user",
        ));
    }
    let of_context = context.and_then(|context| context.user).filter(|name| !name.is_empty());
    if let Some(name) = flags.user.clone().or(of_context) {
        let found = files.iter().find_map(|file| {
            let named = file.content.auth_infos.iter().find(|user| user.name == name)?;
            Some((
                named.auth_info.clone().unwrap_or_default(),
                format!("kubeconfig {}: user '{name}': ", file.path.display()),
            ))
        });
        match found {
            Some((user, place)) => take_user(&mut draft, user, &place, faults),
            None => faults.push(fault(
                if flags.user.is_some() { "--user" } else { "--context" },
                format!("there is no user '{name}' in {all}"),
            )),
        }
    }
    draft
}

fn take_cluster(draft: &mut Draft, cluster: Cluster, place: &str, faults: &mut Vec<Fault>) {
    let from = |field: &str| format!("{place}{field}");
    draft.server = cluster.server.filter(|server| !server.is_empty()).map(|server| (server, from("server")));
    if draft.server.is_none() {
        draft.server = Some((String::new(), from("server")));
    }
    if cluster.insecure_skip_tls_verify == Some(true) {
        draft.insecure = Some(((), from("insecure-skip-tls-verify")));
    }
    draft.server_name =
        cluster.tls_server_name.filter(|name| !name.is_empty()).map(|name| (name, from("tls-server-name")));
    draft.ca = pem(
        cluster.certificate_authority,
        cluster.certificate_authority_data.map(SecretString::from),
        &from("certificate-authority"),
        faults,
    );
    if cluster.proxy_url.is_some_and(|url| !url.is_empty()) {
        faults.push(fault(from("proxy-url"), PROXY_URL));
    }
}

fn take_user(draft: &mut Draft, user: AuthInfo, place: &str, faults: &mut Vec<Fault>) {
    let from = |field: &str| format!("{place}{field}");
    draft.token = user.token.filter(|token| !token.expose_secret().is_empty()).map(|token| (token, from("token")));
    draft.token_file = user.token_file.filter(|file| !file.is_empty()).map(|file| (file.into(), from("tokenFile")));
    draft.certificate = pem(
        user.client_certificate,
        user.client_certificate_data.map(SecretString::from),
        &from("client-certificate"),
        faults,
    );
    draft.key = pem(user.client_key, user.client_key_data, &from("client-key"), faults);
    if let Some(username) = user.username.filter(|name| !name.is_empty()) {
        // RFC 7617 section 2: a user-id with a colon cannot be told from its password.
        if username.contains(':') {
            faults.push(fault(from("username"), "must not contain a colon"));
        }
        draft.basic = Some(((username, user.password.unwrap_or_default()), from("username")));
    }
    if user.exec.is_some() {
        draft.unusable = Some((EXEC, from("exec")));
    } else if user.auth_provider.is_some() {
        draft.unusable = Some((AUTH_PROVIDER, from("auth-provider")));
    }
    let impersonates = user.impersonate.is_some()
        || user.impersonate_uid.is_some()
        || user.impersonate_groups.is_some()
        || user.impersonate_user_extra.is_some();
    if impersonates {
        faults.push(fault(from("as"), IMPERSONATES));
    }
}

/// A file, or base64 of PEM; `clientcmd` refuses both at once.
fn pem(file: Option<String>, data: Option<SecretString>, field: &str, faults: &mut Vec<Fault>) -> From<Pem> {
    let file = file.filter(|file| !file.is_empty());
    let data = data.filter(|data| !data.expose_secret().is_empty());
    match (file, data) {
        (Some(_), Some(_)) => {
            faults.push(fault(field, "is given as a file and as data; keep one of the two"));
            None
        }
        (Some(file), None) => Some((Pem::File(file.into()), field.to_owned())),
        (None, Some(data)) => match STANDARD.decode(data.expose_secret().trim()) {
            Ok(bytes) => Some((Pem::Inline(bytes), format!("{field}-data"))),
            Err(error) => {
                faults.push(fault(format!("{field}-data"), format!("is not base64: {error}")));
                None
            }
        },
        (None, None) => None,
    }
}
