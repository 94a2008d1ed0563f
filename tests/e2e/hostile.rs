//! Scenario 3: hostile clients. Whatever they send, kube-apiserver sees them as who their token says, or not at all.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::issuer::sign_raw;
use testkit::raw::{RawResponse, RawTls, frames};
use testkit::signing::{Algorithm, SigningKey};

use crate::world::{Proxy, World, proxy, shared, until};

const USER: &str = "mallory@example.com";

fn connect(proxy: &Proxy) -> RawTls {
    RawTls::connect(proxy.port, shared().front.pem(), "http/1.1").unwrap()
}

/// Asks kube-apiserver who it thinks is asking, with these header lines more.
fn who_am_i(proxy: &Proxy, token: &str, lines: &str) -> Result<RawResponse, String> {
    let body = r#"{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}"#;
    let request = format!(
        "POST /apis/authentication.k8s.io/v1/selfsubjectreviews HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         Accept: application/json\r\nAuthorization: Bearer {token}\r\n{lines}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut client = connect(proxy);
    client.send(request.as_bytes()).map_err(|error| error.to_string())?;
    client.response().map_err(|error| error.to_string())
}

fn assert_is_mallory(response: &RawResponse, what: &str) {
    assert_eq!(response.status, 201, "{what}: {}", response.body);
    let user = &serde_json::from_str::<Value>(&response.body).unwrap()["status"]["userInfo"];
    assert_eq!(user["username"], format!("keyway:{USER}"), "{what}");
    assert_eq!(user["groups"], json!(["keyway:nothing", "system:authenticated"]), "{what}");
    assert_eq!(user["uid"], Value::Null, "{what}");
    let extra: Vec<&String> = user["extra"].as_object().unwrap().keys().collect();
    assert_eq!(extra, ["authentication.kubernetes.io/credential-id"], "{what}");
}

#[test]
fn no_header_makes_anyone_another_user() {
    let token = shared().token(USER, &["nothing"]);
    assert_is_mallory(&who_am_i(proxy(), &token, "").unwrap(), "nothing");
    for lines in [
        "X-Remote-User: admin\r\nX-Remote-Group: system:masters\r\nX-Remote-Extra-Scopes: all\r\n",
        "X_Remote_User: admin\r\nx-remote-group: system:masters\r\n",
        "impersonate_user: admin\r\nIMPERSONATE_GROUP: system:masters\r\n",
        "Connection: Impersonate-User, Impersonate-Group, Authorization, Impersonate-Extra-Foo\r\n",
        "Connection: keep-alive, impersonate-group\r\nConnection: impersonate-uid\r\n",
        "Audit-ID: 00000000-0000-0000-0000-000000000000\r\n",
        "X-Forwarded-For: 10.0.0.1\r\nForwarded: for=10.0.0.1\r\n",
        "Trailer: Impersonate-User\r\n",
        "Keep-Alive: impersonate-user\r\nProxy-Authorization: Basic YWRtaW46YWRtaW4=\r\n",
        "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
    ] {
        assert_is_mallory(&who_am_i(proxy(), &token, lines).unwrap(), lines);
    }
    // These ask for another identity openly, or are not HTTP: refused.
    for (lines, statuses) in [
        ("Impersonate-User: admin\r\n", &[403][..]),
        ("iMPERSONATE-uSER: admin\r\nImpersonate-Group: system:masters\r\n", &[403]),
        ("Impersonate-Group: system:masters\r\n", &[400, 403]),
        ("Impersonate-Uid: 1\r\n", &[400, 403]),
        ("Impersonate-Extra-Scopes: all\r\n", &[400, 403]),
        ("Impersonate-User: \r\n", &[400, 403]),
        ("Impersonate-User: admin\r\nImpersonate-User: jane\r\n", &[400, 403]),
        ("Impersonate-Something: x\r\n", &[400, 403]),
        ("Connection: impersonate-user\r\nImpersonate-User: admin\r\n", &[201, 400, 403]),
        ("Impersonate-User : admin\r\n", &[400]),
        ("X-A: b\r\n Impersonate-User: admin\r\n", &[400]),
        ("X-A: b\r\n\tImpersonate-User: admin\r\n", &[400]),
        ("Authorization: Bearer other\r\n", &[400, 401]),
        ("Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.YWJj, x\r\n", &[400, 401]),
        ("Bad\0Name: x\r\n", &[400]),
    ] {
        match who_am_i(proxy(), &token, lines) {
            Ok(response) if response.status == 201 => {
                assert!(statuses.contains(&201), "{lines}");
                assert_is_mallory(&response, lines);
            }
            Ok(response) => {
                assert!(statuses.contains(&response.status), "{lines}: {} {}", response.status, response.body)
            }
            // Closed without an answer: as good as 400.
            Err(_closed) => assert!(statuses.contains(&400), "{lines}"),
        }
    }
}

#[test]
fn nothing_is_smuggled_past_the_proxy() {
    let token = shared().token(USER, &["nothing"]);
    let inner = "GET /api/v1/smuggled HTTP/1.1\r\nHost: x\r\nImpersonate-User: admin\r\n\r\n";
    for head in [
        format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", inner.len() + 5),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {}\r\n", inner.len() + 5),
        "Transfer-Encoding: xchunked\r\n".to_owned(),
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n".to_owned(),
        "Transfer-Encoding : chunked\r\n".to_owned(),
        "Content-Length: 5\r\nContent-Length: 6\r\n".to_owned(),
        "Content-Length: +5\r\n".to_owned(),
    ] {
        let request = format!(
            "POST /apis/authentication.k8s.io/v1/selfsubjectreviews HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\n{head}\r\n0\r\n\r\n{inner}"
        );
        let mut client = connect(proxy());
        client.send(request.as_bytes()).unwrap();
        client.set_read_timeout(Duration::from_millis(500)).unwrap();
        let answered = String::from_utf8_lossy(&client.receive_all()).into_owned();
        // At most the inner request is a second request of this client, without a token: a 401 of ours.
        for status in answered.lines().filter(|line| line.starts_with("HTTP/1.1 ")) {
            assert!(!status.contains(" 20"), "{head}: {answered}");
        }
    }
    let log = shared().cluster.lock().unwrap().audit_log().unwrap();
    assert!(!log.contains("smuggled"), "a smuggled request reached kube-apiserver");
}

