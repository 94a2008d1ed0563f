use http::{HeaderValue, StatusCode};

use crate::testing::{refused, request, stripped};
use crate::text::Flaw;
use crate::{MAX_IMPERSONATION_VALUES, StripRefusal, strip};

fn value(header: &str, flaw: Flaw) -> StripRefusal {
    StripRefusal::Value { header: header.to_owned(), flaw }
}

/// kube-apiserver takes an empty user for "no impersonation"; the request would run as whoever sends it.
#[test]
fn blank_values_are_refused() {
    for blank in ["", " ", "\t", "\u{a0}", "\u{3000}"] {
        assert_eq!(refused(&[("Impersonate-User", blank)]), value("impersonate-user", Flaw::Blank));
        let user = ("Impersonate-User", "jane");
        assert_eq!(refused(&[user, ("Impersonate-Group", blank)]), value("impersonate-group", Flaw::Blank));
        assert_eq!(refused(&[user, ("Impersonate-Uid", blank)]), value("impersonate-uid", Flaw::Blank));
        assert_eq!(refused(&[user, ("Impersonate-Extra-A", blank)]), value("impersonate-extra-a", Flaw::Blank));
        let groups = [user, ("Impersonate-Group", "dev"), ("Impersonate-Group", blank)];
        assert_eq!(refused(&groups), value("impersonate-group", Flaw::Blank));
    }
}

#[test]
fn values_that_no_header_carries_unchanged_are_refused() {
    for (bad, flaw) in [
        (" jane", Flaw::Padded),
        ("jane ", Flaw::Padded),
        ("ja\tne", Flaw::Control),
        ("ja\u{85}ne", Flaw::Control),
        ("jane\u{2028}", Flaw::Padded),
    ] {
        assert_eq!(refused(&[("Impersonate-User", bad)]), value("impersonate-user", flaw), "{bad:?}");
    }
    let mut parts = request(&[]);
    parts.headers.insert("impersonate-user", HeaderValue::from_bytes(b"\xff").unwrap());
    assert_eq!(strip(parts, MAX_IMPERSONATION_VALUES).unwrap_err(), value("impersonate-user", Flaw::NotUtf8));
}

#[test]
fn repeated_users_and_uids_are_refused() {
    let twice = [("Impersonate-User", "jane"), ("impersonate-user", "jane")];
    assert_eq!(refused(&twice), StripRefusal::Repeated("Impersonate-User"));
    let uids = [("Impersonate-User", "jane"), ("Impersonate-Uid", "1"), ("Impersonate-UID", "2")];
    assert_eq!(refused(&uids), StripRefusal::Repeated("Impersonate-Uid"));
}

#[test]
fn nothing_is_impersonated_without_a_user() {
    for header in ["Impersonate-Group", "Impersonate-Uid", "Impersonate-Extra-A"] {
        let refusal = refused(&[(header, "x")]);
        assert_eq!(refusal, StripRefusal::NoUser);
        assert_eq!(refusal.status(), StatusCode::BAD_REQUEST);
    }
}

#[test]
fn unknown_impersonation_headers_are_refused() {
    for header in ["Impersonate-Users", "Impersonate-", "Impersonate-Extra", "Impersonate-User_", "impersonate-extra_a"]
    {
        let refusal = refused(&[("Impersonate-User", "jane"), (header, "x")]);
        assert_eq!(refusal, StripRefusal::UnknownImpersonation(header.to_lowercase()));
    }
    let long = format!("impersonate-{}", "a".repeat(10_000));
    assert!(refused(&[(&long, "x")]).to_string().len() < 300);
}

#[test]
fn who_really_asked_is_not_the_clients_to_say() {
    for key in ["originaluser.jetstack.io-user", "originaluser.jetstack.io%2Duser", "%6friginaluser.jetstack.io-extra"]
    {
        let header = format!("Impersonate-Extra-{key}");
        let refusal = refused(&[("Impersonate-User", "jane"), (&header, "someone else")]);
        assert!(matches!(refusal, StripRefusal::ReservedExtra(_)), "{refusal}");
        assert_eq!(refusal.status(), StatusCode::BAD_REQUEST);
    }
}

#[test]
fn at_most_64_values_are_asked_about() {
    let with_groups = |count| {
        let mut headers = vec![("Impersonate-User", "jane")];
        headers.resize(count, ("Impersonate-Group", "dev"));
        headers
    };
    assert_eq!(stripped(&with_groups(64)).requested.unwrap().groups().len(), 63);
    assert_eq!(refused(&with_groups(65)), StripRefusal::TooManyValues(65, 64));
}

#[test]
fn everything_that_was_asked_for_is_read() {
    let requested = stripped(&[
        ("Impersonate-User", "J\u{fc}rgen, the 1st"),
        ("Impersonate-Group", "dev"),
        ("Impersonate-Group", "a group, with a comma"),
        ("Impersonate-Uid", "u-2"),
        ("Impersonate-Extra-Scopes", "view"),
        ("Impersonate-Extra-%73copes", "edit"),
        ("Impersonate-Extra-Example.com%2FTeam_A", "x"),
    ])
    .requested
    .unwrap();
    assert_eq!(requested.user, "J\u{fc}rgen, the 1st");
    assert_eq!(requested.groups, ["dev", "a group, with a comma"]);
    assert_eq!(requested.uid.as_deref(), Some("u-2"));
    assert_eq!(requested.extra.len(), 2);
    assert_eq!(requested.extra[0], ("example.com/team_a".to_owned(), vec!["x".to_owned()]));
    assert_eq!(requested.extra[1].0, "scopes");
    let mut values = requested.extra[1].1.clone();
    values.sort();
    assert_eq!(values, ["edit", "view"]);
}

#[test]
fn nothing_is_asked_for_without_headers() {
    assert!(stripped(&[("accept", "*/*")]).requested.is_none());
    // To kube-apiserver, and so here, it is no impersonation header; it is removed all the same.
    assert!(stripped(&[("impersonate_user", "jane")]).requested.is_none());
}
