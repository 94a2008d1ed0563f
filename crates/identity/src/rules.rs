//! What an operator demands of one issuer's tokens, checked and ready to apply.

use std::collections::BTreeSet;

use crate::algorithm::Algorithm;
use crate::config::Fault;

/// The rules for the tokens of one issuer. Made by [`crate::from_flags`] and [`crate::parse_authentication_config`].
#[derive(Clone, Debug)]
pub struct Rules {
    pub(crate) issuer: String,
    /// The token must name at least one.
    pub(crate) audiences: Vec<String>,
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) username: PrefixedClaim,
    pub(crate) groups: Option<PrefixedClaim>,
    pub(crate) uid_claim: Option<String>,
    /// Claims that must be strings of exactly these values.
    pub(crate) required: Vec<(String, String)>,
    pub(crate) reserved: ReservedGroups,
}

/// A claim, and what is put in front of its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PrefixedClaim {
    pub(crate) claim: String,
    pub(crate) prefix: String,
}

/// The `system:` groups that tokens may carry (`--allow-reserved-groups`). There is no such list for users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReservedGroups(BTreeSet<String>);

/// What Kubernetes keeps for itself.
pub(crate) const RESERVED: &str = "system:";
/// The one reserved group that means nothing: whoever has proved anything is in it.
const AUTHENTICATED: &str = "system:authenticated";

impl ReservedGroups {
    /// Allows these groups and no other reserved ones.
    ///
    /// # Errors
    /// A fault for each name that does not begin with `system:`: it needs no permission, so it is a mistake.
    pub fn new(groups: Vec<String>) -> Result<Self, Vec<Fault>> {
        let faults: Vec<Fault> = groups
            .iter()
            .filter(|group| !group.starts_with(RESERVED))
            .map(|group| Fault::new("--allow-reserved-groups", format!("{group:?} does not begin with {RESERVED}")))
            .collect();
        if faults.is_empty() { Ok(Self(groups.into_iter().collect())) } else { Err(faults) }
    }

    pub(crate) fn allow(&self, group: &str) -> bool {
        !group.starts_with(RESERVED) || group == AUTHENTICATED || self.0.contains(group)
    }
}

#[cfg(test)]
mod tests;
