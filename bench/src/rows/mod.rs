//! The rows: one function each.

mod coroutine;
mod engine;
mod line;
mod many;
mod net;
pub(crate) mod pool;
mod post;
mod time;

use crate::runner::{Row, Size};

pub(crate) fn all() -> Vec<Row> {
    let rows =
        [engine::rows(), coroutine::rows(), many::rows(), line::rows(), time::rows(), post::rows(), pool::rows()];
    rows.into_iter().flatten().collect()
}

pub(crate) fn sizes() -> Vec<Size> {
    [engine::sizes(), time::sizes(), net::sizes()].into_iter().flatten().collect()
}
