//! The order of steps: one pass, the loop that decides when passes run, the
//! deliveries that follow one, and what `status` shows.

pub(crate) mod agent;
pub(crate) mod deliver;
pub mod reconcile;
pub(crate) mod status;
