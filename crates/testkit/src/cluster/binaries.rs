//! Where the real programs are: `KUBEBUILDER_ASSETS` if it is set, else what `cargo xtask setup` built.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// A directory with kube-apiserver, etcd, kubectl and the rest.
#[derive(Clone, Debug)]
pub struct Binaries {
    dirs: Vec<PathBuf>,
}

impl Binaries {
    /// The programs of this checkout. `KUBEBUILDER_ASSETS` wins for every program that it holds.
    ///
    /// # Errors
    /// If kube-apiserver, etcd or kubectl is in neither place.
    pub fn locate() -> anyhow::Result<Self> {
        let mut dirs: Vec<PathBuf> = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from).into_iter().collect();
        dirs.push(built_dir());
        let binaries = Self { dirs };
        for name in ["kube-apiserver", "etcd", "kubectl"] {
            binaries.path(name)?;
        }
        Ok(binaries)
    }

    /// One program.
    ///
    /// # Errors
    /// If it is not there; the message says how to get it.
    pub fn path(&self, name: &str) -> anyhow::Result<PathBuf> {
        let found = self.dirs.iter().map(|dir| dir.join(name)).find(|path| path.is_file());
        found.with_context(|| format!("{name} is not in {:?}: run `cargo xtask setup`", self.dirs))
    }
}

/// `target/testcluster/bin` of the workspace.
pub fn built_dir() -> PathBuf {
    workspace_root().join("target/testcluster/bin")
}

/// The directory with the workspace's `Cargo.lock`.
pub fn workspace_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).map_or_else(|| here.to_owned(), Path::to_owned)
}

/// The workspace's own program, next to the test binary that asks: cargo builds both into one profile directory.
///
/// # Errors
/// If it was not built.
pub fn own_binary(name: &str) -> anyhow::Result<PathBuf> {
    let me = std::env::current_exe()?;
    let found = me.ancestors().skip(1).take(2).map(|dir| dir.join(name)).find(|path| path.is_file());
    match found {
        Some(path) => Ok(path),
        None => bail!("{name} is not built: `cargo build -p {name}` first, or run `cargo xtask test`"),
    }
}
