//! `AuthenticationConfiguration` of `apiserver.config.k8s.io`, v1 and v1beta1, as kube-apiserver v1.37 reads and
//! validates it (`apiserver/pkg/apis/apiserver/validation/validation.go`).
//!
//! Stricter, because what the file says would otherwise silently not be so here: CEL expressions are refused by name
//! until they are evaluated, anonymous access and egress selectors are refused because there are none, and a list
//! without an issuer is refused because nobody could sign in.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::document::{Faults, Found, Section, parse};
use super::{Fault, IssuerConfig, authority, issuer_url, prefix_flaw};
use crate::algorithm::Algorithm;
use crate::rules::{PrefixedClaim, ReservedGroups, Rules};

const GROUP: &str = "apiserver.config.k8s.io";
const KIND: &str = "AuthenticationConfiguration";
/// kube-apiserver's limit.
const MAX_ISSUERS: usize = 64;
const NO_EXPRESSIONS: &str = "CEL expressions are not supported yet";

/// The issuers of the document.
///
/// # Errors
/// All faults.
pub fn parse_authentication_config(yaml: &str, reserved: &ReservedGroups) -> Result<Vec<IssuerConfig>, Vec<Fault>> {
    let mut faults = Faults::default();
    let document = parse(yaml).map_err(|error| vec![Fault::new("", format!("not valid YAML: {error}"))])?;
    let root = Section::root(&document, &mut faults);
    if !root.is_present() {
        return Err(faults.0);
    }
    root.allow(&["apiVersion", "kind", "jwt", "anonymous"], &mut faults);
    version(&root, &mut faults);
    anonymous(&root.section("anonymous", &mut faults), &mut faults);

    let sections = root.sections("jwt", &mut faults);
    if sections.is_empty() && faults.0.iter().all(|fault| fault.path != "jwt") {
        faults.add("jwt", "names no issuer: nobody could sign in");
    }
    if sections.len() > MAX_ISSUERS {
        faults.add("jwt", format!("has {} issuers, more than {MAX_ISSUERS}", sections.len()));
        return Err(faults.0);
    }
    let mut issuers: Vec<IssuerConfig> = Vec::new();
    for section in &sections {
        let issuer = issuer(section, reserved, &mut faults);
        duplicates(&issuer, &issuers, section, &mut faults);
        issuers.push(issuer);
    }
    if faults.0.is_empty() { Ok(issuers) } else { Err(faults.0) }
}

fn version(root: &Section<'_>, faults: &mut Faults) {
    match root.text("apiVersion", faults) {
        Found::Is("apiserver.config.k8s.io/v1" | "apiserver.config.k8s.io/v1beta1") | Found::Faulty => {}
        found => faults.add("apiVersion", format!("is {:?}, not {GROUP}/v1 or {GROUP}/v1beta1", found.or_empty())),
    }
    match root.text("kind", faults) {
        Found::Is(KIND) | Found::Faulty => {}
        found => faults.add("kind", format!("is {:?}, not {KIND}", found.or_empty())),
    }
}

fn anonymous(section: &Section<'_>, faults: &mut Faults) {
    section.allow(&["enabled", "conditions"], faults);
    let conditions = section.sections("conditions", faults);
    for condition in &conditions {
        condition.allow(&["path"], faults);
    }
    match section.flag("enabled", faults) {
        true => faults.add(
            section.field("enabled"),
            "there is no anonymous access through this proxy: set it to false, or leave `anonymous` out",
        ),
        false if !conditions.is_empty() => {
            faults.add(section.field("conditions"), "need `enabled: true`, which this proxy does not offer");
        }
        false => {}
    }
}

fn duplicates(issuer: &IssuerConfig, before: &[IssuerConfig], section: &Section<'_>, faults: &mut Faults) {
    let field = |name: &str| format!("{}.issuer.{name}", section.path);
    if !issuer.url.is_empty() && before.iter().any(|other| other.url == issuer.url) {
        faults.add(field("url"), format!("{:?} appears more than once", issuer.url));
    }
    if let Some(url) = &issuer.discovery_url
        && before.iter().any(|other| other.discovery_url.as_ref() == Some(url))
    {
        faults.add(field("discoveryURL"), format!("{url:?} appears more than once"));
    }
}

