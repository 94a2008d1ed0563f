//! Interim.
#![allow(missing_docs, clippy::all)]
use std::collections::BTreeMap;
use std::sync::Arc;
use aws_lc_rs::signature as s;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use serde_json::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixTime(pub i64);
#[derive(Debug)]
pub struct VerifiedIdentity { issuer: String, username: String, uid: Option<String>, groups: Vec<String>, extra: Vec<(String, Vec<String>)>, exp: UnixTime }
impl VerifiedIdentity {
    pub fn issuer(&self) -> &str { &self.issuer }
    pub fn username(&self) -> &str { &self.username }
    pub fn uid(&self) -> Option<&str> { self.uid.as_deref() }
    pub fn groups(&self) -> &[String] { &self.groups }
    pub fn extra(&self) -> &[(String, Vec<String>)] { &self.extra }
    pub fn expires_at(&self) -> UnixTime { self.exp }
}
struct Key { kid: String, kty: String, crv: String, bytes: Vec<u8>, n: Vec<u8>, e: Vec<u8> }
pub struct Keys(Vec<Key>);
#[derive(Debug, thiserror::Error)] #[error("{0}")] pub struct KeyFault(String);
#[derive(Debug, thiserror::Error)] #[error("{0}")] pub struct JwksError(String);
impl Keys {
    pub fn parse(b: &[u8]) -> Result<(Keys, Vec<KeyFault>), JwksError> {
        let v: Value = serde_json::from_slice(b).map_err(|e| JwksError(e.to_string()))?;
        let mut ks = vec![]; let mut f = vec![];
        for k in v["keys"].as_array().ok_or(JwksError("no keys".into()))? {
            let g = |n: &str| k[n].as_str().unwrap_or("").to_owned();
            let d = |n: &str| B64.decode(g(n));
            let key = match g("kty").as_str() {
                "RSA" => match (d("n"), d("e")) { (Ok(n), Ok(e)) if n.len() >= 256 => Some(Key { kid: g("kid"), kty: "RSA".into(), crv: String::new(), bytes: vec![], n, e }), _ => None },
                "EC" => match (d("x"), d("y")) { (Ok(x), Ok(y)) => Some(Key { kid: g("kid"), kty: "EC".into(), crv: g("crv"), bytes: [&[4][..], &x, &y].concat(), n: vec![], e: vec![] }), _ => None },
                _ => None };
            match key { Some(k) => ks.push(k), None => f.push(KeyFault(format!("kid {}", g("kid")))) }
        }
        Ok((Keys(ks), f))
    }
    pub fn contains_kid(&self, k: &str) -> bool { self.0.iter().any(|x| x.kid == k) }
    pub fn len(&self) -> usize { self.0.len() }
}
pub struct Rules { url: String, auds: Vec<String>, algs: Vec<String>, uc: String, up: String, gc: Option<String>, gp: String, uidc: Option<String>, req: Vec<(String, String)>, reserved: ReservedGroups }
#[derive(Clone)]
pub struct IssuerConfig { pub url: String, pub discovery_url: Option<String>, pub certificate_authority: Option<String>, pub rules: Arc<Rules> }
#[derive(Debug, thiserror::Error)] #[error("{0}")] pub struct Rejection(String, Option<String>);
impl Rejection { pub fn client_message(&self) -> String { self.0.clone() } pub fn unknown_key(&self) -> Option<&str> { self.1.as_deref() } pub fn reason(&self) -> &'static str { "x" } }
fn no<T>(m: impl Into<String>) -> Result<T, Rejection> { Err(Rejection(m.into(), None)) }
struct Strict(Value);
impl<'de> serde::Deserialize<'de> for Strict { fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
    struct V; impl<'de> serde::de::Visitor<'de> for V { type Value = Value;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("json") }
        fn visit_bool<E>(self, b: bool) -> Result<Value, E> { Ok(b.into()) } fn visit_i64<E>(self, b: i64) -> Result<Value, E> { Ok(b.into()) } fn visit_u64<E>(self, b: u64) -> Result<Value, E> { Ok(b.into()) } fn visit_f64<E>(self, b: f64) -> Result<Value, E> { Ok(b.into()) }
        fn visit_str<E>(self, b: &str) -> Result<Value, E> { Ok(b.into()) } fn visit_unit<E>(self) -> Result<Value, E> { Ok(Value::Null) }
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut a: A) -> Result<Value, A::Error> { let mut v = vec![]; while let Some(Strict(x)) = a.next_element()? { v.push(x) } Ok(Value::Array(v)) }
        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut a: A) -> Result<Value, A::Error> { let mut m = serde_json::Map::new(); while let Some((k, Strict(x))) = a.next_entry::<String, Strict>()? { if m.insert(k, x).is_some() { return Err(serde::de::Error::custom("duplicate member")) } } Ok(Value::Object(m)) } }
    d.deserialize_any(V).map(Strict) } }
