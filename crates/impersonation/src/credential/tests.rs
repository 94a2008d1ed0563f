use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::StatusCode;

use crate::StripRefusal;
use crate::testing::{expected, fields, refused, stripped};

const UPGRADE: [(&str, &str); 2] = [("connection", "Upgrade"), ("upgrade", "websocket")];

fn bearer(authorization: &str) -> Option<String> {
    stripped(&[("Authorization", authorization)]).credential.map(|token| token.expose().to_owned())
}

fn websocket<'text>(protocols: &[&'text str]) -> Vec<(&'text str, &'text str)> {
    UPGRADE.into_iter().chain(protocols.iter().map(|protocol| ("sec-websocket-protocol", *protocol))).collect()
}

fn subprotocol(token: &str) -> String {
    format!("base64url.bearer.authorization.k8s.io.{}", URL_SAFE_NO_PAD.encode(token))
}

#[test]
fn two_credentials_are_refused() {
    let protocols = format!("v4.channel.k8s.io, {}", subprotocol("abc"));
    let both = [("authorization", "Bearer abc"), ("sec-websocket-protocol", protocols.as_str())];
    let cases: [(Vec<(&str, &str)>, StripRefusal); 6] = [
        (vec![("Authorization", "Bearer a"), ("authorization", "Bearer b")], StripRefusal::SeveralAuthorizations),
        (vec![("Authorization", "Bearer a"), ("authorization", "Bearer a")], StripRefusal::SeveralAuthorizations),
        (vec![("Authorization", "Basic eDp5"), ("authorization", "Bearer a")], StripRefusal::SeveralAuthorizations),
        (vec![("Authorization", "Bearer a"), ("authorization", "")], StripRefusal::SeveralAuthorizations),
        (both.to_vec(), StripRefusal::TokenInTwoPlaces),
        (UPGRADE.into_iter().chain(both).collect(), StripRefusal::TokenInTwoPlaces),
    ];
    for (headers, refusal) in cases {
        assert_eq!(refused(&headers), refusal);
        assert_eq!(refusal.status(), StatusCode::UNAUTHORIZED);
    }
    let (one, two) = (subprotocol("abc"), subprotocol("def"));
    let list = format!("{one},x,{two}");
    assert_eq!(refused(&websocket(&[&list])), StripRefusal::SeveralSubprotocolTokens);
    assert_eq!(refused(&websocket(&[&one, "x", &two])), StripRefusal::SeveralSubprotocolTokens);
    assert_eq!(refused(&websocket(&[&one, "x", &one])), StripRefusal::SeveralSubprotocolTokens);
}

#[test]
fn what_kubernetes_takes_for_a_bearer_token_is_one() {
    for authorization in ["Bearer abc", "bearer abc", "BEARER abc", " Bearer abc ", "Bearer abc def"] {
        assert_eq!(bearer(authorization).as_deref(), Some("abc"), "{authorization:?}");
    }
    assert_eq!(bearer(""), None);
    assert_eq!(bearer("  "), None);
}

#[test]
fn a_bearer_without_a_token_is_said_to_be_one() {
    for authorization in ["Bearer", "Bearer ", "Bearer  abc", "bearer   "] {
        assert_eq!(refused(&[("authorization", authorization)]), StripRefusal::NoTokenAfterBearer, "{authorization:?}");
    }
}

#[test]
fn a_token_is_visible_ascii() {
    for authorization in ["Bearer a\tb", "Bearer \tab", "Bearer a\u{e9}b", "Bearer \u{feff}ab"] {
        assert_eq!(refused(&[("authorization", authorization)]), StripRefusal::MalformedToken, "{authorization:?}");
    }
}

#[test]
fn another_scheme_is_removed_and_named_only_if_it_is_one() {
    for (authorization, scheme) in [
        ("Basic eDp5", "Basic"),
        ("negotiate YII", "Negotiate"),
        ("eyJhbGciOiJSUzI1NiJ9.e30.c2ln", "unknown"),
        ("Bearer=abc", "unknown"),
        ("Token abc", "unknown"),
    ] {
        let stripped = stripped(&[("authorization", authorization)]);
        assert!(stripped.credential.is_none());
        assert_eq!(stripped.other_scheme, Some(scheme));
        assert_eq!(fields(stripped.request.headers()), expected(&[]));
    }
}

