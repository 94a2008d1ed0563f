//! The servers of Keyway in one program: `keywayd kube-proxy …`. Called by the name `kube-oidc-proxy` it is that one,
//! without a subcommand, for charts and scripts that were written for the proxy that it replaces.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program's words before it logs")]

use std::ffi::OsString;
use std::process::ExitCode;

use kube_proxy::options::{self, Exit, Host, InvokedAs, Settings};

const USAGE: &str = "\
keywayd: the servers of Keyway

Usage:
  keywayd kube-proxy [flags]    validate OIDC tokens and impersonate users to kube-apiserver
  keywayd --version

`keywayd kube-proxy --help` lists its flags.";

/// Faults of the command line and the configuration.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    let invoked_as = InvokedAs::from_program(&program);
    if invoked_as == InvokedAs::KubeOidcProxy {
        return kube_proxy(invoked_as, arguments);
    }
    let subcommand = arguments.next().unwrap_or_default();
    match subcommand.to_str() {
        Some("kube-proxy") => kube_proxy(invoked_as, arguments),
        Some("--version" | "version") => {
            println!("keywayd v{}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        Some("--help" | "-h" | "help") => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        Some("") => {
            eprintln!("{USAGE}");
            ExitCode::from(EXIT_USAGE)
        }
        _ => {
            eprintln!("unknown command {:?}\n\n{USAGE}", subcommand.to_string_lossy());
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn kube_proxy(invoked_as: InvokedAs, arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let options = match options::parse(invoked_as, arguments) {
        Ok(options) => options,
        Err(exit @ (Exit::Help(_) | Exit::Version(_))) => {
            println!("{exit}");
            return ExitCode::SUCCESS;
        }
        Err(exit) => {
            eprintln!("{exit}");
            return ExitCode::from(exit.code());
        }
    };
    let mut settings = match options.validate(invoked_as, &Host::this()) {
        Ok(settings) => settings,
        Err(faults) => {
            for fault in faults {
                eprintln!("{fault}");
            }
            return ExitCode::from(EXIT_USAGE);
        }
    };
    runtime::crypto::install();
    let filter = std::env::var("RUST_LOG").ok();
    let _until_the_end = runtime::logging::init(settings.logging.format, settings.logging.verbosity, filter.as_deref());
    fit_open_files(&mut settings);
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = settings.app.worker_threads {
        builder.worker_threads(threads.get());
    }
    let built = builder.enable_all().thread_name("keyway").build();
    let outcome = built.map_err(|error| format!("cannot start the runtime: {error}")).and_then(|runtime| {
        let outcome = runtime.block_on(serve(settings));
        // Whatever still runs was given its grace period.
        runtime.shutdown_background();
        outcome
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            for line in error.lines() {
                tracing::error!("{line}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Files that are open beside connections, and some to spare.
const OTHER_FILES: u64 = 256;

/// Raises the limit on open files, and takes no more connections than it allows: one that cannot be accepted is worse
/// than one that waits. A connection with an upgrade is two, and those to kube-apiserver are some more.
fn fit_open_files(settings: &mut Settings) {
    let Some(limit) = runtime::limits::raise_open_files() else { return };
    let room = usize::try_from(limit.saturating_sub(OTHER_FILES) / 4 * 3).unwrap_or(usize::MAX).max(1);
    let wanted = settings.serving.max_connections;
    if wanted > room {
        tracing::warn!(
            limit,
            wanted,
            connections = room,
            "the hard limit on open files is too low for --max-connections"
        );
        settings.serving.max_connections = room;
    }
}

async fn serve(settings: Settings) -> Result<(), String> {
    let stop = runtime::shutdown::on_signal().map_err(|error| format!("cannot listen for signals: {error}"))?;
    let running = kube_proxy::start(settings, stop).await.map_err(|error| error.to_string())?;
    running.finished().await;
    Ok(())
}
