//! The claims of a verified token: those that bind it to this place and time, and those that name its user.

use serde_json::{Map, Value};

use crate::UnixTime;
use crate::rejection::{Kind, Rejection};
use crate::rules::{PrefixedClaim, RESERVED, ReservedGroups};
use crate::text::{flaw, quoted};

type Claims = Map<String, Value>;

/// How far ahead `nbf` may be: go-oidc's leeway.
const NOT_BEFORE_LEEWAY_SECONDS: i64 = 60;

/// Farther away than any date that means something: thirty million years.
const MAX_SECONDS: u64 = 1_000_000_000_000_000;

/// The claims that go-oidc reads into a structure.
const GO_OIDC: [&str; 10] =
    ["iss", "sub", "aud", "exp", "iat", "nbf", "nonce", "at_hash", "_claim_names", "_claim_sources"];

/// The extra in which kube-apiserver keeps the token's `jti`, so that audit logs can tell tokens apart.
pub const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// What kube-apiserver refuses for its form alone, whichever claims the rules look at.
pub(crate) fn form(claims: &Claims) -> Result<(), Rejection> {
    let malformed = |why: String| Err(Rejection::new(Kind::Malformed, why));
    // Go reads the names of these claims in any case, and takes the last: another one in kube-apiserver than here.
    if let Some(name) = claims.keys().find(|name| GO_OIDC.iter().any(|own| own != name && *own == folded(name))) {
        return malformed(format!("the claim {} is another one but for its case", quoted(name)));
    }
    if let Some(name) = ["sub", "nonce", "at_hash"].into_iter().find(|name| !is_text(claims.get(*name))) {
        return malformed(format!("the claim {name:?} is not a string"));
    }
    distributed(claims).or_else(malformed)
}

/// OpenID Connect Core 1.0 section 5.6.2: `_claim_names` says which of the `_claim_sources` a claim comes from.
fn distributed(claims: &Claims) -> Result<(), String> {
    let (names, sources) = (members(claims, "_claim_names")?, members(claims, "_claim_sources")?);
    for (name, source) in sources.into_iter().flatten() {
        let source = source.as_object();
        if !source.is_some_and(|source| is_text(source.get("endpoint")) && is_text(source.get("access_token"))) {
            return Err(format!("the source of claims {} is malformed", quoted(name)));
        }
    }
    for (name, source) in names.into_iter().flatten() {
        let source = source.as_str().filter(|source| !source.is_empty());
        if !source.is_some_and(|source| sources.is_some_and(|sources| sources.contains_key(source))) {
            return Err(format!("the claim {} is distributed and has no source", quoted(name)));
        }
    }
    Ok(())
}

/// A claim that is an object if it is there.
fn members<'a>(claims: &'a Claims, name: &str) -> Result<Option<&'a Claims>, String> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(members)) => Ok(Some(members)),
        Some(_) => Err(format!("the claim {name:?} is not an object")),
    }
}

fn is_text(claim: Option<&Value>) -> bool {
    matches!(claim, None | Some(Value::Null | Value::String(_)))
}

/// As Go's encoding/json compares names: the long s (U+017F) is one, too.
fn folded(name: &str) -> String {
    name.to_ascii_lowercase().replace('\u{17f}', "s")
}

/// Google's issuer, and what its tokens may say instead: OpenID Connect Core 1.0 section 15.6.2.
const GOOGLE: &str = "https://accounts.google.com";
const GOOGLE_WITHOUT_SCHEME: &str = "accounts.google.com";

/// Who issued the token, by its own word.
pub(crate) fn stated_issuer(claims: &Claims) -> Result<String, Rejection> {
    let stated = text(claims, "iss").map_err(|why| Rejection::new(Kind::Issuer, format!("the claim \"iss\" {why}")))?;
    Ok(if stated == GOOGLE_WITHOUT_SCHEME { GOOGLE.to_owned() } else { stated })
}

/// RFC 7519 section 4.1.1: exactly the configured issuer; no slash more or less.
pub(crate) fn issuer(claims: &Claims, expected: &str) -> Result<(), Rejection> {
    let found = stated_issuer(claims)?;
    if found != expected {
        let found = quoted(&found);
        return Err(Rejection::new(Kind::Issuer, format!("the token is of the issuer {found}, not {expected:?}")));
    }
    Ok(())
}

