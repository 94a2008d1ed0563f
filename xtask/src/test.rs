//! `cargo xtask test`: every tier but the benches. `--quick` runs what needs no cluster.

use std::time::Instant;

use testkit::cluster::workspace_root;

use crate::run::step;
use crate::{house, setup};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only what needs no cluster: the inner loop
    #[arg(long)]
    quick: bool,
    /// Only tests whose name contains this
    filter: Option<String>,
}

/// Runs them, the fast ones first.
///
/// # Errors
/// At the first step that fails.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let root = workspace_root();
    let started = Instant::now();
    let filter: Vec<&str> = options.filter.as_deref().into_iter().collect();
    if options.filter.is_none() {
        step("format", "cargo", &["fmt", "--all", "--check"], &root)?;
        step("lints", "cargo", &["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"], &root)?;
        house::check(&root)?;
    }
    let mut quick = vec!["test", "--workspace", "--exclude", "e2e-tests"];
    quick.extend(&filter);
    step("unit and in-process tests", "cargo", &quick, &root)?;
    if !options.quick {
        setup::run()?;
        step("the programs under test", "cargo", &["build", "--package", "keywayd"], &root)?;
        let mut whole = vec!["test", "--package", "e2e-tests"];
        whole.extend(&filter);
        step("scenarios on a real cluster", "cargo", &whole, &root)?;
    }
    println!("\nall tests passed in {} s", started.elapsed().as_secs());
    Ok(())
}
