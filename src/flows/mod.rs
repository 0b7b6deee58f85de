//! The order of steps: one pass, the loop that decides when passes run, and the deliveries that follow one.

pub(crate) mod agent;
pub(crate) mod deliver;
pub mod reconcile;
