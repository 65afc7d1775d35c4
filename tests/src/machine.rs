//! What some tests need of the machine: mounts of their own, and how busy it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How many processes wanted a processor in the last minute for each one that there is; 1 where there was one for everybody. What
/// takes a second on a quiet machine takes so many.
pub fn times_busier_than_it_can_be() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").expect("Linux says its load");
    let load: f64 = text.split(' ').next().and_then(|load| load.parse().ok()).expect("a number");
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    (load / processors as f64).max(1.0)
}

/// A mount that is taken away again when the test ends, however it ends.
#[derive(Debug)]
pub struct Mount {
    target: PathBuf,
}

impl Mount {
    /// A small file system in memory.
    pub fn tmpfs(target: &Path, bytes: u64) -> Result<Self, String> {
        fs::create_dir_all(target).map_err(|error| error.to_string())?;
        mount(&["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"], target)?;
        Ok(Self { target: target.to_owned() })
    }

    /// The folder itself, read-only.
    pub fn read_only(target: &Path) -> Result<Self, String> {
        fs::create_dir_all(target).map_err(|error| error.to_string())?;
        mount(&["--bind", &target.to_string_lossy()], target)?;
        let mounted = Self { target: target.to_owned() };
        mount(&["-o", "remount,bind,ro"], target)?;
        Ok(mounted)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: a process that still has a file open there must not keep the mount for ever.
        let done = Command::new("umount").arg("-l").arg(&self.target).status();
        if !done.is_ok_and(|status| status.success()) {
            eprintln!("{} stays mounted", self.target.display());
        }
    }
}

fn mount(arguments: &[&str], target: &Path) -> Result<(), String> {
    let output = Command::new("mount").args(arguments).arg(target).output().map_err(|error| format!("mount: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
}
