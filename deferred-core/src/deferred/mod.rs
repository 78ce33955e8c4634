//! [`Deferred`] and what stands around it: the typed face of the engine.
//!
//! - this file: what a Deferred is, looking at it, cancelling and pausing it;
//! - `make`: how one is made;
//! - `add`: how callbacks are added;
//! - `into`: what callbacks may return;
//! - `resolver`, `handle`: the half that fires, and what reaches a Deferred that has gone
//!   elsewhere;
//! - `repeat`: a loop whose body may wait;
//! - `ready`: a result that needs no block.

mod add;
mod handle;
mod into;
mod make;
mod ready;
mod repeat;
mod resolver;

use std::fmt;

pub use handle::{CancelHandle, Pause};
pub use into::IntoDeferred;
pub(crate) use into::refuse_nested;
pub(crate) use make::maybe_deferred_at;
pub use make::{maybe_deferred, try_deferred};
pub use repeat::repeat_until;
pub use resolver::Resolver;

use crate::engine::{Chain, StageOutput};
use crate::error::{CallSite, Cancelled, DeferredError, Failure};
use ready::Ready;

/// A result that may not be there yet, and the callbacks that wait for it.
///
/// Twisted's Deferred with types. It is the half that consumes: each `add_*` takes it and returns
/// one of the type that the callback gives. The other half is the [`Resolver`], which fires it.
/// Callbacks run synchronously, in the order in which they were added, inside the call that fires,
/// or inside `add_*` where the result is already there; each gets what the one before it left.
///
/// It lives on one thread, so that callbacks may capture `Rc` and `RefCell`:
///
/// ```compile_fail
/// let deferred = deferred_core::Deferred::succeed(1);
/// std::thread::spawn(move || drop(deferred));
/// ```
///
/// # What dropping means
///
/// | dropped | what happens |
/// | --- | --- |
/// | a `Deferred` | its chain runs on; an error at the end of it is reported as unhandled |
/// | a [`Resolver`] | the Deferred fires [`Abandoned`](crate::Abandoned) |
/// | a [`Pause`] | the pause ends |
/// | a [`CancelHandle`] | nothing |
/// | a `Wait`, which is what `.await` holds | the Deferred is cancelled, and what comes of that counts as handled |
/// | a `Permit`, a `GateGuard` of a gate | it is given back |
///
/// What a drop fires while a callback runs comes right after that callback. A callback on a
/// Deferred that is ready runs inside the call that adds it, so if that is in a callback, what it
/// drops comes right after the outer one. So it does in a callback that is inside of more than
/// sixteen calls which fire by hand: there would be no end to the stack otherwise.
///
/// # Cancellation
///
/// Only [`cancel`](Deferred::cancel), a [`CancelHandle`], or dropping what `.await` has made of it,
/// cancels.
///
/// # Examples
///
/// ```
/// use deferred_core::{Deferred, Failure};
///
/// let (deferred, resolver) = Deferred::<u32>::new();
/// let deferred = deferred
///     .add_callback(|rows| if rows > 0 { Ok(rows * 2) } else { Err(Failure::msg("no rows")) })
///     .add_errback(|failure| {
///         println!("{failure}");
///         Ok(0)
///     });
/// resolver.callback(21);
/// assert_eq!(deferred.try_take().unwrap().unwrap(), 42);
/// ```
pub struct Deferred<T, E: DeferredError = Failure> {
    state: State<T, E>,
}

enum State<T, E: DeferredError> {
    Ready(Ready<T, E>),
    Pending(Chain<T, E>),
}

