//! The keys of a user's extra fields in header names: `Impersonate-Extra-<key>`, percent-encoded where a header name
//! cannot have the character (Kubernetes: `headerKeyEscape` in `client-go/transport/round_trippers.go`, and
//! `unescapeExtraKey` in `apiserver/pkg/endpoints/filters/impersonation`).
//!
//! Header names have no case, so kube-apiserver lower-cases them: a key is lower case or it is another key.

use http::HeaderName;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::text::{self, Flaw};

/// What comes before the key.
pub(crate) const PREFIX: &str = "impersonate-extra-";

/// RFC 9110 section 5.6.2: everything but `tchar`; and `%`, so that what is decoded is what was encoded.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'*')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// The header of the extra field `key`, whose ASCII letters are taken as lower case.
pub(crate) fn to_name(key: &str) -> Result<HeaderName, Flaw> {
    text::check(key)?;
    let key = key.to_ascii_lowercase();
    let name = format!("{PREFIX}{}", utf8_percent_encode(&key, ESCAPED));
    // Only length is left to fail on: a name has at most 64 KiB.
    HeaderName::try_from(name).map_err(|_too_long| Flaw::TooLong)
}

/// The key in what follows [`PREFIX`] in a (lower-case) header name.
///
/// As Kubernetes does it: when one escape is malformed, the whole is taken as it stands.
pub(crate) fn from_name(encoded: &str) -> Result<String, Flaw> {
    let key = if escapes_are_valid(encoded) {
        percent_decode_str(encoded).decode_utf8().map_err(|_invalid| Flaw::NotUtf8)?.into_owned()
    } else {
        encoded.to_owned()
    };
    text::check(&key)?;
    if key.chars().any(|letter| letter.is_ascii_uppercase()) {
        // `%41`: it would be reviewed as `A` and could only arrive as `a`.
        return Err(Flaw::UpperCase);
    }
    Ok(key)
}

fn escapes_are_valid(encoded: &str) -> bool {
    encoded.split('%').skip(1).all(|after| {
        let mut digits = after.bytes();
        matches!((digits.next(), digits.next()), (Some(high), Some(low)) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests;
