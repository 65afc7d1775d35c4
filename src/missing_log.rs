//! A log that is not there: a new place, or the loss of the one thing that must not be lost.
//!
//! The stores (also those that are switched off) and the fold's cache keep the id of the log that filled them. As long as one of
//! them does, nothing begins another log beside them: they may be the last copies of the data, and what is filled from the new
//! log would have to empty them. `init --force-rebuild` is the one way to want just that, `restore` the one to get the log back.
//! A store that cannot be read says nothing either way; that is warned of.

use anyhow::{Result, bail};
use tidemark_log::LogIdentity;
use tidemark_pipelines::fold::cache;
use tidemark_sink_core::Role;

use crate::configuration::stores::LogPlace;
use crate::workplace::Workplace;
use crate::{stages, stores};

/// What a log has filled here: which file, and from which log.
pub(crate) async fn filled(workplace: &Workplace) -> Result<Vec<(String, LogIdentity)>> {
    let mut filled = Vec::new();
    for role in Role::ALL {
        let store = workplace.configuration.store(role);
        match stores::sink_at(workplace, role, store)?.filled_from().await {
            Ok(log) => filled.extend(log.map(|log| (store.to_string(), log))),
            Err(error) => {
                let error = format!("{:#}", anyhow::Error::from(error));
                tracing::warn!(store = role.name(), error, "which log filled the store cannot be read");
            }
        }
    }
    let cache = workplace.data.join(stages::CACHE_FOLDER);
    filled.extend(cache::log_of(&cache).map(|log| (cache.display().to_string(), log)));
    Ok(filled)
}

/// What a person must know who has lost the log; `None` when it is there, or when there has never been one.
pub(crate) async fn loss(workplace: &Workplace) -> Result<Option<String>> {
    let path = match &workplace.configuration.log.place {
        LogPlace::Embedded(path) if !path.exists() => path,
        // Whether there is one on Kafka, only the brokers say.
        LogPlace::Embedded(_) | LogPlace::Kafka(_) => return Ok(None),
    };
    let filled: Vec<String> = filled(workplace).await?.into_iter().map(|(file, _)| file).collect();
    if filled.is_empty() {
        return Ok(None);
    }
    Ok(Some(format!(
        "the log {} is gone, and it alone must not be lost: it filled {}. Put it back, or the last backup by `tidemark restore DIR`; \
         where there is neither, these files are the last copies: keep them elsewhere before `tidemark init --force-rebuild` empties \
         the stores and begins an empty log",
        path.display(),
        filled.join(", ")
    )))
}

/// Refuses to begin a log where one is lost. To be asked before anything is made.
pub(crate) async fn refuse_loss(workplace: &Workplace) -> Result<()> {
    match loss(workplace).await? {
        Some(text) => bail!(text),
        None => Ok(()),
    }
}
