//! The rows: one function each, or two of a growth.

mod coroutine;
mod engine;
mod growth;
mod line;
mod load;
mod many;
mod net;
mod once;
pub(crate) mod pool;
mod post;
mod size;
mod time;

use crate::plan::Entry;

/// In the order of the table.
pub(crate) fn all() -> Vec<Entry> {
    let sizes = [size::sizes(), time::sizes(), net::sizes()];
    let rows = [
        engine::rows(),
        once::rows(),
        coroutine::rows(),
        many::rows(),
        line::rows(),
        time::rows(),
        post::rows(),
        pool::rows(),
    ];
    let sizes = sizes.into_iter().flatten().map(Entry::Size);
    let rows = rows.into_iter().flatten().map(Entry::Row);
    sizes.chain(rows).chain(growth::all().into_iter().map(Entry::Growth)).chain([Entry::Group(load::group())]).collect()
}
