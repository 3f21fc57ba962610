//! Child processes that cannot outlive the test.
//!
//! A test that panics, is interrupted or is killed must not leave servers behind: the next run would find its ports taken and its
//! answers wrong. `Drop` covers the panic; the kernel's parent-death signal covers the rest. That signal is sent when the *thread*
//! that started the child ends, not the process, so all children are started by one thread that lives as long as the process.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{channel, Sender};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

/// A running program whose output goes to a file; killed when dropped.
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

/// What a process may be told without asking for its life.
#[derive(Clone, Copy, Debug)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// What service managers send.
    Terminate,
    /// The process stands still.
    Stop,
    /// It goes on.
    Continue,
}

impl Process {
    /// Starts `command` with both its outputs appended to `log`.
    pub fn start(name: &str, mut command: Command, log: &Path) -> io::Result<Process> {
        let out = File::options().create(true).append(true).open(log)?;
        command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out);
        let child = spawn(command)?;
        Ok(Process {
            child,
            name: name.to_string(),
            log: log.to_path_buf(),
        })
    }

    /// What was passed as `name`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The operating system's process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, when it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// SIGKILL, the process gets no chance to tidy up; returns when it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends a signal; the process may take its time.
    #[allow(unsafe_code)]
    pub fn signal(&self, signal: Signal) {
        let number = match signal {
            Signal::Interrupt => libc::SIGINT,
            Signal::Terminate => libc::SIGTERM,
            Signal::Stop => libc::SIGSTOP,
            Signal::Continue => libc::SIGCONT,
        };
        // SAFETY: kill(2) touches no memory of ours. The child has not been waited for (`self.child` is only reaped through `&mut
        // self`, and a reaped child is never signalled: callers hold a live `Process`), so the id cannot belong to somebody else.
        unsafe {
            libc::kill(self.child.id() as libc::pid_t, number);
        }
    }

    /// No file of it may grow beyond so many bytes, from now on: writes that would make it grow fail with EFBIG. None: any may.
    #[cfg(target_os = "linux")]
    #[allow(unsafe_code)]
    pub fn limit_files(&self, bytes_max: Option<u64>) {
        let limit = libc::rlimit {
            rlim_cur: bytes_max.unwrap_or(libc::RLIM_INFINITY),
            rlim_max: libc::RLIM_INFINITY,
        };
        // SAFETY: `limit` lives through the call, which only reads it; the old limit is not asked for. For the process id see `signal`.
        let done = unsafe {
            let child = self.child.id() as libc::pid_t;
            libc::prlimit(child, libc::RLIMIT_FSIZE, &limit, std::ptr::null_mut())
        };
        assert_eq!(done, 0, "{}", io::Error::last_os_error());
    }

    /// Waits until it ended by itself; `None` when it had not within `limit`.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + limit;
        loop {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            if Instant::now() >= until {
                return None;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Everything it wrote so far.
    pub fn output(&self) -> String {
        std::fs::read(&self.log)
            .map(|b| String::from_utf8_lossy(&b).into_owned())
            .unwrap_or_default()
    }

    /// The last lines it wrote, headed by its name: what a failing test prints.
    pub fn tail(&self) -> String {
        let all = self.output();
        let lines: Vec<&str> = all.lines().collect();
        let from = lines.len().saturating_sub(40);
        format!(
            "--- {} (last {} lines)\n{}\n",
            self.name,
            lines.len() - from,
            lines[from..].join("\n")
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A `Command` for `program` with none of this project's variables inherited, so that a developer's shell cannot change a test;
/// `MIROIR_DRIVER` alone is meant to.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if (text.starts_with("MIROIR_") && text != "MIROIR_DRIVER") || text.starts_with("MEILI_") {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs a program to its end and returns (exit code, both outputs together).
pub fn run(mut command: Command, limit: Duration) -> io::Result<(Option<i32>, String)> {
    let dir = tempfile::tempdir()?;
    let log = dir.path().join("output");
    command.env("NO_COLOR", "1");
    let mut process = Process::start("run", command, &log)?;
    let status = process.wait(limit);
    let code = status.and_then(|s| s.code());
    Ok((code, process.output()))
}

type Order = (Command, Sender<io::Result<Child>>);

fn spawn(command: Command) -> io::Result<Child> {
    static STARTER: OnceLock<Mutex<Sender<Order>>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (orders, inbox) = channel::<Order>();
        std::thread::Builder::new()
            .name("starter".into())
            .spawn(move || {
                for (mut command, reply) in inbox {
                    let _ = reply.send(die_with_parent(&mut command).spawn());
                }
            })
            .expect("a thread can be started");
        Mutex::new(orders)
    });
    let (reply, answer) = channel();
    let orders = starter.lock().unwrap_or_else(|e| e.into_inner()).clone();
    orders.send((command, reply)).map_err(io::Error::other)?;
    answer.recv().map_err(io::Error::other)?
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn die_with_parent(command: &mut Command) -> &mut Command {
    let parent = std::process::id();
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; prctl, getppid and signal are plain system calls, and
    // building an `io::Error` from a code allocates nothing.
    unsafe {
        command.pre_exec(move || {
            // A file that may not grow (`Process::limit_files`) is an error to deal with, not a reason to be killed.
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == -1 {
                return Err(io::Error::last_os_error());
            }
            // the parent may have died before the request was made: then nobody would ever send the signal
            if libc::getppid() as u32 != parent {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            Ok(())
        })
    }
}

#[cfg(not(target_os = "linux"))]
fn die_with_parent(command: &mut Command) -> &mut Command {
    command
}
