//! Helpers for tests of protocols, without sockets.
//!
//! A [`StringTransport`] connects a protocol to the test: bytes in, bytes out, ends and pauses. A
//! [`Pair`] connects two protocols. Both run on a [`Clock`], and deliver inside the call, so a test
//! is deterministic and takes no time. The connection is that of a program: only its socket is in
//! memory.
//!
//! They correspond to Twisted's `StringTransport`, and to `connect` of `twisted.test.iosim`.

mod memory;
mod pair;
mod string_transport;

use std::time::Duration;

use deferred_core::Clock;
pub use pair::Pair;
pub use string_transport::StringTransport;

/// The maximum number of deliveries in one call.
const MAX_ROUNDS: u32 = 100_000;

/// Runs the loop until `moves` no longer changes.
#[track_caller]
fn settle(clock: &Clock, moves: impl Fn() -> u64) {
    for _ in 0..MAX_ROUNDS {
        let before = moves();
        clock.advance(Duration::ZERO);
        if moves() == before {
            return;
        }
    }
    panic!("the protocols still exchange data after {MAX_ROUNDS} deliveries: each seems to answer the other forever");
}
