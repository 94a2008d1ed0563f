use serde_json::{Map, Value, json};

use super::{audience, extra, form, groups, issuer, lifetime, required, text, uid, username};
use crate::UnixTime;
use crate::rejection::Rejection;
use crate::rules::ReservedGroups;
use crate::testing::{AUDIENCE, ISSUER, NOW, claims, object, prefixed};

/// The values that are not strings.
fn no_strings() -> [Value; 6] {
    [json!(1), json!(0.5), json!(true), json!([]), json!(["joe"]), json!({"joe": "joe"})]
}

fn reason<T: std::fmt::Debug>(result: Result<T, Rejection>) -> &'static str {
    result.unwrap_err().reason()
}

mod of_the_issuer {
    use super::{ISSUER, Map, issuer, json, no_strings, object, reason};

    #[test]
    fn googles_may_lack_its_scheme_and_no_other() {
        let without = |host: &str| object(&json!({"iss": host}));
        assert_eq!(issuer(&without("accounts.google.com"), "https://accounts.google.com"), Ok(()));
        assert_eq!(issuer(&without("https://accounts.google.com"), "https://accounts.google.com"), Ok(()));
        assert!(issuer(&without("accounts.google.com/"), "https://accounts.google.com").is_err());
        assert!(issuer(&without("accounts.google.com"), ISSUER).is_err());
    }

    #[test]
    fn is_exactly_the_configured_one() {
        assert_eq!(issuer(&object(&json!({"iss": ISSUER})), ISSUER), Ok(()));
        for other in [
            "",
            "https://issuer.example.com/",
            "https://issuer.example.com:443",
            "https://Issuer.example.com",
            "HTTPS://issuer.example.com",
            "http://issuer.example.com",
            "issuer.example.com",
            " https://issuer.example.com",
            "https://issuer.example.com ",
            "https://issuer.example.com\0",
            "https://issuer.example.com\n",
            "https://issuer.example.com.evil.example",
            "https://issuer.example.co",
            "https://issuer.example.com/realms/other",
            "https://issuer.example.com?",
            "https://issuer.example.com#",
        ] {
            assert_eq!(reason(issuer(&object(&json!({"iss": other})), ISSUER)), "issuer", "{other:?}");
        }
    }

    #[test]
    fn with_a_slash_is_not_the_one_without() {
        assert_eq!(reason(issuer(&object(&json!({"iss": ISSUER})), &format!("{ISSUER}/"))), "issuer");
    }

    #[test]
    fn must_be_a_string_and_there() {
        assert_eq!(reason(issuer(&Map::new(), ISSUER)), "issuer");
        assert_eq!(reason(issuer(&object(&json!({"iss": null})), ISSUER)), "issuer");
        assert_eq!(reason(issuer(&object(&json!({"iss": [ISSUER]})), ISSUER)), "issuer");
        assert_eq!(reason(issuer(&object(&json!({"ISS": ISSUER})), ISSUER)), "issuer");
        for value in no_strings() {
            assert_eq!(reason(issuer(&object(&json!({"iss": value})), ISSUER)), "issuer", "{value}");
        }
    }
}

mod of_the_audience {
    use super::{AUDIENCE, Map, Rejection, Value, audience, json, object, reason};

    fn check(value: &Value) -> Result<(), Rejection> {
        audience(&object(&json!({"aud": value})), &[AUDIENCE.to_owned(), "other".to_owned()])
    }

    #[test]
    fn one_of_either_side_is_enough() {
        let many: Vec<String> = (0..1000).map(|n| n.to_string()).chain([AUDIENCE.to_owned()]).collect();
        for value in [
            json!(AUDIENCE),
            json!("other"),
            json!([AUDIENCE]),
            json!(["unknown", AUDIENCE]),
            json!([AUDIENCE, "other"]),
            json!([AUDIENCE, AUDIENCE]),
            json!(many),
        ] {
            assert_eq!(check(&value), Ok(()), "{value}");
        }
    }

