use serde_json::Value;

use super::{Headers, Impersonation, Unrepresentable, apply};
use crate::testing::{expected, fields, identity, joe, stripped};
use crate::text::Flaw;
use crate::{AuthorizedTarget, Verdict, reviews};

fn sent(impersonation: &Impersonation) -> Vec<(String, String)> {
    fields(apply(impersonation, stripped(&[]).request).headers())
}

/// What kube-apiserver allows `joe` to be.
fn allowed(headers: &[(&str, &str)]) -> AuthorizedTarget {
    let pending = reviews(stripped(headers).requested.unwrap(), &joe());
    let yes = br#"{"kind":"SubjectAccessReview","status":{"allowed":true}}"#;
    let verdicts = pending.questions().iter().map(|question| Verdict::from_review_json(question, yes)).collect();
    pending.resolve(verdicts).unwrap()
}

#[test]
fn nothing_of_the_client_survives_beside_ours() {
    let request = stripped(&[
        ("Authorization", "Bearer abc"),
        ("Impersonate-User", "system:admin"),
        ("impersonate_group", "system:masters"),
        ("X-Remote-Group", "system:masters"),
        ("Connection", "impersonate-user, impersonate-group, impersonate-uid"),
        ("Accept", "*/*"),
    ])
    .request;
    let sent = fields(apply(&Impersonation::of(&joe()).unwrap(), request).headers());
    let joe = expected(&[
        ("accept", "*/*"),
        ("impersonate-extra-authentication.kubernetes.io%2fcredential-id", "JTI=t-1"),
        ("impersonate-group", "dev"),
        ("impersonate-group", "ops"),
        ("impersonate-group", "system:authenticated"),
        ("impersonate-uid", "u-1"),
        ("impersonate-user", "joe@example.com"),
    ]);
    assert_eq!(sent, joe);
}

#[test]
fn everybody_with_a_token_is_authenticated_once() {
    let expected = expected(&[("impersonate-group", "system:authenticated"), ("impersonate-user", "joe")]);
    assert_eq!(sent(&Impersonation::of(&identity("joe", &[], None, None)).unwrap()), expected);
    let says_so = identity("joe", &["system:authenticated"], None, None);
    assert_eq!(sent(&Impersonation::of(&says_so).unwrap()), expected);
}

#[test]
fn one_impersonation_serves_many_requests() {
    let impersonation = Impersonation::of(&joe()).unwrap();
    assert_eq!(sent(&impersonation), sent(&impersonation));
    assert_eq!(sent(&impersonation), sent(&impersonation.clone()));
}

/// No header is better than an empty one: kube-apiserver takes an empty user for no impersonation.
#[test]
fn what_cannot_arrive_unchanged_is_refused() {
    for (text, flaw) in [
        ("", Flaw::Blank),
        (" ", Flaw::Blank),
        ("\u{2003}", Flaw::Blank),
        ("jane ", Flaw::Padded),
        ("\tjane", Flaw::Control),
        ("ja\r\nImpersonate-Group: system:masters", Flaw::Control),
        ("ja\0ne", Flaw::Control),
    ] {
        let mut headers = Headers::default();
        assert_eq!(headers.user(text), Err(Unrepresentable::User(text.to_owned(), flaw)));
        assert_eq!(headers.group(text), Err(Unrepresentable::Group(text.to_owned(), flaw)));
        assert_eq!(headers.uid(Some(text)), Err(Unrepresentable::Uid(text.to_owned(), flaw)));
        assert_eq!(headers.extra(text, ["x"].into_iter()), Err(Unrepresentable::ExtraKey(text.to_owned(), flaw)));
        let value = Unrepresentable::ExtraValue { key: "a".to_owned(), value: text.to_owned(), flaw };
        assert_eq!(headers.extra("a", [text].into_iter()), Err(value));
        assert!(headers.0.is_empty(), "{text:?}");
        let joe = Impersonation::of(&joe()).unwrap();
        assert!(joe.with_extra([("a", text)].into_iter()).is_err());
        assert!(joe.with_extra([(text, "a")].into_iter()).is_err());
    }
}

#[test]
fn text_of_all_languages_arrives() {
    let user = identity("J\u{fc}rgen \u{65e5}\u{672c}", &["a, b", "x: y"], None, None);
    let sent = sent(&Impersonation::of(&user).unwrap());
    assert!(sent.contains(&("impersonate-user".to_owned(), "J\u{fc}rgen \u{65e5}\u{672c}".to_owned())));
    assert!(sent.contains(&("impersonate-group".to_owned(), "a, b".to_owned())));
}

