//! What a scenario has: a fake kube-apiserver, a fake issuer, and the proxy between them.

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request, header};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::apiserver::{Apiserver, Exchange, Settings, whoever_asks_may};
use testkit::ca::Ca;
use testkit::client::{Answer, Client, Protocol};
use testkit::cluster::free_port;
use testkit::issuer::{Issuer, TokenBuilder};
use testkit::poll::within;
use testkit::wire::Wire;
use tokio_util::sync::CancellationToken;
use tracing::subscriber::DefaultGuard;

use crate::options::{self, Host, InvokedAs};
use crate::{Running, StartError};

/// How long anything may take that should come at once, on a machine that is busy.
pub(super) const SOON: Duration = Duration::from_secs(8);

/// The proxy's own credential at kube-apiserver.
pub(super) const OWN_TOKEN: &str = "the-proxys-own";

pub(super) struct World {
    pub(super) apiserver: Apiserver,
    pub(super) issuer: Issuer,
    pub(super) log: Log,
    pub(super) port: u16,
    pub(super) probe: u16,
    pub(super) stop: CancellationToken,
    /// Taken by whoever waits for the end.
    pub(super) running: Option<Running>,
    front: Ca,
    dir: TempDir,
    _logging: DefaultGuard,
}

impl World {
    /// The proxy with these flags more, and a kube-apiserver that says yes to every review and leaves the rest to
    /// `handler`.
    pub(super) async fn start<F>(flags: &[&str], handler: impl Fn(Exchange) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::with(Settings::default(), flags, handler).await
    }

    /// The same, and a kube-apiserver of that kind.
    pub(super) async fn with<F>(
        settings: Settings,
        flags: &[&str],
        handler: impl Fn(Exchange) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let answering = move |exchange| {
            let handler = handler.clone();
            async move {
                if let Some(exchange) = whoever_asks_may(exchange).await {
                    handler(exchange).await;
                }
            }
        };
        Self::with_reviews(settings, flags, answering).await
    }

