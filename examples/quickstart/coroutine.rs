//! A coroutine, which awaits Deferreds instead of adding callbacks, and runs several at once.
//!
//! ```text
//! cargo run --example quickstart_coroutine
//! ```

use std::process::ExitCode;
use std::time::Duration;

use deferred_smol::{Deferred, Reactor, gather, inline_callbacks, react};

fn look_up(reactor: &Reactor, name: &'static str) -> Deferred<usize> {
    reactor.defer_later(Duration::from_millis(100), move || Ok(name.len()))
}

fn main() -> ExitCode {
    react(|reactor| {
        let reactor = reactor.clone();
        inline_callbacks(async move {
            let one = look_up(&reactor, "one").await?;
            println!("one: {one}");
            let lengths = gather(["two", "three"].map(|name| look_up(&reactor, name))).await?; // both at once
            println!("two and three: {lengths:?}");
            Ok(())
        })
    })
}
