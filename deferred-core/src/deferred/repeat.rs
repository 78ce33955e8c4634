//! A loop whose body may wait.

use std::ops::ControlFlow;
use std::panic::Location;

use super::{Deferred, IntoDeferred};
use crate::engine::{StageOutput, settle};
use crate::error::{CallSite, Failure};

/// Runs `body` again and again, each time waiting for its result, until it breaks; then has what it
/// broke with.
///
/// The first run is inside this call, the later ones where the Deferred of the one before fires. It
/// needs no stack and no memory for its rounds, whether its body is ready at once or waits: this is
/// the loop for whoever would otherwise have a callback on a ready Deferred call itself. An error
/// or a panic of the body ends it with that error.
///
/// # Cancellation
///
/// Cancelling cancels what the body waits for; if the body makes a value of that, the loop goes on.
///
/// # Examples
///
/// ```
/// use std::ops::ControlFlow;
///
/// use deferred_core::repeat_until;
///
/// let mut rounds = 0;
/// let deferred = repeat_until(move || {
///     rounds += 1;
///     Ok(if rounds < 1000 { ControlFlow::Continue(()) } else { ControlFlow::Break(rounds) })
/// });
/// assert_eq!(deferred.try_take().unwrap().unwrap(), 1000);
/// ```
#[track_caller]
pub fn repeat_until<B, R, F>(body: F) -> Deferred<B>
where
    B: 'static,
    R: IntoDeferred<Failure, Value = ControlFlow<B>>,
    F: FnMut() -> R + 'static,
{
    let at = Location::caller();
    Deferred::from_output(settle(Ok::<_, Failure>(()), at, at, |_| rounds(body, at)), at, at)
}

fn rounds<B, R, F>(mut body: F, at: CallSite) -> StageOutput<B, Failure>
where
    B: 'static,
    R: IntoDeferred<Failure, Value = ControlFlow<B>>,
    F: FnMut() -> R + 'static,
{
    loop {
        // Taken if it is there, so that a body that never waits runs in this loop and not one
        // inside the other.
        let round = match body().into_deferred().into_output() {
            StageOutput::Pending(chain) if chain.is_ready() => StageOutput::Ready(chain.take()),
            round => round,
        };
        match round {
            StageOutput::Ready(Ok(ControlFlow::Continue(()))) => {}
            StageOutput::Ready(Ok(ControlFlow::Break(value))) => return StageOutput::Ready(Ok(value)),
            StageOutput::Ready(Err(error)) => return StageOutput::Ready(Err(error)),
            // A tail call: what this leaves takes the place of the round that waited.
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
