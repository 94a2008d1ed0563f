use http::{Method, Uri};

use super::is_long_running;

fn get(uri: &str) -> bool {
    is_long_running(&Method::GET, &uri.parse::<Uri>().unwrap())
}

#[test]
fn watches_and_followed_logs_go_on() {
    assert!(get("/api/v1/pods?watch=true"));
    assert!(get("/api/v1/pods?resourceVersion=1&watch=1"));
    assert!(get("/api/v1/pods?watch"));
    assert!(get("/api/v1/watch/pods"));
    assert!(get("/apis/apps/v1/watch/deployments"));
    assert!(get("/api/v1/namespaces/a/pods/b/log?follow=true"));
}

#[test]
fn everything_else_ends() {
    assert!(!get("/api/v1/pods"));
    assert!(!get("/api/v1/pods?watch=false"));
    assert!(!get("/api/v1/pods?watch=0"));
    assert!(!get("/api/v1/namespaces/a/pods/b/log"));
    assert!(!get("/api/v1/namespaces/watch/pods"));
    assert!(!get("/api/v1/namespaces/a/pods/b?follow=true"));
    assert!(!is_long_running(&Method::POST, &"/api/v1/pods?watch=true".parse().unwrap()));
}
