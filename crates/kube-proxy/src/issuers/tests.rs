//! What is remembered of a token, and everything that voids it.

use std::time::Duration;

use identity::ReservedGroups;
use serde_json::json;
use testkit::ca::Ca as FakeCa;
use testkit::issuer::{Issuer as FakeIssuer, TokenBuilder};
use testkit::signing::Algorithm;

use super::*;

/// The configuration of these issuers, whose users get `prefix`.
fn configs(issuers: &[&FakeIssuer], prefix: &str) -> Vec<(IssuerConfig, Source)> {
    let jwt: Vec<serde_json::Value> = issuers
        .iter()
        .map(|issuer| {
            json!({
                "issuer": {"url": issuer.url(), "audiences": ["kubernetes"], "certificateAuthority": issuer.ca_pem()},
                "claimMappings": {"username": {"claim": "sub", "prefix": prefix}},
            })
        })
        .collect();
    let document =
        json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", "jwt": jwt});
    let parsed = identity::parse_authentication_config(&document.to_string(), &ReservedGroups::default()).unwrap();
    let source = |config: &IssuerConfig| Source {
        issuer: config.url.clone(),
        discovery_url: None,
        ca: config.certificate_authority.clone().map(Ca::Inline),
        client: None,
    };
    parsed.into_iter().map(|config| (config.clone(), source(&config))).collect()
}

async fn fake() -> FakeIssuer {
    FakeIssuer::start(&FakeCa::new("ca")).await
}

fn started(issuers: &[&FakeIssuer]) -> Arc<Issuers> {
    Issuers::start(configs(issuers, "k:"), Vec::new(), CancellationToken::new())
}

fn jane(issuer: &FakeIssuer) -> TokenBuilder {
    issuer.token().claim("sub", json!("jane")).aud("kubernetes").expires_in(600)
}

#[tokio::test]
async fn a_verified_token_is_not_verified_again() {
    let issuer = fake().await;
    let issuers = started(&[&issuer]);
    // The keys are there when this is answered.
    assert!(issuers.authenticate(&jane(&issuer).claim("jti", json!("1")).sign()).await.is_ok());
    let token = jane(&issuer).sign();
    let first = issuers.authenticate(&token).await.unwrap();
    assert_eq!(first.identity.username(), "k:jane");
    let second = issuers.authenticate(&token).await.unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    // Another token of the same user is another token.
    let other = issuers.authenticate(&jane(&issuer).claim("jti", json!("2")).sign()).await.unwrap();
    assert!(!Arc::ptr_eq(&first, &other));
}

#[tokio::test]
async fn a_refusal_is_not_remembered() {
    let issuer = fake().await;
    let issuers = started(&[&issuer]);
    let early = jane(&issuer).claim("nbf", json!(testkit::issuer::now() + 3600)).sign();
    assert!(issuers.authenticate(&early).await.is_err());
    assert_eq!(issuers.cache.len(), 0);
}

#[tokio::test]
async fn memory_ends_with_the_token() {
    let issuer = fake().await;
    let issuers = started(&[&issuer]);
    let token = jane(&issuer).expires_in(2).sign();
    assert!(issuers.authenticate(&token).await.is_ok());
    let refused = async {
        loop {
            if let Err(error) = issuers.authenticate(&token).await {
                return error;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let error = tokio::time::timeout(Duration::from_secs(30), refused).await.expect("a token that never expires");
    assert!(error.to_string().contains("expired"), "{error}");
}

#[tokio::test]
async fn a_withdrawn_key_voids_what_is_remembered() {
    let issuer = fake().await;
    let issuers = started(&[&issuer]);
    let old = jane(&issuer).sign();
    assert!(issuers.authenticate(&old).await.is_ok());
    issuer.add_key(Algorithm::Es256, "key-2");
    issuer.withdraw_old_keys();
    // The new key is unknown, so the keys are fetched again, and the old one is known to be gone.
    assert!(issuers.authenticate(&jane(&issuer).sign()).await.is_ok());
    let error = issuers.authenticate(&old).await.err().expect("a token of a withdrawn key counts");
    assert!(error.to_string().contains("key-1"), "{error}");
}

#[tokio::test]
async fn a_new_configuration_voids_what_is_remembered() {
    let (one, two) = (fake().await, fake().await);
    let issuers = started(&[&one, &two]);
    let (of_one, of_two) = (jane(&one).sign(), jane(&two).sign());
    assert_eq!(issuers.authenticate(&of_one).await.unwrap().identity.username(), "k:jane");
    assert!(issuers.authenticate(&of_two).await.is_ok());
    let fetched = one.fetches();

    issuers.replace(configs(&[&one], "other:"));
    assert_eq!(issuers.authenticate(&of_one).await.unwrap().identity.username(), "other:jane");
    assert!(matches!(issuers.authenticate(&of_two).await, Err(AuthenticationError::UnknownIssuer(_))));
    // The issuer is the same server as before, so its keys are those it had.
    assert_eq!(one.fetches(), fetched);
}

#[tokio::test]
async fn a_verdict_of_an_older_configuration_does_not_count() {
    let issuer = fake().await;
    let issuers = started(&[&issuer]);
    let token = jane(&issuer).sign();
    let before = issuers.authenticate(&token).await.unwrap();
    issuers.replace(configs(&[&issuer], "new:"));
    // A request that was under way finishes late, and leaves its verdict.
    issuers.cache.insert(token_hash(&token), before);
    assert_eq!(issuers.authenticate(&token).await.unwrap().identity.username(), "new:jane");
}

#[tokio::test]
async fn memory_is_bounded() {
    let issuer = fake().await;
    let issuers = started(&[&issuer]);
    let known = issuers.authenticate(&jane(&issuer).sign()).await.unwrap();
    for n in 0..2 * CACHE_CAPACITY {
        issuers.cache.insert(token_hash(&n.to_string()), known.clone());
    }
    assert!(issuers.cache.len() <= CACHE_CAPACITY, "{}", issuers.cache.len());
}

#[tokio::test]
async fn made_up_keys_do_not_become_a_flood_at_the_issuer() {
    let issuer = fake().await;
    let issuers = started(&[&issuer]);
    assert!(issuers.authenticate(&jane(&issuer).sign()).await.is_ok());
    let before = issuer.fetches();
    for n in 0..100 {
        let made_up = jane(&issuer).header("kid", json!(format!("made-up-{n}"))).sign();
        assert!(issuers.authenticate(&made_up).await.is_err());
    }
    // The burst, and what was refilled meanwhile.
    assert!(issuer.fetches() - before <= 8, "{}", issuer.fetches() - before);
}

#[tokio::test]
async fn an_issuer_that_is_down_holds_up_nobody_else() {
    let (up, down) = (fake().await, fake().await);
    down.stop();
    let issuers = started(&[&down, &up]);
    assert!(issuers.authenticate(&jane(&up).sign()).await.is_ok());
    assert!(matches!(issuers.authenticate(&jane(&down).sign()).await, Err(AuthenticationError::NoKeys(_))));
    let (with_keys, waiting) = issuers.readiness();
    assert_eq!((with_keys, waiting), (1, vec![down.url().to_owned()]));
}

#[tokio::test]
async fn a_key_of_one_issuer_does_not_vouch_for_another() {
    let (one, two) = (fake().await, fake().await);
    let issuers = started(&[&one, &two]);
    // The first issuer signs, with a key of the same name, what the second should have.
    let crossed = jane(&two).key(one.key()).sign();
    let error = issuers.authenticate(&crossed).await.err().expect("issuers can speak for each other");
    assert!(error.to_string().contains("did not make"), "{error}");
}
