use proptest::collection::vec;
use proptest::prelude::any;
use proptest::proptest;
use serde_json::{Value, json};

use super::{KeyFault, Keys, MAX_KEYS};
use crate::algorithm::Algorithm;
use crate::testing::{
    OTHER_P256, OTHER_RSA, P256, P384, P521, RSA, SigningKey, encode, key_for, keys, keys_of, other_key_for,
};

const MESSAGE: &[u8] = b"header.payload";

fn parse(jwks: &[Value]) -> Result<(Keys, Vec<KeyFault>), String> {
    Keys::parse(json!({"keys": jwks}).to_string().as_bytes()).map_err(|error| error.to_string())
}

/// Why a key is left out, beside one that works.
fn fault(jwk: &Value) -> String {
    let (keys, faults) = parse(&[jwk.clone(), P384.jwk("good")]).unwrap();
    assert_eq!(keys.len(), 1, "{jwk}");
    assert!(keys.contains_kid("good"));
    assert_eq!(faults.len(), 1, "{jwk}");
    faults[0].to_string()
}

fn left_out_silently(jwk: &Value) {
    let (keys, faults) = parse(&[jwk.clone(), P384.jwk("good")]).unwrap();
    assert_eq!((keys.len(), faults), (1, vec![]), "{jwk}");
}

fn with(mut jwk: Value, name: &str, value: impl Into<Value>) -> Value {
    jwk[name] = value.into();
    jwk
}

fn without(mut jwk: Value, name: &str) -> Value {
    jwk.as_object_mut().unwrap().remove(name).unwrap();
    jwk
}

fn rsa(modulus: &[u8], exponent: &[u8]) -> Value {
    json!({"kty": "RSA", "kid": "bad", "n": encode(modulus), "e": encode(exponent)})
}

/// Whether this one key verifies what its owner signs.
fn verifies(jwk: &Value, owner: &SigningKey, algorithm: Algorithm) -> bool {
    keys_of(std::slice::from_ref(jwk)).verify("", algorithm, MESSAGE, &owner.sign(algorithm, MESSAGE))
}

mod choosing {
    use super::{
        Algorithm, MESSAGE, OTHER_P256, OTHER_RSA, P256, RSA, json, key_for, keys, keys_of, other_key_for, verifies,
        with, without,
    };

    #[test]
    fn a_key_verifies_what_its_owner_signed_and_nothing_else() {
        for algorithm in Algorithm::ALL {
            let (key, kid) = key_for(algorithm);
            let signature = key.sign(algorithm, MESSAGE);
            assert!(keys().verify(kid, algorithm, MESSAGE, &signature), "{algorithm:?}");
            assert!(!keys().verify(kid, algorithm, b"header.payloae", &signature), "{algorithm:?}");
            assert!(!keys().verify(kid, algorithm, b"", &signature), "{algorithm:?}");
            let others = other_key_for(algorithm).sign(algorithm, MESSAGE);
            assert!(!keys().verify(kid, algorithm, MESSAGE, &others), "{algorithm:?}");
            assert!(!keys().verify("", algorithm, MESSAGE, &others), "{algorithm:?}");
        }
    }

    #[test]
    fn a_signature_counts_only_for_the_algorithm_that_made_it() {
        let keys = keys();
        for made in Algorithm::ALL {
            let (key, kid) = key_for(made);
            let signature = key.sign(made, MESSAGE);
            for named in Algorithm::ALL {
                assert_eq!(keys.verify(kid, named, MESSAGE, &signature), named == made, "{made:?} as {named:?}");
                assert_eq!(keys.verify("", named, MESSAGE, &signature), named == made, "{made:?} as {named:?}");
            }
        }
    }

    #[test]
    fn a_key_that_names_its_algorithm_verifies_no_other() {
        for named in Algorithm::ALL {
            let (key, kid) = key_for(named);
            let jwk = with(key.jwk(kid), "alg", named.name());
            for algorithm in Algorithm::ALL.into_iter().filter(|algorithm| key_for(*algorithm).1 == kid) {
                assert_eq!(verifies(&jwk, key, algorithm), algorithm == named, "{algorithm:?} with a {named:?} key");
            }
        }
    }

