//! Which reactor runs: probed once, by doing what a core will do.
//!
//! Asking the kernel for its version proves nothing: Docker's default seccomp profile answers EPERM to
//! `io_uring_setup`, old kernels lack operations, and before 5.12 ring memory counts against RLIMIT_MEMLOCK. So the
//! probe builds a ring of the size that cores use and falls back to epoll when that fails.

use std::fmt;
use std::str::FromStr;

use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};

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

pub(crate) fn build(driver: Driver) -> std::io::Result<Runtime> {
    Ok(match driver {
        Driver::IoUring => RuntimeBuilder::<IoUringDriver>::new()
            .with_entries(RING_ENTRIES)
            .enable_timer()
            .build()?
            .into(),
        Driver::Epoll => RuntimeBuilder::<LegacyDriver>::new()
            .enable_timer()
            .build()?
            .into(),
    })
}

fn try_ring() -> Result<(), String> {
    match build(Driver::IoUring) {
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
