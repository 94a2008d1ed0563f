//! The issuers whose tokens count, and what their tokens say: verified once, then remembered until the token
//! expires or anything that the verdict rests on changes.

mod fetch;
mod keyring;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use identity::{IssuerConfig, Rejection, Rules, UnixTime, VerifiedIdentity};
use impersonation::{Impersonation, Unrepresentable};
use quick_cache::sync::Cache;
use tokio_util::sync::CancellationToken;

pub(crate) use fetch::{Ca, Source};
use keyring::Keyring;

use crate::trail::cut;

/// Verified tokens remembered at once; beyond that the least used are forgotten and would be verified again.
const CACHE_CAPACITY: usize = 16 * 1024;

/// A user whom a token has proved, ready to be impersonated.
pub(crate) struct Authenticated {
    pub(crate) identity: VerifiedIdentity,
    pub(crate) impersonation: Impersonation,
    /// What the verdict rests on: see [`Issuers::generation`].
    generation: u64,
}

/// Why a token proves nobody.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthenticationError {
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error("the token is no JWT: {0}")]
    Opaque(Rejection),
    #[error("the token is of the issuer {0:?}, which is not configured")]
    UnknownIssuer(String),
    #[error("the keys of the issuer {0:?} could not be fetched yet")]
    NoKeys(String),
    #[error(transparent)]
    Unrepresentable(#[from] Unrepresentable),
}

impl AuthenticationError {
    /// Whether no issuer here could ever vouch for the token, so that somebody else may be asked about it. A token of
    /// an issuer of ours that is refused here stays refused: for its expiry, its groups, whatever it is.
    pub(crate) fn is_of_nobody_here(&self) -> bool {
        matches!(self, Self::Opaque(_) | Self::UnknownIssuer(_))
    }
}

struct Issuer {
    url: String,
    rules: Arc<Rules>,
    keyring: Arc<Keyring>,
    stop: CancellationToken,
}

/// The configured issuers; replaced as a whole when the configuration changes.
pub(crate) struct Issuers {
    current: ArcSwap<Vec<Issuer>>,
    cache: Cache<[u8; 32], Arc<Authenticated>>,
    /// Rises when keys or configuration change; what was verified under an older one is verified again.
    generation: Arc<AtomicU64>,
    /// `--extra-user-headers`: part of every user.
    extra: Vec<(String, String)>,
    stop: CancellationToken,
}

impl Issuers {
    /// Starts fetching the keys of every issuer, each on its own: one that is down does not hold up the others.
    pub(crate) fn start(
        configs: Vec<(IssuerConfig, Source)>,
        extra: Vec<(String, String)>,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let issuers = Arc::new(Self {
            current: ArcSwap::from_pointee(Vec::new()),
            cache: Cache::new(CACHE_CAPACITY),
            generation: Arc::new(AtomicU64::new(0)),
            extra,
            stop,
        });
        issuers.replace(configs);
        issuers
    }

    /// Takes a new configuration. Issuers that are the same server as before keep their keys; others are dropped.
    pub(crate) fn replace(&self, configs: Vec<(IssuerConfig, Source)>) {
        let before = self.current.load_full();
        let next: Vec<Issuer> = configs
            .into_iter()
            .map(|(config, source)| match before.iter().find(|issuer| *issuer.keyring.source() == source) {
                Some(same) => Issuer {
                    url: config.url,
                    rules: config.rules,
                    keyring: same.keyring.clone(),
                    stop: same.stop.clone(),
                },
                None => {
                    let stop = self.stop.child_token();
                    let keyring = Keyring::start(source, self.generation.clone(), stop.clone());
                    Issuer { url: config.url, rules: config.rules, keyring, stop }
                }
            })
            .collect();
        for gone in before.iter().filter(|old| !next.iter().any(|new| Arc::ptr_eq(&new.keyring, &old.keyring))) {
            gone.stop.cancel();
        }
        self.current.store(Arc::new(next));
        // Only now: a verdict of the old configuration must not be remembered under the new number.
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.cache.clear();
    }

    /// Whom `token` proves, from memory if possible.
    pub(crate) async fn authenticate(&self, token: &str) -> Result<Arc<Authenticated>, AuthenticationError> {
        let key = token_hash(token);
        if let Some(known) = self.cache.get(&key)
            && known.generation == self.generation.load(Ordering::Acquire)
            && now() < known.identity.expires_at()
        {
            return Ok(known);
        }
        // Read before anything that the verdict rests on: if that changes meanwhile, the verdict is not remembered.
        let generation = self.generation.load(Ordering::Acquire);
        let identity = self.verify(token).await?;
        let mut impersonation = Impersonation::of(&identity)?;
        if !self.extra.is_empty() {
            let extra = self.extra.iter().map(|(key, value)| (key.as_str(), value.as_str()));
            impersonation = impersonation.with_extra(extra)?;
        }
        let authenticated = Arc::new(Authenticated { identity, impersonation, generation });
        self.cache.insert(key, authenticated.clone());
        Ok(authenticated)
    }

    async fn verify(&self, token: &str) -> Result<VerifiedIdentity, AuthenticationError> {
        let issuers = self.current.load_full();
        let named = identity::unverified_issuer(token).map_err(|rejection| {
            if identity::is_jwt_shaped(token) {
                AuthenticationError::Rejected(rejection)
            } else {
                AuthenticationError::Opaque(rejection)
            }
        })?;
        let issuer = issuers.iter().find(|issuer| issuer.url == named);
        let issuer = issuer.ok_or_else(|| AuthenticationError::UnknownIssuer(cut(&named).to_owned()))?;
        let keys = match issuer.keyring.keys() {
            Some(keys) => keys,
            None => {
                let fetched = issuer.keyring.newer(None).await;
                fetched.ok_or_else(|| AuthenticationError::NoKeys(issuer.url.clone()))?
            }
        };
        match identity::verify(token, &keys, &issuer.rules, now()) {
            Err(rejection) if rejection.unknown_key().is_some() => match issuer.keyring.newer(Some(&keys)).await {
                Some(newer) => Ok(identity::verify(token, &newer, &issuer.rules, now())?),
                None => Err(rejection.into()),
            },
            verdict => Ok(verdict?),
        }
    }

    /// The issuers without keys, by URL, and how many have some.
    pub(crate) fn readiness(&self) -> (usize, Vec<String>) {
        let issuers = self.current.load();
        let waiting: Vec<String> =
            issuers.iter().filter(|issuer| issuer.keyring.keys().is_none()).map(|issuer| issuer.url.clone()).collect();
        (issuers.len() - waiting.len(), waiting)
    }
}

/// What a token is remembered by, so that memory holds none.
pub(crate) fn token_hash(token: &str) -> [u8; 32] {
    let mut key = [0; 32];
    let digest = digest(&SHA256, token.as_bytes());
    for (to, from) in key.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    key
}

/// The time, for the pure crates that must not ask for it themselves.
pub(crate) fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
