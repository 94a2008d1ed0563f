//! The proxy's own questions: about tokens that no issuer here vouches for, about wishes to be another, and about its
//! own rights.

use http::{Method, Request};
use serde_json::{Value, json};
use testkit::apiserver::{Exchange, Settings, answer_reviews};
use testkit::client::Protocol;
use testkit::poll::{eventually, within};

use super::world::{OWN_TOKEN, SOON, World};

const TOKEN_REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

/// kube-apiserver knows the token `known`, and no other.
async fn one_token_is_known(exchange: Exchange) {
    let verdict = |kind: &str, spec: &Value| {
        (kind == "TokenReview").then(|| match spec["token"].as_str() {
            Some("known") => json!({"authenticated": true, "user": {"username": "system:serviceaccount:x:y"}}),
            _ => json!({"authenticated": false}),
        })
    };
    if let Some(exchange) = answer_reviews(exchange, verdict).await {
        exchange.ok("done").await;
    }
}

async fn with_passthrough(flags: &[&str]) -> World {
    let flags = [&["--token-passthrough"], flags].concat();
    World::with_reviews(Settings::default(), &flags, one_token_is_known).await
}

async fn asks_with(world: &World, token: &str, path: &str) -> u16 {
    let request = Request::get(format!("https://localhost{path}")).header("authorization", format!("Bearer {token}"));
    world.send(Protocol::H2, request.body("").unwrap()).await.status.as_u16()
}

fn reviewed(world: &World) -> Vec<String> {
    let token = |seen: &testkit::apiserver::Seen| {
        let review: Value = serde_json::from_slice(&seen.body).unwrap();
        review["spec"]["token"].as_str().unwrap().to_owned()
    };
    world.apiserver.seen_at(TOKEN_REVIEWS).iter().map(token).collect()
}

#[tokio::test]
async fn a_token_of_nobody_here_is_kube_apiservers_to_judge() {
    let world = with_passthrough(&[]).await;
    assert_eq!(asks_with(&world, "known", "/api/v1/x").await, 200);
    assert_eq!(asks_with(&world, "known", "/api/v1/x").await, 200);
    assert_eq!(reviewed(&world), ["known"]);
    assert_eq!(world.apiserver.seen_at(TOKEN_REVIEWS)[0].header("authorization"), format!("Bearer {OWN_TOKEN}"));
    // It goes on as the user's own, on a connection that has nothing of the proxy's.
    let own = world.apiserver.seen_at(TOKEN_REVIEWS)[0].connection;
    for seen in world.apiserver.seen_at("/api/v1/x") {
        assert_eq!(seen.header("authorization"), "Bearer known");
        assert_eq!(seen.header("impersonate-user"), "");
        assert_ne!(seen.connection, own);
    }
    // Without the flag nobody is asked.
    let world = World::with_reviews(Settings::default(), &[], one_token_is_known).await;
    assert_eq!(asks_with(&world, "known", "/api/v1/x").await, 401);
    assert_eq!(reviewed(&world), Vec::<String>::new());
}

#[tokio::test]
async fn a_token_that_an_issuer_here_should_vouch_for_is_never_kube_apiservers_to_judge() {
    let world = with_passthrough(&[]).await;
    assert_eq!(asks_with(&world, &world.jane().sign(), "/api/v1/x").await, 200);
    let other = testkit::signing::SigningKey::generate(testkit::signing::Algorithm::Rs256, "key-1");
    for (what, token) in [
        ("a reserved group", world.jane().claim("groups", json!(["system:masters"])).sign()),
        ("an expired token", world.jane().expires_in(-600).sign()),
        ("another audience", world.jane().aud("another").sign()),
        ("another key", world.jane().key(other.into()).sign()),
    ] {
        assert_eq!(asks_with(&world, &token, "/api/v1/refused").await, 401, "{what}");
    }
    assert_eq!(reviewed(&world), Vec::<String>::new());
    assert_eq!(world.apiserver.seen_at("/api/v1/refused").len(), 0);
}

#[tokio::test]
async fn a_token_that_kube_apiserver_does_not_know_is_not_asked_about_again_for_a_while() {
    let world = with_passthrough(&["--token-passthrough-cache-failure-ttl=1s"]).await;
    for _ in 0..5 {
        assert_eq!(asks_with(&world, "unknown", "/api/v1/x").await, 401);
    }
    assert!(reviewed(&world).len() <= 2, "{:?}", reviewed(&world));
    within("another review", SOON, async {
        let before = reviewed(&world).len();
        while reviewed(&world).len() == before {
            assert_eq!(asks_with(&world, "unknown", "/api/v1/x").await, 401);
        }
    })
    .await;
    assert_eq!(world.apiserver.seen_at("/api/v1/x").len(), 0);
    // Zero is not at all.
    let world = with_passthrough(&["--token-passthrough-cache-failure-ttl=0"]).await;
    for _ in 0..3 {
        assert_eq!(asks_with(&world, "unknown", "/api/v1/x").await, 401);
    }
    assert_eq!(reviewed(&world).len(), 3);
}

#[tokio::test]
async fn made_up_tokens_do_not_use_up_the_questions_of_those_who_come_after() {
    let world =
        with_passthrough(&["--kube-client-qps=2", "--kube-client-burst=1", "--subject-access-review-timeout=2s"]).await;
    let mut client = world.client(Protocol::H2).await;
    let mut flood = Vec::new();
    for n in 0..100 {
        let request = Request::post("https://localhost/api/v1/x");
        let request = request.header("authorization", format!("Bearer made-up-{n}")).body(()).unwrap();
        let (upload, answering) = client.upload(request).await.unwrap();
        upload.end().await;
        flood.push(answering);
    }
    for answering in flood {
        let status = within("a refusal", SOON, answering).await.unwrap().unwrap().status.as_u16();
        assert!([401, 429, 504].contains(&status), "{status}");
    }
    let as_joe = world.request(Method::GET, "/api/v1/joe").header("Impersonate-User", "joe").body("").unwrap();
    assert_eq!(world.send(Protocol::H2, as_joe).await.status, 200, "{}", world.log.text());
}

#[tokio::test]
async fn a_right_that_the_proxy_lacks_is_named_in_the_log() {
    let world = World::with_reviews(Settings::default(), &[], |exchange| async {
        let rules = json!({"incomplete": false, "resourceRules": [
            {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users", "serviceaccounts"]},
            {"verbs": ["*"], "apiGroups": ["authentication.k8s.io", "authorization.k8s.io"], "resources": ["*"]},
        ]});
        let verdict = |kind: &str, _: &Value| (kind == "SelfSubjectRulesReview").then(|| rules.clone());
        if let Some(exchange) = answer_reviews(exchange, verdict).await {
            exchange.ok("done").await;
        }
    })
    .await;
    let lines = || world.log.lines("WARN", "lacks a right");
    eventually("a warning", SOON, || (!lines().is_empty()).then_some(())).await;
    assert_eq!(lines().len(), 1, "{:?}", lines());
    assert!(lines()[0].contains("impersonate groups"), "{:?}", lines());
}

#[tokio::test]
async fn a_proxy_that_has_every_right_warns_of_nothing() {
    let world = World::start(&["--token-passthrough"], |exchange| async { exchange.ok("done").await }).await;
    let asked = || world.apiserver.seen_at("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews").len();
    eventually("the rights were looked at", SOON, || (asked() == 1).then_some(())).await;
    assert_eq!(world.get(Protocol::H2, "/api").await.status, 200);
    assert_eq!(world.log.lines("WARN", ""), Vec::<String>::new());
}
