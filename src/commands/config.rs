//! `config check`, `config schema`.

use anyhow::Result;
use serde_json::json;
use tidemark_log::kafka::KafkaOptions;

use crate::arguments::{Common, Config, Format};
use crate::commands::print_line;
use crate::configuration::stores::LogPlace;
use crate::configuration::{self, reference};
use crate::exit::Exit;

/// Runs it.
pub(crate) fn run(common: &Common, command: &Config) -> Result<Exit> {
    match command {
        Config::Check => {
            let configuration = configuration::load(common.config.as_deref(), &common.data)?;
            print_line("the configuration holds")?;
            print_line(&format!("log          {}", configuration.log.place))?;
            if let LogPlace::Kafka(KafkaOptions { registry: Some(registry), .. }) = &configuration.log.place {
                print_line(&format!("registry     {}", registry.url))?;
            }
            let root = configuration.file.as_ref().map(|file| file.root.display().to_string());
            print_line(&format!("import root  {}", root.as_deref().unwrap_or("switched off")))?;
            for role in tidemark_sink_core::Role::ALL {
                let store = configuration.sinks.get(&role).map(ToString::to_string);
                print_line(&format!("{:12} {}", role.name(), store.as_deref().unwrap_or("switched off")))?;
            }
        }
        Config::Schema { format: Format::Markdown } => print_line(reference::markdown().trim_end())?,
        Config::Schema { format: Format::Json } => {
            let keys: Vec<_> = reference::KEYS
                .iter()
                .map(|key| {
                    let variable = reference::variable(key.path);
                    json!({"key": key.path, "is": key.kind.describe(), "default": key.default, "for": key.doc, "variable": variable})
                })
                .collect();
            print_line(&serde_json::to_string_pretty(&keys)?)?;
        }
    }
    Ok(Exit::Done)
}
