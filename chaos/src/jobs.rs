//! The jobs that are submitted to pools.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use deferred_threadpool::{Failure, Job};
use fastrand::Rng;

use crate::ledger::{Ledger, Token, panics};

/// Returns a job that may take a while and ends in a random way.
pub(crate) fn job(
    ledger: &Arc<Ledger>,
    mut random: Rng,
) -> impl FnOnce(&Job<'_>) -> Result<Token, Failure> + Send + use<> {
    let captured = if random.u8(..20) == 0 { ledger.panicking_token("closure") } else { ledger.token("closure") };
    let ledger = ledger.clone();
    move |job| {
        pause(&mut random);
        // Dropped here rather than at the end, because the value that a function returns leaks if
        // one of its destructors panics (rust-lang/rust#47949).
        drop(captured);
        match random.u8(..16) {
            0 => panics(),
            1 | 2 => Err(Failure::msg("chaos")),
            3 => {
                while !job.is_cancelled() && random.u8(..50) > 0 {
                    thread::yield_now();
                }
                Ok(ledger.token("value"))
            }
            4 => Ok(ledger.panicking_token("value")),
            _ => Ok(ledger.token("value")),
        }
    }
}

/// Sleeps for a random short time, possibly none.
pub(crate) fn pause(random: &mut Rng) {
    match random.u8(..16) {
        0 => thread::sleep(Duration::from_micros(random.u64(..500))),
        1..4 => thread::yield_now(),
        4..8 => (0..random.u32(..500)).for_each(|_| std::hint::spin_loop()),
        _ => {}
    }
}
