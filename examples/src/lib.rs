//! What the examples share: a story with the time of each line, hosts on loopback, a blocking HTTP client, and an end.
#![forbid(unsafe_code)]

mod end;
mod hosts;
mod story;

pub use end::{forever, run_for};
pub use hosts::{AnsweringHost, SilentHost, fetch};
pub use story::Story;

/// The programs in the README are tests too.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
