//! The order of steps: one pass, and the loop that decides when passes run.

pub mod agent;
pub mod reconcile;
