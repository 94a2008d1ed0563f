//! kube-apiserver's `--oidc-*` flags.

use std::sync::Arc;

use super::{Fault, IssuerConfig, authority, issuer_url, prefix_flaw};
use crate::algorithm::Algorithm;
use crate::rules::{PrefixedClaim, ReservedGroups, Rules};

/// The values of the flags, as given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidcFlags {
    /// `--oidc-issuer-url`.
    pub issuer_url: String,
    /// `--oidc-client-id`: the audience.
    pub client_id: String,
    /// `--oidc-username-claim`.
    pub username_claim: String,
    /// `--oidc-username-prefix`; see [`OidcFlags::literal_username_prefix`].
    pub username_prefix: Option<String>,
    /// `--oidc-groups-claim`; no groups when absent.
    pub groups_claim: Option<String>,
    /// `--oidc-groups-prefix`.
    pub groups_prefix: Option<String>,
    /// `--oidc-signing-algs`, JOSE names.
    pub signing_algs: Vec<String>,
    /// `--oidc-required-claim`: claims and the values that they must have.
    pub required_claims: Vec<(String, String)>,
    /// What `--oidc-ca-file` holds.
    pub ca_pem: Option<String>,
    /// Takes the user name's prefix as it stands, and none as none, as the kube-oidc-proxy family does. Otherwise it
    /// has Kubernetes' meaning: `-` is none, and none is the issuer URL and `#`, unless the claim is `email`.
    pub literal_username_prefix: bool,
}

/// The issuer that the flags describe.
///
/// # Errors
/// All faults.
pub fn from_flags(flags: &OidcFlags, reserved: &ReservedGroups) -> Result<IssuerConfig, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut wrong = |flag: &str, reason: String| faults.push(Fault::new(format!("--oidc-{flag}"), reason));
    for flaw in issuer_url::flaws(&flags.issuer_url) {
        wrong("issuer-url", flaw);
    }
    if flags.client_id.is_empty() {
        wrong("client-id", "must not be empty".to_owned());
    }
    if flags.username_claim.is_empty() {
        wrong("username-claim", "must not be empty".to_owned());
    }
    let username_prefix = username_prefix(flags);
    let groups_prefix = flags.groups_prefix.clone().unwrap_or_default();
    for (flag, prefix) in [("username-prefix", &username_prefix), ("groups-prefix", &groups_prefix)] {
        if let Some(flaw) = prefix_flaw(prefix) {
            wrong(flag, flaw);
        }
    }
    if flags.signing_algs.is_empty() {
        wrong("signing-algs", format!("must name at least one of {}", Algorithm::names()));
    }
    let mut algorithms = Vec::new();
    for name in &flags.signing_algs {
        match Algorithm::from_name(name) {
            Some(algorithm) => algorithms.push(algorithm),
            None => wrong("signing-algs", format!("{name:?} is not one of {}", Algorithm::names())),
        }
    }
    if flags.required_claims.iter().any(|(claim, _)| claim.is_empty()) {
        wrong("required-claim", "must be of the form claim=value".to_owned());
    }
    if let Some(flaw) = flags.ca_pem.as_deref().and_then(authority::flaw) {
        wrong("ca-file", flaw);
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(IssuerConfig {
        url: flags.issuer_url.clone(),
        discovery_url: None,
        certificate_authority: flags.ca_pem.clone(),
        rules: Arc::new(Rules {
            issuer: flags.issuer_url.clone(),
            audiences: vec![flags.client_id.clone()],
            algorithms,
            username: PrefixedClaim { claim: flags.username_claim.clone(), prefix: username_prefix },
            groups: flags.groups_claim.clone().map(|claim| PrefixedClaim { claim, prefix: groups_prefix }),
            uid_claim: None,
            required: flags.required_claims.clone(),
            reserved: reserved.clone(),
        }),
    })
}

/// `ToAuthenticationConfig` in `kubernetes/pkg/kubeapiserver/options/authentication.go`.
fn username_prefix(flags: &OidcFlags) -> String {
    match flags.username_prefix.as_deref().unwrap_or_default() {
        literal if flags.literal_username_prefix => literal.to_owned(),
        "-" => String::new(),
        "" if flags.username_claim != "email" => format!("{}#", flags.issuer_url),
        prefix => prefix.to_owned(),
    }
}
