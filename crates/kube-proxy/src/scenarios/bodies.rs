//! Bodies that break off: what is not whole must never look whole, on either side, whatever the way it broke.

use std::sync::Arc;

use bytes::Bytes;
use h2::Reason;
use http::{Method, Response, StatusCode};
use testkit::apiserver::{BodyEnd, Exchange, Settings};
use testkit::client::{Client, Protocol};
use testkit::poll::{eventually, within};
use tokio::sync::Notify;

use super::world::{SOON, World, status_of};

const PART: &str = "{\"kind\":\"PodList\",\"items\":[";

fn json_head() -> Response<()> {
    Response::builder().header("content-type", "application/json").body(()).unwrap()
}

/// Sends a part of a body, breaks it off when the client has that, and says how the body ended for the client.
async fn broken_off(settings: Settings, protocol: Protocol, path: &str, break_off: fn(Exchange)) -> Result<(), String> {
    let has_it = Arc::new(Notify::new());
    let waiting = has_it.clone();
    let world = World::with(settings, &[], move |mut exchange| {
        let waiting = waiting.clone();
        async move {
            exchange.start(json_head()).await;
            exchange.send(PART).await;
            waiting.notified().await;
            break_off(exchange);
        }
    })
    .await;
    let mut answer = world.get(protocol, path).await;
    assert_eq!(answer.status, 200);
    assert!(within("the part", SOON, answer.read_until("items")).await);
    has_it.notify_one();
    within("the end", SOON, answer.whole()).await.map(drop).map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_response_that_is_reset_is_an_error_for_the_client_whatever_the_reason() {
    for protocol in Protocol::BOTH {
        for path in ["/api/v1/pods", "/api/v1/pods?watch=true", "/api/v1/namespaces/x/pods/y/log?follow=true"] {
            let settings = Settings::default;
            for ended in [
                broken_off(settings(), protocol, path, |exchange| exchange.reset(Reason::NO_ERROR)).await,
                broken_off(settings(), protocol, path, |exchange| exchange.reset(Reason::INTERNAL_ERROR)).await,
                broken_off(settings(), protocol, path, |exchange| exchange.reset(Reason::CANCEL)).await,
                broken_off(settings(), protocol, path, Exchange::drop_connection).await,
            ] {
                assert!(ended.is_err(), "half a response looks whole over {protocol:?} at {path}");
            }
        }
    }
}

#[tokio::test]
async fn so_is_one_to_a_request_with_a_body() {
    let (has_it, settings) = (Arc::new(Notify::new()), Settings { alpn: &["h2"], ..Settings::default() });
    let waiting = has_it.clone();
    let world = World::with(settings, &[], move |mut exchange| {
        let waiting = waiting.clone();
        async move {
            exchange.body().await;
            exchange.start(json_head()).await;
            exchange.send(PART).await;
            waiting.notified().await;
            exchange.reset(Reason::NO_ERROR);
        }
    })
    .await;
    for protocol in Protocol::BOTH {
        let request = world.request(Method::POST, "/api/v1/x").body("body").unwrap();
        let mut answer = world.send(protocol, request).await;
        assert!(within("the part", SOON, answer.read_until("items")).await);
        has_it.notify_one();
        let ended = within("the end", SOON, answer.whole()).await;
        assert!(ended.is_err(), "half a response looks whole over {protocol:?}");
    }
}

#[tokio::test]
async fn a_response_that_ends_as_it_should_is_none() {
    for protocol in Protocol::BOTH {
        let end = |exchange: Exchange| drop(tokio::spawn(exchange.end()));
        broken_off(Settings::default(), protocol, "/api/v1/pods", end).await.unwrap();
    }
}

#[tokio::test]
async fn chunks_that_break_off_are_an_error_for_the_client() {
    let settings = || Settings { alpn: &["http/1.1"], ..Settings::default() };
    for protocol in Protocol::BOTH {
        for path in ["/api/v1/pods", "/api/v1/pods?watch=true"] {
            for ended in [
                broken_off(settings(), protocol, path, Exchange::drop_connection).await,
                broken_off(settings(), protocol, path, drop).await,
            ] {
                assert!(ended.is_err(), "half a response looks whole over {protocol:?} at {path}");
            }
        }
    }
}

#[tokio::test]
async fn a_response_that_is_shorter_than_it_says_is_an_error_for_the_client() {
    let settings = Settings { alpn: &["http/1.1"], ..Settings::default() };
    let world = World::with(settings, &[], |mut exchange| async move {
        exchange
            .write_raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\nten bytes.")
            .await;
    })
    .await;
    for protocol in Protocol::BOTH {
        for path in ["/api/v1/x", "/api/v1/namespaces/x/pods/y/log?follow=true"] {
            let ended = match world.client(protocol).await.send(world.get_request(path)).await {
                Ok(answer) => within("the end", SOON, answer.whole()).await,
                Err(error) => Err(error),
            };
            assert!(ended.is_err(), "ten bytes of a hundred look whole over {protocol:?} at {path}: {ended:?}");
        }
    }
}

#[tokio::test]
async fn a_refusal_of_a_body_that_nobody_reads_reaches_the_client_whole() {
    let words = format!("{{\"kind\":\"Status\",\"message\":\"{}\"}}", "too large ".repeat(20_000));
    let refusal = words.clone();
    for alpn in [&["h2"][..], &["http/1.1"]] {
        let refusal = refusal.clone();
        let world = World::with(Settings { alpn, ..Settings::default() }, &[], move |exchange| {
            let refusal = refusal.clone();
            // Over HTTP/2 the server says RST_STREAM(NO_ERROR) behind the answer (RFC 9113 section 8.1).
            async move {
                let head = Response::builder().status(413).header("content-type", "application/json");
                exchange.answer_early(head.body(refusal).unwrap()).await;
            }
        })
        .await;
        for protocol in Protocol::BOTH {
            for length in [None, Some("20000000")] {
                let mut request = world.request(Method::POST, "/api/v1/x");
                if let Some(length) = length {
                    request = request.header("content-length", length);
                }
                // One that reads so slowly that the reset is there before the answer's end.
                let mut client = match protocol {
                    Protocol::H1 => world.client(protocol).await,
                    Protocol::H2 => Client::h2_with_window(world.port, world.ca(), 1000).await.unwrap(),
                };
                let (mut upload, answering) = client.upload(request.body(()).unwrap()).await.unwrap();
                assert!(upload.send(vec![b'x'; 50_000]).await);
                let answer = within("the refusal", SOON, answering).await.unwrap().unwrap();
                assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
                world.a_moment().await;
                let whole = within("the refusal's end", SOON, answer.whole()).await;
                let whole = whole.unwrap_or_else(|error| panic!("{alpn:?} to {protocol:?}, {length:?}: {error}"));
                assert_eq!(whole.text(), words);
            }
        }
    }
}

#[tokio::test]
async fn an_upload_that_breaks_off_never_looks_complete_to_the_server() {
    for alpn in [&["h2"][..], &["http/1.1"]] {
        for protocol in Protocol::BOTH {
            for reason in [Reason::NO_ERROR, Reason::CANCEL, Reason::INTERNAL_ERROR] {
                for (length, answers_first) in [(None, false), (Some("1000"), false), (None, true)] {
                    let seen = broken_upload(alpn, protocol, reason, length, answers_first).await;
                    assert_eq!(seen, BodyEnd::Broken, "{protocol:?} to {alpn:?}, {reason:?}, {length:?}");
                }
            }
        }
    }
}

/// How the body of an upload that is broken off in the middle ends for the server.
async fn broken_upload(
    alpn: &'static [&'static str],
    protocol: Protocol,
    reason: Reason,
    length: Option<&str>,
    answers_first: bool,
) -> BodyEnd {
    let arrived = Arc::new(Notify::new());
    let has_ended = Arc::new(Notify::new());
    let (first, told) = (arrived.clone(), has_ended.clone());
    let world = World::with(Settings { alpn, ..Settings::default() }, &[], move |mut exchange| {
        let (first, told) = (first.clone(), told.clone());
        async move {
            first.notify_one();
            if answers_first {
                exchange.start(Response::new(())).await;
            }
            exchange.body().await;
            told.notify_one();
        }
    })
    .await;
    let mut request = world.request(Method::POST, "/api/v1/x");
    if let Some(length) = length {
        request = request.header("content-length", length);
    }
    let mut client = world.client(protocol).await;
    let (mut upload, answering) = client.upload(request.body(()).unwrap()).await.unwrap();
    assert!(upload.send("kind: Secret\n").await);
    within("the request", SOON, arrived.notified()).await;
    upload.abort(reason);
    within("the end of the body", SOON, has_ended.notified()).await;
    answering.abort();
    world.apiserver.seen_at("/api/v1/x").last().unwrap().end
}

