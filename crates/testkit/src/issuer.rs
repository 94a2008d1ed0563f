//! A fake OpenID issuer: discovery and keys over HTTPS, tokens of any shape, and every misbehaviour that a verifier
//! must survive. It shares no parser with the verifier.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::ca::Ca;
use crate::signing::{Algorithm, SigningKey, encode};

/// What the issuer does instead of answering.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// It answers.
    #[default]
    Good,
    /// It accepts connections and says nothing.
    Hanging,
    /// Every path answers with this status.
    Status(u16),
    /// The key set is two megabytes of blanks and then the keys.
    Huge,
    /// Discovery names another issuer.
    OtherIssuer,
    /// A key that cannot be parsed stands among the good ones.
    OneBadKey,
}

/// A running issuer.
pub struct Issuer {
    url: String,
    ca_pem: String,
    address: SocketAddr,
    tls: TlsAcceptor,
    shared: Arc<Shared>,
    listening: Mutex<CancellationToken>,
}

struct Shared {
    url: String,
    mood: Mutex<Mood>,
    keys: Mutex<Vec<Arc<SigningKey>>>,
    /// Requests for the key set.
    fetches: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::expect_used, reason = "a test that has no issuer has nothing to say")]
impl Issuer {
    /// Starts on a free port of loopback, with a certificate of `ca` and one RS256 key.
    pub async fn start(ca: &Ca) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let url = format!("https://localhost:{}", address.port());
        let pair = ca.issue_server(&["localhost", "127.0.0.1"]);
        let certificate = CertificateDer::from_pem_slice(pair.cert_pem.as_bytes()).expect("a certificate");
        let key = PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes()).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a certificate and its key");
        let shared = Arc::new(Shared {
            url: url.clone(),
            mood: Mutex::default(),
            keys: Mutex::new(vec![Arc::new(SigningKey::generate(Algorithm::Rs256, "key-1"))]),
            fetches: AtomicU64::new(0),
        });
        let listening = CancellationToken::new();
        let tls = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(accept(listener, tls.clone(), shared.clone(), listening.clone()));
        Self { url, ca_pem: ca.pem().to_owned(), address, tls, shared, listening: Mutex::new(listening) }
    }

    /// Its URL: the `iss` of its tokens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The CA of its server.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// How often the key set was asked for.
    pub fn fetches(&self) -> u64 {
        self.shared.fetches.load(Ordering::SeqCst)
    }

    /// Behaves like that from now on.
    pub fn set_mood(&self, mood: Mood) {
        *lock(&self.shared.mood) = mood;
    }

    /// Closes its port: connections are refused.
    pub fn stop(&self) {
        lock(&self.listening).cancel();
    }

    /// Opens the same port again.
    pub async fn resume(&self) {
        let listener = loop {
            match TcpListener::bind(self.address).await {
                Ok(listener) => break listener,
                // The accept loop has not let go of it yet.
                Err(_busy) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        let listening = CancellationToken::new();
        *lock(&self.listening) = listening.clone();
        tokio::spawn(accept(listener, self.tls.clone(), self.shared.clone(), listening));
    }

    /// The key that signs now: the newest.
    pub fn key(&self) -> Arc<SigningKey> {
        lock(&self.shared.keys).last().cloned().expect("an issuer always has a key")
    }

    /// Publishes one more key and signs with it.
    pub fn add_key(&self, algorithm: Algorithm, kid: &str) {
        lock(&self.shared.keys).push(Arc::new(SigningKey::generate(algorithm, kid)));
    }

    /// Forgets all keys but the newest.
    pub fn withdraw_old_keys(&self) {
        let mut keys = lock(&self.shared.keys);
        let newest = keys.pop();
        keys.clear();
        keys.extend(newest);
    }

    /// Begins a token of this issuer: `iss`, `iat`, and whatever is added.
    pub fn token(&self) -> TokenBuilder {
        let key = self.key();
        let mut claims = Map::new();
        claims.insert("iss".into(), json!(self.url));
        claims.insert("iat".into(), json!(now()));
        let header = json!({ "alg": key.algorithm().name(), "kid": key.kid(), "typ": "JWT" });
        TokenBuilder { header, claims, key }
    }
}

/// A token in the making.
#[derive(Clone)]
pub struct TokenBuilder {
    header: Value,
    claims: Map<String, Value>,
    key: Arc<SigningKey>,
}

impl TokenBuilder {
    /// Sets a claim.
    #[must_use]
    pub fn claim(mut self, name: &str, value: Value) -> Self {
        self.claims.insert(name.to_owned(), value);
        self
    }

    /// Leaves a claim out.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Sets the audience.
    #[must_use]
    pub fn aud(self, audience: &str) -> Self {
        self.claim("aud", json!(audience))
    }

    /// Sets `exp`, relative to now; negative for a token that has expired.
    #[must_use]
    pub fn expires_in(self, seconds: i64) -> Self {
        self.claim("exp", json!(now() + seconds))
    }

    /// Sets a member of the header.
    #[must_use]
    pub fn header(mut self, name: &str, value: Value) -> Self {
        if let Some(header) = self.header.as_object_mut() {
            header.insert(name.to_owned(), value);
        }
        self
    }

    /// Signs with another key, under the header as it is.
    #[must_use]
    pub fn key(mut self, key: Arc<SigningKey>) -> Self {
        self.key = key;
        self
    }

    /// The token.
    pub fn sign(&self) -> String {
        sign_raw(&self.header.to_string(), &Value::Object(self.claims.clone()).to_string(), |message| {
            self.key.sign(message)
        })
    }

    /// The token, signed in a way of one's own.
    pub fn sign_with(&self, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
        sign_raw(&self.header.to_string(), &Value::Object(self.claims.clone()).to_string(), sign)
    }
}

/// A compact JWS of any header and payload text.
pub fn sign_raw(header: &str, payload: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", encode(header.as_bytes()), encode(payload.as_bytes()));
    let signature = sign(message.as_bytes());
    format!("{message}.{}", encode(&signature))
}

/// Seconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, shared: Arc<Shared>, listening: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = listening.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((tcp, _)) = accepted else { continue };
        let (tls, shared, listening) = (tls.clone(), shared.clone(), listening.clone());
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(tcp).await else { return };
            let service = service_fn(move |request| {
                let shared = shared.clone();
                async move { Ok::<_, Infallible>(shared.answer(&request).await) }
            });
            let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::select! { _ended = serving => {} () = listening.cancelled() => {} }
        });
    }
}

