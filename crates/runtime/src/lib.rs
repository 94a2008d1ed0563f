//! What every Keyway server needs to run and none of them should decide about: the crypto provider, logging,
//! noticing changed files, trust roots, and shutdown. No policy lives here.

pub mod crypto;
pub mod files;
pub mod limits;
pub mod log_limit;
pub mod logging;
pub mod shutdown;
pub mod trust;
