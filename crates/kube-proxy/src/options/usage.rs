//! Looks at the arguments as pflag would before clap does: every unknown flag is named at once, with the flag that was
//! probably meant.

use super::catalogue::{self, Flag, Kind};

/// What is wrong with the shape of the command line; a sentence for each fault.
pub(super) fn faults(arguments: &[String]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut rest = arguments.iter().peekable();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            faults.extend(rest.map(|argument| positional(argument)));
            return faults;
        }
        let needs_value = if let Some(long) = argument.strip_prefix("--") {
            let (name, value) = split_value(long);
            match catalogue::by_name(name) {
                Some(flag) => value.is_none() && takes_value(flag),
                None if name == "help" => false,
                None => {
                    faults.push(unknown(&format!("--{name}"), nearest(name)));
                    // What follows is most likely its value, and may be a secret: not a fault of its own.
                    if value.is_none() {
                        rest.next_if(|next| !next.starts_with('-'));
                    }
                    false
                }
            }
        } else if let Some(letters) = argument.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            match short(letters) {
                Ok(needs_value) => needs_value,
                Err(fault) => {
                    faults.push(fault);
                    false
                }
            }
        } else {
            faults.push(positional(argument));
            false
        };
        if needs_value && rest.next().is_none() {
            faults.push(format!("flag needs a value: {argument}"));
        }
    }
    faults
}

fn takes_value(flag: &Flag) -> bool {
    flag.kind != Kind::Switch
}

fn split_value(argument: &str) -> (&str, Option<&str>) {
    argument.split_once('=').map_or((argument, None), |(name, value)| (name, Some(value)))
}

/// Whether the next argument is the value of this one.
fn short(letters: &str) -> Result<bool, String> {
    let mut rest = letters.chars();
    let letter = rest.next().unwrap_or_default();
    match catalogue::by_letter(letter) {
        Some(flag) => Ok(takes_value(flag) && rest.as_str().is_empty()),
        None if letters == "h" => Ok(false),
        None => {
            let (name, _) = split_value(letters);
            let meant =
                (name.len() > 1).then(|| catalogue::by_name(name).map(|flag| flag.name).or_else(|| nearest(name)));
            Err(unknown(&format!("-{name}"), meant.flatten()))
        }
    }
}

fn unknown(flag: &str, meant: Option<&'static str>) -> String {
    match meant {
        Some(meant) => format!("unknown flag: {flag}; did you mean --{meant}?"),
        None => format!("unknown flag: {flag}"),
    }
}

fn positional(argument: &str) -> String {
    let hint = match argument {
        "true" | "false" => " (a boolean takes its value behind an equals sign: --flag=false)",
        _ => "",
    };
    format!("unexpected argument: {argument}{hint}")
}

/// The known flag that is most like `name`, if one is like enough. klog's flags were once written with underscores.
fn nearest(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase().replace('_', "-");
    catalogue::all()
        .filter(|flag| flag.name.len() > 1)
        .map(|flag| (strsim::normalized_damerau_levenshtein(&name, flag.name), flag.name))
        .filter(|(likeness, _)| *likeness >= 0.6)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, name)| name)
}