    #[test]
    fn a_kid_names_the_only_keys_that_count() {
        let signature = RSA.sign(Algorithm::Rs256, MESSAGE);
        let set = keys_of(&[RSA.jwk("a"), OTHER_RSA.jwk("b"), P256.jwk("c")]);
        assert!(set.verify("a", Algorithm::Rs256, MESSAGE, &signature));
        for kid in ["b", "c", "d", "A", "a ", " a", "a\0", " "] {
            assert!(!set.verify(kid, Algorithm::Rs256, MESSAGE, &signature), "{kid:?}");
        }
        assert!(set.contains_kid("c"));
        assert!(!set.contains_kid("C"));
    }

    #[test]
    fn without_a_kid_every_key_counts() {
        let set = keys_of(&[OTHER_RSA.jwk("a"), OTHER_P256.jwk("b"), P256.jwk("c"), RSA.jwk("d")]);
        assert!(set.verify("", Algorithm::Ps384, MESSAGE, &RSA.sign(Algorithm::Ps384, MESSAGE)));
        assert!(set.verify("", Algorithm::Es256, MESSAGE, &P256.sign(Algorithm::Es256, MESSAGE)));
    }

    #[test]
    fn keys_that_share_a_kid_all_count() {
        let set = keys_of(&[OTHER_RSA.jwk("k"), P256.jwk("k"), RSA.jwk("k"), OTHER_P256.jwk("k")]);
        assert_eq!(set.len(), 4);
        for (key, algorithm) in [
            (&RSA, Algorithm::Rs256),
            (&OTHER_RSA, Algorithm::Rs256),
            (&P256, Algorithm::Es256),
            (&OTHER_P256, Algorithm::Es256),
        ] {
            assert!(set.verify("k", algorithm, MESSAGE, &key.sign(algorithm, MESSAGE)));
        }
    }

    #[test]
    fn a_key_without_a_kid_serves_only_tokens_without_one() {
        let signature = P256.sign(Algorithm::Es256, MESSAGE);
        for jwk in [without(P256.jwk("k"), "kid"), with(P256.jwk("k"), "kid", json!(null)), P256.jwk("")] {
            let set = keys_of(&[jwk]);
            assert!(set.verify("", Algorithm::Es256, MESSAGE, &signature));
            assert!(!set.verify("k", Algorithm::Es256, MESSAGE, &signature));
        }
    }
}

mod signatures {
    use super::{Algorithm, MESSAGE, P256, P384, P521, RSA, key_for, keys};

    fn counts(algorithm: Algorithm, signature: &[u8]) -> bool {
        keys().verify(key_for(algorithm).1, algorithm, MESSAGE, signature)
    }

    #[test]
    fn of_any_other_length_do_not_count() {
        for algorithm in Algorithm::ALL {
            let signature = key_for(algorithm).0.sign(algorithm, MESSAGE);
            assert!(counts(algorithm, &signature));
            for other in [
                vec![],
                vec![0],
                signature[1..].to_vec(),
                signature[..signature.len() - 1].to_vec(),
                signature[..signature.len() / 2].to_vec(),
                [&[0], signature.as_slice()].concat(),
                [signature.as_slice(), &[0]].concat(),
                [signature.as_slice(), signature.as_slice()].concat(),
            ] {
                assert!(!counts(algorithm, &other), "{algorithm:?}, {} bytes", other.len());
            }
        }
    }

    /// Numbers that verify anything where a library forgets to look (CVE-2022-21449).
    #[test]
    fn of_trivial_numbers_do_not_count() {
        for algorithm in Algorithm::ALL {
            let length = key_for(algorithm).0.sign(algorithm, MESSAGE).len();
            let one = |bytes: usize| [vec![0; bytes - 1], vec![1]].concat();
            for other in [
                vec![0; length],
                vec![0xff; length],
                one(length),
                [one(length / 2), one(length / 2)].concat(),
                [one(length / 2), vec![0; length / 2]].concat(),
                [vec![0; length / 2], one(length / 2)].concat(),
            ] {
                assert!(!counts(algorithm, &other), "{algorithm:?} {other:?}");
            }
        }
        let modulus = RSA.modulus();
        assert!(!counts(Algorithm::Rs256, &modulus));
        assert!(!counts(Algorithm::Ps256, &modulus));
    }

