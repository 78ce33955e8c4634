//! Functions that use the reactor's timers, and the clock of tests.
//!
//! - `clock`: `Clock`;
//! - `looping`: `LoopingCall`;
//! - `cooperator`: `Cooperator`;
//! - `defer_later`: `Reactor::defer_later` and `sleep`;
//! - `timeout`: `Deferred::add_timeout`;
//! - `retry`: `Reactor::retry` and `Backoff`.

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
