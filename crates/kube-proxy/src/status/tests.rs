use http::StatusCode;
use http_body_util::BodyExt;

use super::Refusal;

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
