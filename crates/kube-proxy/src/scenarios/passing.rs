//! What HTTP has besides a body with a length, and bodies that are large: all of it arrives as it was sent.

use http::{HeaderMap, HeaderValue, Method, Response};
use testkit::apiserver::{BodyEnd, Exchange, Settings};
use testkit::client::Protocol;
use testkit::poll::within;

use super::world::{SOON, World};

const UPSTREAMS: [&[&str]; 2] = [&["h2"], &["http/1.1"]];

async fn world(
    alpn: &'static [&'static str],
    answer: fn(Exchange) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
) -> World {
    World::with(Settings { alpn, ..Settings::default() }, &[], answer).await
}

#[tokio::test]
async fn what_concerns_the_connection_to_the_server_stays_there() {
    let world = world(&["http/1.1"], |mut exchange| {
        Box::pin(async move {
            let head = "HTTP/1.1 200 OK\r\nConnection: X-Internal, keep-alive\r\nX-Internal: secret\r\nX-Public: open\r\n\
                        Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nContent-Length: 4\r\n\r\ndone";
            exchange.write_raw(head.as_bytes()).await;
        })
    })
    .await;
    for protocol in Protocol::BOTH {
        let answer = world.get(protocol, "/api/v1/x").await;
        for name in ["x-internal", "keep-alive", "proxy-connection", "connection", "transfer-encoding"] {
            assert_eq!(answer.header(name), "", "{name} over {protocol:?}");
        }
        assert_eq!(answer.header("x-public"), "open");
        assert_eq!(answer.whole().await.unwrap().text(), "done");
    }
}

#[tokio::test]
async fn what_concerns_the_connection_of_the_client_stays_there() {
    for alpn in UPSTREAMS {
        let world = world(alpn, |exchange| Box::pin(exchange.ok("done"))).await;
        let mut client = world.wire().await;
        let head = format!(
            "GET /api/v1/x HTTP/1.1\r\nHost: elsewhere.example.com\r\n{}Connection: X-Hop\r\nX-Hop: 1\r\nX-Kept: 2\r\n\
             TE: trailers\r\nKeep-Alive: timeout=5\r\n\r\n",
            world.bearer_line()
        );
        client.send(head).await.unwrap();
        assert_eq!(within("an answer", SOON, client.response()).await.unwrap().status, 200);
        let seen = &world.apiserver.seen_at("/api/v1/x")[0];
        for name in ["x-hop", "keep-alive", "connection"] {
            assert_eq!(seen.header(name), "", "{name} to {alpn:?}");
        }
        assert_eq!(seen.header("x-kept"), "2");
        assert!(!seen.header("host").contains("elsewhere"), "{}", seen.header("host"));
    }
}

#[tokio::test]
async fn trailers_pass() {
    let world = world(&["h2"], |mut exchange| {
        Box::pin(async move {
            exchange.start(Response::builder().header("trailer", "grpc-status").body(()).unwrap()).await;
            exchange.send("data").await;
            exchange
                .end_with(HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]))
                .await;
        })
    })
    .await;
    let whole = world.get(Protocol::H2, "/api/v1/x").await.whole().await.unwrap();
    assert_eq!((whole.text().as_str(), whole.trailers.unwrap()["grpc-status"].to_str().unwrap()), ("data", "0"));
    // Without a word that it takes trailers, an HTTP/1.1 client gets the body alone.
    assert_eq!(world.get(Protocol::H1, "/api/v1/x").await.whole().await.unwrap().text(), "data");
}

#[tokio::test]
async fn responses_without_a_body_have_none() {
    for alpn in UPSTREAMS {
        let world = world(alpn, |exchange| {
            Box::pin(async move {
                let status = match exchange.target() {
                    "/api/v1/204" => 204,
                    "/api/v1/304" => 304,
                    _ => 200,
                };
                let mut head = Response::builder().status(status).header("etag", "\"1\"");
                if exchange.seen().method == Method::HEAD {
                    head = head.header("content-length", "1234").header("content-type", "application/json");
                }
                exchange.answer(head.body("").unwrap()).await;
            })
        })
        .await;
        for protocol in Protocol::BOTH {
            let mut client = world.client(protocol).await;
            // One after the other on one connection: a body that is awaited in vain would stall the next.
            for (method, path, status, length) in [
                (Method::HEAD, "/api/v1/x", 200, "1234"),
                (Method::GET, "/api/v1/204", 204, ""),
                (Method::DELETE, "/api/v1/204", 204, ""),
                (Method::GET, "/api/v1/304", 304, ""),
            ] {
                let request = world.request(method.clone(), path).body("").unwrap();
                let answer = within("an answer", SOON, client.send(request)).await.unwrap();
                assert_eq!((answer.status.as_u16(), answer.header("etag")), (status, "\"1\""), "{method} {path}");
                assert_eq!(answer.header("content-length"), length, "{method} {path} over {protocol:?} to {alpn:?}");
                assert_eq!(within("no body", SOON, answer.whole()).await.unwrap().bytes, b"");
            }
        }
    }
}

