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

#[tokio::test]
async fn places_that_a_user_does_not_use_are_there_for_others() {
    let world = World::start(&["--max-connections=20"], |exchange| async { exchange.ok("done").await }).await;
    let mut hoard = Vec::new();
    for _ in 0..PLACES {
        let mut one = within("a place", SOON, Client::connect(Protocol::H2, world.port, world.ca())).await.unwrap();
        let answer = within("an answer", SOON, one.send(world.get_request("/api"))).await.unwrap();
        answer.whole().await.unwrap();
        hoard.push(one);
    }
    let mut other = within("a place", SOON, Client::connect(Protocol::H1, world.port, world.ca())).await.unwrap();
    let answer = within("an answer", SOON, other.send(world.get_request("/api"))).await.unwrap();
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn no_line_of_the_log_is_as_long_as_a_client_likes() {
    let world = World::start(&[], |exchange| async { exchange.ok("done").await }).await;
    let long = "U".repeat(50_000);
    let mut client = world.wire().await;
    client.send(format!("{long} /x HTTP/1.1\r\nHost: x\r\n\r\n")).await.unwrap();
    assert_eq!(within("a refusal", SOON, client.response()).await.unwrap().status, 401);
    let of_another_issuer = world.jane().claim("iss", format!("https://{long}").into()).sign();
    let mut client = world.wire().await;
    let request = format!("GET /{long} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {of_another_issuer}\r\n\r\n");
    client.send(request).await.unwrap();
    assert_eq!(within("a refusal", SOON, client.response()).await.unwrap().status, 401);
    eventually("both are logged", SOON, || (world.log.text().matches("refused a request").count() == 2).then_some(()))
        .await;
    for line in world.log.text().lines() {
        assert!(line.len() < 2000, "{} characters", line.len());
    }
}
