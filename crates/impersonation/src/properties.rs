//! Whatever a client sends: after [`strip`] nothing of what it removes is left, and after [`apply()`] the impersonation
//! headers are exactly ours.

use std::sync::LazyLock;

use http::HeaderName;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;
use proptest::{prop_assert, prop_assert_eq, proptest};

use crate::testing::{fields, joe, request};
use crate::{Impersonation, MAX_IMPERSONATION_VALUES, apply, strip};

static JOE: LazyLock<Impersonation> = LazyLock::new(|| Impersonation::of(&joe()).unwrap());

const NAMES: [&str; 34] = [
    "authorization",
    "impersonate-user",
    "impersonate-group",
    "impersonate-uid",
    "impersonate-extra-a",
    "impersonate-extra-authentication.kubernetes.io%2fcredential-id",
    "impersonate-",
    "impersonate-other",
    "x-remote-user",
    "x-remote-group",
    "x-remote-uid",
    "x-remote-extra-a",
    "x-remote-",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-real-ip",
    "forwarded",
    "audit-id",
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "expect",
    "host",
    "content-length",
    "sec-websocket-protocol",
    "accept",
    "user-agent",
    "x-custom",
];

const TEXTS: [&str; 12] = [
    "Bearer abc",
    "system:masters",
    "websocket",
    "h2c",
    "SPDY/3.1",
    "0",
    "upgrade",
    "base64url.bearer.authorization.k8s.io.YWJj, x",
    "impersonate-user, impersonate-group, Upgrade",
    "x-custom",
    "",
    " ",
];

/// A name of ours or another, in any case, with any of its dashes as underscores.
fn name() -> impl Strategy<Value = String> {
    let known = prop_oneof![9 => select(&NAMES[..]).prop_map(str::to_owned), 1 => "[a-z_-]{1,12}"];
    (known, any::<u32>(), any::<u32>(), 0..4_u8).prop_map(|(name, upper, underscore, odd)| {
        let letter = |(index, letter): (usize, char)| {
            let bit = |bits: u32| bits >> (index % 32) & 1 == 1;
            match letter {
                '-' if odd == 0 && bit(underscore) => '_',
                letter if bit(upper) => letter.to_ascii_uppercase(),
                letter => letter,
            }
        };
        name.chars().enumerate().map(letter).collect()
    })
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => select(&TEXTS[..]).prop_map(str::to_owned),
        1 => "[ -~]{0,20}",
        1 => "[a-z\u{e9}\u{a0}\t ]{0,8}",
        2 => vec(name(), 0..5).prop_map(|names| names.join(" ,\t")),
        1 => Just("jane".to_owned()),
    ]
}

/// Headers that [`strip(, MAX_IMPERSONATION_VALUES)`] mostly does not refuse: at most one credential, and a wish that is whole.
fn accepted() -> impl Strategy<Value = Vec<(String, String)>> {
    let is_refused_at_random = |name: &str| {
        let name = name.to_ascii_lowercase();
        name.starts_with("impersonate-") || name == "authorization" || name == "sec-websocket-protocol"
    };
    let others = vec((name(), value()), 0..16)
        .prop_map(move |headers| headers.into_iter().filter(|(name, _)| !is_refused_at_random(name)).collect());
    let credential = select(vec![
        &[][..],
        &[("AUTHORIZATION", "Bearer abc")],
        &[("authorization", "Basic eDp5")],
        &[("Sec-WebSocket-Protocol", "x,base64url.bearer.authorization.k8s.io.YWJj")],
        &[("Sec-WebSocket-Protocol", "x"), ("sec-websocket-protocol", "y, Base64url.bearer.authorization.k8s.io.YWJj")],
    ]);
    let wish = select(vec![
        &[][..],
        &[("Impersonate-User", "jane")],
        &[("impersonate-user", "system:admin"), ("impersonate-group", "dev"), ("impersonate-group", "system:masters")],
        &[("impersonate-user", "jane"), ("IMPERSONATE-UID", "0"), ("impersonate-extra-a_b%2fc", "x")],
    ]);
    let upgrade = select(vec![&[][..], &[("Connection", "upgrade, impersonate-user"), ("Upgrade", "websocket")]]);
    (others, credential, wish, upgrade)
        .prop_map(|(others, credential, wish, upgrade): (Vec<_>, _, _, _)| {
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            [upgrade, credential, wish].into_iter().flatten().map(owned).chain(others).collect::<Vec<_>>()
        })
        .prop_shuffle()
}

fn is_ours_to_remove(name: &HeaderName) -> bool {
    let name = name.as_str().replace('_', "-");
    let exact = [
        "authorization",
        "forwarded",
        "audit-id",
        "x-real-ip",
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "http2-settings",
        "expect",
        "host",
        "content-length",
    ];
    ["impersonate-", "x-remote-", "x-forwarded-"].iter().any(|prefix| name.starts_with(prefix))
        || exact.contains(&name.as_str())
}

proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 2000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn nothing_survives(headers in prop_oneof![1 => vec((name(), value()), 0..20), 3 => accepted()]) {
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let connection: Vec<String> = headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("connection"))
            .flat_map(|(_, value)| value.split(','))
            .map(|name| name.trim_matches([' ', '\t']).to_ascii_lowercase())
            .collect();
        let Ok(stripped) = strip(request(&headers), MAX_IMPERSONATION_VALUES) else { return Ok(()) };
        let asks_for_upgrade = stripped.upgrade;
        let left = stripped.request.headers().clone();
        for (name, value) in &left {
            prop_assert!(!is_ours_to_remove(name), "{}", name);
            prop_assert!(!connection.iter().any(|named| named == name.as_str()), "{}", name);
            let value = String::from_utf8_lossy(value.as_bytes()).to_lowercase();
            prop_assert!(name != "sec-websocket-protocol" || !value.contains("bearer.authorization"), "{}", value);
            let sent = headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name.as_str()));
            prop_assert!(sent, "{} was not sent", name);
        }

        let upstream = apply(&JOE, stripped.request).into_parts().headers;
        let (ours, theirs): (Vec<_>, Vec<_>) =
            fields(&upstream).into_iter().partition(|(name, _)| name.replace('_', "-").starts_with("impersonate-"));
        let joe = fields(&JOE.headers().cloned().collect());
        prop_assert_eq!(ours, joe);
        let mut left = fields(&left);
        if asks_for_upgrade {
            prop_assert_eq!(&upstream["connection"], "upgrade");
            left.extend(fields(&upstream).into_iter().filter(|(name, _)| name == "connection" || name == "upgrade"));
            left.sort();
        }
        prop_assert_eq!(theirs, left);
    }
}
