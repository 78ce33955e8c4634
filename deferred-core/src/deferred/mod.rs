//! [`Deferred`] and its [`Resolver`]: the typed interface of the engine.
//!
//! - this file: `Deferred`, and the methods that take its result, cancel and pause it;
//! - `make`: functions that create a Deferred;
//! - `add`: the methods that add callbacks;
//! - `into`: the return types of callbacks;
//! - `resolver`: the half that fires;
//! - `handle`: `CancelHandle` and `Pause`;
//! - `repeat`: a loop whose body may wait;
//! - `ready`: a result without a block.

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
pub(crate) use repeat::repeat_until_at;
pub use resolver::Resolver;

use crate::engine::{Chain, StageOutput};
use crate::error::{CallSite, Cancelled, DeferredError, Failure};
use ready::Ready;

/// A result that may not be ready yet, and the callbacks that wait for it.
///
/// This is Twisted's Deferred with types. It is the consumer's half: each `add_*` method takes it
/// and returns a Deferred with the type of the callback. The other half is the [`Resolver`], which
/// fires it. Callbacks run synchronously in the order in which they were added: inside the call
/// that fires, or inside `add_*` if the Deferred is ready. Each gets the output of the one before.
///
/// A Deferred cannot move to another thread, so callbacks may capture `Rc` and `RefCell`:
///
/// ```compile_fail
/// let deferred = deferred_core::Deferred::succeed(1);
/// std::thread::spawn(move || drop(deferred));
/// ```
///
/// For the same reason a task of a multi-thread runtime, such as `tokio::spawn` starts, cannot hold
/// one across an `.await`. It uses one of these instead, which are `Send`:
///
/// | to | use |
/// | --- | --- |
/// | call the loop and await the result | [`ReactorHandle::call`](crate::ReactorHandle::call), or [`ReactorThread::call`](crate::ReactorThread::call) for a loop on a thread of its own |
/// | await a Deferred of the loop elsewhere | [`into_remote`](Deferred::into_remote), which makes it a [`RemoteFuture`](crate::RemoteFuture) |
/// | fire a Deferred of the loop from elsewhere | [`Reactor::remote`](crate::Reactor::remote), whose [`RemoteResolver`](crate::RemoteResolver) can move |
/// | await a callback that another thread calls | [`RemoteFuture::new`](crate::RemoteFuture::new) |
/// | run blocking work from any task | `ThreadPool::submit` of deferred-threadpool, which needs no reactor |
///
/// # What dropping means
///
/// | dropped | what happens |
/// | --- | --- |
/// | a `Deferred` | its callbacks still run; an error after the last one is reported as unhandled |
/// | a [`Resolver`] | the Deferred fires [`Abandoned`](crate::Abandoned) |
/// | a [`Pause`] | the pause ends |
/// | a [`CancelHandle`] | nothing |
/// | a `Wait`, the future that `.await` creates | the Deferred is cancelled, and its result counts as handled |
/// | a `Permit`, a `GateGuard` | it is released |
///
/// If a callback drops one of these, the effect comes right after that callback, with two
/// exceptions in which it comes after the outermost callback:
///
/// - The callback was added to a ready Deferred inside another callback, so it ran inside
///   `add_callback`.
/// - More than sixteen calls that fire are nested, because the stack would have no limit otherwise.
///
/// # Cancellation
///
/// Only [`cancel`](Deferred::cancel), a [`CancelHandle`], or dropping the future that `.await`
/// creates cancels a Deferred.
///
/// # Examples
///
/// ```
/// use deferred_core::testing::success_result_of;
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
/// assert_eq!(success_result_of(deferred), 42);
/// ```
pub struct Deferred<T, E: DeferredError = Failure> {
    state: State<T, E>,
}

enum State<T, E: DeferredError> {
    Ready(Ready<T, E>),
    Pending(Chain<T, E>),
}

