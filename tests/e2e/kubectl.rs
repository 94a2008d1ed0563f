//! Scenario 2: what people do with kubectl all day, over both upgrade protocols.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::LazyLock;
use std::time::Duration;

use serde_json::Value;

use crate::world::{Kubectl, proxy, shared, until};

fn admin() -> Kubectl {
    proxy().kubectl(&shared().token("admin@example.com", &["all-admins-corporate-device"]))
}

/// kubectl with WebSocket, and with SPDY, for exec, attach, cp and port-forward.
fn both_protocols() -> [(&'static str, Kubectl); 2] {
    let with = |value: &str| {
        admin().env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", value).env("KUBECTL_PORT_FORWARD_WEBSOCKETS", value)
    };
    [("WebSocket", with("true")), ("SPDY", with("false"))]
}

/// A pod that runs, with the default main process: it answers what is attached to it.
fn pod(name: &str) {
    let manifest = format!(
        "{{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{{\"name\":\"{name}\"}},\
         \"spec\":{{\"containers\":[{{\"name\":\"main\",\"image\":\"none\",\"stdin\":true}}]}}}}"
    );
    let kubectl = admin();
    assert!(kubectl.with_input(&["apply", "-f", "-"], manifest.as_bytes()).status.success());
    kubectl.ok(&["wait", "--for=condition=Ready", &format!("pod/{name}"), "--timeout=60s"]);
}

/// The pod that scenarios share which only run commands in it.
fn worker() -> &'static str {
    static WORKER: LazyLock<&str> = LazyLock::new(|| {
        pod("worker");
        "worker"
    });
    &WORKER
}

