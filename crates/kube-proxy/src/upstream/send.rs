//! Sending one request so that nothing which can be repeated fails: a request that was not sent is sent elsewhere, a
//! request without a body that the server says it did not process (RFC 9113 section 8.7) is sent again, and a GET
//! whose connection broke is asked again (RFC 9110 section 9.2.2). A body that was streamed cannot be had twice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::connection::{Lease, Sent};
use super::connector::ConnectError;
use super::pool::{DIAL_TIMEOUT, Pool};
use crate::body::{RequestBody, UpstreamBody};

/// How long a request waits for a kube-apiserver that cannot be reached: longer than its restart takes.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often a request is repeated after its connection failed under it.
const MAX_REPEATS: u32 = 4;
const UNSENT_WITHOUT_PAUSE: u32 = 32;
/// How long a request is repeated that a kube-apiserver refuses which has just started and does not know RBAC yet.
const SETTLING_PATIENCE: Duration = Duration::from_secs(5);
/// A refusal that is larger than this is not a Status.
const MAX_REFUSAL_BYTES: usize = 1 << 20;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How long kube-apiserver's word that it knows the proxy holds.
const KNOWN_FOR: Duration = Duration::from_secs(5);

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// No connection, after waiting for one.
    #[error(transparent)]
    Connect(#[from] Arc<ConnectError>),
    /// The connection failed after the request was sent.
    #[error("the connection to kube-apiserver failed after the request was sent: {0}")]
    Failed(hyper::Error),
    /// The connection failed before the request was sent, again and again.
    #[error("no connection to kube-apiserver took the request: {0}")]
    Unsent(hyper::Error),
    /// kube-apiserver refuses the proxy itself.
    #[error(
        "kube-apiserver refuses the proxy's own credential (401): its service account token or client certificate is \
         not valid there"
    )]
    ProxyUnauthorized,
    /// kube-apiserver refused the credential that the proxy has replaced meanwhile, and the body cannot be had twice.
    #[error("kube-apiserver refused the proxy's former credential (401); there is a new one now")]
    CredentialReplaced,
    /// The request cannot be written as HTTP.
    #[error("the request cannot be addressed to kube-apiserver: {0}")]
    Unaddressable(#[from] http::Error),
    /// An answer that the proxy reads itself was too large or broke off.
    #[error("kube-apiserver's answer cannot be read: {0}")]
    Unreadable(String),
}

impl SendError {
    pub(super) fn unreadable(error: Box<dyn std::error::Error + Send + Sync>) -> Self {
        Self::Unreadable(error.to_string())
    }
}

/// What a request is sent on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum On {
    /// A connection of the pool.
    Shared,
    /// An HTTP/1.1 connection of its own, because it asks for an upgrade.
    ItsOwn,
}

/// A response, and the lease on the connection that it still comes from.
pub(crate) type Leased = (Response<UpstreamBody>, Option<Lease>);

/// Sends `parts` and `body` with the pool's credential.
pub(super) async fn send(pool: &Arc<Pool>, on: On, parts: Parts, body: RequestBody) -> Result<Leased, SendError> {
    let uri = pool.connector().uri(&parts.uri)?;
    let mut exchange = Exchange::begin(pool, on, uri);
    let (mut parts, mut body) = (parts, body);
    loop {
        let repeatable = Repeatable {
            // An upgrade runs a command, whatever its method.
            when_broken: on == On::Shared && (is_safe(&parts.method) || body.is_own()),
            when_refused: on == On::ItsOwn || is_safe(&parts.method) || body.is_own(),
        };
        let spare = body.again().map(|body| (parts.clone(), body));
        let line = exchange.line().await?;
        let (request, credential) = exchange.address(&line, parts, body);
        let next = match line.send(request).await {
            Ok(response) => exchange.judge(response, line, credential, spare, repeatable).await?,
            Err(mut error) => {
                line.retire();
                match error.take_message() {
                    Some(unsent) => exchange.unsent(unsent, error.into_error()).await?,
                    None => exchange.broken(error.into_error(), spare, repeatable)?,
                }
            }
        };
        match next {
            Next::Done(leased) => return Ok(*leased),
            Next::Again(again) => (parts, body) = *again,
        }
    }
}

/// Whether a request whose body can be had again may be sent again.
#[derive(Clone, Copy)]
struct Repeatable {
    /// Although the server may have carried it out.
    when_broken: bool,
    /// Because the server has just said that it has not.
    when_refused: bool,
}

enum Next {
    Done(Box<Leased>),
    Again(Box<(Parts, RequestBody)>),
}

impl Next {
    fn done(response: Response<UpstreamBody>, lease: Option<Lease>) -> Self {
        Self::Done(Box::new((response, lease)))
    }
}

