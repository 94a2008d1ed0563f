//! Why a request is refused before anybody asks who sent it.

use http::StatusCode;

use crate::text::Flaw;

/// Why [`strip`](crate::strip()) refuses a request. `Display` is for operators; no token is ever part of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StripRefusal {
    /// More than one `Authorization` header.
    #[error("more than one Authorization header")]
    SeveralAuthorizations,
    /// A token in `Authorization` and another in the WebSocket subprotocol.
    #[error("a bearer token both in Authorization and in Sec-WebSocket-Protocol")]
    TokenInTwoPlaces,
    /// More than one subprotocol with a token.
    #[error("more than one bearer token in Sec-WebSocket-Protocol")]
    SeveralSubprotocolTokens,
    /// A subprotocol whose token is not base64url (without padding) of UTF-8 text.
    #[error("the bearer token in Sec-WebSocket-Protocol is not base64url of UTF-8")]
    SubprotocolEncoding,
    /// Subprotocols in other characters than ASCII's visible ones, of which HTTP makes them.
    #[error("Sec-WebSocket-Protocol has characters other than visible ASCII")]
    SubprotocolCharacters,
    /// A subprotocol with a token, and no other that the server could choose.
    #[error("Sec-WebSocket-Protocol has no subprotocol beside the bearer token")]
    NoOtherSubprotocol,
    /// `Authorization: Bearer` without a token, or with more than one space before it.
    #[error("Authorization says Bearer, but no token follows after one space")]
    NoTokenAfterBearer,
    /// A token with whitespace, control characters or characters outside of ASCII.
    #[error("the bearer token is empty or has characters other than visible ASCII")]
    MalformedToken,
    /// `CONNECT`, which names no path.
    #[error("the method CONNECT")]
    Connect,
    /// A target without a path, such as `*`.
    #[error("the request target {0:?} is not a path")]
    Target(String),
    /// A request for an upgrade that has a body.
    #[error("an upgrade to {0} with a request body")]
    UpgradeWithBody(String),
    /// More header fields than a request can have here.
    #[error("{0} header fields, of at most {1}")]
    TooManyHeaders(usize, usize),
    /// An `Impersonate-…` header that Kubernetes v1.37 does not have.
    #[error("the unknown impersonation header {0:?}")]
    UnknownImpersonation(String),
    /// `Impersonate-User` or `Impersonate-Uid` more than once.
    #[error("more than one {0} header")]
    Repeated(&'static str),
    /// A group, UID or extra field without a user.
    #[error("a group, UID or extra field is requested without Impersonate-User")]
    NoUser,
    /// More values than are reviewed for one request.
    #[error("{0} impersonation values, of at most {1}")]
    TooManyValues(usize, usize),
    /// A value that is blank, padded, or has characters that no header carries unchanged.
    #[error("the value of {header:?} {flaw}")]
    Value {
        /// The header, in lower case.
        header: String,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// A key of an extra field that cannot be one.
    #[error("the key of the extra field in {header:?} {flaw}")]
    ExtraKey {
        /// The header, in lower case.
        header: String,
        /// What is wrong with its key.
        flaw: Flaw,
    },
    /// An extra field in the name space that says who really asked.
    #[error("the extra field {0:?} is the proxy's own to set")]
    ReservedExtra(String),
}

impl StripRefusal {
    /// The HTTP status: 401 where it is unclear who asks, as kube-apiserver has it; 400 for what is malformed; 431
    /// (RFC 6585 section 5) for too many headers, or too many values of an impersonation.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::SeveralAuthorizations
            | Self::TokenInTwoPlaces
            | Self::SeveralSubprotocolTokens
            | Self::SubprotocolEncoding
            | Self::SubprotocolCharacters
            | Self::NoOtherSubprotocol
            | Self::NoTokenAfterBearer
            | Self::MalformedToken => StatusCode::UNAUTHORIZED,
            Self::TooManyHeaders(..) | Self::TooManyValues(..) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Connect
            | Self::Target(_)
            | Self::UpgradeWithBody(_)
            | Self::UnknownImpersonation(_)
            | Self::Repeated(_)
            | Self::NoUser
            | Self::Value { .. }
            | Self::ExtraKey { .. }
            | Self::ReservedExtra(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// What the client may read and can act on. All of it is about what the client itself sent.
    #[must_use]
    pub fn client_message(&self) -> String {
        match self {
            Self::SeveralAuthorizations | Self::TokenInTwoPlaces | Self::SeveralSubprotocolTokens => {
                format!("{self}: send exactly one credential")
            }
            Self::SubprotocolEncoding => format!("{self} (without padding)"),
            Self::NoOtherSubprotocol => format!("{self}: offer one, such as v5.channel.k8s.io"),
            Self::NoTokenAfterBearer => "no token after \"Bearer \": is the token in the kubeconfig empty?".to_owned(),
            Self::MalformedToken => {
                "the bearer token is malformed: is there a line break or a quotation mark in it?".to_owned()
            }
            Self::Connect => "CONNECT is not served: this is a Kubernetes API, not an HTTP proxy".to_owned(),
            Self::Target(_) => format!("{self}: this is a Kubernetes API"),
            Self::NoUser => format!("{self}: add --as"),
            Self::Value { .. } | Self::ExtraKey { .. } => format!("{self}: it cannot be impersonated"),
            other => other.to_string(),
        }
    }
}

/// The beginning of what a client sent, for a message: names may be as long as all headers together.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 250;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
