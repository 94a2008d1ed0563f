//! What kube-apiserver v1.37 refuses at start is refused here, all of it at once.

use super::{Fault, IssuerConfig, OidcFlags, from_flags, issuer_url, parse_authentication_config};
use crate::algorithm::Algorithm;
use crate::rules::{PrefixedClaim, ReservedGroups};

const CA: &str = include_str!("tests/ca.pem");

fn parse(yaml: &str) -> Result<Vec<IssuerConfig>, Vec<Fault>> {
    parse_authentication_config(yaml, &ReservedGroups::default())
}

/// A document with these lines under `jwt`, which are indented as they stand.
fn document(jwt: &str) -> String {
    format!("apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n{jwt}")
}

/// The faults of a document, as `path: reason`.
fn faults(yaml: &str) -> Vec<String> {
    parse(yaml).expect_err("it should be refused").iter().map(ToString::to_string).collect()
}

/// The paths of its faults.
fn paths(yaml: &str) -> Vec<String> {
    parse(yaml).expect_err("it should be refused").into_iter().map(|fault| fault.path).collect()
}

const ISSUER: &str = "- issuer: {url: https://a.example.com, audiences: [kubernetes]}\n  claimMappings:\n    username: {claim: email, prefix: 'k:'}\n";

#[test]
fn a_whole_document_becomes_rules() {
    let indented: String = CA.lines().map(|line| format!("      {line}\n")).collect();
    let yaml = document(&format!(
        "- issuer:\n    url: https://a.example.com/tenant\n    discoveryURL: https://b.example.com/.well-known/openid-configuration\n    \
         certificateAuthority: |\n{indented}    audiences: [one, two]\n    audienceMatchPolicy: MatchAny\n  \
         claimValidationRules:\n  - {{claim: hd, requiredValue: example.com}}\n  - {{claim: blank}}\n  claimMappings:\n    \
         username: {{claim: email, prefix: ''}}\n    groups: {{claim: roles, prefix: 'k:'}}\n    uid: {{claim: sub}}\n"
    ));
    let issuers = parse(&yaml).unwrap();
    let [issuer] = issuers.as_slice() else { panic!("{issuers:?}") };
    assert_eq!(issuer.url, "https://a.example.com/tenant");
    assert_eq!(issuer.discovery_url.as_deref(), Some("https://b.example.com/.well-known/openid-configuration"));
    assert_eq!(issuer.certificate_authority.as_deref(), Some(CA));
    let rules = &issuer.rules;
    assert_eq!(rules.issuer, "https://a.example.com/tenant");
    assert_eq!(rules.audiences, ["one", "two"]);
    assert_eq!(rules.algorithms, Algorithm::ALL);
    assert_eq!(rules.username, PrefixedClaim { claim: "email".into(), prefix: String::new() });
    assert_eq!(rules.groups, Some(PrefixedClaim { claim: "roles".into(), prefix: "k:".into() }));
    assert_eq!(rules.uid_claim.as_deref(), Some("sub"));
    assert_eq!(rules.required, [("hd".to_owned(), "example.com".to_owned()), ("blank".to_owned(), String::new())]);
}

#[test]
fn v1beta1_and_json_are_taken_and_other_versions_are_not() {
    let v1 = document(ISSUER);
    assert_eq!(parse(&v1).unwrap().len(), 1);
    assert_eq!(parse(&v1.replace("/v1", "/v1beta1")).unwrap().len(), 1);
    let json = r#"{"apiVersion":"apiserver.config.k8s.io/v1","kind":"AuthenticationConfiguration","jwt":[{"issuer":
        {"url":"https://a.example.com","audiences":["x"]},"claimMappings":{"username":{"claim":"sub","prefix":""}}}]}"#;
    assert_eq!(parse(json).unwrap().len(), 1);
    for other in ["/v1alpha1", "/v2", ""] {
        assert_eq!(paths(&v1.replace("/v1", other)), ["apiVersion"], "{other}");
    }
    assert_eq!(paths(&v1.replace("AuthenticationConfiguration", "AuthorizationConfiguration")), ["kind"]);
    assert_eq!(paths(&v1.replace("kind: AuthenticationConfiguration\n", "")), ["kind"]);
}

