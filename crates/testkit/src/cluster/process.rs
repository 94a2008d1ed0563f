//! Child processes that do not outlive their parent, whatever way it ends: each runs under a small shell that kills
//! it when the pipe to the parent closes.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// `$1` is the file for the child's process id; the rest is the command. Descriptor 3 is the pipe to the parent.
const GUARD: &str = r#"
pidfile=$1; shift
exec 3<&0
"$@" </dev/null 3<&- &
child=$!
echo $child > "$pidfile"
{ cat <&3 >/dev/null; kill -KILL $child; } 2>/dev/null &
wait $child
"#;

/// A process with its log in a file.
pub struct Process {
    name: String,
    guard: Child,
    log: PathBuf,
    pidfile: PathBuf,
}

impl Process {
    /// Starts `program` with `args`; standard output and error go to `<dir>/<name>.log`, appended.
    ///
    /// # Errors
    /// If the log cannot be opened or the shell cannot be started. A program that does not exist shows in the log.
    pub fn start(
        dir: &Path,
        name: &str,
        program: &Path,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
        env: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let pidfile = dir.join(format!("{name}.pid"));
        let _absent = std::fs::remove_file(&pidfile);
        let out = std::fs::OpenOptions::new().create(true).append(true).open(&log)?;
        let mut command = Command::new("sh");
        command.arg("-c").arg(GUARD).arg("guard").arg(&pidfile).arg(program).args(args);
        command.envs(env.iter().copied()).current_dir(dir);
        let guard = command
            .stdin(Stdio::piped())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name: name.to_owned(), guard, log, pidfile })
    }

    /// The name it was started under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Everything that it has written.
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The last lines of its log, for error messages.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(25)..).unwrap_or_default().join("\n")
    }

    /// Fails if the process has ended.
    ///
    /// # Errors
    /// With the end of its log.
    pub fn check_running(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.guard.try_wait()? {
            bail!("{} ended with {status}; the end of its log:\n{}", self.name, self.log_tail());
        }
        Ok(())
    }

    /// The process id, once it has one.
    pub fn pid(&self) -> Option<u32> {
        std::fs::read_to_string(&self.pidfile).ok()?.trim().parse().ok()
    }

    /// Sends a signal, by its name without SIG.
    pub fn signal(&self, name: &str) {
        if let Some(pid) = self.pid() {
            let _gone_already =
                Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).stderr(Stdio::null()).status();
        }
    }

    /// Sends SIGTERM and waits; SIGKILL when `patience` is over. The exit status, if it ended by itself.
    pub fn stop(mut self, patience: Duration) -> Option<std::process::ExitStatus> {
        self.signal("TERM");
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.guard.try_wait() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }

    /// Waits until the process has ended by itself.
    pub fn wait(&mut self, patience: Duration) -> Option<std::process::ExitStatus> {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.guard.try_wait() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.guard.try_wait(), Ok(None)) {
            self.signal("KILL");
            // Closes the pipe, whereupon the guard kills it: its process id may be gone with its directory.
            drop(self.guard.stdin.take());
            let _reaped = self.guard.wait();
        }
    }
}
