//! The loop around every stage: run it until it fails, show why, wait, run it again.

use async_trait::async_trait;
use tidemark_log::Membership;

use super::Pipeline;
use super::failure::Failure;
use super::membership;
use super::report::Reporter;
use super::retry::{Retry, wait};
use super::schemas;

/// Something that runs until shutdown or until it fails.
#[async_trait]
pub(crate) trait Stage: Send {
    /// Opens and runs. `Ok` = shutdown, between two batches. Called again after every failure.
    async fn run(&mut self, session: &mut Session) -> Result<(), Failure>;

    /// Its place among the workers of its name, once it has one.
    fn membership(&self) -> Option<&dyn Membership> {
        None
    }
}

/// What a running stage is given: its reporter, and a way to say that something worked.
pub(crate) struct Session {
    pub(crate) report: Reporter,
    worked: bool,
}

impl Session {
    /// A batch was committed, or there was nothing to do: the next failure is a new one.
    pub(crate) fn worked(&mut self) {
        if !self.worked {
            self.worked = true;
            self.report.running();
        }
    }

    /// There is nothing to do: the stage stands at the end of all its topics.
    pub(crate) fn quiet(&mut self) {
        self.worked();
        self.report.quiet();
    }

    /// Whether something worked.
    pub(crate) fn has_worked(&self) -> bool {
        self.worked
    }

    /// The session of a unit of this stage that works on one partition number.
    pub(crate) fn of_partition(&self, number: u32) -> Self {
        Self { report: self.report.of_partition(number), worked: false }
    }
}

/// Runs the stage until shutdown, or until another process has taken over.
pub(super) async fn run(pipeline: &Pipeline, name: &str, mut stage: impl Stage) {
    let mut retry = Retry::new(name);
    let mut session = Session { report: Reporter::new(&pipeline.board, name), worked: false };
    while !pipeline.shutdown.is_cancelled() {
        session.worked = false;
        // A stage may write, so nothing runs before the log knows by which schemas; a registry that is away is waited for here.
        let ended = match schemas::declare(&*pipeline.log, &pipeline.topics, &pipeline.catalog).await {
            Ok(()) => stage.run(&mut session).await,
            Err(error) => Err(error.into()),
        };
        let Err(failure) = ended else { break };
        if session.worked {
            retry.succeeded();
        }
        let pause = retry.pause(failure.class);
        session.report.degraded(&failure, pause);
        session.report.lag_while_down(&*pipeline.log).await;
        match pause {
            None => return,
            Some(pause) => {
                let goes_on = tokio::select! {
                    goes_on = wait(pause, &pipeline.shutdown) => goes_on,
                    () = membership::hold_nothing(stage.membership()) => true,
                };
                if !goes_on {
                    break;
                }
            }
        }
    }
    session.report.stopped();
}
