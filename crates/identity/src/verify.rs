//! From a token to a [`VerifiedIdentity`], step by step. Every step is a function that refuses or passes on; the only
//! way through is all of them.

use crate::claims;
use crate::jwk::Keys;
use crate::jws::{self, Compact};
use crate::rejection::{Kind, Rejection};
use crate::rules::Rules;
use crate::text::quoted;
use crate::{UnixTime, algorithm::Algorithm};

/// A user whom a token has proved. It is made by [`verify`] and by nothing else, and cannot be copied or changed.
#[derive(Debug)]
pub struct VerifiedIdentity {
    issuer: String,
    username: String,
    uid: Option<String>,
    groups: Vec<String>,
    extra: Vec<(String, Vec<String>)>,
    expires_at: UnixTime,
}

impl VerifiedIdentity {
    /// The `iss` of the token.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The user name, with its prefix. Never blank, never `system:`.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The UID, if a claim is configured for it.
    pub fn uid(&self) -> Option<&str> {
        self.uid.as_deref()
    }

    /// The groups, with their prefix, in the order of the token.
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// Extra fields: lower-case keys, values in order.
    pub fn extra(&self) -> &[(String, Vec<String>)] {
        &self.extra
    }

    /// From this moment on the token proves nothing.
    pub fn expires_at(&self) -> UnixTime {
        self.expires_at
    }
}

/// Verifies `raw`, a JWT in compact form, by the `keys` of the issuer that `rules` are for.
///
/// RFC 7519 section 7.2, RFC 8725; the rules of kube-apiserver v1.37, where it matters even in the order of its checks.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify(raw: &str, keys: &Keys, rules: &Rules, now: UnixTime) -> Result<VerifiedIdentity, Rejection> {
    let token = Compact::parse(raw)?;
    let algorithm = allowed_algorithm(&token, rules)?;
    signature(&token, algorithm, keys)?;

    // From here on the claims are the issuer's words.
    let claims = token.claims()?;
    claims::form(&claims)?;
    claims::issuer(&claims, &rules.issuer)?;
    claims::audience(&claims, &rules.audiences)?;
    let expires_at = claims::lifetime(&claims, now)?;
    claims::required(&claims, &rules.required)?;
    Ok(VerifiedIdentity {
        issuer: rules.issuer.clone(),
        username: claims::username(&claims, &rules.username)?,
        uid: claims::uid(&claims, rules.uid_claim.as_deref())?,
        groups: claims::groups(&claims, rules.groups.as_ref(), &rules.reserved)?,
        extra: claims::extra(&claims)?,
        expires_at,
    })
}

/// The `iss` of a token that nobody has verified, to find the rules and keys that it must be verified by. It proves
/// nothing: [`verify`] compares it again.
///
/// # Errors
/// If the token is not a JWT, or names no issuer.
pub fn unverified_issuer(raw: &str) -> Result<String, Rejection> {
    claims::stated_issuer(&jws::unverified_claims(raw)?)
}

/// Whether `raw` has the three parts of a JWT in compact form, so that somebody could take it for one.
pub fn is_jwt_shaped(raw: &str) -> bool {
    raw.split('.').count() == 3
}

/// RFC 8725 section 3.1: the operator says which algorithms count, not the token.
fn allowed_algorithm(token: &Compact<'_>, rules: &Rules) -> Result<Algorithm, Rejection> {
    Algorithm::from_name(&token.algorithm).filter(|algorithm| rules.algorithms.contains(algorithm)).ok_or_else(|| {
        let allowed: Vec<&str> = rules.algorithms.iter().map(|algorithm| algorithm.name()).collect();
        let named = quoted(&token.algorithm);
        Rejection::new(Kind::Algorithm, format!("the token is signed with {named}; allowed: {}", allowed.join(", ")))
    })
}

fn signature(token: &Compact<'_>, algorithm: Algorithm, keys: &Keys) -> Result<(), Rejection> {
    if keys.verify(&token.kid, algorithm, token.signing_input, &token.signature) {
        return Ok(());
    }
    let (kid, algorithm) = (quoted(&token.kid), algorithm.name());
    let why = if token.kid.is_empty() {
        format!("no {algorithm} key of the issuer made the token's signature, and it names none")
    } else if keys.contains_kid(&token.kid) {
        format!("the issuer's key {kid} did not make the token's signature with {algorithm}")
    } else {
        format!("the token's key {kid} is not among the issuer's keys")
    };
    Err(Rejection::signature(&token.kid, why))
}

#[cfg(test)]
mod tests;
