//! One edge of the outside world for each module.
//!
//! Adapters do not know each other, except that `embed` and `deliver` send
//! requests through `http`, and `deliver` brings a build of `builds` to its
//! targets. Where one needs another's answer, the flow passes it in.

pub mod builds;
pub mod cache;
pub mod deliver;
pub mod embed;
pub(crate) mod http;
pub mod judged;
pub mod signals;
pub mod source;
pub(crate) mod watch;
