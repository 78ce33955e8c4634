//! `fold` and `repeat_times`: one call after the other.

use std::panic::Location;

use super::notice::{Notice, noticing_cancel};
use crate::context::Context;
use crate::deferred::{Deferred, IntoDeferred};
use crate::engine::{StageOutput, settle};
use crate::error::{CallSite, DeferredError, Failure};

/// Calls `f` with `init` and the first item, waits for the result, calls `f` with that and the next
/// item, and so on. The returned Deferred fires with the last result, or with `init` if there are
/// no items.
///
/// An item is taken from `items` only when its call begins. The loop uses no stack, for any number
/// of items, whether `f` returns a ready result or waits.
///
/// # Errors
///
/// The returned Deferred fails with the first error or panic of `f`, or a panic of `items`. `f` is
/// not called again then.
///
/// # Cancellation
///
/// Cancelling the returned Deferred cancels the Deferred that `f` returned, and no further call
/// begins: if that Deferred fires with a value all the same, the returned one fails with
/// [`Cancelled`](crate::Cancelled), unless the `size_hint` of `items` shows that none is left.
///
/// # Examples
///
/// ```
/// use deferred_core::testing::success_result_of;
/// use deferred_core::{Deferred, fold};
///
/// let sum = fold(1..=4, 0, |sum, n| Deferred::succeed(sum + n));
/// assert_eq!(success_result_of(sum), 10);
/// ```
#[doc(alias = "reduce")]
#[track_caller]
pub fn fold<A, I, R, F>(items: I, init: A, mut f: F) -> Deferred<A>
where
    A: 'static,
    I: IntoIterator<IntoIter: 'static>,
    R: IntoDeferred<Failure, Value = A>,
    F: FnMut(A, I::Item) -> R + 'static,
{
    let (items, at, context) = (items.into_iter(), Location::caller(), Context::current());
    let items = InContext { items, context: context.clone() };
    let f = move |value, item| context.run(|| f(value, item));
    noticing_cancel(at, "fold", |notice| {
        let begin = |init: Result<A, Failure>| init.map_or_else(failed, |init| steps(items, init, f, notice, at));
        Deferred::from_output(settle(Ok(init), at, at, begin), at, at)
    })
}

/// Calls `f` `count` times, with 0, 1 and so on, and waits for each result before the next call.
/// Like [`fold`], but without a value; errors and a cancel have the same effects.
///
/// # Examples
///
/// ```
/// use deferred_core::repeat_times;
///
/// let done = repeat_times(3, |n| println!("{n}"));
/// assert!(done.is_ready());
/// ```
#[track_caller]
pub fn repeat_times<R, F>(count: u64, mut f: F) -> Deferred<()>
where
    R: IntoDeferred<Failure, Value = ()>,
    F: FnMut(u64) -> R + 'static,
{
    fold(0..count, (), move |(), n| f(n))
}

fn failed<A: 'static, E: DeferredError>(error: E) -> StageOutput<A, E> {
    StageOutput::Ready(Err(error))
}

fn steps<A, I, E, R, F>(mut items: I, mut value: A, mut f: F, notice: Notice, at: CallSite) -> StageOutput<A, E>
where
    A: 'static,
    I: Iterator + 'static,
    E: DeferredError,
    R: IntoDeferred<E, Value = A>,
    F: FnMut(A, I::Item) -> R + 'static,
{
    loop {
        // An item that was taken after a cancel would be lost.
        if let Some(cancelled) = notice.error().filter(|_| items.size_hint().1 != Some(0)) {
            return failed(cancelled);
        }
        let Some(item) = items.next() else { return StageOutput::Ready(Ok(value)) };
        // Taken if it is ready, so that calls that never wait run in this loop and not nested.
        let step = match f(value, item).into_deferred().into_output() {
            StageOutput::Pending(chain) if chain.is_ready() => StageOutput::Ready(chain.take()),
            step => step,
        };
        match step {
            StageOutput::Ready(Ok(next)) => value = next,
            StageOutput::Ready(Err(error)) => return failed(error),
            // A tail call: the output of this stage takes the place of the step that waited.
            StageOutput::Pending(chain) => {
                return chain.add_stage(at, move |step| match step {
                    Ok(next) => steps(items, next, f, notice, at),
                    Err(error) => failed(error),
                });
            }
        }
    }
}

/// The items, which are computed in the context of the fold.
struct InContext<I> {
    items: I,
    context: Context,
}

impl<I: Iterator> Iterator for InContext<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        let items = &mut self.items;
        self.context.run(|| items.next())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.context.run(|| self.items.size_hint())
    }
}
