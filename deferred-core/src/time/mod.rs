//! What stands on the reactor's timers, and the clock of a test.

mod clock;
mod cooperator;
mod defer_later;
mod looping;
mod retry;
mod timeout;

pub use clock::Clock;
pub use cooperator::{CooperativeTask, Cooperator, TaskFinished, TaskStopped};
pub use looping::LoopingCall;
pub use retry::Backoff;
