//! The whole proxy on loopback between clients and a kube-apiserver that misbehave (tier 2 of CONTRIBUTING.md).
//!
//! Each scenario has its own servers, and one thread for all of them: so the log that it looks at is its own too.

mod bodies;
mod closing;
mod credentials;
mod dialing;
mod outsiders;
mod passing;
mod refusals;
mod reviews;
mod slow_readers;
mod stopping;
mod upgrades;
mod world;
