//! The programs that the benches compare with: found, or installed from Debian, without their services.

use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// What is needed, and the Debian package that has it.
const NEEDED: [(&str, &str); 3] = [("nginx", "nginx-light"), ("haproxy", "haproxy"), ("taskset", "util-linux")];
/// Debian asks this program before it starts a freshly installed service.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs what is missing where that can be done, and names it where not.
///
/// # Errors
/// If something is missing still.
pub(crate) fn ensure() -> anyhow::Result<()> {
    let missing = || NEEDED.into_iter().filter(|(program, _)| find(program).is_err()).map(|(_, package)| package);
    let packages: Vec<&str> = missing().collect();
    if packages.is_empty() {
        return Ok(());
    }
    let by_hand = format!("apt-get install -y --no-install-recommends {}", packages.join(" "));
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|this| this.uid() == 0);
    if !is_root || !Path::new("/etc/debian_version").exists() {
        bail!("the benches need {}: as root on Debian, {by_hand}", packages.join(", "));
    }
    eprintln!("installing {}", packages.join(", "));
    let _services_stay_off = ServicesOff::new()?;
    apt(&["update", "-qq"])?;
    apt(&[&["install", "-y", "-qq", "--no-install-recommends"], packages.as_slice()].concat())?;
    match missing().next() {
        None => Ok(()),
        Some(package) => bail!("{package} is installed, but its program is not to be found"),
    }
}

fn apt(args: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new("apt-get");
    // Standard output is for the figures.
    command.args(args).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null());
    if !command.status().context("cannot run apt-get")?.success() {
        bail!("apt-get {} failed", args.join(" "));
    }
    Ok(())
}

/// No service starts while this lives. A policy that the machine has already is left alone.
struct ServicesOff {
    is_ours: bool,
}

impl ServicesOff {
    fn new() -> anyhow::Result<Self> {
        use std::io::Write;
        let mut options = std::fs::OpenOptions::new();
        match options.write(true).create_new(true).mode(0o755).open(POLICY) {
            Ok(mut file) => {
                let this = Self { is_ours: true };
                file.write_all(b"#!/bin/sh\nexit 101\n").with_context(|| format!("cannot write {POLICY}"))?;
                Ok(this)
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(Self { is_ours: false }),
            Err(error) => Err(error).with_context(|| format!("cannot write {POLICY}")),
        }
    }
}

impl Drop for ServicesOff {
    fn drop(&mut self) {
        if self.is_ours {
            let _best_effort = std::fs::remove_file(POLICY);
        }
    }
}

/// Where a program is. Servers live in `/usr/sbin`, which users often do not search.
///
/// # Errors
/// If it is nowhere.
pub(crate) fn find(program: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let known = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let mut places = std::env::split_paths(&path).chain(known).map(|directory| directory.join(program));
    places.find(|place| place.is_file()).with_context(|| format!("{program} is not installed"))
}

/// The words that run a program bound to one core, with as many open files as the system lets it have: a plain TLS
/// proxy needs two for each watch.
///
/// # Errors
/// If `taskset` is not installed.
pub(crate) fn pinned(core: usize) -> anyhow::Result<Vec<String>> {
    let taskset = find("taskset")?.display().to_string();
    let raise = r#"ulimit -S -n "$(ulimit -H -n)"; exec "$@""#;
    Ok(["-c", raise, "limits", &taskset, "-c", &core.to_string()].map(str::to_owned).to_vec())
}

/// A program bound to one core.
///
/// # Errors
/// If `taskset` is not installed.
pub(crate) fn on_core(core: usize, program: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new("sh");
    command.args(pinned(core)?).arg(program);
    Ok(command)
}
