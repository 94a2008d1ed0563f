//! What the scenarios share: a cluster, an issuer, and proxies in front of them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use testkit::ca::Ca;
use testkit::cluster::{Binaries, Cluster, Kubeconfig, Parts, Process, UserAuth, free_port, own_binary};
use testkit::issuer::{Issuer, TokenBuilder};
use tokio::runtime::Runtime;

pub(crate) const CLIENT_ID: &str = "kubernetes";

/// The runtime that the fake parts live in, as long as the test binary does.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
    &RUNTIME
}

/// A cluster with the reference's RBAC, an issuer, and an account for the proxy.
pub(crate) struct World {
    pub(crate) cluster: Mutex<Cluster>,
    pub(crate) issuer: Issuer,
    pub(crate) front: Ca,
    pub(crate) dir: PathBuf,
    url: String,
}

/// The world that scenarios share which leave it as they found it.
pub(crate) fn shared() -> &'static World {
    static WORLD: LazyLock<World> = LazyLock::new(|| World::start(Parts::Whole));
    &WORLD
}

/// The proxy that most scenarios use.
pub(crate) fn proxy() -> &'static Proxy {
    static PROXY: LazyLock<Proxy> = LazyLock::new(|| shared().proxy(&[]));
    &PROXY
}

impl World {
    pub(crate) fn start(parts: Parts) -> Self {
        let cluster = Cluster::start(&Binaries::locate().unwrap(), parts).unwrap();
        cluster.apply(RBAC).unwrap();
        let issuer = runtime().block_on(Issuer::start(&Ca::new("issuer-ca")));
        let dir = cluster.dir().join("world");
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("issuer-ca.pem"), issuer.ca_pem()).unwrap();
        let front = Ca::new("front-ca");
        std::fs::write(dir.join("front-ca.pem"), front.pem()).unwrap();
        let url = cluster.url();
        let world = Self { cluster: Mutex::new(cluster), issuer, front, dir, url };
        world.renew_certificate();
        world.renew_service_account_token();
        let account = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
            "clusters": [{"name": "proxy", "cluster": {
                "server": world.url, "certificate-authority": world.cluster.lock().unwrap().ca_file()}}],
            "users": [{"name": "proxy", "user": {"tokenFile": world.dir.join("token")}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
        });
        std::fs::write(world.dir.join("proxy.kubeconfig"), account.to_string()).unwrap();
        world
    }

    /// A new serving certificate for the proxy, in the files that it reads.
    pub(crate) fn renew_certificate(&self) {
        let pair = self.front.issue_server(&["localhost", "127.0.0.1", "mykube.corp.example.com"]);
        replace(&self.dir.join("tls.key"), &pair.key_pem);
        replace(&self.dir.join("tls.crt"), &pair.cert_pem);
    }

    /// A new token of the proxy's service account, in the file that it reads.
    pub(crate) fn renew_service_account_token(&self) {
        let token = self.cluster.lock().unwrap().service_account_token("keyway", "kube-proxy", 600).unwrap();
        replace(&self.dir.join("token"), &token);
    }

    /// A token of `email` with `roles`, good for ten minutes.
    pub(crate) fn token(&self, email: &str, roles: &[&str]) -> String {
        self.claims(email, roles).sign()
    }

    pub(crate) fn claims(&self, email: &str, roles: &[&str]) -> TokenBuilder {
        let token = self.issuer.token().claim("sub", json!("0d1f")).claim("email", json!(email));
        token.claim("roles", json!(roles)).claim("jti", json!("token-1")).aud(CLIENT_ID).expires_in(600)
    }

    /// The flags that every proxy here has, but for the issuer's.
    pub(crate) fn serving_flags(&self, port: u16, probe: u16) -> Vec<String> {
        let file = |name: &str| self.dir.join(name).display().to_string();
        vec![
            "kube-proxy".into(),
            "--bind-address=127.0.0.1".into(),
            format!("--secure-port={port}"),
            format!("--readiness-probe-port={probe}"),
            format!("--tls-cert-file={}", file("tls.crt")),
            format!("--tls-private-key-file={}", file("tls.key")),
            format!("--kubeconfig={}", file("proxy.kubeconfig")),
            "-v=4".into(),
        ]
    }

    pub(crate) fn issuer_flags(&self) -> Vec<String> {
        vec![
            format!("--oidc-issuer-url={}", self.issuer.url()),
            format!("--oidc-client-id={CLIENT_ID}"),
            format!("--oidc-ca-file={}", self.dir.join("issuer-ca.pem").display()),
            "--oidc-username-claim=email".into(),
            "--oidc-username-prefix=keyway:".into(),
            "--oidc-groups-claim=roles".into(),
            "--oidc-groups-prefix=keyway:".into(),
            "--oidc-signing-algs=RS256,ES256".into(),
        ]
    }

    /// A proxy with these flags more, ready.
    pub(crate) fn proxy(&self, more: &[&str]) -> Proxy {
        let proxy = self.proxy_started(more);
        proxy.wait_until_ready();
        proxy
    }

    /// A proxy with these flags more, perhaps not ready yet.
    pub(crate) fn proxy_started(&self, more: &[&str]) -> Proxy {
        let mut flags = self.issuer_flags();
        flags.extend(more.iter().map(|flag| (*flag).to_owned()));
        self.proxy_with(&flags)
    }

    /// A proxy with the serving flags and these.
    pub(crate) fn proxy_with(&self, flags: &[String]) -> Proxy {
        let (port, probe) = (free_port().unwrap(), free_port().unwrap());
        let mut all = self.serving_flags(port, probe);
        all.extend_from_slice(flags);
        let name = format!("keywayd-{port}");
        let process = Process::start(&self.dir, &name, &own_binary("keywayd").unwrap(), &all, &[]).unwrap();
        Proxy {
            port,
            probe,
            process: Mutex::new(process),
            ca_file: self.dir.join("front-ca.pem"),
            dir: self.dir.clone(),
        }
    }
}