    #[test]
    fn another_or_none_is_refused() {
        assert_eq!(reason(audience(&Map::new(), &[AUDIENCE.to_owned()])), "audience");
        for value in [
            json!("unknown"),
            json!(""),
            json!([]),
            json!([""]),
            json!(["unknown", "Keyway", "keyway ", " keyway", "keyway\0", "keywa", "keyway2", "keyway/"]),
            json!("keyway other"),
            json!("keyway,other"),
            json!(r#"["keyway"]"#),
            json!(null),
            json!(1),
            json!(true),
            json!({AUDIENCE: AUDIENCE}),
            json!({"0": AUDIENCE}),
        ] {
            assert_eq!(reason(check(&value)), "audience", "{value}");
        }
    }

    #[test]
    fn a_list_of_more_than_strings_is_refused_even_if_the_right_one_is_there() {
        for other in [json!(1), json!(null), json!(true), json!({}), json!([AUDIENCE])] {
            assert_eq!(reason(check(&json!([AUDIENCE, other]))), "audience", "{other}");
            assert_eq!(reason(check(&json!([other, AUDIENCE]))), "audience", "{other}");
        }
        assert_eq!(reason(check(&json!([[AUDIENCE]]))), "audience");
    }

    #[test]
    fn nothing_is_accepted_if_nothing_is_configured() {
        for value in [json!(AUDIENCE), json!(""), json!([]), json!([""])] {
            assert_eq!(reason(audience(&object(&json!({"aud": value})), &[])), "audience", "{value}");
        }
    }
}

mod of_the_lifetime {
    use super::{Map, NOW, Rejection, UnixTime, Value, json, lifetime, no_strings, object, reason};

    fn at(claims: &Value, now: i64) -> Result<i64, Rejection> {
        lifetime(&object(claims), UnixTime(now)).map(|expires_at| expires_at.0)
    }

    fn expires(exp: &Value) -> Result<i64, Rejection> {
        at(&json!({"exp": exp}), NOW)
    }

    #[test]
    fn a_token_counts_until_the_second_before_its_expiry() {
        assert_eq!(at(&json!({"exp": NOW}), NOW - 1), Ok(NOW));
        assert_eq!(reason(at(&json!({"exp": NOW}), NOW)), "expired");
        assert_eq!(reason(at(&json!({"exp": NOW}), NOW + 1)), "expired");
        assert_eq!(at(&json!({"exp": NOW + 1}), NOW), Ok(NOW + 1));
    }

    #[test]
    fn a_token_without_expiry_does_not_count() {
        assert_eq!(reason(at(&json!({}), NOW)), "expired");
        assert_eq!(reason(at(&json!({"Exp": NOW + 1, "expires_in": 600}), NOW)), "expired");
        assert_eq!(reason(expires(&Value::Null)), "malformed");
    }

    #[test]
    fn the_fraction_of_a_date_is_cut_off() {
        assert_eq!(expires(&json!(1_800_000_001.9)), Ok(NOW + 1));
        assert_eq!(expires(&json!(1.800_000_6e9)), Ok(NOW + 600));
        assert_eq!(reason(expires(&json!(1_800_000_000.9))), "expired");
    }

    #[test]
    fn a_date_is_a_number() {
        let after = NOW + 600;
        for name in ["exp", "nbf", "iat"] {
            for value in no_strings().into_iter().filter(|value| !value.is_number()).chain([
                json!(after.to_string()),
                json!((NOW - 600).to_string()),
                json!(""),
                json!("2027-01-15T08:00:00Z"),
                json!([after]),
            ]) {
                let mut claims = json!({"exp": after});
                claims[name] = value.clone();
                assert_eq!(reason(at(&claims, NOW)), "malformed", "{name}: {value}");
            }
        }
    }

    #[test]
    fn a_past_before_1970_is_past() {
        for past in [json!(0), json!(-1), json!(-0.5), json!(-1_800_000_600), json!(-1e14)] {
            assert_eq!(reason(expires(&past)), "expired", "{past}");
        }
    }

