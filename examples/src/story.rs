//! Output lines with timestamps.

use std::fmt::Display;
use std::time::Instant;

/// Prints lines that begin with the seconds since the program started.
#[derive(Clone, Copy, Debug)]
pub struct Story {
    started_at: Instant,
}

impl Story {
    /// Creates a `Story` whose time begins now.
    #[must_use]
    pub fn begin() -> Story {
        Story { started_at: Instant::now() }
    }

    /// Prints `line` after the time.
    pub fn say(&self, line: impl Display) {
        println!("{:.3} {line}", self.started_at.elapsed().as_secs_f64());
    }
}
