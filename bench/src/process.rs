//! What a server's processes spend, as the kernel counts it. It needs no help from the server.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{kill_process, Pid, Signal};

/// Nanoseconds on a CPU of all threads of these processes since their start (`schedstat`); None where one is not to be seen.
/// Threads that have ended are not in it: servers keep theirs.
pub fn cpu_ns(pids: &[u32]) -> Option<u64> {
    let mut sum = 0;
    for pid in pids {
        for task in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
            // A thread may end while we look.
            let Ok(text) = fs::read_to_string(task.ok()?.path().join("schedstat")) else {
                continue;
            };
            let spent: u64 = text.split(' ').next()?.parse().ok()?;
            sum += spent;
        }
    }
    (!pids.is_empty()).then_some(sum)
}

/// System calls of processes, counted by `perf stat` while it lives.
pub struct Syscalls(Child);

impl Syscalls {
    /// None where there is no `perf`, or it may not count.
    pub fn count(pids: &[u32]) -> Option<Syscalls> {
        if pids.is_empty() {
            return None;
        }
        let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
        let perf = Command::new("perf")
            .args(["stat", "-x", ",", "-e", EVENT, "-p", &pids.join(",")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        // It says nothing when it has begun to count.
        std::thread::sleep(SETTLE);
        perf.ok().map(Syscalls)
    }

    /// How many there were.
    pub fn end(self) -> Option<u64> {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).ok()?)?;
        kill_process(pid, Signal::INT).ok()?;
        let output = self.0.wait_with_output().ok()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let line = text.lines().find(|line| line.contains(EVENT))?;
        line.split(',').next()?.parse().ok()
    }
}

const EVENT: &str = "raw_syscalls:sys_enter";
const SETTLE: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_spends() {
        let own = [std::process::id()];
        let before = cpu_ns(&own).unwrap();
        let mut work = 1_u64;
        while cpu_ns(&own).unwrap() == before {
            work = std::hint::black_box(work.wrapping_mul(3));
        }
        assert!(cpu_ns(&[]).is_none() && cpu_ns(&[u32::MAX]).is_none());
    }
}
