//! Builds the programs of the test cluster from the Go modules in `testcluster/`, once: a program is built again only
//! when its module, its flags or the Go release changes. `KUBEBUILDER_ASSETS` wins for whatever it holds.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use testkit::cluster::{built_dir, workspace_root};

/// The release that the cluster is pinned to; `testcluster/kubernetes/go.mod` says the same.
const KUBERNETES: &str = "1.37.2";

/// One `go build`.
struct Module {
    /// Directory below `testcluster/`.
    dir: &'static str,
    /// What it gives.
    programs: &'static [&'static str],
    packages: &'static [&'static str],
    /// Stamps Kubernetes' version into the programs.
    is_kubernetes: bool,
    /// Packages that a cold build compiles, about: for the progress line.
    expected: usize,
}

const MODULES: [Module; 5] = [
    Module {
        dir: "kubernetes",
        programs: &["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"],
        packages: &[
            "k8s.io/kubernetes/cmd/kube-apiserver",
            "k8s.io/kubernetes/cmd/kube-controller-manager",
            "k8s.io/kubernetes/cmd/kube-scheduler",
            "k8s.io/kubernetes/cmd/kubectl",
        ],
        is_kubernetes: true,
        expected: 2600,
    },
    Module {
        dir: "kubernetes",
        programs: &["etcd"],
        packages: &["go.etcd.io/etcd/server/v3"],
        is_kubernetes: false,
        expected: 60,
    },
    Module { dir: "node", programs: &["keyway-testnode"], packages: &["."], is_kubernetes: false, expected: 20 },
    Module {
        dir: "kwok",
        programs: &["kwok"],
        packages: &["sigs.k8s.io/kwok/cmd/kwok"],
        is_kubernetes: false,
        expected: 900,
    },
    Module {
        dir: "helm",
        programs: &["helm"],
        packages: &["helm.sh/helm/v4/cmd/helm"],
        is_kubernetes: false,
        expected: 900,
    },
];

/// Builds what is missing or out of date; the directory with the programs.
///
/// # Errors
/// If Go is missing or a build fails, with the compiler's words.
pub(crate) fn run() -> anyhow::Result<PathBuf> {
    let bin = built_dir();
    std::fs::create_dir_all(&bin)?;
    let go = go_version()?;
    for module in &MODULES {
        let stamp_file = bin.join(format!("{}.stamp", module.programs.join("+")));
        let stamp = stamp(module, &go)?;
        let built = module.programs.iter().all(|program| bin.join(program).is_file());
        if provided(module) || (built && std::fs::read_to_string(&stamp_file).is_ok_and(|text| text == stamp)) {
            continue;
        }
        build(module, &bin)?;
        std::fs::write(stamp_file, stamp)?;
    }
    Ok(bin)
}

/// Whether `KUBEBUILDER_ASSETS` has every program of the module.
fn provided(module: &Module) -> bool {
    let Some(assets) = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from) else { return false };
    module.programs.iter().all(|program| assets.join(program).is_file())
}

fn go_version() -> anyhow::Result<String> {
    let output = Command::new("go").arg("version").output().context(
        "Go is needed to build the test cluster: install it from https://go.dev/dl/, \
         or set KUBEBUILDER_ASSETS to a directory with kube-apiserver, etcd and kubectl",
    )?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// What a build depends on: the sources of the module, its flags, the compiler.
fn stamp(module: &Module, go: &str) -> anyhow::Result<String> {
    let mut hasher = DefaultHasher::new();
    (go, module.packages, ldflags(module)).hash(&mut hasher);
    let mut files: Vec<PathBuf> = Vec::new();
    collect(&module_dir(module), &mut files)?;
    files.sort();
    for file in files {
        (file.file_name(), std::fs::read(&file)?).hash(&mut hasher);
    }
    Ok(format!("{:016x}\n", hasher.finish()))
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(dir).with_context(|| format!("{} is missing", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "go" || extension == "mod" || extension == "sum")
        {
            files.push(path);
        }
    }
    Ok(())
}

fn module_dir(module: &Module) -> PathBuf {
    workspace_root().join("testcluster").join(module.dir)
}

fn ldflags(module: &Module) -> String {
    let mut flags = String::from("-s -w");
    if module.is_kubernetes {
        let (major, minor) = KUBERNETES
            .split_once('.')
            .map_or(("", ""), |(major, rest)| (major, rest.split_once('.').map_or(rest, |(minor, _patch)| minor)));
        for package in ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"] {
            flags.push_str(&format!(
                " -X {package}.gitVersion=v{KUBERNETES} -X {package}.gitMajor={major} -X {package}.gitMinor={minor} \
                 -X {package}.gitTreeState=clean"
            ));
        }
    }
    flags
}

fn build(module: &Module, bin: &Path) -> anyhow::Result<()> {
    let what = module.programs.join(", ");
    println!("building {what} (once; minutes on a small machine)");
    let started = Instant::now();
    let output = if let [only] = module.programs { bin.join(only) } else { bin.to_owned() };
    let output =
        if module.programs.len() == 1 { output.display().to_string() } else { format!("{}/", output.display()) };
    let mut child = Command::new("go")
        .args([
            "build",
            "-v",
            "-mod=readonly",
            "-trimpath",
            "-buildvcs=false",
            "-ldflags",
            &ldflags(module),
            "-o",
            &output,
        ])
        .args(module.packages)
        .current_dir(module_dir(module))
        .env("CGO_ENABLED", "0")
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let said = progress(child.stderr.take(), module.expected, started);
    let status = child.wait()?;
    if !status.success() {
        bail!("go build of {what} ended with {status}:\n{}", said.join("\n"));
    }
    println!("built {what} in {} s", started.elapsed().as_secs());
    Ok(())
}

/// `go build -v` names each package that it compiles; everything else is what it has to say if it fails.
fn progress(stderr: Option<std::process::ChildStderr>, expected: usize, started: Instant) -> Vec<String> {
    let terminal = std::io::stdout().is_terminal();
    let every = if terminal { Duration::from_millis(500) } else { Duration::from_secs(20) };
    let (mut packages, mut said, mut shown) = (0, Vec::new(), Instant::now());
    for line in stderr.into_iter().flat_map(|stderr| BufReader::new(stderr).lines()).map_while(Result::ok) {
        if line.contains(' ') || line.contains(':') {
            said.push(line);
        } else {
            packages += 1;
        }
        if shown.elapsed() >= every {
            shown = Instant::now();
            let text = format!("  {packages} of about {expected} packages, {} s", started.elapsed().as_secs());
            if terminal {
                print!("\r{text}");
                let _shown = std::io::stdout().flush();
            } else {
                println!("{text}");
            }
        }
    }
    if terminal {
        println!();
    }
    said.split_off(said.len().saturating_sub(40))
}
