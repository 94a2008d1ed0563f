//! `cargo xtask bench`: what the Kube Proxy costs, next to nginx and HAProxy as plain TLS proxies on the same machine in
//! the same run. Figures, never pass or fail by the clock: a bench fails only when an answer is wrong. How to read them
//! is in `docs/performance.md`.
//!
//! Two cores, two sides: the proxy under test has one, everything else (clients, the fake kube-apiserver, the issuer)
//! the other. So the task builds, and starts itself once more in the release build, bound to the second core.

mod client;
mod contender;
mod gathered;
mod machine;
mod programs;
mod proxy;
mod report;
mod rig;
mod sample;
mod upstream;
mod usage;
mod watches;

use std::process::Command;

use anyhow::{Context, bail};
use testkit::cluster::workspace_root;

use machine::Cores;
use report::Report;

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    bench: Bench,
    /// The form of the figures
    #[arg(short, long, value_enum, default_value_t, global = true)]
    output: Output,
    /// Measure only this proxy, for a profiler; the columns against nginx stay empty
    #[arg(long, value_enum, global = true)]
    only: Option<contender::Kind>,
    /// Set by the task itself: everything is built, this process is on the clients' core, and this is the proxies'
    #[arg(long, hide = true, global = true)]
    proxy_core: Option<usize>,
}

#[derive(clap::Subcommand)]
enum Bench {
    /// Small GETs over HTTP/2: CPU per request, throughput, latency; and what a new connection costs
    Proxy(proxy::Options),
    /// Thousands of open watches: memory of each, and the time and CPU until one event has reached them all
    Watches(watches::Options),
}

#[derive(Clone, Copy, Default, clap::ValueEnum)]
enum Output {
    /// An aligned table for people
    #[default]
    Table,
    /// Every round's figures, for machines
    Json,
}

/// Runs one bench.
///
/// # Errors
/// If something is missing that cannot be installed, a part does not start, or an answer is wrong.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    match options.proxy_core {
        Some(core) => measure(options, core),
        None => prepare_and_start_again(),
    }
}

fn prepare_and_start_again() -> anyhow::Result<()> {
    let cores = Cores::available()?;
    programs::ensure()?;
    let root = workspace_root();
    eprintln!("building keywayd and the load generator (release)");
    let mut build = Command::new("cargo");
    build.args(["build", "--quiet", "--release", "--package", "keywayd", "--package", "xtask"]).current_dir(&root);
    if !build.status().context("cannot run cargo")?.success() {
        bail!("the release build failed");
    }
    let mut again = programs::on_core(cores.clients, &root.join("target/release/xtask"))?;
    again.args(std::env::args_os().skip(1)).arg(format!("--proxy-core={}", cores.proxy));
    let status = again.status().context("cannot start the load generator")?;
    // It has said why.
    if status.success() { Ok(()) } else { std::process::exit(1) }
}

fn measure(options: &Options, core: usize) -> anyhow::Result<()> {
    // One thread: this side has one core, and hand-overs between threads on it would be measured along.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report: Report = runtime.block_on(async {
        let rig = rig::Rig::start(core).await?;
        match &options.bench {
            Bench::Proxy(bench) => proxy::run(bench, &rig, options.only).await,
            Bench::Watches(bench) => watches::run(bench, &rig, options.only).await,
        }
    })?;
    match options.output {
        Output::Table => print!("{}", report.table()),
        Output::Json => println!("{:#}", report.json()),
    }
    Ok(())
}
