//! A timeout, which cancels the work, and an errback that handles it.
//!
//! ```text
//! cargo run --example quickstart_timeout
//! ```

use std::process::ExitCode;
use std::time::Duration;

use deferred_smol::{TimedOut, react};

fn main() -> ExitCode {
    react(|reactor| {
        reactor
            .defer_later(Duration::from_secs(60), || Ok("done"))
            .add_timeout(Duration::from_millis(200), reactor)
            .add_callback(|text| println!("{text}"))
            .add_errback(|failure| {
                let timed_out = failure.trap::<TimedOut>()?; // any other error continues
                println!("{timed_out}; the timer of a minute was cancelled");
                Ok(())
            })
    })
}
