//! The command line: every command with its options and an example. Nothing is done here.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Event-sourced streaming pipeline for medical-aesthetic clinics: drop JSON, four stores agree.
#[derive(Debug, Parser)]
#[command(name = "tidemark", version, max_term_width = 110, after_help = "Example:\n  tidemark up --sample")]
pub(crate) struct Arguments {
    /// What every command takes.
    #[command(flatten)]
    pub(crate) common: Common,
    /// The command.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// Configuration file; without it `tidemark.toml` in the working folder, if there is one
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Data folder: log, stores, import root, unless the configuration puts them elsewhere
    #[arg(long, global = true, value_name = "DIR", default_value = "./data")]
    pub(crate) data: PathBuf,
    /// What is logged: `warn`, `tidemark=debug` …; also TIDEMARK_LOG
    #[arg(long, global = true, value_name = "FILTER")]
    pub(crate) log: Option<String>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run all configured connectors, the fold and the sinks in this process
    #[command(after_help = "Example:\n  tidemark up --sample\n  tidemark up --once --data /srv/clinic")]
    Up(Up),
    /// Run only these stages: connector.file, fold, sink.relational, sink.graph, sink.vector, sink.analytics
    #[command(after_help = "Example:\n  tidemark run fold sink.relational")]
    Run(Run),
    /// Take in what lies in the import root, once, and print the statistics
    #[command(after_help = "Example:\n  tidemark import initial\n  tidemark import incremental --date 2026-01-15")]
    Import(Import),
    /// Copy the embedded log while it runs; the stores are rebuilt from it
    #[command(after_help = "Example:\n  tidemark backup /backup/2026-01-15")]
    Backup {
        /// Folder of the copy; made when missing
        dir: PathBuf,
    },
    /// Put a backup in place under a raised generation
    #[command(after_help = "Example:\n  tidemark restore /backup/2026-01-15 --data ./data")]
    Restore {
        /// Folder that `backup` filled
        dir: PathBuf,
    },
    /// Look at configuration, import root, log, each store and open dead letters, one line each; exit status 4 when something is wrong
    #[command(after_help = "Example:\n  tidemark check --deep")]
    Check(Check),
    /// Create the log, the stores and the import folders (`initial/…`, `incremental/pending/`); may be repeated
    #[command(after_help = "Example:\n  tidemark init --skip vector")]
    Init(Init),
    /// Empty a store and fill it again from the log, also while it is in use
    ///
    /// Where `tidemark up` runs it empties and fills the store, and this command watches. A replay that was interrupted is gone on
    /// with, by this command or by the next `tidemark up`.
    #[command(after_help = "Example:\n  tidemark replay graph")]
    Replay(Replay),
    /// Print current rows
    #[command(after_help = "Example:\n  tidemark state customer HZ-YL-001-C0001\n  tidemark state consumption --json")]
    State(State),
    /// Print the records of a topic, decoded, until interrupted
    #[command(after_help = "Example:\n  tidemark tail changes.customer --from earliest --once")]
    Tail(Tail),
    /// Search a vector collection by text
    #[command(after_help = "Example:\n  tidemark search customer_profiles \"敏感肌\" --where vip_level=PLATINUM")]
    Search(Search),
    /// Move the log elsewhere
    #[command(subcommand, after_help = "Example:\n  tidemark log copy --from embedded --to kafka")]
    Log(LogCommand),
    /// Look at records that were refused, and deal with them
    #[command(subcommand, after_help = "Example:\n  tidemark dead-letters list\n  tidemark dead-letters redrive --all")]
    DeadLetters(DeadLetters),
    /// Look at entity schemas and check them
    #[command(subcommand, after_help = "Example:\n  tidemark schema list\n  tidemark schema forms import/templates")]
    Schema(Schema),
    /// Look at the configuration
    #[command(subcommand, after_help = "Example:\n  tidemark config check\n  tidemark config check --config /etc/tidemark.toml")]
    Config(Config),
}

