//! The machine that the figures are from, and its cores.

use anyhow::{Context, bail};
use serde_json::{Value, json};

/// Which core does what.
pub(crate) struct Cores {
    /// For the proxy under test.
    pub(crate) proxy: usize,
    /// For the clients, the fake kube-apiserver and the issuer.
    pub(crate) clients: usize,
}

impl Cores {
    /// The first two cores that this process may use.
    ///
    /// # Errors
    /// If there is only one: proxy and clients would take it from each other.
    pub(crate) fn available() -> anyhow::Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status").context("the benches need Linux")?;
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
        match *cores_of(list.trim()).as_slice() {
            [proxy, clients, ..] => Ok(Self { proxy, clients }),
            _ => bail!("the benches need two cores; this process may use: {list}"),
        }
    }
}

/// The kernel's list format: `0-3,8`.
fn cores_of(list: &str) -> Vec<usize> {
    list.split(',')
        .filter_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some(first.parse::<usize>().ok()?..=last.parse::<usize>().ok()?)
        })
        .flatten()
        .collect()
}

/// What a reader must know of the machine.
pub(crate) struct Machine {
    cores: usize,
    processor: String,
    kernel: String,
}

impl Machine {
    pub(crate) fn this() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let model = cpuinfo.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
        Self {
            cores: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            processor: model.map_or("unknown processor", |(_, name)| name).to_owned(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }

    pub(crate) fn json(&self) -> Value {
        json!({ "cores": self.cores, "processor": self.processor, "kernel": self.kernel })
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} cores of {}, Linux {}", self.cores, self.processor, self.kernel)
    }
}

#[cfg(test)]
mod tests {
    use super::cores_of;

    #[test]
    fn the_kernels_list_of_cores_is_read() {
        assert_eq!(cores_of("0-1"), [0, 1]);
        assert_eq!(cores_of("2,4-6"), [2, 4, 5, 6]);
        assert_eq!(cores_of("3"), [3]);
    }
}
