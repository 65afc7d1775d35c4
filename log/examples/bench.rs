//! What appending to and reading from the embedded log costs: `cargo run --release -p tidemark-log --example bench [RECORDS]`.
//!
//! CPU time is that of the whole process, so the writer's thread counts too.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemark_log::embedded::{EmbeddedLog, EmbeddedOptions};
use tidemark_log::{Append, ConsumerPosition, Log, LogError, ReadLimit, Retention, TopicSpec};

const BATCH: u64 = 1_000;
const VALUE_BYTES: usize = 350;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let records: u64 = std::env::args().nth(1).map_or(Ok(500_000), |text| text.parse())?;
    let directory = tempfile::tempdir_in(std::env::current_dir()?)?;
    let log = Arc::new(EmbeddedLog::open(EmbeddedOptions::new(directory.path().join("log.db"))).await?);
    let retention = Retention::Compact;
    let topic: Arc<str> = "bench".into();
    log.create_topics(&[TopicSpec { name: topic.to_string(), partitions: 1, retention }]).await?;

    let (start, cpu) = (Instant::now(), cpu_time()?);
    let mut next = 0;
    while next < records {
        log.append(batch(&topic, next)).await?;
        next += BATCH;
    }
    report("append, one writer, batches of 1,000", records, start.elapsed(), cpu_time()? - cpu);

    let (start, cpu) = (Instant::now(), cpu_time()?);
    let mut offset = 0;
    let limit = ReadLimit { records_max: 5_000, bytes_max: 4 << 20 };
    while let Some(next) = { log.read(&topic, 0, offset, limit).await?.next_offset() } {
        offset = next;
    }
    report("read, batches of 5,000", records, start.elapsed(), cpu_time()? - cpu);

    let singles = 2_000;
    let (start, cpu) = (Instant::now(), cpu_time()?);
    let mut slowest = Duration::ZERO;
    for index in 0..singles {
        let begun = Instant::now();
        let mut append = Append::default();
        append.record(&topic, 0, b"one", |out| out.extend_from_slice(&[7; VALUE_BYTES]));
        append.position(ConsumerPosition {
            consumer: "bench".into(),
            topic: topic.to_string(),
            partition: 0,
            from: index,
            next: index + 1,
        });
        log.append(append).await?;
        slowest = slowest.max(begun.elapsed());
    }
    report("append one record and a position", singles, start.elapsed(), cpu_time()? - cpu);
    println!("{:>50} {slowest:?}", "slowest");

    let (start, cpu) = (Instant::now(), cpu_time()?);
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (log, topic) = (Arc::clone(&log), Arc::clone(&topic));
            tokio::spawn(async move {
                for index in 0..records / 8 / 100 {
                    let mut append = Append::default();
                    for record in 0..100 {
                        let key = (index * 100 + record).to_string();
                        append.record(&topic, 0, key.as_bytes(), |out| out.extend_from_slice(&[3; VALUE_BYTES]));
                    }
                    log.append(append).await?;
                }
                Ok::<_, LogError>(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    report("append, 8 writers, batches of 100", records, start.elapsed(), cpu_time()? - cpu);

    let (start, cpu) = (Instant::now(), cpu_time()?);
    let removed = log.maintain().await?;
    report("compaction, per record removed", removed.compacted.max(1), start.elapsed(), cpu_time()? - cpu);
    let (start, cpu) = (Instant::now(), cpu_time()?);
    let checked = log.check_deep().await?;
    report("deep check", checked.records, start.elapsed(), cpu_time()? - cpu);
    let (start, cpu) = (Instant::now(), cpu_time()?);
    log.backup(&directory.path().join("backup")).await?;
    report("backup", checked.records, start.elapsed(), cpu_time()? - cpu);

    for name in ["log.db", "log.db-wal"] {
        let bytes = std::fs::metadata(directory.path().join(name))?.len();
        println!("{name:>50} {:.1} MiB", bytes as f64 / 1_048_576.0);
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    println!("{:>50} {}", "peak RSS", status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default());
    Ok(())
}

fn batch(topic: &Arc<str>, first: u64) -> Append {
    let mut append = Append::default();
    for index in first..first + BATCH {
        let key = format!("CLINIC-ORD-20250101-{index:06}");
        append.record(topic, 0, key.as_bytes(), |out| out.extend_from_slice(&[b'v'; VALUE_BYTES]));
    }
    append
}

fn report(what: &str, records: u64, wall: Duration, cpu: Duration) {
    let per = |time: Duration| time.as_secs_f64() * 1e6 / records as f64;
    println!("{what:>50} {:8.2} µs wall, {:8.2} µs CPU per record ({records} records)", per(wall), per(cpu));
}

/// User and system time of the process, in ticks of 10 ms.
fn cpu_time() -> Result<Duration, Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 10))
}
