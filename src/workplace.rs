//! What every command works with: the configuration, the data folder, the catalog, and the way to the log.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tidemark_log::embedded::{EmbeddedLog, EmbeddedOptions};
use tidemark_log::kafka::{KafkaLog, KafkaOptions};
use tidemark_log::{Log, LogError, Topics};
use tidemark_pipelines::engine::schemas;
use tidemark_schemas::Catalog;

use crate::arguments::Common;
use crate::configuration::stores::LogPlace;
use crate::configuration::{self, Configuration};
use crate::exit::UsageError;
use crate::{instance, missing_log};

/// Configuration, folder, entities.
#[derive(Debug)]
pub(crate) struct Workplace {
    /// The configuration.
    pub(crate) configuration: Configuration,
    /// `--data`.
    pub(crate) data: PathBuf,
    /// Topic names.
    pub(crate) topics: Topics,
    /// Entities.
    pub(crate) catalog: Arc<Catalog>,
}

impl Workplace {
    /// Reads configuration and schemas; creates nothing.
    pub(crate) fn load(common: &Common) -> Result<Self> {
        let configuration = configuration::load(common.config.as_deref(), &common.data)?;
        let catalog = Arc::new(load_catalog(configuration.schemas.as_deref())?);
        let topics = Topics::new(&configuration.log.prefix);
        Ok(Self { configuration, data: common.data.clone(), topics, catalog })
    }

    /// Makes the data folder, readable by its owner alone: it will hold personal data.
    pub(crate) fn make_data_folder(&self) -> Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        if self.data.is_dir() {
            return Ok(());
        }
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&self.data).with_context(|| format!("making the data folder {}", self.data.display()))
    }

    /// Opens the log, making it where there is none.
    pub(crate) async fn open_log(&self) -> Result<OpenLog> {
        self.make_data_folder()?;
        let place = &self.configuration.log.place;
        let opening = || format!("opening the log {place}");
        Ok(match place {
            LogPlace::Embedded(path) => {
                OpenLog::embedded(EmbeddedLog::open(EmbeddedOptions::new(path)).await.with_context(opening)?)
            }
            LogPlace::Kafka(options) => {
                let options = KafkaOptions { instance: Some(instance::of(&self.data)?), ..options.clone() };
                OpenLog::kafka(KafkaLog::open(options).await.with_context(opening)?)
            }
        })
    }

    /// Opens the log that must be there already, and learns the schemas of those who wrote to it.
    pub(crate) async fn open_existing_log(&self) -> Result<OpenLog> {
        let place = &self.configuration.log.place;
        let opening = || format!("opening the log {place}");
        let open = match place {
            LogPlace::Embedded(path) => {
                if !path.exists() {
                    missing_log::refuse_loss(self).await?;
                    bail!("there is no log at {place}; `tidemark up` makes one, `--data` names another folder");
                }
                OpenLog::embedded(EmbeddedLog::open_existing(EmbeddedOptions::new(path)).await.with_context(opening)?)
            }
            LogPlace::Kafka(options) => OpenLog::kafka(KafkaLog::open_existing(options.clone()).await.with_context(opening)?),
        };
        self.learn_schemas(&*open.log).await?;
        Ok(open)
    }

    async fn learn_schemas(&self, log: &dyn Log) -> Result<()> {
        if !log.topics().await?.iter().any(|(name, _)| *name == *self.topics.progress) {
            return Ok(());
        }
        schemas::learn_published(log, &self.topics, &self.catalog).await?;
        Ok(())
    }
}

/// The log, and what only one of its kinds can do.
pub(crate) struct OpenLog {
    /// Whichever it is.
    pub(crate) log: Arc<dyn Log>,
    /// The embedded one, if it is that.
    pub(crate) embedded: Option<Arc<EmbeddedLog>>,
    /// The one on Kafka, if it is that.
    pub(crate) kafka: Option<Arc<KafkaLog>>,
}

impl OpenLog {
    fn embedded(log: EmbeddedLog) -> Self {
        let log = Arc::new(log);
        Self { log: Arc::clone(&log) as Arc<dyn Log>, embedded: Some(log), kafka: None }
    }

    fn kafka(log: KafkaLog) -> Self {
        let log = Arc::new(log);
        Self { log: Arc::clone(&log) as Arc<dyn Log>, embedded: None, kafka: Some(log) }
    }
}

/// How many partitions a topic has; none when it is not there. `topics` as the log lists them.
pub(crate) fn partitions_of(topics: &[(String, u32)], topic: &str) -> u32 {
    topics.iter().find(|(name, _)| name == topic).map_or(0, |(_, count)| *count)
}

/// How much was ever appended to all topics: it rises with every append, whoever makes it.
pub(crate) async fn extent(log: &dyn Log) -> Result<u64, LogError> {
    let topics = log.topics().await?;
    let places = topics.iter().flat_map(|(topic, partitions)| (0..*partitions).map(|partition| (Arc::from(&**topic), partition)));
    Ok(log.ends(&places.collect::<Vec<_>>()).await?.iter().sum())
}

fn load_catalog(folder: Option<&Path>) -> Result<Catalog> {
    let Some(folder) = folder else { return Ok(Catalog::built_in()) };
    let mut files = Vec::new();
    let entries = std::fs::read_dir(folder)
        .map_err(|error| UsageError(format!("schemas.folder: {} cannot be read: {error}", folder.display())))?;
    for entry in entries {
        let path = entry?.path();
        let extension = path.extension().unwrap_or_default();
        if extension == "avsc" || extension == "json" {
            let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            files.push((path.display().to_string(), text));
        }
    }
    // In any order of the folder the same catalog.
    files.sort();
    Catalog::with_files(&files).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(|problem| format!("  {problem}")).collect();
        UsageError(format!("schemas.folder: these files cannot be used:\n{}", lines.join("\n"))).into()
    })
}
