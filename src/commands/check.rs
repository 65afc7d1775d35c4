//! `check`: configuration, log, import root and each store, one line each; looks only.

use std::sync::Arc;

use anyhow::Result;
use serde_json::json;
use tidemark_log::Log;
use tidemark_log::kafka::KafkaLog;
use tidemark_pipelines::dead_letters;
use tidemark_replay::{Builds, Step};
use tidemark_sink_core::report::{ahead_of_log, grouped, told};
use tidemark_sink_core::{Role, Sink, StoreReport};

use crate::arguments::{Check, Common};
use crate::commands::print_line;
use crate::configuration::stores::LogPlace;
use crate::exit::Exit;
use crate::workplace::{OpenLog, Workplace};
use crate::{missing_log, stores};

/// One part, as found.
struct Finding {
    part: String,
    summary: String,
    problems: Vec<String>,
}

/// Runs it.
pub(crate) async fn run(common: &Common, command: &Check) -> Result<Exit> {
    let workplace = Workplace::load(common)?;
    let mut findings =
        vec![finding("configuration", "holds".to_owned(), Vec::new()), schemas(&workplace), import_root(&workplace)];
    match &workplace.configuration.log.place {
        LogPlace::Embedded(path) if !path.exists() => findings.push(missing_log(&workplace).await?),
        LogPlace::Embedded(_) | LogPlace::Kafka(_) => log_and_stores(&workplace, command.deep, &mut findings).await?,
    }
    for found in &findings {
        if command.json {
            let (part, summary, problems) = (&found.part, &found.summary, &found.problems);
            print_line(&json!({"part": part, "ok": problems.is_empty(), "summary": summary, "problems": problems}).to_string())?;
            continue;
        }
        let mark = if found.problems.is_empty() { "ok" } else { "WRONG" };
        print_line(&format!("{mark:5}  {:14} {}", found.part, found.summary))?;
        for problem in &found.problems {
            print_line(&format!("       {:14} {problem}", ""))?;
        }
    }
    Ok(if findings.iter().all(|found| found.problems.is_empty()) { Exit::Done } else { Exit::Findings })
}

fn finding(part: &str, summary: String, problems: Vec<String>) -> Finding {
    Finding { part: part.to_owned(), summary, problems }
}

fn schemas(workplace: &Workplace) -> Finding {
    let (entities, vocabularies) = (workplace.catalog.entities().len(), workplace.catalog.vocabularies().len());
    finding("schemas", format!("{entities} entities, {vocabularies} vocabularies"), Vec::new())
}

fn import_root(workplace: &Workplace) -> Finding {
    let Some(file) = &workplace.configuration.file else {
        return finding("connector.file", "switched off".to_owned(), Vec::new());
    };
    let root = file.root.display();
    match std::fs::metadata(&file.root) {
        Ok(about) if about.is_dir() => finding("connector.file", root.to_string(), Vec::new()),
        Ok(_) => {
            finding("connector.file", root.to_string(), vec!["is no folder; move it away or set connectors.file.root".to_owned()])
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            finding("connector.file", format!("{root} is not there yet; `tidemark up` makes it"), Vec::new())
        }
        Err(error) => finding("connector.file", root.to_string(), vec![format!("cannot be looked at: {error}")]),
    }
}

/// No log: a new place, unless there is something that one has filled.
async fn missing_log(workplace: &Workplace) -> Result<Finding> {
    let path = &workplace.configuration.log.place;
    Ok(match missing_log::loss(workplace).await? {
        Some(loss) => finding("log", format!("{path} is missing"), vec![loss]),
        None => finding("log", format!("{path} is not there yet; `tidemark up` makes it"), Vec::new()),
    })
}

/// What is wrong with the topics that are there.
async fn topics(workplace: &Workplace, kafka: &KafkaLog) -> Vec<String> {
    let names = workplace.catalog.entities().iter().map(|entity| entity.name.as_str());
    let specs = workplace.topics.specs(names, workplace.configuration.log.partitions);
    kafka.check_topics(&specs).await.unwrap_or_else(|error| vec![told(&error)])
}

/// The schema registry, where one is configured.
async fn registry(kafka: &KafkaLog) -> Option<Finding> {
    match kafka.check_registry().await {
        Ok(report) => report.map(|report| finding("registry", report.summary, report.problems)),
        Err(error) => Some(finding("registry", "no answer".to_owned(), vec![told(&error)])),
    }
}

