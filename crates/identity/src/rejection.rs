//! Why a token does not count, for three readers: the operator, the client, and whoever counts.

/// A token that proves nobody. `Display` is the operator's exact reason; it holds claims, never the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    kind: Kind,
    operator: String,
    /// The `kid` (perhaps empty) under which no key verified the signature.
    key: Option<String>,
}

/// What is wrong, as far as it may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Malformed,
    Algorithm,
    Signature,
    Issuer,
    Audience,
    Expired,
    NotYetValid,
    RequiredClaim,
    Username,
    EmailNotVerified,
    Groups,
    Uid,
    Reserved,
}

impl Rejection {
    pub(crate) fn new(kind: Kind, operator: impl Into<String>) -> Self {
        Self { kind, operator: operator.into(), key: None }
    }

    pub(crate) fn signature(kid: &str, operator: impl Into<String>) -> Self {
        Self { kind: Kind::Signature, operator: operator.into(), key: Some(kid.to_owned()) }
    }

    /// What the client may know: enough to get another token, or to ask the right person; nothing about keys.
    pub fn client_message(&self) -> String {
        match self.kind {
            Kind::Malformed => "the token is not a JSON Web Token of the form that is accepted here",
            Kind::Algorithm | Kind::Signature => "the token's signature is not valid here",
            Kind::Issuer => "the token is of an issuer that this cluster does not accept",
            Kind::Audience => "the token is meant for another audience than this cluster",
            Kind::Expired => "the token has expired",
            Kind::NotYetValid => "the token is not valid yet; check your clock",
            Kind::RequiredClaim => "the token lacks a claim that this cluster requires",
            Kind::Username => "the token's claim for the user name is missing or unusable",
            Kind::EmailNotVerified => "the token's email address is not verified",
            Kind::Groups => "the token's claim for the groups is unusable",
            Kind::Uid => "the token's claim for the user's UID is missing or unusable",
            Kind::Reserved => "the token names a user or group that is reserved for Kubernetes (system:)",
        }
        .to_owned()
    }

    /// A label for counters: one of a dozen.
    pub fn reason(&self) -> &'static str {
        match self.kind {
            Kind::Malformed => "malformed",
            Kind::Algorithm => "algorithm",
            Kind::Signature => "signature",
            Kind::Issuer => "issuer",
            Kind::Audience => "audience",
            Kind::Expired => "expired",
            Kind::NotYetValid => "not_yet_valid",
            Kind::RequiredClaim => "required_claim",
            Kind::Username => "username",
            Kind::EmailNotVerified => "email_not_verified",
            Kind::Groups => "groups",
            Kind::Uid => "uid",
            Kind::Reserved => "reserved",
        }
    }

    /// The `kid` under which no known key verifies the signature: the issuer may have rotated its keys, even under the
    /// same `kid`, so the caller may fetch them again and try once more.
    pub fn unknown_key(&self) -> Option<&str> {
        self.key.as_deref()
    }
}

impl std::fmt::Display for Rejection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.operator)
    }
}

impl std::error::Error for Rejection {}

#[cfg(test)]
mod tests;
