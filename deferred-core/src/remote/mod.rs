//! Transfers across threads: results into the loop, results out of it, and blocking calls.
//!
//! | from | to | by |
//! | --- | --- | --- |
//! | another thread | a [`Deferred`](crate::Deferred) of the loop | `resolver`: [`RemoteResolver`] |
//! | another thread | a queue of the loop | `queue`: [`RemoteSender`] |
//! | any thread | another thread, or a task of any runtime | `future`: [`RemoteCompleter`] and [`RemoteFuture`] |
//! | the loop | another thread, or a task of any runtime | `blocking`: [`into_remote`](crate::Deferred::into_remote) |
//! | another thread | a call on the loop, and back | `blocking`: [`blocking_call_from_thread`](crate::ReactorHandle::blocking_call_from_thread) |
//! | the loop | another thread: what is pending | `pending` |
//!
//! All of them reach the loop through the reactor's inbox: [`ReactorHandle`](crate::ReactorHandle).

mod blocking;
mod future;
mod pending;
mod queue;
mod resolver;

pub use blocking::WouldDeadlock;
pub use future::{RemoteCompleter, RemoteFuture};
pub use queue::RemoteSender;
pub use resolver::RemoteResolver;
