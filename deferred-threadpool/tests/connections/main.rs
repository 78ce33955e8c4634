//! Tests of `ConnectionPool`: with a manager that logs its calls, and with a real SQLite database.

mod log;
mod options;
mod panics;
mod r2d2;
mod sqlite;

use std::time::Duration;

/// A time longer than any test takes: if it passes, something hangs.
const LIMIT: Duration = Duration::from_secs(60);