    /// r and s modulo the order of the curve are the same numbers, but not the same signature.
    #[test]
    fn of_numbers_beyond_the_order_do_not_count() {
        let order = [
            0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad,
            0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
        ];
        let signature = P256.sign(Algorithm::Es256, MESSAGE);
        assert!(!counts(Algorithm::Es256, &[&order[..], &signature[32..]].concat()));
        assert!(!counts(Algorithm::Es256, &[&signature[..32], &order[..]].concat()));
    }

    #[test]
    fn in_the_form_of_der_do_not_count() {
        use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, VerificationAlgorithm as _};
        let der = P256.sign_as_der(MESSAGE);
        // It is the key's own.
        ECDSA_P256_SHA256_ASN1.verify_sig(&P256.public_bytes(), MESSAGE, &der).unwrap();
        assert!(!counts(Algorithm::Es256, &der));
    }

    #[test]
    fn of_a_longer_curve_do_not_count_on_a_shorter_one() {
        let (long, longer) = (P384.sign(Algorithm::Es384, MESSAGE), P521.sign(Algorithm::Es512, MESSAGE));
        assert!(!counts(Algorithm::Es256, &long));
        assert!(!counts(Algorithm::Es256, &long[..64]));
        assert!(!counts(Algorithm::Es384, &longer));
        assert!(!counts(Algorithm::Es384, &longer[..96]));
    }
}

mod rsa_keys {
    use super::{Algorithm, Keys, MESSAGE, OTHER_RSA, RSA, encode, fault, json, keys_of, rsa, verifies, with, without};

    const F4: &[u8] = &[1, 0, 1];

    #[test]
    fn shorter_than_2048_bits_are_left_out() {
        let modulus = RSA.modulus();
        for bytes in [1, 64, 128, 192, 255] {
            // The first byte of the longer key is one that counts.
            let short = [&modulus[..1], &modulus[257 - bytes..]].concat();
            assert!(fault(&rsa(&short, F4)).contains(&format!("{} bits", bytes * 8)), "{bytes}");
        }
        let mut one_bit_less = modulus.clone();
        one_bit_less[0] = 0x7f;
        assert!(fault(&rsa(&one_bit_less, F4)).contains("2047 bits"));
        // Zeros in front make nothing longer.
        assert!(fault(&rsa(&[&[0; 128], &modulus[..128]].concat(), F4)).contains("1024 bits"));
        assert_eq!(keys_of(&[rsa(&modulus, F4)]).len(), 1);
    }

    #[test]
    fn may_be_of_8192_bits_and_no_more() {
        let long = |first: u8, bytes: usize| [vec![first], vec![0xc5; bytes - 2], vec![0x11]].concat();
        assert_eq!(keys_of(&[rsa(&long(0xff, 1024), F4), rsa(&long(0x80, 1024), F4)]).len(), 2);
        assert!(fault(&rsa(&long(1, 1025), F4)).contains("8193 bits"));
        assert!(fault(&rsa(&long(1, 40_000), F4)).contains("bits"));
    }

    /// With the exponent 1 anyone can sign: the signature is the padded hash.
    #[test]
    fn with_an_exponent_that_proves_nothing_are_left_out() {
        let modulus = RSA.modulus();
        for exponent in [&[0][..], &[1], &[0, 0, 1], &[2], &[4], &[1, 0, 0], &[], &[0xff; 33], &[0xff; 256]] {
            assert!(fault(&rsa(&modulus, exponent)).contains("public key"), "{exponent:?}");
        }
        for exponent in [&[3][..], &[17], F4] {
            assert_eq!(keys_of(&[rsa(&modulus, exponent)]).len(), 1, "{exponent:?}");
        }
    }

