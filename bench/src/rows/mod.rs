//! The rows: one function each.

mod engine;

use crate::runner::{Row, Size};

pub(crate) fn all() -> Vec<Row> {
    engine::rows()
}

pub(crate) fn sizes() -> Vec<Size> {
    engine::sizes()
}
