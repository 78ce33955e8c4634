//! Tests of `Deferred`, `Resolver` and the error types.

#[path = "../support/count.rs"]
mod count;
#[path = "../support/mod.rs"]
mod support;

mod cancel;
mod cancel_handles;
mod chain;
mod depth;
mod failure;
mod finally;
mod interop;
mod levels;
mod nested;
mod ok_deferred;
mod panics;
mod pause;
mod reentrant;
mod repeat;
mod shapes;
mod take;
mod testing;