    #[test]
    fn with_a_modulus_that_is_none_are_left_out() {
        let mut even = RSA.modulus();
        even[255] &= 0xfe;
        assert!(fault(&rsa(&even, F4)).contains("not a public key"));
        for modulus in [&[][..], &[0], &[0; 256]] {
            assert!(fault(&rsa(modulus, F4)).contains("has 0 bits"), "{} bytes", modulus.len());
        }
        assert!(fault(&rsa(&[1], F4)).contains("has 1 bits"));
    }

    #[test]
    fn may_have_zeros_in_front_of_their_numbers() {
        let padded = |zeros: usize| json!({"kty": "RSA", "n": encode(&[vec![0; zeros], RSA.modulus()].concat()), "e": encode(&[vec![0; zeros], F4.to_vec()].concat())});
        for zeros in [1, 2, 100] {
            assert!(verifies(&padded(zeros), &RSA, Algorithm::Rs256));
            assert!(verifies(&padded(zeros), &RSA, Algorithm::Ps512));
        }
    }

    #[test]
    fn without_a_number_are_left_out() {
        for name in ["n", "e"] {
            assert!(fault(&without(RSA.jwk("bad"), name)).contains("is missing"), "{name}");
            for value in [json!(null), json!(65537), json!(["AQAB"]), json!(true)] {
                assert!(fault(&with(RSA.jwk("bad"), name, value.clone())).contains("is missing"), "{name}: {value}");
            }
            for value in ["AQAB=", "AQ AB", "AQAB\n", "+/+/", "AQABA", "AB", "=", "é"] {
                assert!(fault(&with(RSA.jwk("bad"), name, value)).contains("base64url"), "{name}: {value}");
            }
        }
    }

    #[test]
    fn are_told_apart_by_their_modulus() {
        let jwk = with(RSA.jwk("k"), "n", encode(&OTHER_RSA.modulus()));
        let (keys, _faults) = Keys::parse(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap();
        assert!(!keys.verify("k", Algorithm::Rs256, MESSAGE, &RSA.sign(Algorithm::Rs256, MESSAGE)));
        assert!(keys.verify("k", Algorithm::Rs256, MESSAGE, &OTHER_RSA.sign(Algorithm::Rs256, MESSAGE)));
    }
}

mod ec_keys {
    use super::{P256, P384, P521, SigningKey, Value, encode, fault, json, left_out_silently, with, without};

    const CURVES: [(&std::sync::LazyLock<SigningKey>, usize); 3] = [(&P256, 32), (&P384, 48), (&P521, 66)];

    fn coordinates(key: &SigningKey) -> (Vec<u8>, Vec<u8>) {
        let point = key.public_bytes();
        let (x, y) = point[1..].split_at(point.len() / 2);
        (x.to_vec(), y.to_vec())
    }

    #[test]
    fn that_are_no_point_of_their_curve_are_left_out() {
        for (key, length) in CURVES {
            let (x, y) = coordinates(key);
            let mut off = y.clone();
            off[length - 1] ^= 1;
            for (x, y) in [
                (x.clone(), off),
                (y, x),
                (vec![0; length], vec![0; length]),
                (vec![0xff; length], vec![0xff; length]),
                ([vec![0; length - 1], vec![1]].concat(), [vec![0; length - 1], vec![1]].concat()),
            ] {
                let jwk = with(with(key.jwk("bad"), "x", encode(&x)), "y", encode(&y));
                assert!(fault(&jwk).contains("not a public key"), "{jwk}");
            }
        }
    }

