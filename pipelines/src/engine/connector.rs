//! A connector as a stage: open, step until there is nothing to do, wait for its source.
//!
//! A step is never cut short; shutdown is looked at between two. After any failure the connector is opened anew, which takes a
//! new epoch and finishes what is open. It counts as mended when something came of that: a connector opens also when its next step
//! must fail, and would be tried without a pause and shown as running in between.

use async_trait::async_trait;
use tidemark_connector_core::port::ConnectorCounts;
use tidemark_connector_core::{Connector, Step};

use super::Pipeline;
use super::failure::Failure;
use super::report::Reporter;
use super::supervise::{Session, Stage};

pub(super) struct ConnectorStage<'p> {
    pipeline: &'p Pipeline,
    connector: Box<dyn Connector>,
    /// What the board was told of the present opening.
    told: ConnectorCounts,
    /// A step failed, and nothing came of any since.
    failing: bool,
}

impl<'p> ConnectorStage<'p> {
    pub(super) fn new(pipeline: &'p Pipeline, connector: Box<dyn Connector>) -> Self {
        Self { pipeline, connector, told: ConnectorCounts::default(), failing: false }
    }

    fn report(&mut self, report: &Reporter) {
        let counts = self.connector.counts();
        let told = std::mem::replace(&mut self.told, counts);
        report.count(
            counts.read.saturating_sub(told.read),
            counts.published.saturating_sub(told.published),
            counts.rejected.saturating_sub(told.rejected),
        );
    }
}

#[async_trait]
impl Stage for ConnectorStage<'_> {
    async fn run(&mut self, session: &mut Session) -> Result<(), Failure> {
        self.connector.open().await?;
        self.told = ConnectorCounts::default();
        if !self.failing {
            session.worked();
        }
        loop {
            if self.pipeline.shutdown.is_cancelled() {
                return Ok(());
            }
            let before = self.told;
            let step = self.connector.step().await;
            self.report(&session.report);
            self.failing = match &step {
                Ok(Step::Progress) => self.failing && self.told == before,
                Ok(_) => false,
                Err(_) => true,
            };
            let step = step?;
            if !self.failing {
                session.worked();
            }
            session.report.update(|line| line.quiet = step == Step::Quiet);
            if step == Step::Progress {
                continue;
            }
            tokio::select! {
                biased;
                () = self.pipeline.shutdown.cancelled() => return Ok(()),
                () = self.connector.wait() => {}
            }
        }
    }
}