#[test]
fn whoami_shows_user_uid_groups_and_extra() {
    let world = shared();
    let text = proxy().kubectl(&world.token("myuser@example.com", &["a", "b"])).ok(&["auth", "whoami", "-o", "json"]);
    let review: Value = serde_json::from_str(&text).unwrap();
    let user = &review["status"]["userInfo"];
    assert_eq!(user["username"], "keyway:myuser@example.com");
    assert_eq!(user["groups"], serde_json::json!(["keyway:a", "keyway:b", "system:authenticated"]));
    assert_eq!(user["extra"]["authentication.kubernetes.io/credential-id"], serde_json::json!(["JTI=token-1"]));
    // The flags give no UID; a UID comes from the claim that an AuthenticationConfiguration names.
    assert_eq!(user["uid"], Value::Null);

    let config = world.dir.join("uid.yaml");
    let ca: String = world.issuer.ca_pem().lines().map(|line| format!("      {line}\n")).collect();
    let yaml = format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n- issuer:\n    url: {}\n    \
         audiences: [kubernetes]\n    certificateAuthority: |\n{ca}  claimMappings:\n    username: {{claim: email, prefix: \"keyway:\"}}\n    \
         groups: {{claim: roles, prefix: \"keyway:\"}}\n    uid: {{claim: sub}}\n",
        world.issuer.url()
    );
    std::fs::write(&config, yaml).unwrap();
    let with_uid = world.proxy_with(&[format!("--authentication-config={}", config.display())]);
    with_uid.wait_until_ready();
    let text = with_uid.kubectl(&world.token("myuser@example.com", &["a"])).ok(&["auth", "whoami", "-o", "json"]);
    let review: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(review["status"]["userInfo"]["uid"], "0d1f");
}

#[test]
fn apply_patch_and_delete() {
    let kubectl = admin();
    let manifest =
        b"{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"one\"},\"data\":{\"a\":\"1\"}}";
    assert!(kubectl.with_input(&["apply", "-f", "-"], manifest).status.success());
    assert!(kubectl.with_input(&["apply", "--server-side", "--force-conflicts", "-f", "-"], manifest).status.success());
    kubectl.ok(&["patch", "configmap", "one", "--type=merge", "-p", "{\"data\":{\"a\":\"2\"}}"]);
    assert_eq!(kubectl.ok(&["get", "configmap", "one", "-o", "jsonpath={.data.a}"]), "2");
    kubectl.ok(&["create", "namespace", "short-lived"]);
    kubectl.ok(&["create", "deployment", "web", "--image=none", "--replicas=2", "-n", "short-lived"]);
    kubectl.ok(&["rollout", "status", "deployment/web", "-n", "short-lived", "--timeout=60s"]);
    kubectl.ok(&["delete", "configmap", "one", "--wait"]);
    kubectl.ok(&["delete", "namespace", "short-lived", "--wait", "--timeout=60s"]);
    assert!(kubectl.refused(&["get", "namespace", "short-lived"]).contains("NotFound"));
}

#[test]
fn as_is_allowed_and_refused() {
    let support = proxy().kubectl(&shared().token("support@example.com", &["support"]));
    let whoami = |args: &[&str]| -> Value {
        let mut all = vec!["auth", "whoami", "-o", "json"];
        all.extend(args);
        serde_json::from_str::<Value>(&support.ok(&all)).unwrap()["status"]["userInfo"].clone()
    };
    let jane = whoami(&["--as=jane", "--as-group=auditors", "--as-uid=u-1", "--as-user-extra=reason=ticket-1"]);
    assert_eq!(jane["username"], "jane");
    assert_eq!(jane["uid"], "u-1");
    assert_eq!(jane["groups"], serde_json::json!(["auditors", "system:authenticated"]));
    assert_eq!(jane["extra"]["reason"], serde_json::json!(["ticket-1"]));
    // Who really asked.
    assert_eq!(jane["extra"]["originaluser.jetstack.io-user"], serde_json::json!(["keyway:support@example.com"]));
    assert_eq!(jane["extra"]["originaluser.jetstack.io-groups"], serde_json::json!(["keyway:support"]));
    // A service account keeps the groups that only the apiserver knows.
    let robot = whoami(&["--as=system:serviceaccount:default:robot"]);
    assert_eq!(
        robot["groups"],
        serde_json::json!(["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"])
    );

    for refused in [
        vec!["--as=bob"],
        vec!["--as=jane", "--as-group=system:masters"],
        vec!["--as=jane", "--as-uid=u-2"],
        vec!["--as=jane", "--as-user-extra=reason=ticket-2"],
        vec!["--as=jane", "--as-user-extra=other=x"],
        vec!["--as=system:serviceaccount:default:other"],
        vec!["--as=system:anonymous"],
    ] {
        let mut args = vec!["get", "pods"];
        args.extend(&refused);
        let said = support.refused(&args);
        assert!(said.contains("cannot impersonate resource"), "{refused:?}: {said}");
        assert!(said.contains("keyway:support@example.com"), "{refused:?}: {said}");
    }
    // Nobody can pretend to have been asked for by somebody else.
    support.refused(&["get", "pods", "--as=jane", "--as-user-extra=originaluser.jetstack.io-user=bob"]);
}

#[test]
fn exec_with_input_and_exit_code() {
    for (protocol, kubectl) in both_protocols() {
        let output = kubectl.run(&["exec", worker(), "--", "sh", "-c", "echo out; echo err >&2; exit 7"]);
        assert_eq!(output.status.code(), Some(7), "{protocol}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "out\n", "{protocol}");
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("err\n"), "{protocol}");
        // The input ends, the output goes on: a half-close.
        let output = kubectl.with_input(&["exec", "-i", worker(), "--", "sh", "-c", "cat; echo end"], b"line\n");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "line\nend\n", "{protocol}");
        assert!(output.status.success(), "{protocol}");
        // A megabyte through and back is the same megabyte.
        let big: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
        let output = kubectl.with_input(&["exec", "-i", worker(), "--", "cat"], &big);
        assert!(output.stdout == big, "{protocol}: {} bytes came back", output.stdout.len());
    }
}

