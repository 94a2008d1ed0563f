use http::{HeaderMap, Method, Uri, header};

use super::{Framing, is_long_running};

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

fn framing(content_type: &str) -> Framing {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap());
    Framing::of(&headers)
}

/// Whether a stream can end after each of these frames.
fn ends(content_type: &str, frames: &[&[u8]]) -> Vec<bool> {
    let mut framing = framing(content_type);
    assert!(framing.can_end(), "nothing has been said yet");
    frames
        .iter()
        .map(|frame| {
            framing.pass(frame);
            framing.can_end()
        })
        .collect()
}

#[test]
fn a_watch_in_json_ends_after_a_line() {
    assert_eq!(ends("application/json", &[b"{}", b"\n", b"", b"{}\n{", b"}\n"]), [false, true, true, false, true]);
    assert_eq!(ends("application/json;stream=watch", &[b"{\n"]), [true]);
}

#[test]
fn a_watch_in_protobuf_ends_after_a_whole_message() {
    let protobuf = "application/vnd.kubernetes.protobuf;stream=watch";
    // A newline is a byte like any other there.
    assert_eq!(ends(protobuf, &[b"\0\0\0\x02a\n"]), [true]);
    assert_eq!(ends(protobuf, &[b"\0\0\0\x03a\n", b"b"]), [false, true]);
    assert_eq!(ends(protobuf, &[b"\0", b"\0\0", b"\x01", b"x", b"\0\0\0\0"]), [false, false, false, true, true]);
    assert_eq!(ends(protobuf, &[b"\0\0\0\x01x\0\0\0\x02y", b"z"]), [false, true]);
    let large = vec![b'x'; 300];
    assert_eq!(ends(protobuf, &[&[0, 0, 1, 44], large.as_slice()]), [false, true]);
}

#[test]
fn a_log_ends_anywhere_and_what_is_unknown_nowhere() {
    assert_eq!(ends("text/plain; charset=utf-8", &[b"abc", b"\n"]), [true, true]);
    assert_eq!(ends("application/cbor-seq", &[b"\xa0"]), [false]);
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
    headers.insert(header::CONTENT_ENCODING, "gzip".parse().unwrap());
    assert_eq!(Framing::of(&headers), Framing::Nowhere { begun: false });
}
