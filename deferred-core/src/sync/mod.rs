//! Queues, locks and gates. All of them serve their waiters in FIFO order.
//!
//! - `queue`: `DeferredQueue`; `stream`: the queue as a `Stream` and a `Sink`;
//! - `semaphore`: `DeferredSemaphore`; `lock`: `DeferredLock`; `permit`: the guard of both;
//! - `gate`: `Gate`, which admits work until it is closed;
//! - `waiters`: the FIFO queue of waiters under all of them.

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
