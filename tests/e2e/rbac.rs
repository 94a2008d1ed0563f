//! Scenario 1: the reference's Role, RoleBinding and ClusterRoleBinding.

use crate::world::{proxy, shared};

const USER: &str = "myuser@example.com";

#[test]
fn an_employee_on_a_personal_device_may_read_pods_and_nothing_else() {
    let kubectl = proxy().kubectl(&shared().token(USER, &["any-employee-personal-device"]));
    kubectl.ok(&["get", "pods"]);
    assert_eq!(
        kubectl.refused(&["get", "services"]),
        "Error from server (Forbidden): services is forbidden: User \"keyway:myuser@example.com\" cannot list resource \
         \"services\" in API group \"\" in the namespace \"default\""
    );
    kubectl.refused(&["get", "pods", "-n", "kube-system"]);
    kubectl.refused(&["delete", "namespace", "default"]);
}

#[test]
fn an_administrator_on_a_corporate_device_may_do_everything() {
    let kubectl = proxy().kubectl(&shared().token("admin@example.com", &["all-admins-corporate-device"]));
    kubectl.ok(&["get", "nodes"]);
    kubectl.ok(&["get", "services", "-A"]);
    assert_eq!(kubectl.ok(&["auth", "can-i", "*", "*", "--all-namespaces"]).trim(), "yes");
}

#[test]
fn nobody_is_nobody() {
    let kubectl = proxy().kubectl("not-a-token");
    let said = kubectl.refused(&["get", "pods"]);
    assert!(said.contains("You must be logged in to the server"), "{said}");
    let without_roles = proxy().kubectl(&shared().token(USER, &[]));
    assert!(without_roles.refused(&["get", "pods"]).contains("forbidden"));
}

#[test]
fn the_document_gives_the_proxy_the_rights_that_it_has_here() {
    let document = include_str!("../../docs/kube-proxy.md");
    let resource = |line: &str| line.trim().trim_start_matches("- ").trim_start_matches("resources:").trim().to_owned();
    let ours = include_str!("rbac.yaml").split("name: keyway-kube-proxy}").nth(1).unwrap();
    let ours = ours.split("# What the tests use").next().unwrap();
    let resources: Vec<String> = ours
        .lines()
        .filter(|line| line.contains("userextras") || line.contains("resources: ["))
        .map(resource)
        .collect();
    assert!(resources.len() > 6, "{resources:?}");
    for line in resources {
        assert!(document.contains(&line), "docs/kube-proxy.md lacks {line}");
    }
}
