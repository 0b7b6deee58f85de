//! What the service and the commands share.

pub(crate) mod threads;
