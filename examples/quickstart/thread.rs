//! Blocking work in a thread of the pool, whose result a callback receives on the loop.
//!
//! ```text
//! cargo run --example quickstart_thread
//! ```

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use deferred_smol::{LoopingCall, react};
use deferred_threadpool::defer_to_thread;

fn main() -> ExitCode {
    react(|reactor| {
        LoopingCall::new(reactor, || println!("tick")).start(Duration::from_millis(50));
        defer_to_thread(|| {
            thread::sleep(Duration::from_millis(220)); // blocks a thread of the pool, not the loop
            Ok(6 * 7)
        })
        .add_callback(|answer| println!("the answer is {answer}"))
    })
}
