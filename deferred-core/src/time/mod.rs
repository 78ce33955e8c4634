//! What stands on the reactor's timers.

mod looping;
mod timeout;

pub use looping::LoopingCall;