    #[test]
    fn of_another_length_than_their_field_are_left_out() {
        for (key, length) in CURVES {
            let (x, y) = coordinates(key);
            for name in ["x", "y"] {
                let right = if name == "x" { &x } else { &y };
                for wrong in
                    [vec![], right[1..].to_vec(), [vec![0], right.clone()].concat(), [right.clone(), vec![0]].concat()]
                {
                    let jwk = with(key.jwk("bad"), name, encode(&wrong));
                    assert!(fault(&jwk).contains(&format!("not of {length} bytes")), "{jwk}");
                }
            }
            // As long together as they should be.
            let jwk = with(with(key.jwk("bad"), "x", encode(&x[1..])), "y", encode(&[vec![0], y].concat()));
            assert!(fault(&jwk).contains(&format!("not of {length} bytes")), "{jwk}");
        }
    }

    #[test]
    fn of_one_curve_are_no_keys_of_another() {
        for (key, _) in CURVES {
            let own = key.jwk("bad");
            for curve in ["P-256", "P-384", "P-521"].into_iter().filter(|curve| own["crv"] != *curve) {
                assert!(fault(&with(own.clone(), "crv", curve)).contains("not of"), "{own} as {curve}");
            }
        }
    }

    /// Its zero coordinate would be one byte if the zeros in front were stripped: some issuers do, and RFC 7518 does not.
    #[test]
    fn with_leading_zeros_stripped_are_left_out() {
        let (x, y) = std::iter::repeat_with(|| {
            use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
            coordinates(&SigningKey::Ec { pair, curve: "P-256" })
        })
        .find(|(x, _)| x[0] == 0)
        .unwrap();
        let jwk = json!({"kty": "EC", "kid": "bad", "crv": "P-256", "x": encode(&x), "y": encode(&y)});
        assert_eq!(super::keys_of(std::slice::from_ref(&jwk)).len(), 1);
        assert!(fault(&with(jwk, "x", encode(&x[1..]))).contains("not of 32 bytes"));
    }

    #[test]
    fn without_a_coordinate_are_left_out() {
        for name in ["x", "y"] {
            assert!(fault(&without(P256.jwk("bad"), name)).contains("is missing"), "{name}");
            for value in [Value::Null, json!(1), json!([])] {
                assert!(fault(&with(P256.jwk("bad"), name, value)).contains("is missing"), "{name}");
            }
            for value in ["=", "+/+/", "AQAB=", "A A"] {
                assert!(fault(&with(P256.jwk("bad"), name, value)).contains("base64url"), "{name}");
            }
        }
    }

    #[test]
    fn of_curves_that_kubernetes_does_not_know_are_left_out_silently() {
        for curve in ["secp256k1", "P-192", "P-224", "p-256", "P256", "Ed25519", "brainpoolP256r1", ""] {
            left_out_silently(&with(P256.jwk("k"), "crv", curve));
        }
        left_out_silently(&without(P256.jwk("k"), "crv"));
    }
}

mod the_members_of_a_key {
    use super::{Algorithm, P256, RSA, fault, json, keys_of, left_out_silently, verifies, with, without};

    #[test]
    fn that_make_it_one_for_something_else_leave_it_out_silently() {
        for usage in ["enc", "", "SIG", "sig ", "signature"] {
            left_out_silently(&with(P256.jwk("k"), "use", usage));
        }
        for operations in [
            json!([]),
            json!(["sign"]),
            json!(["encrypt", "wrapKey"]),
            json!(["Verify"]),
            json!([null]),
            json!([["verify"]]),
        ] {
            left_out_silently(&with(P256.jwk("k"), "key_ops", operations));
        }
        for algorithm in ["RSA-OAEP", "RSA1_5", "HS256", "none", "rs256", "RS1", "EdDSA", ""] {
            left_out_silently(&with(RSA.jwk("k"), "alg", algorithm));
        }
        for algorithm in ["ECDH-ES", "ES256K", "es256"] {
            left_out_silently(&with(P256.jwk("k"), "alg", algorithm));
        }
    }

