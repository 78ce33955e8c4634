//! The rows: one function each.

mod coroutine;
mod engine;
mod line;
mod many;

use crate::runner::{Row, Size};

pub(crate) fn all() -> Vec<Row> {
    let rows = [engine::rows(), coroutine::rows(), many::rows(), line::rows()];
    rows.into_iter().flatten().collect()
}

pub(crate) fn sizes() -> Vec<Size> {
    engine::sizes()
}
