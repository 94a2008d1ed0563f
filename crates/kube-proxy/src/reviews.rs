//! Reviews over the wire: whether a user may impersonate (`SubjectAccessReview`), and whose a token is that no issuer
//! of ours signed (`TokenReview`). What is asked, and what counts as a yes, is `impersonation`'s.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use futures_util::future::try_join_all;
use identity::VerifiedIdentity;
use impersonation::{
    AuthorizedTarget, BearerToken, Denied, RequestedImpersonation, ReviewQuestion, ReviewRefusal, TokenReviewed,
    Verdict,
};
use quick_cache::sync::Cache;

use crate::options::{ReviewRate, ReviewSettings};
use crate::upstream::{Impersonating, Review, SendError};

/// How long a yes holds without asking again. A no never holds: whoever was just granted a right tries at once.
const REMEMBERED: Duration = Duration::from_secs(10);
const CAPACITY: usize = 4096;

/// Asks kube-apiserver, as the proxy itself.
pub(crate) struct Reviewer {
    upstream: Impersonating,
    /// For all the questions of one request together.
    timeout: Duration,
    /// For one question.
    call_timeout: Duration,
    audiences: Vec<String>,
    throttle: Throttle,
    allowed: Cache<ReviewQuestion, Remembered<Verdict>>,
    tokens: Cache<[u8; 32], Remembered<Arc<TokenReviewed>>>,
}

#[derive(Clone)]
struct Remembered<T> {
    answer: T,
    until: Instant,
}

/// Why a review gave no answer, or not the one that was hoped for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReviewError {
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error(transparent)]
    Refused(#[from] ReviewRefusal),
    #[error("no answer from kube-apiserver in {0:?}")]
    TimedOut(Duration),
    #[error(transparent)]
    Send(#[from] SendError),
    #[error("kube-apiserver answered the {kind} with HTTP {status}: {detail}")]
    Status { kind: &'static str, status: u16, detail: String },
}

impl Reviewer {
    pub(crate) fn new(upstream: Impersonating, settings: ReviewSettings, audiences: Vec<String>) -> Self {
        let timeout = settings.subject_access_timeout;
        Self {
            upstream,
            timeout,
            call_timeout: settings.call_timeout.unwrap_or(timeout),
            audiences,
            throttle: Throttle::new(settings.rate),
            allowed: Cache::new(CAPACITY),
            tokens: Cache::new(CAPACITY),
        }
    }

    /// Whether `requester` may become what the client asks for; every question must be answered with yes.
    pub(crate) async fn authorize(
        &self,
        requested: RequestedImpersonation,
        requester: &VerifiedIdentity,
    ) -> Result<AuthorizedTarget, ReviewError> {
        let pending = impersonation::reviews(requested, requester);
        let answers = try_join_all(pending.questions().iter().map(|question| self.ask(question)));
        let verdicts = tokio::time::timeout(self.timeout, answers)
            .await
            .map_err(|_elapsed| ReviewError::TimedOut(self.timeout))??;
        Ok(pending.resolve(verdicts)?)
    }

    async fn ask(&self, question: &ReviewQuestion) -> Result<Verdict, ReviewError> {
        if let Some(known) = self.allowed.get(question)
            && Instant::now() < known.until
        {
            return Ok(known.answer);
        }
        let body = self.post(Review::SubjectAccess, "SubjectAccessReview", question.to_json()).await?;
        let verdict = Verdict::from_review_json(question, &body);
        if verdict.is_allowed() {
            self.allowed.insert(question.clone(), Remembered::new(verdict.clone()));
        }
        Ok(verdict)
    }

    /// Whether kube-apiserver knows `token`, for one of the configured audiences.
    pub(crate) async fn review_token(&self, token: &BearerToken) -> Result<Arc<TokenReviewed>, ReviewError> {
        let mut key = [0; 32];
        for (to, from) in key.iter_mut().zip(digest(&SHA256, token.expose().as_bytes()).as_ref()) {
            *to = *from;
        }
        if let Some(known) = self.tokens.get(&key)
            && Instant::now() < known.until
        {
            return Ok(known.answer);
        }
        let asking = self.post(Review::Token, "TokenReview", TokenReviewed::body(token, &self.audiences));
        let body = tokio::time::timeout(self.timeout, asking)
            .await
            .map_err(|_elapsed| ReviewError::TimedOut(self.timeout))??;
        let reviewed = Arc::new(TokenReviewed::from_review_json(token, &body, &self.audiences)?);
        self.tokens.insert(key, Remembered::new(reviewed.clone()));
        Ok(reviewed)
    }

    async fn post(&self, review: Review, kind: &'static str, body: Vec<u8>) -> Result<bytes::Bytes, ReviewError> {
        self.throttle.admit().await;
        let asking = self.upstream.review(review, body);
        let (status, answer) = tokio::time::timeout(self.call_timeout, asking)
            .await
            .map_err(|_elapsed| ReviewError::TimedOut(self.call_timeout))??;
        if !status.is_success() {
            let detail = String::from_utf8_lossy(answer.get(..answer.len().min(512)).unwrap_or_default()).into_owned();
            return Err(ReviewError::Status { kind, status: status.as_u16(), detail });
        }
        Ok(answer)
    }
}

impl<T> Remembered<T> {
    fn new(answer: T) -> Self {
        Self { answer, until: Instant::now() + REMEMBERED }
    }
}

/// `--kube-client-qps` and `--kube-client-burst`: how often the proxy asks in its own name. Without them it asks as
/// often as it must.
struct Throttle {
    /// The time between two questions, and how many may come at once.
    pace: Option<(Duration, u32)>,
    /// When the bucket would be full again.
    full_at: Mutex<Instant>,
}

impl Throttle {
    /// No bound if `rate` is absent.
    fn new(rate: Option<ReviewRate>) -> Self {
        let pace = rate.map(|rate| (Duration::from_secs_f32(1.0 / rate.qps.max(0.001)), rate.burst.max(1)));
        Self { pace, full_at: Mutex::new(Instant::now()) }
    }

    async fn admit(&self) {
        let Some((interval, burst)) = self.pace else { return };
        let wait = {
            let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            *full_at = (*full_at).max(now) + interval;
            (*full_at - now).saturating_sub(interval * burst)
        };
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }
}
