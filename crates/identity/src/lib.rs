//! Whose token is it? This crate answers from the token, the issuer's keys, the operator's rules and the time, and
//! from nothing else: it is pure, so every answer can be tested without a socket or a clock.
//!
//! The way of a token, which [`verify()`] spells out:
//!
//! 1. **Shape** (`jws`): three parts of strict base64url, bounded in size; JSON without duplicate members, so that no
//!    other parser can read it differently. `crit`, `b64` and nested tokens are refused; `jku`, `jwk` and `x5*` are
//!    never looked at.
//! 2. **Algorithm** ([`Rules`]): one that the operator allows. Only RS, PS and ES can be named; `none` and HMAC have no
//!    value in the type (RFC 8725 sections 3.1 and 3.2).
//! 3. **Signature** ([`Keys`]): a key with the token's `kid`, of the type and curve that the algorithm needs.
//! 4. **Claims that bind** (`claims`): issuer, audience, expiry, not-before, required claims.
//! 5. **Claims that name** (`claims`): user, groups, UID. Whatever a header could not carry unchanged is refused, and so
//!    is what Kubernetes reserves (`system:`).
//!
//! The result is a [`VerifiedIdentity`], which has no other constructor. The semantics are those of kube-apiserver
//! v1.37 (`plugin/pkg/authenticator/token/oidc`, and go-oidc below it); where this crate is stricter, it says so.
//!
//! What the operator configures comes from kube-apiserver's flags ([`from_flags`]) or from its
//! `AuthenticationConfiguration` ([`parse_authentication_config`]); either reports every fault at once.

mod algorithm;
mod claims;
mod config;
mod json;
mod jwk;
mod jws;
#[cfg(test)]
mod properties;
mod rejection;
mod rules;
#[cfg(test)]
mod testing;
mod text;
mod verify;

pub use claims::CREDENTIAL_ID;
pub use config::{Fault, IssuerConfig, OidcFlags, from_flags, parse_authentication_config};
pub use jwk::{JwksError, KeyFault, Keys};
pub use rejection::Rejection;
pub use rules::{ReservedGroups, Rules};
pub use verify::{VerifiedIdentity, is_jwt_shaped, unverified_issuer, verify};

/// Seconds since 1970-01-01T00:00:00Z, as JWTs count (RFC 7519 section 2, NumericDate).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(pub i64);
