use serde_json::{Value, json};

use super::{PendingReviews, Verdict, reviews, service_account};
use crate::testing::{identity, joe, stripped};

const YES: &[u8] =
    br#"{"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1","status":{"allowed":true}}"#;
const NO: &[u8] = br#"{"kind":"SubjectAccessReview","status":{"allowed":false}}"#;

fn pending(headers: &[(&str, &str)]) -> PendingReviews {
    reviews(stripped(headers).requested.unwrap(), &joe())
}

fn attributes(pending: &PendingReviews) -> Vec<Value> {
    let body = |json: Vec<u8>| serde_json::from_slice::<Value>(&json).unwrap();
    pending.questions().iter().map(|question| body(question.to_json())["spec"]["resourceAttributes"].clone()).collect()
}

fn answers(pending: &PendingReviews, answer: &[u8]) -> Vec<Verdict> {
    pending.questions().iter().map(|question| Verdict::from_review_json(question, answer)).collect()
}

fn is_yes(answer: &str) -> bool {
    let pending = pending(&[("Impersonate-User", "jane")]);
    Verdict::from_review_json(&pending.questions()[0], answer.as_bytes()).is_allowed()
}

#[test]
fn only_a_literal_yes_is_one() {
    assert!(is_yes(&String::from_utf8_lossy(YES)));
    assert!(is_yes(r#"{"kind":"SubjectAccessReview","status":{"allowed":true,"denied":false,"reason":"RBAC"}}"#));
    for no in [
        "",
        "{}",
        "true",
        "null",
        "[]",
        r#"{"kind":"SubjectAccessReview"}"#,
        r#"{"kind":"SubjectAccessReview","status":{}}"#,
        r#"{"kind":"SubjectAccessReview","status":null}"#,
        r#"{"kind":"SubjectAccessReview","status":{"allowed":false}}"#,
        r#"{"kind":"SubjectAccessReview","status":{"allowed":"true"}}"#,
        r#"{"kind":"SubjectAccessReview","status":{"allowed":1}}"#,
        r#"{"kind":"SubjectAccessReview","status":{"allowed":null}}"#,
        r#"{"kind":"SubjectAccessReview","status":{"Allowed":true}}"#,
        r#"{"kind":"SubjectAccessReview","status":{"allowed":true,"denied":true}}"#,
        r#"{"kind":"SubjectAccessReview","status":{"allowed":true,"denied":"false"}}"#,
        r#"{"kind":"SubjectAccessReview","status":{"allowed":false,"allowed":true}}"#,
        r#"{"kind":"SubjectAccessReview","allowed":true,"status":{}}"#,
        r#"{"kind":"Status","status":{"allowed":true}}"#,
        r#"{"kind":"Status","status":"Success"}"#,
        r#"{"status":{"allowed":true}}"#,
        r#"{"kind":"SubjectAccessReview","status":{"allowed":true}} {}"#,
        r#"{"kind":"SubjectAccessReview","status":{"allowed":true}"#,
    ] {
        assert!(!is_yes(no), "{no}");
    }
}

#[test]
fn each_question_needs_its_own_yes() {
    let wish = [("Impersonate-User", "jane"), ("Impersonate-Group", "system:masters")];
    assert!(pending(&wish).resolve(Vec::new()).is_err());
    let asked = pending(&wish);
    let mut verdicts = answers(&asked, YES);
    verdicts.pop();
    let denied = asked.resolve(verdicts).unwrap_err();
    assert_eq!(denied.name(), "system:masters");
    assert!(denied.to_string().contains("nobody answered"), "{denied}");
    assert!(!denied.client_message().contains("nobody answered"));

    // A yes to the user, said as often as there are questions.
    let asked = pending(&wish);
    let user = Verdict::from_review_json(&asked.questions()[0], YES);
    assert!(asked.resolve(vec![user.clone(), user]).is_err());

    // A yes to someone else's question.
    let others = reviews(stripped(&wish).requested.unwrap(), &identity("eve", &[], None, None));
    assert!(pending(&wish).resolve(answers(&others, YES)).is_err());

    // A no beside the yeses; and the yeses in another order.
    let asked = pending(&wish);
    let mut verdicts = answers(&asked, YES);
    verdicts[1] = Verdict::from_review_json(&asked.questions()[1], NO);
    assert!(asked.resolve(verdicts).is_err());
    let asked = pending(&wish);
    let mut verdicts = answers(&asked, YES);
    verdicts.reverse();
    assert!(asked.resolve(verdicts).is_ok());
}

#[test]
fn the_questions_are_those_of_kube_apiserver() {
    let asked = pending(&[
        ("Impersonate-User", "jane"),
        ("Impersonate-Uid", "u-2"),
        ("Impersonate-Group", "dev"),
        ("Impersonate-Group", "qa"),
        ("Impersonate-Group", "dev"),
        ("Impersonate-Extra-Example.com%2FTeam", "x"),
        ("Impersonate-Extra-Example.com%2FTeam", "y"),
    ]);
    let core = |resource: &str, name: &str| json!({"verb": "impersonate", "group": "", "version": "v1", "resource": resource, "name": name});
    let team = |name: &str| {
        json!({"verb": "impersonate", "group": "authentication.k8s.io", "version": "v1", "resource": "userextras",
               "subresource": "example.com/team", "name": name})
    };
    let uid = json!({"verb": "impersonate", "group": "authentication.k8s.io", "version": "v1", "resource": "uids",
                     "name": "u-2"});
    let expected = [core("users", "jane"), uid, core("groups", "dev"), core("groups", "qa"), team("x"), team("y")];
    assert_eq!(attributes(&asked), expected);
}

#[test]
fn a_service_account_is_asked_for_in_its_namespace() {
    let asked = pending(&[("Impersonate-User", "system:serviceaccount:kube-system:builder.v1")]);
    let expected = json!({"verb": "impersonate", "group": "", "version": "v1", "resource": "serviceaccounts",
                          "namespace": "kube-system", "name": "builder.v1"});
    assert_eq!(attributes(&asked), [expected]);
}

#[test]
fn a_service_account_has_a_valid_namespace_and_name() {
    assert_eq!(service_account("system:serviceaccount:a:b"), Some(("a", "b")));
    for user in [
        "system:serviceaccount:a",
        "system:serviceaccount::b",
        "system:serviceaccount:a:",
        "system:serviceaccount:a:b:c",
        "system:serviceaccount:A:b",
        "system:serviceaccount:a.b:c",
        "system:serviceaccount:-a:b",
        "system:serviceaccount:a:b-",
        "system:serviceaccount:a:b..c",
        "system:serviceaccount:a:b_c",
        "System:serviceaccount:a:b",
        "serviceaccount:a:b",
    ] {
        assert_eq!(service_account(user), None, "{user}");
    }
    let long = "a".repeat(64);
    assert_eq!(service_account(&format!("system:serviceaccount:{long}:b")), None);
    assert!(service_account(&format!("system:serviceaccount:b:{long}")).is_some());
    let longer = "a.".repeat(127) + "a";
    assert_eq!(service_account(&format!("system:serviceaccount:b:{longer}")), None);
}

#[test]
fn the_requester_is_who_kube_apiserver_would_see() {
    let asked = pending(&[("Impersonate-User", "jane")]);
    let body: Value = serde_json::from_slice(&asked.questions()[0].to_json()).unwrap();
    assert_eq!(body["apiVersion"], "authorization.k8s.io/v1");
    assert_eq!(body["kind"], "SubjectAccessReview");
    assert_eq!(body["spec"]["user"], "joe@example.com");
    assert_eq!(body["spec"]["groups"], json!(["dev", "ops", "system:authenticated"]));
    assert_eq!(body["spec"]["uid"], "u-1");
    assert_eq!(body["spec"]["extra"], json!({"authentication.kubernetes.io/credential-id": ["JTI=t-1"]}));
    assert_eq!(body.as_object().unwrap().len(), 3);

    let plain = identity("joe", &["system:authenticated"], None, None);
    let asked = reviews(stripped(&[("Impersonate-User", "jane")]).requested.unwrap(), &plain);
    let body: Value = serde_json::from_slice(&asked.questions()[0].to_json()).unwrap();
    assert_eq!(body["spec"]["groups"], json!(["system:authenticated"]));
    assert_eq!(body["spec"].as_object().unwrap().len(), 3);
}

#[test]
fn equal_questions_are_equal_across_requests_and_others_are_not() {
    let jane = [("Impersonate-User", "jane")];
    assert_eq!(pending(&jane).questions(), pending(&jane).questions());
    let other = identity("joe@example.com", &["dev", "ops"], Some("u-2"), Some("t-1"));
    let others = reviews(stripped(&jane).requested.unwrap(), &other);
    assert_ne!(pending(&jane).questions(), others.questions());
}

#[test]
fn a_no_is_in_kubernetes_own_words() {
    let denied = |headers: &[(&str, &str)], reason: &str| {
        let asked = pending(headers);
        let last = asked.questions().len() - 1;
        let no = json!({"kind": "SubjectAccessReview", "status": {"allowed": false, "reason": reason}}).to_string();
        let mut verdicts = answers(&asked, YES);
        verdicts[last] = Verdict::from_review_json(&asked.questions()[last], no.as_bytes());
        asked.resolve(verdicts).unwrap_err()
    };
    let user = denied(&[("Impersonate-User", "jane")], "");
    assert_eq!(
        user.client_message(),
        r#"users "jane" is forbidden: User "joe@example.com" cannot impersonate resource "users" in API group "" at the cluster scope"#
    );
    assert_eq!((user.kind(), user.group(), user.name()), ("users", "", "jane"));
    let account = denied(&[("Impersonate-User", "system:serviceaccount:ns:sa")], "no RBAC policy matched");
    assert_eq!(
        account.client_message(),
        r#"serviceaccounts "sa" is forbidden: User "joe@example.com" cannot impersonate resource "serviceaccounts" in API group "" in the namespace "ns": no RBAC policy matched"#
    );
    let uid = denied(&[("Impersonate-User", "jane"), ("Impersonate-Uid", "1")], "");
    assert_eq!(
        uid.client_message(),
        r#"uids.authentication.k8s.io "1" is forbidden: User "joe@example.com" cannot impersonate resource "uids" in API group "authentication.k8s.io" at the cluster scope"#
    );
    let extra = denied(&[("Impersonate-User", "jane"), ("Impersonate-Extra-Scopes", "<b>")], "");
    assert_eq!(
        extra.client_message(),
        r#"userextras.authentication.k8s.io "<b>" is forbidden: User "joe@example.com" cannot impersonate resource "userextras/scopes" in API group "authentication.k8s.io" at the cluster scope"#
    );
}

#[test]
fn the_operator_also_learns_what_went_wrong() {
    let asked = pending(&[("Impersonate-User", "jane")]);
    let no = br#"{"kind":"SubjectAccessReview","status":{"allowed":false,"evaluationError":"webhook is down"}}"#;
    let verdicts = answers(&asked, no);
    let denied = asked.resolve(verdicts).unwrap_err();
    assert!(denied.to_string().ends_with(" (webhook is down)"), "{denied}");
    assert!(!denied.client_message().contains("webhook"));
}
