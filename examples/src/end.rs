//! Running an example for a limited time, or until Ctrl-C.

use std::time::Duration;

use deferred_smol::{Reactor, run};

/// Returns `true` if the program was started with `--forever`, which makes it run until Ctrl-C.
#[must_use]
pub fn forever() -> bool {
    std::env::args().any(|argument| argument == "--forever")
}

/// Runs `main` on a loop that stops after `time`, or only at Ctrl-C with `--forever`. Ctrl-C stops
/// it in both cases.
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
