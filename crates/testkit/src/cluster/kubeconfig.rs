//! Writes kubeconfig files. JSON is YAML, so that is what they are.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// How the user of a kubeconfig proves who it is.
#[derive(Clone, Debug)]
pub enum UserAuth {
    /// A bearer token.
    Token(String),
    /// A client certificate and key, PEM files.
    Certificate(PathBuf, PathBuf),
    /// Nothing.
    None,
}

/// One server, one user.
#[derive(Clone, Debug)]
pub struct Kubeconfig {
    /// `https://host:port`.
    pub server: String,
    /// The CA bundle, a PEM file.
    pub ca_file: PathBuf,
    /// Who.
    pub user: UserAuth,
}

impl Kubeconfig {
    /// Writes it to `path`, readable by the owner alone.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        let user: Value = match &self.user {
            UserAuth::Token(token) => json!({ "token": token }),
            UserAuth::Certificate(cert, key) => json!({ "client-certificate": cert, "client-key": key }),
            UserAuth::None => json!({}),
        };
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "test", "cluster": { "server": self.server, "certificate-authority": self.ca_file } }],
            "users": [{ "name": "test", "user": user }],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test", "namespace": "default" } }],
            "current-context": "test",
        });
        let mut file = std::fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(serde_json::to_string_pretty(&config)?.as_bytes())?;
        Ok(())
    }
}
