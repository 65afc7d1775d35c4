//! What a writer may have left under way that went without giving its partitions back, and how the rows get over it.
//!
//! A statement that was sent may be carried out much later, held up by the network or by a server under load, and nothing guards
//! the rows against it: it puts what is older over what the next writer wrote. So who takes an abandoned partition notes where it
//! stood and goes on at once; when whatever was under way has arrived or never will, it goes back there once. Rows are whole, so
//! this heals: what holds something older is written again, all else is only compared. The note is in the store and outlives
//! writers.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::client::ClientOptions;
use crate::meta::Progress;
use crate::writer::LEASE;

/// How long after a takeover a statement of the former writer may still be carried out: it sent none later than its lease allowed,
/// and the server gives up sooner than a client.
pub(crate) fn patience(client: &ClientOptions) -> Duration {
    LEASE + client.request_timeout
}

/// Notes where an abandoned partition stands. An earlier note that was not followed yet is further back.
pub(crate) fn note(progress: &mut Progress) {
    let stands = || progress.stands.iter().map(|(entity, stand)| (entity, stand.next));
    let noted: BTreeMap<String, u64> = match &progress.back_to {
        None => stands().map(|(entity, next)| (entity.clone(), next)).collect(),
        // One that the note does not name goes back to the start.
        Some(known) => {
            let earlier = |(entity, next): (&String, u64)| Some((entity.clone(), next.min(*known.get(entity)?)));
            stands().filter_map(earlier).collect()
        }
    };
    progress.back_to = Some(noted);
}

/// Where a partition stands when it has gone back, and nothing is noted any more; whether that is elsewhere.
pub(crate) fn follow(progress: &Progress) -> Option<(Progress, bool)> {
    let noted = progress.back_to.as_ref()?;
    let mut back = Progress { stands: progress.stands.clone(), back_to: None };
    let mut moves = false;
    for (entity, stand) in &mut back.stands {
        let next = stand.next.min(noted.get(entity).copied().unwrap_or(0));
        moves |= next != stand.next;
        stand.next = next;
    }
    Some((back, moves))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{follow, note};
    use crate::meta::{Progress, Stand};

    fn at(places: &[(&str, u64)]) -> Progress {
        let stand = |next| Stand { next, ..Stand::default() };
        Progress { stands: places.iter().map(|(entity, next)| ((*entity).to_owned(), stand(*next))).collect(), back_to: None }
    }

    fn advanced(mut progress: Progress, places: &[(&str, u64)]) -> Progress {
        progress.stands = at(places).stands;
        progress
    }

    #[test]
    fn it_goes_back_to_where_the_first_takeover_found_it() {
        let mut progress = at(&[("customer", 5)]);
        note(&mut progress);
        let mut later = advanced(progress, &[("customer", 9), ("product", 3)]);
        assert_eq!(
            follow(&later),
            Some((at(&[("customer", 5), ("product", 0)]), true)),
            "what was not there yet goes to the start"
        );
        note(&mut later);
        assert_eq!(later.back_to, Some(BTreeMap::from([("customer".to_owned(), 5)])), "the earlier note stands");
        assert_eq!(follow(&advanced(later, &[("customer", 5)])), Some((at(&[("customer", 5)]), false)));
        assert_eq!(follow(&at(&[("customer", 5)])), None, "nothing is noted");
    }
}
