//! Scenario 5, and what streams must do: many at once, large ones, early ends.

use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;
use testkit::cluster::Parts;
use testkit::h2client::H2Client;

use crate::world::{World, proxy, runtime, shared, until};

const ADMIN: &[&str] = &["all-admins-corporate-device"];

#[test]
fn three_hundred_watches_and_kubectl_over_one_connection() {
    let world = shared();
    let token = world.token("admin@example.com", ADMIN);
    let proxy = proxy();
    runtime().block_on(async {
        let client = H2Client::connect(proxy.port, world.front.pem(), &token).await.unwrap();
        let mut watches = Vec::new();
        for n in 0..300 {
            let path = format!("/api/v1/namespaces/many/configmaps?watch=true&timeoutSeconds=300&labelSelector=n!={n}");
            let watching = tokio::time::timeout(Duration::from_secs(20), client.get(&path)).await;
            watches.push(watching.unwrap_or_else(|_| panic!("watch {n} stalls")).unwrap());
        }
        // Requests on the same connection, while all the watches are open.
        for _ in 0..20 {
            let answered = tokio::time::timeout(Duration::from_secs(5), client.get("/version")).await;
            let response = answered.expect("a request beside the watches stalls").unwrap();
            assert_eq!(response.status(), 200);
        }
        // And from kubectl, which makes the object that every watch must see.
        let kubectl = proxy.kubectl(&token);
        tokio::task::spawn_blocking(move || {
            kubectl.ok(&["create", "namespace", "many"]);
            kubectl.ok(&["create", "configmap", "seen-by-all", "-n", "many"]);
        })
        .await
        .unwrap();
        for (n, watch) in watches.iter_mut().enumerate() {
            let seen = tokio::time::timeout(Duration::from_secs(20), H2Client::read_until(watch, "seen-by-all")).await;
            assert!(seen.is_ok_and(|found| found), "watch {n} has not seen it");
        }
    });
}

#[test]
fn a_hundred_megabytes_pass_without_being_held() {
    let world = World::start(Parts::Api);
    let token = world.token("admin@example.com", ADMIN);
    let proxy = world.proxy(&[]);
    let kubectl = proxy.kubectl(&token);
    // 130 objects of 0.8 MB: a list of more than 100 MB.
    let blob = "x".repeat(800_000);
    let cluster = world.cluster.lock().unwrap();
    for n in 0..130 {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("large-{n}")}, "data": {"blob": blob}});
        let file = world.dir.join("large.json");
        std::fs::write(&file, object.to_string()).unwrap();
        cluster.admin(&["create", "-f", &file.display().to_string()]).unwrap();
    }
    drop(cluster);
    let resident = || resident_kib(proxy.process.lock().unwrap().pid().unwrap());
    kubectl.ok(&["get", "--raw", "/version"]);
    let before = resident();
    // A reader that takes it slowly: whatever the proxy holds, it holds now.
    let mut child = kubectl
        .command(&["get", "--raw", "/api/v1/namespaces/default/configmaps"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut buffer = vec![0; 1 << 20];
    let (mut total, mut most) = (0, before);
    loop {
        let length = stdout.read(&mut buffer).unwrap();
        if length == 0 {
            break;
        }
        total += length;
        most = most.max(resident());
    }
    assert!(child.wait().unwrap().success());
    assert!(total > 100_000_000, "{total}");
    assert!(most < before + 24 * 1024, "{before} KiB before, {most} KiB at most");
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_client_that_leaves_takes_its_stream_with_it() {
    let world = World::start(Parts::Api);
    let token = world.token("admin@example.com", ADMIN);
    let proxy = world.proxy(&[]);
    let watches = || {
        let metrics = world.cluster.lock().unwrap().admin(&["get", "--raw", "/metrics"]).unwrap();
        let running = metrics.lines().find(|line| {
            line.starts_with("apiserver_longrunning_requests{")
                && line.contains("\"configmaps\"")
                && line.contains("\"WATCH\"")
        });
        running.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    let before = watches();
    runtime().block_on(async {
        let client = H2Client::connect(proxy.port, world.front.pem(), &token).await.unwrap();
        let path = "/api/v1/namespaces/default/configmaps?watch=true&timeoutSeconds=300";
        let mut open = Vec::new();
        for _ in 0..10 {
            open.push(client.get(path).await.unwrap());
        }
        until("kube-apiserver has the watches", || {
            (watches() == before + 10).then_some(()).ok_or_else(|| watches().to_string())
        });
        // Five are reset one by one, the others go with their connection.
        open.truncate(5);
        until("five watches are gone", || (watches() == before + 5).then_some(()).ok_or_else(|| watches().to_string()));
        drop((open, client));
    });
    until("all watches are gone", || (watches() == before).then_some(()).ok_or_else(|| watches().to_string()));
}

#[test]
fn a_stop_ends_watches_between_events_and_the_process_in_time() {
    let world = World::start(Parts::Api);
    let token = world.token("admin@example.com", ADMIN);
    let proxy = world.proxy(&["--shutdown-grace-period=10s"]);
    let kubectl = proxy.kubectl(&token);
    let watch = kubectl
        .command(&["get", "--raw", "/api/v1/namespaces?watch=true"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("the watch is there", || {
        let log = world.cluster.lock().unwrap().audit_log().unwrap();
        log.contains("namespaces?watch=true").then_some(()).ok_or("not yet".to_owned())
    });
    let began = Instant::now();
    proxy.process.lock().unwrap().signal("TERM");
    let output = watch.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().count() > 2 && text.ends_with('\n'));
    for line in text.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    let status = proxy.process.lock().unwrap().wait(Duration::from_secs(15)).expect("the process ends");
    assert!(status.success(), "{}", proxy.log());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(proxy.log().contains("not ready any more"));
}
