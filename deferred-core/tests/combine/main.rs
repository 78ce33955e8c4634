//! Tests of the combinators.

#[path = "../support/mod.rs"]
mod support;

mod cancel;
mod depth;
mod errors;
mod fold;
mod limit;
mod outcomes;
mod scope;
mod shared;
mod tuple;