impl<T: 'static, E: DeferredError> Deferred<T, E> {
    #[inline]
    pub(crate) fn with_result(result: Result<T, E>, made: CallSite, last: CallSite) -> Self {
        Deferred { state: State::Ready(Ready::new(result, made, last)) }
    }

    #[inline]
    pub(crate) fn with_chain(chain: Chain<T, E>) -> Self {
        Deferred { state: State::Pending(chain) }
    }

    /// Creates a Deferred from the output of a stage that was added at `at`.
    #[inline]
    pub(crate) fn from_output(output: StageOutput<T, E>, made: CallSite, at: CallSite) -> Self {
        match output {
            StageOutput::Ready(result) => Self::with_result(result, made, at),
            StageOutput::Pending(chain) => Self::with_chain(chain),
        }
    }

    /// Converts this Deferred into the output of a stage that returned it.
    #[inline]
    pub(crate) fn into_output(self) -> StageOutput<T, E> {
        match self.state {
            State::Ready(ready) => StageOutput::Ready(ready.take()),
            State::Pending(chain) => StageOutput::Pending(chain),
        }
    }

    /// Returns the result of a Deferred without a block, else its chain.
    pub(crate) fn into_result_or_chain(self) -> Result<Result<T, E>, Chain<T, E>> {
        match self.state {
            State::Ready(ready) => Ok(ready.take()),
            State::Pending(chain) => Err(chain),
        }
    }

    /// Takes the result of a Deferred without a block. Returns `None` if it has a block. The
    /// Deferred must not be used afterwards.
    #[inline]
    pub(crate) fn take_ready(&mut self) -> Option<Result<T, E>> {
        match &mut self.state {
            State::Ready(ready) => Some(ready.take_result()),
            State::Pending(_) => None,
        }
    }

    /// Calls `f` with the result, now or when it is ready.
    pub(crate) fn into_end(self, f: impl FnOnce(Result<T, E>) + 'static) {
        match self.into_result_or_chain() {
            Ok(result) => f(result),
            Err(chain) => chain.consume(move |result| {
                f(result);
                None
            }),
        }
    }

    /// Returns the chain of a Deferred with a block.
    #[inline]
    pub(crate) fn as_chain(&mut self) -> Option<&mut Chain<T, E>> {
        match &mut self.state {
            State::Ready(_) => None,
            State::Pending(chain) => Some(chain),
        }
    }

    /// Returns the chain. Creates a block if there is none.
    fn chain(&mut self) -> &mut Chain<T, E> {
        if let State::Ready(ready) = &mut self.state {
            self.state = State::Pending(Chain::from_ready(ready.take_result(), ready.made, ready.last));
        }
        match &mut self.state {
            State::Pending(chain) => chain,
            State::Ready(_) => unreachable!("a chain was created above"),
        }
    }

    /// Returns `true` if the result is ready: all callbacks have run, and none of them returned a
    /// Deferred that is still pending.
    ///
    /// A paused Deferred is not ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        match &self.state {
            State::Ready(_) => true,
            State::Pending(chain) => chain.is_ready(),
        }
    }

    /// Borrows the result, if it is ready.
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

    /// Takes the result, if it is ready. An error that is taken counts as handled.
    ///
    /// # Errors
    ///
    /// Returns the unchanged Deferred if it is not ready.
    #[inline]
    pub fn try_take(self) -> Result<Result<T, E>, Self> {
        match self.state {
            State::Ready(ready) => Ok(ready.take()),
            State::Pending(chain) if chain.is_ready() => Ok(chain.take()),
            state => Err(Deferred { state }),
        }
    }

    /// Cancels the Deferred.
    ///
    /// - If it is not fired, its canceller is called, at most once. Then it fires [`Cancelled`],
    ///   unless the canceller has decided on another result. A result with which its [`Resolver`]
    ///   fires it afterwards is dropped.
    /// - If a callback has returned another Deferred that is still pending, that one is cancelled.
    /// - If it is ready, or its callbacks run now, nothing happens.
    ///
    /// Callbacks run inside this call. If the canceller panics, the Deferred fires
    /// [`Panicked`](crate::Panicked).
    ///
    /// Twisted's `cancel`. If Deferreds wait for each other in a cycle, a cancel does nothing.
    pub fn cancel(&self) {
        self.cancel_with(&Cancelled::new());
    }

    /// Like [`cancel`](Deferred::cancel), but with a reason, which becomes part of the error.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::testing::failure_result_of;
    /// use deferred_core::{Cancelled, Deferred};
    ///
    /// let (deferred, _resolver) = Deferred::<u32>::new();
    /// deferred.cancel_with(&Cancelled::because("the window was closed"));
    /// let failure = failure_result_of(deferred);
    /// assert_eq!(format!("{failure:#}"), "cancelled: the window was closed");
    /// ```
    pub fn cancel_with(&self, reason: &Cancelled) {
        if let State::Pending(chain) = &self.state {
            chain.cancel(reason);
        }
    }

    /// Returns a handle that cancels this Deferred, also after it has been moved.
    #[must_use]
    pub fn cancel_handle(&mut self) -> CancelHandle {
        CancelHandle(self.chain().handle())
    }

    /// Pauses the Deferred: callbacks that have not begun wait until the returned guard is dropped
    /// or [unpaused](Pause::unpause).
    ///
    /// If a callback pauses its own Deferred, the next callback waits. (In Twisted it runs.)
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
