use http::StatusCode;
use http_body_util::BodyExt;

use super::{Challenge, Details, Refusal};

#[tokio::test]
async fn a_bad_token_is_a_status_that_kubectl_prints_and_a_challenge() {
    let refusal = Refusal::unauthorized("kid abc is unknown to https://issuer", "the token's key is \"unknown\"\r\n");
    let response = refusal.into_response();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let challenge = response.headers()["www-authenticate"].to_str().unwrap().to_owned();
    assert_eq!(
        challenge,
        "Bearer realm=\"kubernetes\", error=\"invalid_token\", error_description=\"the token's key is 'unknown'''\""
    );
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let status: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(status["kind"], "Status");
    assert_eq!(status["code"], 401);
    assert_eq!(status["reason"], "Unauthorized");
    assert!(!String::from_utf8_lossy(&body).contains("kid abc"), "the operator's message stays in the log");
}

#[test]
fn what_goes_by_itself_says_when_to_try_again() {
    let response = Refusal::unavailable("issuer down", "try again").into_response();
    assert_eq!(response.headers()["retry-after"], "1");
}

#[test]
fn whoever_sent_no_token_is_told_no_error() {
    let refusal = Refusal { challenge: Challenge::NoToken, ..Refusal::unauthorized("no bearer token", "sign in") };
    assert_eq!(refusal.into_response().headers()["www-authenticate"], "Bearer realm=\"kubernetes\"");
}

#[tokio::test]
async fn details_say_what_was_refused_and_when_to_try_again() {
    let details = Details { kind: "users".into(), group: String::new(), name: "jane".into() };
    let refusal = Refusal::new(StatusCode::FORBIDDEN, "no", "no");
    let response = Refusal { details: Some(details), retry_after: Some(2), ..refusal }.into_response();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let status: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(status["details"], serde_json::json!({"kind": "users", "name": "jane", "retryAfterSeconds": 2}));
    assert_eq!(status["reason"], "Forbidden");
    // A code that Kubernetes has no reason for has none.
    let response = Refusal::new(StatusCode::BAD_GATEWAY, "no", "no").into_response();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let status: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(status.get("reason"), None);
}
