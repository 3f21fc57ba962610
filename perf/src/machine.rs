//! What a figure was measured on, since a figure without it says nothing.

use std::fs;

/// Processor, cores and kernel, as far as the system tells.
pub fn describe() -> String {
    let processor = fs::read_to_string("/proc/cpuinfo").ok().and_then(|info| {
        let line = info.lines().find(|line| line.starts_with("model name"))?;
        line.split_once(':').map(|(_, name)| name.trim().to_owned())
    });
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease");
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    format!(
        "{}, {cores} cores, {} {} {}",
        processor.as_deref().unwrap_or("unknown processor"),
        std::env::consts::OS,
        kernel.as_deref().unwrap_or("").trim(),
        std::env::consts::ARCH,
    )
}
