//! `cargo xtask demo`: a cluster, an issuer and the Kube Proxy; the allowed and the refused kubectl; and then it stays
//! up for you to try.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use testkit::ca::Ca;
use testkit::cluster::{Binaries, Cluster, Kubeconfig, Parts, Process, UserAuth, built_dir, free_port, workspace_root};
use testkit::issuer::Issuer;

use crate::run::step;
use crate::setup;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Leave after the show instead of waiting for Ctrl-C
    #[arg(long)]
    exit: bool,
    /// Use this cluster instead of a throw-away one; the demo creates and removes the namespace keyway-demo and RBAC
    /// named keyway-demo-*
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

const USER: &str = "myuser@example.com";
const EMPLOYEE: &str = "any-employee-personal-device";
const ADMIN: &str = "all-admins-corporate-device";
/// Longer than anybody looks at a demo.
const TOKEN_SECONDS: i64 = 8 * 3600;

/// Runs it.
///
/// # Errors
/// If a part does not start, or if kubectl is allowed or refused where it should not be.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let root = workspace_root();
    let kubeconfig = options.kubeconfig.clone().map(|path| path.canonicalize().context("--kubeconfig")).transpose()?;
    step("build", "cargo", &["build", "--quiet", "--package", "keywayd"], &root)?;
    if kubeconfig.is_none() {
        setup::run()?;
    }
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let demo = Demo::start(&root, kubeconfig.as_deref()).await?;
        let shown = demo.show();
        if shown.is_ok() && !options.exit {
            demo.invite();
            tokio::signal::ctrl_c().await?;
            println!("\nstopping");
        }
        demo.clean_up();
        shown
    })
}

struct Demo {
    // Dropped in this order: the proxy before the cluster that it talks to, and the directory that holds the files of
    // both at last.
    _proxy: Process,
    cluster: Target,
    employee: PathBuf,
    admin: PathBuf,
    _issuer: Issuer,
    dir: tempfile::TempDir,
}

/// The cluster of the demo.
enum Target {
    ThrowAway(Box<Cluster>),
    Yours(PathBuf),
}

impl Target {
    fn kubeconfig(&self) -> PathBuf {
        match self {
            Self::ThrowAway(cluster) => cluster.kubeconfig_path(),
            Self::Yours(path) => path.clone(),
        }
    }

    fn kubectl(&self, kubeconfig: &Path) -> Command {
        let built = built_dir().join("kubectl");
        let mut command = Command::new(if built.is_file() { built } else { PathBuf::from("kubectl") });
        command.arg("--kubeconfig").arg(kubeconfig).env_remove("KUBECONFIG");
        command
    }

