//! Program 2 of an introduction to Twisted: a call when the loop starts, and one three seconds
//! later.
//!
//! ```text
//! cargo run --release --example article_2_call_later
//! ```
//!
//! | Python | here |
//! | --- | --- |
//! | `reactor.callWhenRunning(hello)` | `reactor.call_when_running(hello)` |
//! | `reactor.callLater(3, hello)` | `reactor.call_later(Duration::from_secs(3), hello)` |
//! | `reactor.run()` | `run(\|reactor\| ..)`, here inside `run_for`, which stops it |
//!
//! It stops after four seconds, or with `--forever` at Ctrl-C.

use std::time::Duration;

use deferred_examples::{Story, run_for};

fn main() {
    let story = Story::begin();
    let hello = move || story.say("Hello world!");
    run_for(Duration::from_secs(4), |reactor| {
        reactor.call_when_running(hello);
        reactor.call_later(Duration::from_secs(3), hello);
    });
}
