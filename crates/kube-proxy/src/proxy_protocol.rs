//! The PROXY protocol, version 2, as HAProxy's specification (`proxy-protocol.txt`) defines it: the header that a
//! load balancer puts in front of a connection to say where it came from. It is read only from peers that the
//! operator names, and from those it is required: a peer that sometimes sends it could be made to forward a client
//! that sends its own.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Addresses and TLVs; the specification allows 64 KiB, what senders use stays far below.
const MAX_LENGTH: usize = 4096;

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// A connection that the load balancer relays, from this address.
    Proxied(SocketAddr),
    /// A connection of the load balancer itself (`LOCAL`, a health check), or one whose address family it does not
    /// tell: the peer's own address stands.
    Local,
}

/// Why a header was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeaderError {
    #[error("the peer is in --proxy-protocol-from but sent no PROXY v2 header")]
    NoSignature,
    #[error("PROXY header of version {0}, not 2")]
    Version(u8),
    #[error("PROXY header with the unknown command {0}")]
    Command(u8),
    #[error("PROXY header of {0} bytes, more than {MAX_LENGTH}")]
    TooLong(usize),
    #[error("PROXY header too short for the addresses of its family")]
    Truncated,
    #[error("the connection ended inside the PROXY header: {0}")]
    Io(#[from] io::Error),
}

/// Reads one header and not a byte more.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Header, HeaderError> {
    let mut fixed = [0; 16];
    stream.read_exact(&mut fixed).await?;
    let (signature, [version_command, family, high, low]) = split(&fixed);
    if signature != SIGNATURE {
        return Err(HeaderError::NoSignature);
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > MAX_LENGTH {
        return Err(HeaderError::TooLong(length));
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    parse(version_command, family, &rest)
}

fn split(fixed: &[u8; 16]) -> ([u8; 12], [u8; 4]) {
    let [s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, a, b, c, d] = *fixed;
    ([s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11], [a, b, c, d])
}

/// Section 2.2 of the specification. `rest` is what the length field counts: addresses, then TLVs, which are skipped.
fn parse(version_command: u8, family: u8, rest: &[u8]) -> Result<Header, HeaderError> {
    if version_command >> 4 != 2 {
        return Err(HeaderError::Version(version_command >> 4));
    }
    match version_command & 0x0f {
        0 => return Ok(Header::Local),
        1 => {}
        other => return Err(HeaderError::Command(other)),
    }
    match family >> 4 {
        1 => {
            let (address, port) = source::<4>(rest, 8)?;
            Ok(Header::Proxied(SocketAddr::new(IpAddr::V4(Ipv4Addr::from(address)), port)))
        }
        2 => {
            let (address, port) = source::<16>(rest, 32)?;
            Ok(Header::Proxied(SocketAddr::new(Ipv6Addr::from(address).to_canonical(), port)))
        }
        _ => Ok(Header::Local),
    }
}

/// The source address of `N` bytes at the start and its port at `port_at`; the block is source, destination, ports.
fn source<const N: usize>(rest: &[u8], port_at: usize) -> Result<([u8; N], u16), HeaderError> {
    let address = rest.first_chunk::<N>().ok_or(HeaderError::Truncated)?;
    let ports = rest.get(port_at..).and_then(<[u8]>::first_chunk::<4>).ok_or(HeaderError::Truncated)?;
    Ok((*address, u16::from_be_bytes([ports[0], ports[1]])))
}

#[cfg(test)]
mod tests;
