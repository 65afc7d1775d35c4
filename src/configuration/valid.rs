//! The configuration that holds, made from what was written by one pure function that reports every problem.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidemark_log::kafka::KafkaOptions;
use tidemark_sink_core::Role;

use super::Problem;
use super::raw::{Entry, Raw, Value};
use super::reference::{self, Kind};
use super::stores::{LogPlace, Store, place_of_log, read_kafka, read_sinks};

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// The text itself, for whoever sends it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("***")
    }
}

/// The configuration.
#[derive(Debug, Clone)]
pub(crate) struct Configuration {
    /// Zone of time stamps without one.
    pub(crate) zone: String,
    /// The log.
    pub(crate) log: LogSettings,
    /// Folder of more entities and vocabularies.
    pub(crate) schemas: Option<PathBuf>,
    /// The file connector; `None` = switched off.
    pub(crate) file: Option<FileSettings>,
    /// The stores that are kept.
    pub(crate) sinks: BTreeMap<Role, Store>,
    /// Those that are switched off: they may be there from before.
    pub(crate) sinks_off: BTreeMap<Role, Store>,
    /// Levels that count as VIP.
    pub(crate) vip_levels: Vec<String>,
    /// Who embeds.
    pub(crate) embedder: EmbedderSettings,
    /// Most records of a batch.
    pub(crate) batch_records_max: usize,
    /// Most bytes of a batch.
    pub(crate) batch_bytes_max: usize,
    /// Intake pauses below this.
    pub(crate) disk_free_min: u64,
    /// How many days `processed/` is kept; `None` = for ever.
    pub(crate) processed_days: Option<u32>,
    /// How long a closed dead letter is kept; `None` = for ever.
    pub(crate) dead_letters_kept: Option<Duration>,
    /// Between two rounds of maintenance.
    pub(crate) maintenance_interval: Duration,
    /// Where HTTP is served; `None` = nowhere.
    pub(crate) http: Option<SocketAddr>,
}

impl Configuration {
    /// A role's store, kept or switched off.
    pub(crate) fn store(&self, role: Role) -> &Store {
        let store = self.sinks.get(&role).or_else(|| self.sinks_off.get(&role));
        store.expect("every role is either kept or switched off")
    }
}

/// The log.
#[derive(Debug, Clone)]
pub(crate) struct LogSettings {
    /// Where it is.
    pub(crate) place: LogPlace,
    /// Where the embedded one is, or would be.
    pub(crate) path: PathBuf,
    /// Where the one on Kafka is, or would be.
    pub(crate) kafka: KafkaOptions,
    /// Before topic names.
    pub(crate) prefix: String,
    /// Partitions of entity topics.
    pub(crate) partitions: u32,
}

/// The file connector.
#[derive(Debug, Clone)]
pub(crate) struct FileSettings {
    /// Import root.
    pub(crate) root: PathBuf,
    /// Between two scans.
    pub(crate) scan_interval: Duration,
    /// Unchanged for so long = complete.
    pub(crate) settle: Duration,
    /// A broken file fails after so long.
    pub(crate) broken_after: Duration,
}

/// Who turns texts into vectors.
#[derive(Debug, Clone)]
pub(crate) enum EmbedderSettings {
    /// The built-in one.
    BuiltIn,
    /// A server that speaks OpenAI's interface.
    OpenAi {
        /// Base address.
        url: String,
        /// Model.
        model: String,
        /// Dimensions.
        dimensions: usize,
        /// Bearer token.
        api_key: Option<Secret>,
        /// Texts per request.
        texts_per_request: usize,
    },
}

