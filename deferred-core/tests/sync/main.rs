//! Waiting in line.

#[path = "../support/mod.rs"]
mod support;

mod depth;
mod gate;
mod handover;
mod permits;
mod queue;
mod stream;