    #[test]
    fn a_date_beyond_all_reason_is_refused_so_that_nothing_overflows() {
        for name in ["exp", "nbf", "iat"] {
            for value in [
                json!(i64::MAX),
                json!(i64::MIN),
                json!(u64::MAX),
                json!(1e300),
                json!(-1e300),
                json!(1e15),
                json!(1_000_000_000_000_000_i64),
                json!(-1_000_000_000_000_000_i64),
                json!(f64::MAX),
            ] {
                let mut claims = json!({"exp": NOW + 600});
                claims[name] = value.clone();
                assert_eq!(reason(at(&claims, NOW)), "malformed", "{name}: {value}");
            }
        }
        assert_eq!(expires(&json!(999_999_999_999_999_i64)), Ok(999_999_999_999_999));
        assert_eq!(expires(&json!(999_999_999_999_999.0)), Ok(999_999_999_999_999));
    }

    #[test]
    fn not_before_has_a_leeway_of_a_minute() {
        let from = |nbf: Value| at(&json!({"exp": NOW + 600, "nbf": nbf}), NOW);
        for nbf in [json!(NOW - 1), json!(NOW), json!(NOW + 60), json!(1_800_000_060.9), json!(0), json!(-5)] {
            assert_eq!(from(nbf.clone()), Ok(NOW + 600), "{nbf}");
        }
        for nbf in [json!(NOW + 61), json!(1_800_000_061.0), json!(NOW + 599), json!(NOW + 6000)] {
            assert_eq!(reason(from(nbf.clone())), "not_yet_valid", "{nbf}");
        }
        assert_eq!(from(Value::Null), Ok(NOW + 600));
    }

    #[test]
    fn an_expired_token_is_expired_even_if_it_is_not_valid_yet() {
        assert_eq!(reason(at(&json!({"exp": NOW, "nbf": NOW + 600}), NOW)), "expired");
    }

    #[test]
    fn when_it_was_issued_is_no_condition() {
        for iat in [json!(NOW + 6000), json!(0), json!(-1), json!(0.5)] {
            assert_eq!(at(&json!({"exp": NOW + 600, "iat": iat}), NOW), Ok(NOW + 600), "{iat}");
        }
        assert_eq!(reason(at(&json!({"exp": NOW + 600, "iat": null}), NOW)), "malformed");
    }

    #[test]
    fn no_clock_makes_it_overflow() {
        let claims = json!({"exp": 999_999_999_999_999_i64, "nbf": -999_999_999_999_999_i64});
        assert_eq!(reason(at(&claims, i64::MAX)), "expired");
        assert_eq!(reason(at(&claims, i64::MIN)), "not_yet_valid");
        assert_eq!(reason(lifetime(&Map::new(), UnixTime(i64::MIN))), "expired");
    }
}

mod that_are_required {
    use super::{Rejection, Value, json, no_strings, object, reason, required};

    fn demand(claims: &Value, wanted: &[(&str, &str)]) -> Result<(), Rejection> {
        let wanted: Vec<_> = wanted.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        required(&object(claims), &wanted)
    }

    #[test]
    fn are_strings_of_exactly_the_wanted_value() {
        let claims = json!({"hd": "example.com", "team": "platform"});
        assert_eq!(demand(&claims, &[]), Ok(()));
        assert_eq!(demand(&claims, &[("hd", "example.com")]), Ok(()));
        for wanted in
            ["example.co", "example.com2", "Example.com", " example.com", "example.com ", "", "*", "example.*"]
        {
            assert_eq!(reason(demand(&claims, &[("hd", wanted)])), "required_claim", "{wanted:?}");
        }
    }

    #[test]
    fn are_all_required() {
        let claims = json!({"hd": "example.com", "team": "platform"});
        assert_eq!(demand(&claims, &[("hd", "example.com"), ("team", "platform")]), Ok(()));
        assert_eq!(reason(demand(&claims, &[("hd", "example.com"), ("team", "x")])), "required_claim");
        assert_eq!(reason(demand(&claims, &[("hd", "x"), ("team", "platform")])), "required_claim");
        assert_eq!(reason(demand(&claims, &[("hd", "example.com"), ("absent", "x")])), "required_claim");
    }