    fn admin(&self, args: &[&str]) -> anyhow::Result<String> {
        let output = self.kubectl(&self.kubeconfig()).args(args).output().context("cannot run kubectl")?;
        if !output.status.success() {
            bail!("kubectl {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Demo {
    async fn start(root: &Path, kubeconfig: Option<&Path>) -> anyhow::Result<Self> {
        let cluster = match kubeconfig {
            Some(path) => Target::Yours(path.to_owned()),
            None => {
                println!("starting etcd, kube-apiserver, controllers and a node");
                let started = Instant::now();
                let cluster = Cluster::start(&Binaries::locate()?, Parts::Whole)?;
                println!("  ready in {:.1} s", started.elapsed().as_secs_f32());
                Target::ThrowAway(Box::new(cluster))
            }
        };
        let dir = tempfile::Builder::new().prefix("keyway-demo-").tempdir()?;
        println!("creating RBAC and the proxy's service account");
        let manifests = dir.path().join("rbac.yaml");
        std::fs::write(&manifests, RBAC)?;
        cluster.admin(&["apply", "-f", &manifests.display().to_string()])?;
        // The throw-away cluster gets a pod to look at; in yours, whatever is in the default namespace is shown.
        if matches!(cluster, Target::ThrowAway(_)) {
            cluster.admin(&["create", "deployment", "hello", "--image=hello"])?;
            cluster.admin(&["rollout", "status", "deployment/hello", "--timeout=60s"])?;
        }

        println!("starting an issuer");
        let issuer = Issuer::start(&Ca::new("demo-issuer-ca")).await;
        println!("  {}", issuer.url());
        let front = Ca::new("demo-proxy-ca");
        let port = free_port()?;
        let proxy = start_proxy(root, &cluster, &issuer, &front, dir.path(), port)?;
        let user = |email: &str, role: &str, file: &str| -> anyhow::Result<PathBuf> {
            let token =
                issuer.token().claim("sub", json!(email)).claim("email", json!(email)).claim("roles", json!([role]));
            let token = token.claim("jti", json!(file)).aud("kubernetes").expires_in(TOKEN_SECONDS).sign();
            let path = dir.path().join(file);
            let server = format!("https://127.0.0.1:{port}");
            let kubeconfig =
                Kubeconfig { server, ca_file: dir.path().join("proxy-ca.pem"), user: UserAuth::Token(token) };
            kubeconfig.write(&path)?;
            Ok(path)
        };
        let employee = user(USER, EMPLOYEE, "employee.kubeconfig")?;
        let admin = user("admin@example.com", ADMIN, "admin.kubeconfig")?;
        Ok(Self { cluster, dir, employee, admin, _issuer: issuer, _proxy: proxy })
    }

    /// The show; an error if anything is otherwise than it should be.
    fn show(&self) -> anyhow::Result<()> {
        println!("\n{USER} has the role {EMPLOYEE}, which may read pods in the namespace default");
        self.expect(&self.employee, &["auth", "whoami"], true, USER)?;
        self.expect(&self.employee, &["get", "pods"], true, "")?;
        self.expect(
            &self.employee,
            &["get", "services"],
            false,
            "services is forbidden: User \"keyway:myuser@example.com\" cannot list resource \"services\" in API group \"\" \
             in the namespace \"default\"",
        )?;
        println!("\nadmin@example.com has the role {ADMIN}, which is bound to cluster-admin");
        self.expect(&self.admin, &["get", "services"], true, "kubernetes")?;
        self.expect(&self.admin, &["auth", "can-i", "*", "*"], true, "yes")?;
        println!("\nall as it should be");
        Ok(())
    }

    fn expect(&self, kubeconfig: &Path, args: &[&str], succeeds: bool, says: &str) -> anyhow::Result<()> {
        println!("\n$ kubectl {}", args.join(" "));
        let output = self.cluster.kubectl(kubeconfig).args(args).output()?;
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        print!("{text}");
        if output.status.success() != succeeds || !text.contains(says) {
            bail!("that should have {} and said {says:?}", if succeeds { "succeeded" } else { "been refused" });
        }
        Ok(())
    }

    fn invite(&self) {
        println!("\nTry it, in another terminal:");
        let kubectl = built_dir().join("kubectl");
        let kubectl = if kubectl.is_file() { kubectl.display().to_string() } else { "kubectl".to_owned() };
        println!("  {kubectl} --kubeconfig {} get pods", self.employee.display());
        println!("  {kubectl} --kubeconfig {} get all -A", self.admin.display());
        println!("The proxy's log: {}", self.dir.path().join("keywayd.log").display());
        println!("Ctrl-C ends it, and removes everything.");
    }

    fn clean_up(&self) {
        if let Target::Yours(_) = self.cluster {
            for kind in ["clusterrolebinding", "clusterrole"] {
                self.best_effort(&[
                    "delete",
                    kind,
                    "-l",
                    "app.kubernetes.io/part-of=keyway-demo",
                    "--ignore-not-found",
                ]);
            }
            self.best_effort(&[
                "delete",
                "role,rolebinding",
                "-n",
                "default",
                "-l",
                "app.kubernetes.io/part-of=keyway-demo",
            ]);
            self.best_effort(&["delete", "namespace", "keyway-demo", "--ignore-not-found", "--wait=false"]);
        }
    }

    fn best_effort(&self, args: &[&str]) {
        if let Err(error) = self.cluster.admin(args) {
            eprintln!("could not clean up: {error}");
        }
    }
}

fn start_proxy(
    root: &Path,
    cluster: &Target,
    issuer: &Issuer,
    front: &Ca,
    dir: &Path,
    port: u16,
) -> anyhow::Result<Process> {
    println!("starting keywayd kube-proxy");
    let pair = front.issue_server(&["localhost", "127.0.0.1"]);
    let file = |name: &str| dir.join(name).display().to_string();
    for (name, content) in [
        ("proxy-ca.pem", front.pem()),
        ("tls.crt", &pair.cert_pem),
        ("tls.key", &pair.key_pem),
        ("issuer-ca.pem", issuer.ca_pem()),
    ] {
        std::fs::write(dir.join(name), content)?;
    }
    let token = cluster.admin(&["create", "token", "kube-proxy", "-n", "keyway-demo", "--duration=8h"])?;
    std::fs::write(dir.join("token"), token.trim())?;
    std::fs::write(dir.join("proxy.kubeconfig"), proxy_kubeconfig(cluster, &file("token"))?.to_string())?;
    let probe = free_port()?;
    let flags = [
        "kube-proxy".to_owned(),
        "--bind-address=127.0.0.1".into(),
        format!("--secure-port={port}"),
        format!("--readiness-probe-port={probe}"),
        format!("--kubeconfig={}", file("proxy.kubeconfig")),
        format!("--tls-cert-file={}", file("tls.crt")),
        format!("--tls-private-key-file={}", file("tls.key")),
        format!("--oidc-issuer-url={}", issuer.url()),
        format!("--oidc-ca-file={}", file("issuer-ca.pem")),
        "--oidc-client-id=kubernetes".into(),
        "--oidc-username-claim=email".into(),
        "--oidc-username-prefix=keyway:".into(),
        "--oidc-groups-claim=roles".into(),
        "--oidc-groups-prefix=keyway:".into(),
    ];
    println!("  keywayd {}", flags.join(" "));
    let mut process = Process::start(dir, "keywayd", &root.join("target/debug/keywayd"), &flags, &[])?;
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_ready(probe) {
        process.check_running()?;
        if Instant::now() > deadline {
            bail!("keywayd does not become ready:\n{}", process.log_tail());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("  ready at https://127.0.0.1:{port}");
    Ok(process)
}

fn is_ready(port: u16) -> bool {
    use std::io::{Read, Write};
    let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut text = String::new();
    let asked = stream.write_all(b"GET /ready HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n");
    asked.is_ok() && stream.read_to_string(&mut text).is_ok() && text.starts_with("HTTP/1.1 200")
}

/// The cluster of the demo, with the service account's token.
fn proxy_kubeconfig(cluster: &Target, token_file: &str) -> anyhow::Result<Value> {
    let view = cluster.admin(&["config", "view", "--raw", "--minify", "--flatten", "-o", "json"])?;
    let view: Value = serde_json::from_str(&view)?;
    let target = view.pointer("/clusters/0/cluster").context("the kubeconfig names no cluster")?;
    Ok(json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "demo",
        "clusters": [{ "name": "demo", "cluster": target }],
        "users": [{ "name": "demo", "user": { "tokenFile": token_file } }],
        "contexts": [{ "name": "demo", "context": { "cluster": "demo", "user": "demo" } }],
    }))
}

const RBAC: &str = include_str!("demo-rbac.yaml");
