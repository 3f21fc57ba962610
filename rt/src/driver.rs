//! Which reactor runs: probed once, by doing what a core will do.
//!
//! Asking the kernel for its version proves nothing: Docker's default seccomp profile answers EPERM to
//! `io_uring_setup`, old kernels lack operations, and before 5.12 ring memory counts against RLIMIT_MEMLOCK. So the
//! probe builds a ring of the size that cores use and falls back to epoll when that fails.

use std::fmt;
use std::str::FromStr;

use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};
use nix::libc::EINVAL;

use crate::limits::ResourceLimits;
use crate::Error;

/// What the operator asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriverChoice {
    /// io_uring where it works, else epoll.
    #[default]
    Auto,
    /// io_uring or an error.
    IoUring,
    /// epoll, even where io_uring works.
    Epoll,
}

impl DriverChoice {
    /// The environment variable that names the driver.
    pub const ENV: &'static str = "MIROIR_DRIVER";

    /// Reads `MIROIR_DRIVER`; unset or empty means [`DriverChoice::Auto`].
    ///
    /// # Errors
    /// [`Error::UnknownDriver`] for any other word than `auto`, `io_uring`, `epoll`.
    pub fn from_env() -> Result<Self, Error> {
        match std::env::var(Self::ENV) {
            Ok(name) if !name.is_empty() => name.parse(),
            _ => Ok(DriverChoice::Auto),
        }
    }
}

impl FromStr for DriverChoice {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "auto" => Ok(DriverChoice::Auto),
            "io_uring" | "io-uring" | "iouring" => Ok(DriverChoice::IoUring),
            "epoll" => Ok(DriverChoice::Epoll),
            other => Err(Error::UnknownDriver(other.to_owned())),
        }
    }
}

/// The reactor that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    IoUring,
    Epoll,
}

impl Driver {
    /// The name as `MIROIR_DRIVER`, logs and metrics spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Driver::IoUring => "io_uring",
            Driver::Epoll => "epoll",
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Decides which driver runs and says why, in words for the log.
///
/// # Errors
/// [`Error::NoIoUring`] when io_uring was demanded and a ring cannot be built.
pub fn probe(choice: DriverChoice) -> Result<(Driver, String), Error> {
    if choice == DriverChoice::Epoll {
        return Ok((Driver::Epoll, "asked for".to_owned()));
    }
    match try_ring() {
        Ok(()) if choice == DriverChoice::IoUring => Ok((Driver::IoUring, "asked for".to_owned())),
        Ok(()) => Ok((Driver::IoUring, "a ring could be built".to_owned())),
        Err(reason) if choice == DriverChoice::IoUring => Err(Error::NoIoUring(reason)),
        Err(reason) => Ok((Driver::Epoll, format!("no io_uring: {reason}"))),
    }
}

/// Every driver that can run on this machine, for tests that force each in turn.
pub fn usable_drivers() -> Vec<DriverChoice> {
    let mut drivers = vec![DriverChoice::Epoll];
    match try_ring() {
        Ok(()) => drivers.push(DriverChoice::IoUring),
        Err(reason) => tracing::warn!(reason, "io_uring cannot be tested here"),
    }
    drivers
}

/// A runtime on either driver; monoio's own fusion type, built by our choice instead of by its detection.
pub(crate) type Runtime = monoio::FusionRuntime<
    monoio::time::TimeDriver<IoUringDriver>,
    monoio::time::TimeDriver<LegacyDriver>,
>;

/// Submission entries of a core's ring; the completion queue has twice as many.
const RING_ENTRIES: u32 = 1024;

/// How cores' rings are set up: `IORING_SETUP_*` (io_uring_setup(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingFlags {
    /// Completions do not interrupt the core; it comes to them when it next enters the kernel. Linux 5.19.
    pub coop_taskrun: bool,
    /// Only the core's own thread submits. Linux 6.0.
    pub single_issuer: bool,
    /// Completions are prepared only when the core asks for them; needs `single_issuer`. Linux 6.1.
    pub defer_taskrun: bool,
}

impl RingFlags {
    pub const NONE: RingFlags = RingFlags {
        coop_taskrun: false,
        single_issuer: false,
        defer_taskrun: false,
    };

