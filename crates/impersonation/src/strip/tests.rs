use std::net::IpAddr;

use http::{Method, StatusCode};

use super::strip;
use crate::testing::{expected, fields, refused, request, request_for, stripped};
use crate::{MAX_IMPERSONATION_VALUES, StripRefusal};

fn left(headers: &[(&str, &str)]) -> Vec<(String, String)> {
    fields(stripped(headers).request.headers())
}

#[test]
fn whatever_names_a_user_is_removed() {
    let hostile = [
        ("Authorization", "Bearer abc"),
        ("Impersonate-User", "jane"),
        ("impersonate_user", "system:admin"),
        ("IMPERSONATE_GROUP", "system:masters"),
        ("X-Remote-User", "admin"),
        ("X-Remote-Group", "system:masters"),
        ("X-Remote-Group", "system:authenticated"),
        ("X-Remote-Extra-Scopes", "all"),
        ("X-Remote-Uid", "0"),
        ("x_remote_user", "admin"),
        ("X-Remote_User", "admin"),
        ("X-REMOTE-ANYTHING", "x"),
        ("Audit-ID", "1"),
        ("audit_id", "1"),
    ];
    assert_eq!(left(&hostile), expected(&[]));
}

#[test]
fn what_vouches_for_an_address_is_removed() {
    let hostile = [
        ("X-Forwarded-For", "10.0.0.1"),
        ("X-Forwarded-For", "10.0.0.2"),
        ("X_Forwarded_For", "10.0.0.3"),
        ("X-Forwarded-Host", "evil"),
        ("X-Forwarded-Proto", "http"),
        ("X-Real-Ip", "10.0.0.1"),
        ("Forwarded", "for=10.0.0.1"),
    ];
    assert_eq!(left(&hostile), expected(&[]));
}

#[test]
fn the_true_address_is_said_once() {
    let mut request = stripped(&[("x-forwarded-for", "10.0.0.1"), ("connection", "x-forwarded-for")]).request;
    request.set_forwarded_for(IpAddr::from([192, 0, 2, 1]));
    request.set_forwarded_for("2001:db8::1".parse().unwrap());
    assert_eq!(fields(request.headers()), expected(&[("x-forwarded-for", "2001:db8::1")]));
}

