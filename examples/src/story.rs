//! Lines that say when.

use std::fmt::Display;
use std::time::Instant;

/// Prints lines, each with the seconds since the story began as its first word.
#[derive(Clone, Copy, Debug)]
pub struct Story {
    begun: Instant,
}

impl Story {
    /// Begins now.
    #[must_use]
    pub fn begin() -> Story {
        Story { begun: Instant::now() }
    }

    /// Prints one line.
    pub fn say(&self, line: impl Display) {
        println!("{:.3} {line}", self.begun.elapsed().as_secs_f64());
    }
}