#[test]
fn every_fault_is_reported_at_once() {
    let yaml = "apiVersion: apiserver.config.k8s.io/v2\nkind: Other\nextra: 1\njwt:\n\
        - issuer: {url: 'http://u:p@a.example.com?q#f', audiences: [], audienceMatchPolicy: All, certificateAuthority: x}\n\
        \x20 claimMappings: {username: {claim: sub}, groups: {claim: g}, surprise: 1}\n\
        - issuer: {audiences: [1, two, two]}\n";
    assert_eq!(
        paths(yaml),
        [
            "extra",
            "apiVersion",
            "kind",
            "jwt[0].issuer.url",
            "jwt[0].issuer.url",
            "jwt[0].issuer.url",
            "jwt[0].issuer.url",
            "jwt[0].issuer.audiences",
            "jwt[0].issuer.certificateAuthority",
            "jwt[0].claimMappings.surprise",
            "jwt[0].claimMappings.username.prefix",
            "jwt[0].claimMappings.groups.prefix",
            "jwt[1].issuer.url",
            "jwt[1].issuer.audiences[0]",
            "jwt[1].claimMappings.username",
        ]
    );
}

#[test]
fn what_is_no_document_is_refused() {
    for yaml in ["", "[]", "text", "jwt: [", "a: 1\na: 2", "\t", "- a\n"] {
        assert!(parse(yaml).is_err(), "{yaml:?}");
    }
    // Twice the same field, at any depth: which one counts would be anybody's guess.
    assert!(parse(&document(&ISSUER.replace("audiences: [kubernetes]", "audiences: [a], audiences: [b]"))).is_err());
    // A second document would be left unread.
    assert!(parse(&format!("{}---\n{}", document(ISSUER), document(ISSUER))).is_err());
}

#[test]
fn a_document_without_an_issuer_lets_nobody_in_and_says_so() {
    for yaml in [document("").replace("jwt:\n", "jwt: []\n"), document("").replace("jwt:\n", ""), document("")] {
        assert_eq!(faults(&yaml), ["jwt: names no issuer: nobody could sign in"], "{yaml}");
    }
    assert_eq!(paths(&document("").replace("jwt:\n", "jwt: {}\n")), ["jwt"]);
}

#[test]
fn unknown_fields_are_refused_everywhere_and_the_case_is_hinted_at() {
    let yaml = document(&ISSUER.replace("url:", "URL: x, url:").replace("prefix:", "prefx: y, prefix:"));
    assert_eq!(
        faults(&yaml),
        [
            "jwt[0].issuer.URL: is no field of this version; did you mean \"url\"?",
            "jwt[0].claimMappings.username.prefx: is no field of this version",
        ]
    );
}

#[test]
fn fields_of_another_type_are_refused() {
    for (from, to, path) in [
        ("https://a.example.com", "1", "jwt[0].issuer.url"),
        ("https://a.example.com", "[x]", "jwt[0].issuer.url"),
        ("[kubernetes]", "kubernetes", "jwt[0].issuer.audiences"),
        ("[kubernetes]", "[true]", "jwt[0].issuer.audiences[0]"),
        ("email", "1.5", "jwt[0].claimMappings.username.claim"),
        ("{claim: email, prefix: 'k:'}", "email", "jwt[0].claimMappings.username"),
    ] {
        let found = paths(&document(&ISSUER.replace(from, to)));
        assert_eq!(found.first().map(String::as_str), Some(path), "{from} as {to}: {found:?}");
    }
}

#[test]
fn audiences_are_as_kube_apiserver_wants_them() {
    let with = |audiences: &str| document(&ISSUER.replace("audiences: [kubernetes]", audiences));
    for good in [
        "audiences: [a]",
        "audiences: [a], audienceMatchPolicy: MatchAny",
        "audiences: [a], audienceMatchPolicy: ''",
        "audiences: [a, b], audienceMatchPolicy: MatchAny",
    ] {
        assert!(parse(&with(good)).is_ok(), "{good}");
    }
    for (bad, path) in [
        ("audiences: []", "audiences"),
        ("audiences: null", "audiences"),
        ("audiences: ['']", "audiences[0]"),
        ("audiences: [a, a], audienceMatchPolicy: MatchAny", "audiences[1]"),
        ("audiences: [a, b]", "audienceMatchPolicy"),
        ("audiences: [a], audienceMatchPolicy: MatchAll", "audienceMatchPolicy"),
        ("audiences: [a, b], audienceMatchPolicy: matchAny", "audienceMatchPolicy"),
    ] {
        assert_eq!(paths(&with(bad)), [format!("jwt[0].issuer.{path}")], "{bad}");
    }
}

