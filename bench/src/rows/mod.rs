//! The rows: one function for each, or two for a growth row.

mod combine;
mod coroutine;
pub(crate) mod database;
mod engine;
mod growth;
mod load;
mod net;
mod once;
pub(crate) mod pool;
mod post;
mod size;
mod sync;
mod time;
pub(crate) mod tokio_driver;

use crate::plan::Entry;

/// Returns all rows in the order of the table.
pub(crate) fn all() -> Vec<Entry> {
    let sizes = [size::sizes(), time::sizes(), net::sizes()];
    let rows = [
        engine::rows(),
        once::rows(),
        coroutine::rows(),
        combine::rows(),
        sync::rows(),
        time::rows(),
        post::rows(),
        pool::rows(),
        database::rows(),
        net::rows(),
        tokio_driver::rows(),
    ];
    let sizes = sizes.into_iter().flatten().map(Entry::Size);
    let rows = rows.into_iter().flatten().map(Entry::Row);
    sizes.chain(rows).chain(growth::all().into_iter().map(Entry::Growth)).chain([Entry::Group(load::group())]).collect()
}
