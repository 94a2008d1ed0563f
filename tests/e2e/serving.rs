//! The process as operators meet it: flags, probes, log noise, addresses, the stop.

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::cluster::own_binary;
use testkit::raw::RawTls;

use crate::world::{proxy, replace, shared, until};

const ADMIN: &[&str] = &["all-admins-corporate-device"];

fn keywayd(args: &[&str]) -> (i32, String, String) {
    let output = Command::new(own_binary("keywayd").unwrap()).args(args).env_remove("KUBECONFIG").output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn wrong_flags_are_all_named_and_the_near_one_is_offered() {
    let (code, _, stderr) = keywayd(&["kube-proxy", "--oidc-isuer-url=https://x", "--secure-prot=1"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("--oidc-isuer-url; did you mean --oidc-issuer-url?"), "{stderr}");
    assert!(stderr.contains("did you mean --secure-port?"), "{stderr}");
    let (code, _, stderr) = keywayd(&[
        "kube-proxy",
        "--oidc-issuer-url=http://x",
        "--tls-cert-file=/nowhere",
        "--shutdown-grace-period=soon",
    ]);
    assert_eq!(code, 2);
    for fault in ["tls-private-key-file", "shutdown-grace-period", "oidc-client-id"] {
        assert!(stderr.contains(fault), "{fault}: {stderr}");
    }
    // An audit flag must not make anybody believe that there is an audit log.
    let (code, _, stderr) = keywayd(&["kube-proxy", "--audit-log-path=/var/log/audit"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("audit-log-path"), "{stderr}");
    assert_eq!(keywayd(&["kube-porxy"]).0, 2);
    assert_eq!(keywayd(&["kube-proxy", "--version"]).0, 0);
    let (code, stdout, _) = keywayd(&["kube-proxy", "--help"]);
    assert_eq!(code, 0);
    assert!(stdout.contains("--oidc-issuer-url"));
}

#[test]
fn called_by_the_old_name_prefixes_are_literal() {
    let world = shared();
    let link = world.dir.join("kube-oidc-proxy");
    std::os::unix::fs::symlink(own_binary("keywayd").unwrap(), &link).unwrap();
    let (port, probe) = (testkit::cluster::free_port().unwrap(), testkit::cluster::free_port().unwrap());
    let mut flags = world.serving_flags(port, probe);
    flags.remove(0);
    flags.extend([
        format!("--oidc-issuer-url={}", world.issuer.url()),
        "--oidc-client-id=kubernetes".into(),
        format!("--oidc-ca-file={}", world.dir.join("issuer-ca.pem").display()),
    ]);
    let process = testkit::cluster::Process::start(&world.dir, "kube-oidc-proxy-process", &link, &flags, &[]).unwrap();
    until("it is ready", || match crate::world::probe(probe, "/ready") {
        Some((200, _)) => Ok(()),
        other => Err(format!("{other:?} {}", process.log())),
    });
    let mut old = RawTls::connect(port, world.front.pem(), "http/1.1").unwrap();
    assert_eq!(username(&mut old, &world.token("a@example.com", &[])), "0d1f");
    // Under its own name the same flags mean what they mean to kube-apiserver, and it says so.
    let own = world.proxy_with(&flags[flags.len() - 3..]);
    own.wait_until_ready();
    let mut new = RawTls::connect(own.port, world.front.pem(), "http/1.1").unwrap();
    assert_eq!(username(&mut new, &world.token("a@example.com", &[])), format!("{}#0d1f", world.issuer.url()));
    assert!(own.log().contains("oidc-username-prefix"), "{}", own.log());
}

fn username(client: &mut RawTls, token: &str) -> String {
    let body = r#"{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}"#;
    let request = format!(
        "POST /apis/authentication.k8s.io/v1/selfsubjectreviews HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         Accept: application/json\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    client.send(request.as_bytes()).unwrap();
    let response = client.response().unwrap();
    assert_eq!(response.status, 201, "{}", response.body);
    let review: Value = serde_json::from_str(&response.body).unwrap();
    review["status"]["userInfo"]["username"].as_str().unwrap().to_owned()
}

#[test]
fn a_tcp_health_check_is_no_noise() {
    let world = shared();
    let proxy = world.proxy(&["-v=0"]);
    for _ in 0..20 {
        drop(TcpStream::connect(("127.0.0.1", proxy.port)).unwrap());
    }
    // One that speaks, but not TLS, is told so.
    let mut plain = TcpStream::connect(("127.0.0.1", proxy.port)).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut plain, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 400") && answer.contains("HTTPS"), "{answer}");
    proxy.process.lock().unwrap().signal("TERM");
    proxy.process.lock().unwrap().wait(Duration::from_secs(10)).expect("it ends");
    let log = proxy.log();
    assert!(!log.contains("probe:") && !log.contains("handshake failed") && !log.contains(" WARN "), "{log}");
    assert!(log.contains("tcp_probes=20"), "{log}");
}

#[test]
fn a_clean_run_logs_no_warning() {
    let world = shared();
    let proxy = world.proxy(&[]);
    proxy.kubectl(&world.token("admin@example.com", ADMIN)).ok(&["get", "namespaces"]);
    proxy.process.lock().unwrap().signal("TERM");
    proxy.process.lock().unwrap().wait(Duration::from_secs(10)).expect("it ends");
    let log = proxy.log();
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
}

#[test]
fn the_client_address_is_the_connections_unless_somebody_vouches() {
    let world = shared();
    let token = world.token("admin@example.com", ADMIN);
    let extra = |proxy: &crate::world::Proxy, before: &[u8], lines: &str| -> Result<Value, String> {
        let mut client = Whoami::connect(proxy.port, before)?;
        client.ask(&token, lines)
    };
    let plain = world.proxy(&["--extra-user-header-client-ip", "--extra-user-headers=key1=foo,key2=bar,key1=bar"]);
    let user = extra(&plain, b"", "X-Forwarded-For: 192.0.2.1\r\n").unwrap();
    assert_eq!(user["extra"]["remote-client-ip"], json!(["127.0.0.1"]));
    assert_eq!(user["extra"]["key1"], json!(["foo", "bar"]));
    assert_eq!(user["extra"]["key2"], json!(["bar"]));

    let forwarded = world.proxy(&["--extra-user-header-client-ip", "--forwarded-for-from=127.0.0.0/8"]);
    let user = extra(&forwarded, b"", "X-Forwarded-For: 198.51.100.1, 192.0.2.1\r\n").unwrap();
    assert_eq!(user["extra"]["remote-client-ip"], json!(["192.0.2.1"]));

    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\x12\x34\x1f\x90";
    let proxied = world.proxy(&["--extra-user-header-client-ip", "--proxy-protocol-from=127.0.0.1/32"]);
    let user = extra(&proxied, header, "X-Forwarded-For: 198.51.100.1\r\n").unwrap();
    assert_eq!(user["extra"]["remote-client-ip"], json!(["192.0.2.7"]));
    // From there the header is required, and elsewhere it is not TLS.
    assert!(extra(&proxied, b"", "").is_err());
    assert!(extra(&plain, header, "").is_err());
}

struct Whoami(RawTls);

impl Whoami {
    fn connect(port: u16, before: &[u8]) -> Result<Self, String> {
        RawTls::connect_after(port, shared().front.pem(), "http/1.1", before)
            .map(Self)
            .map_err(|error| error.to_string())
    }

    fn ask(&mut self, token: &str, lines: &str) -> Result<Value, String> {
        let body = r#"{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}"#;
        let request = format!(
            "POST /apis/authentication.k8s.io/v1/selfsubjectreviews HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
             Accept: application/json\r\nAuthorization: Bearer {token}\r\n{lines}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.0.send(request.as_bytes()).map_err(|error| error.to_string())?;
        let response = self.0.response().map_err(|error| error.to_string())?;
        let review: Value = serde_json::from_str(&response.body).map_err(|error| error.to_string())?;
        Ok(review["status"]["userInfo"].clone())
    }
}

#[test]
fn a_browsers_token_is_taken_from_the_subprotocol_and_removed() {
    let world = shared();
    let token = world.token("admin@example.com", ADMIN);
    let encoded = testkit::signing::encode(token.as_bytes());
    let ask = |protocols: &str, more: &str| {
        let mut client = RawTls::connect(proxy().port, world.front.pem(), "http/1.1").unwrap();
        let request = format!(
            "GET /api/v1/namespaces?watch=true HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Origin: https://x\r\nSec-WebSocket-Protocol: {protocols}\r\n{more}\r\n"
        );
        client.send(request.as_bytes()).unwrap();
        let mut head = String::new();
        while !head.contains("\r\n\r\n") {
            let bytes = client.receive().unwrap();
            assert!(!bytes.is_empty(), "{head}");
            head.push_str(&String::from_utf8_lossy(&bytes));
        }
        head
    };
    let head = ask(&format!("base64url.bearer.authorization.k8s.io.{encoded}, base64.binary.k8s.io"), "");
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(!head.contains(&encoded), "the token came back");
    // A token in both places, and a token alone.
    let both = ask(
        &format!("base64url.bearer.authorization.k8s.io.{encoded}, x"),
        &format!("Authorization: Bearer {token}\r\n"),
    );
    assert!(both.starts_with("HTTP/1.1 40"), "{both}");
    let alone = ask(&format!("base64url.bearer.authorization.k8s.io.{encoded}"), "");
    assert!(alone.starts_with("HTTP/1.1 40"), "{alone}");
}

#[test]
fn tokens_of_the_cluster_pass_through_as_themselves() {
    let world = shared();
    let service_account = {
        let cluster = world.cluster.lock().unwrap();
        cluster.service_account_token("default", "default", 600).unwrap()
    };
    // Not without being asked to.
    assert!(proxy().kubectl(&service_account).refused(&["auth", "whoami"]).contains("logged in"));
    // With a client certificate as the proxy's own credential, the worst case: kube-apiserver looks at it first.
    let certificate = {
        let cluster = world.cluster.lock().unwrap();
        let pair = cluster.ca().issue_client("proxy-by-certificate", &["system:masters"]);
        replace(&world.dir.join("by-cert.crt"), &pair.cert_pem);
        replace(&world.dir.join("by-cert.key"), &pair.key_pem);
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "x",
            "clusters": [{"name": "x", "cluster": {"server": cluster.url(), "certificate-authority": cluster.ca_file()}}],
            "users": [{"name": "x", "user": {"client-certificate": world.dir.join("by-cert.crt"), "client-key": world.dir.join("by-cert.key")}}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        })
    };
    let kubeconfig = world.dir.join("by-cert.kubeconfig");
    replace(&kubeconfig, &certificate.to_string());
    let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
    let passing = world.proxy(&["--token-passthrough", &kubeconfig]);
    let name = |proxy: &crate::world::Proxy, token: &str| {
        proxy.kubectl(token).ok(&["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"])
    };
    assert_eq!(name(&passing, &service_account), "system:serviceaccount:default:default");
    assert_eq!(name(&passing, &world.token("a@example.com", &[])), "keyway:a@example.com");
    assert!(passing.kubectl("made-up").refused(&["auth", "whoami"]).contains("logged in"));
    // --as is then between the user and kube-apiserver.
    let said = passing.kubectl(&service_account).refused(&["get", "--raw", "/api/v1/pods", "--as=admin"]);
    assert!(said.contains("system:serviceaccount:default:default"), "{said}");
    // Of another audience: refused.
    let audience = world.proxy(&["--token-passthrough", "--token-passthrough-audiences=elsewhere", &kubeconfig]);
    assert!(audience.kubectl(&service_account).refused(&["auth", "whoami"]).contains("logged in"));

    // Without impersonation the user's token goes on alone; this kube-apiserver does not know its issuer.
    let bare = world.proxy(&["--disable-impersonation", &kubeconfig]);
    let said = bare.kubectl(&world.token("admin@example.com", ADMIN)).refused(&["get", "namespaces"]);
    assert!(said.contains("logged in"), "{said}");
}

#[test]
fn a_low_limit_on_open_files_is_raised_and_where_it_cannot_be_bounds_the_connections() {
    let world = shared();
    // The soft limit of a shell is 1024 by habit; the proxy takes what the hard one allows.
    let started = |limits: &str| {
        let script = world.dir.join("limited.sh");
        std::fs::write(&script, format!("{limits}\nexec \"$@\"\n")).unwrap();
        let (port, probe) = (testkit::cluster::free_port().unwrap(), testkit::cluster::free_port().unwrap());
        let mut args = vec![script.display().to_string(), own_binary("keywayd").unwrap().display().to_string()];
        args.extend(world.serving_flags(port, probe));
        args.extend(world.issuer_flags());
        let process =
            testkit::cluster::Process::start(&world.dir, &format!("limited-{port}"), "/bin/sh".as_ref(), &args, &[])
                .unwrap();
        until("it is ready", || match crate::world::probe(probe, "/ready") {
            Some((200, _)) => Ok(()),
            other => Err(format!("{other:?} {}", process.log())),
        });
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", process.pid().unwrap())).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        let values: Vec<String> = line.split_whitespace().skip(3).take(2).map(str::to_owned).collect();
        (values, process.log())
    };
    let (limits, _) = started("ulimit -Sn 64");
    assert_eq!(limits[0], limits[1], "the soft limit is not the hard one");
    let (limits, log) = started("ulimit -Sn 500; ulimit -Hn 500");
    assert_eq!(limits, ["500", "500"]);
    assert!(log.contains("the hard limit on open files is too low for --max-connections"), "{log}");
}
