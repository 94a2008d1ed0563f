//! A kube-apiserver that cannot be reached, or takes connections and says nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, Request};
use testkit::apiserver::{Door, Settings};
use testkit::client::Protocol;
use testkit::poll::{eventually, within};
use tokio::sync::Notify;

use super::world::{SOON, World, status_of};

/// A request may wait for 15 s.
const PATIENCE: Duration = Duration::from_secs(20);

/// The server says nothing more, neither to whoever connects nor on the connections that were open.
async fn fall_silent(world: &World) {
    eventually("the proxy has connected", SOON, || (!world.apiserver.seen().is_empty()).then_some(())).await;
    world.apiserver.set_door(Door::Silent);
    world.apiserver.drop_connections();
    eventually("all is closed", SOON, || world.apiserver.connections().is_empty().then_some(())).await;
}

#[tokio::test]
async fn a_server_that_never_answers_tls_is_a_503_in_time_and_forgiven_at_once() {
    let world = World::start(&[], |exchange| async { exchange.ok("done").await }).await;
    fall_silent(&world).await;
    let began = Instant::now();
    let (mut one, mut two) = (world.client(Protocol::H1).await, world.client(Protocol::H2).await);
    let mut exec = world.wire().await;
    let head = format!(
        "GET /api/v1/namespaces/x/pods/y/exec HTTP/1.1\r\nHost: x\r\n{}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        world.bearer_line()
    );
    exec.send(head).await.unwrap();
    let all = async {
        let (one, two) = (one.send(world.get_request("/api/v1/x")), two.send(world.get_request("/api/v1/y/proxy/")));
        tokio::join!(one, two, exec.response())
    };
    let (one, two, upgrade) = within("the refusals", PATIENCE, all).await;
    assert_eq!(upgrade.unwrap().status, 503);
    assert!(began.elapsed() > Duration::from_secs(5), "a restart of kube-apiserver is waited for");
    for answer in [one.unwrap(), two.unwrap()] {
        assert_eq!(answer.header("retry-after"), "", "it was waited for already");
        let status = status_of(answer).await;
        assert_eq!((&status["code"], &status["reason"]), (&503.into(), &"ServiceUnavailable".into()));
    }
    world.apiserver.set_door(Door::Open);
    for path in ["/api/v1/x", "/api/v1/y/proxy/"] {
        let again = Instant::now();
        assert_eq!(world.get(Protocol::H1, path).await.status, 200);
        assert!(again.elapsed() < Duration::from_secs(3), "{:?}", again.elapsed());
    }
}

#[tokio::test]
async fn a_dial_that_stalls_holds_up_nobody_who_has_room_elsewhere() {
    let end = Arc::new(Notify::new());
    let ending = end.clone();
    let settings = Settings { max_streams: 2, ..Settings::default() };
    let world = World::with(settings, &[], move |exchange| {
        let ending = ending.clone();
        async move {
            if exchange.target().starts_with("/api/v1/held") {
                ending.notified().await;
            }
            exchange.ok("done").await;
        }
    })
    .await;
    world.get(Protocol::H2, "/api/v1/x").await.whole().await.unwrap();
    world.apiserver.set_door(Door::Silent);
    let mut held = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let (mut client, request) = (world.client(Protocol::H2).await, world.get_request("/api/v1/held"));
        held.spawn(async move { client.send(request).await });
    }
    eventually("both are there", SOON, || (world.apiserver.seen_at("/api/v1/held").len() == 2).then_some(())).await;
    // There is no room for this one, so there is a dial.
    let mut client = world.client(Protocol::H2).await;
    let (upload, waits) =
        client.upload(world.request(Method::DELETE, "/api/v1/waits").body(()).unwrap()).await.unwrap();
    upload.end().await;
    eventually("the dial stalls", SOON, || (world.apiserver.accepted() == 2).then_some(())).await;
    // What comes behind it is refused without a look at kube-apiserver, so by now it waits.
    let nobody = Request::get("https://localhost/api").body("").unwrap();
    assert_eq!(within("a refusal", SOON, client.send(nobody)).await.unwrap().status, 401);
    end.notify_one();
    assert_eq!(within("the end", SOON, held.join_next()).await.unwrap().unwrap().unwrap().status, 200);
    // Whoever waits for the dial takes the room that was left, and so do others.
    let at_once = Duration::from_secs(3);
    let waited = within("who waited", at_once, waits).await.unwrap().unwrap();
    assert_eq!(waited.whole().await.unwrap().text(), "done");
    for _ in 0..5 {
        let answer = within("an answer", at_once, world.get(Protocol::H2, "/api/v1/x")).await;
        assert_eq!(answer.whole().await.unwrap().text(), "done");
    }
    assert_eq!(world.apiserver.connections().len(), 1);
}

#[tokio::test]
async fn a_server_that_comes_back_is_reached_by_those_who_wait() {
    let world = World::start(&[], |exchange| async { exchange.ok("done").await }).await;
    fall_silent(&world).await;
    let mut waiting = tokio::task::JoinSet::new();
    for n in 0..30 {
        let (mut client, request) = (world.client(Protocol::BOTH[n % 2]).await, world.get_request("/api/v1/x"));
        waiting.spawn(async move { client.send(request).await });
    }
    eventually("the dial stalls", SOON, || (world.apiserver.accepted() > 1).then_some(())).await;
    world.apiserver.set_door(Door::Open);
    while let Some(answer) = within("an answer", SOON, waiting.join_next()).await {
        assert_eq!(answer.unwrap().unwrap().status, 200);
    }
}
