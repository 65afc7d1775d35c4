//! What the fold and the engine do: rule by rule, case by case, and all together in a seeded simulation.

#[cfg(test)]
mod chaos;
#[cfg(test)]
mod connector;
#[cfg(test)]
mod emptied;
#[cfg(test)]
mod engine;
#[cfg(test)]
mod filling;
#[cfg(test)]
mod fold;
#[cfg(test)]
mod kafka;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod place;
#[cfg(test)]
mod shares;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod store;
#[cfg(test)]
mod thing;
#[cfg(test)]
mod went_back;
#[cfg(test)]
mod zombie;
