//! Tests of coroutines.

#[path = "../support/mod.rs"]
mod support;

mod cancel;
mod depth;
mod foreign;
mod resume;
mod several;
mod threads;
mod wakers;