    #[test]
    fn are_not_met_by_what_looks_like_the_value() {
        assert_eq!(reason(demand(&json!({}), &[("admin", "")])), "required_claim");
        assert_eq!(reason(demand(&json!({"admin": null}), &[("admin", "")])), "required_claim");
        assert_eq!(reason(demand(&json!({"admin": null}), &[("admin", "null")])), "required_claim");
        assert_eq!(reason(demand(&json!({"admin": true}), &[("admin", "true")])), "required_claim");
        assert_eq!(reason(demand(&json!({"admin": 1}), &[("admin", "1")])), "required_claim");
        assert_eq!(reason(demand(&json!({"admin": ["yes"]}), &[("admin", "yes")])), "required_claim");
        assert_eq!(reason(demand(&json!({"x": {"admin": "yes"}}), &[("x.admin", "yes")])), "required_claim");
        assert_eq!(reason(demand(&json!({"Admin": "yes"}), &[("admin", "yes")])), "required_claim");
        for value in no_strings() {
            assert_eq!(reason(demand(&json!({"admin": value}), &[("admin", "joe")])), "required_claim", "{value}");
        }
    }
}

mod of_the_user_name {
    use super::{Rejection, Value, json, no_strings, object, prefixed, reason, username};

    fn named(prefix: &str, sub: &Value) -> Result<String, Rejection> {
        username(&object(&json!({"sub": sub})), &prefixed(prefix, "sub"))
    }

    fn email(claims: &Value) -> Result<String, Rejection> {
        username(&object(claims), &prefixed("", "email"))
    }

    #[test]
    fn is_the_claim_behind_its_prefix() {
        assert_eq!(named("", &json!("joe")).as_deref(), Ok("joe"));
        assert_eq!(named("keyway:", &json!("joe")).as_deref(), Ok("keyway:joe"));
        assert_eq!(named("https://issuer.example.com#", &json!("42")).as_deref(), Ok("https://issuer.example.com#42"));
        for name in ["joe@example.com", "Joe Doe", "José", "李雷", "a", "system", "systems:x", "System:admin", "-"] {
            assert_eq!(named("", &json!(name)).as_deref(), Ok(name));
        }
    }

    #[test]
    fn is_a_string_and_there() {
        assert_eq!(reason(username(&object(&json!({"SUB": "joe", "name": "joe"})), &prefixed("", "sub"))), "username");
        assert_eq!(reason(named("", &Value::Null)), "username");
        assert_eq!(reason(named("p:", &Value::Null)), "username");
        for value in no_strings() {
            assert_eq!(reason(named("", &value)), "username", "{value}");
            assert_eq!(reason(named("p:", &value)), "username", "{value}");
        }
    }

    #[test]
    fn is_not_blank_and_no_prefix_hides_that() {
        for blank in ["", " ", "\t", "\u{a0}", "\u{2003}", "\u{3000}", "\u{85}", "\r\n", "   "] {
            for prefix in ["", "keyway:", " "] {
                assert_eq!(reason(named(prefix, &json!(blank))), "username", "{prefix:?} {blank:?}");
            }
        }
    }

    #[test]
    fn has_no_whitespace_around_it_and_no_prefix_hides_that() {
        for padded in [" joe", "joe ", "\tjoe", "joe\u{a0}", "\u{a0}joe", "\u{2009}joe", "joe\u{3000}", "\u{2028}joe"] {
            for prefix in ["", "keyway:"] {
                assert_eq!(reason(named(prefix, &json!(padded))), "username", "{prefix:?} {padded:?}");
            }
        }
        assert_eq!(reason(named(" keyway:", &json!("joe"))), "username");
    }

    #[test]
    fn has_no_control_character_anywhere() {
        for name in [
            "jo\0e",
            "\0",
            "joe\0",
            "jo\ne",
            "jo\re",
            "joe\r\nImpersonate-Group: system:masters",
            "jo\te",
            "jo\u{7f}e",
            "jo\u{85}e",
            "\u{1b}[31mjoe",
        ] {
            for prefix in ["", "keyway:"] {
                assert_eq!(reason(named(prefix, &json!(name))), "username", "{prefix:?} {name:?}");
            }
        }
        assert_eq!(reason(named("a\0", &json!("joe"))), "username");
    }

    #[test]
    fn may_have_an_invisible_character_that_is_no_whitespace() {
        assert_eq!(named("", &json!("\u{200b}joe")).as_deref(), Ok("\u{200b}joe"));
    }