impl Command {
    /// Whether it runs stages; the others only look, or do something small.
    pub(crate) fn runs_stages(&self) -> bool {
        matches!(self, Self::Up(_) | Self::Run(_) | Self::Import(_) | Self::Replay(_))
    }

    /// Whether its log lines are what a person sees of its work; the others say it by themselves.
    pub(crate) fn is_told_by_the_log(&self) -> bool {
        matches!(self, Self::Up(_) | Self::Run(_) | Self::Import(_))
    }
}

/// `up`.
#[derive(Debug, Args)]
pub(crate) struct Up {
    /// End when every input is decided and every store has it
    #[arg(long)]
    pub(crate) once: bool,
    /// First put sample files into the import root
    #[arg(long)]
    pub(crate) sample: bool,
    #[command(flatten)]
    pub(crate) patience: Patience,
}

/// How long a part may stay unavailable.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Patience {
    /// Give up (exit status 3) when a part stays unavailable for so long; only where the command ends by itself
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub(crate) timeout: Duration,
}

/// `run`.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Stage names
    #[arg(required = true, value_name = "STAGE")]
    pub(crate) stages: Vec<String>,
}

/// `import`.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// Which folders
    #[command(subcommand)]
    pub(crate) part: ImportPart,
}

/// Which folders are imported.
#[derive(Debug, Subcommand)]
pub(crate) enum ImportPart {
    /// The current rows under `initial/`
    #[command(after_help = "Example:\n  tidemark import initial --dry-run")]
    Initial(ImportOptions),
    /// The changes under `incremental/pending/`
    #[command(after_help = "Example:\n  tidemark import incremental --date 2026-01-15")]
    Incremental {
        /// Only this day's folder
        #[arg(long, value_name = "YYYY-MM-DD")]
        date: Option<jiff::civil::Date>,
        /// Also files that were imported before, whole
        #[arg(long)]
        again: bool,
        #[command(flatten)]
        options: ImportOptions,
    },
}

/// What both imports take.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct ImportOptions {
    /// Say what would be rejected; publish nothing, move nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print the statistics as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) patience: Patience,
}

/// `check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Also read the whole log and compare its pages and records
    #[arg(long)]
    pub(crate) deep: bool,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// `init`.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Leave this store out: relational, graph, vector, analytics
    #[arg(long, value_name = "ROLE")]
    pub(crate) skip: Vec<String>,
    /// Empty the stores first, so that they are filled anew from the log
    #[arg(long)]
    pub(crate) force_rebuild: bool,
}

/// `replay`.
#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// Which store: relational, graph, vector, analytics
    #[arg(value_parser = ["relational", "graph", "vector", "analytics"], hide_possible_values = true)]
    pub(crate) role: String,
    /// Begin anew even where an interrupted replay could be gone on with
    #[arg(long)]
    pub(crate) restart: bool,
    #[command(flatten)]
    pub(crate) patience: Patience,
}

/// `log`.
#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// Copy the embedded log to Kafka, so that the program can go on there; nothing may run on the data folder meanwhile
    ///
    /// Changes, states, receipts, dead letters, progress and record times go along. Both places are those of the `[log]` section
    /// (`log.path`; `log.brokers`, `log.prefix` …), whichever of them `log.kind` names. A copy that was interrupted is gone on with by
    /// the same command; until it is finished nothing else opens the log on Kafka. The embedded log is only read.
    #[command(
        after_help = "Example:\n  tidemark log copy --from embedded --to kafka\n  tidemark log copy --from embedded --to kafka --json"
    )]
    Copy(LogCopy),
}

/// `log copy`.
#[derive(Debug, Args)]
pub(crate) struct LogCopy {
    /// Where the log is now
    #[arg(long, value_name = "KIND")]
    pub(crate) from: LogKind,
    /// Where it is to be
    #[arg(long, value_name = "KIND")]
    pub(crate) to: LogKind,
    /// Print what was done as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Kinds of logs, as `log.kind` has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogKind {
    /// One SQLite file
    Embedded,
    /// An Apache Kafka cluster
    Kafka,
}

