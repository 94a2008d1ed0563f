use serde_json::{Value, json};

use super::{PassthroughRequest, ReviewRefusal, TokenReviewed};
use crate::BearerToken;
use crate::testing::{expected, fields, joe, stripped};

fn token() -> BearerToken {
    stripped(&[("Authorization", "Bearer s3cret")]).credential.unwrap()
}

fn review(status: &Value, audiences: &[&str]) -> Result<TokenReviewed, ReviewRefusal> {
    let body = json!({"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "status": status}).to_string();
    let audiences: Vec<String> = audiences.iter().map(|audience| (*audience).to_owned()).collect();
    TokenReviewed::from_review_json(&token(), body.as_bytes(), &audiences)
}

#[test]
fn only_an_authenticated_token_is_known() {
    let user = json!({"username": "bot"});
    for status in [
        json!({}),
        json!({"user": user}),
        json!({"authenticated": false, "user": user}),
        json!({"authenticated": "true", "user": user}),
        json!({"authenticated": 1, "user": user}),
        json!({"authenticated": null, "user": user}),
        json!({"authenticated": true}),
        json!({"authenticated": true, "user": {"username": ""}}),
        json!({"authenticated": true, "user": user, "error": "webhook is down"}),
        Value::Null,
        json!("Success"),
    ] {
        assert!(review(&status, &[]).is_err(), "{status}");
    }
    for body in [
        "",
        "{}",
        "null",
        r#"{"kind":"TokenReview"}"#,
        r#"{"status":{"authenticated":true,"user":{"username":"bot"}}}"#,
        r#"{"kind":"Status","status":{"authenticated":true,"user":{"username":"bot"}}}"#,
    ] {
        assert!(TokenReviewed::from_review_json(&token(), body.as_bytes(), &[]).is_err(), "{body}");
    }
    assert_eq!(review(&json!({"authenticated": true, "user": user}), &[]).unwrap().username(), "bot");
}

#[test]
fn an_audience_that_was_asked_for_must_be_named() {
    let status = |audiences: Value| json!({"authenticated": true, "user": {"username": "bot"}, "audiences": audiences});
    // A server that does not look at audiences answers with none.
    for audiences in [json!([]), json!(["other"]), json!(["API"]), json!("api"), json!(null)] {
        assert!(review(&status(audiences.clone()), &["api", "keyway"]).is_err(), "{audiences}");
    }
    let silent = json!({"authenticated": true, "user": {"username": "bot"}});
    assert!(matches!(review(&silent, &["api"]), Err(ReviewRefusal::Audience { .. })));
    assert!(review(&status(json!(["other", "keyway"])), &["api", "keyway"]).is_ok());
    assert!(review(&status(json!(["https://kubernetes.default.svc"])), &[]).is_ok());
}

#[test]
fn the_question_names_token_and_audiences() {
    let body =
        |audiences: &[String]| serde_json::from_slice::<Value>(&TokenReviewed::body(&token(), audiences)).unwrap();
    let (version, kind) = ("authentication.k8s.io/v1", "TokenReview");
    assert_eq!(body(&[]), json!({"apiVersion": version, "kind": kind, "spec": {"token": "s3cret"}}));
    let asked = json!({"apiVersion": version, "kind": kind, "spec": {"token": "s3cret", "audiences": ["api"]}});
    assert_eq!(body(&["api".to_owned()]), asked);
}

#[test]
fn the_token_and_the_wish_go_along_and_nothing_else_that_names_a_user() {
    let sent = [
        ("Authorization", "Bearer s3cret"),
        ("Impersonate-User", "jane"),
        ("Impersonate-Group", "dev"),
        ("Impersonate-Group", "qa"),
        ("Impersonate-Uid", "1"),
        ("Impersonate-Extra-A%2Fb", "x"),
        ("impersonate_user", "admin"),
        ("X-Remote-User", "admin"),
        ("Audit-Id", "1"),
        ("Connection", "authorization, impersonate-user"),
        ("Accept", "*/*"),
    ];
    let goes_on = expected(&[
        ("accept", "*/*"),
        ("authorization", "Bearer s3cret"),
        ("impersonate-extra-a%2fb", "x"),
        ("impersonate-group", "dev"),
        ("impersonate-group", "qa"),
        ("impersonate-uid", "1"),
        ("impersonate-user", "jane"),
    ]);
    let reviewed = review(&json!({"authenticated": true, "user": {"username": "bot"}}), &[]).unwrap();
    let one = stripped(&sent);
    let request = PassthroughRequest::reviewed(&reviewed, one.request, one.requested);
    assert_eq!(fields(request.headers()), goes_on);
    assert!(request.headers()["authorization"].is_sensitive());
    let one = stripped(&sent);
    let request = PassthroughRequest::verified(&joe(), &one.credential.unwrap(), one.request, one.requested);
    assert_eq!(fields(&request.into_parts().headers), goes_on);
}

#[test]
fn a_token_from_a_subprotocol_goes_on_as_authorization() {
    let one = stripped(&[
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-protocol", "base64url.bearer.authorization.k8s.io.YWJj, v5.channel.k8s.io"),
    ]);
    let request = PassthroughRequest::verified(&joe(), &one.credential.unwrap(), one.request, None);
    let goes_on = expected(&[
        ("authorization", "Bearer abc"),
        ("connection", "upgrade"),
        ("sec-websocket-protocol", "v5.channel.k8s.io"),
        ("upgrade", "websocket"),
    ]);
    assert_eq!(fields(request.headers()), goes_on);
}

#[test]
fn no_token_is_printed() {
    let reviewed = review(&json!({"authenticated": true, "user": {"username": "bot"}}), &[]).unwrap();
    assert!(!format!("{reviewed:?}").contains("s3cret"));
    let request = PassthroughRequest::reviewed(&reviewed, stripped(&[]).request, None);
    assert!(!format!("{request:?}").contains("s3cret"));
    let refusal = review(&json!({"error": "cannot parse \"s3cret\""}), &[]).unwrap_err();
    assert!(!refusal.to_string().contains("s3cret"), "{refusal}");
}
