use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{VerifiedIdentity, unverified_issuer, verify};
use crate::UnixTime;
use crate::algorithm::Algorithm;
use crate::jwk::Keys;
use crate::rejection::Rejection;
use crate::rules::{ReservedGroups, Rules};
use crate::testing::{
    AUDIENCE, ISSUER, NOW, OTHER_P256, OTHER_RSA, P256, P384, RSA, assemble, claims, claims_with, encode, header,
    key_for, keys, keys_of, other_key_for, prefixed, rules, signed, token, verify_claims, verify_token,
};

fn reason<T: std::fmt::Debug>(result: Result<T, Rejection>) -> &'static str {
    result.unwrap_err().reason()
}

/// A token of the issuer with more, or other, members in its header.
fn token_with_header(algorithm: Algorithm, others: &Value) -> String {
    let mut header = header(algorithm);
    for (name, value) in others.as_object().unwrap() {
        header[name] = value.clone();
    }
    signed(algorithm, &header.to_string(), &claims().to_string())
}

/// With padding and the other alphabet, as in PEM and `x5c`.
fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

fn allowing(algorithms: &[Algorithm]) -> Rules {
    Rules { algorithms: algorithms.to_vec(), ..rules() }
}

mod the_identity {
    use super::{
        AUDIENCE, Algorithm, ISSUER, NOW, ReservedGroups, Rules, UnixTime, claims, claims_with, json, keys, prefixed,
        reason, rules, token, verify, verify_claims,
    };

    #[test]
    fn is_what_the_token_says_by_the_rules() {
        let rules = Rules {
            audiences: vec!["other".to_owned(), AUDIENCE.to_owned()],
            username: prefixed("keyway:", "email"),
            groups: Some(prefixed("keyway:", "roles")),
            uid_claim: Some("sub".to_owned()),
            required: vec![("hd".to_owned(), "example.com".to_owned())],
            ..rules()
        };
        let claims = claims_with(&json!({
            "aud": ["x", AUDIENCE], "email": "joe@example.com", "email_verified": true, "roles": ["ops", "dev"],
            "hd": "example.com", "jti": "t-1", "nbf": NOW,
        }));
        let identity = verify_claims(&claims, &rules).unwrap();
        assert_eq!(identity.issuer(), ISSUER);
        assert_eq!(identity.username(), "keyway:joe@example.com");
        assert_eq!(identity.groups(), ["keyway:ops", "keyway:dev"]);
        assert_eq!(identity.uid(), Some("joe"));
        let extra = [("authentication.kubernetes.io/credential-id".to_owned(), vec!["JTI=t-1".to_owned()])];
        assert_eq!(identity.extra(), extra);
        assert_eq!(identity.expires_at(), UnixTime(NOW + 600));
    }

    #[test]
    fn has_a_reserved_group_only_by_the_rules() {
        let claims = claims_with(&json!({"groups": ["system:nodes"]}));
        assert_eq!(reason(verify_claims(&claims, &rules())), "reserved");
        let reserved = ReservedGroups::new(vec!["system:nodes".to_owned()]).unwrap();
        let rules = Rules { reserved, ..rules() };
        assert_eq!(verify_claims(&claims, &rules).unwrap().groups(), ["system:nodes"]);
    }

    #[test]
    fn has_no_more_than_the_rules_ask_for() {
        let rules = Rules { groups: None, ..rules() };
        let identity = verify_claims(&claims(), &rules).unwrap();
        assert_eq!(identity.username(), "joe");
        assert_eq!(identity.groups(), Vec::<String>::new());
        assert_eq!(identity.uid(), None);
        assert_eq!(identity.extra(), []);
    }

    /// One token for every check: if any of them were left out, its token would pass.
    #[test]
    fn is_refused_by_each_check_alone() {
        let rules = Rules {
            username: prefixed("", "email"),
            uid_claim: Some("uid".to_owned()),
            required: vec![("hd".to_owned(), "example.com".to_owned())],
            ..rules()
        };
        let good = claims_with(&json!({"email": "joe@example.com", "uid": "u-1", "hd": "example.com", "jti": "t-1"}));
        verify_claims(&good, &rules).unwrap();
        for (expected, wrong) in [
            ("malformed", json!({"sub": 1})),
            ("malformed", json!({"_claim_names": "groups"})),
            ("issuer", json!({"iss": "https://other.example.com"})),
            ("audience", json!({"aud": "other"})),
            ("expired", json!({"exp": NOW})),
            ("not_yet_valid", json!({"nbf": NOW + 61})),
            ("malformed", json!({"iat": "now"})),
            ("required_claim", json!({"hd": "example.org"})),
            ("username", json!({"email": " "})),
            ("email_not_verified", json!({"email_verified": false})),
            ("reserved", json!({"email": "system:admin"})),
            ("uid", json!({"uid": ""})),
            ("groups", json!({"groups": [1]})),
            ("reserved", json!({"groups": ["system:masters"]})),
            ("malformed", json!({"jti": 1})),
        ] {
            let mut claims = good.clone();
            for (name, value) in wrong.as_object().unwrap() {
                claims[name] = value.clone();
            }
            assert_eq!(reason(verify_claims(&claims, &rules)), expected, "{wrong}");
        }
    }

