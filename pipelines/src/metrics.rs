//! Names of the metrics that the engine emits, per batch and labelled with the stage only (few values).

/// Counter: records read.
pub const RECORDS_IN: &str = "tidemark_records_in_total";
/// Counter: records applied (written, published).
pub const RECORDS_OUT: &str = "tidemark_records_out_total";
/// Counter: records rejected or refused.
pub const RECORDS_REJECTED: &str = "tidemark_rejected_total";
/// Counter: attempts that failed and were repeated.
pub const RETRIED: &str = "tidemark_retried_total";
/// Counter: dead letters written.
pub const DEAD_LETTERS: &str = "tidemark_dead_letters_total";
/// Gauge: records between a sink and the end of its topics.
pub const SINK_LAG_RECORDS: &str = "tidemark_sink_lag_records";
/// Gauge: age of the oldest record that a sink has not applied, in seconds.
pub const SINK_LAG_SECONDS: &str = "tidemark_sink_lag_seconds";
/// Histogram: records per batch.
pub const BATCH_RECORDS: &str = "tidemark_batch_records";
/// Histogram: seconds from a batch's decision or hand-over to its commit.
pub const BATCH_SECONDS: &str = "tidemark_batch_seconds";
/// Gauge: bytes that are read ahead and not applied.
pub const QUEUE_BYTES: &str = "tidemark_queue_bytes";
/// Gauge: 1 while a stage is degraded, else 0.
pub const STAGE_DEGRADED: &str = "tidemark_stage_degraded";

/// Says what each metric means, for whoever exports them. Call once after a recorder is installed.
pub fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_counter!(RECORDS_IN, Unit::Count, "records read by a stage");
    describe_counter!(RECORDS_OUT, Unit::Count, "records applied by a stage");
    describe_counter!(RECORDS_REJECTED, Unit::Count, "records rejected or refused");
    describe_counter!(RETRIED, Unit::Count, "attempts that failed and were repeated");
    describe_counter!(DEAD_LETTERS, Unit::Count, "dead letters written");
    describe_gauge!(SINK_LAG_RECORDS, Unit::Count, "records between a sink and the end of its topics");
    describe_gauge!(SINK_LAG_SECONDS, Unit::Seconds, "age of the oldest record not yet applied");
    describe_histogram!(BATCH_RECORDS, Unit::Count, "records per batch");
    describe_histogram!(BATCH_SECONDS, Unit::Seconds, "time from a batch's hand-over to its commit");
    describe_gauge!(QUEUE_BYTES, Unit::Bytes, "bytes read ahead and not applied");
    describe_gauge!(STAGE_DEGRADED, "1 while a stage is degraded");
}
