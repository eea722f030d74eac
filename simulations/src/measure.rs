//! What is measured and how it is said.

use std::fs;
use std::time::Duration;

use crate::Failure;

/// The value below which `percent` of the samples lie. Zero for none.
pub fn percentile(samples: &mut [Duration], percent: f64) -> Duration {
    samples.sort_unstable();
    let last = samples.len().saturating_sub(1);
    let at = (last as f64 * percent / 100.0).round() as usize;
    samples.get(at).copied().unwrap_or_default()
}

/// A duration in milliseconds with one decimal.
pub fn ms(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

/// A duration in milliseconds, or from ten seconds on in seconds.
pub fn took(duration: Duration) -> String {
    if duration < Duration::from_secs(10) {
        format!("{:.0} ms", duration.as_secs_f64() * 1000.0)
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}

/// Resident memory of a process in bytes.
///
/// # Errors
/// If the system does not tell, as anywhere but on Linux.
pub fn resident(pid: u32) -> Result<u64, Failure> {
    Ok(memory(pid, "VmRSS:").ok_or("the system does not tell a process's memory")?)
}

/// The most that a process has had resident so far, in bytes; none where the system does not tell.
pub fn peak_resident(pid: u32) -> Option<u64> {
    memory(pid, "VmHWM:")
}

fn memory(pid: u32, field: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Bytes in MiB with one decimal.
pub fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / (1024.0 * 1024.0))
}
