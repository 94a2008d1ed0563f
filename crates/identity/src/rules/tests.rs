use super::ReservedGroups;

fn names(groups: &[&str]) -> Vec<String> {
    groups.iter().map(|group| (*group).to_owned()).collect()
}

#[test]
fn nothing_reserved_is_allowed_unless_it_is_named() {
    let none = ReservedGroups::default();
    let masters = ReservedGroups::new(names(&["system:masters"])).unwrap();
    for group in
        ["system:", "system:nodes", "system:unauthenticated", "system:serviceaccounts", "system:authenticated:x"]
    {
        assert!(!none.allow(group), "{group}");
        assert!(!masters.allow(group), "{group}");
    }
    assert!(!none.allow("system:masters"));
    assert!(masters.allow("system:masters"));
}

#[test]
fn a_name_is_allowed_exactly() {
    let masters = ReservedGroups::new(names(&["system:masters"])).unwrap();
    for group in ["system:master", "system:masters2", "system:masters:", "system:Masters", "system:masters "] {
        assert!(!masters.allow(group), "{group}");
    }
}

#[test]
fn whoever_has_proved_anything_may_be_authenticated() {
    assert!(ReservedGroups::default().allow("system:authenticated"));
}

#[test]
fn other_groups_need_no_permission() {
    for group in ["dev", "system", "systems:x", "System:masters", "x system:masters", "oidc:system:masters"] {
        assert!(ReservedGroups::default().allow(group), "{group}");
    }
}

#[test]
fn every_name_that_is_not_reserved_is_a_fault() {
    let faults = ReservedGroups::new(names(&["dev", "system:masters", "System:x", ""])).unwrap_err();
    assert_eq!(faults.len(), 3);
}