#[tokio::test]
async fn whoever_asks_before_sending_a_body_is_told_to() {
    for alpn in UPSTREAMS {
        let world = world(alpn, |exchange| Box::pin(exchange.ok("done"))).await;
        let head = |token: &str| {
            format!("POST /api/v1/x HTTP/1.1\r\nHost: x\r\n{token}Expect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        };
        let mut client = world.wire().await;
        client.send(head(&world.bearer_line())).await.unwrap();
        let told = within("100", SOON, client.until("\r\n\r\n")).await.unwrap();
        assert!(told.starts_with("HTTP/1.1 100 "), "{told}");
        client.send("body").await.unwrap();
        assert_eq!(within("an answer", SOON, client.response()).await.unwrap().body, "done");
        let seen = &world.apiserver.seen_at("/api/v1/x")[0];
        assert_eq!((&seen.body[..], seen.end, seen.header("expect")), (&b"body"[..], BodyEnd::Whole, ""));
        // Whose request is refused need not send it.
        let mut client = world.wire().await;
        client.send(head("")).await.unwrap();
        assert_eq!(within("a refusal", SOON, client.response()).await.unwrap().status, 401);
    }
}

#[tokio::test]
async fn compressed_bodies_pass_as_they_are() {
    const COMPRESSED: &[u8] =
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\x4b\xc9\xcf\x4b\x05\x00\x42\x1e\xd6\xae\x04\x00\x00\x00";
    for alpn in UPSTREAMS {
        let world = world(alpn, |exchange| {
            Box::pin(async move {
                let encoding = exchange.seen().header("accept-encoding").to_owned();
                let head = Response::builder().header("content-encoding", encoding);
                exchange.answer(head.body(COMPRESSED).unwrap()).await;
            })
        })
        .await;
        for protocol in Protocol::BOTH {
            for path in ["/api/v1/pods", "/api/v1/pods?watch=true"] {
                let request = world.request(Method::GET, path).header("accept-encoding", "gzip").body("").unwrap();
                let answer = world.send(protocol, request).await;
                assert_eq!(answer.header("content-encoding"), "gzip");
                assert_eq!(answer.whole().await.unwrap().bytes, COMPRESSED);
            }
            // The proxy asks for no compression of its own: a client that did not would not understand.
            world.get(protocol, "/api/v1/plain").await;
        }
        assert!(world.apiserver.seen_at("/api/v1/plain").iter().all(|seen| seen.header("accept-encoding").is_empty()));
    }
}

/// Bytes that show whether any was lost, doubled or moved.
fn pattern(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()
    })
    .flatten()
    .take(length)
    .collect()
}

#[tokio::test]
async fn twenty_megabytes_pass_byte_for_byte_in_both_directions() {
    let body = pattern(20_000_000);
    for alpn in UPSTREAMS {
        let world = world(alpn, |mut exchange| {
            Box::pin(async move {
                assert_eq!(exchange.body().await, BodyEnd::Whole);
                let echo = exchange.seen().body.clone();
                exchange.start(Response::new(())).await;
                exchange.send(echo).await;
                exchange.end().await;
            })
        })
        .await;
        for protocol in Protocol::BOTH {
            let request = world.request(Method::PUT, "/api/v1/x").body(body.clone()).unwrap();
            let mut client = world.client(protocol).await;
            let answer = within("an answer", SOON * 2, client.send(request)).await.unwrap();
            let whole = within("the body", SOON * 2, answer.whole()).await.unwrap();
            assert!(whole.bytes == body, "{} bytes over {protocol:?} to {alpn:?}", whole.bytes.len());
        }
        assert!(world.apiserver.seen_at("/api/v1/x").iter().all(|seen| seen.body == body));
    }
}