    /// The same, and `handler` answers the reviews too.
    pub(super) async fn with_reviews<F>(
        settings: Settings,
        flags: &[&str],
        handler: impl Fn(Exchange) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (log, logging) = Log::begin();
        let apiserver = Apiserver::start(&Ca::new("apiserver-ca"), settings, handler).await;
        let issuer = Issuer::start(&Ca::new("issuer-ca")).await;
        let (dir, front) = (TempDir::new().unwrap(), Ca::new("front-ca"));
        let pair = front.issue_server(&["localhost"]);
        let file = |name: &str, content: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, content).unwrap();
            path.display().to_string()
        };
        let account = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
            "clusters": [{"name": "proxy", "cluster": {
                "server": apiserver.url(), "certificate-authority": file("apiserver-ca.pem", apiserver.ca_pem())}}],
            "users": [{"name": "proxy", "user": {"tokenFile": file("token", OWN_TOKEN)}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
        });
        let mut all = vec![
            "--bind-address=127.0.0.1".to_owned(),
            format!("--tls-cert-file={}", file("tls.crt", &pair.cert_pem)),
            format!("--tls-private-key-file={}", file("tls.key", &pair.key_pem)),
            format!("--kubeconfig={}", file("kubeconfig", &account.to_string())),
            format!("--oidc-issuer-url={}", issuer.url()),
            "--oidc-client-id=kubernetes".to_owned(),
            format!("--oidc-ca-file={}", file("issuer-ca.pem", issuer.ca_pem())),
            "--oidc-username-prefix=k:".to_owned(),
            "--oidc-groups-claim=groups".to_owned(),
        ];
        all.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let stop = CancellationToken::new();
        let running = started(&all, &stop).await;
        let (port, probe) = (running.address.port(), running.probe_address.port());
        Self { apiserver, issuer, log, port, probe, stop, running: Some(running), front, dir, _logging: logging }
    }

    /// A token of jane's, in the making.
    pub(super) fn jane(&self) -> TokenBuilder {
        self.issuer
            .token()
            .claim("sub", json!("jane"))
            .claim("groups", json!(["dev"]))
            .aud("kubernetes")
            .expires_in(600)
    }

    pub(super) fn ca(&self) -> &str {
        self.front.pem()
    }

    /// Replaces the proxy's own token as the kubelet does: never half written.
    pub(super) fn replace_own_token(&self, token: &str) {
        let fresh = self.dir.path().join("fresh");
        std::fs::write(&fresh, token).unwrap();
        std::fs::rename(fresh, self.token_file()).unwrap();
    }

    fn token_file(&self) -> PathBuf {
        self.dir.path().join("token")
    }

    pub(super) async fn client(&self, protocol: Protocol) -> Client {
        Client::connect(protocol, self.port, self.ca()).await.unwrap()
    }

    pub(super) async fn wire(&self) -> Wire {
        Wire::connect(self.port, self.ca()).await.unwrap()
    }

    /// A request of jane's.
    pub(super) fn request(&self, method: Method, path: &str) -> http::request::Builder {
        let bearer = format!("Bearer {}", self.jane().sign());
        Request::builder()
            .method(method)
            .uri(format!("https://localhost:{}{path}", self.port))
            .header(header::AUTHORIZATION, bearer)
    }

    pub(super) fn get_request(&self, path: &str) -> Request<&'static str> {
        self.request(Method::GET, path).body("").unwrap()
    }

    /// jane's GET on a connection of its own, up to the header of the response.
    pub(super) async fn get(&self, protocol: Protocol, path: &str) -> Answer {
        self.send(protocol, self.get_request(path)).await
    }

    /// A request on a connection of its own, up to the header of the response.
    pub(super) async fn send(&self, protocol: Protocol, request: Request<impl Into<bytes::Bytes>>) -> Answer {
        let mut client = self.client(protocol).await;
        within("a response", SOON, client.send(request)).await.unwrap()
    }

    /// Lets pass the time that a few requests take which the proxy answers itself: whatever was sent to it before has
    /// then come.
    pub(super) async fn a_moment(&self) {
        let mut client = self.client(Protocol::H2).await;
        for _ in 0..10 {
            let nobody = Request::get("https://localhost/api").body("").unwrap();
            assert_eq!(within("a refusal", SOON, client.send(nobody)).await.unwrap().status, 401);
        }
    }

    /// `Authorization` of jane's, as a line.
    pub(super) fn bearer_line(&self) -> String {
        format!("Authorization: Bearer {}\r\n", self.jane().sign())
    }
}

/// The proxy on ports that are free. Somebody else may take one between the look and the bind.
async fn started(flags: &[String], stop: &CancellationToken) -> Running {
    for _ in 0..20 {
        let mut all = flags.to_vec();
        all.push(format!("--secure-port={}", free_port().unwrap()));
        all.push(format!("--readiness-probe-port={}", free_port().unwrap()));
        let parsed = options::parse(InvokedAs::Keywayd, all.into_iter().map(Into::into)).unwrap();
        let settings = parsed.validate(InvokedAs::Keywayd, &Host::this());
        let Ok(settings) = settings else { panic!("{settings:?}") };
        match crate::start(settings, stop.clone()).await {
            Ok(running) => return running,
            Err(StartError::Bind { .. } | StartError::Several(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("no free ports");
}

/// A `metav1.Status` of the proxy, with its code.
pub(super) async fn status_of(answer: Answer) -> Value {
    let code = answer.status.as_u16();
    let text = answer.whole().await.unwrap().text();
    let status: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!((&status["kind"], &status["code"]), (&json!("Status"), &json!(code)), "{text}");
    status
}

/// The lines that this thread has logged.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn begin() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter("warn,kube_proxy=debug")
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }

    /// The lines at this level (` WARN`) that hold `text`.
    pub(super) fn lines(&self, level: &str, text: &str) -> Vec<String> {
        let has = |line: &&str| line.contains(&format!(" {level} ")) && line.contains(text);
        self.text().lines().filter(has).map(str::to_owned).collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
