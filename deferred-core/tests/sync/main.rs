//! Tests of the queue, the lock, the semaphore and the gate.

#[path = "../support/mod.rs"]
mod support;

mod depth;
mod gate;
mod handover;
mod order;
mod permits;
mod queue;
mod stream;