async fn log_and_stores(workplace: &Workplace, deep: bool, findings: &mut Vec<Finding>) -> Result<()> {
    let OpenLog { log, embedded, kafka } = match workplace.open_existing_log().await {
        Ok(open) => open,
        Err(error) => {
            findings.push(finding("log", workplace.configuration.log.place.to_string(), vec![format!("{error:#}")]));
            return Ok(());
        }
    };
    let identity = log.identity();
    let summary = format!("{}, id {}, generation {}", workplace.configuration.log.place, identity.id, identity.generation);
    findings.push(match (embedded.filter(|_| deep), &kafka) {
        (Some(file), _) => match file.check_deep().await {
            Ok(read) => finding("log", format!("{summary}, {} records read and sound", grouped(read.records)), Vec::new()),
            Err(error) => finding("log", summary, vec![error.to_string()]),
        },
        (None, Some(kafka)) => finding("log", summary, topics(workplace, kafka).await),
        (None, None) => finding("log", summary, Vec::new()),
    });
    if let Some(kafka) = kafka {
        findings.extend(registry(&kafka).await);
    }
    let has_topics = log.topics().await?.iter().any(|(name, _)| *name == *workplace.topics.progress);
    for role in Role::ALL {
        let part = format!("sink.{}", role.name());
        if !workplace.configuration.sinks.contains_key(&role) {
            findings.push(finding(&part, "switched off".to_owned(), Vec::new()));
            continue;
        }
        let sink = stores::sink(workplace, role)?;
        let mut report = sink.check(identity).await;
        if has_topics && report.problems.is_empty() {
            tell_build(workplace, &log, &*sink, &mut report).await?;
            report.problems.extend(ahead(workplace, &*log, &*sink).await.unwrap_or_else(|error| Some(format!("{error:#}"))));
        }
        findings.push(finding(&part, report.summary, report.problems));
    }
    if has_topics {
        let open = dead_letters::count_open(&*log, &workplace.topics).await?;
        let (total, stages): (u64, Vec<String>) =
            (open.values().sum(), open.iter().map(|(stage, count)| format!("{stage} {count}")).collect());
        let problems = if total == 0 { Vec::new() } else { vec!["`tidemark dead-letters list` says why".to_owned()] };
        let summary = if total == 0 { "none open".to_owned() } else { format!("{total} open: {}", stages.join(", ")) };
        findings.push(finding("dead letters", summary, problems));
    }
    Ok(())
}

/// Where the store stands beyond the end of the log: it was not filled from this one.
async fn ahead(workplace: &Workplace, log: &dyn Log, sink: &dyn Sink) -> Result<Option<String>> {
    let there = log.topics().await?;
    for position in sink.positions().await? {
        let (topic, partition) = (workplace.topics.state(&position.entity), position.partition);
        if !there.iter().any(|(name, partitions)| **name == *topic && partition < *partitions) {
            continue;
        }
        let end = log.bounds(&topic, partition).await?.end;
        if position.next > end {
            return Ok(Some(ahead_of_log(sink.role(), &format!("{topic}/{partition}"), position.next, end)));
        }
    }
    Ok(None)
}

/// Says of a store that works whether it is to be emptied, or being filled again.
async fn tell_build(workplace: &Workplace, log: &Arc<dyn Log>, sink: &dyn Sink, report: &mut StoreReport) -> Result<()> {
    let role = sink.role();
    let name = stores::name(workplace, role)?;
    let builds = Builds::new(Arc::clone(log), workplace.topics.clone(), [name.clone()]);
    builds.catch_up().await?;
    let Some(build) = builds.of(&name) else { return Ok(()) };
    let remedy = format!("`tidemark up` or `tidemark replay {}` goes on with it", role.name());
    match build.step {
        Step::Asked => {
            report.problems.push(format!("build {} was asked for, and the store is not emptied yet; {remedy}", build.number));
        }
        Step::Emptied => {
            let (passed, total) = build.passed_at(&sink.positions().await?);
            if passed < total {
                let percent = passed * 100 / total;
                report.summary.push_str(&format!(", build {} is filled to {percent} %; {remedy}", build.number));
            }
        }
        Step::Filled => {}
    }
    Ok(())
}
