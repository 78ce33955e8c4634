//! Program 1 of an introduction to Twisted: the loop alone. It waits without using the CPU.
//!
//! ```text
//! cargo run --release --example article_1_run
//! ```
//!
//! | Python | here |
//! | --- | --- |
//! | `reactor.run()` | `run(\|reactor\| ..)`, here inside `run_for`, which stops it |
//! | Ctrl-C | handled by `run` and `react`; a program that drives the loop itself calls `reactor.stop_on_signals()` |
//!
//! It stops after two seconds, or with `--forever` at Ctrl-C.

use std::time::Duration;

use deferred_examples::run_for;

fn main() {
    println!("the loop runs");
    run_for(Duration::from_secs(2), |_reactor| {});
}
