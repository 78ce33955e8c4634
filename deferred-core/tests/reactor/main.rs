//! The reactor: what a turn runs, in which order, when the driver sleeps, and how all that ends.

#[path = "../support/mod.rs"]
mod support;

mod end;
mod events;
mod many;
mod park;
mod sleep;
mod timers;
mod turns;

use std::time::Duration;

use support::{Log, Wakes, on_another_thread, record, turn};

const HOUR: Duration = Duration::from_secs(3600);
