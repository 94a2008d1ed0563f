//! Scenario 4: everything that rotates, restarts or goes away, under a running load. What can be repeated does not fail.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use testkit::cluster::Parts;
use testkit::issuer::Mood;
use testkit::raw::RawTls;
use testkit::signing::Algorithm;

use crate::world::{Kubectl, Proxy, World, runtime, until};

const ADMIN: &[&str] = &["all-admins-corporate-device"];

/// kubectl, again and again, on two threads, until it is stopped; every failure is kept.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    fn start(kubectl: &Kubectl) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let threads = (0..2)
            .map(|_| {
                let (kubectl, stop, done) = (kubectl.clone(), stop.clone(), done.clone());
                std::thread::spawn(move || {
                    let mut failures = Vec::new();
                    while !stop.load(Ordering::SeqCst) {
                        let output = kubectl.run(&["get", "--raw", "/api/v1/namespaces/default"]);
                        if !output.status.success() {
                            failures.push(String::from_utf8_lossy(&output.stderr).into_owned());
                        }
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                    failures
                })
            })
            .collect();
        let load = Self { stop, done, threads };
        load.wait_for_more();
        load
    }

    /// Waits until both threads have gone round since now.
    fn wait_for_more(&self) {
        let before = self.done.load(Ordering::SeqCst);
        until("the load goes on", || {
            let done = self.done.load(Ordering::SeqCst);
            (done >= before + 6).then_some(()).ok_or_else(|| format!("{done} requests"))
        });
    }

    fn finish(self) {
        self.wait_for_more();
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads {
            let failures = thread.join().unwrap();
            assert!(failures.is_empty(), "{failures:?}");
        }
    }
}