#[test]
fn the_token_of_a_websocket_is_taken_out_of_its_subprotocols() {
    let token = subprotocol("abc");
    let list = format!("v5.channel.k8s.io ,{token}, v4.channel.k8s.io");
    for protocols in [vec![list.as_str()], vec!["v5.channel.k8s.io", &token, "v4.channel.k8s.io"]] {
        let stripped = stripped(&websocket(&protocols));
        assert_eq!(stripped.credential.unwrap().expose(), "abc");
        let kept = expected(&[("sec-websocket-protocol", "v5.channel.k8s.io, v4.channel.k8s.io")]);
        assert_eq!(fields(stripped.request.headers()), kept);
    }
}

#[test]
fn without_a_token_the_subprotocols_are_as_sent() {
    let stripped = stripped(&websocket(&["v5.channel.k8s.io,v4.channel.k8s.io", "x"]));
    let kept =
        expected(&[("sec-websocket-protocol", "v5.channel.k8s.io,v4.channel.k8s.io"), ("sec-websocket-protocol", "x")]);
    assert_eq!(fields(stripped.request.headers()), kept);
}

#[test]
fn a_subprotocol_is_no_credential_outside_of_a_websocket_but_is_removed() {
    let list = format!("v5.channel.k8s.io,{}", subprotocol("abc"));
    let spdy = [("connection", "upgrade"), ("upgrade", "SPDY/3.1"), ("sec-websocket-protocol", list.as_str())];
    for headers in [&spdy[2..], &spdy] {
        let stripped = stripped(headers);
        assert!(stripped.credential.is_none());
        assert_eq!(stripped.request.headers()["sec-websocket-protocol"], "v5.channel.k8s.io");
    }
}

#[test]
fn the_subprotocol_in_another_case_is_no_credential_but_is_removed() {
    let token = subprotocol("abc").replace("base64url", "Base64URL");
    let stripped_alone = stripped(&websocket(&[&token]));
    assert!(stripped_alone.credential.is_none());
    assert!(!stripped_alone.request.headers().contains_key("sec-websocket-protocol"));
    let list = format!("{token}, x");
    assert_eq!(stripped(&websocket(&[&list])).request.headers()["sec-websocket-protocol"], "x");
}

#[test]
fn another_subprotocol_must_remain() {
    let token = subprotocol("abc");
    let with_commas = format!(",{token}, ,");
    for protocol in [&token, &with_commas] {
        assert_eq!(refused(&websocket(&[protocol])), StripRefusal::NoOtherSubprotocol);
    }
}

#[test]
fn a_subprotocol_is_base64url_without_padding_of_a_token() {
    let prefix = "base64url.bearer.authorization.k8s.io.";
    for (encoded, refusal) in [
        (STANDARD.encode("a?>b"), StripRefusal::SubprotocolEncoding),
        ("YWJjZA==".to_owned(), StripRefusal::SubprotocolEncoding),
        ("not/base64".to_owned(), StripRefusal::SubprotocolEncoding),
        (URL_SAFE_NO_PAD.encode([0xff, 0xfe]), StripRefusal::SubprotocolEncoding),
        (String::new(), StripRefusal::MalformedToken),
        (URL_SAFE_NO_PAD.encode("a b"), StripRefusal::MalformedToken),
        (URL_SAFE_NO_PAD.encode("a\r\nImpersonate-User: admin"), StripRefusal::MalformedToken),
    ] {
        let list = format!("{prefix}{encoded}, x");
        assert_eq!(refused(&websocket(&[&list])), refusal, "{encoded}");
    }
}

#[test]
fn no_token_is_printed() {
    let printed = format!("{:?}", stripped(&[("authorization", "Bearer s3cret")]));
    assert!(printed.contains("[redacted]"), "{printed}");
    assert!(!printed.contains("s3cret"), "{printed}");
    let header = stripped(&[("authorization", "Bearer s3cret")]).credential.unwrap().authorization();
    assert!(header.is_sensitive());
    assert!(!format!("{header:?}").contains("s3cret"));
}

#[test]
fn subprotocols_are_ascii_or_refused() {
    // U+00A0 is whitespace to Kubernetes, which would find the token behind it.
    let hidden = format!("v5.channel.k8s.io, \u{a0}{}", subprotocol("abc"));
    assert_eq!(refused(&[("sec-websocket-protocol", &hidden)]), StripRefusal::SubprotocolCharacters);
    let beside = [("authorization", "Bearer def"), ("sec-websocket-protocol", hidden.as_str())];
    assert_eq!(refused(&beside), StripRefusal::SubprotocolCharacters);
}
