//! URLs of issuers and of their discovery documents: what kube-apiserver's `validateURL` demands, and what a fetch
//! needs. The URL itself is never normalised, for a token must name it to the letter.

/// Everything that is wrong with `url`.
pub(super) fn flaws(url: &str) -> Vec<String> {
    if url.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return vec!["must not contain whitespace or control characters".to_owned()];
    }
    let (before_fragment, fragment) = split(url, '#');
    let (before_query, query) = split(before_fragment, '?');
    let mut flaws = Vec::new();
    match before_query.split_once("://") {
        Some((scheme, rest)) => {
            if scheme != "https" {
                flaws.push("must begin with https://".to_owned());
            }
            flaws.extend(authority_flaws(rest.split('/').next().unwrap_or_default()));
        }
        None => flaws.push("must begin with https://".to_owned()),
    }
    if query.is_some() {
        flaws.push("must not contain a query".to_owned());
    }
    if fragment.is_some() {
        flaws.push("must not contain a fragment".to_owned());
    }
    if !escapes_are_valid(url) {
        flaws.push("has a '%' that two hexadecimal digits do not follow".to_owned());
    }
    flaws
}

fn split(text: &str, at: char) -> (&str, Option<&str>) {
    match text.split_once(at) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

/// RFC 3986 section 3.2: `[userinfo@]host[:port]`.
fn authority_flaws(authority: &str) -> Vec<String> {
    let mut flaws = Vec::new();
    let (userinfo, host_and_port) = match authority.rsplit_once('@') {
        Some((userinfo, rest)) => (Some(userinfo), rest),
        None => (None, authority),
    };
    if userinfo.is_some() {
        flaws.push("must not contain a user name or password".to_owned());
    }
    let (host, port) = match host_and_port.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, after)) => {
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                flaws.push(format!("has no IPv6 address in [{address}]"));
            }
            (address, after.strip_prefix(':').or((!after.is_empty()).then_some(after)))
        }
        None => match host_and_port.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (host_and_port, None),
        },
    };
    if host.is_empty() {
        flaws.push("names no host".to_owned());
    } else if host.contains(['\\', '"', '<', '>', '^', '`', '{', '|', '}', '[', ']']) {
        flaws.push(format!("has characters in its host {host:?} that no host has"));
    }
    if port.is_some_and(|port| port.parse::<u16>().is_err() || !port.bytes().all(|byte| byte.is_ascii_digit())) {
        flaws.push("has a port that is no number up to 65535".to_owned());
    }
    flaws
}

fn escapes_are_valid(url: &str) -> bool {
    url.split('%').skip(1).all(|after| {
        let mut bytes = after.bytes();
        matches!((bytes.next(), bytes.next()), (Some(high), Some(low)) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
    })
}
