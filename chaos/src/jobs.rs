//! What is given to a pool.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use deferred_threadpool::{Failure, Job};
use fastrand::Rng;

use crate::ledger::{Ledger, Token, panics};

/// Takes a while, or not, and ends in any way.
pub(crate) fn job(
    ledger: &Arc<Ledger>,
    mut random: Rng,
) -> impl FnOnce(&Job<'_>) -> Result<Token, Failure> + Send + use<> {
    let captured = if random.u8(..20) == 0 { ledger.bomb("closure") } else { ledger.token("closure") };
    let ledger = ledger.clone();
    move |job| {
        pause(&mut random);
        // Here and not in the end: the value that a function returns leaks if one of its
        // destructors panics (rust-lang/rust#47949).
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
            4 => Ok(ledger.bomb("value")),
            _ => Ok(ledger.token("value")),
        }
    }
}

/// For a moment, or not.
pub(crate) fn pause(random: &mut Rng) {
    match random.u8(..16) {
        0 => thread::sleep(Duration::from_micros(random.u64(..500))),
        1..4 => thread::yield_now(),
        4..8 => (0..random.u32(..500)).for_each(|_| std::hint::spin_loop()),
        _ => {}
    }
}
