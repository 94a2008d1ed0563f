//! Reads the values of flags, and notes every fault instead of stopping at the first.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use super::Fault;
use clap::ArgMatches;
use clap::parser::ValueSource;
use ipnet::IpNet;

use super::Host;
use super::catalogue::{self, Standing};
use super::go_syntax;

/// The flags as given, with the faults and warnings that came up while they were read. After a fault the value that
/// is returned is a stand-in that nobody will use: with a fault there are no settings.
pub(super) struct Values<'a> {
    matches: &'a ArgMatches,
    host: &'a Host<'a>,
    pub(super) faults: Vec<Fault>,
    pub(super) warnings: Vec<String>,
}

impl<'a> Values<'a> {
    pub(super) fn new(matches: &'a ArgMatches, host: &'a Host<'a>) -> Self {
        let mut values = Self { matches, host, faults: Vec::new(), warnings: Vec::new() };
        for flag in catalogue::all() {
            match flag.standing {
                _ if !values.given(flag.name) => {}
                Standing::Used => {}
                Standing::NoEffect(why) => values.warnings.push(format!("--{} has no effect: {why}", flag.name)),
                Standing::Refused(why) => values.fault(flag.name, why),
            }
        }
        values
    }

    pub(super) fn fault(&mut self, flag: &str, reason: impl Into<String>) {
        self.faults.push(Fault { path: format!("--{flag}"), reason: reason.into() });
    }

    pub(super) fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }

    /// Whether the flag was written, with whatever value.
    pub(super) fn given(&self, flag: &str) -> bool {
        self.matches.value_source(flag) == Some(ValueSource::CommandLine)
    }

    /// The value as it is; empty when the flag was not written and has no default.
    pub(super) fn text(&self, flag: &str) -> &'a str {
        self.matches.get_one::<String>(flag).map_or("", String::as_str)
    }

    /// The value, if there is one that is not empty.
    pub(super) fn optional(&self, flag: &str) -> Option<String> {
        Some(self.text(flag)).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// A file that the proxy will read; it must be readable now.
    pub(super) fn file(&mut self, flag: &str) -> Option<PathBuf> {
        let path = PathBuf::from(self.optional(flag)?);
        self.check_readable(flag, &path);
        Some(path)
    }

    pub(super) fn check_readable(&mut self, flag: &str, path: &Path) {
        if let Err(error) = (self.host.readable)(path) {
            self.fault(flag, format!("cannot read {}: {error}", path.display()));
        }
    }

    /// What such a file says. That it cannot be read was reported already.
    pub(super) fn content(&self, path: &Path) -> Option<String> {
        (self.host.read)(path).ok()
    }

    pub(super) fn switch(&mut self, flag: &str) -> bool {
        match self.matches.get_one::<String>(flag).map(|text| go_syntax::boolean(text)) {
            None => false,
            Some(Ok(on)) => on,
            Some(Err(reason)) => {
                self.fault(flag, reason);
                false
            }
        }
    }

    /// Every value of a flag that may be repeated, as written.
    pub(super) fn repeated(&self, flag: &str) -> Vec<&'a str> {
        self.matches.get_many::<String>(flag).into_iter().flatten().map(String::as_str).collect()
    }

    /// Every value of a flag that takes comma-separated ones.
    pub(super) fn list(&mut self, flag: &str) -> Vec<String> {
        let mut values = Vec::new();
        for text in self.repeated(flag) {
            match go_syntax::fields(text) {
                Ok(fields) => values.extend(fields),
                Err(reason) => self.fault(flag, reason),
            }
        }
        values
    }

    /// A whole number in a range.
    pub(super) fn integer<T: TryFrom<i64> + Default>(&mut self, flag: &str, range: RangeInclusive<i64>) -> T {
        let reason = match go_syntax::integer(self.text(flag)) {
            Ok(value) if !range.contains(&value) => {
                format!("{value} is not between {} and {}", range.start(), range.end())
            }
            Ok(value) => match T::try_from(value) {
                Ok(value) => return value,
                Err(_) => format!("{value} is too large"),
            },
            Err(reason) => reason,
        };
        self.fault(flag, reason);
        T::default()
    }

    /// A duration above zero.
    pub(super) fn duration(&mut self, flag: &str) -> Duration {
        let reason = match go_syntax::duration(self.text(flag)) {
            Ok(nanoseconds) => match u64::try_from(nanoseconds) {
                Ok(nanoseconds) if nanoseconds > 0 => return Duration::from_nanos(nanoseconds),
                _ => format!("must be more than 0, and is {}", self.text(flag)),
            },
            Err(reason) => reason,
        };
        self.fault(flag, reason);
        Duration::ZERO
    }

    /// A duration, or 0 for none.
    pub(super) fn duration_or_none(&mut self, flag: &str) -> Duration {
        if self.text(flag) == "0" || go_syntax::duration(self.text(flag)) == Ok(0) {
            return Duration::ZERO;
        }
        self.duration(flag)
    }

    /// Networks in CIDR notation; a bare address is a network of its own.
    pub(super) fn networks(&mut self, flag: &str) -> Vec<IpNet> {
        let mut networks = Vec::new();
        for text in self.list(flag) {
            let text = text.trim();
            match IpNet::from_str(text).or_else(|_| std::net::IpAddr::from_str(text).map(IpNet::from)) {
                Ok(network) => networks.push(network.trunc()),
                Err(_) => self.fault(flag, format!("'{text}' is not a network such as 10.0.0.0/8 or fd00::/8")),
            }
        }
        networks
    }
}
