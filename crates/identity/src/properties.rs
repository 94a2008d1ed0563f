//! What must hold for every token: a change to a valid one is never accepted, nothing panics, and whoever is verified
//! has a name that a header carries unchanged.

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::{Index, select};
use proptest::test_runner::Config;
use proptest::{prop_assert, prop_assert_eq, prop_assume, proptest};
use serde_json::{Value, json};

use crate::UnixTime;
use crate::algorithm::Algorithm;
use crate::rules::{ReservedGroups, Rules};
use crate::testing::{
    AUDIENCE, ISSUER, NOW, claims, encode, header, key_for, keys, prefixed, rules, signed, token, verify_token,
};
use crate::verify::{VerifiedIdentity, unverified_issuer, verify};

const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// All of them, so that nothing is left to chance.
#[test]
fn no_token_with_one_bit_changed_is_accepted() {
    let keys = keys();
    for algorithm in Algorithm::ALL {
        let token = token(algorithm, &claims());
        assert!(verify(&token, keys, &rules(), UnixTime(NOW)).is_ok());
        let mut tried = 0;
        for place in 0..token.len() {
            // The eighth bit leaves ASCII, and a header that is text.
            for bit in 0..7 {
                let mut bytes = token.clone().into_bytes();
                bytes[place] ^= 1 << bit;
                let changed = String::from_utf8(bytes).unwrap();
                assert!(
                    verify(&changed, keys, &rules(), UnixTime(NOW)).is_err(),
                    "{algorithm:?} at {place}: {changed}"
                );
                tried += 1;
            }
        }
        assert!(tried > 1500, "{tried}");
    }
}

/// Among them are the spellings that would decode to the same bytes.
#[test]
fn no_token_with_one_character_changed_is_accepted() {
    let keys = keys();
    let token = token(Algorithm::Es256, &claims());
    for place in 0..token.len() {
        for other in ALPHABET.iter().chain(b"=.+/ \n\0").filter(|other| **other != token.as_bytes()[place]) {
            let mut bytes = token.clone().into_bytes();
            bytes[place] = *other;
            let changed = String::from_utf8(bytes).unwrap();
            assert!(verify(&changed, keys, &rules(), UnixTime(NOW)).is_err(), "{place}: {changed}");
        }
    }
}

#[test]
fn no_token_with_one_bit_of_its_signature_changed_is_accepted() {
    let keys = keys();
    for algorithm in Algorithm::ALL {
        let token = token(algorithm, &claims());
        let (message, _) = token.rsplit_once('.').unwrap();
        let signature = key_for(algorithm).0.sign(algorithm, message.as_bytes());
        for place in 0..signature.len() {
            for bit in 0..8 {
                let mut changed = signature.clone();
                changed[place] ^= 1 << bit;
                let changed = format!("{message}.{}", encode(&changed));
                assert!(verify(&changed, keys, &rules(), UnixTime(NOW)).is_err(), "{algorithm:?} at {place}");
            }
        }
    }
}

#[test]
fn no_piece_of_a_token_is_accepted() {
    let keys = keys();
    let token = token(Algorithm::Rs256, &claims());
    for place in 0..token.len() {
        for piece in [&token[..place], &token[place + 1..]] {
            assert!(verify(piece, keys, &rules(), UnixTime(NOW)).is_err(), "{piece}");
        }
        let without = format!("{}{}", &token[..place], &token[place + 1..]);
        assert!(verify(&without, keys, &rules(), UnixTime(NOW)).is_err(), "{without}");
    }
}

/// A name that a header may not carry, or almost such a name.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[a-z@.:-]{1,12}",
        "[ \t\n\u{0}\u{7f}\u{85}\u{a0}\u{2003}\u{200b}\u{3000}a-c]{0,6}",
        "(s|sy|sys|system|system:|System:|SYSTEM:)?(tem:|:|masters|admin)?[a-z]{0,3}",
    ]
}

fn prefix() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), Just("keyway:".to_owned()), name()]
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ((NOW - 100)..(NOW + 100)).prop_map(Value::from),
        name().prop_map(Value::from),
        Just(json!(ISSUER)),
        Just(json!(AUDIENCE)),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        leaf(),
        vec(leaf(), 0..4).prop_map(Value::from),
        (name(), leaf()).prop_map(|(name, value)| json!({name: value})),
    ]
}

fn is_header_text(text: &str) -> bool {
    !text.is_empty()
        && !text.chars().any(char::is_control)
        && !text.chars().next().is_some_and(char::is_whitespace)
        && !text.chars().next_back().is_some_and(char::is_whitespace)
}

/// Why this identity should never have been verified.
fn fault(identity: &VerifiedIdentity, rules: &Rules) -> Option<String> {
    let reserved = |name: &str| name.starts_with("system:");
    if !is_header_text(identity.username()) || reserved(identity.username()) {
        return Some(format!("the user {:?}", identity.username()));
    }
    let allowed = ["system:authenticated", "system:allowed"];
    for group in identity.groups() {
        if !is_header_text(group) || (reserved(group) && !allowed.contains(&group.as_str())) {
            return Some(format!("the group {group:?}"));
        }
    }
    if !identity.username().starts_with(&rules.username.prefix) {
        return Some("the prefix".to_owned());
    }
    let extras = identity.extra().iter().flat_map(|(name, values)| values.iter().chain([name]));
    identity.uid().into_iter().chain(extras.map(String::as_str)).find(|text| !is_header_text(text)).map(str::to_owned)
}

