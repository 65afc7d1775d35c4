//! `dead-letters list | show | redrive | discard`.

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use tidemark_pipelines::dead_letters::{self, DeadLetter, LetterStatus, Redrive};
use tidemark_sink_core::report::told;
use uuid::Uuid;

use crate::arguments::{Chosen, Common, DeadLetters};
use crate::commands::print_line;
use crate::exit::Exit;
use crate::workplace::Workplace;

/// Runs it.
pub(crate) async fn run(common: &Common, command: &DeadLetters) -> Result<Exit> {
    let workplace = Workplace::load(common)?;
    let log = workplace.open_existing_log().await?.log;
    let topics = &workplace.topics;
    match command {
        DeadLetters::List { json } => {
            for letter in dead_letters::list(&*log, topics).await? {
                print_line(&if *json { serde_json::to_string(&letter)? } else { line_of(&letter) })?;
            }
        }
        DeadLetters::Show { id, json } => {
            let letter = dead_letters::show(&*log, topics, *id).await?;
            if *json {
                print_line(&serde_json::to_string(&letter)?)?;
            } else {
                print_line(&line_of(&letter))?;
                print_line(&format!("tried {} times, now {}", letter.attempts, word_of(letter.status)))?;
                print_line(letter.payload.as_deref().unwrap_or("its bytes stand on its topic only"))?;
            }
        }
        DeadLetters::Redrive(chosen) => {
            let mut failed = 0;
            for ids in ids_of(chosen, &dead_letters::list(&*log, topics).await?).chunks(dead_letters::LETTERS_MAX) {
                let now = Timestamp::now().as_microsecond();
                let redriven = dead_letters::redrive(&*log, topics, &workplace.catalog, ids, Uuid::new_v4(), now).await;
                for (id, outcome) in redriven.context("redriving")? {
                    match outcome {
                        Ok(redrive) => print_line(&line_of_redrive(id, &redrive))?,
                        Err(error) => {
                            failed += 1;
                            print_line(&format!("{id} stays open: {}", told(&error)))?;
                        }
                    }
                }
            }
            if failed > 0 {
                bail!("{failed} dead letters were not sent on their way; the lines above say why");
            }
        }
        DeadLetters::Discard(chosen) => {
            for id in ids_of(chosen, &dead_letters::list(&*log, topics).await?) {
                dead_letters::discard(&*log, topics, id).await.with_context(|| format!("discarding {id}"))?;
                print_line(&format!("{id} is discarded"))?;
            }
        }
    }
    Ok(Exit::Done)
}

fn line_of_redrive(id: Uuid, redrive: &Redrive) -> String {
    let (topic, partition, offset) = &redrive.published;
    let warning = if redrive.changed_since { "; the key has changed since: look whether that is right" } else { "" };
    format!("{id} is on its way again as {topic}/{partition} offset {offset}{warning}")
}

fn ids_of(chosen: &Chosen, open: &[DeadLetter]) -> Vec<Uuid> {
    if chosen.all { open.iter().map(|letter| letter.id).collect() } else { chosen.ids.clone() }
}

fn line_of(letter: &DeadLetter) -> String {
    let DeadLetter { id, stage, topic, partition, offset, key, reason, detail, .. } = letter;
    format!("{id}  {stage}  {topic}/{partition} offset {offset}  {key}  {reason}: {detail}")
}

fn word_of(status: LetterStatus) -> &'static str {
    match status {
        LetterStatus::Open => "open",
        LetterStatus::Redriven => "redriven",
        LetterStatus::Discarded => "discarded",
    }
}