    #[test]
    fn that_say_it_is_for_signatures_keep_it() {
        for (name, value) in [
            ("use", json!("sig")),
            ("use", json!(null)),
            ("key_ops", json!(["verify"])),
            ("key_ops", json!(["sign", "verify"])),
            ("key_ops", json!(null)),
            ("alg", json!("ES256")),
            ("alg", json!(null)),
            ("x5c", json!(["MII"])),
            ("x5t", json!("x")),
            ("x5u", json!("https://x")),
            ("ext", json!(true)),
            ("d", json!(null)),
        ] {
            assert!(verifies(&with(P256.jwk("k"), name, value.clone()), &P256, Algorithm::Es256), "{name}: {value}");
        }
    }

    #[test]
    fn that_cannot_be_read_do_not_count_as_absent() {
        for name in ["use", "alg", "kid", "kty", "crv"] {
            for value in [json!(1), json!(["sig"]), json!(true), json!({})] {
                assert!(
                    fault(&with(P256.jwk("k"), name, value.clone())).contains("is not a string"),
                    "{name}: {value}"
                );
            }
        }
        for value in [json!("verify"), json!(true), json!({"verify": true}), json!(1)] {
            assert!(fault(&with(P256.jwk("k"), "key_ops", value.clone())).contains("key_ops"), "{value}");
        }
    }

    #[test]
    fn of_an_algorithm_for_another_type_leave_it_out() {
        for algorithm in ["ES256", "ES384", "ES512"] {
            assert!(fault(&with(RSA.jwk("k"), "alg", algorithm)).contains("does not fit"), "{algorithm}");
        }
        for algorithm in ["RS256", "PS512", "ES384", "ES512"] {
            assert!(fault(&with(P256.jwk("k"), "alg", algorithm)).contains("does not fit"), "{algorithm}");
        }
    }

    #[test]
    fn that_are_private_leave_it_out_without_telling_them() {
        for (key, names) in [(&RSA, &["d", "p", "q", "dp", "dq", "qi", "oth"][..]), (&P256, &["d"])] {
            for name in names {
                let fault = fault(&with(key.jwk("k"), name, "c2VjcmV0"));
                assert!(fault.contains("private") && !fault.contains("c2VjcmV0"), "{name}: {fault}");
            }
        }
    }