#[test]
fn hop_by_hop_headers_and_what_connection_names_are_removed() {
    let headers = [
        ("Connection", "keep-alive,X-One ,\tx-two"),
        ("Connection", "X-THREE,, not a name, \u{e9}"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("Proxy-Authenticate", "Basic"),
        ("Proxy-Authorization", "Basic eDp5"),
        ("TE", "trailers"),
        ("Trailer", "x-one"),
        ("Transfer-Encoding", "chunked"),
        ("Upgrade", "websocket"),
        ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
        ("Expect", "100-continue"),
        ("Host", "example.com"),
        ("Content-Length", "5"),
        ("X-One", "1"),
        ("X-Two", "2"),
        ("X-Two", "2b"),
        ("X-Three", "3"),
        ("X-Four", "4"),
        ("Accept", "application/json"),
    ];
    assert_eq!(left(&headers), expected(&[("accept", "application/json"), ("x-four", "4")]));
}

/// Else a client could have its own wish removed, or its token, and be taken for someone else.
#[test]
fn connection_does_not_hide_from_us_what_the_client_says_to_us() {
    let stripped = stripped(&[
        ("Connection", "authorization, impersonate-user, impersonate-group"),
        ("Authorization", "Bearer abc"),
        ("Impersonate-User", "jane"),
        ("Impersonate-Group", "dev"),
    ]);
    assert_eq!(stripped.credential.unwrap().expose(), "abc");
    assert_eq!(stripped.requested.unwrap().user(), "jane");
    assert_eq!(fields(stripped.request.headers()), expected(&[]));
}

#[test]
fn everything_else_stays_as_it_is() {
    let kept = [
        ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io"),
        ("accept-encoding", "gzip"),
        ("content-type", "application/json"),
        ("impersonator", "not one of them"),
        ("kubectl-command", "kubectl get"),
        ("user-agent", "kubectl/v1.37.2"),
        ("x-remote", "nor this"),
        ("x-twice", "1"),
        ("x-twice", "2"),
    ];
    assert_eq!(left(&kept), expected(&kept));
}

#[test]
fn path_and_query_are_as_sent() {
    for target in [
        "/api/v1/../../etc/passwd",
        "/api//v1",
        "/api/v1/namespaces/%2e%2e%2Fx/pods?labelSelector=a%3Db&b=%",
        "/%2F",
        "//evil.example.com/x",
        "/.",
        "/?watch=1",
    ] {
        let stripped = strip(request_for(Method::GET, target, &[]), MAX_IMPERSONATION_VALUES).unwrap();
        assert_eq!(stripped.request.uri().to_string(), target);
        assert_eq!(stripped.request.uri().path_and_query().unwrap().as_str(), target);
    }
}

#[test]
fn of_an_absolute_target_the_path_stays() {
    for (target, path) in [
        ("https://kube.example.com:8443/api/../x?a=b", "/api/../x?a=b"),
        ("http://user:secret@kube.example.com/api", "/api"),
        ("http://kube.example.com", "/"),
        ("http://kube.example.com?a=b", "/?a=b"),
    ] {
        let stripped = strip(request_for(Method::GET, target, &[]), MAX_IMPERSONATION_VALUES).unwrap();
        assert_eq!(stripped.request.uri().to_string(), path);
        assert!(stripped.request.uri().authority().is_none());
    }
}

#[test]
fn targets_without_a_path_are_refused() {
    let connect =
        strip(request_for(Method::CONNECT, "kube.example.com:443", &[]), MAX_IMPERSONATION_VALUES).unwrap_err();
    assert_eq!(connect, StripRefusal::Connect);
    assert_eq!(connect.status(), StatusCode::BAD_REQUEST);
    let star = strip(request_for(Method::OPTIONS, "*", &[]), MAX_IMPERSONATION_VALUES).unwrap_err();
    assert_eq!(star, StripRefusal::Target("*".to_owned()));
    let authority = strip(request_for(Method::GET, "kube.example.com:443", &[]), MAX_IMPERSONATION_VALUES).unwrap_err();
    assert!(matches!(authority, StripRefusal::Target(_)));
}

#[test]
fn extensions_and_version_do_not_go_on() {
    let mut parts = request(&[]);
    parts.extensions.insert("of the server");
    parts.version = http::Version::HTTP_10;
    let parts = strip(parts, MAX_IMPERSONATION_VALUES).unwrap().request.into_parts();
    assert!(parts.extensions.is_empty());
    assert_eq!(parts.version, http::Version::HTTP_11);
}

#[test]
fn an_upgrade_is_asked_for_again_and_nothing_else_of_connection() {
    for protocol in ["websocket", "WebSocket", "SPDY/3.1"] {
        let stripped = stripped(&[
            ("Connection", "keep-alive, Upgrade, x-hidden"),
            ("Upgrade", protocol),
            ("Sec-WebSocket-Key", "x3JJHMbDL1EzLkh9GBhXDw=="),
            ("Sec-WebSocket-Protocol", "v5.channel.k8s.io"),
            ("Content-Length", "0"),
            ("X-Hidden", "1"),
        ]);
        assert!(stripped.upgrade);
        assert!(!stripped.request.headers().contains_key("upgrade"));
        let parts = stripped.request.into_parts();
        let goes_on = expected(&[
            ("connection", "upgrade"),
            ("sec-websocket-key", "x3JJHMbDL1EzLkh9GBhXDw=="),
            ("sec-websocket-protocol", "v5.channel.k8s.io"),
            ("upgrade", protocol),
        ]);
        assert_eq!(fields(&parts.headers), goes_on);
    }
}

/// Behind a switch to h2c a client could send whole requests, with headers of its own, on the proxy's connection.
#[test]
fn no_other_upgrade_goes_on() {
    let cases: [&[(&str, &str)]; 8] = [
        &[("connection", "upgrade, http2-settings"), ("upgrade", "h2c"), ("http2-settings", "AAMAAABk")],
        &[("connection", "upgrade"), ("upgrade", "websocket, h2c")],
        &[("connection", "upgrade"), ("upgrade", "websocket"), ("upgrade", "h2c")],
        &[("connection", "upgrade"), ("upgrade", "TLS/1.3")],
        &[("connection", "upgrade"), ("upgrade", "")],
        &[("connection", "upgrade")],
        &[("upgrade", "websocket")],
        &[("connection", "upgraded"), ("upgrade", "websocket")],
    ];
    for case in cases {
        let stripped = stripped(case);
        assert!(!stripped.upgrade, "{case:?}");
        assert_eq!(fields(&stripped.request.into_parts().headers), expected(&[]), "{case:?}");
    }
    let put = strip(
        request_for(Method::PUT, "/", &[("connection", "upgrade"), ("upgrade", "websocket")]),
        MAX_IMPERSONATION_VALUES,
    )
    .unwrap();
    assert!(!put.upgrade);
    let post = strip(
        request_for(Method::POST, "/", &[("connection", "upgrade"), ("upgrade", "SPDY/3.1")]),
        MAX_IMPERSONATION_VALUES,
    )
    .unwrap();
    assert!(post.upgrade);
}

#[test]
fn an_upgrade_with_a_body_is_refused() {
    for body in [("content-length", "5"), ("transfer-encoding", "chunked"), ("content-length", "00")] {
        let refusal = refused(&[("connection", "upgrade"), ("upgrade", "websocket"), body]);
        assert_eq!(refusal, StripRefusal::UpgradeWithBody("websocket".to_owned()));
    }
}

#[test]
fn too_many_headers_are_refused() {
    let names: Vec<String> = (0..5000).map(|index| format!("x-{index}")).collect();
    let headers: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    let refusal = refused(&headers);
    assert_eq!(refusal.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}
