//! The article's first program: the loop alone. It waits, and uses no CPU while it does.
//!
//! ```text
//! cargo run --release --example article_1_run
//! ```
//!
//! | Python | here |
//! | --- | --- |
//! | `reactor.run()` | `run(\|reactor\| ..)`, here through `run_for`, which ends it |
//! | Ctrl-C | `reactor.stop_on_signals()`; `react` listens by itself |
//!
//! It ends by itself after two seconds, with `--forever` at Ctrl-C.

use std::time::Duration;

use deferred_examples::run_for;

fn main() {
    println!("the loop runs");
    run_for(Duration::from_secs(2), |_reactor| {});
}
