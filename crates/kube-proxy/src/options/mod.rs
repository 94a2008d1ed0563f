//! The flags of `keywayd kube-proxy`: those of the proxies that it replaces (kube-oidc-proxy and its forks), with
//! their meaning and their syntax, which is Go's pflag; and Keyway's own. `docs/kube-proxy-flags.md` lists them all.
//!
//! [`parse`] looks at the shape of the command line, [`Options::validate`] at what it means. Both report every fault
//! that they find, not the first. Neither reads the environment or a file except through [`Host`].

mod catalogue;
mod catalogue_audit;
mod catalogue_client;
mod catalogue_proxy;
mod catalogue_serving;
mod go_syntax;
mod settings;
mod tls;
mod usage;
mod validate;
mod values;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::Path;

use clap::ArgMatches;

pub use self::settings::{
    AppSettings, IssuerFlags, IssuerSource, KeyPairFiles, LogSettings, OidcSettings, ReviewMemory, ReviewRate,
    ReviewSettings, ServingCertificate, ServingSettings, Settings, SniCertificate, TlsVersion, TokenPassthrough,
};

pub use identity::Fault;

/// The name that the program was called by. It decides what `--oidc-username-prefix` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvokedAs {
    /// `keywayd kube-proxy`: prefixes as kube-apiserver understands them.
    Keywayd,
    /// `kube-oidc-proxy`: prefixes as that program understood them, literally.
    KubeOidcProxy,
}

impl InvokedAs {
    /// From `argv[0]`.
    #[must_use]
    pub fn from_program(program: &OsStr) -> Self {
        match Path::new(program).file_name() {
            Some(name) if name == "kube-oidc-proxy" => Self::KubeOidcProxy,
            _ => Self::Keywayd,
        }
    }

    fn usage(self) -> &'static str {
        match self {
            Self::Keywayd => "keywayd kube-proxy",
            Self::KubeOidcProxy => "kube-oidc-proxy",
        }
    }
}

/// What the flags are looked at with: the machine, or a test's idea of one.
pub struct Host<'a> {
    /// The value of an environment variable.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// Whether a file can be read.
    pub readable: &'a dyn Fn(&Path) -> io::Result<()>,
    /// What a file says, where its content is checked together with the flags.
    pub read: &'a dyn Fn(&Path) -> io::Result<String>,
}

impl Host<'static> {
    /// This machine and this process.
    #[must_use]
    pub fn this() -> Self {
        Self { env: &|name| std::env::var(name).ok(), readable: &readable, read: &runtime::files::read_text }
    }
}

fn readable(path: &Path) -> io::Result<()> {
    runtime::files::read(path).map(|_content| ())
}

/// Why there is nothing to run after the command line was parsed.
#[derive(Debug, PartialEq, Eq)]
pub enum Exit {
    /// `--help`: the text for standard output. Exit code 0.
    Help(String),
    /// `--version`: the text for standard output. Exit code 0.
    Version(String),
    /// The command line has no meaning: a sentence for each fault, for standard error. Exit code 2.
    Usage(Vec<String>),
}

impl Exit {
    /// The exit code of the process.
    #[must_use]
    pub fn code(&self) -> u8 {
        if matches!(self, Self::Usage(_)) { 2 } else { 0 }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Help(text) | Self::Version(text) => f.write_str(text.trim_end()),
            Self::Usage(faults) => {
                for fault in faults {
                    writeln!(f, "{fault}")?;
                }
                f.write_str("--help lists all flags")
            }
        }
    }
}

/// The flags as they were given: known ones, each with a value where it takes one.
pub struct Options {
    matches: ArgMatches,
}

/// Without the values: `--token` is among them.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").finish_non_exhaustive()
    }
}

/// Reads the arguments behind the program's (and the subcommand's) name.
///
/// # Errors
/// If help or the version is asked for, or if an argument is not a known flag or lacks its value.
pub fn parse(invoked_as: InvokedAs, arguments: impl IntoIterator<Item = OsString>) -> Result<Options, Exit> {
    let mut faults = Vec::new();
    let mut texts = Vec::new();
    for argument in arguments {
        match argument.into_string() {
            Ok(text) => texts.push(text),
            Err(argument) => faults.push(format!("not valid UTF-8: {}", argument.to_string_lossy())),
        }
    }
    faults.extend(usage::faults(&texts));
    if !faults.is_empty() {
        return Err(Exit::Usage(faults));
    }
    let matches = catalogue::command(invoked_as.usage()).try_get_matches_from(texts).map_err(|error| {
        if error.kind() == clap::error::ErrorKind::DisplayHelp {
            Exit::Help(error.to_string())
        } else {
            Exit::Usage(vec![error.to_string()])
        }
    })?;
    let asks_for_version = matches.get_one::<String>("version").map(|text| go_syntax::boolean(text));
    if asks_for_version == Some(Ok(true)) {
        return Err(Exit::Version(format!("{} version: v{}", invoked_as.usage(), env!("CARGO_PKG_VERSION"))));
    }
    Ok(Options { matches })
}

impl Options {
    /// Checks everything, also that the files which are named can be read now, and gives it in the form that the proxy
    /// works with.
    ///
    /// # Errors
    /// Every fault, each with the flag (or the field of the kubeconfig) that it is about.
    pub fn validate(self, invoked_as: InvokedAs, host: &Host<'_>) -> Result<Settings, Vec<Fault>> {
        validate::settings(&self.matches, invoked_as, host)
    }
}

#[cfg(test)]
mod tests;