/// One entry of `jwt`. With faults the result is incomplete, and is thrown away.
fn issuer(section: &Section<'_>, reserved: &ReservedGroups, faults: &mut Faults) -> IssuerConfig {
    section.allow(&["issuer", "claimValidationRules", "claimMappings", "userValidationRules"], faults);
    let issuer = section.section("issuer", faults);
    issuer.allow(
        &["url", "discoveryURL", "certificateAuthority", "audiences", "audienceMatchPolicy", "egressSelectorType"],
        faults,
    );
    let url = url(&issuer, faults);
    let discovery_url = discovery_url(&issuer, &url, faults);
    let audiences = audiences(&issuer, faults);
    let certificate_authority =
        Some(issuer.text("certificateAuthority", faults).or_empty()).filter(|pem| !pem.is_empty());
    if let Some(flaw) = certificate_authority.and_then(authority::flaw) {
        faults.add(issuer.field("certificateAuthority"), flaw);
    }
    if !issuer.text("egressSelectorType", faults).or_empty().is_empty() {
        faults.add(issuer.field("egressSelectorType"), "this proxy has no egress selectors: leave it out");
    }

    let required = required_claims(section, faults);
    let mappings = section.section("claimMappings", faults);
    mappings.allow(&["username", "groups", "uid", "extra"], faults);
    let username = prefixed(&mappings, "username", faults);
    let groups = prefixed(&mappings, "groups", faults);
    let uid_claim = uid(&mappings, faults);
    extra(&mappings, faults);
    user_rules(section, faults);
    IssuerConfig {
        url: url.clone(),
        discovery_url,
        certificate_authority: certificate_authority.map(str::to_owned),
        rules: Arc::new(Rules {
            issuer: url,
            audiences,
            algorithms: Algorithm::ALL.to_vec(),
            username: username.unwrap_or_else(|| PrefixedClaim { claim: String::new(), prefix: String::new() }),
            groups,
            uid_claim,
            required,
            reserved: reserved.clone(),
        }),
    }
}

fn url(issuer: &Section<'_>, faults: &mut Faults) -> String {
    let url = issuer.text("url", faults);
    if url.is_missing() {
        faults.add(issuer.field("url"), "is required");
    } else if let Found::Is(url) = url {
        for flaw in issuer_url::flaws(url) {
            faults.add(issuer.field("url"), format!("{url:?} {flaw}"));
        }
    }
    url.or_empty().to_owned()
}

fn discovery_url(issuer: &Section<'_>, url: &str, faults: &mut Faults) -> Option<String> {
    let discovery = Some(issuer.text("discoveryURL", faults).or_empty()).filter(|text| !text.is_empty())?;
    if !url.is_empty() && discovery.trim_end_matches('/') == url.trim_end_matches('/') {
        faults.add(issuer.field("discoveryURL"), "must be another URL than `url`");
    }
    for flaw in issuer_url::flaws(discovery) {
        faults.add(issuer.field("discoveryURL"), format!("{discovery:?} {flaw}"));
    }
    Some(discovery.to_owned())
}

fn audiences(issuer: &Section<'_>, faults: &mut Faults) -> Vec<String> {
    let path = issuer.field("audiences");
    let policy = issuer.text("audienceMatchPolicy", faults);
    let audiences = match issuer.texts("audiences", faults) {
        Found::Is(audiences) if !audiences.is_empty() => audiences,
        Found::Faulty => return Vec::new(),
        _ => {
            faults.add(path, "at least one is required");
            return Vec::new();
        }
    };
    for (index, audience) in audiences.iter().enumerate() {
        if audience.is_empty() {
            faults.add(format!("{path}[{index}]"), "must not be empty");
        } else if audiences.iter().take(index).any(|before| before == audience) {
            faults.add(format!("{path}[{index}]"), format!("{audience:?} appears more than once"));
        }
    }
    match policy {
        Found::Is("MatchAny") | Found::Faulty => {}
        found if found.is_missing() && audiences.len() == 1 => {}
        found => faults.add(
            issuer.field("audienceMatchPolicy"),
            format!("is {:?}, not MatchAny (which several audiences need)", found.or_empty()),
        ),
    }
    audiences.into_iter().map(str::to_owned).collect()
}

