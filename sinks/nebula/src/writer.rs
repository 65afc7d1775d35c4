//! Many small pieces (values of rows, ids to look up) on their way as few statements, over several sessions.
//!
//! A statement holds at most [`STATEMENT_ROWS`] pieces and about [`STATEMENT_BYTES`] bytes. One that the server refuses because of
//! a value in it is halved until the row at fault is alone; all others are written. Nothing is sent unless this writer was seen
//! to own the partitions less than [`LEASE`] before, by a clock that goes on while the process is stopped: so a writer that slept
//! looks first, and learns that it is stale.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::time::Duration;

use tidemark_sink_core::SinkError;
use tokio::time::Instant;

use crate::client::{ClientError, Pool, Properties, Session, Statement, Value};
use crate::failure::{Class, class_of, classify, unavailable};
use crate::meta::{self, PartitionRecord, Progress};
use crate::ngql::Name;

/// Rows of one statement: the largest raft group of the server. More gains nothing; latency spikes were seen at 1,024.
pub(crate) const STATEMENT_ROWS: usize = 256;
/// Bytes of one statement with its parameters. The server refuses 4 MiB; a smaller one is held in memory several times there.
pub(crate) const STATEMENT_BYTES: usize = 512 * 1024;
/// Bytes of a statement's text that the server takes (`max_allowed_query_size`); parameters do not count.
const TEXT_BYTES_MAX: usize = 4 << 20;
/// How long a look at the owner's token is good for. A shorter one is a look more per batch; a longer one lets a writer that was
/// stopped send more before it knows.
pub(crate) const LEASE: Duration = Duration::from_secs(3);
/// Statements that are written out at a time, so that memory stays near this many times [`STATEMENT_BYTES`].
const WAVE: usize = 16;

/// A part of a statement that stands for one row.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    /// Which row.
    pub(crate) row: usize,
    pub(crate) text: String,
    pub(crate) parameters: Properties,
}

impl Piece {
    fn bytes(&self) -> usize {
        let of = |(name, value): &(Vec<u8>, Value)| name.len() + if let Value::Text(text) = value { text.len() } else { 16 };
        self.text.len() + self.parameters.iter().map(of).sum::<usize>()
    }
}

/// Pieces that may share statements: `head piece,piece,… tail`.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) head: String,
    pub(crate) pieces: Vec<Piece>,
    pub(crate) tail: String,
}

impl Work {
    fn statement(&self, range: &Range<usize>) -> Statement {
        let mut statement = Statement::from(self.head.clone());
        for (index, piece) in self.pieces[range.clone()].iter().enumerate() {
            if index > 0 {
                statement.text.push(',');
            }
            statement.text.push_str(&piece.text);
            statement.parameters.extend(piece.parameters.iter().cloned());
        }
        statement.text.push_str(&self.tail);
        statement
    }

    /// The pieces by statement.
    fn cut(&self) -> Vec<Range<usize>> {
        let mut ranges = Vec::new();
        let (mut start, mut bytes) = (0, 0);
        for (index, piece) in self.pieces.iter().enumerate() {
            let size = piece.bytes();
            if index > start && (index - start == STATEMENT_ROWS || bytes + size > STATEMENT_BYTES) {
                ranges.push(start..index);
                (start, bytes) = (index, 0);
            }
            bytes += size;
        }
        if start < self.pieces.len() {
            ranges.push(start..self.pieces.len());
        }
        ranges
    }
}

/// What came of some work.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// Rows of all replies.
    pub(crate) rows: Vec<Vec<Value>>,
    /// Rows that the server refuses, and why.
    pub(crate) refused: Vec<(usize, String)>,
}

/// Sessions, and the right to write.
pub(crate) struct Writer {
    pool: Pool,
    token: String,
    /// What is held, as it was seen last.
    held: BTreeMap<u32, PartitionRecord>,
    /// When the last look was sent.
    looked: Instant,
    /// Edge types that are there.
    edges: BTreeSet<Name>,
}

impl Writer {
    /// With what was just taken; `edges` are the edge types that are there.
    pub(crate) fn new(
        pool: Pool,
        token: String,
        held: BTreeMap<u32, PartitionRecord>,
        looked: Instant,
        edges: BTreeSet<Name>,
    ) -> Self {
        Self { pool, token, held, looked, edges }
    }

    pub(crate) fn knows_edge(&self, name: &Name) -> bool {
        self.edges.contains(name)
    }

