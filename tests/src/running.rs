//! A running `tidemark`: signals, waiting for its end, its HTTP side, its memory and CPU. Killed when dropped.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// The process.
#[derive(Debug)]
pub struct Running {
    child: Child,
    output: PathBuf,
}

/// What a process has used so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// User and system time.
    pub cpu: Duration,
    /// Highest resident set, bytes: of this program alone, the kernel starts it anew at `exec`.
    pub peak_bytes: u64,
}

impl Running {
    pub(crate) fn start(mut command: Command, data: &Path) -> Self {
        // One file a process, outside the data folder, so that nothing that is compared holds it.
        let output = data.with_extension(format!("{}.out", next_number()));
        fs::create_dir_all(data).expect("the data folder");
        let file = File::create(&output).expect("a file beside the data folder");
        command.stdout(file.try_clone().expect("a second handle")).stderr(file);
        Self { child: command.spawn().expect("the binary starts"), output }
    }

    /// Standard output and standard error so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended, and how.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our own child")
    }

    /// Waits for its end.
    pub fn wait(&mut self, patience: Duration) -> ExitStatus {
        let child = &mut self.child;
        wait::until("the process to end", patience, || child.try_wait().expect("our own child"))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(self.child.id().cast_signed()).expect("a process id is not zero");
        // It may have ended by itself a moment ago: that is for the caller to find out.
        let _ = kill_process(id, signal);
    }

    /// Ctrl-C.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// `kill -9`, and reaps it.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.child.wait().expect("our own child");
    }

    /// CPU and memory so far, from `/proc`.
    pub fn usage(&self) -> Usage {
        usage_of(self.child.id())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            self.kill();
        }
        if std::thread::panicking() {
            eprintln!("--- output of the process ---\n{}", self.output());
        }
        let _ = fs::remove_file(&self.output);
    }
}

/// CPU and memory of a running process so far, from `/proc`.
///
/// # Panics
/// When there is no such process.
pub fn usage_of(process: u32) -> Usage {
    let fields = stat(process).expect("a running process");
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("a running process");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a running process has memory");
    let kilobytes: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    Usage { cpu: ticks(&fields, &[11, 12]), peak_bytes: kilobytes * 1024 }
}

/// CPU time so far of a process and all that come from it, those that have ended included.
pub fn family_cpu(process: u32) -> Duration {
    let all: Vec<(u32, Vec<String>)> = fs::read_dir("/proc")
        .expect("Linux lists its processes")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|id| Some((id, stat(id)?)))
        .collect();
    let mut family = vec![process];
    let mut looked_at = 0;
    while looked_at < family.len() {
        let parent = family[looked_at].to_string();
        family.extend(all.iter().filter(|(_, fields)| fields[1] == parent).map(|(id, _)| *id));
        looked_at += 1;
    }
    // Their own times, and those of children that were waited for.
    all.iter().filter(|(id, _)| family.contains(id)).map(|(_, fields)| ticks(fields, &[11, 12, 13, 14])).sum()
}

/// The fields of `/proc/<id>/stat` after the name; `None` for a process that is gone.
fn stat(process: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let fields = text.rsplit_once(") ")?.1;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

/// The sum of these fields, which count time.
fn ticks(fields: &[String], which: &[usize]) -> Duration {
    /// Linux counts CPU time in hundredths of a second for every program.
    const TICK: Duration = Duration::from_millis(10);
    let ticks: u32 = which.iter().map(|index| fields[*index].parse::<u32>().expect("ticks")).sum();
    TICK * ticks
}

fn next_number() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// `GET path` on a local port: status and body; `None` when nobody answers.
pub fn http_get(port: u16, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let status = text.split(' ').nth(1)?.parse().ok()?;
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Some((status, body.to_owned()))
}

/// The value of a metric's first line that holds all of `labels`.
pub fn metric(port: u16, name: &str, labels: &[&str]) -> Option<f64> {
    let (_, body) = http_get(port, "/metrics")?;
    let line = body.lines().find(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)))?;
    line.rsplit(' ').next()?.parse().ok()
}