#[test]
fn cp_both_ways() {
    for (protocol, kubectl) in both_protocols() {
        let here = tempfile::tempdir().unwrap();
        let content: String = (0..50_000).map(|n| format!("{n}\n")).collect();
        std::fs::write(here.path().join("up"), &content).unwrap();
        let up = here.path().join("up").display().to_string();
        let down = here.path().join("down").display().to_string();
        kubectl.ok(&["cp", &up, &format!("{}:copied-{protocol}", worker())]);
        kubectl.ok(&["cp", &format!("{}:copied-{protocol}", worker()), &down]);
        assert!(std::fs::read_to_string(down).unwrap() == content, "{protocol}");
    }
}

#[test]
fn attach_joins_the_main_process() {
    for (protocol, kubectl) in both_protocols() {
        let name = format!("attach-{}", protocol.to_lowercase());
        pod(&name);
        let mut child = kubectl
            .command(&["attach", "-i", "-q", &name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(b"hello\n").unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert_eq!(lines.find(|line| line.starts_with("got")).as_deref(), Some("got hello"), "{protocol}");
        drop(stdin);
        assert_eq!(lines.find(|line| line == "bye").as_deref(), Some("bye"), "{protocol}");
        assert!(child.wait().unwrap().success(), "{protocol}");
        // The end of the main process is in its log too.
        let log = admin().ok(&["logs", &name]);
        assert!(log.ends_with("got hello\nbye\n"), "{protocol}: {log}");
    }
}

#[test]
fn logs_follow_as_lines_come() {
    pod("talker");
    let kubectl = admin();
    let mut logs = kubectl.command(&["logs", "-f", "talker"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(logs.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert_eq!(lines.next().as_deref(), Some("ready"));
    let mut attach = kubectl
        .command(&["attach", "-i", "-q", "talker"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = attach.stdin.take().unwrap();
    for n in 0..3 {
        // The next line is said only after the one before has arrived: nothing is held back.
        writeln!(stdin, "line {n}").unwrap();
        assert_eq!(lines.next(), Some(format!("got line {n}")));
    }
    drop(stdin);
    assert_eq!(lines.next().as_deref(), Some("bye"));
    assert!(logs.wait().unwrap().success());
    attach.wait().unwrap();
}

#[test]
fn a_watch_shows_changes_as_they_come() {
    let kubectl = admin();
    kubectl.ok(&["create", "namespace", "watched"]);
    let mut watch = kubectl
        .command(&["get", "configmaps", "-n", "watched", "-w", "-o", "name"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines().map_while(Result::ok);
    for n in 0..3 {
        let name = format!("seen-{n}");
        kubectl.ok(&["create", "configmap", &name, "-n", "watched"]);
        let expected = format!("configmap/{name}");
        assert_eq!(lines.find(|line| *line == expected), Some(expected));
    }
    watch.kill().unwrap();
    watch.wait().unwrap();
    kubectl.ok(&["delete", "namespace", "watched", "--wait=false"]);
}

#[test]
fn port_forward_carries_bytes_and_half_closes() {
    for (protocol, kubectl) in both_protocols() {
        // A server "in the pod": it reads to the end, and only then answers.
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let remote = server.local_addr().unwrap().port();
        let serving = std::thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            write!(stream, "{} bytes", text.len()).unwrap();
        });
        let mut child = kubectl
            .command(&["port-forward", &format!("pod/{}", worker()), &format!(":{remote}")])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Kept to the end: kubectl says each connection, and dies if nobody listens.
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = said.next().unwrap().unwrap();
        let local: u16 = first.split("127.0.0.1:").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        let mut stream = until("the forwarded port answers", || {
            TcpStream::connect(("127.0.0.1", local)).map_err(|error| error.to_string())
        });
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(&vec![b'x'; 300_000]).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "300000 bytes", "{protocol}");
        serving.join().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
