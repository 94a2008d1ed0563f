//! Upgraded connections: bytes pass both ways as they come, and each side learns how the other one ended.

use std::io::ErrorKind;

use http::{Response, Version};
use testkit::apiserver::Exchange;
use testkit::poll::within;
use testkit::wire::Wire;
use tokio::sync::mpsc;

use super::world::{OWN_TOKEN, SOON, World};

const EXEC: &str = "/api/v1/namespaces/x/pods/y/exec?command=sh&stdin=true";

fn head(world: &World) -> String {
    format!(
        "POST {EXEC} HTTP/1.1\r\nHost: x\r\n{}Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\
         X-Stream-Protocol-Version: v4.channel.k8s.io\r\nContent-Length: 0\r\n\r\n",
        world.bearer_line()
    )
}

async fn switch(exchange: &mut Exchange) {
    let head = Response::builder().status(101).header("connection", "Upgrade").header("upgrade", "SPDY/3.1");
    exchange.start(head.body(()).unwrap()).await;
}

/// A connection that was upgraded.
async fn upgraded(world: &World) -> Wire {
    let mut client = world.wire().await;
    client.send(head(world)).await.unwrap();
    let answer = within("101", SOON, client.until("\r\n\r\n")).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    client
}

#[tokio::test]
async fn bytes_pass_both_ways_also_those_that_came_early() {
    let world = World::start(&[], |mut exchange| async move {
        let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\
                    X-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\nthe server's first words;";
        exchange.write_raw(head.as_bytes()).await;
        while let Ok(bytes) = exchange.read_raw().await
            && !bytes.is_empty()
        {
            exchange.write_raw(&bytes).await;
        }
    })
    .await;
    let mut client = world.wire().await;
    client.send(head(&world) + "the client's first words;").await.unwrap();
    let answer = within("101", SOON, client.until("\r\n\r\n")).await.unwrap().to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 101 "), "{answer}");
    for line in ["connection: upgrade\r\n", "upgrade: spdy/3.1\r\n", "x-stream-protocol-version: v4.channel.k8s.io\r\n"]
    {
        assert!(answer.contains(line), "{answer}");
    }
    assert!(!answer.contains("content-length") && !answer.contains("transfer-encoding"), "{answer}");
    within("the server's words", SOON, client.until("the server's first words;")).await.unwrap();
    within("the client's words", SOON, client.until("the client's first words;")).await.unwrap();
    for size in [1, 100, 300_000] {
        client.send(format!("{};", "x".repeat(size))).await.unwrap();
        assert_eq!(within("an echo", SOON, client.until(";")).await.unwrap().len(), size + 1);
    }
    let seen = &world.apiserver.seen_at(EXEC)[0];
    assert_eq!((seen.version, seen.header("upgrade")), (Version::HTTP_11, "SPDY/3.1"));
    assert!(seen.header("connection").eq_ignore_ascii_case("upgrade"));
    assert_eq!(seen.header("authorization"), format!("Bearer {OWN_TOKEN}"));
    assert_eq!(seen.header("impersonate-user"), "k:jane");
}

#[tokio::test]
async fn a_half_close_of_the_client_lets_the_server_finish() {
    let world = World::start(&[], |mut exchange| async move {
        switch(&mut exchange).await;
        let mut input = Vec::new();
        while let Ok(bytes) = exchange.read_raw().await
            && !bytes.is_empty()
        {
            input.extend_from_slice(&bytes);
        }
        exchange.write_raw(format!("{} bytes, exit code 0", input.len()).as_bytes()).await;
        exchange.half_close().await;
    })
    .await;
    let mut client = upgraded(&world).await;
    client.send([b'x'; 1000]).await.unwrap();
    client.half_close().await.unwrap();
    let said = within("the end", SOON, client.rest()).await.unwrap();
    assert_eq!(String::from_utf8(said).unwrap(), "1000 bytes, exit code 0");
}

