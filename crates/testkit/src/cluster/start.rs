//! Starting the parts in order, each as soon as what it needs answers.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::binaries::{Binaries, workspace_root};
use super::kubeconfig::{Kubeconfig, UserAuth};
use super::ports::free_port;
use super::process::Process;
use crate::ca::Ca;

/// Which parts to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    /// etcd and kube-apiserver: enough for RBAC and objects.
    Api,
    /// Everything: pods run, Deployments roll out, namespaces go away.
    Whole,
}

/// A running cluster; it ends when this is dropped, or with the process.
pub struct Cluster {
    dir: PathBuf,
    binaries: Binaries,
    ca: Ca,
    apiserver_port: u16,
    etcd: Process,
    apiserver: Option<Process>,
    others: Vec<Process>,
    /// Removes the directory when the process that started the cluster has ended.
    _janitor: Child,
}

/// Waits for the pipe to close; by then the guards have killed the programs, or do so now.
const JANITOR: &str = r#"cat >/dev/null; sleep 1; rm -rf "$1""#;

const NODE: &str = r#"
apiVersion: v1
kind: Node
metadata:
  name: node-1
  annotations: {kwok.x-k8s.io/node: fake}
  labels: {kubernetes.io/os: linux, kubernetes.io/hostname: node-1}
"#;

const READY_PATIENCE: Duration = Duration::from_secs(90);

