//! Clients that ask for much and read nothing. They cost the proxy memory, within bounds, and nobody else anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Response;
use testkit::apiserver::{Exchange, Settings};
use testkit::client::{Client, Protocol};
use testkit::poll::{eventually, within};
use tokio::sync::broadcast;

use super::world::{SOON, World};

/// Sends pieces of this size for as long as somebody takes them.
async fn flood(mut exchange: Exchange, piece: &'static [u8], sent: Arc<AtomicUsize>) {
    exchange.start(Response::builder().header("content-type", "text/plain").body(()).unwrap()).await;
    while exchange.send(piece).await {
        if sent.fetch_add(1, Ordering::Relaxed).is_multiple_of(64) {
            tokio::task::yield_now().await;
        }
    }
}

/// Waits until nothing more is sent: every window is used up.
async fn stalled(sent: &AtomicUsize) {
    let (mut before, mut since) = (0, Instant::now());
    eventually("the floods stall", Duration::from_secs(20), || {
        let now = sent.load(Ordering::Relaxed);
        if now != before {
            (before, since) = (now, Instant::now());
        }
        (now > 0 && since.elapsed() > Duration::from_millis(300)).then_some(())
    })
    .await;
}

/// A stream that says something when it begins, and each time it is told to.
async fn witness(mut exchange: Exchange, words: broadcast::Sender<()>, kind: &str) {
    let mut words = words.subscribe();
    exchange.start(Response::builder().header("content-type", kind).body(()).unwrap()).await;
    exchange.send("\"begun\"\n").await;
    while words.recv().await.is_ok() {
        exchange.send("\"goes on\"\n").await;
    }
}

#[tokio::test]
async fn logs_in_frames_of_a_byte_that_nobody_reads_end_no_other_stream() {
    const FOLLOWERS: usize = 8;
    let (words, sent) = (broadcast::Sender::new(4), Arc::new(AtomicUsize::new(0)));
    let (speak, count) = (words.clone(), sent.clone());
    let world = World::start(&[], move |exchange| {
        let (speak, count) = (speak.clone(), count.clone());
        async move {
            match exchange.target() {
                target if target.contains("/flood/") => flood(exchange, b"x", count).await,
                target if target.contains("/log") => witness(exchange, speak, "text/plain").await,
                target if target.contains("watch") => witness(exchange, speak, "application/json").await,
                _ => exchange.ok("done").await,
            }
        }
    })
    .await;
    let mut witnesses = Vec::new();
    for path in ["/api/v1/namespaces/x/pods/y/log?follow=true", "/api/v1/pods?watch=true"] {
        let mut answer = world.get(Protocol::H2, path).await;
        assert!(within("the beginning", SOON, answer.read_until("begun")).await);
        witnesses.push(answer);
    }
    let mut followers = Vec::new();
    for _ in 0..FOLLOWERS {
        let mut client = Client::h2_with_window(world.port, world.ca(), 0).await.unwrap();
        let asked = client.send(world.get_request("/api/v1/namespaces/x/pods/flood/log?follow=true&x=/flood/"));
        let answer = within("the header", SOON, asked).await.unwrap();
        assert_eq!(answer.status, 200);
        followers.push((client, answer));
    }
    stalled(&sent).await;
    assert!(sent.load(Ordering::Relaxed) >= FOLLOWERS * 4096, "{sent:?}");
    words.send(()).unwrap();
    for witness in &mut witnesses {
        assert!(within("more", SOON, witness.read_until("goes on")).await, "a stream has ended: {}", world.log.text());
    }
    assert_eq!(world.get(Protocol::H1, "/api/v1/namespaces/x/services/y/proxy/").await.status, 200);
}

#[tokio::test]
async fn large_responses_that_nobody_reads_stop_no_other_request() {
    static PIECE: [u8; 16 * 1024] = [b'x'; 16 * 1024];
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let settings = Settings { max_streams: 250, ..Settings::default() };
    let world = World::with(settings, &[], move |exchange| {
        let count = count.clone();
        async move {
            if exchange.target().contains("large") {
                return flood(exchange, &PIECE, count).await;
            }
            exchange.ok("done").await;
        }
    })
    .await;
    for (large, small) in [
        ("/api/v1/large", "/api/v1/small"),
        ("/api/v1/namespaces/x/pods/large/log", "/api/v1/namespaces/x/pods/small/log"),
    ] {
        let mut unread = Vec::new();
        let mut client = Client::h2_with_window(world.port, world.ca(), 0).await.unwrap();
        for _ in 0..150 {
            let answer = within("the header", SOON, client.send(world.get_request(large))).await.unwrap();
            unread.push(answer);
        }
        stalled(&sent).await;
        for protocol in Protocol::BOTH {
            let answer = world.get(protocol, small).await;
            assert_eq!(answer.status, 200);
            assert_eq!(within("its body", SOON, answer.whole()).await.unwrap().text(), "done");
        }
        let open = world.apiserver.connections();
        assert!(open.len() <= 5, "{open:?}");
    }
}
