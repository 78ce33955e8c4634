//! Tests of results, values and calls that cross threads.

#[path = "../support/mod.rs"]
mod support;

mod blocking;
mod call;
mod future;
mod queue;
mod reactor_thread;
mod resolver;
mod spawn;

use std::time::Duration;

use support::{Log, Wakes, on_another_thread, record, turn};

const HOUR: Duration = Duration::from_secs(3600);