/// RFC 7519 section 4.1.3: a string or a list of strings, one of which must be configured (`MatchAny`).
pub(crate) fn audience(claims: &Claims, accepted: &[String]) -> Result<(), Rejection> {
    let wrong = |why: String| Err(Rejection::new(Kind::Audience, why));
    let named = match claims.get("aud") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(several)) => match several.iter().map(Value::as_str).collect::<Option<Vec<&str>>>() {
            Some(named) => named,
            None => return wrong("the claim \"aud\" is a list of something else than strings".to_owned()),
        },
        Some(_) => return wrong("the claim \"aud\" is neither a string nor a list".to_owned()),
        None => return wrong("the token has no audience".to_owned()),
    };
    if !named.iter().any(|audience| accepted.iter().any(|accepted| accepted == audience)) {
        let named: Vec<String> = named.iter().take(10).map(|audience| quoted(audience)).collect();
        return wrong(format!("the token is for the audience {}, not for {accepted:?}", named.join(", ")));
    }
    Ok(())
}

/// RFC 7519 sections 4.1.4 and 4.1.5: `exp` is required and has no leeway; `nbf` has a minute, as in kube-apiserver.
/// The moment `exp` itself is too late ("before the expiration"), where kube-apiserver allows that one instant.
pub(crate) fn lifetime(claims: &Claims, now: UnixTime) -> Result<UnixTime, Rejection> {
    let expires_at =
        time(claims, "exp")?.ok_or_else(|| Rejection::new(Kind::Expired, "the token never expires (no \"exp\")"))?;
    if now >= expires_at {
        let ago = now.0.saturating_sub(expires_at.0);
        return Err(Rejection::new(Kind::Expired, format!("the token expired {ago} s ago")));
    }
    if let Some(not_before) = time(claims, "nbf")?
        && now.0.saturating_add(NOT_BEFORE_LEEWAY_SECONDS) < not_before.0
    {
        let ahead = not_before.0.saturating_sub(now.0);
        return Err(Rejection::new(Kind::NotYetValid, format!("the token is valid only in {ahead} s (\"nbf\")")));
    }
    // Not a condition in kube-apiserver, but a number if it is there.
    time(claims, "iat")?;
    Ok(expires_at)
}

/// A NumericDate; fractions are cut off, as go-oidc does. It refuses every null but that of `nbf`, and dates so far away
/// that arithmetic with them would overflow.
fn time(claims: &Claims, name: &str) -> Result<Option<UnixTime>, Rejection> {
    let number = match claims.get(name) {
        None => return Ok(None),
        Some(Value::Null) if name == "nbf" => return Ok(None),
        Some(Value::Number(number)) => number,
        Some(_) => return Err(Rejection::new(Kind::Malformed, format!("the claim {name:?} is not a number"))),
    };
    #[expect(clippy::cast_possible_truncation, reason = "the fraction is meant to go; what is too large saturates")]
    let whole = number.as_i64().or_else(|| number.as_f64().map(|float| float as i64));
    match whole.filter(|seconds| seconds.unsigned_abs() < MAX_SECONDS) {
        Some(seconds) => Ok(Some(UnixTime(seconds))),
        None => Err(Rejection::new(Kind::Malformed, format!("the claim {name:?} is out of range"))),
    }
}

/// `--oidc-required-claim` and `claimValidationRules`: only strings can be required, as in kube-apiserver.
pub(crate) fn required(claims: &Claims, required: &[(String, String)]) -> Result<(), Rejection> {
    for (name, wanted) in required {
        let found = text(claims, name)
            .map_err(|why| Rejection::new(Kind::RequiredClaim, format!("the required claim {name:?} {why}")))?;
        if found != *wanted {
            let found = quoted(&found);
            return Err(Rejection::new(Kind::RequiredClaim, format!("the claim {name:?} is {found}, not {wanted:?}")));
        }
    }
    Ok(())
}

