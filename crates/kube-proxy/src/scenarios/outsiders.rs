//! Clients that prove nothing: whatever they do, they hold no place for long and keep nobody out.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use testkit::client::{Client, Protocol, tls};
use testkit::poll::{eventually, within};
use testkit::raw::frames;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::world::{SOON, World};

/// An HTTP/2 client that lets nothing be sent to it, and asks with this token.
async fn mute(world: &World, token: &str) -> TlsStream<TcpStream> {
    let mut tls = tls(world.port, world.ca(), "h2").await.unwrap();
    let bearer = format!("Bearer {token}");
    let request = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/api"),
        ("authorization", &bearer),
    ];
    let no_window = frames::frame(0x4, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let bytes = [frames::preface(), no_window, frames::headers(1, &request, true)].concat();
    tls.write_all(&bytes).await.unwrap();
    tls.flush().await.unwrap();
    tls
}

#[tokio::test]
async fn whoever_reads_no_answer_and_has_no_good_token_is_gone_in_time() {
    let world = World::start(&["--header-timeout=600ms"], |exchange| async { exchange.ok("done").await }).await;
    let mut good = mute(&world, &world.jane().sign()).await;
    let began = Instant::now();
    let mut bad = mute(&world, "made-up").await;
    let mut expired = mute(&world, &world.jane().expires_in(-600).sign()).await;
    for outsider in [&mut bad, &mut expired] {
        let mut said = Vec::new();
        let _in_whatever_way = within("an outsider's stay", SOON, outsider.read_to_end(&mut said)).await;
    }
    let stayed = began.elapsed();
    assert!(stayed < Duration::from_millis(3 * 600) + Duration::from_secs(2), "{stayed:?}");
    let mut said = Vec::new();
    let ended = tokio::time::timeout(Duration::from_millis(900), good.read_to_end(&mut said)).await;
    assert!(ended.is_err(), "a user who reads slowly is cut off");
}

enum Outsider {
    Tcp(#[expect(dead_code, reason = "held open")] TcpStream),
    Tls(#[expect(dead_code, reason = "held open")] Box<TlsStream<TcpStream>>),
}

const PLACES: usize = 20;

/// Takes every place with outsiders of the kind.
async fn crowd(world: &World, kind: &str) -> Vec<Outsider> {
    let accepted = || world.running.as_ref().unwrap().counters.accepted.load(Ordering::Relaxed);
    let before = accepted();
    let mut outsiders = Vec::new();
    for _ in 0..PLACES {
        outsiders.push(match kind {
            "TCP" => Outsider::Tcp(TcpStream::connect(("127.0.0.1", world.port)).await.unwrap()),
            "TLS" => Outsider::Tls(Box::new(tls(world.port, world.ca(), "h2").await.unwrap())),
            _ => Outsider::Tls(Box::new(mute(world, "made-up").await)),
        });
    }
    eventually("all were accepted", SOON, || (accepted() >= before + PLACES as u64).then_some(())).await;
    outsiders
}

#[tokio::test]
async fn places_that_outsiders_hold_are_there_for_users() {
    for kind in ["TCP", "TLS", "bad tokens"] {
        let world = World::start(&["--max-connections=20"], |exchange| async { exchange.ok("done").await }).await;
        let first = crowd(&world, kind).await;
        let began = Instant::now();
        let mut users = Vec::new();
        for protocol in Protocol::BOTH {
            let connecting = Client::connect(protocol, world.port, world.ca());
            let mut user = within("a place", SOON, connecting).await.unwrap();
            let answer = within("an answer", SOON, user.send(world.get_request("/api"))).await.unwrap();
            assert_eq!(answer.status, 200, "{kind}");
            answer.whole().await.unwrap();
            users.push(user);
        }
        assert!(began.elapsed() < Duration::from_secs(4), "{kind}: {:?}", began.elapsed());
        // More of them do not drive out whoever has proved who they are.
        let second = crowd(&world, kind).await;
        for user in &mut users {
            let answer = within("an answer", SOON, user.send(world.get_request("/api"))).await.unwrap();
            assert_eq!(answer.status, 200, "{kind}");
        }
        drop((first, second));
    }
}