impl<T: 'static, E: DeferredError> Deferred<T, E> {
    #[inline(always)]
    pub(crate) fn ready(result: Result<T, E>, made: CallSite, last: CallSite) -> Self {
        Deferred { state: State::Ready(Ready::new(result, made, last)) }
    }

    #[inline(always)]
    pub(crate) fn pending(chain: Chain<T, E>) -> Self {
        Deferred { state: State::Pending(chain) }
    }

    /// What a stage that was added at `at` has left.
    #[inline(always)]
    pub(crate) fn from_output(output: StageOutput<T, E>, made: CallSite, at: CallSite) -> Self {
        match output {
            StageOutput::Ready(result) => Self::ready(result, made, at),
            StageOutput::Pending(chain) => Self::pending(chain),
        }
    }

    /// What a stage leaves that returned this Deferred.
    #[inline(always)]
    pub(crate) fn into_output(self) -> StageOutput<T, E> {
        match self.state {
            State::Ready(ready) => StageOutput::Ready(ready.take()),
            State::Pending(chain) => StageOutput::Pending(chain),
        }
    }

    /// The result of one that is ready without a block, else the chain.
    pub(crate) fn into_result_or_chain(self) -> Result<Result<T, E>, Chain<T, E>> {
        match self.state {
            State::Ready(ready) => Ok(ready.take()),
            State::Pending(chain) => Err(chain),
        }
    }

    /// Takes the result of one that is ready without a block. Nothing else may be asked of it
    /// afterwards.
    #[inline(always)]
    pub(crate) fn take_ready(&mut self) -> Option<Result<T, E>> {
        match &mut self.state {
            State::Ready(ready) => Some(ready.take_result()),
            State::Pending(_) => None,
        }
    }

    /// Takes the result for good, when it is there.
    pub(crate) fn into_end(self, f: impl FnOnce(Result<T, E>) + 'static) {
        match self.into_result_or_chain() {
            Ok(result) => f(result),
            Err(chain) => chain.consume(move |result| {
                f(result);
                None
            }),
        }
    }

    /// The chain of one that is not ready, or that was and has a block.
    #[inline(always)]
    pub(crate) fn as_chain(&mut self) -> Option<&mut Chain<T, E>> {
        match &mut self.state {
            State::Ready(_) => None,
            State::Pending(chain) => Some(chain),
        }
    }

    /// The chain, which a result that is there gets now.
    fn chain(&mut self) -> &mut Chain<T, E> {
        if let State::Ready(ready) = &mut self.state {
            self.state = State::Pending(Chain::from_ready(ready.take_result(), ready.made, ready.last));
        }
        match &mut self.state {
            State::Pending(chain) => chain,
            State::Ready(_) => unreachable!("it has a chain now"),
        }
    }

    /// Whether the result is there: all callbacks have run, and none of them left something to wait
    /// for.
    ///
    /// One that is paused is not ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        match &self.state {
            State::Ready(_) => true,
            State::Pending(chain) => chain.is_ready(),
        }
    }

    /// Looks at the result, if it is there, and leaves it.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::Deferred;
    ///
    /// let (mut deferred, resolver) = Deferred::<u32>::new();
    /// assert!(deferred.peek().is_none());
    /// resolver.callback(1);
    /// assert_eq!(deferred.peek().unwrap().unwrap(), &1);
    /// ```
    #[must_use]
    pub fn peek(&mut self) -> Option<Result<&T, &E>> {
        match &mut self.state {
            State::Ready(ready) => Some(ready.get().as_ref()),
            State::Pending(chain) => chain.peek().map(Result::as_ref),
        }
    }

    /// Takes the result, if it is there. An error that is taken counts as handled.
    ///
    /// # Errors
    ///
    /// The Deferred as it was, if the result is not there.
    #[inline]
    pub fn try_take(self) -> Result<Result<T, E>, Self> {
        match self.state {
            State::Ready(ready) => Ok(ready.take()),
            State::Pending(chain) if chain.is_ready() => Ok(chain.take()),
            state => Err(Deferred { state }),
        }
    }

    /// Cancels: nobody wants the result any more.
    ///
    /// - Not fired yet: its canceller is called, at most once; then it fires [`Cancelled`], unless
    ///   the canceller has decided otherwise. What its [`Resolver`] brings afterwards is ignored.
    /// - A callback has returned another Deferred, which it waits for: that one is cancelled.
    /// - Its result is there, or its callbacks run just now: nothing happens.
    ///
    /// Callbacks run inside this call. A canceller that panics fires [`Panicked`](crate::Panicked).
    ///
    /// Twisted's `cancel`. Where Deferreds wait for each other in a circle, a cancel ends and does
    /// nothing.
    pub fn cancel(&self) {
        self.cancel_with(&Cancelled::new());
    }

    /// As [`cancel`](Deferred::cancel), and says why: the reason comes with the error.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::{Cancelled, Deferred};
    ///
    /// let (deferred, _resolver) = Deferred::<u32>::new();
    /// deferred.cancel_with(&Cancelled::because("the window was closed"));
    /// let failure = deferred.try_take().unwrap().unwrap_err();
    /// assert_eq!(format!("{failure:#}"), "cancelled: the window was closed");
    /// ```
    pub fn cancel_with(&self, why: &Cancelled) {
        if let State::Pending(chain) = &self.state {
            chain.cancel(why);
        }
    }

    /// A handle that cancels this Deferred wherever it goes.
    #[must_use]
    pub fn cancel_handle(&mut self) -> CancelHandle {
        CancelHandle(self.chain().handle())
    }

    /// Holds the callbacks that have not begun back, until the guard that this gives has ended.
    ///
    /// Paused inside a callback of its own, too: the next one waits. (In Twisted it runs.)
    pub fn pause(&mut self) -> Pause {
        Pause::new(self.chain().handle())
    }
}

impl<T: 'static, E: DeferredError> fmt::Debug for Deferred<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (made, last) = match &self.state {
            State::Ready(ready) => (ready.made, ready.last),
            State::Pending(chain) => (chain.made(), chain.last()),
        };
        f.debug_struct("Deferred")
            .field("is_ready", &self.is_ready())
            .field("made_at", &format_args!("{made}"))
            .field("last_added_at", &format_args!("{last}"))
            .finish_non_exhaustive()
    }
}
