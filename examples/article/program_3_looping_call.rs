//! Program 3 of an introduction to Twisted: a call every ten seconds that does not drift.
//!
//! ```text
//! cargo run --release --example article_3_looping_call
//! ```
//!
//! | Python | here |
//! | --- | --- |
//! | `LoopingCall(hello, 'ding')` | `LoopingCall::new(reactor, move \|\| hello("ding"))` |
//! | `task.start(10)` | `task.start(Duration::from_secs(10))`; `start` makes the first call before it returns |
//! | `reactor.callWhenRunning(hello, 'yudahai')` | `reactor.call_when_running(move \|\| hello("yudahai"))` |
//! | `reactor.callLater(3, hello, 'yuyue')` | `reactor.call_later(Duration::from_secs(3), move \|\| hello("yuyue"))` |
//! | `reactor.run()` | `run(\|reactor\| ..)`, here inside `run_for`, which stops it |
//!
//! It stops after twelve seconds, or with `--forever` at Ctrl-C.

use std::time::Duration;

use deferred_examples::{Story, run_for};
use deferred_smol::LoopingCall;

fn main() {
    let story = Story::begin();
    let hello = move |name: &str| story.say(format_args!("Hello world! {name}"));
    run_for(Duration::from_secs(12), |reactor| {
        // The Deferred that `start` returns fires when the calls stop or fail. Nothing waits for it
        // here.
        LoopingCall::new(reactor, move || hello("ding")).start(Duration::from_secs(10));
        reactor.call_when_running(move || hello("yudahai"));
        reactor.call_later(Duration::from_secs(3), move || hello("yuyue"));
    });
}
