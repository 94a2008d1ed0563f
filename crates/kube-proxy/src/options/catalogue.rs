//! What a flag is, and the list of all of them. The list is the single source of `--help`, of the check for unknown
//! flags, and of the test that compares it with `docs/kube-proxy-flags.md`.

use clap::{Arg, ArgAction, Command};

use super::catalogue_audit::AUDIT;
use super::catalogue_client::{CLIENT, LOGGING};
use super::catalogue_proxy::{ISSUERS, PROXY};
use super::catalogue_serving::SERVING;

/// How a flag takes its value, after Go's pflag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One value; a later one replaces an earlier one.
    Text,
    /// Comma-separated values (with CSV quotes); repeating the flag adds to them.
    List,
    /// One value as it is; repeating the flag adds another.
    Repeated,
    /// A boolean: the bare flag, or `=true`, `=false`.
    Switch,
}

/// What comes of a flag that is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It does what its help says.
    Used,
    /// It is accepted, does nothing, and a warning says why.
    NoEffect(&'static str),
    /// It is known, and the start is refused with this reason.
    Refused(&'static str),
}

/// One flag.
#[derive(Debug)]
pub(super) struct Flag {
    pub(super) name: &'static str,
    pub(super) short: Option<char>,
    pub(super) kind: Kind,
    /// The default as it would be written; empty for none. Switches are off by default.
    pub(super) default: &'static str,
    /// What stands for the value in `--help`.
    value: &'static str,
    help: &'static str,
    pub(super) standing: Standing,
}

const fn flag(kind: Kind, name: &'static str, value: &'static str, help: &'static str) -> Flag {
    Flag { name, short: None, kind, default: "", value, help, standing: Standing::Used }
}

pub(super) const fn text(name: &'static str, value: &'static str, help: &'static str) -> Flag {
    flag(Kind::Text, name, value, help)
}

pub(super) const fn list(name: &'static str, value: &'static str, help: &'static str) -> Flag {
    flag(Kind::List, name, value, help)
}

pub(super) const fn repeated(name: &'static str, value: &'static str, help: &'static str) -> Flag {
    flag(Kind::Repeated, name, value, help)
}

pub(super) const fn switch(name: &'static str, help: &'static str) -> Flag {
    flag(Kind::Switch, name, "true|false", help)
}

impl Flag {
    pub(super) const fn default(mut self, default: &'static str) -> Self {
        self.default = default;
        self
    }

    pub(super) const fn short(mut self, short: char) -> Self {
        self.short = Some(short);
        self
    }

    pub(super) const fn without_effect(mut self, why: &'static str) -> Self {
        self.standing = Standing::NoEffect(why);
        self
    }

    pub(super) const fn refused(mut self, why: &'static str) -> Self {
        self.standing = Standing::Refused(why);
        self
    }

    fn argument(&self, heading: &'static str) -> Arg {
        let mut arg = Arg::new(self.name).long(self.name).help(self.help).help_heading(heading).value_name(self.value);
        if let Some(short) = self.short {
            arg = arg.short(short);
        }
        if !self.default.is_empty() {
            let help = format!("{} [default: {}]", self.help, self.default);
            arg = arg.default_value(self.default).hide_default_value(true).help(help);
        }
        match self.kind {
            // pflag gives a flag whatever follows it, a dash in front or not: `--flush-interval -1s`.
            Kind::Text => arg.action(ArgAction::Set).allow_hyphen_values(true),
            Kind::List | Kind::Repeated => arg.action(ArgAction::Append).allow_hyphen_values(true),
            // pflag takes the value of a boolean only behind an equals sign.
            Kind::Switch => {
                arg.action(ArgAction::Set).num_args(0..=1).require_equals(true).default_missing_value("true")
            }
        }
    }
}

/// All flags, by the heading under which `--help` lists them.
pub(super) const SECTIONS: [(&str, &[Flag]); 6] = [
    ("Kube Proxy", PROXY),
    ("OIDC issuers", ISSUERS),
    ("Secure serving", SERVING),
    ("Client (how the proxy reaches kube-apiserver)", CLIENT),
    ("Logging and miscellaneous", LOGGING),
    ("Audit (known, and refused: this version does not audit yet)", AUDIT),
];

/// Every flag.
pub(super) fn all() -> impl Iterator<Item = &'static Flag> {
    SECTIONS.iter().flat_map(|(_, flags)| flags.iter())
}

/// The flag with this long name.
pub(super) fn by_name(name: &str) -> Option<&'static Flag> {
    all().find(|flag| flag.name == name)
}

/// The flag with this letter.
pub(super) fn by_letter(letter: char) -> Option<&'static Flag> {
    all().find(|flag| flag.short == Some(letter))
}

/// The clap command that takes all of them; `usage` is how it was called, such as `keywayd kube-proxy`.
pub(super) fn command(usage: &'static str) -> Command {
    let arguments = SECTIONS.iter().flat_map(|(heading, flags)| flags.iter().map(|flag| flag.argument(heading)));
    Command::new(usage)
        .bin_name(usage)
        .no_binary_name(true)
        .about("Authenticates users by OpenID Connect and forwards their requests to kube-apiserver by impersonation.")
        .override_usage(format!("{usage} [flags]"))
        .args_override_self(true)
        .disable_version_flag(true)
        .args(arguments)
}