/// Judges what was written. `data` is the data folder, where defaults lie.
pub(crate) fn validate(raw: &Raw, data: &Path) -> Result<Configuration, Vec<Problem>> {
    let mut reader = Reader { raw, data, problems: Vec::new() };
    reader.refuse_unknown();
    let zone = reader.text("zone");
    let prefix = reader.text("log.prefix");
    if !prefix.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        || prefix.is_empty()
        || prefix.len() > 100
    {
        reader.refuse("log.prefix", "must be 1 to 100 letters, digits, `-`, `_` or `.`".to_owned());
    }
    let (path, kafka) = (reader.path("log.path"), read_kafka(&mut reader, &prefix));
    let log = LogSettings {
        place: place_of_log(&mut reader, &path, &kafka),
        path,
        kafka,
        prefix,
        partitions: u32::try_from(reader.whole("log.partitions")).unwrap_or(1),
    };
    let file = FileSettings {
        root: reader.path("connectors.file.root"),
        scan_interval: reader.interval("connectors.file.scan_interval"),
        settle: reader.duration("connectors.file.settle"),
        broken_after: reader.duration("connectors.file.broken_after"),
    };
    if file.broken_after < file.settle {
        reader.refuse("connectors.file.broken_after", "must not be shorter than connectors.file.settle".to_owned());
    }
    let file = reader.flag("connectors.file.enabled").then_some(file);
    let (sinks, sinks_off) = read_sinks(&mut reader, &log.place);
    let configuration = Configuration {
        zone,
        schemas: reader.optional_path("schemas.folder"),
        sinks,
        sinks_off,
        log,
        file,
        vip_levels: reader.texts("sinks.analytics.vip_levels"),
        embedder: read_embedder(&mut reader),
        batch_records_max: as_count(reader.whole("batch.records_max")),
        batch_bytes_max: read_batch_bytes(&mut reader),
        disk_free_min: reader.size("disk.free_min"),
        processed_days: reader.days("retention.processed"),
        dead_letters_kept: Some(reader.duration("retention.dead_letters")).filter(|kept| !kept.is_zero()),
        maintenance_interval: reader.interval("maintenance.interval"),
        http: reader.flag("http.enabled").then(|| reader.listen("http.listen")).flatten(),
    };
    if reader.problems.is_empty() { Ok(configuration) } else { Err(reader.problems) }
}

fn read_embedder(reader: &mut Reader<'_>) -> EmbedderSettings {
    let kind = reader.text("embedder.kind");
    let (url, model) = (reader.text("embedder.url"), reader.text("embedder.model"));
    let settings = EmbedderSettings::OpenAi {
        dimensions: as_count(reader.whole("embedder.dimensions")),
        api_key: Some(reader.text("embedder.api_key")).filter(|text| !text.is_empty()).map(Secret),
        texts_per_request: as_count(reader.whole("embedder.texts_per_request")),
        url: url.clone(),
        model: model.clone(),
    };
    if kind != "openai" {
        return EmbedderSettings::BuiltIn;
    }
    if !url.starts_with("http://") && !url.starts_with("https://") {
        reader.refuse("embedder.url", "is needed for `openai`: an address that starts with http:// or https://".to_owned());
    }
    if model.is_empty() {
        reader.refuse("embedder.model", "is needed for `openai`".to_owned());
    }
    settings
}

/// Below this a single large record would be a batch of its own each time; above, a few batches in flight exceed the memory that
/// is promised.
const BATCH_BYTES: (u64, u64) = (64 * 1024, 64 * 1024 * 1024);

fn read_batch_bytes(reader: &mut Reader<'_>) -> usize {
    let size = reader.size("batch.bytes_max");
    if size < BATCH_BYTES.0 || size > BATCH_BYTES.1 {
        reader.refuse("batch.bytes_max", "must be between 64KiB and 64MiB".to_owned());
    }
    as_count(size)
}

