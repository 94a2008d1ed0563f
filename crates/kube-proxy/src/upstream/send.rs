//! Sending one request so that nothing which can be repeated fails: a request that was not sent is sent elsewhere, a
//! request without a body that the server says it did not process (RFC 9113 section 8.7) is sent again, and a GET
//! whose connection broke is asked again (RFC 9110 section 9.2.2). A body that was streamed cannot be had twice.

use std::time::{Duration, Instant};

use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;

use super::connector::ConnectError;
use super::pool::{Lease, Pool};
use crate::body::{RequestBody, UpstreamBody};

/// How long a request waits for a kube-apiserver that cannot be reached: longer than its restart takes.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often a request is repeated after its connection failed under it.
const MAX_REPEATS: u32 = 4;
/// How long a connection is young: its server may just have started.
const SETTLING: Duration = Duration::from_secs(10);
/// A refusal that is larger than this is not a Status.
const MAX_REFUSAL_BYTES: usize = 1 << 20;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// No connection, after waiting for one.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection failed after the request was sent.
    #[error("the connection to kube-apiserver failed after the request was sent: {0}")]
    Failed(hyper::Error),
    /// kube-apiserver refuses the proxy itself.
    #[error(
        "kube-apiserver refuses the proxy's own credential (401): its service account token or client certificate is not valid there"
    )]
    ProxyUnauthorized,
    /// The request cannot be written as HTTP.
    #[error("the request cannot be addressed to kube-apiserver: {0}")]
    Unaddressable(#[from] http::Error),
    /// An answer that the proxy reads itself was too large or broke off.
    #[error("kube-apiserver's answer cannot be read: {0}")]
    Review(String),
}

impl SendError {
    pub(super) fn review(error: Box<dyn std::error::Error + Send + Sync>) -> Self {
        Self::Review(error.to_string())
    }
}

/// Sends `parts` and `body` with the pool's credential.
pub(super) async fn send(
    pool: &Pool,
    mut parts: Parts,
    mut body: RequestBody,
) -> Result<(Response<UpstreamBody>, Option<Lease>), SendError> {
    let uri = pool.connector().uri(&parts.uri)?;
    let mut repeats = 0;
    let mut credential_renewed = false;
    let (started, mut pause) = (Instant::now(), FIRST_PAUSE);
    loop {
        let lease = lease(pool).await?;
        parts.uri.clone_from(&uri);
        let authorization = authorize(pool, &mut parts);
        let spare = body.is_empty().then(|| parts.clone());
        let request = address(pool, &lease, parts, body);
        let mut error = match lease.send(request).await {
            Ok(response) if response.status() == StatusCode::UNAUTHORIZED && authorization => {
                // Only the proxy's own credential is in play here: the user was verified before. Its token may have
                // been replaced a moment ago.
                let fresh = !credential_renewed && pool.connector().reload_credential().unwrap_or(false);
                match spare {
                    Some(again) if fresh => {
                        credential_renewed = true;
                        (parts, body) = (again, RequestBody::Empty);
                        continue;
                    }
                    _ => return Err(SendError::ProxyUnauthorized),
                }
            }
            Ok(response) if response.status() == StatusCode::FORBIDDEN && authorization && lease.age() < SETTLING => {
                let response = examine(response).await?;
                match spare {
                    Some(again) if response.is_about_the_proxy && started.elapsed() < SETTLING => {
                        tracing::debug!("a kube-apiserver that has just started does not know the proxy's rights yet");
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(LONGEST_PAUSE);
                        (parts, body) = (again, RequestBody::Empty);
                        continue;
                    }
                    _ => return Ok((response.response, None)),
                }
            }
            Ok(response) => return Ok((response.map(UpstreamBody::Streamed), Some(lease))),
            Err(error) => error,
        };
        lease.retire();
        repeats += 1;
        let again = match (error.take_message(), spare) {
            (Some(unsent), _) => {
                let (mut unsent_parts, unsent_body) = unsent.into_parts();
                unsent_parts.headers.remove(header::HOST);
                Some((unsent_parts, unsent_body))
            }
            (None, Some(spare)) if is_repeatable(&spare.method) || is_unprocessed(error.error()) => {
                Some((spare, RequestBody::Empty))
            }
            (None, _) => None,
        };
        match again {
            Some(again) if repeats <= MAX_REPEATS => (parts, body) = again,
            _ => return Err(SendError::Failed(error.into_error())),
        }
    }
}

