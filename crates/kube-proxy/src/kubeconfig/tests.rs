use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use tempfile::TempDir;

use super::{ApiserverConfig, ClientFlags, parse_server, resolve};
use crate::options::Host;
use crate::upstream::{Credential, Pem};

/// A directory with kubeconfig files, and an environment.
struct Place {
    dir: TempDir,
    env: Vec<(&'static str, String)>,
}

impl Place {
    fn new() -> Self {
        Self { dir: TempDir::new().unwrap(), env: Vec::new() }
    }

    fn in_pod(mut self) -> Self {
        self.env.push(("KUBERNETES_SERVICE_HOST", "fd00::1".to_owned()));
        self.env.push(("KUBERNETES_SERVICE_PORT", "6443".to_owned()));
        self
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// Every file can be read, but those that are called `missing`.
    fn resolve(&self, flags: &ClientFlags) -> Result<ApiserverConfig, Vec<String>> {
        let env = |name: &str| self.env.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
        let readable = |path: &Path| {
            if path.ends_with("missing") { Err(io::ErrorKind::PermissionDenied.into()) } else { Ok(()) }
        };
        resolve(flags, &Host { env: &env, readable: &readable, read: &|_| Err(io::ErrorKind::NotFound.into()) })
            .map_err(|faults| faults.into_iter().map(|fault| format!("{}: {}", fault.path, fault.reason)).collect())
    }

    /// Writes one kubeconfig, and resolves it without further flags.
    fn with(&self, kubeconfig: &str) -> Result<ApiserverConfig, Vec<String>> {
        let path = self.write("config", kubeconfig);
        self.resolve(&ClientFlags { kubeconfig: Some(path), ..with_kubeconfig() })
    }

    #[track_caller]
    fn refuses(&self, kubeconfig: &str, words: &[&str]) {
        let faults = self.with(kubeconfig).unwrap_err();
        for words in words {
            assert!(faults.iter().any(|fault| fault.contains(words)), "'{words}' is not in {faults:#?}");
        }
    }
}

fn with_kubeconfig() -> ClientFlags {
    ClientFlags { use_kubeconfig: true, ..ClientFlags::default() }
}

/// A kubeconfig with one cluster and one user, of which these are the fields.
fn kubeconfig(cluster: &str, user: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         contexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
         clusters: [{{name: k, cluster: {{{cluster}}}}}]\n\
         users: [{{name: u, user: {{{user}}}}}]\n"
    )
}

fn file(pem: Option<&Pem>) -> &Path {
    match pem {
        Some(Pem::File(path)) => path,
        other => panic!("{other:?}"),
    }
}

const SERVER: &str = "server: 'https://k.example.com:6443'";

#[test]
fn nothing_says_where_kube_apiserver_is() {
    let outside = Place::new();
    let faults = outside.resolve(&ClientFlags::default()).unwrap_err();
    assert!(faults[0].starts_with("--kubeconfig: this is not a pod"), "{faults:?}");
    let faults = outside.resolve(&with_kubeconfig()).unwrap_err();
    assert!(faults[0].starts_with("--server: nothing says where"), "{faults:?}");
    let half = Place { env: vec![("KUBERNETES_SERVICE_HOST", "10.0.0.1".to_owned())], ..Place::new() };
    half.resolve(&ClientFlags::default()).unwrap_err();
}

#[test]
fn a_kubeconfig_that_is_named_must_be_one() {
    let place = Place::new().in_pod();
    let flags = ClientFlags { kubeconfig: Some(place.dir.path().join("absent")), ..with_kubeconfig() };
    let faults = place.resolve(&flags).unwrap_err();
    assert!(faults[0].contains("absent: is not a usable kubeconfig"), "{faults:?}");
    place.refuses("clusters: 7", &["config: does not have the form of a kubeconfig at line 1"]);
    place.refuses("\0", &["config: does not have the form of a kubeconfig"]);
    place.refuses("", &["current-context: is not set"]);
    let faults = place.with("users: [{name: u, user: {token: s3cret}}]\nclusters: 7\n").unwrap_err();
    assert!(faults[0].ends_with("kubeconfig at line 2, column 11; 'kubectl config view' says more"), "{faults:?}");
}

#[test]
fn names_that_lead_nowhere_are_all_reported() {
    let place = Place::new();
    place.refuses("current-context: gone", &["current-context: there is no context 'gone'"]);
    place.refuses(
        "current-context: c\ncontexts: [{name: c, context: {cluster: gone, user: away}}]",
        &["there is no cluster 'gone'", "there is no user 'away'"],
    );
    let path = place.write("config", &kubeconfig(SERVER, "token: t"));
    for (flags, fault) in [
        (ClientFlags { context: Some("x".into()), ..with_kubeconfig() }, "--context: there is no context 'x'"),
        (ClientFlags { cluster: Some("x".into()), ..with_kubeconfig() }, "--cluster: there is no cluster 'x'"),
        (ClientFlags { user: Some("x".into()), ..with_kubeconfig() }, "--user: there is no user 'x'"),
    ] {
        let faults = place.resolve(&ClientFlags { kubeconfig: Some(path.clone()), ..flags }).unwrap_err();
        assert!(faults[0].starts_with(fault), "{faults:?}");
    }
}

#[test]
fn every_field_that_cannot_be_used_is_named() {
    Place::new().refuses(
        &kubeconfig(
            "server: 'https://k', proxy-url: 'http://proxy', certificate-authority: a, certificate-authority-data: YQ==",
            "as: root, client-certificate-data: '%%%', client-key: k, username: 'a:b'",
        ),
        &[
            "config: cluster 'k': proxy-url: the proxy connects to kube-apiserver directly",
            "config: cluster 'k': certificate-authority: is given as a file and as data",
            "config: user 'u': as: ",
            "config: user 'u': client-certificate-data: is not base64",
            "config: user 'u': username: must not contain a colon",
        ],
    );
    let place = Place::new();
    for (server, said) in [
        ("server: ''", "server: is empty"),
        ("", "server: is empty"),
        ("server: 'http://k'", "must begin with https://"),
        ("server: 'ftp://k'", "must begin with https://"),
        ("server: 'https://'", "cluster 'k': server: "),
        ("server: 'https://a b'", "is not a URL"),
        ("server: 'https://me:secret@k'", "must not hold a user name"),
    ] {
        place.refuses(&kubeconfig(server, "token: t"), &[said]);
    }
    let faults = place.with(&kubeconfig("server: 'https://me:secret@k'", "")).unwrap_err();
    assert!(!faults[0].contains("secret"), "{faults:?}");
}

#[test]
fn credentials_that_cannot_work_are_refused() {
    let place = Place::new();
    let refuses = |user: &str, words: &str| place.refuses(&kubeconfig(SERVER, user), &[words]);
    refuses(
        "exec: {apiVersion: client.authentication.k8s.io/v1, command: aws}",
        "exec: the proxy runs no credential plugin",
    );
    refuses("auth-provider: {name: gcp}", "auth-provider: auth-provider was removed");
    refuses("client-certificate: a", "client-certificate: the key of this client certificate is not given");
    refuses("client-key: a", "client-key: the client certificate of this key is not given");
    refuses("tokenFile: missing", "tokenFile: cannot read ");
    refuses("client-certificate: missing, client-key: b", "client-certificate: cannot read ");
    refuses("token: t, username: a, password: b", "a token or a password, not both");
    place.refuses(
        &kubeconfig("server: 'https://k', insecure-skip-tls-verify: true, certificate-authority: a", "token: t"),
        &["insecure-skip-tls-verify: cannot be set together with", "certificate-authority: verify with these roots"],
    );
}

#[test]
fn a_pod_has_a_service_account() {
    let config = Place::new().in_pod().resolve(&ClientFlags::default()).unwrap();
    assert_eq!(config.url, "https://[fd00::1]:6443/");
    assert_eq!(file(config.tls.ca.as_ref()), Path::new("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"));
    let Credential::TokenFile(token) = &config.credential else { panic!("{config:?}") };
    assert_eq!(token, Path::new("/var/run/secrets/kubernetes.io/serviceaccount/token"));
    assert!(config.has_credential() && config.tls.client.is_none() && !config.tls.insecure);
}

#[test]
fn flags_without_any_kubeconfig_go_over_the_service_account() {
    let mut place = Place::new().in_pod();
    place.env.push(("KUBECONFIG", place.dir.path().join("absent").display().to_string()));
    let flags = ClientFlags { token: Some(SecretString::from("t")), ..with_kubeconfig() };
    let config = place.resolve(&flags).unwrap();
    assert_eq!(config.url, "https://[fd00::1]:6443/");
    assert!(matches!(config.credential, Credential::Token(token) if token.expose_secret() == "t"));
    assert!(config.tls.ca.is_some());
}

#[test]
fn paths_are_relative_to_their_file() {
    let place = Place::new();
    let cluster = "server: 'https://k.example.com/prefix/', certificate-authority: pki/ca.pem, tls-server-name: inner";
    let user = "tokenFile: /run/token, token: older, client-certificate: c.pem, client-key: k.pem";
    let config = place.with(&kubeconfig(cluster, user)).unwrap();
    assert_eq!(config.url, "https://k.example.com/prefix/");
    assert_eq!(file(config.tls.ca.as_ref()), place.dir.path().join("pki/ca.pem"));
    assert_eq!(config.tls.server_name.as_deref(), Some("inner"));
    let (certificate, key) = config.tls.client.unwrap();
    assert_eq!(file(Some(&certificate)), place.dir.path().join("c.pem"));
    assert_eq!(file(Some(&key)), place.dir.path().join("k.pem"));
    assert!(matches!(config.credential, Credential::TokenFile(path) if path == Path::new("/run/token")));
}

#[test]
fn data_and_passwords_are_taken() {
    let cluster = "server: k.example.com, certificate-authority-data: Q0E=";
    let user = "client-certificate-data: Q0VSVA==, client-key-data: S0VZ, username: me, password: secret";
    let config = Place::new().with(&kubeconfig(cluster, user)).unwrap();
    assert_eq!(config.url, "https://k.example.com/");
    assert!(matches!(&config.tls.ca, Some(Pem::Inline(pem)) if pem == b"CA"));
    assert!(matches!(&config.tls.client, Some((Pem::Inline(c), Pem::Inline(k))) if c == b"CERT" && k == b"KEY"));
    assert!(matches!(&config.credential, Credential::Basic { username, .. } if username == "me"));
    assert!(!format!("{:?}", config.credential).contains("secret"));
}

#[test]
fn flags_replace_what_the_kubeconfig_says() {
    let place = Place::new();
    let cluster = "server: 'https://old', certificate-authority-data: Q0E=, tls-server-name: old";
    let path = place.write("config", &kubeconfig(cluster, "exec: {command: aws}"));
    let base = ClientFlags { kubeconfig: Some(path), token: Some(SecretString::from("t")), ..with_kubeconfig() };

    let config = place.resolve(&base).unwrap();
    assert_eq!((config.url.to_string().as_str(), config.tls.server_name.as_deref()), ("https://old/", Some("old")));
    assert!(matches!(config.credential, Credential::Token(_)));

    let config = place.resolve(&ClientFlags { server: Some("new:1".into()), ..base.clone() }).unwrap();
    assert_eq!((config.url.to_string().as_str(), config.tls.server_name), ("https://new:1/", None));

    let config = place.resolve(&ClientFlags { insecure_skip_tls_verify: true, ..base.clone() }).unwrap();
    assert!(config.tls.insecure && config.tls.ca.is_none());

    let config = place.resolve(&ClientFlags { certificate_authority: Some("/ca".into()), ..base.clone() }).unwrap();
    assert_eq!(file(config.tls.ca.as_ref()), Path::new("/ca"));

    let both = ClientFlags { certificate_authority: Some("/ca".into()), insecure_skip_tls_verify: true, ..base };
    assert!(place.resolve(&both).unwrap_err()[0].starts_with("--insecure-skip-tls-verify: "));
}

#[test]
fn of_several_files_the_first_wins() {
    let mut place = Place::new();
    let first = place.write("a/config", "current-context: c\nusers: [{name: u, user: {token: first}}]");
    let second =
        place.write("b/config", &kubeconfig("server: 'https://k', certificate-authority: ca.pem", "token: second"));
    let list = [first, PathBuf::new(), place.dir.path().join("absent"), second];
    place.env.push(("KUBECONFIG", std::env::join_paths(list).unwrap().into_string().unwrap()));
    let config = place.resolve(&with_kubeconfig()).unwrap();
    assert!(matches!(&config.credential, Credential::Token(token) if token.expose_secret() == "first"));
    assert_eq!(file(config.tls.ca.as_ref()), place.dir.path().join("b/ca.pem"));
}

#[test]
fn the_home_directory_comes_last() {
    let mut place = Place::new().in_pod();
    place.write(".kube/config", &kubeconfig(SERVER, "token: t"));
    place.env.push(("HOME", place.dir.path().display().to_string()));
    assert_eq!(place.resolve(&with_kubeconfig()).unwrap().url, "https://k.example.com:6443/");
    assert_eq!(place.resolve(&ClientFlags::default()).unwrap().url, "https://[fd00::1]:6443/");
}

#[test]
fn servers_are_urls_or_hosts() {
    for (text, url) in [
        ("https://10.0.0.1", "https://10.0.0.1/"),
        ("https://10.0.0.1:6443/", "https://10.0.0.1:6443/"),
        ("[fd00::1]:6443", "https://[fd00::1]:6443/"),
        ("https://k/a/b?c=d#e", "https://k/a/b"),
    ] {
        assert_eq!(parse_server(text).unwrap(), url, "{text}");
    }
    for wrong in ["", "https:///path", "unix:///socket", "https://:6443"] {
        assert!(parse_server(wrong).is_err(), "{wrong}");
    }
}
