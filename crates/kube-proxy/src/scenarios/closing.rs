//! Connections to kube-apiserver that close: what can be repeated is, and what cannot is said, and never done twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use h2::Reason;
use http::{Method, StatusCode};
use testkit::apiserver::{Exchange, Settings, whoever_asks_may};
use testkit::client::{Answer, Client, Protocol};
use testkit::poll::{eventually, within};
use tokio::sync::{Notify, broadcast};

use super::world::{SOON, World, status_of};

/// A watch: an event at once, and one more for each that is broadcast.
async fn watch(mut exchange: Exchange, events: broadcast::Sender<String>) {
    let mut events = events.subscribe();
    exchange.start(http::Response::builder().header("content-type", "application/json").body(()).unwrap()).await;
    exchange.send("{\"type\":\"BOOKMARK\"}\n").await;
    while let Ok(event) = events.recv().await {
        if !exchange.send(event).await {
            return;
        }
    }
}

const WATCHES: usize = 36;

/// A server that allows three streams on a connection, and the proxy with a watch on each of a dozen connections: there
/// is room on all of them.
async fn world_of_watches(events: &broadcast::Sender<String>) -> (World, Client, Vec<Answer>) {
    let feed = events.clone();
    let settings = Settings { max_streams: 3, ..Settings::default() };
    let end = Arc::new(Notify::new());
    let ending = end.clone();
    let world = World::with(settings, &[], move |exchange| {
        let (feed, ending) = (feed.clone(), ending.clone());
        async move {
            match exchange.target() {
                target if target.contains("watch") => watch(exchange, feed).await,
                target if target.contains("held") => {
                    ending.notified().await;
                    exchange.ok("done").await;
                }
                _ => exchange.ok("done").await,
            }
        }
    })
    .await;
    let (mut watches, mut held) = (Vec::new(), Vec::new());
    let mut client = world.client(Protocol::H2).await;
    for n in 0..WATCHES {
        if n % 3 != 0 {
            let (upload, answering) =
                client.upload(world.request(Method::POST, "/api/v1/held").body(()).unwrap()).await.unwrap();
            upload.end().await;
            held.push(answering);
            let arrived = || world.apiserver.seen_at("/api/v1/held").len();
            eventually("it is held", SOON, || (arrived() == held.len()).then_some(())).await;
            continue;
        }
        let asked = client.send(world.get_request(&format!("/api/v1/pods?watch=true&n={n}")));
        let mut answer = within("a watch", SOON, asked).await.unwrap();
        assert!(within("its first event", SOON, answer.read_until("BOOKMARK")).await);
        watches.push(answer);
    }
    end.notify_waiters();
    for answering in held {
        within("the end", SOON, answering).await.unwrap().unwrap().whole().await.unwrap();
    }
    let open = world.apiserver.connections();
    assert!(open.iter().filter(|connection| connection.streams == 1).count() >= 10, "{open:?}");
    (world, client, watches)
}

#[tokio::test]
async fn a_server_that_goes_away_fails_no_request_and_ends_no_watch() {
    for body in ["", "content"] {
        for is_known_to_go in [true, false] {
            let events = broadcast::Sender::new(16);
            let (world, _client, mut watches) = world_of_watches(&events).await;
            world.apiserver.go_away();
            if is_known_to_go {
                world.a_moment().await;
            }
            let method = if body.is_empty() { Method::GET } else { Method::POST };
            for protocol in Protocol::BOTH {
                let request = world.request(method.clone(), "/api/v1/after").body(body).unwrap();
                let answer = world.send(protocol, request).await;
                assert_eq!(answer.status, 200, "{method}: {}", world.log.text());
                world.apiserver.go_away();
            }
            let seen = world.apiserver.seen_at("/api/v1/after");
            assert_eq!(seen.iter().map(|seen| &seen.body[..]).collect::<Vec<_>>(), [body.as_bytes(); 2]);
            events.send("{\"type\":\"ADDED\"}\n".to_owned()).unwrap();
            for (n, watch) in watches.iter_mut().enumerate() {
                assert!(within("an event", SOON, watch.read_until("ADDED")).await, "watch {n} has ended");
            }
        }
    }
}