fn watch(kubectl: &Kubectl) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut child = kubectl
        .command(&["get", "configmaps", "-n", "default", "--watch-only", "-o", "name"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    (child, lines)
}

/// Makes objects until the watch has seen one: only then is it known to be there.
fn until_seen(kubectl: &Kubectl, lines: &mut impl Iterator<Item = String>, name: &str) {
    kubectl.ok(&["create", "configmap", name, "-n", "default"]);
    let wanted = format!("configmap/{name}");
    assert_eq!(lines.find(|line| *line == wanted), Some(wanted));
}

#[test]
fn keys_certificates_and_tokens_rotate_under_load() {
    let world = World::start(Parts::Api);
    let proxy = world.proxy(&[]);
    let kubectl = proxy.kubectl(&world.token("admin@example.com", ADMIN));
    let load = Load::start(&kubectl);
    let (mut watching, mut lines) = watch(&kubectl);
    first_seen(&kubectl, &mut lines);

    // The issuer signs with a new key: its tokens count at once, and those of the old key still do.
    world.issuer.add_key(Algorithm::Es256, "key-2");
    proxy.kubectl(&world.token("admin@example.com", ADMIN)).ok(&["get", "namespaces"]);
    load.wait_for_more();

    // A new serving certificate: shown to new connections within seconds.
    let before = served_certificate(&proxy, &world);
    world.renew_certificate();
    until("the new certificate is served", || {
        (served_certificate(&proxy, &world) != before).then_some(()).ok_or_else(|| proxy.log())
    });
    load.wait_for_more();

    // A new token of the proxy's own service account, and the old one dead: the account is made anew.
    world.cluster.lock().unwrap().admin(&["delete", "serviceaccount", "kube-proxy", "-n", "keyway"]).unwrap();
    world.cluster.lock().unwrap().admin(&["create", "serviceaccount", "kube-proxy", "-n", "keyway"]).unwrap();
    world.renew_service_account_token();
    load.wait_for_more();

    until_seen(&kubectl, &mut lines, "after-rotation");
    load.finish();
    watching.kill().unwrap();
    watching.wait().unwrap();

    // A key that the issuer withdraws stops counting when the keys are fetched again.
    let old = kubectl;
    world.issuer.add_key(Algorithm::Es256, "key-3");
    world.issuer.withdraw_old_keys();
    proxy.kubectl(&world.token("admin@example.com", ADMIN)).ok(&["get", "namespaces"]);
    assert!(old.refused(&["get", "namespaces"]).contains("logged in"));
}

fn first_seen(kubectl: &Kubectl, lines: &mut impl Iterator<Item = String>) {
    // The watch may begin after the first objects were made; it sees one of the later ones.
    let kubectl = kubectl.clone();
    let (found, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (stop, count) = (found.clone(), seen.clone());
    let maker = std::thread::spawn(move || {
        while !stop.load(Ordering::SeqCst) {
            let n = count.fetch_add(1, Ordering::SeqCst);
            kubectl.ok(&["create", "configmap", &format!("first-{n}"), "-n", "default"]);
        }
    });
    assert!(lines.next().is_some());
    found.store(true, Ordering::SeqCst);
    maker.join().unwrap();
}

fn served_certificate(proxy: &Proxy, world: &World) -> Vec<u8> {
    RawTls::connect(proxy.port, world.front.pem(), "h2").unwrap().peer_certificate().unwrap()
}

#[test]
fn the_apiserver_restarts_under_load() {
    let world = World::start(Parts::Api);
    let proxy = world.proxy(&[]);
    let kubectl = proxy.kubectl(&world.token("admin@example.com", ADMIN));
    let load = Load::start(&kubectl);
    // In good order, with GOAWAY; and as a crash.
    world.cluster.lock().unwrap().stop_apiserver();
    world.cluster.lock().unwrap().resume_apiserver().unwrap();
    load.wait_for_more();
    world.cluster.lock().unwrap().kill_apiserver();
    world.cluster.lock().unwrap().resume_apiserver().unwrap();
    load.finish();
}

#[test]
fn the_issuer_goes_away_and_returns() {
    let world = World::start(Parts::Api);
    world.issuer.stop();
    let proxy = world.proxy_started(&[]);
    let kubectl = proxy.kubectl(&world.token("admin@example.com", ADMIN));
    // Down at start: not ready, and its users hear so; the process lives.
    until("the proxy says that it waits for the issuer", || match proxy.ready() {
        Some((503, text)) if text.contains(world.issuer.url()) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    runtime().block_on(world.issuer.resume());
    proxy.wait_until_ready();
    kubectl.ok(&["get", "namespaces"]);
    // Down later, in every way: nobody notices who has a token of a known key.
    for mood in [Mood::Status(500), Mood::Huge, Mood::OtherIssuer, Mood::Hanging] {
        world.issuer.set_mood(mood.clone());
        kubectl.ok(&["get", "namespaces"]);
        // An unknown key makes the proxy ask; the answer is a refusal in time, not a hang.
        let unknown = world.claims("admin@example.com", ADMIN).header("kid", "unknown".into()).sign();
        let said = proxy.kubectl(&unknown).refused(&["get", "namespaces"]);
        assert!(said.contains("logged in"), "{mood:?}: {said}");
    }
    world.issuer.set_mood(Mood::OneBadKey);
    // One key that cannot be read does not spoil the others.
    world.issuer.add_key(Algorithm::Es256, "key-2");
    let fresh = world.token("admin@example.com", ADMIN);
    until("the keys beside the broken one count", || {
        let output = proxy.kubectl(&fresh).run(&["get", "namespaces"]);
        output.status.success().then_some(()).ok_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned())
    });
    assert!(proxy.log().contains("left out a key"));
}

#[test]
fn the_authentication_configuration_is_taken_up_while_running() {
    let world = World::start(Parts::Api);
    let config = world.dir.join("authentication.yaml");
    let ca: String = world.issuer.ca_pem().lines().map(|line| format!("      {line}\n")).collect();
    let yaml = |prefix: &str| {
        format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n- issuer:\n    url: {}\n    \
             audiences: [kubernetes]\n    certificateAuthority: |\n{ca}  claimMappings:\n    username: {{claim: email, prefix: \"{prefix}\"}}\n    \
             groups: {{claim: roles, prefix: \"keyway:\"}}\n- issuer:\n    url: https://127.0.0.1:1/down\n    audiences: [kubernetes]\n  \
             claimMappings:\n    username: {{claim: sub, prefix: \"other:\"}}\n",
            world.issuer.url()
        )
    };
    std::fs::write(&config, yaml("one:")).unwrap();
    // The second issuer is down, and takes nobody with it.
    let proxy = world.proxy_with(&[format!("--authentication-config={}", config.display())]);
    proxy.wait_until_ready();
    let kubectl = proxy.kubectl(&world.token("admin@example.com", ADMIN));
    let name = || kubectl.ok(&["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"]);
    assert_eq!(name(), "one:admin@example.com");
    crate::world::replace(&config, &yaml("two:"));
    until("the new prefix counts", || (name() == "two:admin@example.com").then_some(()).ok_or_else(name));
    // A file with faults changes nothing, and says all of them.
    crate::world::replace(
        &config,
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt: []\nother: 1\n",
    );
    until("the faults are reported", || {
        let log = proxy.log();
        (log.contains("keeping the old one") && log.contains("other")).then_some(()).ok_or(log)
    });
    assert_eq!(name(), "two:admin@example.com");
}
