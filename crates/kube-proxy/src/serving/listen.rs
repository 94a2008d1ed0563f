//! Opening a port.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// A port cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct BindError {
    /// The address.
    address: SocketAddr,
    /// What the system said.
    source: io::Error,
}

/// A listener and its address. `[::]` means both families, and `0.0.0.0` on a host without IPv6.
pub(crate) fn listen(address: SocketAddr, share_port: bool) -> Result<(TcpListener, SocketAddr), BindError> {
    let failed = |address| move |source| BindError { address, source };
    let listener = match try_listen(address, share_port) {
        Err(error) if address.ip().is_unspecified() && address.is_ipv6() && is_no_ipv6(&error) => {
            let v4 = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
            try_listen(v4, share_port).map_err(failed(v4))?
        }
        listening => listening.map_err(failed(address))?,
    };
    let local = listener.local_addr().map_err(failed(address))?;
    Ok((listener, local))
}

fn is_no_ipv6(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::AddrNotAvailable)
        || error.raw_os_error() == Some(97) // EAFNOSUPPORT has no ErrorKind
}

fn try_listen(address: SocketAddr, share_port: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    // As Go and every server does it: a restart need not wait for connections in TIME_WAIT.
    socket.set_reuse_address(true)?;
    if share_port {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    TcpListener::from_std(socket.into())
}
