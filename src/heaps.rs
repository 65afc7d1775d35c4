//! How many heaps the C library's allocator keeps.
//!
//! glibc gives threads heaps of their own, up to eight a core, and memory that one thread frees is not used by another. Batches are
//! made on one thread and freed on another, so more heaps keep more: a first import of a million records reached 249 MB with sixteen,
//! 231 with eight and 222 with four, each step for 1 % of CPU; more cores would keep more. The number is read once, at the start of a
//! process, from the environment; so the process starts itself anew with it set. Another C library ignores it. If that fails the
//! program goes on, only larger.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What glibc reads.
const VARIABLE: &str = "MALLOC_ARENA_MAX";

/// Threads take turns at so many heaps: with fewer they wait for each other, more keep more.
const HEAPS: &str = "4";

/// Starts this program anew with few heaps, in the same process; returns when that is so already, or cannot be.
pub(crate) fn keep_few() {
    if !cfg!(all(target_os = "linux", target_env = "gnu")) || std::env::var_os(VARIABLE).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| OsString::from("tidemark"));
    // Comes back only when it failed.
    let _failed = Command::new(program).arg0(name).args(arguments).env(VARIABLE, HEAPS).exec();
}
