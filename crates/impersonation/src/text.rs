//! Text that an HTTP header field carries unchanged.
//!
//! RFC 9110 section 5.5 lets every recipient trim whitespace around a field value and forbids control characters, so
//! a name with such characters may arrive as another name, and a blank one as none at all. kube-apiserver takes an
//! empty `Impersonate-User` for "no impersonation": the request would then run as the proxy itself.

use http::HeaderValue;

/// Why a text cannot be the value of a header and arrive as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Nothing, or nothing but whitespace.
    #[error("is blank")]
    Blank,
    /// Whitespace at the beginning or the end.
    #[error("begins or ends with whitespace")]
    Padded,
    /// A control character, among them tabulator and line feed.
    #[error("contains a control character")]
    Control,
    /// Bytes that are not UTF-8.
    #[error("is not UTF-8")]
    NotUtf8,
    /// Longer than a header name can be (64 KiB).
    #[error("is too long")]
    TooLong,
    /// An upper-case letter in the key of an extra field, which has none.
    #[error("contains an upper-case letter")]
    UpperCase,
}

/// Checks `text`; Unicode's whitespace and control characters count, not only those of ASCII.
pub(crate) fn check(text: &str) -> Result<(), Flaw> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        Err(Flaw::Blank)
    } else if text.chars().any(char::is_control) {
        Err(Flaw::Control)
    } else if trimmed.len() != text.len() {
        Err(Flaw::Padded)
    } else {
        Ok(())
    }
}

/// `text` as a header value.
pub(crate) fn to_value(text: &str) -> Result<HeaderValue, Flaw> {
    check(text)?;
    // `check` leaves nothing that HeaderValue refuses; should that ever change, this refuses too.
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_invalid| Flaw::Control)
}

/// A header value as text.
pub(crate) fn from_value(value: &HeaderValue) -> Result<String, Flaw> {
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_invalid| Flaw::NotUtf8)?;
    check(text)?;
    Ok(text.to_owned())
}