/// A refusal, read whole.
struct Examined {
    response: Response<UpstreamBody>,
    /// Whether it is the proxy that may not, rather than the user: "User … cannot impersonate …". Behind the proxy
    /// nobody else impersonates.
    is_about_the_proxy: bool,
}

/// For a moment after its start kube-apiserver has not read the RBAC objects, and refuses the proxy's impersonation.
async fn examine(response: Response<Incoming>) -> Result<Examined, SendError> {
    let (parts, body) = response.into_parts();
    let whole = Limited::new(body, MAX_REFUSAL_BYTES).collect().await.map_err(SendError::review)?.to_bytes();
    let is_about_the_proxy = String::from_utf8_lossy(&whole).contains("cannot impersonate");
    Ok(Examined { response: Response::from_parts(parts, UpstreamBody::Whole(whole)), is_about_the_proxy })
}

/// Sends a request for an upgrade on an HTTP/1.1 connection of its own. The response is 101 or anything else; the
/// connection goes on in the background either way.
pub(super) async fn upgrade(pool: &Pool, mut parts: Parts) -> Result<Response<Incoming>, SendError> {
    let connector = pool.connector();
    let started = Instant::now();
    let mut pause = FIRST_PAUSE;
    let io = loop {
        match connector.connect(&[b"http/1.1"]).await {
            Ok(io) => break io,
            Err(error) => wait_or(error, started, &mut pause).await?,
        }
    };
    let authority = connector.authority().to_owned();
    let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(io))
        .await
        .map_err(|source| ConnectError::Protocol { authority, source })?;
    tokio::spawn(async move {
        if let Err(error) = driver.with_upgrades().await {
            tracing::debug!(%error, "an upstream connection for an upgrade ended");
        }
    });
    let uri = connector.uri(&parts.uri)?;
    parts.uri = origin_form(&uri)?;
    parts.version = Version::HTTP_11;
    if let Some(host) = connector.host_header() {
        parts.headers.insert(header::HOST, host);
    }
    let authorized = authorize(pool, &mut parts);
    let response = sender.send_request(Request::from_parts(parts, RequestBody::Empty)).await;
    let response = response.map_err(SendError::Failed)?;
    if response.status() == StatusCode::UNAUTHORIZED && authorized {
        let _renewed_for_the_next = connector.reload_credential();
        return Err(SendError::ProxyUnauthorized);
    }
    Ok(response)
}

/// A lease, waiting for a server that is away for a while.
async fn lease(pool: &Pool) -> Result<Lease, SendError> {
    let started = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        match pool.lease().await {
            Ok(lease) => return Ok(lease),
            Err(error) => wait_or(error, started, &mut pause).await?,
        }
    }
}

async fn wait_or(error: ConnectError, started: Instant, pause: &mut Duration) -> Result<(), SendError> {
    let hopeless = matches!(error, ConnectError::Configuration(_) | ConnectError::Exhausted(_));
    if hopeless || started.elapsed() >= PATIENCE {
        return Err(error.into());
    }
    tracing::debug!(%error, "waiting for kube-apiserver");
    tokio::time::sleep(*pause).await;
    *pause = (*pause * 2).min(LONGEST_PAUSE);
    Ok(())
}

/// Adds the proxy's own credential, if the pool has one; true if kube-apiserver knows the proxy by this connection.
fn authorize(pool: &Pool, parts: &mut Parts) -> bool {
    let Some(own) = pool.connector().authorization() else {
        return pool.connector().has_client_certificate();
    };
    parts.headers.insert(header::AUTHORIZATION, own);
    true
}

fn address(pool: &Pool, lease: &Lease, mut parts: Parts, body: RequestBody) -> Request<RequestBody> {
    if lease.is_h2() {
        parts.version = Version::HTTP_2;
    } else {
        parts.version = Version::HTTP_11;
        if let Ok(uri) = origin_form(&parts.uri) {
            parts.uri = uri;
        }
        if let Some(host) = pool.connector().host_header() {
            parts.headers.insert(header::HOST, host);
        }
    }
    Request::from_parts(parts, body)
}

fn origin_form(uri: &http::Uri) -> Result<http::Uri, http::Error> {
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = uri.path_and_query().cloned();
    Ok(http::Uri::from_parts(parts)?)
}

fn is_repeatable(method: &Method) -> bool {
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