fn required_claims(section: &Section<'_>, faults: &mut Faults) -> Vec<(String, String)> {
    let mut required: Vec<(String, String)> = Vec::new();
    for rule in section.sections("claimValidationRules", faults) {
        rule.allow(&["claim", "requiredValue", "expression", "message"], faults);
        let [claim, value, expression, message] =
            ["claim", "requiredValue", "expression", "message"].map(|name| rule.text(name, faults));
        if !expression.is_missing() {
            no_expression(&rule, claim, faults);
            if !value.or_empty().is_empty() {
                faults.add(rule.field("requiredValue"), "cannot stand beside `expression`");
            }
            continue;
        }
        if claim.is_missing() {
            faults.add(rule.path.clone(), "`claim` is required");
            continue;
        }
        if !message.or_empty().is_empty() {
            faults.add(rule.field("message"), "cannot stand beside `claim`");
        }
        if required.iter().any(|(before, _)| before == claim.or_empty()) {
            faults.add(rule.field("claim"), format!("{:?} appears more than once", claim.or_empty()));
        }
        required.push((claim.or_empty().to_owned(), value.or_empty().to_owned()));
    }
    required
}

/// `username` or `groups`. The first is required.
fn prefixed(mappings: &Section<'_>, name: &str, faults: &mut Faults) -> Option<PrefixedClaim> {
    let mapping = mappings.section(name, faults);
    mapping.allow(&["claim", "prefix", "expression"], faults);
    let [claim, prefix, expression] = ["claim", "prefix", "expression"].map(|name| mapping.text(name, faults));
    if !expression.is_missing() {
        no_expression(&mapping, claim, faults);
        if prefix != Found::Absent {
            faults.add(mapping.field("prefix"), "cannot stand beside `expression`");
        }
        return None;
    }
    if claim.is_missing() {
        if name == "username" {
            faults.add(mapping.path.clone(), "`claim` is required");
        }
        return None;
    }
    if prefix == Found::Absent {
        faults.add(mapping.field("prefix"), "is required beside `claim`; \"\" means no prefix");
    }
    if let Some(flaw) = prefix_flaw(prefix.or_empty()) {
        faults.add(mapping.field("prefix"), flaw);
    }
    Some(PrefixedClaim { claim: claim.or_empty().to_owned(), prefix: prefix.or_empty().to_owned() })
}

fn uid(mappings: &Section<'_>, faults: &mut Faults) -> Option<String> {
    let uid = mappings.section("uid", faults);
    uid.allow(&["claim", "expression"], faults);
    let [claim, expression] = ["claim", "expression"].map(|name| uid.text(name, faults));
    if !expression.is_missing() {
        no_expression(&uid, claim, faults);
    }
    Some(claim.or_empty().to_owned()).filter(|claim| !claim.is_empty())
}

/// An extra's value is always an expression, so none can be used yet; the faults in keys are found all the same.
fn extra(mappings: &Section<'_>, faults: &mut Faults) {
    let mut keys = BTreeSet::new();
    for mapping in mappings.sections("extra", faults) {
        mapping.allow(&["key", "valueExpression"], faults);
        let key = mapping.text("key", faults);
        if key.is_missing() {
            faults.add(mapping.field("key"), "is required");
        } else if !keys.insert(key.or_empty().to_owned()) {
            faults.add(mapping.field("key"), format!("{:?} appears more than once", key.or_empty()));
        }
        if mapping.text("valueExpression", faults).is_missing() {
            faults.add(mapping.field("valueExpression"), "is required");
        } else {
            faults.add(mapping.field("valueExpression"), NO_EXPRESSIONS);
        }
    }
}

fn user_rules(section: &Section<'_>, faults: &mut Faults) {
    for rule in section.sections("userValidationRules", faults) {
        rule.allow(&["expression", "message"], faults);
        rule.text("message", faults);
        if rule.text("expression", faults).is_missing() {
            faults.add(rule.field("expression"), "is required");
        } else {
            faults.add(rule.field("expression"), NO_EXPRESSIONS);
        }
    }
}

fn no_expression(section: &Section<'_>, claim: Found<&str>, faults: &mut Faults) {
    if !claim.or_empty().is_empty() {
        faults.add(section.path.clone(), "`claim` and `expression` cannot both be set");
    }
    faults.add(section.field("expression"), NO_EXPRESSIONS);
}