    #[test]
    fn ends_when_the_token_does() {
        let token = token(Algorithm::Es256, &claims());
        let at = |now| verify(&token, keys(), &rules(), UnixTime(now));
        assert!(at(NOW + 599).is_ok());
        assert_eq!(reason(at(NOW + 600)), "expired");
        assert_eq!(reason(at(i64::MAX)), "expired");
    }

    #[test]
    fn is_of_the_issuer_that_the_rules_are_for() {
        let rules = Rules { issuer: format!("{ISSUER}/"), ..rules() };
        assert_eq!(reason(verify_claims(&claims(), &rules)), "issuer");
        let rules = Rules { audiences: vec![], ..super::rules() };
        assert_eq!(reason(verify_claims(&claims(), &rules)), "audience");
    }
}

mod the_algorithm {
    use super::{
        Algorithm, Keys, OTHER_P256, P256, RSA, UnixTime, allowing, assemble, base64, claims, encode, header, hmac,
        json, key_for, keys, keys_of, other_key_for, reason, rules, token, verify, verify_token,
    };
    use crate::testing::{NOW, P384};

    #[test]
    fn may_be_any_of_the_nine() {
        let names = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"];
        assert_eq!(Algorithm::ALL.map(Algorithm::name), names);
        assert_eq!(Algorithm::names(), names.join(", "));
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::from_name(algorithm.name()), Some(algorithm));
            let identity = verify_token(&token(algorithm, &claims())).unwrap();
            assert_eq!(identity.username(), "joe", "{algorithm:?}");
        }
    }

    #[test]
    fn must_be_allowed() {
        for algorithm in Algorithm::ALL {
            let token = token(algorithm, &claims());
            let others: Vec<_> = Algorithm::ALL.into_iter().filter(|other| *other != algorithm).collect();
            let rejection = verify(&token, keys(), &allowing(&others), UnixTime(NOW)).unwrap_err();
            assert_eq!(rejection.reason(), "algorithm", "{algorithm:?}");
            assert_eq!(rejection.unknown_key(), None, "{algorithm:?}");
            assert!(verify(&token, keys(), &allowing(&[algorithm]), UnixTime(NOW)).is_ok(), "{algorithm:?}");
            assert_eq!(reason(verify(&token, keys(), &allowing(&[]), UnixTime(NOW))), "algorithm", "{algorithm:?}");
        }
    }

    #[test]
    fn is_never_none() {
        for name in ["none", "None", "NONE", "nOnE", "", "none ", "null"] {
            let header = json!({"alg": name, "kid": "p256", "typ": "JWT"}).to_string();
            for signature in [vec![], P256.sign(Algorithm::Es256, b""), b"x".to_vec()] {
                let token = assemble(header.as_bytes(), claims().to_string().as_bytes(), |_| signature);
                assert_eq!(reason(verify_token(&token)), "algorithm", "{name:?}");
            }
            // A signature that would count for another name.
            let right = assemble(header.as_bytes(), claims().to_string().as_bytes(), |message| {
                P256.sign(Algorithm::Es256, message)
            });
            assert_eq!(reason(verify_token(&right)), "algorithm", "{name:?}");
        }
    }

    #[test]
    fn does_not_count_without_a_signature() {
        for algorithm in Algorithm::ALL {
            let token = assemble(header(algorithm).to_string().as_bytes(), claims().to_string().as_bytes(), |_| vec![]);
            assert!(token.ends_with('.'));
            assert_eq!(reason(verify_token(&token)), "signature", "{algorithm:?}");
        }
    }

    #[test]
    fn has_a_name_that_is_spelled_exactly() {
        for algorithm in Algorithm::ALL {
            let name = algorithm.name();
            for other in [
                name.to_lowercase(),
                format!("{name} "),
                format!(" {name}"),
                format!("{name}\0"),
                format!("{name}\n"),
                name.replace('S', "s"),
                name.replace('S', "\u{17f}"),
                format!("{name},{name}"),
            ] {
                let header = json!({"alg": other, "kid": key_for(algorithm).1}).to_string();
                let token = crate::testing::signed(algorithm, &header, &claims().to_string());
                assert_eq!(reason(verify_token(&token)), "algorithm", "{other:?}");
            }
        }
    }

    #[test]
    fn is_none_of_the_others_that_jose_has() {
        for name in
            ["HS256", "HS384", "HS512", "EdDSA", "Ed25519", "ES256K", "RS1", "RSA-OAEP", "dir", "A128KW", "ML-DSA-65"]
        {
            assert_eq!(Algorithm::from_name(name), None);
            let header = json!({"alg": name, "kid": "p256"}).to_string();
            let token = crate::testing::signed(Algorithm::Es256, &header, &claims().to_string());
            assert_eq!(reason(verify_token(&token)), "algorithm", "{name}");
        }
    }

    /// The classic: the public key as the secret of a MAC, in every form in which a library may hold it.
    #[test]
    fn is_never_a_mac_keyed_with_the_public_key() {
        let pem = |der: &[u8]| {
            let text = base64(der);
            let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
            format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n")).into_bytes()
        };
        for (algorithm, key, kid) in [(Algorithm::Rs256, &RSA, "rsa"), (Algorithm::Es256, &P256, "p256")] {
            let info = key.public_info();
            let jwk = key.jwk(kid);
            let secrets = [
                key.public_bytes(),
                info.clone(),
                pem(&info),
                pem(&info).trim_ascii_end().to_vec(),
                jwk.to_string().into_bytes(),
                json!({"keys": [jwk]}).to_string().into_bytes(),
                jwk[if kid == "rsa" { "n" } else { "x" }].as_str().unwrap().as_bytes().to_vec(),
                vec![],
            ];
            for secret in &secrets {
                for (name, hash) in
                    [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)]
                {
                    let mac = |message: &[u8]| hmac::sign(&hmac::Key::new(hash, secret), message).as_ref().to_vec();
                    let payload = claims().to_string();
                    for kid in [json!(kid), json!("")] {
                        let header = json!({"alg": name, "kid": kid, "typ": "JWT"}).to_string();
                        let token = assemble(header.as_bytes(), payload.as_bytes(), mac);
                        assert_eq!(reason(verify_token(&token)), "algorithm", "{name}");
                        // Nor under the name of the key's own algorithm.
                        let header = json!({"alg": algorithm.name(), "kid": kid}).to_string();
                        let token = assemble(header.as_bytes(), payload.as_bytes(), mac);
                        assert_eq!(reason(verify_token(&token)), "signature", "{algorithm:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn is_never_a_mac_keyed_with_a_symmetric_key_of_the_set() {
        let secret = encode(b"a secret of the issuer");
        let oct = json!({"kty": "oct", "kid": "oct", "k": secret, "alg": "HS256", "use": "sig"});
        let keys = keys_of(&[oct, P256.jwk("p256")]);
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"a secret of the issuer");
        let header = json!({"alg": "HS256", "kid": "oct"}).to_string();
        let token = assemble(header.as_bytes(), claims().to_string().as_bytes(), |message| {
            hmac::sign(&key, message).as_ref().to_vec()
        });
        assert_eq!(reason(verify(&token, &keys, &rules(), UnixTime(NOW))), "algorithm");
    }

    #[test]
    fn is_the_one_that_made_the_signature() {
        for made in Algorithm::ALL {
            let (key, kid) = key_for(made);
            for named in Algorithm::ALL.into_iter().filter(|named| *named != made) {
                for kid in [kid, key_for(named).1, ""] {
                    let header = json!({"alg": named.name(), "kid": kid}).to_string();
                    let token = assemble(header.as_bytes(), claims().to_string().as_bytes(), |m| key.sign(made, m));
                    assert_eq!(reason(verify_token(&token)), "signature", "{made:?} named {named:?}, kid {kid:?}");
                }
            }
        }
    }

    #[test]
    fn is_the_one_that_the_key_is_for() {
        let set = |algorithm: &str| {
            let mut jwk = RSA.jwk("rsa");
            jwk["alg"] = algorithm.into();
            keys_of(&[jwk])
        };
        let (rs256, ps256) = (token(Algorithm::Rs256, &claims()), token(Algorithm::Ps256, &claims()));
        let check = |token: &str, keys: &Keys| verify(token, keys, &rules(), UnixTime(NOW));
        assert!(check(&rs256, &set("RS256")).is_ok());
        assert!(check(&ps256, &set("PS256")).is_ok());
        assert_eq!(reason(check(&ps256, &set("RS256"))), "signature");
        assert_eq!(reason(check(&rs256, &set("PS256"))), "signature");
        assert_eq!(reason(check(&rs256, &set("RS512"))), "signature");
    }

    #[test]
    fn does_not_choose_a_key_of_another_type_or_curve() {
        // A key of the right type is there, but the token names another.
        for (algorithm, kid) in [(Algorithm::Rs256, "p256"), (Algorithm::Es256, "rsa"), (Algorithm::Es256, "p384")] {
            let header = json!({"alg": algorithm.name(), "kid": kid}).to_string();
            let token = crate::testing::signed(algorithm, &header, &claims().to_string());
            let rejection = verify_token(&token).unwrap_err();
            assert_eq!((rejection.reason(), rejection.unknown_key()), ("signature", Some(kid)), "{algorithm:?}");
        }
        // The key is of the issuer, the signature is its, and the header names another curve.
        let header = json!({"alg": "ES256", "kid": "p384"}).to_string();
        let token = assemble(header.as_bytes(), claims().to_string().as_bytes(), |m| P384.sign(Algorithm::Es384, m));
        assert_eq!(reason(verify_token(&token)), "signature");
    }

    #[test]
    fn of_someone_else_proves_nothing() {
        for algorithm in Algorithm::ALL {
            let other = other_key_for(algorithm);
            for kid in [key_for(algorithm).1, "", "other"] {
                let header = json!({"alg": algorithm.name(), "kid": kid}).to_string();
                let token = assemble(header.as_bytes(), claims().to_string().as_bytes(), |m| other.sign(algorithm, m));
                assert_eq!(reason(verify_token(&token)), "signature", "{algorithm:?} {kid:?}");
            }
        }
        assert_ne!(P256.public_bytes(), OTHER_P256.public_bytes());
    }
}

mod the_key {
    use super::{
        Algorithm, OTHER_P256, OTHER_RSA, P256, RSA, UnixTime, assemble, base64, claims, encode, header, json, keys,
        keys_of, reason, rules, token, token_with_header, verify, verify_token,
    };
    use crate::testing::NOW;

    #[test]
    fn that_is_unknown_may_be_fetched_even_if_another_made_the_signature() {
        for kid in ["rotated", "P256", "p256 ", "../p256", "p256\0", "' OR 1=1"] {
            let rejection = verify_token(&token_with_header(Algorithm::Es256, &json!({"kid": kid}))).unwrap_err();
            assert_eq!((rejection.reason(), rejection.unknown_key()), ("signature", Some(kid)));
            assert!(rejection.to_string().contains("not among"), "{rejection}");
        }
    }

    #[test]
    fn that_is_known_may_have_changed() {
        let keys = keys_of(&[OTHER_P256.jwk("p256")]);
        let rejection = verify(&token(Algorithm::Es256, &claims()), &keys, &rules(), UnixTime(NOW)).unwrap_err();
        assert_eq!((rejection.reason(), rejection.unknown_key()), ("signature", Some("p256")));
        assert!(rejection.to_string().contains("did not make"), "{rejection}");
    }

    #[test]
    fn need_not_be_named() {
        for header in [json!({"alg": "ES256"}), json!({"alg": "ES256", "kid": ""})] {
            let sign = |key: &crate::testing::SigningKey| {
                assemble(header.to_string().as_bytes(), claims().to_string().as_bytes(), |m| {
                    key.sign(Algorithm::Es256, m)
                })
            };
            let keys = keys_of(&[RSA.jwk("a"), OTHER_P256.jwk("b"), OTHER_RSA.jwk("c"), P256.jwk("d")]);
            assert!(verify(&sign(&P256), &keys, &rules(), UnixTime(NOW)).is_ok());
            let keys = keys_of(&[RSA.jwk("a"), OTHER_P256.jwk("b")]);
            let rejection = verify(&sign(&P256), &keys, &rules(), UnixTime(NOW)).unwrap_err();
            assert_eq!((rejection.reason(), rejection.unknown_key()), ("signature", Some("")));
        }
    }

    #[test]
    fn is_never_the_one_that_the_token_brings() {
        let hostile = OTHER_RSA.jwk("rsa");
        let certificate = [base64(&OTHER_RSA.public_info())];
        let url = "https://evil.example/keys";
        let sets = [
            json!({"jwk": hostile}),
            json!({"jku": url}),
            json!({"x5u": url}),
            json!({"x5c": certificate}),
            json!({"jwk": hostile, "jku": url, "x5u": url, "x5c": certificate, "x5t": encode(b"x"), "x5t#S256": "x"}),
            json!({"keys": [hostile]}),
        ];
        for more in sets {
            for kid in [json!("rsa"), json!("unknown"), json!("")] {
                let mut header = json!({"alg": "RS256", "kid": kid});
                for (name, value) in more.as_object().unwrap() {
                    header[name] = value.clone();
                }
                let forged = assemble(header.to_string().as_bytes(), claims().to_string().as_bytes(), |message| {
                    OTHER_RSA.sign(Algorithm::Rs256, message)
                });
                assert_eq!(reason(verify_token(&forged)), "signature", "{header}");
            }
            // Nor does it harm a token of the issuer.
            assert!(verify_token(&token_with_header(Algorithm::Rs256, &more)).is_ok(), "{more}");
        }
    }

    #[test]
    fn is_looked_for_before_a_claim_is_believed() {
        // Each claim is wrong, and none of them is the reason.
        let claims = json!({"iss": "x", "aud": "y", "exp": 0, "sub": "system:admin"});
        for payload in [claims.to_string(), "no JSON".to_owned(), String::new()] {
            let forged = assemble(header(Algorithm::Es256).to_string().as_bytes(), payload.as_bytes(), |message| {
                OTHER_P256.sign(Algorithm::Es256, message)
            });
            let rejection = verify(&forged, keys(), &rules(), UnixTime(NOW)).unwrap_err();
            assert_eq!(rejection.reason(), "signature", "{payload}");
        }
    }
}

mod the_form {
    use super::{
        Algorithm, P256, RSA, Rejection, UnixTime, Value, VerifiedIdentity, assemble, claims, claims_with, encode,
        header, json, keys, reason, rules, signed, token, token_with_header, verify, verify_token,
    };
    use crate::testing::{ISSUER, NOW};

    #[test]
    fn with_an_extension_is_refused_though_it_is_signed() {
        for more in [
            json!({"crit": ["exp"]}),
            json!({"crit": []}),
            json!({"b64": false}),
            json!({"b64": false, "crit": ["b64"]}),
            json!({"b64": true}),
            json!({"cty": "JWT"}),
        ] {
            assert_eq!(reason(verify_token(&token_with_header(Algorithm::Es256, &more))), "malformed", "{more}");
        }
    }

    /// RFC 7797: the signature would cover the payload as it is.
    #[test]
    fn of_an_unencoded_payload_is_refused() {
        let header =
            encode(json!({"alg": "ES256", "kid": "p256", "b64": false, "crit": ["b64"]}).to_string().as_bytes());
        let payload = claims().to_string();
        let signature = encode(&P256.sign(Algorithm::Es256, format!("{header}.{payload}").as_bytes()));
        assert!(verify_token(&format!("{header}.{payload}.{signature}")).is_err());
        assert_eq!(reason(verify_token(&format!("{header}.{}.{signature}", encode(payload.as_bytes())))), "malformed");
        assert_eq!(reason(verify_token(&format!("{header}..{signature}"))), "malformed");
    }

    #[test]
    fn of_a_token_within_a_token_is_refused() {
        let inner = token(Algorithm::Es256, &claims());
        for payload in [inner.clone(), json!(inner).to_string(), json!([inner]).to_string()] {
            let outer = signed(Algorithm::Es256, &header(Algorithm::Es256).to_string(), &payload);
            assert_eq!(reason(verify_token(&outer)), "malformed", "{payload}");
        }
    }

    #[test]
    fn that_can_be_read_in_two_ways_is_refused_though_it_is_signed() {
        let good = claims().to_string();
        let (head, tail) = (good.trim_end_matches('}'), good.trim_start_matches('{'));
        for payload in [
            format!(r#"{head},"sub":"admin"}}"#),
            format!(r#"{{"sub":"admin",{tail}"#),
            format!(r#"{head},"\u0073ub":"admin"}}"#),
            format!(r#"{head},"sub":"joe"}}"#),
            format!(r#"{head},"groups":["admins"]}}"#),
            format!(r#"{head},"exp":9999999999}}"#),
            format!(r#"{head},"unused":{{"a":1,"a":1}}}}"#),
            format!(r#"{head},"unused":[{{"a":[{{"b":1,"b":2}}]}}]}}"#),
            format!("{good}{good}"),
            format!("{good},"),
            format!("{good}\0"),
            format!("\u{feff}{good}"),
            format!("[{good}]"),
            json!(good).to_string(),
            String::new(),
        ] {
            let token = signed(Algorithm::Es256, &header(Algorithm::Es256).to_string(), &payload);
            assert_eq!(reason(verify_token(&token)), "malformed", "{payload}");
        }
        let usual = header(Algorithm::Es256).to_string();
        let head = usual.trim_end_matches('}');
        for header in [
            format!(r#"{head},"kid":"p256"}}"#),
            format!(r#"{head},"alg":"none"}}"#),
            format!(r#"{head},"alg":"ES256"}}"#),
            format!(r#"{head},"jwk":{{"a":1,"a":2}}}}"#),
            format!("{usual} {usual}"),
            format!("[{usual}]"),
        ] {
            assert_eq!(reason(verify_token(&signed(Algorithm::Es256, &header, &good))), "malformed", "{header}");
        }
        let spaced = format!(" \r\n\t{good} \n");
        assert!(verify_token(&signed(Algorithm::Es256, &usual, &spaced)).is_ok());
    }

    #[test]
    fn that_is_not_unicode_is_refused_though_it_is_signed() {
        let usual = header(Algorithm::Es256).to_string();
        let good = claims().to_string();
        let head = good.trim_end_matches('}').as_bytes();
        for bytes in [&b"\xff"[..], b"\xc0\xaf", b"\xed\xa0\x80", b"\xe2\x82"] {
            let payload = [head, b",\"name\":\"", bytes, b"\"}"].concat();
            assert_eq!(reason(verify_token(&signed(Algorithm::Es256, &usual, &payload))), "malformed", "{bytes:?}");
            let header = [usual.trim_end_matches('}').as_bytes(), b",\"x\":\"", bytes, b"\"}"].concat();
            assert_eq!(reason(verify_token(&signed(Algorithm::Es256, &header, &good))), "malformed", "{bytes:?}");
        }
        let surrogate = [head, br#","name":"\ud800"}"#].concat();
        assert_eq!(reason(verify_token(&signed(Algorithm::Es256, &usual, &surrogate))), "malformed");
    }

    #[test]
    fn that_is_nested_without_end_is_refused_though_it_is_signed() {
        let usual = header(Algorithm::Es256).to_string();
        let good = claims().to_string();
        let deep = |depth: usize| {
            let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            let payload = good.replacen('{', &format!(r#"{{"x":{nested},"#), 1);
            verify_token(&signed(Algorithm::Es256, &usual, &payload))
        };
        assert!(deep(100).is_ok());
        assert_eq!(reason(deep(1000)), "malformed");
        assert_eq!(reason(deep(15_000)), "malformed");
    }

    #[test]
    fn of_another_spelling_is_refused() {
        let check = |token: &str| verify(token, keys(), &rules(), UnixTime(NOW));
        for algorithm in Algorithm::ALL {
            let token = token(algorithm, &claims());
            assert!(check(&token).is_ok());
            for other in [
                format!("{token}="),
                format!("{token}=="),
                format!("{token}\n"),
                format!("{token}\0"),
                format!(" {token}"),
                format!("{token}."),
                format!("{token}.{token}"),
                format!("Bearer {token}"),
                token.replacen('.', "=.", 1),
                token.replacen('.', " .", 1),
                token.replacen('.', ".\n", 1),
                token.replace('.', ".."),
                token.to_uppercase(),
            ] {
                assert!(check(&other).is_err(), "{other:?}");
            }
            let parts: Vec<&str> = token.split('.').collect();
            for other in [
                format!("{}.{}", parts[0], parts[1]),
                format!("{}.{}.", parts[0], parts[1]),
                format!(".{}.{}", parts[1], parts[2]),
                format!("{}..{}", parts[0], parts[2]),
                format!("{}.{}.{}", parts[1], parts[0], parts[2]),
                format!("{}.{}.{}", parts[0], parts[2], parts[1]),
            ] {
                assert!(check(&other).is_err(), "{other}");
            }
        }
    }

    #[test]
    fn of_parts_of_two_tokens_is_refused() {
        let (joe, eve) =
            (token(Algorithm::Rs256, &claims()), token(Algorithm::Rs256, &claims_with(&json!({"sub": "eve"}))));
        let (joes, eves): (Vec<&str>, Vec<&str>) = (joe.split('.').collect(), eve.split('.').collect());
        assert_eq!(joes[0], eves[0]);
        assert_eq!(reason(verify_token(&format!("{}.{}.{}", eves[0], joes[1], eves[2]))), "signature");
        assert_eq!(reason(verify_token(&format!("{}.{}.{}", joes[0], eves[1], joes[2]))), "signature");
    }

    #[test]
    fn of_an_es256_signature_is_two_numbers_and_not_der() {
        let payload = claims().to_string();
        let header = header(Algorithm::Es256).to_string();
        let der = assemble(header.as_bytes(), payload.as_bytes(), |message| P256.sign_as_der(message));
        assert_eq!(reason(verify_token(&der)), "signature");
    }

    #[test]
    fn of_a_signature_has_the_length_of_its_key() {
        let payload = claims().to_string();
        for algorithm in [Algorithm::Es256, Algorithm::Rs256, Algorithm::Ps256] {
            let header = header(algorithm).to_string();
            let key = if algorithm == Algorithm::Es256 { &P256 } else { &RSA };
            let changed = |change: &dyn Fn(Vec<u8>) -> Vec<u8>| {
                assemble(header.as_bytes(), payload.as_bytes(), |message| change(key.sign(algorithm, message)))
            };
            assert!(verify_token(&changed(&|signature| signature)).is_ok());
            assert_eq!(reason(verify_token(&changed(&|s| s[1..].to_vec()))), "signature");
            assert_eq!(reason(verify_token(&changed(&|s| s[..s.len() - 1].to_vec()))), "signature");
            assert_eq!(reason(verify_token(&changed(&|s| [&[0], &s[..]].concat()))), "signature");
            assert_eq!(reason(verify_token(&changed(&|s| [&s[..], &[0]].concat()))), "signature");
        }
    }

    #[test]
    fn of_more_than_64_kibibytes_is_refused_though_it_is_signed() {
        let filled = |bytes: usize| token(Algorithm::Es256, &claims_with(&json!({"filler": "x".repeat(bytes)})));
        assert!(verify_token(&filled(48_000)).is_ok());
        let long = filled(50_000);
        assert!(long.len() > 65_536);
        assert_eq!(reason(verify_token(&long)), "malformed");
    }

    #[test]
    fn of_a_jwe_or_a_json_serialization_is_refused() {
        let token = token(Algorithm::Es256, &claims());
        let parts: Vec<&str> = token.split('.').collect();
        let flattened = json!({"protected": parts[0], "payload": parts[1], "signature": parts[2]});
        let general = json!({"payload": parts[1], "signatures": [{"protected": parts[0], "signature": parts[2]}]});
        for other in [flattened.to_string(), general.to_string(), format!("{token}.{}.{}", parts[0], parts[1])] {
            assert_eq!(reason(verify_token(&other)), "malformed");
        }
    }

    #[test]
    fn of_an_issuer_that_nobody_has_verified_is_only_read() {
        let read =
            |payload: &Value| super::unverified_issuer(&format!("x.{}.y", encode(payload.to_string().as_bytes())));
        assert_eq!(read(&claims()).as_deref(), Ok(ISSUER));
        assert_eq!(read(&json!({"iss": "https://evil.example/"})).as_deref(), Ok("https://evil.example/"));
        for payload in [json!({}), json!({"iss": null}), json!({"iss": [ISSUER]}), json!({"iss": 1})] {
            assert_eq!(reason(read(&payload)), "issuer", "{payload}");
        }
        for payload in [json!([]), json!("x"), json!(null)] {
            assert_eq!(reason(read(&payload)), "malformed", "{payload}");
        }
        for raw in ["", "x", "x.y", "...", "x.e30=.y", "x.e31.y", "x..y"] {
            assert_eq!(reason(super::unverified_issuer(raw)), "malformed", "{raw}");
        }
        // Reading it proves nothing.
        let forged: Result<VerifiedIdentity, Rejection> =
            verify_token(&format!("x.{}.y", encode(claims().to_string().as_bytes())));
        assert_eq!(reason(forged), "malformed");
    }
}

mod the_words {
    use super::{
        Algorithm, ISSUER, OTHER_P256, P384, Rejection, ReservedGroups, Rules, UnixTime, Value, assemble, claims_with,
        encode, header, json, keys, prefixed, rules, signed, verify,
    };
    use crate::testing::NOW;

    /// In every place that an issuer or an attacker can fill.
    const MARK: &str = "M4RK";

    fn strict() -> Rules {
        Rules {
            username: prefixed("", "email"),
            uid_claim: Some("uid".to_owned()),
            required: vec![("hd".to_owned(), "example.com".to_owned())],
            reserved: ReservedGroups::default(),
            ..rules()
        }
    }

    /// Tokens that are refused, one for each thing to say, and why.
    fn refused(mark: &str) -> Vec<(String, Rejection)> {
        let good = claims_with(&json!({"email": "joe@example.com", "uid": "u-1", "hd": "example.com"}));
        let wrong = [
            json!({"iss": mark}),
            json!({"iss": [mark]}),
            json!({"aud": mark}),
            json!({"aud": vec![mark; 200]}),
            json!({"aud": [mark, 1]}),
            json!({"exp": mark}),
            json!({"nbf": mark}),
            json!({"exp": 0, "name": mark}),
            json!({"nbf": NOW + 600, "name": mark}),
            json!({"hd": mark}),
            json!({"hd": [mark]}),
            json!({"email": [mark]}),
            json!({"email": format!("{mark} ")}),
            json!({"email": format!("{mark}\0")}),
            json!({"email": format!("system:{mark}")}),
            json!({"email": mark, "email_verified": false}),
            json!({"email": mark, "email_verified": mark}),
            json!({"uid": format!("{mark} ")}),
            json!({"uid": [mark]}),
            json!({"groups": format!("{mark} ")}),
            json!({"groups": [mark, format!("{mark}\n")]}),
            json!({"groups": {mark: mark}}),
            json!({"groups": format!("system:{mark}")}),
            json!({"jti": format!("{mark}\0")}),
            json!({"jti": [mark]}),
            json!({"sub": [mark]}),
            json!({"_claim_names": {mark: mark}}),
        ];
        let mut tokens: Vec<String> = wrong
            .iter()
            .map(|wrong| {
                let mut claims = good.clone();
                for (name, value) in wrong.as_object().unwrap() {
                    claims[name] = value.clone();
                }
                super::token(Algorithm::Es256, &claims)
            })
            .collect();
        let payload = good.to_string();
        let headers = [
            json!({"alg": mark, "kid": mark}),
            json!({"alg": [mark], "kid": mark}),
            json!({"alg": "ES256", "kid": mark}),
            json!({"alg": "ES256", "kid": [mark]}),
            json!({"alg": "ES256", "kid": "p384", "x": mark}),
            json!({"alg": "ES256", "crit": [mark], "kid": mark}),
        ];
        tokens.extend(headers.iter().map(|header| signed(Algorithm::Es256, &header.to_string(), &payload)));
        let twice = format!(r#"{{"{mark}":1,"{mark}":2}}"#);
        tokens.push(signed(Algorithm::Es256, &twice, &payload));
        tokens.push(signed(Algorithm::Es256, &header(Algorithm::Es256).to_string(), &twice));
        tokens.push(signed(Algorithm::Es256, &header(Algorithm::Es256).to_string(), &format!("{{\"{mark}")));
        tokens.push(signed(Algorithm::Es256, &header(Algorithm::Es256).to_string(), mark));
        tokens.push(assemble(header(Algorithm::Es256).to_string().as_bytes(), payload.as_bytes(), |message| {
            OTHER_P256.sign(Algorithm::Es256, message)
        }));
        tokens.push(assemble(br#"{"alg":"ES384"}"#, payload.as_bytes(), |message| {
            let mut signature = P384.sign(Algorithm::Es384, message);
            signature[0] ^= 1;
            signature
        }));
        tokens.push(format!("{mark}.{mark}"));
        tokens.push(format!("{mark}.{mark}.{mark}.{mark}"));
        tokens.push(format!("{}={mark}.{mark}.{mark}", encode(b"{}")));
        tokens
            .into_iter()
            .map(|token| {
                let rejection = verify(&token, keys(), &strict(), UnixTime(NOW)).unwrap_err();
                (token, rejection)
            })
            .collect()
    }

    #[test]
    fn cover_every_reason() {
        let mut reasons: Vec<&str> = refused(MARK).iter().map(|(_, rejection)| rejection.reason()).collect();
        reasons.sort_unstable();
        reasons.dedup();
        assert_eq!(
            reasons,
            [
                "algorithm",
                "audience",
                "email_not_verified",
                "expired",
                "groups",
                "issuer",
                "malformed",
                "not_yet_valid",
                "required_claim",
                "reserved",
                "signature",
                "uid",
                "username"
            ]
        );
    }

    #[test]
    fn for_the_client_hold_nothing_of_the_token_or_the_rules() {
        for (token, rejection) in refused(MARK) {
            let message = rejection.client_message();
            for secret in
                [MARK, token.as_str(), "example.com", "p256", "p384", "ES256", "joe", "u-1", ISSUER, "keyway", "kid"]
            {
                assert!(!message.contains(secret), "{message} has {secret}");
            }
            assert!(message.len() < 120, "{message}");
        }
    }

    #[test]
    fn for_the_operator_hold_no_part_of_the_token_that_could_be_used() {
        for (token, rejection) in refused(MARK) {
            let (display, debug) = (rejection.to_string(), format!("{rejection:?}"));
            // Four characters are no secret, and the marks are short.
            for part in token.split('.').filter(|part| part.len() > 20) {
                assert!(!display.contains(part), "{display}");
                assert!(!debug.contains(part), "{debug}");
            }
        }
    }

    #[test]
    fn for_the_operator_say_what_was_found() {
        let said: Vec<String> = refused(MARK).iter().map(|(_, rejection)| rejection.to_string()).collect();
        for expected in [
            r#"the token is of the issuer "M4RK", not "https://issuer.example.com""#,
            r#"the token is for the audience "M4RK", not for ["keyway"]"#,
            r#"the claim "hd" is "M4RK", not "example.com""#,
            r#"the user name "M4RK " begins or ends with whitespace"#,
            r#"the user name "M4RK\0" contains a control character"#,
            r#"the user name "system:M4RK" is reserved"#,
            r#"the email "M4RK" is not verified"#,
            r#"the group "M4RK\n" contains a control character"#,
            r#"the group "system:M4RK" is reserved"#,
            r#"the token's key "M4RK" is not among the issuer's keys"#,
        ] {
            assert!(said.iter().any(|said| said == expected), "{expected} in {said:#?}");
        }
    }

    #[test]
    fn for_the_operator_are_bounded_and_of_one_line() {
        for huge in
            ["x".repeat(20_000), "\u{1}".repeat(6_000), "\u{10ffff}".repeat(3_000), "\n\r\u{2028}\u{85}".repeat(800)]
        {
            // The marks stand in JSON texts, too.
            let huge =
                if huge.starts_with('x') { huge } else { huge.escape_unicode().to_string().replace(['{', '}'], "") };
            for (_, rejection) in refused(&huge) {
                assert_bounded(&rejection);
            }
        }
    }

    #[test]
    fn for_the_operator_are_bounded_and_of_one_line_whatever_the_claims_are_made_of() {
        let mut refused = 0;
        for huge in ["\u{1}".repeat(5_000), "\u{10ffff}".repeat(3_000), "\n\r\u{2028}\u{1b}[2J".repeat(700)] {
            for name in ["iss", "aud", "hd", "email", "uid", "groups", "sub", "jti", "kid"] {
                for value in [json!(huge), json!([huge, huge]), json!(format!("system:{huge}"))] {
                    let claims = claims_with(&json!({"email": "joe", "uid": "u-1", "hd": "example.com"}));
                    let (claims, kid) = if name == "kid" {
                        (claims, value)
                    } else {
                        (claims_with_one(claims, name, &value), json!("p256"))
                    };
                    let header = json!({"alg": "ES256", "kid": kid}).to_string();
                    let token = signed(Algorithm::Es256, &header, &claims.to_string());
                    // A strange name can be a name.
                    if let Err(rejection) = verify(&token, keys(), &strict(), UnixTime(NOW)) {
                        assert_bounded(&rejection);
                        refused += 1;
                    }
                }
            }
        }
        assert!(refused > 60, "{refused}");
    }

    fn claims_with_one(mut claims: Value, name: &str, value: &Value) -> Value {
        claims[name] = value.clone();
        claims
    }

    /// Ten audiences of 200 characters, each escaped with ten.
    fn assert_bounded(rejection: &Rejection) {
        let text = rejection.to_string();
        assert!(text.len() < 22_000, "{} bytes: {text:.200}", text.len());
        assert!(!text.chars().any(|c| c.is_control() || c == '\u{2028}'), "{text:.200}");
        if rejection.reason() != "audience" {
            assert!(text.len() < 2_500, "{} bytes: {text:.200}", text.len());
        }
    }
}