#[tokio::test]
async fn a_half_close_of_the_server_lets_the_client_finish() {
    let (told, mut heard) = mpsc::unbounded_channel();
    let world = World::start(&[], move |mut exchange| {
        let told = told.clone();
        async move {
            switch(&mut exchange).await;
            exchange.write_raw(b"that was all").await;
            exchange.half_close().await;
            let mut input = Vec::new();
            while let Ok(bytes) = exchange.read_raw().await
                && !bytes.is_empty()
            {
                input.extend_from_slice(&bytes);
            }
            told.send(input).unwrap();
        }
    })
    .await;
    let mut client = upgraded(&world).await;
    assert_eq!(within("the server's end", SOON, client.rest()).await.unwrap(), b"that was all");
    client.send("and this too").await.unwrap();
    client.half_close().await.unwrap();
    assert_eq!(within("the client's words", SOON, heard.recv()).await.unwrap(), b"and this too");
}

#[tokio::test]
async fn a_reset_of_the_server_is_a_reset_for_the_client() {
    let world = World::start(&[], |mut exchange| async move {
        switch(&mut exchange).await;
        exchange.write_raw(b"begun").await;
        while !exchange.read_raw().await.unwrap_or_default().ends_with(b"now") {}
        exchange.reset_connection();
    })
    .await;
    let mut client = upgraded(&world).await;
    within("a word", SOON, client.until("begun")).await.unwrap();
    client.send("now").await.unwrap();
    let error = within("the end", SOON, client.rest()).await.expect_err("a stream that broke off looks whole");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
}

#[tokio::test]
async fn a_reset_of_the_client_is_a_reset_for_the_server() {
    let (told, mut heard) = mpsc::unbounded_channel();
    let world = World::start(&[], move |mut exchange| {
        let told = told.clone();
        async move {
            switch(&mut exchange).await;
            exchange.write_raw(b"begun").await;
            told.send(exchange.read_raw().await.map(|bytes| bytes.len()).map_err(|error| error.kind())).unwrap();
        }
    })
    .await;
    let mut client = upgraded(&world).await;
    within("a word", SOON, client.until("begun")).await.unwrap();
    client.reset();
    let ended = within("the end", SOON, heard.recv()).await.unwrap();
    assert_eq!(ended, Err(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_refusal_of_an_upgrade_reaches_the_client() {
    let world = World::start(&[], |exchange| async {
        let head = Response::builder().status(403).header("content-type", "application/json");
        exchange.answer(head.body("{\"kind\":\"Status\",\"code\":403,\"reason\":\"Forbidden\"}").unwrap()).await;
    })
    .await;
    let mut client = world.wire().await;
    for _ in 0..2 {
        client.send(head(&world)).await.unwrap();
        let answer = within("the refusal", SOON, client.response()).await.unwrap();
        assert_eq!(answer.status, 403);
        assert!(answer.body.contains("\"reason\":\"Forbidden\""), "{}", answer.body);
    }
    assert_eq!(world.apiserver.seen_at(EXEC).len(), 2);
    // The proxy's own refusals come the same way, and kube-apiserver hears nothing of them.
    client.send(head(&world).replace("Bearer ", "Bearer x")).await.unwrap();
    assert_eq!(within("the refusal", SOON, client.response()).await.unwrap().status, 401);
    assert_eq!(world.apiserver.seen_at(EXEC).len(), 2);
}

#[tokio::test]
async fn an_upgrade_whose_connection_breaks_is_never_repeated() {
    let world = World::start(&[], |exchange| async { exchange.drop_connection() }).await;
    // A command runs, whatever the method: SPDY says POST, WebSocket GET.
    for (n, method) in ["POST", "GET"].into_iter().enumerate() {
        let mut client = world.wire().await;
        client.send(head(&world).replacen("POST", method, 1)).await.unwrap();
        assert_eq!(within("the refusal", SOON, client.response()).await.unwrap().status, 502, "{method}");
        assert_eq!(world.apiserver.seen_at(EXEC).len(), n + 1, "{method}");
    }
}
