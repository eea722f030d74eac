//! Time and randomness that are the simulation's: for one thread of this program the C library's clock is tokio's paused one,
//! and its random numbers come from the seed.
//!
//! libp2p and the crates under it read the system's clock and random numbers by themselves. The functions here take the places
//! of the C library's in this program alone; other threads, and this one outside a simulation, get the system's own. What asks
//! the kernel directly, as QUIC's and TLS's cryptography does, is not caught, so that neither can be simulated.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_long, c_uint, c_void};
use std::time::Duration;

use crate::random::Random;

/// What a simulated clock says at the start: some day in 2026. Far from zero, since programs subtract from clocks.
const EPOCH: Duration = Duration::from_secs(1_780_000_000);

thread_local! {
    static SEEDED: RefCell<Option<Random>> = const { RefCell::new(None) };
    static CLOCK: Cell<Option<tokio::time::Instant>> = const { Cell::new(None) };
    /// Reading tokio's clock may read the system's: that one is the real one.
    static READING: Cell<bool> = const { Cell::new(false) };
}

/// Takes this thread's random numbers from a seed from now on. Before anything on it has asked for one.
pub fn seed(seed: u64) {
    SEEDED.with_borrow_mut(|seeded| *seeded = Some(Random::new(seed, "the system's random numbers")));
}

/// Takes this thread's clock from tokio's, which must be paused and must have begun.
pub fn start_clock() {
    CLOCK.set(Some(tokio::time::Instant::now()));
}

/// Gives this thread the system's clock back.
pub fn stop_clock() {
    CLOCK.set(None);
}

/// The system's own clock, for what a run costs: time since some moment in the past.
pub fn real_now() -> Duration {
    let mut spec = Timespec { seconds: 0, nanos: 0 };
    const MONOTONIC: c_long = 1;
    // SAFETY: `spec` is room for a `timespec`.
    let failed = unsafe { syscall(CLOCK_GETTIME, MONOTONIC, std::ptr::from_mut(&mut spec)) };
    if failed != 0 { Duration::ZERO } else { Duration::new(spec.seconds as u64, spec.nanos as u32) }
}

fn virtual_now() -> Option<Duration> {
    let start = CLOCK.try_with(Cell::get).ok().flatten()?;
    if READING.replace(true) {
        return None;
    }
    let now = tokio::time::Instant::now().duration_since(start);
    READING.set(false);
    Some(EPOCH + now)
}

#[repr(C)]
struct Timespec {
    seconds: i64,
    nanos: i64,
}

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
}

#[cfg(target_arch = "x86_64")]
const CLOCK_GETTIME: c_long = 228;
#[cfg(target_arch = "x86_64")]
const GETRANDOM: c_long = 318;
#[cfg(target_arch = "aarch64")]
const CLOCK_GETTIME: c_long = 113;
#[cfg(target_arch = "aarch64")]
const GETRANDOM: c_long = 278;

/// The C library's function of this name.
///
/// # Safety
/// As for the C library's: `time` points to where a `timespec` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: c_int, time: *mut c_void) -> c_int {
    match virtual_now() {
        Some(now) if !time.is_null() => {
            let spec = Timespec { seconds: now.as_secs() as i64, nanos: i64::from(now.subsec_nanos()) };
            // SAFETY: the caller gives room for a `timespec`, and it is not null.
            unsafe { time.cast::<Timespec>().write(spec) };
            0
        }
        // SAFETY: the same arguments as the C library's function would pass on.
        _ => unsafe { syscall(CLOCK_GETTIME, c_long::from(clock), time) as c_int },
    }
}

fn fill(buffer: *mut c_void, length: usize) -> bool {
    let filled = SEEDED.try_with(|seeded| {
        let mut seeded = seeded.try_borrow_mut().ok()?;
        let random = seeded.as_mut()?;
        if length > 0 {
            // SAFETY: the caller gives room for `length` bytes; any bytes are sound there.
            random.fill(unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length) });
        }
        Some(())
    });
    filled.ok().flatten().is_some()
}

/// The C library's function of this name.
///
/// # Safety
/// As for the C library's: `buffer` has room for `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, flags: c_uint) -> isize {
    if fill(buffer, length) {
        return length as isize;
    }
    // SAFETY: the same arguments as the C library's function would pass on.
    unsafe { syscall(GETRANDOM, buffer, length, c_long::from(flags)) as isize }
}

/// The C library's function of this name.
///
/// # Safety
/// As for the C library's: `buffer` has room for `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getentropy(buffer: *mut c_void, length: usize) -> c_int {
    // SAFETY: passed on.
    match unsafe { getrandom(buffer, length, 0) } {
        filled if filled == length as isize => 0,
        _ => -1,
    }
}
