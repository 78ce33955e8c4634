//! `repeat_until`: a loop whose body may wait.

use std::ops::ControlFlow;
use std::panic::Location;

use super::{Deferred, IntoDeferred};
use crate::context::Context;
use crate::engine::{StageOutput, settle};
use crate::error::{CallSite, Failure};

/// Calls `body` repeatedly, and waits for its result each time, until it returns `Break`. The
/// returned Deferred fires with the value of the `Break`.
///
/// The first call happens inside this call, each later one inside the call that fires the Deferred
/// of the previous round. The loop uses no stack and no memory for its rounds, whether its body is
/// ready at once or waits. Use it instead of a callback on a ready Deferred that calls itself.
///
/// # Errors
///
/// An error or panic of the body ends the loop, and is the error of the returned Deferred.
///
/// # Cancellation
///
/// Cancelling the returned Deferred cancels the Deferred that the body waits for. If the body turns
/// that into a value, the loop goes on.
///
/// # Examples
///
/// ```
/// use std::ops::ControlFlow;
///
/// use deferred_core::testing::success_result_of;
/// use deferred_core::repeat_until;
///
/// let mut rounds = 0;
/// let deferred = repeat_until(move || {
///     rounds += 1;
///     Ok(if rounds < 1000 { ControlFlow::Continue(()) } else { ControlFlow::Break(rounds) })
/// });
/// assert_eq!(success_result_of(deferred), 1000);
/// ```
#[doc(alias = "loop_fn")]
#[track_caller]
pub fn repeat_until<B, R, F>(body: F) -> Deferred<B>
where
    B: 'static,
    R: IntoDeferred<Failure, Value = ControlFlow<B>>,
    F: FnMut() -> R + 'static,
{
    repeat_until_at(Location::caller(), body)
}

/// Like [`repeat_until`], but with the location of the creation.
pub(crate) fn repeat_until_at<B, R, F>(at: CallSite, mut body: F) -> Deferred<B>
where
    B: 'static,
    R: IntoDeferred<Failure, Value = ControlFlow<B>>,
    F: FnMut() -> R + 'static,
{
    let context = Context::current();
    let body = move || context.run(&mut body);
    Deferred::from_output(settle(Ok::<_, Failure>(()), at, at, |_| rounds(body, at)), at, at)
}

fn rounds<B, R, F>(mut body: F, at: CallSite) -> StageOutput<B, Failure>
where
    B: 'static,
    R: IntoDeferred<Failure, Value = ControlFlow<B>>,
    F: FnMut() -> R + 'static,
{
    loop {
        // Taken if it is ready, so that the rounds of a body that never waits run in this loop and
        // not nested.
        let round = match body().into_deferred().into_output() {
            StageOutput::Pending(chain) if chain.is_ready() => StageOutput::Ready(chain.take()),
            round => round,
        };
        match round {
            StageOutput::Ready(Ok(ControlFlow::Continue(()))) => {}
            StageOutput::Ready(Ok(ControlFlow::Break(value))) => return StageOutput::Ready(Ok(value)),
            StageOutput::Ready(Err(error)) => return StageOutput::Ready(Err(error)),
            // A tail call: the output of this stage takes the place of the round that waited.
            StageOutput::Pending(chain) => {
                return chain.add_stage(at, move |round| match round {
                    Ok(ControlFlow::Continue(())) => rounds(body, at),
                    Ok(ControlFlow::Break(value)) => StageOutput::Ready(Ok(value)),
                    Err(error) => StageOutput::Ready(Err(error)),
                });
            }
        }
    }
}
