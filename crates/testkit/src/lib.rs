//! What the tests, the demo and the benches are made of: a CA, an issuer, a kube-apiserver that misbehaves, a real
//! cluster, hostile clients.

pub mod apiserver;
pub mod ca;
pub mod client;
pub mod cluster;
pub mod h2client;
pub mod issuer;
pub mod poll;
pub mod raw;
pub mod signing;
pub mod wire;
