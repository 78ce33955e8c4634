//! The article's third program: a call every ten seconds, which does not drift.
//!
//! ```text
//! cargo run --release --example article_3_looping_call
//! ```
//!
//! | Python | here |
//! | --- | --- |
//! | `LoopingCall(hello, 'ding')` | `LoopingCall::new(reactor, move \|\| hello("ding"))` |
//! | `task.start(10)` | `task.start(Duration::from_secs(10))`: the first call is inside `start` |
//! | `reactor.callWhenRunning(hello, 'yudahai')` | `reactor.call_when_running(move \|\| hello("yudahai"))` |
//! | `reactor.callLater(3, hello, 'yuyue')` | `reactor.call_later(Duration::from_secs(3), move \|\| hello("yuyue"))` |
//! | `reactor.run()` | `run(\|reactor\| ..)`, here through `run_for`, which ends it |
//!
//! It ends by itself after twelve seconds, with `--forever` at Ctrl-C.

use std::time::Duration;

use deferred_examples::{Story, run_for};
use deferred_smol::LoopingCall;

fn main() {
    let story = Story::begin();
    let hello = move |name: &str| story.say(format_args!("Hello world! {name}"));
    run_for(Duration::from_secs(12), |reactor| {
        // What `start` returns fires when it is stopped or fails. Here nothing waits for that.
        LoopingCall::new(reactor, move || hello("ding")).start(Duration::from_secs(10));
        reactor.call_when_running(move || hello("yudahai"));
        reactor.call_later(Duration::from_secs(3), move || hello("yuyue"));
    });
}
