//! The article's first program: the loop alone. It waits, and uses no CPU while it does.
//!
//! ```text
//! cargo run --release --example article_1_run
//! ```
//!
//! | Python | here |
//! | --- | --- |
//! | `reactor.run()` | `run(\|reactor\| ..)`, here through `run_for`, which ends it |
//! | Ctrl-C | `run` and `react` listen by themselves; a loop inside a program of your own asks by `reactor.stop_on_signals()` |
//!
//! It ends by itself after two seconds, with `--forever` at Ctrl-C.

use std::time::Duration;

use deferred_examples::run_for;

fn main() {
    println!("the loop runs");
    run_for(Duration::from_secs(2), |_reactor| {});
}
