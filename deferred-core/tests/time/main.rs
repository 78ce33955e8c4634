//! Tests of the functions that use the reactor's timers.

mod clock;
mod cooperator;
mod defer_later;
mod looping;
mod retry;
mod timeout;

#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