fn as_count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Reads what was written by path, and collects what is wrong.
pub(super) struct Reader<'r> {
    raw: &'r Raw,
    data: &'r Path,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    pub(super) fn refuse(&mut self, path: &str, text: String) {
        let place = self.raw.entries.get(path).map(|entry| entry.place.clone()).unwrap_or_default();
        self.problems.push(Problem { place, path: path.to_owned(), text });
    }

    fn refuse_unknown(&mut self) {
        for (path, entry) in &self.raw.entries {
            if reference::find(path).is_some() {
                continue;
            }
            let text = reference::nearest(path).map_or_else(
                || "unknown key; `tidemark config schema` lists all".to_owned(),
                |known| format!("unknown key; did you mean `{known}`?"),
            );
            self.problems.push(Problem { place: entry.place.clone(), path: path.clone(), text });
        }
    }

    /// What was written, if anything.
    fn entry(&self, path: &str) -> Option<&Entry> {
        debug_assert!(reference::find(path).is_some(), "{path} is not in the reference");
        self.raw.entries.get(path)
    }

    /// The value as text, judged by the kind that the reference states; the default where nothing (or nonsense) was written.
    pub(super) fn text(&mut self, path: &str) -> String {
        let key = reference::find(path).expect("only paths of the reference are read");
        let text = match self.entry(path).map(|entry| &entry.value) {
            None => return key.default.to_owned(),
            Some(Value::Text(text)) => Ok(text.clone()),
            Some(Value::Whole(number)) if matches!(key.kind, Kind::Whole(..) | Kind::Size) => Ok(number.to_string()),
            Some(Value::Flag(flag)) if key.kind == Kind::Flag => Ok(flag.to_string()),
            Some(Value::Whole(_)) => Err("a number"),
            Some(Value::Flag(_)) => Err("a truth value"),
            Some(Value::Texts(_)) => Err("a list"),
            Some(Value::Pairs(_)) => Err("a table"),
            Some(Value::Other(what)) => Err(*what),
        };
        let judged = match text {
            Ok(text) => judge(key.kind, &text).map(|()| text),
            Err(found) => Err(format!("must be {}, not {found}", key.kind.describe())),
        };
        judged.unwrap_or_else(|problem| {
            self.refuse(path, problem);
            key.default.to_owned()
        })
    }

    pub(super) fn flag(&mut self, path: &str) -> bool {
        self.text(path) == "true"
    }

    pub(super) fn whole(&mut self, path: &str) -> u64 {
        self.text(path).parse().expect("judged to be a whole number")
    }

    fn duration(&mut self, path: &str) -> Duration {
        parse_duration(&self.text(path)).expect("judged to be a duration")
    }

    /// A duration that must not be zero.
    fn interval(&mut self, path: &str) -> Duration {
        let interval = self.duration(path);
        if interval.is_zero() {
            self.refuse(path, "must be longer than nothing".to_owned());
        }
        interval
    }

    /// A duration in whole days; `None` when it is zero.
    fn days(&mut self, path: &str) -> Option<u32> {
        const DAY: u64 = 24 * 3600;
        let seconds = self.duration(path).as_secs();
        if !seconds.is_multiple_of(DAY) {
            self.refuse(path, "must be whole days, such as `90d`".to_owned());
        }
        u32::try_from(seconds / DAY).ok().filter(|days| *days > 0)
    }

    fn size(&mut self, path: &str) -> u64 {
        parse_size(&self.text(path)).expect("judged to be a size")
    }

    fn listen(&mut self, path: &str) -> Option<SocketAddr> {
        self.text(path).parse().ok()
    }

    pub(super) fn optional_path(&mut self, path: &str) -> Option<PathBuf> {
        let text = self.text(path);
        match (self.entry(path), text.strip_prefix("<data>/")) {
            (Some(entry), _) if !text.is_empty() => Some(entry.base.join(text)),
            (_, Some(name)) => Some(self.data.join(name)),
            _ => None,
        }
    }

    pub(super) fn path(&mut self, path: &str) -> PathBuf {
        self.optional_path(path).unwrap_or_else(|| {
            self.refuse(path, "must not be empty".to_owned());
            PathBuf::new()
        })
    }

    pub(super) fn texts(&mut self, path: &str) -> Vec<String> {
        let split = |text: &str| -> Vec<String> {
            let items = text.trim_matches(['[', ']']).split(',').map(|item| item.trim().trim_matches('"').to_owned());
            items.filter(|item| !item.is_empty()).collect()
        };
        match self.entry(path).map(|entry| entry.value.clone()) {
            Some(Value::Texts(texts)) => texts,
            _ => split(&self.text(path)),
        }
    }

    pub(super) fn pairs(&mut self, path: &str) -> BTreeMap<String, String> {
        match self.entry(path).map(|entry| entry.value.clone()) {
            Some(Value::Pairs(pairs)) => pairs,
            _ => parse_pairs(&self.text(path)).expect("judged to be pairs"),
        }
    }
}

/// `name=text`, separated by commas.
fn parse_pairs(text: &str) -> Option<BTreeMap<String, String>> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(|part| part.split_once('=').map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))).collect()
}

/// Whether a text is of this kind.
fn judge(kind: Kind, text: &str) -> Result<(), String> {
    let fits = match kind {
        Kind::Text | Kind::Secret | Kind::Path | Kind::Texts => true,
        Kind::Flag => matches!(text, "true" | "false"),
        Kind::Whole(least, most) => text.parse().is_ok_and(|number: u64| (least..=most).contains(&number)),
        Kind::Duration => parse_duration(text).is_some(),
        Kind::Size => parse_size(text).is_some(),
        Kind::Choice(choices) => choices.contains(&text),
        Kind::Pairs => parse_pairs(text).is_some(),
        Kind::Listen => text.parse::<SocketAddr>().is_ok(),
        Kind::Zone => jiff::tz::TimeZone::get(text).is_ok(),
    };
    if fits {
        return Ok(());
    }
    match kind {
        Kind::Choice(choices) => Err(format!("`{text}` is not known; this build knows {}", choices.join(", "))),
        _ => Err(format!("`{text}` does not read as {}", kind.describe())),
    }
}

/// `500ms`, `30s`, `10m`, `2h`, `7d`.
fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_number(text)?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(milliseconds).map(Duration::from_millis)
}

/// `512KiB`, `8MiB`, `1GiB`, `4096`.
fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split_number(text)?;
    let bytes = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(bytes)
}

fn split_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, text[end..].trim()))
}