#[test]
fn further_extra_fields_are_added() {
    let base = Impersonation::of(&identity("joe", &[], None, None)).unwrap();
    let with = base.with_extra([("Key1", "foo"), ("key2", "bar"), ("key1", "bar")].into_iter()).unwrap();
    let with = with.with_extra([("remote-client-ip", "192.0.2.1")].into_iter()).unwrap();
    let all = expected(&[
        ("impersonate-extra-key1", "bar"),
        ("impersonate-extra-key1", "foo"),
        ("impersonate-extra-key2", "bar"),
        ("impersonate-extra-remote-client-ip", "192.0.2.1"),
        ("impersonate-group", "system:authenticated"),
        ("impersonate-user", "joe"),
    ]);
    assert_eq!(sent(&with), all);
    assert_eq!(sent(&base).len(), 2);
}

#[test]
fn more_extra_fields_than_a_request_has_room_for_are_refused() {
    let keys: Vec<String> = (0..5000).map(|key| format!("key-{key}")).collect();
    let base = Impersonation::of(&joe()).unwrap();
    let refused = base.with_extra(keys.iter().map(|key| (key.as_str(), "x"))).unwrap_err();
    assert_eq!(refused, Unrepresentable::TooManyExtras);
    base.with_extra((0..5000).map(|_| ("key", "x"))).unwrap();
}

/// A group would keep kube-apiserver from adding those of a service account, and make `system:anonymous` authenticated.
#[test]
fn a_target_has_the_groups_that_were_asked_for_and_who_asked() {
    let who_asked = [
        ("impersonate-extra-originaluser.jetstack.io-groups", "dev"),
        ("impersonate-extra-originaluser.jetstack.io-groups", "ops"),
        ("impersonate-extra-originaluser.jetstack.io-uid", "u-1"),
        ("impersonate-extra-originaluser.jetstack.io-user", "joe@example.com"),
        (
            "impersonate-extra-originaluser.jetstack.io-extra",
            r#"{"authentication.kubernetes.io/credential-id":["JTI=t-1"]}"#,
        ),
    ];
    for user in ["jane", "system:anonymous", "system:serviceaccount:default:builder"] {
        let target = allowed(&[("Impersonate-User", user)]);
        let sent = sent(&Impersonation::of_target(target, &joe()).unwrap());
        assert_eq!(sent, expected(&[&who_asked[..], &[("impersonate-user", user)]].concat()));
    }
    let everything = [
        ("impersonate-user", "jane"),
        ("impersonate-group", "qa"),
        ("impersonate-uid", "u-2"),
        ("impersonate-extra-example.com%2fteam", "x"),
        ("impersonate-extra-example.com%2fteam", "y"),
    ];
    let sent = sent(&Impersonation::of_target(allowed(&everything), &joe()).unwrap());
    assert_eq!(sent, expected(&[&who_asked[..], &everything].concat()));
}

#[test]
fn a_requester_without_groups_uid_and_extra_leaves_these_out() {
    let plain = identity("joe", &[], None, None);
    let pending = reviews(stripped(&[("Impersonate-User", "jane")]).requested.unwrap(), &plain);
    let yes = br#"{"kind":"SubjectAccessReview","status":{"allowed":true}}"#;
    let verdicts = pending.questions().iter().map(|question| Verdict::from_review_json(question, yes)).collect();
    let target = pending.resolve(verdicts).unwrap();
    let sent = sent(&Impersonation::of_target(target, &plain).unwrap());
    let user = ("impersonate-extra-originaluser.jetstack.io-user", "joe");
    assert_eq!(sent, expected(&[user, ("impersonate-user", "jane")]));
}

#[test]
fn the_original_extra_is_a_json_object_of_lists() {
    let sent = sent(&Impersonation::of_target(allowed(&[("Impersonate-User", "jane")]), &joe()).unwrap());
    let (_, json) = sent.iter().find(|(name, _)| name.ends_with(".io-extra")).unwrap();
    let json: Value = serde_json::from_str(json).unwrap();
    assert_eq!(json["authentication.kubernetes.io/credential-id"][0], "JTI=t-1");
}

#[test]
fn a_target_serves_only_the_user_who_was_authorized() {
    for other in [
        identity("eve@example.com", &["dev", "ops"], Some("u-1"), Some("t-1")),
        identity("joe@example.com", &["dev"], Some("u-1"), Some("t-1")),
        identity("joe@example.com", &["dev", "ops"], Some("u-2"), Some("t-1")),
        identity("joe@example.com", &["dev", "ops"], Some("u-1"), Some("t-2")),
    ] {
        let refused = Impersonation::of_target(allowed(&[("Impersonate-User", "jane")]), &other).unwrap_err();
        assert_eq!(refused, Unrepresentable::OtherRequester(other.username().to_owned()));
    }
}
