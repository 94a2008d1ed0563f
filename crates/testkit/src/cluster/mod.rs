//! A real cluster on loopback: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kwok for the life cycle
//! of nodes and pods, and the streaming node for exec, attach, logs and port-forward.

mod binaries;
mod kubeconfig;
mod ports;
mod process;
mod start;

pub use binaries::{Binaries, built_dir, own_binary, workspace_root};
pub use kubeconfig::{Kubeconfig, UserAuth};
pub use ports::free_port;
pub use process::Process;
pub use start::{Cluster, Parts};
