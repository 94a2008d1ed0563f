//! Reviews over the wire: whether a user may impersonate (`SubjectAccessReview`), and whose a token is that no issuer
//! of ours signed (`TokenReview`). What is asked, and what counts as a yes, is `impersonation`'s.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use identity::VerifiedIdentity;
use impersonation::{
    AuthorizedTarget, BearerToken, Denied, RequestedImpersonation, ReviewQuestion, ReviewRefusal, TokenReviewed,
    Verdict,
};
use quick_cache::sync::Cache;
use tokio::sync::Semaphore;

use crate::issuers::token_hash;
use crate::options::{ReviewMemory, ReviewRate, ReviewSettings};
use crate::upstream::{Impersonating, Review, SendError};

/// Tokens that are reviewed at one time. Whoever sends made-up ones must not have kube-apiserver review any number.
const TOKENS_AT_ONCE: usize = 32;
const CAPACITY: usize = 4096;

/// Asks kube-apiserver, as the proxy itself.
pub(crate) struct Reviewer {
    upstream: Impersonating,
    /// For all the questions of one request together.
    timeout: Duration,
    /// For one question.
    call_timeout: Duration,
    token_timeout: Duration,
    memory: ReviewMemory,
    audiences: Vec<String>,
    /// Each kind has a pace of its own: whoever sends made-up tokens does not use up what `--as` needs.
    access_throttle: Throttle,
    token_throttle: Throttle,
    tokens_at_once: Semaphore,
    verdicts: Cache<ReviewQuestion, Remembered<Verdict>>,
    tokens: Cache<[u8; 32], Remembered<Result<Arc<TokenReviewed>, ReviewRefusal>>>,
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
    #[error("{TOKENS_AT_ONCE} tokens are being reviewed")]
    Busy,
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
            token_timeout: settings.token_timeout,
            memory: settings.memory,
            audiences,
            access_throttle: Throttle::new(settings.rate),
            token_throttle: Throttle::new(settings.rate),
            tokens_at_once: Semaphore::new(TOKENS_AT_ONCE),
            verdicts: Cache::new(CAPACITY),
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
        if let Some(known) = self.verdicts.get(question)
            && Instant::now() < known.until
        {
            return Ok(known.answer);
        }
        let body = self.post(Review::SubjectAccess, "SubjectAccessReview", question.to_json()).await?;
        let verdict = Verdict::from_review_json(question, &body);
        let held = if verdict.is_allowed() { self.memory.allowed } else { self.memory.denied };
        if !held.is_zero() {
            self.verdicts.insert(question.clone(), Remembered::new(verdict.clone(), held));
        }
        Ok(verdict)
    }

    /// Whether kube-apiserver knows `token`, for one of the configured audiences.
    pub(crate) async fn review_token(&self, token: &BearerToken) -> Result<Arc<TokenReviewed>, ReviewError> {
        let key = token_hash(token.expose());
        if let Some(known) = self.tokens.get(&key)
            && Instant::now() < known.until
        {
            return Ok(known.answer?);
        }
        let _place = self.tokens_at_once.try_acquire().map_err(|_full| ReviewError::Busy)?;
        let asking = self.post(Review::Token, "TokenReview", TokenReviewed::body(token, &self.audiences));
        let body = tokio::time::timeout(self.token_timeout, asking)
            .await
            .map_err(|_elapsed| ReviewError::TimedOut(self.token_timeout))??;
        let reviewed = TokenReviewed::from_review_json(token, &body, &self.audiences).map(Arc::new);
        let held = match &reviewed {
            Ok(_) => self.memory.token_accepted,
            // Only kube-apiserver's clear word: that it could not check a token may pass.
            Err(ReviewRefusal::NotAuthenticated) => self.memory.token_refused,
            Err(_) => Duration::ZERO,
        };
        if !held.is_zero() {
            self.tokens.insert(key, Remembered::new(reviewed.clone(), held));
        }
        Ok(reviewed?)
    }

    async fn post(&self, review: Review, kind: &'static str, body: Vec<u8>) -> Result<bytes::Bytes, ReviewError> {
        let throttle = if matches!(review, Review::Token) { &self.token_throttle } else { &self.access_throttle };
        throttle.admit(self.call_timeout).await?;
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
    fn new(answer: T, held: Duration) -> Self {
        Self { answer, until: Instant::now() + held }
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

    /// Waits for its turn; an error if that would not come within `limit`. Whoever cannot wait takes no turn away.
    async fn admit(&self, limit: Duration) -> Result<(), ReviewError> {
        let Some((interval, burst)) = self.pace else { return Ok(()) };
        let wait = {
            let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let next = (*full_at).max(now) + interval;
            let wait = (next - now).saturating_sub(interval * burst);
            if wait > limit {
                return Err(ReviewError::TimedOut(limit));
            }
            *full_at = next;
            wait
        };
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }
}
