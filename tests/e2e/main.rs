//! Scenarios on a real cluster: a real kube-apiserver, real kubectl, and `keywayd` as the process that operators run.
//! One binary, so that it links once and starts one cluster.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod hostile;
mod kubectl;
mod rbac;
mod rotation;
mod serving;
mod streams;
mod world;