    pub(crate) fn learn_edges(&mut self, names: Vec<Name>) {
        self.edges.extend(names);
    }

    pub(crate) fn session(&mut self) -> &mut Session {
        self.pool.first()
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// What is held.
    pub(crate) fn held(&self) -> &BTreeMap<u32, PartitionRecord> {
        &self.held
    }

    /// Looks whether these partitions are still this writer's.
    pub(crate) async fn look(&mut self, numbers: &BTreeSet<u32>) -> Result<(), SinkError> {
        let sent = Instant::now();
        let found = meta::partitions(self.pool.first(), numbers).await?;
        for number in numbers {
            meta::expect_owner(found.get(number), *number, &self.token)?;
        }
        self.held.extend(found);
        self.looked = sent;
        if sent.elapsed() >= LEASE {
            return Err(unavailable("looking whether the graph store is still ours", format!("no answer within {LEASE:?}")));
        }
        Ok(())
    }

    /// Gives partitions back, each left so.
    pub(crate) async fn give_back(&mut self, left: &BTreeMap<u32, Progress>) -> Result<(), SinkError> {
        let statements: Vec<Statement> =
            left.iter().map(|(number, progress)| meta::giving_back(*number, &self.token, progress)).collect();
        for outcome in self.pool.execute_all(&statements, Instant::now() + LEASE).await {
            match outcome {
                Some(outcome) => drop(outcome.map_err(|error| classify(error, meta::MOVING))?),
                None => return Err(unavailable(meta::MOVING, "not all partitions were given back")),
            }
        }
        Ok(())
    }

    /// Does the work, statement by statement, in any order.
    pub(crate) async fn run(&mut self, numbers: &BTreeSet<u32>, works: &[Work], step: &str) -> Result<Done, SinkError> {
        let mut queue: VecDeque<(usize, Range<usize>)> = VecDeque::new();
        let mut done = Done::default();
        for (index, work) in works.iter().enumerate() {
            for range in work.cut() {
                let first = &work.pieces[range.start];
                // Only what is alone can be so large.
                if work.head.len() + first.text.len() + work.tail.len() > TEXT_BYTES_MAX {
                    done.refused.push((first.row, "its statement would be larger than the server takes".to_owned()));
                } else {
                    queue.push_back((index, range));
                }
            }
        }
        while !queue.is_empty() {
            if self.looked.elapsed() >= LEASE {
                self.look(numbers).await?;
            }
            let wave: Vec<_> = queue.drain(..queue.len().min(WAVE)).collect();
            let statements: Vec<Statement> = wave.iter().map(|(work, range)| works[*work].statement(range)).collect();
            let outcomes = self.pool.execute_all(&statements, self.looked + LEASE).await;
            for ((work, range), outcome) in wave.into_iter().zip(outcomes) {
                match outcome {
                    None => queue.push_back((work, range)),
                    Some(Ok(reply)) => done.rows.extend(reply.rows),
                    Some(Err(ClientError::Server { code, message })) if class_of(code, &message) == Class::Poison => {
                        if range.len() == 1 {
                            done.refused.push((works[work].pieces[range.start].row, message));
                        } else {
                            let middle = range.start + range.len() / 2;
                            queue.extend([(work, range.start..middle), (work, middle..range.end)]);
                        }
                    }
                    Some(Err(error)) => return Err(classify(error, step)),
                }
            }
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::{Piece, STATEMENT_BYTES, STATEMENT_ROWS, Work};

    fn work(sizes: &[usize]) -> Work {
        let pieces = sizes.iter().enumerate().map(|(row, size)| Piece { row, text: "x".repeat(*size), ..Piece::default() });
        Work { head: "H ".to_owned(), pieces: pieces.collect(), tail: " T".to_owned() }
    }

    #[test]
    fn statements_are_bounded_by_rows_and_bytes() {
        assert!(work(&[]).cut().is_empty());
        assert_eq!(work(&[1; 2 * STATEMENT_ROWS + 1]).cut(), [0..256, 256..512, 512..513]);
        let half = STATEMENT_BYTES / 2;
        assert_eq!(work(&[half, half, 1, STATEMENT_BYTES * 3, 1]).cut(), [0..2, 2..3, 3..4, 4..5]);
    }

    #[test]
    fn a_statement_is_its_pieces_between_head_and_tail() {
        assert_eq!(work(&[1, 2, 3]).statement(&(1..3)).text, "H xx,xxx T");
    }
}
