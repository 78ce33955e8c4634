//! What stands on the reactor's timers, and the clock of a test.

mod clock;
mod later;
mod looping;
mod timeout;

pub use clock::Clock;
pub use looping::LoopingCall;
