//! The proxies under test, each with one worker on one core. nginx and HAProxy do less than the Kube Proxy: they verify
//! no token, remove nothing from a request, and add no user. They are the measure of what TLS and HTTP cost alone.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use testkit::cluster::{Process, free_port, own_binary};

use super::programs;
use super::rig::{CLIENT_ID, Rig};
use super::upstream::OBJECT_PATH;
use super::usage;

/// Which one.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// `keywayd kube-proxy`
    Keywayd,
    /// nginx: HTTP/2 from clients, HTTP/1.1 to the upstream, kept alive
    Nginx,
    /// HAProxy: HTTP/2 on both sides
    Haproxy,
    /// No proxy: what the clients and the upstream take for themselves
    Direct,
}

impl Kind {
    /// All, in the order of the table.
    pub(crate) const ALL: [Self; 4] = [Self::Keywayd, Self::Nginx, Self::Haproxy, Self::Direct];

    /// In the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Keywayd => "keywayd",
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::Direct => "(no proxy)",
        }
    }
}

/// A running one.
pub(crate) struct Contender {
    pub(crate) kind: Kind,
    /// Of the program and, where it says so, of its TLS library; nothing without a proxy.
    pub(crate) version: String,
    pub(crate) port: u16,
    process: Option<Process>,
}

const PATIENCE: Duration = Duration::from_secs(30);

