use std::net::IpAddr;

use http::HeaderMap;
use ipnet::IpNet;

use super::resolve;

fn resolved(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
    let mut headers = HeaderMap::new();
    for value in forwarded {
        headers.append("x-forwarded-for", value.parse().unwrap());
    }
    let trusted: Vec<IpNet> = trusted.iter().map(|network| network.parse().unwrap()).collect();
    resolve(peer.parse::<IpAddr>().unwrap(), &headers, &trusted).to_string()
}

#[test]
fn a_client_cannot_name_its_own_address() {
    assert_eq!(resolved("198.51.100.1", &["10.0.0.1"], &[]), "198.51.100.1");
    assert_eq!(resolved("198.51.100.1", &["10.0.0.1"], &["10.0.0.0/8"]), "198.51.100.1");
    // Behind a trusted hop only the entry which that hop wrote counts.
    assert_eq!(resolved("10.0.0.9", &["203.0.113.1, 198.51.100.1"], &["10.0.0.0/8"]), "198.51.100.1");
    assert_eq!(resolved("10.0.0.9", &["10.1.1.1", "198.51.100.1"], &["10.0.0.0/8"]), "198.51.100.1");
}

#[test]
fn trusted_hops_are_walked_through() {
    assert_eq!(resolved("10.0.0.9", &["198.51.100.1, 10.0.0.8"], &["10.0.0.0/8"]), "198.51.100.1");
    assert_eq!(resolved("10.0.0.9", &["198.51.100.1", "10.0.0.8, 10.0.0.7"], &["10.0.0.0/8"]), "198.51.100.1");
    assert_eq!(resolved("::ffff:10.0.0.9", &["198.51.100.1"], &["10.0.0.0/8"]), "198.51.100.1");
    assert_eq!(resolved("10.0.0.9", &["10.0.0.8"], &["10.0.0.0/8"]), "10.0.0.8");
}

#[test]
fn nonsense_ends_the_search() {
    assert_eq!(resolved("10.0.0.9", &["198.51.100.1, unknown, 10.0.0.8"], &["10.0.0.0/8"]), "10.0.0.8");
    assert_eq!(resolved("10.0.0.9", &[""], &["10.0.0.0/8"]), "10.0.0.9");
    assert_eq!(resolved("10.0.0.9", &[], &["10.0.0.0/8"]), "10.0.0.9");
}
