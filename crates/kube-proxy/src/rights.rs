//! Whether kube-apiserver lets the proxy do what it will have to do. A right that is missing shows elsewhere as an error
//! about the user, or, since Kubernetes v1.36, about rights that nobody ever granted (`impersonate-on:…`); so it is
//! looked for by name, and said by name.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::upstream::{Impersonating, Review};

/// How often the rights are looked at.
const EVERY: Duration = Duration::from_secs(600);
/// How soon again when kube-apiserver did not say.
const AGAIN: Duration = Duration::from_secs(15);

/// One right: a verb on a resource (with its subresource) of an API group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Right {
    verb: &'static str,
    group: &'static str,
    resource: String,
}

impl std::fmt::Display for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if self.group.is_empty() { Ok(()) } else { write!(f, " in {}", self.group) }
    }
}

/// What the proxy does, so far as it needs rights for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Needs {
    /// Nothing is impersonated with `--disable-impersonation`.
    pub(crate) impersonation: bool,
    /// Keys of extra fields that the operator adds.
    pub(crate) extras: Vec<String>,
    pub(crate) token_reviews: bool,
}

impl Needs {
    fn rights(&self) -> BTreeSet<Right> {
        const AUTHENTICATION: &str = "authentication.k8s.io";
        let right = |verb, group, resource: &str| Right { verb, group, resource: resource.to_owned() };
        let mut rights = BTreeSet::new();
        if self.impersonation {
            rights.extend(["users", "groups", "serviceaccounts"].map(|resource| right("impersonate", "", resource)));
            rights.insert(right("impersonate", AUTHENTICATION, "uids"));
            rights.insert(right("create", "authorization.k8s.io", "subjectaccessreviews"));
            for key in impersonation::own_extras().chain(self.extras.iter().cloned()) {
                let resource = format!("userextras/{}", key.to_ascii_lowercase());
                rights.insert(right("impersonate", AUTHENTICATION, &resource));
            }
        }
        if self.token_reviews {
            rights.insert(right("create", AUTHENTICATION, "tokenreviews"));
        }
        rights
    }
}

/// `SelfSubjectRulesReview` of `authorization.k8s.io/v1`, as far as it is read.
#[derive(Deserialize)]
struct Answer {
    status: Rules,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rules {
    #[serde(default)]
    incomplete: bool,
    #[serde(default)]
    resource_rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    api_groups: Vec<String>,
    #[serde(default)]
    resources: Vec<String>,
}

impl Rule {
    /// As RBAC compares; `resourceNames` may narrow it, which is the operator's wish.
    fn grants(&self, right: &Right) -> bool {
        let has = |list: &[String], wanted: &str| list.iter().any(|entry| entry == "*" || entry == wanted);
        let any_resource_with_this_subresource = right
            .resource
            .split_once('/')
            .is_some_and(|(_, subresource)| self.resources.iter().any(|entry| *entry == format!("*/{subresource}")));
        has(&self.verbs, right.verb)
            && has(&self.api_groups, right.group)
            && (has(&self.resources, &right.resource) || any_resource_with_this_subresource)
    }
}

/// The rights that are missing by kube-apiserver's answer; nothing if it does not know all rules itself.
fn missing(needed: &BTreeSet<Right>, answer: &[u8]) -> Result<Vec<Right>, serde_json::Error> {
    let Answer { status } = serde_json::from_slice(answer)?;
    if status.incomplete {
        return Ok(Vec::new());
    }
    let is_granted = |right: &Right| status.resource_rules.iter().any(|rule| rule.grants(right));
    Ok(needed.iter().filter(|right| !is_granted(right)).cloned().collect())
}

/// Looks at the proxy's rights now and then, and warns when one is missing, once for each change.
pub(crate) async fn watch(upstream: Impersonating, needs: Needs, stop: CancellationToken) {
    const QUESTION: &str =
        r#"{"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectRulesReview","spec":{"namespace":"default"}}"#;
    let needed = needs.rights();
    let mut said: Vec<Right> = Vec::new();
    loop {
        let asked = tokio::select! {
            () = stop.cancelled() => return,
            asked = upstream.review(Review::OwnRules, QUESTION.into()) => asked,
        };
        let found = match asked {
            Ok((status, body)) if status.is_success() => missing(&needed, &body).ok(),
            // Whatever it is, requests meet it too and say so.
            _ => None,
        };
        if let Some(found) = &found
            && *found != said
        {
            for right in found.iter().filter(|right| !said.contains(right)) {
                tracing::warn!(%right, "the proxy's own account lacks a right; see \"RBAC\" in docs/kube-proxy.md");
            }
            if found.is_empty() {
                tracing::info!("the proxy's own account has every right that it needs");
            }
            said.clone_from(found);
        }
        let pause = if found.is_some() { EVERY } else { AGAIN };
        tokio::select! { () = stop.cancelled() => return, () = tokio::time::sleep(pause) => {} }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lacking(rules: serde_json::Value, incomplete: bool) -> Vec<String> {
        let needs = Needs { impersonation: true, extras: vec!["Remote-Client-IP".into()], token_reviews: true };
        let answer =
            json!({"kind": "SelfSubjectRulesReview", "status": {"resourceRules": rules, "incomplete": incomplete}});
        let found = missing(&needs.rights(), answer.to_string().as_bytes()).unwrap();
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_not_granted_is_named() {
        let all = json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]);
        assert_eq!(lacking(all, false), Vec::<String>::new());
        assert_eq!(lacking(json!([]), false).len(), 12);
        let most = json!([
            {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users", "serviceaccounts"]},
            {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["groups"], "resourceNames": ["keyway:dev"]},
            {"verbs": ["impersonate"], "apiGroups": ["authentication.k8s.io"], "resources": [
                "uids", "userextras/remote-client-ip", "userextras/originaluser.jetstack.io-user",
                "userextras/originaluser.jetstack.io-groups", "userextras/originaluser.jetstack.io-uid",
                "userextras/originaluser.jetstack.io-extra"]},
            {"verbs": ["create"], "apiGroups": ["authorization.k8s.io", "authentication.k8s.io"], "resources": ["*"]},
        ]);
        assert_eq!(
            lacking(most, false),
            ["impersonate userextras/authentication.kubernetes.io/credential-id in authentication.k8s.io"]
        );
    }

    #[test]
    fn an_answer_that_is_incomplete_accuses_nobody() {
        assert_eq!(lacking(json!([]), true), Vec::<String>::new());
    }
}