    #[test]
    fn of_symmetric_and_unknown_types_leave_it_out_silently() {
        for jwk in [
            json!({"kty": "oct", "kid": "k", "k": "c2VjcmV0", "alg": "HS256"}),
            json!({"kty": "oct", "kid": "k", "k": "c2VjcmV0"}),
            json!({"kty": "OKP", "kid": "k", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
            json!({"kty": "OKP", "kid": "k", "crv": "X25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
            json!({"kty": "AKP", "kid": "k", "alg": "ML-DSA-65", "pub": "AA"}),
            json!({"kid": "k"}),
            json!({}),
        ] {
            left_out_silently(&jwk);
        }
        for kty in ["rsa", "RSA ", "ec", "Ec", "oct", ""] {
            left_out_silently(&with(RSA.jwk("k"), "kty", kty));
            left_out_silently(&with(P256.jwk("k"), "kty", kty));
        }
        left_out_silently(&without(RSA.jwk("k"), "kty"));
    }

    #[test]
    fn of_an_rsa_key_do_not_make_it_an_ec_key() {
        let mut both = RSA.jwk("k");
        for name in ["crv", "x", "y"] {
            both[name] = P256.jwk("k")[name].clone();
        }
        assert!(verifies(&both, &RSA, Algorithm::Rs256));
        let set = keys_of(&[both]);
        assert!(!set.verify("k", Algorithm::Es256, super::MESSAGE, &P256.sign(Algorithm::Es256, super::MESSAGE)));
    }
}

mod a_set {
    use super::{Algorithm, Keys, MAX_KEYS, MESSAGE, P256, P384, RSA, Value, json, parse, rsa, with};

    fn refusal(document: &str) -> String {
        Keys::parse(document.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn works_but_for_its_bad_keys() {
        let bad = [
            rsa(&[1, 2, 3], &[1, 0, 1]),
            with(P256.jwk("off"), "y", P256.jwk("")["x"].clone()),
            json!("no object"),
            json!(null),
            json!({"kty": "oct", "k": "AA"}),
        ];
        let (keys, faults) = parse(&[&bad[..], &[P256.jwk("good"), RSA.jwk("also good")]].concat()).unwrap();
        assert_eq!(keys.len(), 2);
        assert!(!keys.is_empty());
        assert!(keys.verify("good", Algorithm::Es256, MESSAGE, &P256.sign(Algorithm::Es256, MESSAGE)));
        assert!(keys.verify("also good", Algorithm::Rs256, MESSAGE, &RSA.sign(Algorithm::Rs256, MESSAGE)));
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(faults.len(), 4, "{faults:?}");
        assert!(faults[0].contains("\"bad\""), "{faults:?}");
        assert!(faults[1].contains("\"off\""), "{faults:?}");
        assert!(faults[2].contains("not an object"), "{faults:?}");
    }

    #[test]
    fn without_a_usable_key_is_an_error_that_says_why() {
        for keys in [vec![], vec![json!({"kty": "oct", "k": "AA"})], vec![with(P256.jwk("k"), "use", "enc")]] {
            assert!(parse(&keys).unwrap_err().contains("no usable key"), "{keys:?}");
        }
        let error = parse(&[rsa(&[1, 2, 3], &[1, 0, 1]), json!(1)]).unwrap_err();
        assert!(error.contains("17 bits") && error.contains("not an object"), "{error}");
    }

    #[test]
    fn has_at_most_100_keys_usable_or_not() {
        let many = |last: Value, count: usize| parse(&[vec![json!({"kty": "oct"}); count - 1], vec![last]].concat());
        assert_eq!(MAX_KEYS, 100);
        assert_eq!(many(P256.jwk("k"), 100).unwrap().0.len(), 1);
        assert!(many(P256.jwk("k"), 101).unwrap_err().contains("more than 100"));
        assert_eq!(parse(&vec![P384.jwk("k"); 100]).unwrap().0.len(), 100);
        assert!(parse(&vec![P384.jwk("k"); 101]).unwrap_err().contains("more than 100"));
    }

    #[test]
    fn is_an_object_with_a_list_of_keys() {
        for document in [
            "",
            "{}",
            "[]",
            "null",
            r#"{"keys":null}"#,
            r#"{"keys":{}}"#,
            r#"{"keys":"x"}"#,
            r#"{"Keys":[]}"#,
            "<html>",
            "\0",
        ] {
            assert!(refusal(document).contains("not a JSON Web Key Set"), "{document:?}");
        }
        // A single key is no set, and neither is a list.
        refusal(&P256.jwk("k").to_string());
        refusal(&json!([P256.jwk("k")]).to_string());
    }

    #[test]
    fn that_can_be_read_in_two_ways_is_refused() {
        let key = P256.jwk("k").to_string();
        refusal(&format!(r#"{{"keys":[{key}],"keys":[{key}]}}"#));
        refusal(&format!(r#"{{"keys":[{}]}}"#, key.replacen('{', r#"{"kid":"other","#, 1)));
        refusal(&format!(r#"{{"keys":[{key}]}}x"#));
        assert!(Keys::parse(format!(r#"{{"keys":[{key}],"more":1}}"#).as_bytes()).is_ok());
    }
}

proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 1000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..100)) {
        let _ = Keys::parse(&bytes);
    }

    #[test]
    fn no_rsa_numbers_make_it_panic(n in vec(any::<u8>(), 0..300), e in vec(any::<u8>(), 0..40)) {
        let _ = parse(&[rsa(&n, &e)]);
    }

    #[test]
    fn no_coordinates_make_it_panic(x in vec(any::<u8>(), 60..70), y in vec(any::<u8>(), 60..70), curve in 0..3_usize) {
        let (crv, length) = [("P-256", 32), ("P-384", 48), ("P-521", 66)][curve];
        for length in [length, x.len().min(y.len())] {
            let (x, y) = (&x[..length.min(x.len())], &y[..length.min(y.len())]);
            let _ = parse(&[json!({"kty": "EC", "crv": crv, "x": encode(x), "y": encode(y)})]);
        }
    }
}