/// One request on its way, with what was tried.
struct Exchange<'pool> {
    pool: &'pool Arc<Pool>,
    on: On,
    uri: Uri,
    started: Instant,
    unsent: u32,
    repeats: u32,
    renewals: u32,
    pause: Duration,
}

/// A connection that the request goes on.
enum Line {
    Shared(Lease),
    ItsOwn(tokio::sync::Mutex<http1::SendRequest<RequestBody>>),
}

impl Line {
    async fn send(&self, request: Request<RequestBody>) -> Sent {
        match self {
            Self::Shared(lease) => lease.send(request).await,
            Self::ItsOwn(sender) => sender.lock().await.try_send_request(request).await,
        }
    }

    fn retire(&self) {
        if let Self::Shared(lease) = self {
            lease.retire();
        }
    }

    fn is_h2(&self) -> bool {
        matches!(self, Self::Shared(lease) if lease.is_h2())
    }

    fn into_lease(self) -> Option<Lease> {
        if let Self::Shared(lease) = self { Some(lease) } else { None }
    }
}

impl<'pool> Exchange<'pool> {
    fn begin(pool: &'pool Arc<Pool>, on: On, uri: Uri) -> Self {
        Self { pool, on, uri, started: Instant::now(), unsent: 0, repeats: 0, renewals: 0, pause: FIRST_PAUSE }
    }

    async fn line(&mut self) -> Result<Line, SendError> {
        let deadline = self.started + PATIENCE;
        if self.on == On::Shared {
            return Ok(Line::Shared(self.pool.lease(deadline).await?));
        }
        loop {
            match own_connection(self.pool, deadline).await {
                Ok(sender) => return Ok(Line::ItsOwn(tokio::sync::Mutex::new(sender))),
                Err(error) if error.is_hopeless() || Instant::now() + self.pause >= deadline => {
                    return Err(Arc::new(error).into());
                }
                Err(error) => tracing::debug!(%error, "waiting for kube-apiserver"),
            }
            self.wait().await;
        }
    }

