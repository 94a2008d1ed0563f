//! Logging: text for people, JSON for machines, to standard error.

use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line per event.
    #[default]
    Text,
    /// One JSON object per event.
    Json,
}

/// Starts logging for the process. `verbosity` is klog's scale: 0 and 1 log INFO and above, 2 to 4 DEBUG, 5 and more
/// TRACE of Keyway's own crates; libraries stay at WARN, and above 7 at DEBUG. `filter`, in the syntax of
/// `RUST_LOG`, replaces all of this where it is given.
///
/// Lines are written by a thread of their own: a reader of the log that stalls must not stall the process. What does
/// not fit into memory then is left out. Drop the result at the end of the process, and not before: that writes what is
/// left.
///
/// Calling it a second time does nothing: the first subscriber stays.
pub fn init(format: LogFormat, verbosity: u8, filter: Option<&str>) -> Lines {
    let directives = filter.map_or_else(|| default_directives(verbosity), str::to_owned);
    let filter = EnvFilter::builder().parse_lossy(directives);
    let builder = tracing_appender::non_blocking::NonBlockingBuilder::default().buffered_lines_limit(BUFFERED_LINES);
    let (writer, guard) = builder.finish(std::io::stderr());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_timer(SystemTime);
    let _already_started = match format {
        LogFormat::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    Lines(guard)
}

/// The thread that writes log lines.
#[derive(Debug)]
pub struct Lines(#[expect(dead_code, reason = "dropping it is its use")] WorkerGuard);

/// Lines that wait to be written; a line has at most a few kilobytes.
const BUFFERED_LINES: usize = 8192;

const OWN_CRATES: [&str; 5] = ["keywayd", "kube_proxy", "identity", "impersonation", "runtime"];

fn default_directives(verbosity: u8) -> String {
    let own = match verbosity {
        0 | 1 => "info",
        2..=4 => "debug",
        _ => "trace",
    };
    let libraries = if verbosity > 7 { "debug" } else { "warn" };
    let mut directives = libraries.to_owned();
    if verbosity <= 7 {
        // h2 warns of what clients do, as often as they do it.
        directives.push_str(",h2=error,hyper=error");
    }
    for name in OWN_CRATES {
        directives.push_str(&format!(",{name}={own}"));
    }
    directives
}