/// kube-apiserver fails the first request to each path in this way, and answers the next one.
async fn world_that_fails_first(fail: fn(Exchange)) -> (World, Arc<AtomicUsize>) {
    let failed = Arc::new(AtomicUsize::new(0));
    let count = failed.clone();
    let world = World::start(&[], move |mut exchange| {
        let count = count.clone();
        async move {
            exchange.body().await;
            if count.fetch_add(1, Ordering::SeqCst) == 0 { fail(exchange) } else { exchange.ok("done").await }
        }
    })
    .await;
    (world, failed)
}

#[tokio::test]
async fn a_refused_stream_is_asked_for_again_whatever_the_method() {
    for method in [Method::GET, Method::DELETE, Method::POST] {
        let (world, asked) = world_that_fails_first(|exchange| exchange.reset(Reason::REFUSED_STREAM)).await;
        let answer = world.send(Protocol::H1, world.request(method.clone(), "/api/v1/x").body("").unwrap()).await;
        assert_eq!(answer.status, 200, "{method}");
        assert_eq!(asked.load(Ordering::SeqCst), 2, "{method}");
    }
}

#[tokio::test]
async fn a_refused_stream_with_a_body_was_not_carried_out_and_the_client_hears_so() {
    let (world, asked) = world_that_fails_first(|exchange| exchange.reset(Reason::REFUSED_STREAM)).await;
    let answer = world.send(Protocol::H2, world.request(Method::POST, "/api/v1/x").body("body").unwrap()).await;
    assert_eq!(status_of(answer).await["code"], 503);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_get_whose_connection_breaks_is_asked_again() {
    for protocol in Protocol::BOTH {
        let (world, asked) = world_that_fails_first(Exchange::drop_connection).await;
        let answer = world.get(protocol, "/api/v1/x").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.whole().await.unwrap().text(), "done");
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }
}

#[tokio::test]
async fn a_change_whose_connection_breaks_is_not_repeated() {
    for (method, body) in [(Method::POST, "body"), (Method::POST, ""), (Method::DELETE, ""), (Method::PATCH, "body")] {
        let (world, asked) = world_that_fails_first(Exchange::drop_connection).await;
        let answer = world.send(Protocol::H2, world.request(method.clone(), "/api/v1/x").body(body).unwrap()).await;
        let status = status_of(answer).await;
        assert_eq!(status["code"], 502, "{method}");
        assert!(status["message"].as_str().unwrap().contains("may have been carried out"), "{status}");
        assert_eq!(asked.load(Ordering::SeqCst), 1, "{method}");
    }
}

#[tokio::test]
async fn a_get_whose_connection_always_breaks_is_a_failure_in_the_end() {
    let world = World::start(&[], |exchange| async { exchange.drop_connection() }).await;
    let answer = world.get(Protocol::H2, "/api/v1/x").await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert_eq!(world.apiserver.seen_at("/api/v1/x").len(), 5);
    assert_eq!(world.log.lines("WARN", "could not forward a request").len(), 1, "{}", world.log.text());
}

#[tokio::test]
async fn a_review_whose_connection_breaks_is_asked_again() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let world = World::with_reviews(Settings::default(), &[], move |mut exchange| {
        let count = count.clone();
        async move {
            if exchange.target().ends_with("/subjectaccessreviews") && count.fetch_add(1, Ordering::SeqCst) == 0 {
                exchange.body().await;
                return exchange.drop_connection();
            }
            if let Some(exchange) = whoever_asks_may(exchange).await {
                exchange.ok("done").await;
            }
        }
    })
    .await;
    let as_joe = world.request(Method::GET, "/api/v1/x").header("Impersonate-User", "joe").body("").unwrap();
    assert_eq!(world.send(Protocol::H2, as_joe).await.status, 200);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    let seen = world.apiserver.seen_at("/api/v1/x");
    assert_eq!(seen.iter().map(|seen| seen.header("impersonate-user")).collect::<Vec<_>>(), ["joe"]);
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_with_it() {
    let gave_up = Arc::new(AtomicUsize::new(0));
    let count = gave_up.clone();
    let world = World::start(&[], move |mut exchange| {
        let count = count.clone();
        async move {
            exchange.given_up().await;
            count.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    let mut client = world.client(Protocol::H1).await;
    let request = world.request(Method::GET, "/api/v1/x").body(()).unwrap();
    let (upload, answering) = client.upload(request).await.unwrap();
    eventually("the request is there", SOON, || (!world.apiserver.seen_at("/api/v1/x").is_empty()).then_some(())).await;
    answering.abort();
    drop((upload, client));
    eventually("it was given up", SOON, || (gave_up.load(Ordering::SeqCst) == 1).then_some(())).await;
}
