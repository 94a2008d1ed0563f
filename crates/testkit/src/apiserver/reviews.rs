//! What a well-disposed kube-apiserver answers the proxy's own questions.

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::Exchange;

/// The status of a review: yes to everything, also to every right that the proxy itself must have.
fn yes(kind: &str) -> Value {
    match kind {
        "TokenReview" => json!({"authenticated": true, "user": {"username": "reviewed"}}),
        "SelfSubjectRulesReview" => json!({
            "incomplete": false, "nonResourceRules": [],
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
        }),
        "SelfSubjectReview" => json!({"userInfo": {"username": "proxy"}}),
        _ => json!({"allowed": true}),
    }
}

fn kind_at(target: &str) -> Option<&'static str> {
    Some(match target {
        "/apis/authentication.k8s.io/v1/tokenreviews" => "TokenReview",
        "/apis/authentication.k8s.io/v1/selfsubjectreviews" => "SelfSubjectReview",
        "/apis/authorization.k8s.io/v1/subjectaccessreviews" => "SubjectAccessReview",
        "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews" => "SelfSubjectRulesReview",
        _ => return None,
    })
}

/// Answers a review with what `status` says to its kind and `spec`, or else with yes. Whatever is no review comes back.
pub async fn answer_reviews(
    mut exchange: Exchange,
    status: impl Fn(&str, &Value) -> Option<Value>,
) -> Option<Exchange> {
    let Some(kind) = kind_at(exchange.target()) else { return Some(exchange) };
    exchange.body().await;
    let question: Value = serde_json::from_slice(&exchange.seen().body).unwrap_or_default();
    let status = status(kind, question.get("spec").unwrap_or(&Value::Null)).unwrap_or_else(|| yes(kind));
    let answer = json!({"apiVersion": question.get("apiVersion"), "kind": kind, "status": status});
    let mut response = Response::new(answer.to_string());
    *response.status_mut() = StatusCode::CREATED;
    exchange.answer(response).await;
    None
}

/// Answers every review with yes.
pub async fn whoever_asks_may(exchange: Exchange) -> Option<Exchange> {
    answer_reviews(exchange, |_, _| None).await
}
