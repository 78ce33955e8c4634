//! Several of different types.

use std::cell::Cell;
use std::panic::Location;
use std::rc::Rc;

use super::gather::gather_at;
use crate::deferred::Deferred;
use crate::engine::StageOutput;
use crate::error::{CallSite, DeferredError, FirstError};

/// [`gather`](crate::gather) for Deferreds of different types: a tuple of two to six of them.
///
/// # Errors
///
/// [`FirstError`], with the index of the one that failed.
///
/// # Cancellation
///
/// As [`gather`](crate::gather).
///
/// # Examples
///
/// ```
/// use deferred_core::{Deferred, gather_tuple};
///
/// let both = gather_tuple((Deferred::succeed(1), Deferred::succeed("one")));
/// assert_eq!(both.try_take().unwrap().unwrap(), (1, "one"));
/// ```
#[track_caller]
pub fn gather_tuple<E: DeferredError, D: Tuple<E>>(deferreds: D) -> Deferred<D::Values, FirstError<E>> {
    deferreds.gather(Location::caller())
}

/// A tuple of Deferreds: see [`gather_tuple`].
pub trait Tuple<E: DeferredError>: Sealed {
    /// Their values.
    type Values: 'static;

    #[doc(hidden)]
    fn gather(self, at: CallSite) -> Deferred<Self::Values, FirstError<E>>;
}

/// Keeps the trait from being implemented elsewhere, so that tuples may become longer.
pub trait Sealed {}

macro_rules! tuple {
    ($($name:ident $index:tt),+) => {
        impl<E: DeferredError, $($name: 'static),+> Sealed for ($(Deferred<$name, E>,)+) {}

        impl<E: DeferredError, $($name: 'static),+> Tuple<E> for ($(Deferred<$name, E>,)+) {
            type Values = ($($name,)+);

            fn gather(self, at: CallSite) -> Deferred<Self::Values, FirstError<E>> {
                // Each leaves its value in its place, and the end takes them all, or drops them if
                // one has failed. What comes later is dropped at once.
                let values = Rc::new(($(Cell::new(None::<$name>),)+));
                let over = Rc::new(Cell::new(false));
                let members = [$({
                    let (values, over) = (values.clone(), over.clone());
                    self.$index.add_stage_at(at, move |result| {
                        StageOutput::Ready(result.map(|value| {
                            if over.get() {
                                drop(value);
                            } else {
                                values.$index.set(Some(value));
                            }
                        }))
                    })
                }),+];
                gather_at(members, at).add_stage_at(at, move |result| {
                    over.set(true);
                    let values = ($(values.$index.take(),)+);
                    StageOutput::Ready(result.map(|_| ($(values.$index.expect("all have succeeded"),)+)))
                })
            }
        }
    };
}

tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);
tuple!(A 0, B 1, C 2, D 3, F 4);
tuple!(A 0, B 1, C 2, D 3, F 4, G 5);
