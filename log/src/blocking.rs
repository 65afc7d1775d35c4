//! Work that waits, off the async threads.

use crate::LogError;

/// Runs work that waits for the disk or the broker. `step` names the work in the error where it panics.
pub(crate) async fn blocking<T: Send + 'static>(
    step: &'static str,
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(LogError::Fatal { step: step.to_owned(), cause: Box::new(error) }),
    }
}
