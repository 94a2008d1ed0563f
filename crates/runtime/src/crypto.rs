//! The one crypto provider of the process: `aws-lc-rs`. `deny.toml` keeps a second one out of the tree.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// The provider that every TLS configuration of Keyway is built with.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Makes `aws-lc-rs` the process default, for libraries that ask rustls for one. Calling it twice is harmless.
pub fn install() {
    // The only error says that a default is installed already, which is what we want.
    let _already_installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