#[test]
fn a_trailer_is_not_a_header() {
    let token = shared().token(USER, &["nothing"]);
    let body = r#"{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}"#;
    let request = format!(
        "POST /apis/authentication.k8s.io/v1/selfsubjectreviews HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nAccept: application/json\r\nTrailer: Impersonate-User\r\n\
         Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\nImpersonate-User: admin\r\nX-Remote-User: admin\r\n\r\n",
        body.len()
    );
    let mut client = connect(proxy());
    client.send(request.as_bytes()).unwrap();
    assert_is_mallory(&client.response().unwrap(), "trailers");
}

#[test]
fn paths_arrive_as_they_were_sent() {
    let token = shared().token("admin@example.com", &["all-admins-corporate-device"]);
    for path in [
        "/api/v1/namespaces/default/../../../../../paths-1",
        "/api/v1/namespaces/default/pods/..%2f..%2fsecrets/paths-2",
        "//api//v1/paths-3",
        "/api/v1/%2e%2e/paths-4?a=%00&b=../..",
        "/api/v1/namespaces/default/services/http:x:/proxy/a/../b/%2F/paths-5",
    ] {
        let mut client = connect(proxy());
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
        client.send(request.as_bytes()).unwrap();
        let _any_answer = client.response().unwrap();
        until("the audit log has the path unchanged", || {
            let log = shared().cluster.lock().unwrap().audit_log().unwrap();
            let mut events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            events.any(|event| event["requestURI"] == path).then_some(()).ok_or_else(|| path.to_owned())
        });
    }
}