#[test]
fn urls_are_https_and_nothing_but_a_place() {
    for good in [
        "https://a.example.com",
        "https://a.example.com/",
        "https://a.example.com:8443/realms/x%20y",
        "https://[2001:db8::1]:8443/x",
        "https://localhost",
        "https://login.example.com/0a1b/v2.0",
    ] {
        assert_eq!(issuer_url::flaws(good), Vec::<String>::new(), "{good}");
    }
    for bad in [
        "",
        "a.example.com",
        "http://a.example.com",
        "HTTPS://a.example.com",
        "ftp://a.example.com",
        "https:a.example.com",
        "https://",
        "https:///path",
        "https://:443",
        "https://user@a.example.com",
        "https://user:pass@a.example.com",
        "https://a.example.com?x",
        "https://a.example.com?",
        "https://a.example.com#x",
        "https://a.example.com#",
        "https://a.example.com:port",
        "https://a.example.com:99999",
        "https://a.example.com:+1",
        "https://a.example.com/%zz",
        "https://a.example.com/%4",
        "https://a b.example.com",
        "https://a.example.com/\n",
        " https://a.example.com",
        "https://[::g]",
        "https://[::1]x",
        "https://a\\b.example.com",
    ] {
        assert!(!issuer_url::flaws(bad).is_empty(), "{bad:?}");
    }
}

#[test]
fn issuers_and_discovery_urls_are_unique() {
    assert_eq!(paths(&document(&format!("{ISSUER}{ISSUER}"))), ["jwt[1].issuer.url"]);
    let discovered = |url: &str, discovery: &str| {
        ISSUER.replace("url: https://a.example.com", &format!("url: {url}, discoveryURL: {discovery}"))
    };
    let two = format!(
        "{}{}",
        discovered("https://a.example.com", "https://d.example.com"),
        discovered("https://b.example.com", "https://d.example.com")
    );
    assert_eq!(paths(&document(&two)), ["jwt[1].issuer.discoveryURL"]);
    let same = discovered("https://a.example.com", "https://a.example.com/");
    assert_eq!(paths(&document(&same)), ["jwt[0].issuer.discoveryURL"]);
    let plain = discovered("https://a.example.com", "http://d.example.com");
    assert_eq!(paths(&document(&plain)), ["jwt[0].issuer.discoveryURL"]);
    assert!(parse(&document(&discovered("https://a.example.com", "''"))).is_ok());
}

#[test]
fn at_most_64_issuers() {
    let many = |count: usize| -> String {
        let issuers: String =
            (0..count).map(|n| ISSUER.replace("a.example.com", &format!("a{n}.example.com"))).collect();
        document(&issuers)
    };
    assert_eq!(parse(&many(64)).unwrap().len(), 64);
    assert_eq!(paths(&many(65)), ["jwt"]);
}

#[test]
fn expressions_are_refused_each_by_name() {
    let yaml = document(
        "- issuer: {url: https://a.example.com, audiences: [k]}\n  \
           claimValidationRules:\n  - {expression: 'claims.hd == \"x\"', message: m}\n  \
           claimMappings:\n    username: {expression: claims.sub}\n    groups: {expression: claims.roles}\n    \
           uid: {expression: claims.sub}\n    extra:\n    - {key: example.com/a, valueExpression: claims.a}\n  \
           userValidationRules:\n  - {expression: '!user.username.startsWith(\"x\")'}\n",
    );
    let found = faults(&yaml);
    for field in [
        "jwt[0].claimValidationRules[0].expression",
        "jwt[0].claimMappings.username.expression",
        "jwt[0].claimMappings.groups.expression",
        "jwt[0].claimMappings.uid.expression",
        "jwt[0].claimMappings.extra[0].valueExpression",
        "jwt[0].userValidationRules[0].expression",
    ] {
        assert!(found.contains(&format!("{field}: CEL expressions are not supported yet")), "{field}: {found:?}");
    }
    assert_eq!(found.len(), 6, "{found:?}");
}

