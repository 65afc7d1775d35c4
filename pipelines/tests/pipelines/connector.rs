//! A connector as a stage, when its steps fail.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tidemark_connector_core::port::ConnectorCounts;
use tidemark_connector_core::{Connector, ConnectorError, Step};
use tokio::time::Instant;

use crate::place::{Place, degraded};

/// Steps that fail, each behind one that says that it got on and after which nothing is there.
const FAILURES: usize = 12;

/// Opens always, and goes round in circles for a while.
struct Circling {
    failed_at: Arc<Mutex<Vec<Instant>>>,
    moves: bool,
}

#[async_trait]
impl Connector for Circling {
    fn source(&self) -> &str {
        "circling"
    }

    async fn open(&mut self) -> Result<(), ConnectorError> {
        self.moves = true;
        Ok(())
    }

    async fn step(&mut self) -> Result<Step, ConnectorError> {
        if std::mem::take(&mut self.moves) {
            return Ok(Step::Progress);
        }
        let mut failed_at = self.failed_at.lock().unwrap();
        if failed_at.len() == FAILURES {
            return Ok(Step::Quiet);
        }
        failed_at.push(Instant::now());
        Err(ConnectorError::Unavailable { step: "reading".to_owned(), cause: "the disk is full".into() })
    }

    async fn wait(&mut self) {
        std::future::pending::<()>().await;
    }

    fn counts(&self) -> ConnectorCounts {
        ConnectorCounts::default()
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_opens_and_fails_is_tried_less_and_less_often_and_stays_degraded() {
    let place = Place::new().await;
    let failed_at = Arc::new(Mutex::new(Vec::new()));
    let connector = Box::new(Circling { failed_at: Arc::clone(&failed_at), moves: false });
    let pipeline = place.pipeline.clone();
    let watch = async {
        place.line("connector.circling", |line| degraded(line).is_some()).await;
        place.line("connector.circling", |line| degraded(line).is_none()).await;
        assert_eq!(failed_at.lock().unwrap().len(), FAILURES, "it runs when something came of it, and no sooner");
        pipeline.shutdown.cancel();
    };
    futures::join!(pipeline.run_connector(connector), watch);
    let failed_at = failed_at.lock().unwrap();
    let pauses: Vec<_> = failed_at.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
    assert!(pauses.iter().sum::<u128>() > 8_000, "{pauses:?}");
}