impl Shared {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let mood = lock(&self.mood).clone();
        if mood == Mood::Hanging {
            std::future::pending::<()>().await;
        }
        if let Mood::Status(status) = mood {
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            return response;
        }
        let body = match request.uri().path() {
            "/.well-known/openid-configuration" | "/elsewhere" => self.discovery(&mood),
            "/keys" => self.key_set(&mood),
            _ => {
                let mut response = Response::new(Full::default());
                *response.status_mut() = StatusCode::NOT_FOUND;
                return response;
            }
        };
        Response::new(Full::new(Bytes::from(body)))
    }

    fn discovery(&self, mood: &Mood) -> String {
        let issuer = if *mood == Mood::OtherIssuer { "https://other.example.com" } else { &self.url };
        json!({
            "issuer": issuer,
            "jwks_uri": format!("{}/keys", self.url),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
        })
        .to_string()
    }

    fn key_set(&self, mood: &Mood) -> String {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        let mut keys: Vec<Value> = lock(&self.keys).iter().map(|key| key.jwk()).collect();
        if *mood == Mood::OneBadKey {
            keys.insert(0, json!({ "kty": "RSA", "kid": "broken", "use": "sig", "n": "!!", "e": "AQAB" }));
        }
        let set = json!({ "keys": keys }).to_string();
        if *mood == Mood::Huge { format!("{}{set}", " ".repeat(2 << 20)) } else { set }
    }
}
