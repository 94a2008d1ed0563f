//! What a process has used, as the kernel counts it (`proc_pid_stat(5)`, `proc_pid_status(5)`).

use std::time::Duration;

use anyhow::Context;

/// `USER_HZ`: the unit of times in `/proc`, whatever the kernel's own clock is.
const TICK: Duration = Duration::from_millis(10);

/// CPU time of all threads of a process, those that have ended included; in steps of 10 ms.
///
/// # Errors
/// If there is no such process.
pub(crate) fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("the proxy is gone")?;
    cpu_of(&stat).context("/proc/PID/stat is not what it was")
}

fn cpu_of(stat: &str) -> Option<Duration> {
    // The second field is the program's name in brackets, which may hold blanks and brackets.
    let (_, after_name) = stat.rsplit_once(')')?;
    // Fields 14 and 15: utime and stime; this is field 3 onwards.
    let mut times = after_name.split_whitespace().skip(11);
    let (user, system): (u32, u32) = (times.next()?.parse().ok()?, times.next()?.parse().ok()?);
    Some(TICK * (user + system))
}

/// Memory of a process that is its own, in KiB: without the program file and libraries, which are there once.
///
/// # Errors
/// If there is no such process.
pub(crate) fn memory_kib(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("the proxy is gone")?;
    let resident = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
    let resident = resident.trim().trim_end_matches("kB").trim();
    resident.parse().context("/proc/PID/status is not what it was")
}

#[cfg(test)]
mod tests {
    use super::{TICK, cpu_of};

    #[test]
    fn user_and_system_time_are_added_up_behind_any_name() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 30 12 0 0 20 0 1 0 12345 1000 100";
        assert_eq!(cpu_of(stat), Some(TICK * 42));
    }
}
