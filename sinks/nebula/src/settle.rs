//! What a writer may have left under way that went without giving its partitions back, and how the rows get over it.
//!
//! A statement that was sent may be carried out much later, held up by the network or by a server under load, and nothing guards
//! the rows against it: it puts what is older over what the next writer wrote. So who takes an abandoned partition notes where it
//! stood and goes on at once; when whatever was under way should have arrived, it goes back there once and writes again what is
//! not older. Rows are whole, so this heals. The note is in the store with the time that it was made at, and outlives writers.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::client::ClientOptions;
use crate::meta::Progress;
use crate::writer::LEASE;

/// Where to go back to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BackTo {
    /// When the partition was last found abandoned, UTC milliseconds.
    since: u64,
    /// By entity; one that is not named goes back to the start.
    offsets: BTreeMap<String, u64>,
}

/// How long after a takeover a statement of the former writer is to be reckoned with: it sent none later than its lease allowed, the
/// server gives up sooner than a client, and the kernel of a machine that was cut off goes on sending for about as long again.
pub(crate) fn patience(client: &ClientOptions) -> Duration {
    LEASE + 2 * client.request_timeout
}

/// Notes where an abandoned partition stands. An earlier note that was not followed yet is further back.
pub(crate) fn note(progress: &mut Progress, now: u64) {
    let stands = progress.stands.iter().map(|(entity, stand)| (entity, stand.next));
    let offsets = match &progress.back_to {
        None => stands.map(|(entity, next)| (entity.clone(), next)).collect(),
        Some(known) => {
            stands.filter_map(|(entity, next)| Some((entity.clone(), next.min(*known.offsets.get(entity)?)))).collect()
        }
    };
    progress.back_to = Some(BackTo { since: now, offsets });
}

/// How long the note still has to wait; `None` where nothing is noted. A clock that was set back makes it wait anew.
pub(crate) fn left(progress: &Progress, now: u64, patience: Duration) -> Option<Duration> {
    let waited = now.checked_sub(progress.back_to.as_ref()?.since).map_or(Duration::ZERO, Duration::from_millis);
    Some(patience.saturating_sub(waited))
}

/// Goes back to where the note says. Returns whether that is elsewhere.
pub(crate) fn follow(progress: &mut Progress) -> bool {
    let Some(noted) = progress.back_to.take() else { return false };
    let mut moves = false;
    for (entity, stand) in &mut progress.stands {
        let next = noted.offsets.get(entity).copied().unwrap_or(0);
        if next < stand.next {
            // Written again where not older: of an edge that is a record, what was late does not show in its version.
            stand.refresh_until = stand.refresh_until.max(stand.next);
            stand.next = next;
            moves = true;
        }
    }
    moves
}

/// UTC milliseconds.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{follow, left, note};
    use crate::meta::{Progress, Stand};

    /// Entity, next, up to where it is refreshed.
    fn at(places: &[(&str, u64, u64)]) -> Progress {
        let stand = |next, refresh_until| Stand { next, refresh_until, ..Stand::default() };
        let stands = places.iter().map(|(entity, next, until)| ((*entity).to_owned(), stand(*next, *until)));
        Progress { stands: stands.collect(), back_to: None }
    }

    #[test]
    fn it_goes_back_to_where_the_first_takeover_found_it() {
        let mut progress = at(&[("customer", 5, 0)]);
        note(&mut progress, 1_000);
        progress.stands = at(&[("customer", 9, 0), ("product", 3, 0)]).stands;
        note(&mut progress, 2_000);
        assert_eq!(left(&progress, 2_500, Duration::from_secs(2)), Some(Duration::from_millis(1_500)), "the last one counts");
        assert_eq!(left(&progress, 1_500, Duration::from_secs(2)), Some(Duration::from_secs(2)), "the clock was set back");
        assert_eq!(left(&progress, 9_000, Duration::from_secs(2)), Some(Duration::ZERO));
        assert!(follow(&mut progress));
        let back = at(&[("customer", 5, 9), ("product", 0, 3)]);
        assert_eq!(progress, back, "what was not there at first goes to the start");
        assert!(!follow(&mut progress) && progress == back, "once");
        assert_eq!(left(&progress, 9_000, Duration::ZERO), None);
        note(&mut progress, 3_000);
        assert!(!follow(&mut progress), "nothing came since");
    }
}