fn some_rules(user_prefix: String, group_prefix: String) -> Rules {
    Rules {
        username: crate::rules::PrefixedClaim { claim: "sub".to_owned(), prefix: user_prefix },
        groups: Some(crate::rules::PrefixedClaim { claim: "groups".to_owned(), prefix: group_prefix }),
        uid_claim: Some("uid".to_owned()),
        reserved: ReservedGroups::new(vec!["system:allowed".to_owned()]).unwrap(),
        ..rules()
    }
}

proptest! {
    #![proptest_config(Config { cases: 2000, failure_persistence: None, ..Config::default() })]

    #[test]
    fn no_changed_token_is_accepted(
        algorithm in select(&Algorithm::ALL[..]),
        edits in vec((any::<Index>(), 0..4_u8, select(ALPHABET)), 1..4),
    ) {
        let original = token(algorithm, &claims());
        let mut bytes = original.clone().into_bytes();
        for (place, edit, other) in edits {
            let place = place.index(bytes.len());
            match edit {
                0 => bytes[place] = other,
                1 => bytes.insert(place, other),
                2 => drop(bytes.remove(place)),
                _ => bytes.swap(place, 0),
            }
        }
        let changed = String::from_utf8(bytes).unwrap();
        prop_assume!(changed != original);
        prop_assert!(verify_token(&changed).is_err(), "{}", changed);
    }

    #[test]
    fn no_text_makes_it_panic_or_is_accepted(raw in prop_oneof![any::<String>(), r"[A-Za-z0-9_.=-]{0,80}"]) {
        prop_assert!(verify_token(&raw).is_err());
        let _ = unverified_issuer(&raw);
    }

    #[test]
    fn no_signed_bytes_make_it_panic(header in vec(any::<u8>(), 0..60), payload in vec(any::<u8>(), 0..60)) {
        prop_assert!(verify_token(&signed(Algorithm::Es256, &header, &payload)).is_err());
        let usual = crate::testing::header(Algorithm::Es256).to_string();
        prop_assert!(verify_token(&signed(Algorithm::Es256, &usual, &payload)).is_err());
        prop_assert!(verify_token(&signed(Algorithm::Es256, &header, &claims().to_string())).is_err());
    }

    #[test]
    fn no_header_of_the_issuer_makes_it_panic(members in vec((name(), value()), 0..4)) {
        let mut header = header(Algorithm::Es256);
        for (name, value) in members {
            header[name] = value;
        }
        if let Ok(identity) = verify_token(&signed(Algorithm::Es256, &header.to_string(), &claims().to_string())) {
            prop_assert_eq!(identity.username(), "joe");
        }
    }

    #[test]
    fn whoever_is_verified_has_a_name_that_a_header_carries(
        sub in name(), uid in name(), jti in name(), groups in vec(name(), 0..3), prefixes in (prefix(), prefix()),
    ) {
        let rules = some_rules(prefixes.0, prefixes.1);
        let mut claims = claims();
        for (name, value) in [("sub", json!(sub)), ("uid", json!(uid)), ("jti", json!(jti)), ("groups", json!(groups))] {
            claims[name] = value;
        }
        if let Ok(identity) = verify(&token(Algorithm::Es256, &claims), keys(), &rules, UnixTime(NOW)) {
            prop_assert_eq!(fault(&identity, &rules), None);
            prop_assert_eq!(identity.username(), format!("{}{sub}", rules.username.prefix));
            let prefix = rules.groups.as_ref().map(|rule| rule.prefix.clone()).unwrap_or_default();
            let expected: Vec<String> = groups.iter().map(|group| format!("{prefix}{group}")).collect();
            prop_assert_eq!(identity.groups(), expected);
            prop_assert_eq!(identity.uid(), Some(uid.as_str()));
        }
    }

    #[test]
    fn ordinary_names_are_verified(sub in "[a-z][a-z@.-]{0,20}[a-z]", groups in vec("[a-z][a-z ]{0,9}[a-z]", 0..4)) {
        let mut claims = claims();
        claims["sub"] = json!(sub);
        claims["groups"] = json!(groups);
        let rules = Rules { username: prefixed("keyway:", "sub"), ..rules() };
        let identity = verify(&token(Algorithm::Es256, &claims), keys(), &rules, UnixTime(NOW)).unwrap();
        prop_assert_eq!(identity.username(), format!("keyway:{sub}"));
        prop_assert_eq!(identity.groups(), groups);
    }

    #[test]
    fn no_claims_of_the_issuer_prove_more_than_they_say(
        members in vec((select(&["iss", "aud", "exp", "nbf", "iat", "sub", "groups", "uid", "jti", "_claim_names"][..]), value()), 1..4),
    ) {
        let rules = some_rules(String::new(), String::new());
        let mut claims = claims();
        claims["uid"] = json!("u-1");
        for (name, value) in members {
            claims[name] = value;
        }
        if let Ok(identity) = verify(&token(Algorithm::Es256, &claims), keys(), &rules, UnixTime(NOW)) {
            prop_assert_eq!(fault(&identity, &rules), None);
            prop_assert_eq!(&claims["iss"], ISSUER);
            let audience = &claims["aud"];
            let named = audience == AUDIENCE || audience.as_array().is_some_and(|list| list.contains(&json!(AUDIENCE)));
            prop_assert!(named, "{}", audience);
            prop_assert!(identity.expires_at() > UnixTime(NOW));
            prop_assert!(claims["exp"].as_f64().is_some_and(|exp| exp > 1_800_000_000.0));
            prop_assert!(claims["nbf"].as_f64().unwrap_or_default() < 1_800_000_061.0);
            prop_assert_eq!(claims["sub"].as_str(), Some(identity.username()));
        }
    }
}