    /// The flags of these names.
    ///
    /// # Errors
    /// What is wrong with them, to be shown.
    pub fn of(names: &[String]) -> Result<Self, String> {
        let mut flags = RingFlags::NONE;
        for name in names {
            match name.as_str() {
                "coop_taskrun" => flags.coop_taskrun = true,
                "single_issuer" => flags.single_issuer = true,
                "defer_taskrun" => flags.defer_taskrun = true,
                other => {
                    return Err(format!(
                    "`{other}` is no flag; there are coop_taskrun, single_issuer and defer_taskrun"
                ))
                }
            }
        }
        match flags.defer_taskrun && !flags.single_issuer {
            true => Err("defer_taskrun needs single_issuer".to_owned()),
            false => Ok(flags),
        }
    }
}

impl Default for RingFlags {
    /// What costs nothing; a bare relay needed 4 to 7 % less CPU with them (docs/performance.md, "Options").
    fn default() -> Self {
        RingFlags {
            coop_taskrun: true,
            single_issuer: true,
            defer_taskrun: false,
        }
    }
}

/// A runtime on the calling thread. A kernel that does not know the flags gives a ring without them.
pub(crate) fn build(driver: Driver, flags: RingFlags) -> std::io::Result<Runtime> {
    let unknown = |error: &std::io::Error| error.raw_os_error() == Some(EINVAL);
    Ok(match driver {
        Driver::IoUring => match ring(flags) {
            Err(error) if flags != RingFlags::NONE && unknown(&error) => ring(RingFlags::NONE)?,
            built => built?,
        },
        Driver::Epoll => RuntimeBuilder::<LegacyDriver>::new()
            .enable_timer()
            .build()?
            .into(),
    })
}

fn ring(flags: RingFlags) -> std::io::Result<Runtime> {
    let mut setup = io_uring::IoUring::builder();
    if flags.coop_taskrun {
        setup.setup_coop_taskrun();
    }
    if flags.single_issuer {
        setup.setup_single_issuer();
    }
    if flags.defer_taskrun {
        setup.setup_defer_taskrun();
    }
    let builder = RuntimeBuilder::<IoUringDriver>::new()
        .with_entries(RING_ENTRIES)
        .uring_builder(setup);
    Ok(builder.enable_timer().build()?.into())
}

fn try_ring() -> Result<(), String> {
    match build(Driver::IoUring, RingFlags::default()) {
        // Nothing was submitted to this ring, so dropping it is safe.
        Ok(runtime) => drop(runtime),
        Err(error) => return Err(explain(&error)),
    }
    if monoio::utils::detect_uring() {
        Ok(())
    } else {
        Err(
            "the kernel lacks operations that the reactor needs (Linux 5.6 or newer has them)"
                .to_owned(),
        )
    }
}

fn explain(error: &std::io::Error) -> String {
    let limits = ResourceLimits::read();
    match error.kind() {
        std::io::ErrorKind::OutOfMemory => {
            format!(
                "{error}; RLIMIT_MEMLOCK is {} bytes, raise it (ulimit -l)",
                limits.locked_memory_bytes
            )
        }
        std::io::ErrorKind::PermissionDenied => {
            format!("{error}; a seccomp profile or kernel.io_uring_disabled forbids it")
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_and_others_are_refused() {
        assert_eq!("auto".parse::<DriverChoice>().unwrap(), DriverChoice::Auto);
        assert_eq!(
            "io_uring".parse::<DriverChoice>().unwrap(),
            DriverChoice::IoUring
        );
        assert_eq!(
            "epoll".parse::<DriverChoice>().unwrap(),
            DriverChoice::Epoll
        );
        assert!(
            matches!("kqueue".parse::<DriverChoice>(), Err(Error::UnknownDriver(name)) if name == "kqueue")
        );
    }

    #[test]
    fn flags_are_named_as_the_kernel_names_them() {
        let of = |names: &[&str]| {
            RingFlags::of(
                &names
                    .iter()
                    .map(|name| (*name).to_owned())
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(of(&[]), Ok(RingFlags::NONE));
        assert_eq!(
            of(&["coop_taskrun", "single_issuer"]),
            Ok(RingFlags::default())
        );
        assert!(of(&["defer_taskrun"])
            .unwrap_err()
            .contains("single_issuer"));
        assert!(of(&["sqpoll"]).unwrap_err().contains("coop_taskrun"));
    }

    #[test]
    fn epoll_is_always_to_be_had() {
        let (driver, why) = probe(DriverChoice::Epoll).unwrap();
        assert_eq!((driver, why.as_str()), (Driver::Epoll, "asked for"));
    }

    #[test]
    fn auto_agrees_with_what_can_be_built() {
        let (driver, why) = probe(DriverChoice::Auto).unwrap();
        assert_eq!(driver == Driver::IoUring, try_ring().is_ok(), "{why}");
        assert!(!why.is_empty());
    }
}
