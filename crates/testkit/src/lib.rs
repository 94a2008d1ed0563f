//! What the tests, the demo and the benches are made of: a CA, an issuer, a real cluster, hostile clients.

pub mod ca;
pub mod cluster;
pub mod h2client;
pub mod issuer;
pub mod raw;
pub mod signing;