#[tokio::test]
async fn a_server_that_is_gone_before_it_answers_a_large_upload_is_a_502_that_is_not_repeated() {
    let world = World::start(&[], |exchange| async { exchange.drop_connection() }).await;
    for protocol in Protocol::BOTH {
        let request = world.request(Method::POST, "/api/v1/x").header("content-length", "20000000").body(()).unwrap();
        let mut client = world.client(protocol).await;
        let (mut upload, answering) = client.upload(request).await.unwrap();
        let sending = tokio::spawn(async move {
            for _ in 0..400 {
                if !upload.send(Bytes::from_static(&[b'x'; 50_000])).await {
                    break;
                }
            }
            upload
        });
        let answer = within("the answer", SOON, answering).await.unwrap().unwrap();
        assert_eq!(answer.status, 502);
        sending.abort();
    }
    eventually("two requests", SOON, || (world.apiserver.seen_at("/api/v1/x").len() == 2).then_some(())).await;
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_goes_on_sending() {
    for alpn in [&["h2"][..], &["http/1.1"]] {
        let world = World::with(Settings { alpn, ..Settings::default() }, &[], |exchange| async {
            exchange.answer_early(Response::builder().status(413).body("too large").unwrap()).await;
        })
        .await;
        for protocol in Protocol::BOTH {
            for _ in 0..3 {
                let body = vec![b'x'; 20_000_000];
                let request = world.request(Method::POST, "/api/v1/x").header("content-length", body.len());
                let mut request = request.body(body).unwrap();
                let answer = world.send(protocol, request.clone()).await;
                assert_eq!(answer.status, 413);
                let whole = within("its end", SOON, answer.whole()).await;
                let whole = whole.unwrap_or_else(|error| panic!("{protocol:?} to {alpn:?}: {error}"));
                assert_eq!(whole.text(), "too large");
                // And one of the proxy's own.
                request.headers_mut().remove("authorization");
                assert_eq!(status_of(world.send(protocol, request).await).await["code"], 401);
            }
        }
    }
}
