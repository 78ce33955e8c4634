//! Waiting in line: first come, first served.
//!
//! - `waiters`: the line itself;
//! - `semaphore`: permits; `lock`: one permit; `permit`: who holds some;
//! - `queue`: values from who puts them to who gets them; `stream`: its face for futures;
//! - `gate`: what lets work in until it is closed, and then waits for what is inside.

mod gate;
mod lock;
mod permit;
mod queue;
mod semaphore;
mod stream;
mod waiters;

pub use gate::{Gate, GateClosed, GateGuard};
pub use lock::DeferredLock;
pub use permit::{NotHeld, Permit};
pub(crate) use queue::Feeder;
pub use queue::{DeferredQueue, Overflow, QueueClosed, QueueOverflow, QueueUnderflow};
pub use semaphore::DeferredSemaphore;
pub use stream::{QueueSink, QueueStream};
pub(crate) use waiters::Waiters;
