//! The process's own limits.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit on open files to the hard one, as Go programs do at their start, and says what it is then;
/// nothing if there is none. Each connection is one.
///
/// The soft limit stands where it does for the sake of programs that use `select`, which cannot take more than 1,024.
pub fn raise_open_files() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::debug!(%error, "cannot raise the limit on open files");
        }
    }
    getrlimit(Resource::Nofile).current
}