    #[test]
    fn is_never_one_that_kubernetes_reserves() {
        for (prefix, name) in [
            ("", "system:"),
            ("", "system:admin"),
            ("", "system:masters"),
            ("", "system:anonymous"),
            ("", "system:serviceaccount:kube-system:default"),
            ("", "system:node:n1"),
            ("", "system:authenticated"),
            ("system:", "admin"),
            ("sys", "tem:admin"),
            ("s", "ystem:x"),
            ("system", ":x"),
            ("system:x:", "y"),
        ] {
            assert_eq!(reason(named(prefix, &json!(name))), "reserved", "{prefix:?} {name:?}");
        }
        assert_eq!(named("keyway:", &json!("system:admin")).as_deref(), Ok("keyway:system:admin"));
        // Neither a way around it: not the same name for Kubernetes.
        assert_eq!(named("", &json!("SYSTEM:admin")).as_deref(), Ok("SYSTEM:admin"));
        assert_eq!(reason(named("", &json!(" system:admin"))), "username");
    }

    #[test]
    fn is_no_email_that_the_issuer_has_not_verified() {
        assert_eq!(email(&json!({"email": "joe@example.com"})).as_deref(), Ok("joe@example.com"));
        assert_eq!(
            email(&json!({"email": "joe@example.com", "email_verified": true})).as_deref(),
            Ok("joe@example.com")
        );
        for verified in [
            json!(false),
            json!("true"),
            json!("false"),
            json!(""),
            json!(1),
            json!(0),
            json!(null),
            json!([true]),
            json!({}),
        ] {
            let claims = json!({"email": "joe@example.com", "email_verified": verified});
            assert_eq!(reason(email(&claims)), "email_not_verified", "{verified}");
        }
        assert_eq!(reason(email(&json!({"email_verified": true}))), "username");
        let prefix = prefixed("keyway:", "email");
        let claims = json!({"email": "joe@example.com", "email_verified": false});
        assert_eq!(reason(username(&object(&claims), &prefix)), "email_not_verified");
    }

    #[test]
    fn of_another_claim_does_not_depend_on_the_email() {
        let claims =
            json!({"sub": "joe", "Email": "joe@example.com", "email": "joe@example.com", "email_verified": false});
        assert_eq!(username(&object(&claims), &prefixed("", "sub")).as_deref(), Ok("joe"));
        assert_eq!(username(&object(&claims), &prefixed("", "Email")).as_deref(), Ok("joe@example.com"));
    }
}

mod of_the_groups {
    use super::{Map, Rejection, ReservedGroups, Value, groups, json, object, prefixed, reason};

    fn named(prefix: &str, value: &Value) -> Result<Vec<String>, Rejection> {
        groups(&object(&json!({"groups": value})), Some(&prefixed(prefix, "groups")), &ReservedGroups::default())
    }

