//! Transfers across threads: results into the loop, results out of it, and calls on it.
//!
//! | from | to | by |
//! | --- | --- | --- |
//! | another thread | a [`Deferred`](crate::Deferred) of the loop | `resolver`: [`RemoteResolver`] |
//! | another thread | a queue of the loop | `queue`: [`RemoteSender`] |
//! | any thread | another thread, or a task of any runtime | `future`: [`RemoteCompleter`] and [`RemoteFuture`] |
//! | the loop | another thread, or a task of any runtime | `calls`: [`into_remote`](crate::Deferred::into_remote) |
//! | another thread, or a task of any runtime | a call on the loop, and back | `calls`: [`call`](crate::ReactorHandle::call) and [`blocking_call_from_thread`](crate::ReactorHandle::blocking_call_from_thread) |
//! | the same | a loop on a thread of its own, with its state | `reactor_thread`: [`ReactorThread`] |
//! | a future on another executor | a Deferred of the loop | `spawn`: [`spawn_with`](crate::Reactor::spawn_with) |
//! | the loop | another thread: what is pending | `pending` |
//!
//! All of them reach the loop through the reactor's inbox: [`ReactorHandle`](crate::ReactorHandle).

mod calls;
mod future;
mod pending;
mod queue;
mod reactor_thread;
mod resolver;
mod spawn;

pub use calls::WouldDeadlock;
pub use future::{RemoteCompleter, RemoteFuture};
pub use queue::RemoteSender;
pub use reactor_thread::ReactorThread;
pub use resolver::RemoteResolver;
pub use spawn::RemoteTask;
