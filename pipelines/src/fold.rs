//! The fold: changes to current state.