/// Tokens that must not count, each with what is wrong with it.
fn bad_tokens(world: &World) -> Vec<(&'static str, String)> {
    let good = || world.claims(USER, &["nothing"]);
    let key = world.issuer.key();
    let other = std::sync::Arc::new(SigningKey::generate(Algorithm::Rs256, key.kid()));
    let hmac = |secret: &[u8]| {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
        move |message: &[u8]| aws_lc_rs::hmac::sign(&key, message).as_ref().to_vec()
    };
    let public = key.public_bytes();
    let claims = |text: &str| {
        let payload = format!(
            "{{\"iss\":\"{}\",\"aud\":\"kubernetes\",\"exp\":{},{text}}}",
            world.issuer.url(),
            testkit::issuer::now() + 600
        );
        sign_raw(&json!({"alg": "RS256", "kid": key.kid()}).to_string(), &payload, |message| key.sign(message))
    };
    let mut altered = good().sign();
    let middle = altered.len() / 2;
    let letter = if altered.as_bytes()[middle] == b'A' { "B" } else { "A" };
    altered.replace_range(middle..=middle, letter);
    vec![
        ("altered", altered),
        ("of another key", good().key(other).sign()),
        ("expired", good().expires_in(-3600).sign()),
        ("without exp", good().without("exp").sign()),
        ("not yet valid", good().claim("nbf", json!(testkit::issuer::now() + 3600)).sign()),
        ("of another audience", good().aud("another-cluster").sign()),
        ("without audience", good().without("aud").sign()),
        ("of another issuer", good().claim("iss", json!("https://other.example.com")).sign()),
        ("alg none", good().header("alg", json!("none")).sign_with(|_| Vec::new())),
        ("alg None", good().header("alg", json!("None")).sign_with(|_| Vec::new())),
        ("HS256 with the public key", good().header("alg", json!("HS256")).sign_with(hmac(&public))),
        ("HS256 with the JWK", good().header("alg", json!("HS256")).sign_with(hmac(key.jwk().to_string().as_bytes()))),
        ("alg swapped to ES256", good().header("alg", json!("ES256")).sign()),
        ("alg swapped to PS256", good().header("alg", json!("PS256")).sign()),
        ("alg that is not allowed", good().header("alg", json!("RS512")).sign()),
        ("crit", good().header("crit", json!(["exp"])).sign()),
        ("b64", good().header("b64", json!(false)).header("crit", json!(["b64"])).sign()),
        ("nested", good().header("cty", json!("JWT")).sign()),
        ("unknown kid", good().header("kid", json!("nobody")).sign()),
        ("duplicate email", claims("\"email\":\"mallory@example.com\",\"email\":\"admin@example.com\"")),
        ("no email", good().without("email").sign()),
        ("unverified email", good().claim("email_verified", json!(false)).sign()),
        ("email that is a list", good().claim("email", json!([USER])).sign()),
        ("empty email", good().claim("email", json!("")).sign()),
        ("newline in the email", good().claim("email", json!("a\r\nImpersonate-Group: system:masters")).sign()),
        ("blank group", good().claim("roles", json!([" "])).sign()),
        ("group with a newline", good().claim("roles", json!(["a\nb"])).sign()),
        ("groups that are numbers", good().claim("roles", json!([1])).sign()),
        ("padding", format!("{}=", good().sign())),
        ("four parts", format!("{}.x", good().sign())),
        ("two parts", "a.b".to_owned()),
        ("nothing", ".".to_owned()),
    ]
}

#[test]
fn forged_tokens_are_401_with_a_reason_and_no_secrets() {
    for (what, token) in bad_tokens(shared()) {
        let response = who_am_i(proxy(), &token, "").unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(response.status, 401, "{what}: {}", response.body);
        assert!(response.head.to_ascii_lowercase().contains("www-authenticate: bearer"), "{what}");
        let status: Value = serde_json::from_str(&response.body).unwrap();
        assert_eq!(status["kind"], "Status", "{what}");
        assert!(!status["message"].as_str().unwrap().is_empty(), "{what}");
    }
    let log = proxy().log();
    for (what, token) in bad_tokens(shared()) {
        if let Some(signature) = token.split('.').nth(2).filter(|part| part.len() > 20) {
            assert!(!log.contains(signature), "{what}: the log holds a token");
        }
    }
}

