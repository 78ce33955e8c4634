//! Many Deferreds at once.

#[path = "../support/mod.rs"]
mod support;

mod cancel;
mod depth;
mod errors;
mod outcomes;
