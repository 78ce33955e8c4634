//! The Deferred on the model engine, with which the real engine is compared.
//!
//! The typed interface and the errors are the files of deferred-core. Only `engine` differs: safe
//! Rust, with a box for every callback and every result, written to be correct and readable.

#![forbid(unsafe_code)]
#![allow(dead_code, unused_imports, unreachable_pub)] // the model uses only a part of the included files

#[path = "../../../deferred-core/src/abort.rs"]
mod abort;
#[path = "../../../deferred-core/src/context/mod.rs"]
mod context;
#[path = "../../../deferred-core/src/deferred/mod.rs"]
mod deferred;
mod engine;
#[path = "../../../deferred-core/src/error/mod.rs"]
mod error;
#[path = "../../../deferred-core/src/instant.rs"]
mod instant;
#[path = "../../../deferred-core/src/numbered.rs"]
mod numbered;
#[path = "../../../deferred-core/src/report/mod.rs"]
mod report;

pub use deferred::{CancelHandle, Deferred, IntoDeferred, Pause, Resolver, maybe_deferred, repeat_until};
pub use error::{
    Abandoned, BuiltinError, Cancelled, Cycle, DeferredError, Failure, NoReactor, Panicked, TimedOut, Trail, Trapped,
};
pub use report::{HookGuard, Unhandled, on_unhandled};