    async fn wait(&mut self) {
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// The request as it goes on `line`, and the proxy's credential in it.
    fn address(&self, line: &Line, mut parts: Parts, body: RequestBody) -> (Request<RequestBody>, Option<HeaderValue>) {
        let connector = self.pool.connector();
        let credential = connector.authorization();
        if let Some(own) = &credential {
            parts.headers.insert(header::AUTHORIZATION, own.clone());
        }
        parts.uri.clone_from(&self.uri);
        if line.is_h2() {
            parts.version = Version::HTTP_2;
        } else {
            parts.version = Version::HTTP_11;
            if let Ok(uri) = origin_form(&parts.uri) {
                parts.uri = uri;
            }
            if let Some(host) = connector.host_header() {
                parts.headers.insert(header::HOST, host);
            }
        }
        (Request::from_parts(parts, body), credential)
    }

    /// Whether a response is the user's, or about the proxy itself and not for the user's eyes.
    async fn judge(
        &mut self,
        response: Response<hyper::body::Incoming>,
        mut line: Line,
        credential: Option<HeaderValue>,
        spare: Option<(Parts, RequestBody)>,
        repeatable: Repeatable,
    ) -> Result<Next, SendError> {
        let is_the_proxys = credential.is_some() || self.pool.connector().has_client_certificate();
        match response.status() {
            StatusCode::UNAUTHORIZED if is_the_proxys => {
                // Its token may have been replaced a moment ago, by this request or by another one.
                let _what_is_broken_stays_as_it_was = self.pool.connector().reload_credential();
                let is_replaced = self.pool.connector().authorization() != credential;
                match spare {
                    Some(again) if is_replaced && self.renewals == 0 => {
                        self.renewals += 1;
                        Ok(Next::Again(Box::new(again)))
                    }
                    None if is_replaced => Err(SendError::CredentialReplaced),
                    // What stands behind kube-apiserver (a pod, an aggregated API) may refuse the user.
                    _ if self.knows_the_proxy().await => {
                        Ok(Next::done(response.map(UpstreamBody::Streamed), line.into_lease()))
                    }
                    _ => Err(SendError::ProxyUnauthorized),
                }
            }
            StatusCode::FORBIDDEN
                if is_the_proxys
                    && repeatable.when_refused
                    && self.pool.is_settling()
                    && self.started.elapsed() < SETTLING_PATIENCE =>
            {
                let (head, body) = response.into_parts();
                let whole = match Limited::new(body, MAX_REFUSAL_BYTES).collect().await {
                    Ok(whole) => whole.to_bytes(),
                    Err(error) => return Err(SendError::unreadable(error)),
                };
                if let Line::Shared(lease) = &mut line {
                    lease.complete();
                }
                match spare {
                    Some(again) if is_about_the_proxy(&whole) => {
                        tracing::debug!("a kube-apiserver that has just started may not know the proxy's rights yet");
                        self.wait().await;
                        Ok(Next::Again(Box::new(again)))
                    }
                    _ => Ok(Next::done(Response::from_parts(head, UpstreamBody::Whole(whole)), None)),
                }
            }
            _ => Ok(Next::done(response.map(UpstreamBody::Streamed), line.into_lease())),
        }
    }

    /// A request that was never sent: the connection turned out to be closing. Another one is tried; a pool may hold
    /// many that are closing, but a server that closes one after the other must not be asked without a pause.
    async fn unsent(&mut self, request: Request<RequestBody>, error: hyper::Error) -> Result<Next, SendError> {
        if self.started.elapsed() > PATIENCE {
            return Err(SendError::Unsent(error));
        }
        self.unsent += 1;
        if self.on == On::ItsOwn || self.unsent > UNSENT_WITHOUT_PAUSE {
            self.wait().await;
        }
        let (mut parts, body) = request.into_parts();
        parts.headers.remove(header::HOST);
        Ok(Next::Again(Box::new((parts, body))))
    }

    /// A request whose connection failed under it.
    fn broken(
        &mut self,
        error: hyper::Error,
        spare: Option<(Parts, RequestBody)>,
        repeatable: Repeatable,
    ) -> Result<Next, SendError> {
        self.repeats += 1;
        match spare {
            Some(again) if self.repeats <= MAX_REPEATS && (repeatable.when_broken || is_unprocessed(&error)) => {
                Ok(Next::Again(Box::new(again)))
            }
            // Not carried out, but the body is gone: whoever has it may try again.
            _ if is_unprocessed(&error) => Err(SendError::Unsent(error)),
            _ => Err(SendError::Failed(error)),
        }
    }

    /// Asks kube-apiserver, as the proxy and nobody else, whether it knows the proxy. Only its own word counts as a yes.
    async fn knows_the_proxy(&self) -> bool {
        const REVIEW: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        const BODY: &str = r#"{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}"#;
        if self.pool.is_known() {
            return true;
        }
        let Ok(uri) = self.pool.connector().uri(&Uri::from_static(REVIEW)) else { return false };
        let exchange = Exchange::begin(self.pool, On::Shared, uri);
        let Ok(lease) = self.pool.lease(Instant::now() + KNOWN_FOR).await else { return false };
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = Method::POST;
        parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let line = Line::Shared(lease);
        let (request, _) = exchange.address(&line, parts, RequestBody::own(BODY));
        let known = match tokio::time::timeout(KNOWN_FOR, line.send(request)).await {
            Ok(Ok(response)) => response.status().is_success() || response.status() == StatusCode::FORBIDDEN,
            _ => false,
        };
        if known {
            self.pool.learn(KNOWN_FOR);
        }
        known
    }
}

/// Behind the proxy nobody else impersonates: "User … cannot impersonate …" is about the proxy.
fn is_about_the_proxy(status: &[u8]) -> bool {
    String::from_utf8_lossy(status).contains(" cannot impersonate")
}

async fn own_connection(pool: &Pool, until: Instant) -> Result<http1::SendRequest<RequestBody>, ConnectError> {
    let connector = pool.connector();
    // A server may take the connection and then say nothing.
    let until = until.min(Instant::now() + DIAL_TIMEOUT);
    let connecting = tokio::time::timeout_at(until.into(), connector.connect(&[b"http/1.1"])).await;
    let io = connecting.unwrap_or_else(|_elapsed| Err(pool.timed_out()))?;
    let authority = connector.authority().to_owned();
    let (sender, driver) =
        http1::handshake(TokioIo::new(io)).await.map_err(|source| ConnectError::Protocol { authority, source })?;
    tokio::spawn(async move {
        if let Err(error) = driver.with_upgrades().await {
            tracing::debug!(%error, "an upstream connection for an upgrade ended");
        }
    });
    Ok(sender)
}

fn origin_form(uri: &Uri) -> Result<Uri, http::Error> {
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = uri.path_and_query().cloned();
    Ok(Uri::from_parts(parts)?)
}

/// RFC 9110 section 9.2.1.
fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// RFC 9113 section 8.7: a stream refused, or above the last one that a GOAWAY names, was not processed.
fn is_unprocessed(error: &hyper::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(h2) = current.downcast_ref::<h2::Error>() {
            return h2.is_remote()
                && (h2.reason() == Some(h2::Reason::REFUSED_STREAM)
                    // With any other reason the error also ends streams that were processed.
                    || (h2.is_go_away() && h2.reason() == Some(h2::Reason::NO_ERROR)));
        }
        cause = current.source();
    }
    false
}