fn json(b: &str) -> Result<Value, Rejection> { let b = B64.decode(b).map_err(|_| Rejection("base64".into(), None))?; serde_json::from_slice::<Strict>(&b).map(|s| s.0).map_err(|e| Rejection(format!("json: {e}"), None)) }
pub fn unverified_issuer(raw: &str) -> Result<String, Rejection> { let p: Vec<&str> = raw.split('.').collect(); if p.len() != 3 { return no("not a JWT") } json(p[1])?["iss"].as_str().map(str::to_owned).ok_or(Rejection("no iss".into(), None)) }
fn clean(t: &str) -> bool { !t.is_empty() && t.trim() == t && !t.chars().any(char::is_control) }
pub fn verify(raw: &str, keys: &Keys, r: &Rules, now: UnixTime) -> Result<VerifiedIdentity, Rejection> {
    let p: Vec<&str> = raw.split('.').collect(); if p.len() != 3 || raw.len() > 65536 { return no("not a JWT") }
    let h = json(p[0])?; let alg = h["alg"].as_str().unwrap_or("");
    if !r.algs.iter().any(|a| a == alg) { return no("alg is not allowed") }
    for n in ["crit", "b64"] { if h.get(n).is_some() { return no(n) } } if h.get("cty").is_some() { return no("nested") }
    let kid = h["kid"].as_str().unwrap_or("");
    let msg = &raw.as_bytes()[..p[0].len() + 1 + p[1].len()]; let sig = B64.decode(p[2]).map_err(|_| Rejection("base64".into(), None))?;
    let ok = keys.0.iter().filter(|k| kid.is_empty() || k.kid == kid).any(|k| match (k.kty.as_str(), alg) {
        ("RSA", a) => { let v: &s::RsaParameters = match a { "RS256" => &s::RSA_PKCS1_2048_8192_SHA256, "RS384" => &s::RSA_PKCS1_2048_8192_SHA384, "RS512" => &s::RSA_PKCS1_2048_8192_SHA512, "PS256" => &s::RSA_PSS_2048_8192_SHA256, "PS384" => &s::RSA_PSS_2048_8192_SHA384, "PS512" => &s::RSA_PSS_2048_8192_SHA512, _ => return false }; s::RsaPublicKeyComponents { n: &k.n, e: &k.e }.verify(v, msg, &sig).is_ok() }
        ("EC", a) => { let v: &s::EcdsaVerificationAlgorithm = match (a, k.crv.as_str()) { ("ES256", "P-256") => &s::ECDSA_P256_SHA256_FIXED, ("ES384", "P-384") => &s::ECDSA_P384_SHA384_FIXED, ("ES512", "P-521") => &s::ECDSA_P521_SHA512_FIXED, _ => return false }; s::UnparsedPublicKey::new(v, &k.bytes).verify(msg, &sig).is_ok() }
        _ => false });
    if !ok { return if keys.contains_kid(kid) { no("signature") } else { Err(Rejection(format!("unknown key {kid:?}"), Some(kid.into()))) } }
    let c = json(p[1])?;
    if c["iss"] != r.url.as_str() { return no("issuer") }
    let auds: Vec<&str> = match &c["aud"] { Value::String(s) => vec![s], Value::Array(a) => a.iter().filter_map(Value::as_str).collect(), _ => vec![] };
    if !r.auds.iter().any(|a| auds.contains(&a.as_str())) { return no("audience") }
    let Some(exp) = c["exp"].as_f64() else { return no("no exp") }; if (exp as i64) < now.0 { return no("token is expired") }
    if let Some(n) = c["nbf"].as_f64() { if now.0 + 60 < n as i64 { return no("not yet valid") } }
    let Some(u) = c[&r.uc].as_str() else { return no("username claim") }; if u.is_empty() { return no("username") }
    if r.uc == "email" { match &c["email_verified"] { Value::Null | Value::Bool(true) => {} _ => return no("email not verified") } }
    let username = format!("{}{u}", r.up); if !clean(&username) || username.starts_with("system:") { return no("username not allowed") }
    let mut groups = vec![];
    if let Some(gc) = &r.gc { match &c[gc] { Value::Null => {}, Value::String(g) => groups.push(format!("{}{g}", r.gp)), Value::Array(a) => for g in a { let Some(g) = g.as_str() else { return no("groups") }; if !clean(g) { return no("group") } groups.push(format!("{}{g}", r.gp)) }, _ => return no("groups") } }
    for g in &groups { if !clean(g) || (g.starts_with("system:") && !r.reserved.0.contains(g)) { return no("group not allowed") } }
    for (n, v) in &r.req { if c[n] != v.as_str() { return no("required claim") } }
    let uid = match &r.uidc { Some(n) => Some(c[n].as_str().ok_or(Rejection("uid".into(), None))?.to_owned()), None => None };
    let mut extra = vec![]; if let Some(j) = c["jti"].as_str() { extra.push(("authentication.kubernetes.io/credential-id".to_owned(), vec![format!("JTI={j}")])) }
    Ok(VerifiedIdentity { issuer: r.url.clone(), username, uid, groups, extra, exp: UnixTime(exp as i64) })
}
#[derive(Clone, Debug)]
pub struct OidcFlags { pub issuer_url: String, pub client_id: String, pub username_claim: String, pub username_prefix: Option<String>, pub groups_claim: Option<String>, pub groups_prefix: Option<String>, pub signing_algs: Vec<String>, pub required_claims: Vec<(String, String)>, pub ca_pem: Option<String>, pub literal_username_prefix: bool }
#[derive(Clone, Debug, PartialEq, Eq)] pub struct Fault { pub path: String, pub reason: String }
impl std::fmt::Display for Fault { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { write!(f, "{}: {}", self.path, self.reason) } }
#[derive(Clone)] pub struct ReservedGroups(Vec<String>);
impl ReservedGroups { pub fn new(v: Vec<String>) -> Result<Self, Vec<Fault>> { Ok(Self(v)) } }
const ALL: [&str; 9] = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"];
pub fn from_flags(f: &OidcFlags, r: &ReservedGroups) -> Result<IssuerConfig, Vec<Fault>> {
    let up = match f.username_prefix.as_deref() { _ if f.literal_username_prefix => f.username_prefix.clone().unwrap_or_default(), Some("-") => String::new(), Some(p) => p.to_owned(), None if f.username_claim == "email" => String::new(), None => format!("{}#", f.issuer_url) };
    Ok(IssuerConfig { url: f.issuer_url.clone(), discovery_url: None, certificate_authority: f.ca_pem.clone(), rules: Arc::new(Rules { url: f.issuer_url.clone(), auds: vec![f.client_id.clone()], algs: f.signing_algs.clone(), uc: f.username_claim.clone(), up, gc: f.groups_claim.clone(), gp: f.groups_prefix.clone().unwrap_or_default(), uidc: None, req: f.required_claims.clone(), reserved: r.clone() }) })
}
pub fn parse_authentication_config(y: &str, r: &ReservedGroups) -> Result<Vec<IssuerConfig>, Vec<Fault>> {
    let v: BTreeMap<String, Value> = serde_saphyr::from_str(y).map_err(|e| vec![Fault { path: "yaml".into(), reason: e.to_string() }])?;
    let bad: Vec<Fault> = v.keys().filter(|k| !["apiVersion", "kind", "jwt"].contains(&k.as_str())).map(|k| Fault { path: k.clone(), reason: "unknown field".into() }).collect(); if !bad.is_empty() { return Err(bad) }
    let s = |x: &Value| x.as_str().unwrap_or("").to_owned();
    Ok(v["jwt"].as_array().unwrap().iter().map(|j| IssuerConfig { url: s(&j["issuer"]["url"]), discovery_url: j["issuer"]["discoveryURL"].as_str().map(str::to_owned), certificate_authority: j["issuer"]["certificateAuthority"].as_str().map(str::to_owned), rules: Arc::new(Rules { url: s(&j["issuer"]["url"]), auds: j["issuer"]["audiences"].as_array().unwrap().iter().map(s).collect(), algs: ALL.map(str::to_owned).to_vec(), uc: s(&j["claimMappings"]["username"]["claim"]), up: s(&j["claimMappings"]["username"]["prefix"]), gc: j["claimMappings"]["groups"]["claim"].as_str().map(str::to_owned), gp: s(&j["claimMappings"]["groups"]["prefix"]), uidc: j["claimMappings"]["uid"]["claim"].as_str().map(str::to_owned), req: vec![], reserved: r.clone() }) }).collect())
}
