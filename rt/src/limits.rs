//! The process limits that a server runs into: open files and, on old kernels, locked memory.

use nix::sys::resource::{getrlimit, setrlimit, Resource};

/// Soft limits of this process; `u64::MAX` means unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResourceLimits {
    /// RLIMIT_NOFILE: open descriptors, so connections.
    pub open_files: u64,
    /// RLIMIT_MEMLOCK: before Linux 5.12 the memory of rings counts against it.
    pub locked_memory_bytes: u64,
}

impl ResourceLimits {
    /// Reads the limits; one that cannot be read counts as unlimited, so that nobody is warned without cause.
    pub fn read() -> Self {
        let soft = |resource| getrlimit(resource).map_or(u64::MAX, |(soft, _)| soft);
        ResourceLimits {
            open_files: soft(Resource::RLIMIT_NOFILE),
            locked_memory_bytes: soft(Resource::RLIMIT_MEMLOCK),
        }
    }
}

/// Raises the soft limit of open files to the hard one and returns what holds now.
///
/// Shells start programs with a soft limit of 1024 for the sake of `select(2)`, which nothing here uses.
pub fn raise_open_files() -> u64 {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        if soft < hard {
            if let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
                tracing::warn!(%error, soft, hard, "could not raise the limit of open files");
            }
        }
    }
    ResourceLimits::read().open_files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_files_are_raised_to_the_hard_limit() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(raise_open_files(), hard);
    }
}
