//! A stop in good order: nobody is cut off who could be asked to leave.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::Response;
use serde_json::Value;
use testkit::apiserver::Exchange;
use testkit::client::{Client, Protocol};
use testkit::poll::{eventually, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::world::{SOON, World};

/// What `/ready` says.
async fn ready(world: &World) -> u16 {
    let mut stream = TcpStream::connect(("127.0.0.1", world.probe)).await.unwrap();
    stream.write_all(b"GET /ready HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text.split(' ').nth(1).unwrap().parse().unwrap()
}

fn stop(world: &mut World) -> JoinHandle<()> {
    world.stop.cancel();
    tokio::spawn(world.running.take().unwrap().finished())
}

/// Comes when nobody listens any more.
async fn unreachable(world: &World) {
    while Client::connect(Protocol::H1, world.port, world.ca()).await.is_ok() {}
}

#[tokio::test]
async fn the_probe_says_no_at_once_and_connections_are_still_taken_for_a_moment() {
    let mut world = World::start(&["--shutdown-grace-period=5s"], |exchange| async { exchange.ok("done").await }).await;
    within("readiness", SOON, async { while ready(&world).await != 200 {} }).await;
    let mut open = world.client(Protocol::H1).await;
    let finished = stop(&mut world);
    let began = Instant::now();
    within("the probe's no", Duration::from_millis(500), async { while ready(&world).await != 503 {} }).await;
    // A load balancer that has not heard of it yet still sends clients here.
    for protocol in Protocol::BOTH {
        let answer = world.get(protocol, "/api/v1/x").await;
        assert_eq!(answer.whole().await.unwrap().text(), "done");
    }
    let answer = open.send(world.get_request("/api/v1/x")).await.unwrap();
    assert_eq!(answer.whole().await.unwrap().text(), "done");
    within("the end of that", SOON, unreachable(&world)).await;
    within("the end", SOON, finished).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(world.log.lines("WARN", ""), Vec::<String>::new());
}

/// A watch whose events come in pieces, each after a pause, for as long as somebody takes them.
async fn in_pieces(mut exchange: Exchange, kind: &str, event: &[u8], piece: usize) {
    exchange.start(Response::builder().header("content-type", kind).body(()).unwrap()).await;
    loop {
        for piece in event.chunks(piece) {
            if !exchange.send(piece.to_vec()).await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    }
}

/// What watches over both protocols had got when the proxy had stopped.
async fn watched_until_the_stop(kind: &'static str, event: &'static [u8], piece: usize) -> Vec<Vec<u8>> {
    let answer = move |exchange| in_pieces(exchange, kind, event, piece);
    let mut world = World::start(&["--shutdown-grace-period=3s"], answer).await;
    let mut watches = Vec::new();
    for protocol in Protocol::BOTH {
        for _ in 0..5 {
            let mut client = world.client(protocol).await;
            let request = world.get_request("/api/v1/pods?watch=true");
            let mut answer = within("a watch", SOON, client.send(request)).await.unwrap();
            let got = Arc::new(Mutex::new(Vec::new()));
            let getting = got.clone();
            let watching = tokio::spawn(async move {
                while let Some(chunk) = answer.chunk().await? {
                    getting.lock().unwrap().extend_from_slice(&chunk);
                }
                drop(client);
                answer.whole().await
            });
            watches.push((watching, got));
        }
    }
    let has_two = |got: &Mutex<Vec<u8>>| got.lock().unwrap().len() > 2 * event.len();
    eventually("events", SOON, || watches.iter().all(|(_, got)| has_two(got)).then_some(())).await;
    let finished = stop(&mut world);
    let mut all = Vec::new();
    for (watching, got) in watches {
        within("the end of a watch", SOON, watching).await.unwrap().expect("an end in good order");
        all.push(std::mem::take(&mut *got.lock().unwrap()));
    }
    within("the end", SOON, finished).await.unwrap();
    all
}

#[tokio::test]
async fn a_watch_in_json_ends_after_a_whole_line() {
    let event = b"{\"type\":\"ADDED\",\"object\":{\"kind\":\"Pod\"}}\n";
    for bytes in watched_until_the_stop("application/json", event, 13).await {
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.ends_with('\n'), "{text:?}");
        for line in text.lines() {
            let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
            assert_eq!(event["type"], "ADDED");
        }
    }
}

#[tokio::test]
async fn a_watch_in_protobuf_ends_between_two_messages() {
    // Four bytes of length, and a message with line ends in it.
    let event = b"\x00\x00\x00\x16k8s\x00\n\x0b\n\x02v1\x12\x05Event\n\n\n\n\n";
    assert_eq!(event.len(), 4 + 0x16);
    for bytes in watched_until_the_stop("application/vnd.kubernetes.protobuf;stream=watch", event, 3).await {
        assert_eq!(bytes.len() % event.len(), 0, "{bytes:?}");
        assert!(bytes.chunks(event.len()).all(|message| message == event));
    }
}

#[tokio::test]
async fn a_watch_that_comes_to_no_end_is_broken_off_and_looks_it() {
    let mut world = World::start(&["--shutdown-grace-period=3s"], |mut exchange| async move {
        exchange.start(Response::builder().header("content-type", "application/json").body(()).unwrap()).await;
        exchange.send("{\"type\":\"BOOKMARK\"}\n{\"type\":\"ADD").await;
        exchange.silence().await;
    })
    .await;
    let mut watches = Vec::new();
    for protocol in Protocol::BOTH {
        let mut client = world.client(protocol).await;
        let mut answer = client.send(world.get_request("/api/v1/pods?watch=true")).await.unwrap();
        assert!(within("half an event", SOON, answer.read_until("ADD")).await);
        watches.push((answer, client));
    }
    let finished = stop(&mut world);
    for (answer, _client) in watches {
        assert!(within("the end", SOON, answer.whole()).await.is_err());
    }
    within("the end", SOON, finished).await.unwrap();
}

#[tokio::test]
async fn a_request_under_way_is_answered_and_an_upgraded_stream_gets_most_of_the_time() {
    let go = Arc::new(Notify::new());
    let waiting = go.clone();
    let mut world = World::start(&["--shutdown-grace-period=3s"], move |mut exchange| {
        let waiting = waiting.clone();
        async move {
            if exchange.seen().header("upgrade").is_empty() {
                waiting.notified().await;
                return exchange.ok("late").await;
            }
            let head = Response::builder().status(101).header("connection", "Upgrade").header("upgrade", "websocket");
            exchange.start(head.body(()).unwrap()).await;
            while let Ok(bytes) = exchange.read_raw().await
                && !bytes.is_empty()
            {
                exchange.write_raw(&bytes).await;
            }
        }
    })
    .await;
    let mut exec = world.wire().await;
    let head = format!(
        "GET /api/v1/namespaces/x/pods/y/exec HTTP/1.1\r\nHost: x\r\n{}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        world.bearer_line()
    );
    exec.send(head).await.unwrap();
    assert!(within("101", SOON, exec.until("\r\n\r\n")).await.unwrap().starts_with("HTTP/1.1 101 "));
    let mut client = world.client(Protocol::H1).await;
    let request = world.get_request("/api/v1/slow");
    let slow = tokio::spawn(async move { client.send(request).await.unwrap().whole().await });
    eventually("it is there", SOON, || (!world.apiserver.seen_at("/api/v1/slow").is_empty()).then_some(())).await;
    let finished = stop(&mut world);
    let began = Instant::now();
    within("the listener's end", SOON, unreachable(&world)).await;
    go.notify_one();
    assert_eq!(within("the answer", SOON, slow).await.unwrap().unwrap().text(), "late");
    exec.send("still there?").await.unwrap();
    within("an echo", SOON, exec.until("still there?")).await.unwrap();
    // And in the end it is closed in good order.
    assert_eq!(within("the end of the stream", SOON, exec.rest()).await.unwrap(), b"");
    within("the end", SOON, finished).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
