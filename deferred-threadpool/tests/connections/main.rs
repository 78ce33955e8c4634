//! What a pool of connections promises: on one that keeps a log, and on a real SQLite database.

mod log;
mod sqlite;

use std::time::Duration;

/// Longer than anything here takes: when it passes, something hangs.
const LIMIT: Duration = Duration::from_secs(60);
