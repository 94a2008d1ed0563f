//! 401 from behind the proxy: the application's is the user's business, that of the proxy's own credential is not.

use std::sync::Arc;

use http::{Method, Response};
use testkit::apiserver::{Exchange, Settings};
use testkit::client::Protocol;
use testkit::poll::{eventually, within};
use tokio::sync::Notify;

use super::world::{OWN_TOKEN, SOON, World, status_of};

async fn unauthorized(exchange: Exchange) {
    let response = Response::builder().status(401).header("content-type", "application/json");
    exchange.answer(response.body("{\"kind\":\"Status\",\"code\":401,\"message\":\"Unauthorized\"}").unwrap()).await;
}

#[tokio::test]
async fn what_an_application_says_of_its_own_users_reaches_the_client_as_it_is() {
    for alpn in [&["h2"][..], &["http/1.1"]] {
        let world = World::with(Settings { alpn, ..Settings::default() }, &[], |exchange| async {
            let response = Response::builder()
                .status(401)
                .header("www-authenticate", "Basic realm=\"grafana\"")
                .header("content-type", "text/html");
            exchange.answer(response.body("<h1>Sign in</h1>").unwrap()).await;
        })
        .await;
        for protocol in Protocol::BOTH {
            let answer = world.get(protocol, "/api/v1/namespaces/x/services/y/proxy/login").await;
            assert_eq!((answer.status.as_u16(), answer.header("www-authenticate")), (401, "Basic realm=\"grafana\""));
            assert_eq!(answer.whole().await.unwrap().text(), "<h1>Sign in</h1>");
            // A form that was sent is not sent a second time.
            let form = world.request(Method::POST, "/api/v1/namespaces/x/services/y/proxy/form").body("a=b").unwrap();
            assert_eq!(world.send(protocol, form).await.status, 401);
        }
        assert_eq!(world.apiserver.seen_at("/api/v1/namespaces/x/services/y/proxy/form").len(), 2);
        assert_eq!(world.log.lines("WARN", ""), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_refusal_of_the_proxys_own_credential_is_a_502_and_a_line_in_the_log() {
    let world = World::with_reviews(Settings::default(), &[], unauthorized).await;
    for protocol in Protocol::BOTH {
        let answer = world.get(protocol, "/api/v1/pods").await;
        assert_eq!(answer.header("www-authenticate"), "");
        let status = status_of(answer).await;
        assert_eq!(status["code"], 502);
        assert!(status["message"].as_str().unwrap().contains("not your token"), "{status}");
    }
    let lines = world.log.lines("WARN", "could not forward a request");
    assert_eq!(lines.len(), 2, "{}", world.log.text());
    assert!(lines[0].contains("refuses the proxy's own credential (401)") && lines[0].contains("k:jane"), "{lines:?}");
    assert!(!world.log.text().contains(OWN_TOKEN));
}

#[tokio::test]
async fn a_token_that_was_replaced_fails_nobody() {
    const REQUESTS: usize = 20;
    let go = Arc::new(Notify::new());
    let waiting = go.clone();
    // The former token is refused, but only when every request has come with it.
    let world = World::with_reviews(Settings::default(), &[], move |mut exchange| {
        let waiting = waiting.clone();
        async move {
            if exchange.seen().header("authorization") != "Bearer renewed" {
                if exchange.target().starts_with("/api/v1") {
                    waiting.notified().await;
                }
                return unauthorized(exchange).await;
            }
            if !exchange.seen().header("upgrade").is_empty() {
                let head =
                    Response::builder().status(101).header("connection", "Upgrade").header("upgrade", "SPDY/3.1");
                exchange.start(head.body(()).unwrap()).await;
                exchange.write_raw(b"switched").await;
                return exchange.silence().await;
            }
            exchange.ok("done").await;
        }
    })
    .await;
    let mut gets = tokio::task::JoinSet::new();
    for n in 0..REQUESTS {
        let protocol = Protocol::BOTH[n % 2];
        let (mut client, request) = (world.client(protocol).await, world.get_request("/api/v1/pods"));
        gets.spawn(async move { client.send(request).await });
    }
    let mut exec = world.wire().await;
    let head = format!(
        "POST /api/v1/namespaces/x/pods/y/exec?command=sh HTTP/1.1\r\nHost: x\r\n{}Connection: Upgrade\r\n\
         Upgrade: SPDY/3.1\r\nContent-Length: 0\r\n\r\n",
        world.bearer_line()
    );
    exec.send(head).await.unwrap();
    let refused = || world.apiserver.seen_at("/api/v1").len();
    eventually("all requests came with the old token", SOON, || (refused() == REQUESTS + 1).then_some(())).await;
    world.replace_own_token("renewed");
    go.notify_waiters();
    while let Some(got) = within("an answer", SOON, gets.join_next()).await {
        let answer = got.unwrap().unwrap();
        assert_eq!(answer.status, 200, "{}", world.log.text());
    }
    let switched = within("the upgrade", SOON, exec.until("switched")).await.unwrap();
    assert!(switched.starts_with("HTTP/1.1 101 "), "{switched}");
    assert_eq!(refused(), 2 * (REQUESTS + 1));
    assert_eq!(world.log.lines("WARN", ""), Vec::<String>::new());
}

#[tokio::test]
async fn a_body_that_met_the_former_token_is_not_sent_twice_and_the_client_may_try_again() {
    let world = World::start(&[], |exchange| async {
        if exchange.seen().header("authorization") == "Bearer renewed" {
            return exchange.ok("done").await;
        }
        unauthorized(exchange).await;
    })
    .await;
    world.replace_own_token("renewed");
    let post = || world.request(Method::POST, "/api/v1/x").body("body").unwrap();
    let answer = world.send(Protocol::H2, post()).await;
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(status_of(answer).await["code"], 503);
    assert_eq!(world.apiserver.seen_at("/api/v1/x").len(), 1);
    assert_eq!(world.send(Protocol::H2, post()).await.status, 200);
}

#[tokio::test]
async fn nothing_that_a_client_sends_is_taken_for_the_proxys_own_word() {
    let world = World::start(&[], |exchange| async { exchange.ok("done").await }).await;
    for protocol in Protocol::BOTH {
        let request = world
            .request(Method::GET, "/api/v1/x")
            .header("X-Remote-User", "admin")
            .header("X-Remote-Group", "system:masters")
            .header("Impersonate-Group", "system:masters")
            .header("Audit-ID", "1")
            .header("Proxy-Authorization", "Basic eDp5");
        // Groups without a user are refused; the rest is stripped.
        let refused = world.send(protocol, request.body("").unwrap()).await;
        assert!(refused.status.is_client_error(), "{}", refused.status);
        let request = world.request(Method::GET, "/api/v1/x").header("X-Remote-User", "admin").header("Audit-ID", "1");
        assert_eq!(world.send(protocol, request.body("").unwrap()).await.status, 200);
    }
    let seen = world.apiserver.seen_at("/api/v1/x");
    assert_eq!(seen.len(), 2);
    for seen in seen {
        assert_eq!(seen.header("authorization"), format!("Bearer {OWN_TOKEN}"));
        assert_eq!(seen.header("impersonate-user"), "k:jane");
        let groups: Vec<_> = seen.headers.get_all("impersonate-group").iter().collect();
        assert_eq!(groups, ["dev", "system:authenticated"]);
        for stripped in ["x-remote-user", "audit-id", "proxy-authorization"] {
            assert_eq!(seen.header(stripped), "", "{stripped}");
        }
    }
}
