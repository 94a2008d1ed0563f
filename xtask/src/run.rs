//! Running other programs, and saying so.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail};

/// Runs a program with its output on the terminal.
///
/// # Errors
/// If it cannot be started, or ends with another status than 0.
pub(crate) fn step(title: &str, program: &str, args: &[&str], dir: &Path) -> anyhow::Result<()> {
    println!("\n== {title}: {program} {}", args.join(" "));
    let started = Instant::now();
    let status = Command::new(program)
        .args(args)
        .current_dir(dir)
        .status()
        .with_context(|| format!("cannot run {program}: is it installed?"))?;
    if !status.success() {
        bail!("{title} failed: {program} {} ended with {status}", args.join(" "));
    }
    println!("== {title}: {} s", started.elapsed().as_secs());
    Ok(())
}