#[test]
fn claims_and_expressions_do_not_stand_together() {
    let mapped = |mapping: &str| document(&ISSUER.replace("{claim: email, prefix: 'k:'}", mapping));
    for (mapping, path) in [
        ("{claim: a, expression: b}", "jwt[0].claimMappings.username"),
        ("{expression: b, prefix: ''}", "jwt[0].claimMappings.username.prefix"),
        ("{}", "jwt[0].claimMappings.username"),
        ("{prefix: x}", "jwt[0].claimMappings.username"),
        ("{claim: a}", "jwt[0].claimMappings.username.prefix"),
        ("{claim: a, prefix: null}", "jwt[0].claimMappings.username.prefix"),
    ] {
        assert!(paths(&mapped(mapping)).contains(&path.to_owned()), "{mapping}");
    }
    let ruled = |rule: &str| document(&format!("{ISSUER}  claimValidationRules:\n  - {rule}\n"));
    for (rule, path) in [
        ("{}", "jwt[0].claimValidationRules[0]"),
        ("{requiredValue: x}", "jwt[0].claimValidationRules[0]"),
        ("{claim: a, message: m}", "jwt[0].claimValidationRules[0].message"),
        ("{claim: a, expression: b}", "jwt[0].claimValidationRules[0]"),
        ("{expression: b, requiredValue: x}", "jwt[0].claimValidationRules[0].requiredValue"),
        ("{claim: a}\n  - {claim: a}", "jwt[0].claimValidationRules[1].claim"),
        ("{claim: a, requiredValue: 1}", "jwt[0].claimValidationRules[0].requiredValue"),
    ] {
        assert!(paths(&ruled(rule)).contains(&path.to_owned()), "{rule}");
    }
    // Without a claim there are no groups, whatever the prefix.
    let grouped = document(&format!("{ISSUER}    groups: {{prefix: 'x:'}}\n"));
    assert_eq!(parse(&grouped).unwrap()[0].rules.groups, None);
}

#[test]
fn what_this_proxy_cannot_do_is_not_passed_over() {
    let anonymous = |text: &str| format!("{}anonymous: {text}\n", document(ISSUER));
    assert!(parse(&anonymous("{enabled: false}")).is_ok());
    assert_eq!(paths(&anonymous("{enabled: true}")), ["anonymous.enabled"]);
    assert_eq!(paths(&anonymous("{enabled: true, conditions: [{path: /livez}]}")), ["anonymous.enabled"]);
    assert_eq!(paths(&anonymous("{conditions: [{path: /livez}]}")), ["anonymous.conditions"]);
    assert_eq!(paths(&anonymous("{enabled: 'yes'}")), ["anonymous.enabled"]);
    let egress = document(&ISSUER.replace("audiences:", "egressSelectorType: cluster, audiences:"));
    assert_eq!(paths(&egress), ["jwt[0].issuer.egressSelectorType"]);
}

#[test]
fn prefixes_that_no_name_can_have_are_refused() {
    for prefix in ["'system:'", "'system:serviceaccount:'", "' k:'", "\"k\\n\"", "\"\\t\""] {
        let yaml = document(&ISSUER.replace("'k:'", prefix));
        assert_eq!(paths(&yaml), ["jwt[0].claimMappings.username.prefix"], "{prefix}");
    }
    // Kubernetes' own `#`, and a space before the name.
    for prefix in ["'https://a.example.com#'", "'k: '"] {
        assert!(parse(&document(&ISSUER.replace("'k:'", prefix))).is_ok(), "{prefix}");
    }
}

#[test]
fn a_certificate_authority_must_hold_certificates() {
    let with = |pem: &str| {
        let json = serde_json::to_string(pem).unwrap();
        document(&ISSUER.replace("audiences:", &format!("certificateAuthority: {json}, audiences:")))
    };
    assert!(parse(&with(CA)).is_ok());
    assert!(parse(&with(&format!("a comment\n{CA}{CA}"))).is_ok());
    assert!(parse(&with("")).is_ok());
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let key = CA.replace("CERTIFICATE", "PUBLIC KEY");
    for bad in ["text", broken, &CA[..CA.len() / 2], &key, &format!("{CA}{broken}")] {
        assert_eq!(paths(&with(bad)), ["jwt[0].issuer.certificateAuthority"], "{bad}");
    }
}

