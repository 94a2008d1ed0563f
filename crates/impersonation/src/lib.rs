//! What kube-apiserver sees of a request: the client's headers without anything that could name a user, and then
//! the user whom a token has proved. Pure: no I/O and no clock; the proxy around it brings both.
//!
//! The order is fixed by types, none of which can be made in another way:
//!
//! ```text
//! Parts ── strip ──▶ StrippedRequest ──────────────────────────────┐
//! VerifiedIdentity ── Impersonation::of ───────────▶ Impersonation ─┴─ apply ──▶ UpstreamRequest
//!    └─ --as: reviews ─▶ Verdicts ─▶ AuthorizedTarget ──▲                        (the proxy's own connections)
//!
//! TokenReviewed, or VerifiedIdentity and BearerToken ── with a StrippedRequest ──▶ PassthroughRequest
//!                                                                                (connections without a credential)
//! ```
//!
//! What is not proved here but trusted: that the bodies given to [`Verdict::from_review_json`] and
//! [`TokenReviewed::from_review_json`] are kube-apiserver's answers to just those questions.
//!
//! 1. [`strip()`] takes a request apart. What the client says about identity is either removed or comes out as a value
//!    of its own: its token ([`BearerToken`]) and whom it would like to be ([`RequestedImpersonation`]).
//! 2. [`apply()`] is the only function that writes impersonation headers for the proxy's own connections.
//! 3. [`reviews()`] turns a wish (`kubectl --as`) into the questions that kube-apiserver itself would ask, and only a
//!    yes to each of them into an [`AuthorizedTarget`].
//! 4. [`PassthroughRequest`] is for tokens that are not impersonated: it carries the user's own token, and goes only
//!    to connections on which the proxy has no credential.
//!
//! Sources: RFC 9110 (sections 7.2, 7.6, 7.8, 11.6), RFC 6750, and of Kubernetes v1.37 `apiserver/pkg/endpoints/filters/
//! impersonation`, `apiserver/pkg/authentication/request/{bearertoken,websocket}` and `client-go/transport`.

mod apply;
mod credential;
mod extra_key;
mod passthrough;
mod refusal;
mod requested;
mod reviews;
mod strip;
mod text;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod testing;

pub use apply::{Impersonation, Unrepresentable, UpstreamRequest, apply, check_extra, own_extras};
pub use credential::BearerToken;
pub use passthrough::{PassthroughRequest, ReviewRefusal, TokenReviewed};
pub use refusal::StripRefusal;
pub use requested::{MAX_IMPERSONATION_VALUES, RequestedImpersonation};
pub use reviews::{AuthorizedTarget, Denied, PendingReviews, ReviewQuestion, Verdict, reviews};
pub use strip::{Stripped, StrippedRequest, named_in_connection, strip};
pub use text::Flaw;