    fn allowing(allowed: &[&str], prefix: &str, value: &Value) -> Result<Vec<String>, Rejection> {
        let reserved = ReservedGroups::new(allowed.iter().map(|group| (*group).to_owned()).collect()).unwrap();
        groups(&object(&json!({"groups": value})), Some(&prefixed(prefix, "groups")), &reserved)
    }

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn are_a_list_or_one_string_each_behind_the_prefix() {
        assert_eq!(named("", &json!("dev")), Ok(list(&["dev"])));
        assert_eq!(named("", &json!(["ops", "dev", "ops"])), Ok(list(&["ops", "dev", "ops"])));
        assert_eq!(named("keyway:", &json!("dev")), Ok(list(&["keyway:dev"])));
        assert_eq!(named("keyway:", &json!(["dev", "Ops Team"])), Ok(list(&["keyway:dev", "keyway:Ops Team"])));
        // No list hides in a string.
        assert_eq!(named("", &json!("dev,ops")), Ok(list(&["dev,ops"])));
        assert_eq!(named("", &json!(r#"["dev"]"#)), Ok(list(&[r#"["dev"]"#])));
    }

    #[test]
    fn are_none_if_the_claim_is_absent_empty_or_not_configured() {
        let rule = prefixed("", "groups");
        assert_eq!(groups(&Map::new(), Some(&rule), &ReservedGroups::default()), Ok(vec![]));
        assert_eq!(groups(&object(&json!({"Groups": ["dev"]})), Some(&rule), &ReservedGroups::default()), Ok(vec![]));
        assert_eq!(named("", &json!(null)), Ok(vec![]));
        assert_eq!(named("keyway:", &json!(null)), Ok(vec![]));
        assert_eq!(named("keyway:", &json!([])), Ok(vec![]));
        let masters = object(&json!({"groups": ["system:masters", 1]}));
        assert_eq!(groups(&masters, None, &ReservedGroups::default()), Ok(vec![]));
    }

    #[test]
    fn are_nothing_but_strings() {
        for value in [json!(1), json!(0.5), json!(true), json!({}), json!({"dev": true}), json!({"0": "dev"})] {
            assert_eq!(reason(named("", &value)), "groups", "{value}");
        }
        for other in [json!(1), json!(true), json!(null), json!({}), json!([]), json!(["ops"])] {
            assert_eq!(reason(named("", &json!(["dev", other]))), "groups", "{other}");
            assert_eq!(reason(named("keyway:", &json!([other, "dev"]))), "groups", "{other}");
        }
    }

    #[test]
    fn refuse_the_token_if_one_of_them_is_unusable() {
        for bad in [
            "",
            " ",
            "\t",
            "\u{a0}",
            " ops",
            "ops ",
            "ops\u{3000}",
            "o\0ps",
            "ops\n",
            "ops\r\nX: y",
            "o\u{85}ps",
            "\u{7f}",
        ] {
            for prefix in ["", "keyway:"] {
                assert_eq!(reason(named(prefix, &json!(bad))), "groups", "{prefix:?} {bad:?}");
                assert_eq!(reason(named(prefix, &json!(["dev", bad]))), "groups", "{prefix:?} {bad:?}");
                assert_eq!(reason(named(prefix, &json!([bad, "dev"]))), "groups", "{prefix:?} {bad:?}");
            }
        }
        assert_eq!(reason(named(" ", &json!(["dev"]))), "groups");
    }

    #[test]
    fn that_kubernetes_reserves_refuse_the_token() {
        for (prefix, group) in [
            ("", "system:masters"),
            ("", "system:"),
            ("", "system:nodes"),
            ("", "system:unauthenticated"),
            ("", "system:serviceaccounts:kube-system"),
            ("system:", "masters"),
            ("sys", "tem:masters"),
            ("system", ":masters"),
        ] {
            assert_eq!(reason(named(prefix, &json!(group))), "reserved", "{prefix:?} {group:?}");
            assert_eq!(reason(named(prefix, &json!(["x", group]))), "reserved", "{prefix:?} {group:?}");
            assert_eq!(
                reason(allowing(&["system:other"], prefix, &json!([group]))),
                "reserved",
                "{prefix:?} {group:?}"
            );
        }
        assert_eq!(named("keyway:", &json!("system:masters")), Ok(list(&["keyway:system:masters"])));
    }

    #[test]
    fn that_are_reserved_are_allowed_by_their_whole_name() {
        let allowed = ["system:masters"];
        assert_eq!(allowing(&allowed, "", &json!(["system:masters", "dev"])), Ok(list(&["system:masters", "dev"])));
        assert_eq!(allowing(&allowed, "system:", &json!("masters")), Ok(list(&["system:masters"])));
        assert_eq!(reason(allowing(&allowed, "", &json!(["system:masters", "system:nodes"]))), "reserved");
        assert_eq!(reason(allowing(&allowed, "", &json!("system:masters2"))), "reserved");
        // Allowed is not excused: the name must be one that a header carries.
        assert_eq!(reason(allowing(&["system:masters "], "", &json!("system:masters "))), "groups");
    }

    #[test]
    fn of_whoever_has_proved_anything_are_allowed() {
        assert_eq!(named("", &json!(["system:authenticated"])), Ok(list(&["system:authenticated"])));
    }

    #[test]
    fn that_are_distributed_refuse_the_token() {
        let rule = prefixed("", "groups");
        let with = |claims: Value| groups(&object(&claims), Some(&rule), &ReservedGroups::default());
        let sources = json!({"a": {"endpoint": "https://graph.example.com/groups"}});
        let rejection = with(json!({"_claim_names": {"groups": "a"}, "_claim_sources": sources})).unwrap_err();
        assert_eq!(rejection.reason(), "groups");
        assert!(rejection.to_string().contains("distributed"), "{rejection}");
        // Aggregated ones too, for they are as absent.
        let aggregated = json!({"a": {"JWT": "e30.e30.e30"}});
        assert_eq!(reason(with(json!({"_claim_names": {"groups": "a"}, "_claim_sources": aggregated}))), "groups");
        // Those of other claims are no concern, and a claim that is there needs no source.
        assert_eq!(with(json!({"_claim_names": {"roles": "a"}, "_claim_sources": sources})), Ok(vec![]));
        let both = json!({"groups": ["dev"], "_claim_names": {"groups": "a"}, "_claim_sources": sources});
        assert_eq!(with(both), Ok(list(&["dev"])));
    }
}

mod of_the_uid {
    use super::{Rejection, Value, json, no_strings, object, reason, uid};

    fn of(value: &Value) -> Result<Option<String>, Rejection> {
        uid(&object(&json!({"oid": value})), Some("oid"))
    }

    #[test]
    fn is_the_claim_as_it_is() {
        assert_eq!(of(&json!("u-1")), Ok(Some("u-1".to_owned())));
        assert_eq!(of(&json!("system:x")), Ok(Some("system:x".to_owned())));
        assert_eq!(uid(&object(&json!({"oid": 1})), None), Ok(None));
    }

    #[test]
    fn must_be_there_if_it_is_configured() {
        assert_eq!(reason(uid(&object(&json!({"OID": "u-1", "sub": "joe"})), Some("oid"))), "uid");
        assert_eq!(reason(of(&json!(null))), "uid");
        for value in no_strings() {
            assert_eq!(reason(of(&value)), "uid", "{value}");
        }
        for bad in ["", " ", "\u{a0}", " u-1", "u-1\t", "u\0", "u\r\n1"] {
            assert_eq!(reason(of(&json!(bad))), "uid", "{bad:?}");
        }
    }
}

mod of_the_token_id {
    use super::{Map, Value, extra, json, no_strings, object, reason};

    #[test]
    fn becomes_the_credential_id() {
        let expected = vec![("authentication.kubernetes.io/credential-id".to_owned(), vec!["JTI=t-1".to_owned()])];
        assert_eq!(extra(&object(&json!({"jti": "t-1"}))), Ok(expected));
    }

    #[test]
    fn need_not_be_there() {
        assert_eq!(extra(&Map::new()), Ok(vec![]));
        assert_eq!(extra(&object(&json!({"jti": ""}))), Ok(vec![]));
        assert_eq!(extra(&object(&json!({"jti": null}))), Ok(vec![]));
        assert_eq!(extra(&object(&json!({"JTI": "t-1"}))), Ok(vec![]));
    }

    #[test]
    fn is_a_string_that_a_header_can_carry() {
        for value in no_strings().into_iter().chain([json!(" "), json!(" t"), json!("t\r\n1"), json!("t\0")]) {
            assert_eq!(reason(extra(&object(&json!({"jti": value})))), "malformed", "{value}");
        }
    }

    #[test]
    fn is_the_only_extra() {
        let claims = object(
            &json!({"extra": {"scopes": "x"}, "authentication.kubernetes.io/credential-id": "JTI=x", "scopes": ["x"]}),
        );
        assert_eq!(extra(&claims), Ok(Vec::<(String, Vec<String>)>::new()), "{:?}", Value::Object(claims));
    }
}

mod of_any_form {
    use super::{Map, claims, form, json, no_strings, object, reason};

    #[test]
    fn are_strings_where_openid_connect_says_so() {
        assert_eq!(form(&Map::new()), Ok(()));
        assert_eq!(form(&object(&claims())), Ok(()));
        for name in ["sub", "nonce", "at_hash"] {
            assert_eq!(form(&object(&json!({name: "x"}))), Ok(()));
            assert_eq!(form(&object(&json!({name: null}))), Ok(()));
            for value in no_strings() {
                assert_eq!(reason(form(&object(&json!({name: value})))), "malformed", "{name}: {value}");
            }
        }
    }

    #[test]
    fn that_are_distributed_have_a_source() {
        let sources = json!({"a": {"endpoint": "https://graph.example.com/groups"}});
        for names in [json!(null), json!({}), json!({"groups": "a"}), json!({"groups": "a", "roles": "a"})] {
            let claims = json!({"_claim_names": names, "_claim_sources": sources});
            assert_eq!(form(&object(&claims)), Ok(()), "{claims}");
        }
        for names in [
            json!("groups"),
            json!(["groups"]),
            json!(true),
            json!(1),
            json!({"groups": null}),
            json!({"groups": ""}),
            json!({"groups": 1}),
            json!({"groups": ["a"]}),
            json!({"groups": "b"}),
            json!({"roles": "a", "groups": "b"}),
        ] {
            let claims = json!({"_claim_names": names, "_claim_sources": sources});
            assert_eq!(reason(form(&object(&claims))), "malformed", "{claims}");
        }
        for sources in [json!(null), json!({}), json!("a"), json!([]), json!({"a": null}), json!({"a": "https://x"})] {
            let claims = json!({"_claim_names": {"groups": "a"}, "_claim_sources": sources});
            assert_eq!(reason(form(&object(&claims))), "malformed", "{claims}");
        }
        assert_eq!(reason(form(&object(&json!({"_claim_names": {"groups": "a"}})))), "malformed");
        // No name is no source, even if one has it.
        let nameless = json!({"_claim_names": {"groups": ""}, "_claim_sources": {"": {}}});
        assert_eq!(reason(form(&object(&nameless))), "malformed");
    }

    #[test]
    fn have_sources_that_are_understood_even_if_no_claim_is_of_them() {
        for source in
            [json!({}), json!({"endpoint": "https://x", "access_token": "y"}), json!({"JWT": 1, "endpoint": null})]
        {
            let claims = json!({"_claim_sources": {"a": source}});
            assert_eq!(form(&object(&claims)), Ok(()), "{claims}");
        }
        for source in [json!("a"), json!(1), json!([]), json!({"endpoint": 1}), json!({"access_token": ["x"]})] {
            let claims = json!({"_claim_sources": {"good": {}, "a": source}});
            assert_eq!(reason(form(&object(&claims))), "malformed", "{claims}");
        }
        for sources in [json!("a"), json!(["a"]), json!(1), json!(true)] {
            let claims = json!({"_claim_sources": sources});
            assert_eq!(reason(form(&object(&claims))), "malformed", "{claims}");
        }
    }

    /// kube-apiserver would take the last of them, and read another issuer, audience or expiry than we do.
    #[test]
    fn have_no_twin_that_differs_only_in_case() {
        for name in [
            "ISS",
            "Iss",
            "i\u{17f}s",
            "Sub",
            "\u{17f}ub",
            "AUD",
            "aUd",
            "Exp",
            "IAT",
            "nBf",
            "Nonce",
            "at_HASH",
            "at_ha\u{17f}h",
            "_Claim_names",
            "_claim_SOURCES",
        ] {
            let mut claims = claims();
            claims[name] = json!(null);
            assert_eq!(reason(form(&object(&claims))), "malformed", "{name}");
        }
        // Those that nobody reads in any case may differ in it.
        assert_eq!(
            form(&object(&json!({"groups": [], "Groups": [], "EMAIL": "x", "email": "y", "jti": "", "JTI": "x"}))),
            Ok(())
        );
    }
}

#[test]
fn a_claim_is_found_by_its_exact_name() {
    let claims = object(&json!({"a": "x", "A": "y", "": "z", "n": null}));
    assert_eq!(text(&claims, "a").as_deref(), Ok("x"));
    assert_eq!(text(&claims, "A").as_deref(), Ok("y"));
    assert_eq!(text(&claims, "").as_deref(), Ok("z"));
    assert_eq!(text(&claims, "b"), Err("is missing"));
    assert_eq!(text(&claims, "n"), Err("is not a string"));
}
