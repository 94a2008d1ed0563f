//! The Kube Proxy: validates OIDC tokens, impersonates the user to kube-apiserver, and forwards.
//!
//! Where its security is decided, in the order to read it: `identity` (whose token is it), `impersonation` (what
//! kube-apiserver sees), and here [`stack`], the way of one request from top to bottom. `docs/request-life.md` walks
//! through it. This crate owns all I/O: listeners, keys, reviews, and two pools of upstream connections.

mod app;
mod body;
mod client_address;
mod gather;
mod issuers;
pub mod kubeconfig;
mod long_running;
pub mod options;
mod probe;
mod proxy_protocol;
mod refusals;
mod reviews;
mod rights;
#[cfg(test)]
mod scenarios;
mod serving;
mod stack;
mod status;
mod trail;
mod tunnel;
mod upstream;

pub use app::{Running, StartError, start};
pub use serving::Counters;
pub use serving::listen::BindError;
pub use upstream::{ConnectError, Credential, CredentialError, Pem, UpstreamTls};