fn flags() -> OidcFlags {
    OidcFlags {
        issuer_url: "https://a.example.com".into(),
        client_id: "kubernetes".into(),
        username_claim: "sub".into(),
        username_prefix: None,
        groups_claim: None,
        groups_prefix: None,
        signing_algs: vec!["RS256".into()],
        required_claims: Vec::new(),
        ca_pem: None,
        literal_username_prefix: false,
    }
}

fn flag_paths(flags: &OidcFlags) -> Vec<String> {
    let faults = from_flags(flags, &ReservedGroups::default()).expect_err("they should be refused");
    faults.into_iter().map(|fault| fault.path).collect()
}

#[test]
fn the_prefix_has_kubernetes_meaning_or_is_literal() {
    let prefix = |claim: &str, prefix: Option<&str>, literal: bool| {
        let flags = OidcFlags {
            username_claim: claim.into(),
            username_prefix: prefix.map(str::to_owned),
            literal_username_prefix: literal,
            ..flags()
        };
        from_flags(&flags, &ReservedGroups::default()).unwrap().rules.username.prefix.clone()
    };
    assert_eq!(prefix("sub", None, false), "https://a.example.com#");
    assert_eq!(prefix("sub", Some(""), false), "https://a.example.com#");
    assert_eq!(prefix("email", None, false), "");
    assert_eq!(prefix("email", Some("-"), false), "");
    assert_eq!(prefix("sub", Some("-"), false), "");
    assert_eq!(prefix("sub", Some("k:"), false), "k:");
    assert_eq!(prefix("sub", None, true), "");
    assert_eq!(prefix("sub", Some("-"), true), "-");
    assert_eq!(prefix("email", Some("k:"), true), "k:");
}

#[test]
fn flags_become_rules() {
    let flags = OidcFlags {
        groups_claim: Some("roles".into()),
        groups_prefix: Some("k:".into()),
        signing_algs: vec!["ES512".into(), "PS256".into()],
        required_claims: vec![("hd".into(), "example.com".into())],
        ca_pem: Some(CA.to_owned()),
        ..flags()
    };
    let config = from_flags(&flags, &ReservedGroups::default()).unwrap();
    assert_eq!(config.url, "https://a.example.com");
    assert_eq!(config.certificate_authority.as_deref(), Some(CA));
    assert_eq!(config.rules.audiences, ["kubernetes"]);
    assert_eq!(config.rules.algorithms, [Algorithm::Es512, Algorithm::Ps256]);
    assert_eq!(config.rules.groups, Some(PrefixedClaim { claim: "roles".into(), prefix: "k:".into() }));
    assert_eq!(config.rules.required, [("hd".to_owned(), "example.com".to_owned())]);
}

#[test]
fn faults_of_flags_are_reported_at_once() {
    let wrong = OidcFlags {
        issuer_url: "http://a.example.com".into(),
        client_id: String::new(),
        username_claim: String::new(),
        username_prefix: Some("system:".into()),
        groups_prefix: Some("system:".into()),
        signing_algs: vec!["none".into(), "RS256".into(), "HS256".into()],
        required_claims: vec![(String::new(), "x".into())],
        ca_pem: Some("text".into()),
        ..flags()
    };
    assert_eq!(
        flag_paths(&wrong),
        [
            "--oidc-issuer-url",
            "--oidc-client-id",
            "--oidc-username-claim",
            "--oidc-username-prefix",
            "--oidc-groups-prefix",
            "--oidc-signing-algs",
            "--oidc-signing-algs",
            "--oidc-required-claim",
            "--oidc-ca-file",
        ]
    );
    assert_eq!(flag_paths(&OidcFlags { signing_algs: Vec::new(), ..flags() }), ["--oidc-signing-algs"]);
}

#[test]
fn reserved_groups_are_named_in_full() {
    assert!(ReservedGroups::new(vec!["system:masters".into()]).is_ok());
    let faults = ReservedGroups::new(vec!["system:nodes".into(), "dev".into(), "sys".into()]).unwrap_err();
    assert_eq!(faults.len(), 2);
}
