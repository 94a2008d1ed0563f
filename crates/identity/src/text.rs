//! Names that a header carries unchanged. A name that arrives as another, or as none, is a privilege escalation: an
//! empty `Impersonate-User` means the proxy itself. `impersonation` checks again when it writes the headers.

/// Nothing, or why `text` cannot be a name. Unicode's whitespace and control characters count, for receivers differ in
/// which of them they trim (RFC 9110 section 5.5).
pub(crate) fn flaw(text: &str) -> Option<&'static str> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        Some("is blank")
    } else if text.chars().any(char::is_control) {
        Some("contains a control character")
    } else if trimmed.len() != text.len() {
        Some("begins or ends with whitespace")
    } else {
        None
    }
}

/// Claims in an operator's message: bounded, and without line breaks.
pub(crate) fn quoted(text: &str) -> String {
    const MAX: usize = 200;
    let cut: String = text.chars().take(MAX).collect();
    if cut.len() < text.len() { format!("{cut:?}…") } else { format!("{cut:?}") }
}

#[cfg(test)]
mod tests;
