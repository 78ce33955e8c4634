//! `gather_tuple`: waits for Deferreds of different types.

use std::cell::Cell;
use std::panic::Location;
use std::rc::Rc;

use super::gather::gather_at;
use crate::deferred::Deferred;
use crate::engine::StageOutput;
use crate::error::{CallSite, DeferredError, FirstError};

/// Like [`gather`](crate::gather), but for a tuple of two to six Deferreds of different types.
///
/// # Errors
///
/// The returned Deferred fails with [`FirstError`], which has the index of the Deferred that
/// failed.
///
/// # Cancellation
///
/// Like [`gather`](crate::gather).
///
/// # Examples
///
/// ```
/// use deferred_core::testing::success_result_of;
/// use deferred_core::{Deferred, gather_tuple};
///
/// let both = gather_tuple((Deferred::succeed(1), Deferred::succeed("one")));
/// assert_eq!(success_result_of(both), (1, "one"));
/// ```
#[track_caller]
pub fn gather_tuple<E: DeferredError, D: Tuple<E>>(deferreds: D) -> Deferred<D::Values, FirstError<E>> {
    deferreds.gather(Location::caller())
}

/// A tuple of Deferreds: see [`gather_tuple`].
pub trait Tuple<E: DeferredError>: Sealed {
    /// The tuple of the values.
    type Values: 'static;

    #[doc(hidden)]
    fn gather(self, at: CallSite) -> Deferred<Self::Values, FirstError<E>>;
}

/// Prevents implementations in other crates, so that longer tuples can be added.
pub trait Sealed {}

macro_rules! tuple {
    ($($name:ident $index:tt),+) => {
        impl<E: DeferredError, $($name: 'static),+> Sealed for ($(Deferred<$name, E>,)+) {}

        impl<E: DeferredError, $($name: 'static),+> Tuple<E> for ($(Deferred<$name, E>,)+) {
            type Values = ($($name,)+);

            fn gather(self, at: CallSite) -> Deferred<Self::Values, FirstError<E>> {
                // Each member stores its value in its cell. The end takes all values, or drops them
                // if a member has failed. Later values are dropped at once.
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
                    StageOutput::Ready(result.map(|_| ($(values.$index.expect("all members have succeeded"),)+)))
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
