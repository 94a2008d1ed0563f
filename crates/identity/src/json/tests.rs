use proptest::collection::{btree_map, vec};
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::{prop_assert, prop_assert_eq, proptest};
use serde_json::{Value, json};

use super::object;

#[test]
fn a_member_that_appears_twice_is_refused_wherever_it_is() {
    for text in [
        r#"{"a":1,"a":1}"#,
        r#"{"a":1,"b":2,"a":null}"#,
        r#"{"":1,"":2}"#,
        r#"{"o":{"a":1,"a":2}}"#,
        r#"{"o":[{"a":1,"a":2}]}"#,
        r#"{"o":[[{"x":{"a":{},"a":[]}}]]}"#,
        // The same name in another spelling.
        r#"{"a":1,"\u0061":2}"#,
        r#"{"é":1,"\u00e9":2}"#,
    ] {
        let error = object(text.as_bytes()).unwrap_err();
        assert!(error.contains("appears twice"), "{text}: {error}");
    }
}

#[test]
fn a_name_may_appear_again_in_another_object() {
    let text = r#"{"a":{"a":[{"a":1},{"a":2}]},"A":1,"a ":2}"#;
    let expected = json!({"a": {"a": [{"a": 1}, {"a": 2}]}, "A": 1, "a ": 2});
    assert_eq!(Value::Object(object(text.as_bytes()).unwrap()), expected);
}

#[test]
fn a_huge_name_that_appears_twice_does_not_fill_the_log() {
    let name = "\u{1}".repeat(10_000).escape_unicode().to_string();
    let name = name.replace(r"\u{1}", r"\u0001");
    let error = object(format!(r#"{{"{name}":1,"{name}":2}}"#).as_bytes()).unwrap_err();
    assert!(error.contains("appears twice"), "{error}");
    assert!(error.len() < 2000, "{} bytes", error.len());
}

#[test]
fn only_an_object_will_do() {
    for text in ["null", "true", "1", r#""{}""#, "[]", "[{}]", "", " "] {
        assert!(object(text.as_bytes()).is_err(), "{text:?}");
    }
    assert!(object(b" \t\r\n{ } \n").unwrap().is_empty());
}

#[test]
fn nothing_may_follow_or_precede_the_object() {
    for text in
        ["{}{}", "{}x", "{},", "{}]", "{}}", "{}null", "{}\0", "\u{feff}{}", "\0{}", "//\n{}", "{}/**/", "{}\u{a0}"]
    {
        assert!(object(text.as_bytes()).is_err(), "{text:?}");
    }
}

#[test]
fn what_only_lenient_parsers_read_is_refused() {
    for text in [
        r#"{"a":1,}"#,
        r#"{"a":[1,]}"#,
        r#"{a:1}"#,
        r#"{'a':1}"#,
        r#"{"a":'b'}"#,
        r#"{"a":NaN}"#,
        r#"{"a":Infinity}"#,
        r#"{"a":-Infinity}"#,
        r#"{"a":01}"#,
        r#"{"a":+1}"#,
        r#"{"a":.5}"#,
        r#"{"a":1.}"#,
        r#"{"a":0x10}"#,
        r#"{"a":True}"#,
        r#"{"a":undefined}"#,
        r#"{"a"}"#,
        r#"{"a":}"#,
        r#"{"a":1 "b":2}"#,
        r#"{"a":"\x41"}"#,
        r#"{"a":"\u12"}"#,
        r#"{1:1}"#,
        "{\"a\":\"\n\"}",
        "{\"a\":\"\0\"}",
        r#"{"a":1"#,
        r#"{"a":"b"#,
    ] {
        assert!(object(text.as_bytes()).is_err(), "{text:?}");
    }
}

#[test]
fn text_that_is_not_unicode_is_refused() {
    // A stray continuation byte, an overlong slash, a surrogate, beyond U+10FFFF, half a character.
    for bytes in [&b"\x80"[..], b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xff", b"\xe2\x82"] {
        for text in [[b"{\"a\":\"", bytes, b"\"}"].concat(), [b"{\"", bytes, b"\":1}"].concat()] {
            assert!(object(&text).is_err(), "{bytes:?}");
        }
    }
    for escape in [r"\ud800", r"\udc00", r"\ud800\ud800", r"\ud800x", r"\ud800\u0041"] {
        assert!(object(format!(r#"{{"a":"{escape}"}}"#).as_bytes()).is_err(), "{escape}");
    }
    assert_eq!(object(br#"{"a":"\ud83d\ude00"}"#).unwrap()["a"], "😀");
}

#[test]
fn nesting_is_bounded_and_does_not_overflow_the_stack() {
    let nested = |depth: usize, open: &str, close: &str| {
        object(format!(r#"{{"a":{}1{}}}"#, open.repeat(depth), close.repeat(depth)).as_bytes())
    };
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        assert!(nested(100, open, close).is_ok());
        for depth in [200, 10_000, 1_000_000] {
            assert!(nested(depth, open, close).unwrap_err().contains("recursion"), "{depth}");
        }
    }
    assert!(object("[".repeat(1_000_000).as_bytes()).is_err());
}

#[test]
fn numbers_keep_their_value() {
    let text = r#"{"min":-9223372036854775808,"max":18446744073709551615,"half":0.5,"exponent":1.8e9,"zero":-0}"#;
    let object = object(text.as_bytes()).unwrap();
    assert_eq!(object["min"].as_i64(), Some(i64::MIN));
    assert_eq!(object["max"].as_u64(), Some(u64::MAX));
    assert_eq!(object["half"].as_f64(), Some(0.5));
    assert_eq!(object["exponent"].as_f64(), Some(1.8e9));
    assert_eq!(object["zero"].as_f64(), Some(0.0));
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            btree_map(any::<String>(), inner, 0..5).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 1000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn an_object_is_read_as_it_was_written(members in btree_map(any::<String>(), value(), 0..6)) {
        let written = Value::Object(members.into_iter().collect());
        prop_assert_eq!(Value::Object(object(written.to_string().as_bytes()).unwrap()), written);
    }

    #[test]
    fn a_second_member_of_any_name_is_refused(name in any::<String>(), first in value(), second in value()) {
        let name = Value::from(name);
        let text = format!("{{{name}:{first},\"other\":[{{{name}:{second},{name}:{first}}}]}}");
        prop_assert!(object(text.as_bytes()).is_err());
    }

    #[test]
    fn whatever_is_read_reads_the_same_elsewhere(text in r#"[{}\[\]",:a0-2eE.+\\ nu-]{0,24}"#) {
        if let Ok(read) = object(text.as_bytes()) {
            prop_assert_eq!(Value::Object(read), serde_json::from_str::<Value>(&text).unwrap());
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = object(&bytes);
    }
}
