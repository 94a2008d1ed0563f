//! What the proxy itself answers: always a `metav1.Status` that says what the client can act on.

use http::Method;
use serde_json::{Value, json};
use testkit::apiserver::{BodyEnd, Settings, answer_reviews};
use testkit::client::Protocol;
use testkit::poll::{eventually, within};

use super::world::{SOON, World, status_of};

#[tokio::test]
async fn http_1_0_is_not_served() {
    let world = World::start(&[], |exchange| async { exchange.ok("done").await }).await;
    for line in [String::new(), "Connection: keep-alive\r\n".to_owned(), world.bearer_line()] {
        let mut client = world.wire().await;
        client.send(format!("GET /api HTTP/1.0\r\nHost: x\r\n{line}\r\n")).await.unwrap();
        let answer = within("an answer", SOON, client.response()).await.unwrap();
        assert_eq!(answer.status, 505, "{}", answer.body);
        let status: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((&status["kind"], &status["code"]), (&json!("Status"), &json!(505)));
    }
    assert_eq!(world.apiserver.seen_at("/api").len(), world.apiserver.seen_at("/apis/").len());
    assert_eq!(world.log.lines("WARN", ""), Vec::<String>::new());
}

#[tokio::test]
async fn a_wish_to_be_another_that_is_denied_says_whom() {
    let world = World::with_reviews(Settings::default(), &[], |exchange| async {
        let verdict = |kind: &str, spec: &Value| {
            let is_denied = spec["resourceAttributes"]["name"] == "joe" || spec["resourceAttributes"]["name"] == "root";
            (kind == "SubjectAccessReview" && is_denied).then(|| json!({"allowed": false, "reason": "no binding"}))
        };
        if let Some(exchange) = answer_reviews(exchange, verdict).await {
            exchange.ok("done").await;
        }
    })
    .await;
    for protocol in Protocol::BOTH {
        let as_joe = world.request(Method::GET, "/api/v1/x").header("Impersonate-User", "joe").body("").unwrap();
        let status = status_of(world.send(protocol, as_joe).await).await;
        assert_eq!((&status["code"], &status["reason"]), (&json!(403), &json!("Forbidden")));
        assert_eq!((&status["details"]["kind"], &status["details"]["name"]), (&json!("users"), &json!("joe")));
        let message = status["message"].as_str().unwrap();
        assert!(message.contains("cannot impersonate") && message.contains("no binding"), "{message}");

        let in_root = world.request(Method::GET, "/api/v1/x").header("Impersonate-User", "ann");
        let in_root = in_root.header("Impersonate-Group", "root").body("").unwrap();
        let status = status_of(world.send(protocol, in_root).await).await;
        assert_eq!((&status["details"]["kind"], &status["details"]["name"]), (&json!("groups"), &json!("root")));
        // Whoever may, may.
        let as_ann = world.request(Method::GET, "/api/v1/ann").header("Impersonate-User", "ann").body("").unwrap();
        assert_eq!(world.send(protocol, as_ann).await.status, 200);
    }
    assert_eq!(world.apiserver.seen_at("/api/v1/x").len(), 0);
    assert!(world.apiserver.seen_at("/api/v1/ann").iter().all(|seen| seen.header("impersonate-user") == "ann"));
}

#[tokio::test]
async fn a_review_that_is_no_answer_lets_nobody_be_another() {
    for answer in
        ["{}", "", "no JSON", "{\"kind\":\"SubjectAccessReview\",\"spec\":{}}", "{\"status\":{\"allowed\":true}}"]
    {
        let world = World::with_reviews(Settings::default(), &[], move |exchange| async move {
            let review = exchange.target().ends_with("/subjectaccessreviews");
            exchange.ok(if review { answer } else { "done" }).await;
        })
        .await;
        let as_joe = world.request(Method::GET, "/api/v1/x").header("Impersonate-User", "joe").body("").unwrap();
        let answered = world.send(Protocol::H2, as_joe).await;
        assert_eq!(answered.status, 403, "{answer:?}");
        assert_eq!(world.apiserver.seen_at("/api/v1/x").len(), 0);
    }
}

#[tokio::test]
async fn a_body_that_the_client_breaks_off_is_not_held_against_kube_apiserver() {
    let world = World::start(&[], |mut exchange| async {
        exchange.body().await;
        exchange.ok("done").await;
    })
    .await;
    let bearer = world.bearer_line();
    let mut malformed = world.wire().await;
    let head =
        format!("POST /api/v1/x HTTP/1.1\r\nHost: x\r\n{bearer}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\nzz\r\n");
    malformed.send(head).await.unwrap();
    let answer = within("an answer", SOON, malformed.response()).await.unwrap();
    assert_eq!(answer.status, 400, "{}", answer.body);
    let mut gone = world.wire().await;
    gone.send(format!("POST /api/v1/y HTTP/1.1\r\nHost: x\r\n{bearer}Content-Length: 1000\r\n\r\n{{")).await.unwrap();
    eventually("the server has its beginning", SOON, || {
        (!world.apiserver.seen_at("/api/v1/y").is_empty()).then_some(())
    })
    .await;
    drop(gone);
    eventually("the server has seen it break off", SOON, || {
        (world.apiserver.seen_at("/api/v1/y").first()?.end == BodyEnd::Broken).then_some(())
    })
    .await;
    world.a_moment().await;
    assert_eq!(world.log.lines("WARN", ""), Vec::<String>::new());
}
