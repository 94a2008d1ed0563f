//! Whose address a request has. It is the connection's, unless the operator names those whose word counts: for the
//! PROXY protocol in `--proxy-protocol-from`, for `X-Forwarded-For` in `--forwarded-for-from`. They are two lists,
//! because a load balancer that relays TCP does not vouch for what clients write into their requests.

use std::net::IpAddr;

use http::HeaderMap;
use ipnet::IpNet;

/// The client's address: that of the connection (`peer`, after the PROXY protocol), or, when `peer` is in `trusted`,
/// the last address in `X-Forwarded-For` that is not itself trusted.
///
/// The list grows to the right, so it is read from there; an entry that is no address ends the search, because
/// nothing left of it can be vouched for.
pub(crate) fn resolve(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let mut client = peer.to_canonical();
    if !is_in(client, trusted) {
        return client;
    }
    for value in headers.get_all("x-forwarded-for").iter().rev() {
        let Ok(text) = value.to_str() else { return client };
        for entry in text.rsplit(',') {
            let Ok(address) = entry.trim().parse::<IpAddr>() else { return client };
            client = address.to_canonical();
            if !is_in(client, trusted) {
                return client;
            }
        }
    }
    client
}

/// Whether `address` is in one of `networks`.
pub(crate) fn is_in(address: IpAddr, networks: &[IpNet]) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

#[cfg(test)]
mod tests;
