//! The faults of the log in memory are what a simulation asked for.

use std::sync::{Arc, Mutex};

use tidemark_log::memory::{Fault, MemoryLog, MemoryOptions, Operation};
use tidemark_log::{Append, Log, LogError, ReadLimit, Retention, TopicSpec};

const ALL: ReadLimit = ReadLimit { records_max: 100, bytes_max: 1 << 20 };

fn one() -> Append {
    let mut append = Append::default();
    append.record(&"t".into(), 0, b"k", |out| out.push(1));
    append
}

#[tokio::test]
async fn faults_come_before_or_after_the_effect() {
    let plan = Arc::new(Mutex::new(vec![Fault::After, Fault::Before, Fault::None]));
    let hook = Arc::clone(&plan);
    let log = MemoryLog::new(MemoryOptions {
        fault: Arc::new(move |operation| match operation {
            Operation::Append(append) if append.len() == 1 => hook.lock().unwrap().pop().unwrap_or(Fault::None),
            _ => Fault::None,
        }),
        ..MemoryOptions::default()
    });
    log.create_topics(&[TopicSpec { name: "t".to_owned(), partitions: 1, retention: Retention::Keep }]).await.unwrap();
    let mut appended = log.appended();
    assert_eq!(log.append(one()).await.unwrap(), [0]);
    assert!(appended.has_changed().unwrap());
    appended.mark_unchanged();

    assert!(matches!(log.append(one()).await, Err(LogError::Unavailable { .. })));
    assert_eq!(log.read("t", 0, 0, ALL).await.unwrap().len(), 1, "before: nothing was left");
    assert!(!appended.has_changed().unwrap());

    assert!(matches!(log.append(one()).await, Err(LogError::Unavailable { .. })));
    assert_eq!(log.read("t", 0, 0, ALL).await.unwrap().len(), 2, "after: it is there");
    assert!(appended.has_changed().unwrap());
}