/// `state`.
#[derive(Debug, Args)]
pub(crate) struct State {
    /// Entity: customer, consumption …
    pub(crate) entity: String,
    /// Only this key
    pub(crate) key: Option<String>,
    /// Also deleted records
    #[arg(long)]
    pub(crate) deleted: bool,
    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// `tail`.
#[derive(Debug, Args)]
pub(crate) struct Tail {
    /// Topic, with or without the prefix: changes.customer, progress …
    pub(crate) topic: String,
    /// earliest, latest, an offset, or a time such as 2026-01-15T10:30:00Z
    #[arg(long, default_value = "latest")]
    pub(crate) from: String,
    /// End at the end of the topic instead of following it
    #[arg(long)]
    pub(crate) once: bool,
    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// `search`.
#[derive(Debug, Args)]
pub(crate) struct Search {
    /// Collection: customer_profiles, medical_knowledge
    pub(crate) collection: String,
    /// What to look for
    pub(crate) text: String,
    /// At most so many
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) limit: u16,
    /// Only points whose payload field has this value (of a coded field: code, alias or label); may be repeated
    #[arg(long = "where", value_name = "FIELD=VALUE", value_parser = condition)]
    pub(crate) conditions: Vec<(String, String)>,
    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// `dead-letters`.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadLetters {
    /// The open ones
    #[command(after_help = "Example:\n  tidemark dead-letters list --json")]
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// One, with its bytes; what is shown may hold personal data
    #[command(after_help = "Example:\n  tidemark dead-letters show 6ba7b810-9dad-51d1-80b4-00c04fd430c8")]
    Show {
        /// Its id, as listed
        id: uuid::Uuid,
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Try again: a store gets the key's current row, a source's record is published anew
    #[command(after_help = "Example:\n  tidemark dead-letters redrive --all")]
    Redrive(Chosen),
    /// Close without trying
    #[command(after_help = "Example:\n  tidemark dead-letters discard 6ba7b810-9dad-51d1-80b4-00c04fd430c8")]
    Discard(Chosen),
}

/// Which dead letters.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Chosen {
    /// Ids, as listed
    pub(crate) ids: Vec<uuid::Uuid>,
    /// All open ones
    #[arg(long)]
    pub(crate) all: bool,
}

/// `schema`.
#[derive(Debug, Subcommand)]
pub(crate) enum Schema {
    /// All entities
    #[command(after_help = "Example:\n  tidemark schema list")]
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// One entity: its fields, or its schema as JSON
    #[command(after_help = "Example:\n  tidemark schema show customer --json")]
    Show {
        /// Entity name
        entity: String,
        /// The schema as it stands
        #[arg(long)]
        json: bool,
    },
    /// Compare every schema with its released history
    #[command(after_help = "Example:\n  tidemark schema check")]
    Check,
    /// Write example files and JSON Schemas of the input forms
    #[command(after_help = "Example:\n  tidemark schema forms ./templates")]
    Forms {
        /// Folder; without it `templates/` in the import root
        dir: Option<PathBuf>,
    },
}

/// `config`.
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Say what is wrong with the configuration, or what it comes to
    #[command(after_help = "Example:\n  tidemark config check")]
    Check,
    /// Print the reference of all keys
    #[command(after_help = "Example:\n  tidemark config schema --format json")]
    Schema {
        /// How
        #[arg(long, value_enum, default_value_t = Format::Markdown)]
        format: Format,
    },
}

/// How the reference is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// As in docs/configuration.md
    Markdown,
    /// One JSON array
    Json,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.strip_suffix('s').unwrap_or(text);
    number.parse().map(Duration::from_secs).map_err(|_| "a whole number of seconds, such as 60".to_owned())
}

fn condition(text: &str) -> Result<(String, String), String> {
    let (field, value) = text.split_once('=').ok_or("write it as FIELD=VALUE")?;
    if field.is_empty() { Err("write it as FIELD=VALUE".to_owned()) } else { Ok((field.to_owned(), value.to_owned())) }
}

#[cfg(test)]
mod tests;