/// Replaces a file as the kubelet does: never half written.
pub(crate) fn replace(path: &Path, content: &str) {
    let fresh = path.with_extension("fresh");
    std::fs::write(&fresh, content).unwrap();
    std::fs::rename(fresh, path).unwrap();
}

/// A `keywayd kube-proxy` process.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    pub(crate) probe: u16,
    pub(crate) process: Mutex<Process>,
    pub(crate) ca_file: PathBuf,
    dir: PathBuf,
}

impl Proxy {
    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    pub(crate) fn log(&self) -> String {
        self.process.lock().unwrap().log()
    }

    /// What `/ready` says: the status and the text.
    pub(crate) fn ready(&self) -> Option<(u16, String)> {
        probe(self.probe, "/ready")
    }

    pub(crate) fn wait_until_ready(&self) {
        until("the proxy is ready", || {
            self.process.lock().unwrap().check_running().unwrap();
            match self.ready() {
                Some((200, _)) => Ok(()),
                other => Err(format!("{other:?}\n{}", self.log())),
            }
        });
    }

    /// A kubeconfig for this proxy with that token.
    pub(crate) fn kubeconfig(&self, token: &str) -> PathBuf {
        let file = tempfile::Builder::new().suffix(".kubeconfig").tempfile_in(&self.dir).unwrap();
        let path = file.into_temp_path().keep().unwrap();
        let user = UserAuth::Token(token.to_owned());
        Kubeconfig { server: self.url(), ca_file: self.ca_file.clone(), user }.write(&path).unwrap();
        path
    }

    /// kubectl through this proxy with that token.
    pub(crate) fn kubectl(&self, token: &str) -> Kubectl {
        let binary = Binaries::locate().unwrap().path("kubectl").unwrap();
        Kubectl { binary, kubeconfig: self.kubeconfig(token), dir: self.dir.clone(), env: Vec::new() }
    }
}

/// kubectl of one user.
#[derive(Clone)]
pub(crate) struct Kubectl {
    binary: PathBuf,
    kubeconfig: PathBuf,
    dir: PathBuf,
    env: Vec<(String, String)>,
}

impl Kubectl {
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(args);
        command.current_dir(&self.dir).env("HOME", &self.dir).env_remove("KUBECONFIG").stdin(Stdio::null());
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Its standard output; it must succeed.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {}: {stderr}", args.join(" "));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Its standard error; it must fail.
    pub(crate) fn refused(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success(), "kubectl {} should have failed; it said {stdout}", args.join(" "));
        String::from_utf8(output.stderr).unwrap().trim().to_owned()
    }

    /// Runs it with `input` on standard input, which then ends.
    pub(crate) fn with_input(&self, args: &[&str], input: &[u8]) -> Output {
        use std::io::Write;
        let mut child =
            self.command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().unwrap();
        let _a_child_may_leave_early = writer.join().unwrap();
        output
    }
}

/// GET over plain HTTP; nothing if nobody answers.
pub(crate) fn probe(port: u16, path: &str) -> Option<(u16, String)> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let status = text.split(' ').nth(1)?.parse().ok()?;
    Some((status, text.split_once("\r\n\r\n")?.1.trim().to_owned()))
}

/// Tries until it is so, for a minute; fails with what was so last.
pub(crate) fn until<T>(what: &str, mut check: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match check() {
            Ok(value) => return value,
            Err(state) if Instant::now() > deadline => panic!("waited in vain until {what}: {state}"),
            Err(_not_yet) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// The RBAC of the reference, the proxy's account, and a user who may impersonate.
const RBAC: &str = include_str!("rbac.yaml");
