//! How an example ends.

use std::time::Duration;

use deferred_smol::{Reactor, run};

/// Whether the program was called with `--forever`: then it runs until Ctrl-C.
#[must_use]
pub fn forever() -> bool {
    std::env::args().any(|argument| argument == "--forever")
}

/// Runs `main` on a loop that ends by itself after that time, or with `--forever` at Ctrl-C; that
/// ends it in any case.
pub fn run_for(time: Duration, main: impl FnOnce(&Reactor)) {
    run(|reactor| {
        if !forever() {
            let stopper = reactor.clone();
            reactor.call_later(time, move || stopper.stop());
        }
        main(reactor);
    });
    println!("the loop has stopped");
}