/// The user name. An email that the issuer has not verified is nobody's (OpenID Connect Core 1.0 section 5.7): with the
/// claim `email`, `email_verified` must be true if it is there.
pub(crate) fn username(claims: &Claims, rule: &PrefixedClaim) -> Result<String, Rejection> {
    let unusable = |why: String| Rejection::new(Kind::Username, why);
    let claim = text(claims, &rule.claim).map_err(|why| unusable(format!("the claim {:?} {why}", rule.claim)))?;
    if rule.claim == "email" {
        match claims.get("email_verified") {
            None | Some(Value::Bool(true)) => {}
            Some(Value::Bool(false)) => {
                return Err(Rejection::new(
                    Kind::EmailNotVerified,
                    format!("the email {} is not verified", quoted(&claim)),
                ));
            }
            Some(_) => {
                return Err(Rejection::new(Kind::EmailNotVerified, "the claim \"email_verified\" is not a boolean"));
            }
        }
    }
    let name =
        prefixed(&rule.prefix, &claim).map_err(|why| unusable(format!("the user name {} {why}", quoted(&claim))))?;
    if name.starts_with(RESERVED) {
        return Err(Rejection::new(Kind::Reserved, format!("the user name {} is reserved", quoted(&name))));
    }
    Ok(name)
}

/// The groups: a string or a list of strings; an absent claim is no group. One unusable group refuses the token, for
/// leaving it out would tell its user something else than the issuer does.
pub(crate) fn groups(
    claims: &Claims,
    rule: Option<&PrefixedClaim>,
    reserved: &ReservedGroups,
) -> Result<Vec<String>, Rejection> {
    let Some(rule) = rule else { return Ok(Vec::new()) };
    let unusable = |why: String| Rejection::new(Kind::Groups, why);
    let named = match claims.get(&rule.claim) {
        None => {
            // kube-apiserver would fetch them (OpenID Connect Core 1.0 section 5.6.2); fewer groups than the issuer means
            // could take a restriction away.
            let distributed = claims.get("_claim_names").and_then(Value::as_object);
            if distributed.is_some_and(|names| names.contains_key(&rule.claim)) {
                return Err(unusable(format!("the claim {:?} is distributed, which is not supported yet", rule.claim)));
            }
            return Ok(Vec::new());
        }
        Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(several)) => {
            several.iter().map(Value::as_str).collect::<Option<Vec<&str>>>().ok_or_else(|| {
                unusable(format!("the claim {:?} is a list of something else than strings", rule.claim))
            })?
        }
        Some(_) => return Err(unusable(format!("the claim {:?} is neither a string nor a list", rule.claim))),
    };
    let mut groups = Vec::with_capacity(named.len());
    for name in named {
        let group =
            prefixed(&rule.prefix, name).map_err(|why| unusable(format!("the group {} {why}", quoted(name))))?;
        if !reserved.allow(&group) {
            return Err(Rejection::new(Kind::Reserved, format!("the group {} is reserved", quoted(&group))));
        }
        groups.push(group);
    }
    Ok(groups)
}

/// The UID, as it is; a configured claim must be there.
pub(crate) fn uid(claims: &Claims, claim: Option<&str>) -> Result<Option<String>, Rejection> {
    let Some(claim) = claim else { return Ok(None) };
    let unusable = |why: &str| Rejection::new(Kind::Uid, format!("the claim {claim:?} {why}"));
    let uid = text(claims, claim).map_err(unusable)?;
    match flaw(&uid) {
        None => Ok(Some(uid)),
        Some(why) => Err(unusable(why)),
    }
}

/// The token's `jti`, if it is one that a header can carry: `JTI=<jti>`.
pub(crate) fn extra(claims: &Claims) -> Result<Vec<(String, Vec<String>)>, Rejection> {
    match claims.get("jti") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(jti)) if jti.is_empty() => Ok(Vec::new()),
        Some(Value::String(jti)) => match flaw(jti) {
            None => Ok(vec![(CREDENTIAL_ID.to_owned(), vec![format!("JTI={jti}")])]),
            Some(why) => Err(Rejection::new(Kind::Malformed, format!("the claim \"jti\" {why}"))),
        },
        Some(_) => Err(Rejection::new(Kind::Malformed, "the claim \"jti\" is not a string")),
    }
}

/// A claim that must be a string, or why it is none.
pub(crate) fn text(claims: &Claims, name: &str) -> Result<String, &'static str> {
    match claims.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err("is not a string"),
        None => Err("is missing"),
    }
}

/// Both the claim and what becomes of it must be names: a prefix must not hide a blank.
fn prefixed(prefix: &str, claim: &str) -> Result<String, &'static str> {
    let name = format!("{prefix}{claim}");
    match flaw(claim).or_else(|| flaw(&name)) {
        None => Ok(name),
        Some(why) => Err(why),
    }
}

#[cfg(test)]
mod tests;
