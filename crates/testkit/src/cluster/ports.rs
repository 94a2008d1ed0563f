//! Ports for programs that must be told theirs.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::bail;

/// Below the ports that the system gives to outgoing connections, one of which could take a port between here and the
/// program that is to listen on it.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A port of loopback that nobody listens on. No two calls of this process give the same one, until thousands were given;
/// processes begin in different places.
///
/// # Errors
/// If there is none.
pub fn free_port() -> anyhow::Result<u16> {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let offset = u16::try_from(std::process::id().wrapping_mul(977) % u32::from(COUNT)).unwrap_or_default();
    for _ in 0..COUNT {
        let given = GIVEN.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = FIRST + (offset + given) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("every port from {FIRST} to {} is in use", FIRST + COUNT)
}
