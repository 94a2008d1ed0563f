use proptest::collection::vec;
use proptest::prelude::any;
use proptest::{prop_assert, prop_assert_eq, proptest};
use serde_json::{Value, json};

use super::{Compact, MAX_TOKEN_BYTES, decode, unverified_claims};
use crate::testing::encode;

const HEADER: &str = r#"{"alg":"ES256","kid":"k"}"#;

fn compact(header: &str, payload: &str, signature: &[u8]) -> String {
    format!("{}.{}.{}", encode(header.as_bytes()), encode(payload.as_bytes()), encode(signature))
}

/// The operator's reason for refusing a token whose shape is wrong.
fn refusal(raw: &str) -> String {
    let rejection = Compact::parse(raw).err().unwrap();
    assert_eq!(rejection.reason(), "malformed", "{raw:?}");
    assert_eq!(rejection.unknown_key(), None);
    rejection.to_string()
}

fn header_refusal(header: &Value) -> String {
    refusal(&compact(&header.to_string(), "{}", b"s"))
}

#[test]
fn a_token_falls_into_its_three_parts() {
    let raw = compact(HEADER, r#"{"sub":"joe"}"#, b"signature");
    let token = Compact::parse(&raw).unwrap();
    assert_eq!((token.algorithm.as_str(), token.kid.as_str()), ("ES256", "k"));
    assert_eq!(token.signature, b"signature");
    let (signed, _) = raw.rsplit_once('.').unwrap();
    assert_eq!(token.signing_input, signed.as_bytes());
    assert_eq!(Value::Object(token.claims().unwrap()), json!({"sub": "joe"}));
}

#[test]
fn fewer_or_more_than_three_parts_are_refused() {
    let raw = compact(HEADER, "{}", b"s");
    let (signed, _) = raw.rsplit_once('.').unwrap();
    for other in [
        String::new(),
        "x".to_owned(),
        signed.to_owned(),
        format!("{raw}."),
        format!(".{raw}"),
        format!("{raw}.{}", encode(b"s")),
        raw.replace('.', ".."),
        ".".repeat(3),
        ".".repeat(60_000),
        // The five parts of a JWE.
        format!("{raw}.x.y"),
    ] {
        assert!(refusal(&other).contains("three parts"), "{other:.80}");
    }
}

#[test]
fn an_empty_header_is_refused() {
    for raw in ["..", ".e30.", ".e30.cw"] {
        assert!(refusal(raw).contains("header"), "{raw}");
    }
}

#[test]
fn an_empty_payload_has_no_claims() {
    let raw = format!("{}..cw", encode(HEADER.as_bytes()));
    assert_eq!(Compact::parse(&raw).unwrap().claims().unwrap_err().reason(), "malformed");
    assert_eq!(unverified_claims(&raw).unwrap_err().reason(), "malformed");
}

#[test]
fn the_json_serializations_are_refused() {
    let (header, payload) = (encode(HEADER.as_bytes()), encode(b"{}"));
    refusal(&json!({"protected": header, "payload": payload, "signature": "cw"}).to_string());
    refusal(&json!({"payload": payload, "signatures": [{"protected": header, "signature": "cw"}]}).to_string());
}

#[test]
fn a_token_may_be_64_kibibytes_long_and_no_longer() {
    let head = format!("{}.{}.", encode(HEADER.as_bytes()), encode(b"{}"));
    let longest = format!("{head}{}", "A".repeat((MAX_TOKEN_BYTES - head.len()) / 4 * 4));
    assert!(longest.len() > MAX_TOKEN_BYTES - 4);
    assert!(Compact::parse(&longest).is_ok());
    assert!(unverified_claims(&longest).is_ok());

    let longer = format!("{longest}AAAA");
    assert!(longer.len() > MAX_TOKEN_BYTES);
    assert!(refusal(&longer).contains("more than 65536"));
    assert_eq!(unverified_claims(&longer).unwrap_err().reason(), "malformed");
    assert_eq!(MAX_TOKEN_BYTES, 65_536);
    // Exactly, with what is no base64: the length is looked at first, and only beyond the bound.
    assert!(!refusal(&"=".repeat(65_536)).contains("65536"));
    assert!(refusal(&"=".repeat(65_537)).contains("65537 bytes"));
}

#[test]
fn base64url_has_one_spelling() {
    assert_eq!(decode("", "x").unwrap(), b"");
    assert_eq!(decode("AA", "x").unwrap(), [0]);
    assert_eq!(decode("AAA", "x").unwrap(), [0, 0]);
    assert_eq!(decode("-_-_", "x").unwrap(), [0xfb, 0xff, 0xbf]);
    for other in [
        // Padding.
        "AA==",
        "AA=",
        "AAA=",
        "=",
        "====",
        "AAAA====",
        "AA==AA",
        // Trailing bits.
        "AB",
        "AP",
        "A_",
        "AAB",
        "AAD",
        // A length that nothing has.
        "A",
        "AAAAA",
        // The other alphabet.
        "+/+/",
        "AA+A",
        "AAA/",
        // Whitespace and what else lenient decoders skip.
        " AAAA",
        "AAAA ",
        "AA AA",
        "AA\nAA",
        "AAAA\n",
        "AAAA\r\n",
        "\tAAAA",
        "AA\0A",
        "AAAA\0",
        "AA-A\u{a0}",
        "A\u{c0}",
        "ＡＡＡＡ",
        "%41A",
        "AA,A",
        "AA~A",
        "é",
    ] {
        assert!(decode(other, "x").is_err(), "{other:?}");
    }
}

#[test]
fn a_part_in_another_spelling_is_refused() {
    // Three lengths, so that each part is spelled with padding and with trailing bits.
    for (header, payload, signature) in [
        (r#"{"alg":"x"}"#, r#"{"a":1}"#, &b"s"[..]),
        (r#"{"alg":"xy"}"#, r#"{"a":12}"#, b"si"),
        (HEADER, r#"{"a":123}"#, b"sig"),
    ] {
        let parts = [encode(header.as_bytes()), encode(payload.as_bytes()), encode(signature)];
        let accepted = |parts: &[String; 3]| {
            let raw = parts.join(".");
            Compact::parse(&raw).and_then(|token| token.claims()).is_ok()
        };
        assert!(accepted(&parts));
        for part in 0..3 {
            let original = &parts[part];
            let (body, last) = original.split_at(original.len() - 1);
            let mut spellings = vec![
                format!("{original}="),
                format!("{original}=="),
                format!("{original} "),
                format!(" {original}"),
                format!("{original}\n"),
                format!("{body}\r\n{last}"),
                format!("{original}\0"),
            ];
            if !original.len().is_multiple_of(4) {
                // The next letter of the alphabet differs in a bit that is not used.
                let next = char::from(last.as_bytes()[0] + 1);
                spellings.push(format!("{body}{next}"));
            }
            for spelling in spellings {
                let mut parts = parts.clone();
                parts[part].clone_from(&spelling);
                assert!(!accepted(&parts), "{spelling:?}");
            }
        }
    }
}

#[test]
fn a_header_with_an_extension_is_refused_whatever_the_extension_says() {
    for (name, values) in [
        (
            "crit",
            vec![json!(["exp"]), json!(["b64"]), json!([]), json!(null), json!("exp"), json!(["alg"]), json!(false)],
        ),
        ("b64", vec![json!(false), json!(true), json!(null), json!("false")]),
        ("cty", vec![json!("JWT"), json!("jwt"), json!("application/json"), json!(""), json!(null)]),
    ] {
        for value in values {
            let mut header = json!({"alg": "ES256", "kid": "k"});
            header[name] = value;
            assert!(header_refusal(&header).contains(name), "{header}");
        }
    }
    let both = json!({"alg": "ES256", "b64": false, "crit": ["b64"]});
    assert!(header_refusal(&both).contains("not accepted"));
}

#[test]
fn the_algorithm_is_a_string_and_there() {
    for header in [
        json!({}),
        json!({"kid": "k"}),
        json!({"ALG": "ES256"}),
        json!({"alg": null}),
        json!({"alg": ["ES256"]}),
        json!({"alg": {"ES256": true}}),
        json!({"alg": 256}),
        json!({"alg": true}),
    ] {
        assert!(header_refusal(&header).contains("alg"), "{header}");
    }
}

#[test]
fn the_kid_is_a_string_or_absent() {
    for kid in [json!(null), json!(1), json!(true), json!(["k"]), json!({"k": "k"})] {
        assert!(header_refusal(&json!({"alg": "ES256", "kid": kid})).contains("kid"), "{kid}");
    }
    let without = compact(r#"{"alg":"ES256"}"#, "{}", b"s");
    assert_eq!(Compact::parse(&without).unwrap().kid, "");
}

#[test]
fn other_members_of_the_header_are_not_looked_at() {
    let header = json!({
        "alg": "ES256", "kid": "k", "typ": ["anything"], "jku": "https://evil.example", "x5u": 5, "jwk": {"kty": "oct"},
        "x5c": "no list", "x5t": null, "x5t#S256": {}, "zip": "DEF", "enc": "A256GCM", "nonce": 1, "iss": "x", "epk": {},
    });
    let raw = compact(&header.to_string(), "{}", b"s");
    let token = Compact::parse(&raw).unwrap();
    assert_eq!((token.algorithm.as_str(), token.kid.as_str()), ("ES256", "k"));
}

#[test]
fn header_and_payload_are_objects_without_a_second_reading() {
    for text in [
        r#"{"alg":"ES256","alg":"ES256"}"#,
        r#"{"alg":"none","alg":"ES256"}"#,
        r#"{"alg":"ES256","kid":"a","kid":"b"}"#,
        r#"{"alg":"ES256","\u0061lg":"none"}"#,
        r#"{"alg":"ES256","x":{"y":1,"y":2}}"#,
        r#"{"alg":"ES256"}{"alg":"ES256"}"#,
        r#"{"alg":"ES256"}x"#,
        "{\"alg\":\"ES256\"}\0",
        "\u{feff}{\"alg\":\"ES256\"}",
        r#"{"alg":"ES256",}"#,
        r#"[{"alg":"ES256"}]"#,
        r#""ES256""#,
        "null",
        "",
    ] {
        assert!(refusal(&compact(text, "{}", b"s")).contains("header"), "{text:?}");

        let raw = compact(HEADER, text, b"s");
        assert!(Compact::parse(&raw).unwrap().claims().unwrap_err().to_string().contains("payload"), "{text:?}");
        assert_eq!(unverified_claims(&raw).unwrap_err().reason(), "malformed", "{text:?}");
    }
}

#[test]
fn what_is_not_unicode_is_refused() {
    for bytes in [&b"{\"alg\":\"ES256\",\"x\":\"\xff\"}"[..], b"{\"alg\":\"\xed\xa0\x80\"}", b"\xff\xfe{\0}\0"] {
        assert!(refusal(&format!("{}.e30.cw", encode(bytes))).contains("header"));
        let raw = format!("{}.{}.cw", encode(HEADER.as_bytes()), encode(bytes));
        assert_eq!(Compact::parse(&raw).unwrap().claims().unwrap_err().reason(), "malformed");
    }
}

#[test]
fn deep_nesting_is_refused_and_does_not_overflow_the_stack() {
    let depth = 15_000;
    let deep = format!(r#"{{"alg":"ES256","x":{}1{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert!(refusal(&compact(&deep, "{}", b"s")).contains("recursion"));
    let raw = compact(HEADER, &deep, b"s");
    assert!(Compact::parse(&raw).unwrap().claims().unwrap_err().to_string().contains("recursion"));
}

proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 2000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_text_makes_it_panic(raw in any::<String>()) {
        let _ = (Compact::parse(&raw).and_then(|token| token.claims()), unverified_claims(&raw));
    }

    #[test]
    fn no_three_parts_make_it_panic(raw in r"[A-Za-z0-9_=+ -]{0,40}\.[A-Za-z0-9_=-]{0,40}\.[A-Za-z0-9_-]{0,40}") {
        let _ = (Compact::parse(&raw).and_then(|token| token.claims()), unverified_claims(&raw));
    }

    #[test]
    fn no_bytes_in_the_parts_make_it_panic(header in vec(any::<u8>(), 0..60), payload in vec(any::<u8>(), 0..60)) {
        let raw = format!("{}.{}.cw", encode(&header), encode(&payload));
        let _ = (Compact::parse(&raw).and_then(|token| token.claims()), unverified_claims(&raw));
    }

    #[test]
    fn what_decodes_encodes_to_the_same_text(part in "[A-Za-z0-9_=+/-]{0,12}") {
        if let Ok(bytes) = decode(&part, "x") {
            prop_assert_eq!(encode(&bytes), part);
        }
    }

    #[test]
    fn bytes_survive(bytes in vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(decode(&encode(&bytes), "x").unwrap(), bytes);
    }

    #[test]
    fn the_signature_covers_what_is_read(header in "[a-z]{0,9}", claim in any::<String>()) {
        let raw = compact(&json!({"alg": header}).to_string(), &json!({"claim": claim}).to_string(), b"s");
        let token = Compact::parse(&raw).unwrap();
        let signed = std::str::from_utf8(token.signing_input).unwrap();
        let (first, second) = signed.split_once('.').unwrap();
        prop_assert_eq!(encode(json!({"alg": &token.algorithm}).to_string().as_bytes()), first);
        prop_assert_eq!(encode(Value::Object(token.claims().unwrap()).to_string().as_bytes()), second);
        prop_assert!(raw.starts_with(signed));
    }
}
