//! Tests of the reactor: the calls of a turn and their order, the sleep of the driver, and the end.

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