#[test]
fn system_identities_do_not_come_from_claims() {
    let world = shared();
    let bare = world.proxy_with(&[
        format!("--oidc-issuer-url={}", world.issuer.url()),
        "--oidc-client-id=kubernetes".into(),
        format!("--oidc-ca-file={}", world.dir.join("issuer-ca.pem").display()),
        "--oidc-username-claim=name".into(),
        "--oidc-username-prefix=-".into(),
        "--oidc-groups-claim=roles".into(),
        "--allow-reserved-groups=system:monitoring".into(),
    ]);
    bare.wait_until_ready();
    let ask = |name: &str, groups: &[&str]| {
        let token = world.claims(USER, groups).claim("name", json!(name)).sign();
        who_am_i(&bare, &token, "").unwrap().status
    };
    assert_eq!(ask("jane", &["a"]), 201);
    assert_eq!(ask("jane", &["system:monitoring"]), 201);
    assert_eq!(ask("system:admin", &["a"]), 401);
    assert_eq!(ask("system:serviceaccount:kube-system:default", &[]), 401);
    assert_eq!(ask("jane", &["system:masters"]), 401);
    assert_eq!(ask("jane", &["a", "system:nodes"]), 401);
}

#[test]
fn floods_and_dawdlers_do_not_slow_a_normal_client() {
    let world = shared();
    let proxy = world.proxy(&["--header-timeout=2s", "--idle-timeout=4s"]);
    let (port, ca) = (proxy.port, world.front.pem().to_owned());
    let stop = Instant::now() + Duration::from_secs(8);
    let token = world.token(USER, &["any-employee-personal-device"]);
    let mut hostile: Vec<std::thread::JoinHandle<()>> = Vec::new();
    for kind in 0..7_u8 {
        let (ca, token) = (ca.clone(), token.clone());
        hostile.push(std::thread::spawn(move || {
            while Instant::now() < stop {
                attack(kind, port, &ca, &token, stop);
            }
        }));
    }
    let kubectl = proxy.kubectl(&token);
    let mut slowest = Duration::ZERO;
    while Instant::now() < stop {
        let began = Instant::now();
        kubectl.ok(&["get", "pods", "--request-timeout=5s"]);
        slowest = slowest.max(began.elapsed());
    }
    for thread in hostile {
        thread.join().unwrap();
    }
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    // A client that dawdles is shut out: its connection ends although it keeps sending.
    let mut slow = RawTls::connect(port, &ca, "http/1.1").unwrap();
    let began = Instant::now();
    while slow.send(b"X").is_ok() {
        assert!(began.elapsed() < Duration::from_secs(15), "a header may take for ever");
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// One attack by its number, until it is shut out.
fn attack(kind: u8, port: u16, ca: &str, token: &str, stop: Instant) {
    let bearer = format!("Bearer {token}");
    let request =
        [(":method", "GET"), (":scheme", "https"), (":authority", "x"), (":path", "/api"), ("authorization", &bearer)];
    if kind == 0 {
        // Connections that are opened and forgotten.
        let open: Vec<_> = (0..50).filter_map(|_| std::net::TcpStream::connect(("127.0.0.1", port)).ok()).collect();
        std::thread::sleep(Duration::from_millis(200));
        drop(open);
        return;
    }
    let Ok(mut client) = RawTls::connect(port, ca, "h2") else { return };
    if client.send(&frames::preface()).is_err() {
        return;
    }
    let mut stream = 1;
    while Instant::now() < stop {
        let bytes = match kind {
            // Rapid reset (CVE-2023-44487).
            1 => [frames::headers(stream, &request, true), frames::reset(stream)].concat(),
            // CONTINUATION without an end (CVE-2024-27316).
            2 if stream == 1 => frames::frame(0x1, 0, 1, &frames::block(&request)),
            2 => frames::frame(0x9, 0, 1, &frames::block(&[("x-filler", &"a".repeat(4000))])),
            // PING and SETTINGS that want answers.
            3 => frames::frame(0x6, 0, 0, &[0; 8]),
            4 => frames::frame(0x4, 0, 0, &[0, 4, 0, 1, 0, 0]),
            // Pseudo-headers twice, in capitals, and a header that HTTP/2 does not have.
            5 => frames::headers(
                stream,
                &[request.as_slice(), &[(":path", "/other"), ("Upper", "x"), ("connection", "close")]].concat(),
                true,
            ),
            // Requests whose answers are never read.
            _ => frames::headers(stream, &request, true),
        };
        if client.send(&bytes).is_err() {
            return;
        }
        stream += 2;
    }
}