impl Contender {
    /// Starts it, and waits until it answers as it should.
    ///
    /// # Errors
    /// If it does not.
    pub(crate) async fn start(kind: Kind, rig: &Rig) -> anyhow::Result<Self> {
        let Some((program, port, arguments)) = command_line(kind, rig)? else {
            return Ok(Self { kind, version: String::new(), port: rig.upstream.port, process: None });
        };
        let mut pinned = programs::pinned(rig.core)?;
        pinned.push(program.display().to_string());
        pinned.extend(arguments);
        let name = format!("{}-{port}", kind.name());
        let mut process = Process::start(rig.dir(), &name, Path::new("sh"), &pinned, &[])?;
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = try_get(rig, port).await {
            process.check_running()?;
            if Instant::now() > deadline {
                bail!("{} does not answer: {error:#}\n{}", kind.name(), process.log_tail());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(Self { kind, version: version(kind, &program)?, port, process: Some(process) })
    }

    /// CPU time that it has used; none without a proxy.
    ///
    /// # Errors
    /// If it has ended.
    pub(crate) fn cpu(&self) -> anyhow::Result<Option<Duration>> {
        self.pid()?.map(usage::cpu).transpose()
    }

    /// Memory of its own that it has now, in KiB; none without a proxy.
    ///
    /// # Errors
    /// If it has ended.
    pub(crate) fn memory_kib(&self) -> anyhow::Result<Option<f64>> {
        self.pid()?.map(usage::memory_kib).transpose()
    }

    fn pid(&self) -> anyhow::Result<Option<u32>> {
        self.process.as_ref().map(|process| process.pid().context("the proxy has no process id")).transpose()
    }
}

async fn try_get(rig: &Rig, port: u16) -> anyhow::Result<()> {
    let attempt = async { rig.client.connect(port, OBJECT_PATH).await?.get(&rig.upstream.object()).await };
    tokio::time::timeout(Duration::from_secs(5), attempt).await?
}

/// The program, the port that it will listen on, and its arguments; nothing where there is no program.
fn command_line(kind: Kind, rig: &Rig) -> anyhow::Result<Option<(PathBuf, u16, Vec<String>)>> {
    let port = free_port()?;
    let file = |name: &str| rig.dir().join(name).display().to_string();
    let configured = |name: String, template: &str| -> anyhow::Result<String> {
        std::fs::write(rig.dir().join(&name), fill(template, rig, port))?;
        Ok(file(&name))
    };
    let (program, arguments) = match kind {
        Kind::Direct => return Ok(None),
        Kind::Keywayd => {
            let flags = vec![
                "kube-proxy".to_owned(),
                "--worker-threads=1".into(),
                "--bind-address=127.0.0.1".into(),
                format!("--secure-port={port}"),
                format!("--readiness-probe-port={}", free_port()?),
                format!("--kubeconfig={}", file("proxy.kubeconfig")),
                format!("--tls-cert-file={}", file("tls.crt")),
                format!("--tls-private-key-file={}", file("tls.key")),
                format!("--oidc-issuer-url={}", rig.issuer_url),
                format!("--oidc-ca-file={}", file("issuer-ca.pem")),
                format!("--oidc-client-id={CLIENT_ID}"),
                "--oidc-username-claim=email".into(),
                "--oidc-username-prefix=keyway:".into(),
                "--oidc-groups-claim=roles".into(),
                "--oidc-groups-prefix=keyway:".into(),
            ];
            (own_binary("keywayd")?, flags)
        }
        Kind::Nginx => {
            let config = configured(format!("nginx-{port}.conf"), NGINX)?;
            // `-e`: before it has read its configuration, it would write to the log of the installed service.
            (programs::find("nginx")?, vec!["-e".into(), "stderr".into(), "-p".into(), file(""), "-c".into(), config])
        }
        Kind::Haproxy => {
            let config = configured(format!("haproxy-{port}.cfg"), HAPROXY)?;
            (programs::find("haproxy")?, vec!["-db".into(), "-f".into(), config])
        }
    };
    Ok(Some((program, port, arguments)))
}

fn fill(template: &str, rig: &Rig, port: u16) -> String {
    template
        .replace("@port@", &port.to_string())
        .replace("@upstream@", &rig.upstream.port.to_string())
        .replace("@dir@", &rig.dir().display().to_string())
}

const NGINX: &str = include_str!("nginx.conf");
const HAPROXY: &str = include_str!("haproxy.cfg");

fn version(kind: Kind, program: &Path) -> anyhow::Result<String> {
    let flag = match kind {
        Kind::Direct => return Ok(String::new()),
        Kind::Keywayd => "--version",
        Kind::Nginx => "-V",
        Kind::Haproxy => "-vv",
    };
    let output =
        Command::new(program).arg(flag).output().with_context(|| format!("cannot run {}", program.display()))?;
    let text = [output.stdout, output.stderr].concat();
    Ok(version_in(&String::from_utf8_lossy(&text)))
}

/// The version number, and that of OpenSSL, wherever the three programs say them.
fn version_in(text: &str) -> String {
    let starts_as_number = |word: &&str| word.starts_with(|first: char| first.is_ascii_digit());
    let mut words =
        text.split(|c: char| c.is_whitespace() || c == '/' || c == ')').map(|word| word.trim_start_matches('v'));
    let own = words.find(starts_as_number).unwrap_or("unknown");
    let in_use = ["running with OpenSSL ", "Running on OpenSSL version : OpenSSL ", "built with OpenSSL "];
    let openssl =
        in_use.iter().find_map(|before| text.split_once(before)).and_then(|(_, rest)| rest.split_whitespace().next());
    openssl.map_or_else(|| own.to_owned(), |openssl| format!("{own} with OpenSSL {openssl}"))
}

#[cfg(test)]
mod tests {
    use super::version_in;

    #[test]
    fn versions_are_found_in_what_the_programs_say() {
        assert_eq!(version_in("keywayd v0.1.0\n"), "0.1.0");
        let nginx = "nginx version: nginx/1.22.1\nbuilt with OpenSSL 3.0.22 25 Aug 2026 (running with OpenSSL 3.0.19 27 Jan 2026)\n";
        assert_eq!(version_in(nginx), "1.22.1 with OpenSSL 3.0.19");
        let haproxy = "HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/\nRunning on OpenSSL version : OpenSSL 3.0.19 27 Jan 2026\n";
        assert_eq!(version_in(haproxy), "2.6.12-1+deb12u4 with OpenSSL 3.0.19");
    }
}
