use std::collections::BTreeSet;

use super::{Kind, Rejection};

const KINDS: [Kind; 13] = [
    Kind::Malformed,
    Kind::Algorithm,
    Kind::Signature,
    Kind::Issuer,
    Kind::Audience,
    Kind::Expired,
    Kind::NotYetValid,
    Kind::RequiredClaim,
    Kind::Username,
    Kind::EmailNotVerified,
    Kind::Groups,
    Kind::Uid,
    Kind::Reserved,
];

#[test]
fn the_operator_reads_the_exact_reason_and_the_client_does_not() {
    for kind in KINDS {
        let rejection = Rejection::new(kind, "exact reason: 4711");
        assert_eq!(rejection.to_string(), "exact reason: 4711");
        assert!(!rejection.client_message().contains("4711"), "{kind:?}");
        assert!(!rejection.client_message().is_empty(), "{kind:?}");
        assert_eq!(rejection.unknown_key(), None, "{kind:?}");
    }
}

#[test]
fn every_kind_has_a_label_of_its_own() {
    let labels: BTreeSet<&str> = KINDS.into_iter().map(|kind| Rejection::new(kind, "").reason()).collect();
    assert_eq!(labels.len(), KINDS.len());
    assert!(labels.iter().all(|label| label.chars().all(|c| c.is_ascii_lowercase() || c == '_')), "{labels:?}");
}

/// Which of the two it was would tell whoever guesses at keys that the algorithm is right.
#[test]
fn the_client_does_not_learn_what_is_wrong_with_the_signature() {
    let algorithm = Rejection::new(Kind::Algorithm, "").client_message();
    assert_eq!(Rejection::signature("kid", "").client_message(), algorithm);
    assert!(!algorithm.contains("kid"));
}

#[test]
fn only_a_signature_asks_for_other_keys() {
    assert_eq!(Rejection::signature("k", "").unknown_key(), Some("k"));
    assert_eq!(Rejection::signature("", "").unknown_key(), Some(""));
    assert_eq!(Rejection::signature("k", "").reason(), "signature");
}
