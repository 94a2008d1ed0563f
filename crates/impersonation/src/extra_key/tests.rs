use super::{from_name, to_name};
use crate::text::Flaw;

fn name(key: &str) -> String {
    to_name(key).unwrap().as_str().to_owned()
}

#[test]
fn keys_are_escaped_as_client_go_does_it() {
    assert_eq!(name("scopes"), "impersonate-extra-scopes");
    assert_eq!(
        name("authentication.kubernetes.io/credential-id"),
        "impersonate-extra-authentication.kubernetes.io%2fcredential-id"
    );
    assert_eq!(name("a%2fb"), "impersonate-extra-a%252fb");
    assert_eq!(name("a b:c"), "impersonate-extra-a%20b%3ac");
    assert_eq!(name("\u{e9}"), "impersonate-extra-%c3%a9");
    // RFC 9110 section 5.6.2: all of `tchar` but `%`.
    assert_eq!(name("!#$&'*+-.^_`|~"), "impersonate-extra-!#$&'*+-.^_`|~");
    assert_eq!(name("Upper"), "impersonate-extra-upper");
}

#[test]
fn every_character_arrives() {
    for code in 0x21..0x300 {
        let key = char::from_u32(code).filter(|letter| !letter.is_control() && !letter.is_whitespace());
        let Some(key) = key.filter(|letter| !letter.is_ascii_uppercase()).map(String::from) else { continue };
        let name = name(&key);
        assert_eq!(from_name(name.strip_prefix(super::PREFIX).unwrap()).unwrap(), key, "{name}");
    }
}

#[test]
fn a_malformed_escape_leaves_the_whole_as_it_is() {
    for encoded in ["a%", "a%2", "a%zz%2f", "100%25%"] {
        assert_eq!(from_name(encoded).unwrap(), encoded);
        // And so it arrives, escaped once more.
        assert_eq!(from_name(name(encoded).strip_prefix(super::PREFIX).unwrap()).unwrap(), encoded);
    }
}

#[test]
fn keys_that_cannot_arrive_are_refused() {
    for (encoded, flaw) in [
        ("", Flaw::Blank),
        ("%20", Flaw::Blank),
        ("%20a", Flaw::Padded),
        ("a%0d%0a", Flaw::Control),
        ("a%00", Flaw::Control),
        ("%ff", Flaw::NotUtf8),
        ("%41", Flaw::UpperCase),
    ] {
        assert_eq!(from_name(encoded), Err(flaw), "{encoded}");
    }
    for (key, flaw) in [("", Flaw::Blank), (" ", Flaw::Blank), ("a ", Flaw::Padded), ("a\nb", Flaw::Control)] {
        assert_eq!(to_name(key), Err(flaw));
    }
    assert_eq!(to_name(&"a".repeat(1 << 17)), Err(Flaw::TooLong));
}