impl Cluster {
    /// Starts a cluster with its files in a temporary directory.
    ///
    /// # Errors
    /// If a program is missing or does not become ready; with the end of its log.
    pub fn start(binaries: &Binaries, parts: Parts) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("keyway-cluster-").tempdir()?.keep();
        let janitor = Command::new("sh")
            .args(["-c", JANITOR, "janitor"])
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let ca = Ca::new("cluster-ca");
        write_certificates(&dir, &ca)?;
        let etcd_port = free_port()?;
        let etcd = start_etcd(&dir, binaries, etcd_port)?;
        let apiserver_port = free_port()?;
        std::fs::write(dir.join("etcd-port"), etcd_port.to_string())?;
        let mut cluster = Self {
            dir,
            binaries: binaries.clone(),
            ca,
            apiserver_port,
            etcd,
            apiserver: None,
            others: Vec::new(),
            _janitor: janitor,
        };
        cluster.start_apiserver()?;
        cluster.admin_kubeconfig().write(&cluster.kubeconfig_path())?;
        cluster.wait_until_ready()?;
        if parts == Parts::Whole {
            cluster.start_controllers()?;
            cluster.start_node()?;
        }
        Ok(cluster)
    }

    /// `https://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.apiserver_port)
    }

    /// The CA that signed the apiserver's certificate and signs client certificates.
    pub fn ca(&self) -> &Ca {
        &self.ca
    }

    /// The CA as a file.
    pub fn ca_file(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// The cluster's directory: logs, certificates, kubeconfigs.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The programs that it runs.
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// A kubeconfig of a cluster administrator.
    pub fn kubeconfig_path(&self) -> PathBuf {
        self.dir.join("admin.kubeconfig")
    }

    fn admin_kubeconfig(&self) -> Kubeconfig {
        let user = UserAuth::Certificate(self.dir.join("admin.crt"), self.dir.join("admin.key"));
        Kubeconfig { server: self.url(), ca_file: self.ca_file(), user }
    }

    /// kubectl as the administrator, straight at the apiserver.
    ///
    /// # Errors
    /// If kubectl is missing.
    pub fn kubectl(&self) -> anyhow::Result<Command> {
        self.kubectl_with(&self.kubeconfig_path())
    }

    /// kubectl with another kubeconfig.
    ///
    /// # Errors
    /// If kubectl is missing.
    pub fn kubectl_with(&self, kubeconfig: &Path) -> anyhow::Result<Command> {
        let mut command = Command::new(self.binaries.path("kubectl")?);
        command.arg("--kubeconfig").arg(kubeconfig).current_dir(&self.dir).env("HOME", &self.dir).stdin(Stdio::null());
        for name in ["KUBECONFIG", "HTTPS_PROXY", "https_proxy"] {
            command.env_remove(name);
        }
        Ok(command)
    }

    /// Runs kubectl as the administrator and takes its output.
    ///
    /// # Errors
    /// If it exits with another status than 0; with what it said.
    pub fn admin(&self, args: &[&str]) -> anyhow::Result<String> {
        succeeded(self.kubectl()?.args(args).output()?, args)
    }

    /// Applies manifests as the administrator.
    ///
    /// # Errors
    /// If kubectl refuses them.
    pub fn apply(&self, manifests: &str) -> anyhow::Result<()> {
        let file = tempfile::Builder::new().suffix(".yaml").tempfile_in(&self.dir)?;
        std::fs::write(file.path(), manifests)?;
        let path = file.path().to_string_lossy().into_owned();
        self.admin(&["apply", "-f", &path]).map(|_said| ())
    }

    /// A token of a service account, as the kubelet would project it.
    ///
    /// # Errors
    /// If the service account does not exist.
    pub fn service_account_token(&self, namespace: &str, name: &str, seconds: u32) -> anyhow::Result<String> {
        let duration = format!("--duration={seconds}s");
        Ok(self.admin(&["create", "token", name, "-n", namespace, &duration])?.trim().to_owned())
    }

    /// What the apiserver's own audit log holds: one JSON event a line.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn audit_log(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(self.dir.join("audit.log"))?)
    }

    /// Stops the apiserver with SIGTERM and waits for its end.
    pub fn stop_apiserver(&mut self) {
        if let Some(apiserver) = self.apiserver.take() {
            apiserver.stop(Duration::from_secs(20));
        }
    }

    /// Ends the apiserver as a crash would.
    pub fn kill_apiserver(&mut self) {
        self.apiserver = None;
    }

    /// Starts the apiserver on the same port and waits until it is ready.
    ///
    /// # Errors
    /// If it does not become ready.
    pub fn resume_apiserver(&mut self) -> anyhow::Result<()> {
        self.start_apiserver()?;
        self.wait_until_ready()
    }

    fn start_apiserver(&mut self) -> anyhow::Result<()> {
        let etcd_port = std::fs::read_to_string(self.dir.join("etcd-port"))?;
        let port = self.apiserver_port;
        let file = |name: &str| self.dir.join(name).display().to_string();
        let args = [
            format!("--etcd-servers=http://127.0.0.1:{etcd_port}"),
            format!("--secure-port={port}"),
            "--bind-address=127.0.0.1".into(),
            "--advertise-address=127.0.0.1".into(),
            "--endpoint-reconciler-type=none".into(),
            "--service-cluster-ip-range=10.0.0.0/24".into(),
            "--authorization-mode=Node,RBAC".into(),
            "--allow-privileged=true".into(),
            format!("--tls-cert-file={}", file("apiserver.crt")),
            format!("--tls-private-key-file={}", file("apiserver.key")),
            format!("--client-ca-file={}", file("ca.pem")),
            "--service-account-issuer=https://kubernetes.default.svc".into(),
            format!("--service-account-key-file={}", file("service-accounts.pub")),
            format!("--service-account-signing-key-file={}", file("service-accounts.key")),
            format!("--kubelet-client-certificate={}", file("kubelet-client.crt")),
            format!("--kubelet-client-key={}", file("kubelet-client.key")),
            format!("--kubelet-certificate-authority={}", file("ca.pem")),
            "--kubelet-preferred-address-types=InternalIP".into(),
            format!("--audit-policy-file={}", file("audit-policy.yaml")),
            format!("--audit-log-path={}", file("audit.log")),
            "--profiling=false".into(),
        ];
        let program = self.binaries.path("kube-apiserver")?;
        self.apiserver = Some(Process::start(&self.dir, "kube-apiserver", &program, args, &[])?);
        Ok(())
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_PATIENCE;
        loop {
            self.etcd.check_running()?;
            if let Some(apiserver) = &mut self.apiserver {
                apiserver.check_running()?;
            }
            let ready = self.kubectl()?.args(["get", "--raw", "/readyz", "--request-timeout=2s"]).output()?;
            // Ready is said before the default objects are all there; the namespace is the last that tests need.
            if ready.status.success() && self.admin(&["get", "namespace", "default"]).is_ok() {
                return Ok(());
            }
            if Instant::now() > deadline {
                let log = self.apiserver.as_ref().map(Process::log_tail).unwrap_or_default();
                bail!("kube-apiserver is not ready: {}\n{log}", String::from_utf8_lossy(&ready.stderr));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn start_controllers(&mut self) -> anyhow::Result<()> {
        let kubeconfig = format!("--kubeconfig={}", self.kubeconfig_path().display());
        let file = |name: &str| self.dir.join(name).display().to_string();
        let manager = [
            kubeconfig.clone(),
            format!("--service-account-private-key-file={}", file("service-accounts.key")),
            format!("--root-ca-file={}", file("ca.pem")),
            "--leader-elect=false".into(),
            "--bind-address=127.0.0.1".into(),
            format!("--secure-port={}", free_port()?),
            "--use-service-account-credentials=false".into(),
        ];
        let scheduler = [
            kubeconfig,
            "--leader-elect=false".into(),
            "--bind-address=127.0.0.1".into(),
            format!("--secure-port={}", free_port()?),
        ];
        for (name, args) in [("kube-controller-manager", manager.to_vec()), ("kube-scheduler", scheduler.to_vec())] {
            let program = self.binaries.path(name)?;
            self.others.push(Process::start(&self.dir, name, &program, args, &[])?);
        }
        Ok(())
    }

    fn start_node(&mut self) -> anyhow::Result<()> {
        let file = |name: &str| self.dir.join(name).display().to_string();
        let port = free_port()?;
        let node = [
            format!("--listen=127.0.0.1:{port}"),
            format!("--root-dir={}", file("pods")),
            format!("--tls-cert-file={}", file("node.crt")),
            format!("--tls-key-file={}", file("node.key")),
            format!("--client-ca-file={}", file("ca.pem")),
            format!("--apiserver={}", self.url()),
            format!("--apiserver-cert-file={}", file("admin.crt")),
            format!("--apiserver-key-file={}", file("admin.key")),
        ];
        let program = self.binaries.path("keyway-testnode")?;
        self.others.push(Process::start(&self.dir, "keyway-testnode", &program, node, &[])?);
        // kwok writes the node's status, and with it the port at which kube-apiserver looks for the kubelet.
        let kwok = [
            format!("--kubeconfig={}", self.kubeconfig_path().display()),
            format!("--config={}", workspace_root().join("testcluster/kwok/stages.yaml").display()),
            "--manage-all-nodes=false".into(),
            "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake".into(),
            "--node-ip=127.0.0.1".into(),
            format!("--node-port={port}"),
            // kwok renews the node's lease, or the node is taken for gone after a minute.
            "--node-lease-duration-seconds=40".into(),
            format!("--server-address=127.0.0.1:{}", free_port()?),
        ];
        let program = self.binaries.path("kwok")?;
        self.others.push(Process::start(&self.dir, "kwok", &program, kwok, &[])?);
        self.apply(NODE)?;
        self.wait_for("a ready node", &["wait", "--for=condition=Ready", "node/node-1", "--timeout=5s"])?;
        self.wait_for("the default service account", &["get", "serviceaccount", "default"])
    }

    /// Runs kubectl again and again until it succeeds.
    ///
    /// # Errors
    /// If it has not after a minute; with what it said last and which part of the cluster has ended.
    pub fn wait_for(&mut self, what: &str, args: &[&str]) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_PATIENCE;
        loop {
            let error = match self.admin(args) {
                Ok(_said) => return Ok(()),
                Err(error) => error,
            };
            for part in &mut self.others {
                part.check_running()?;
            }
            if Instant::now() > deadline {
                bail!("waited in vain for {what}: {error}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn start_etcd(dir: &Path, binaries: &Binaries, port: u16) -> anyhow::Result<Process> {
    let client = format!("http://127.0.0.1:{port}");
    let peer = format!("http://127.0.0.1:{}", free_port()?);
    let args: [OsString; 7] = [
        format!("--data-dir={}", dir.join("etcd").display()).into(),
        format!("--listen-client-urls={client}").into(),
        format!("--advertise-client-urls={client}").into(),
        format!("--listen-peer-urls={peer}").into(),
        "--unsafe-no-fsync=true".into(),
        "--log-level=warn".into(),
        "--quota-backend-bytes=8589934592".into(),
    ];
    Process::start(dir, "etcd", &binaries.path("etcd")?, args, &[])
}

fn write_certificates(dir: &Path, ca: &Ca) -> anyhow::Result<()> {
    std::fs::write(dir.join("ca.pem"), ca.pem())?;
    let local = ["localhost", "127.0.0.1", "10.0.0.1", "kubernetes.default.svc", "node-1"];
    for (name, pair) in [
        ("apiserver", ca.issue_server(&local)),
        ("node", ca.issue_server(&local)),
        ("admin", ca.issue_client("admin", &["system:masters"])),
        ("kubelet-client", ca.issue_client("kube-apiserver-kubelet-client", &["system:masters"])),
    ] {
        std::fs::write(dir.join(format!("{name}.crt")), &pair.cert_pem)?;
        std::fs::write(dir.join(format!("{name}.key")), &pair.key_pem)?;
    }
    let service_accounts = rcgen::KeyPair::generate()?;
    std::fs::write(dir.join("service-accounts.key"), service_accounts.serialize_pem())?;
    std::fs::write(dir.join("service-accounts.pub"), service_accounts.public_key_pem())?;
    std::fs::write(
        dir.join("audit-policy.yaml"),
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: [{level: Metadata}]\n",
    )?;
    Ok(())
}

fn succeeded(output: Output, args: &[&str]) -> anyhow::Result<String> {
    if !output.status.success() {
        bail!("kubectl {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).context("kubectl wrote something that is not UTF-8")
}
