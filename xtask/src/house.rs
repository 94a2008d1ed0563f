//! Rules of the house that the compiler does not know: what the pure crates may not depend on, and what may not be in
//! the tree at all. `deny.toml` is the one list of the latter; here it is checked without a further tool.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

/// Crates that decide and do no I/O, so that every decision can be tested without a socket or a clock.
const PURE: [&str; 2] = ["identity", "impersonation"];

/// What brings I/O, in any version.
const NOT_PURE: [&str; 14] = [
    "async-std",
    "axum",
    "hyper",
    "hyper-util",
    "mio",
    "quinn",
    "reqwest",
    "sea-orm",
    "smol",
    "socket2",
    "sqlx",
    "tokio",
    "tokio-rustls",
    "tower",
];

/// Checks them.
///
/// # Errors
/// Every rule that is broken.
pub(crate) fn check(root: &Path) -> anyhow::Result<()> {
    println!("\n== house rules: what the crates may depend on");
    let mut broken = Vec::new();
    for krate in PURE {
        let found = tree(root, &["--package", krate, "--edges", "normal"])?;
        let impure = NOT_PURE.iter().filter(|name| found.contains(**name));
        broken.extend(impure.map(|name| format!("{krate} is a pure crate, and depends on {name}")));
    }
    let all = tree(root, &["--workspace", "--edges", "normal,build", "--target", "all"])?;
    let banned = banned(&std::fs::read_to_string(root.join("deny.toml"))?);
    if banned.is_empty() {
        bail!("deny.toml bans nothing: is it written otherwise than house.rs reads it?");
    }
    broken
        .extend(banned.iter().filter(|name| all.contains(*name)).map(|name| format!("{name} is banned by deny.toml")));
    if !broken.is_empty() {
        bail!("{}", broken.join("\n"));
    }
    println!("{} crates, none of the {} banned ones", all.len(), banned.len());
    Ok(())
}

/// The names of a dependency tree's crates.
fn tree(root: &Path, args: &[&str]) -> anyhow::Result<BTreeSet<String>> {
    let output = Command::new("cargo")
        .args(["tree", "--locked", "--prefix", "none", "--format", "{p}"])
        .args(args)
        .current_dir(root)
        .output()
        .context("cannot run cargo tree")?;
    if !output.status.success() {
        bail!("cargo tree {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let names: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.split(' ').next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    if names.is_empty() {
        bail!("cargo tree {} names nothing", args.join(" "));
    }
    Ok(names)
}

/// The names in the lines `{ name = "…" }` of `[bans]`.
fn banned(deny: &str) -> Vec<String> {
    deny.lines()
        .filter_map(|line| line.trim().strip_prefix("{ name = \"")?.split_once('"'))
        .map(|(name, _)| name.to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{PURE, banned, tree};

    #[test]
    fn the_list_of_bans_is_read() {
        let text =
            "[bans]\ndeny = [\n    # why\n    { name = \"ring\" },\n    { name = \"rsa\", version = \"*\" },\n]\n";
        assert_eq!(banned(text), ["ring", "rsa"]);
    }

    #[test]
    fn a_tree_is_read_with_everything_in_it() {
        let root = testkit::cluster::workspace_root();
        let pure = tree(&root, &["--package", PURE[0], "--edges", "normal"]).unwrap();
        assert!(pure.contains("aws-lc-rs") && pure.contains("serde_json"), "{pure:?}");
        let proxy = tree(&root, &["--package", "kube-proxy", "--edges", "normal"]).unwrap();
        assert!(proxy.contains("tokio") && proxy.contains("hyper"), "{proxy:?}");
    }
}
