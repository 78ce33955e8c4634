//! `Wait`: the future that `.await` creates from a Deferred.

use std::cell::Cell;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::mem::{self, ManuallyDrop};
use std::panic::Location;
use std::pin::Pin;
use std::ptr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures_core::FusedFuture;

use super::current;
use super::task::{Coroutine, Registered};
use crate::abort::never_unwinding;
use crate::deferred::Deferred;
use crate::engine::{Chain, Fired, Handle, Resume, Waiting};
use crate::error::{BuiltinError, CallSite, Cancelled, Cycle, DeferredError, Failure};
use crate::reactor::undriven;

/// The future of a [`Deferred`]. `.await` creates it, or `into_future` for `join!` and `select!`.
///
/// A coroutine ([`inline_callbacks`](crate::inline_callbacks)) is resumed inside the call that
/// fires the Deferred. Any other future of this thread, on any executor, is woken through the waker
/// of its last poll.
///
/// # Cancellation
///
/// Dropping a `Wait` before it is complete cancels the Deferred, right after the callback that runs
/// now. The result of that counts as handled.
///
/// # Examples
///
/// ```
/// use std::future::IntoFuture;
/// use deferred_core::testing::success_result_of;
/// use deferred_core::{Deferred, inline_callbacks};
/// use futures::join;
///
/// let (left, resolve_left) = Deferred::<u32>::new();
/// let (right, resolve_right) = Deferred::<u32>::new();
/// let sum = inline_callbacks(async move {
///     let (left, right) = join!(left.into_future(), right.into_future());
///     Ok(left? + right?)
/// });
/// resolve_right.callback(2);
/// resolve_left.callback(1);
/// assert_eq!(success_result_of(sum), 3);
/// ```
#[must_use = "a future does nothing unless it is polled, and dropping this one cancels its Deferred"]
pub struct Wait<T: 'static, E: DeferredError = Failure> {
    /// `None` once the future is complete. Dropped by hand, since the compiler would check a
    /// complete one again.
    deferred: ManuallyDrop<Option<Deferred<T, E>>>,
    registration: ManuallyDrop<Registration>,
    at: CallSite,
}

/// The task to which the block of the Deferred refers while it waits.
struct Registration {
    /// The poller. `None` also if the block refers to the coroutine itself.
    poller: Option<Pin<Rc<Poller>>>,
    /// The address of that coroutine. It is only compared, while the block keeps the coroutine.
    coroutine: usize,
}

/// The task that polled last, if it is not only a coroutine.
struct Poller {
    last: Cell<Last>,
    at: CallSite,
}

#[derive(Default)]
struct Last {
    /// `None` if the task is the coroutine itself.
    waker: Option<Waker>,
    /// The coroutine and the number of its wait, if a coroutine polled.
    coroutine: Option<Waiting>,
}

impl Poller {
    /// Returns `true` if the task that polls now, with that waker, polled last. `direct` is `true`
    /// if the waker is that of `coroutine`.
    fn is_last(&self, coroutine: Option<&Pin<Rc<dyn Coroutine>>>, waker: &Waker, direct: bool) -> bool {
        let last = self.last.take();
        let same_waker = match &last.waker {
            Some(before) => before.will_wake(waker),
            None => direct,
        };
        let same_coroutine = match (&last.coroutine, coroutine) {
            (None, None) => true,
            (Some(before), Some(coroutine)) => is_same(before, coroutine),
            _ => false,
        };
        self.last.set(last);
        same_waker && same_coroutine
    }

    /// Makes the task that polls now the last one. Returns `false` if it is a coroutine that awaits
    /// its own Deferred.
    fn set(&self, handle: &Handle, coroutine: Option<Pin<Rc<dyn Coroutine>>>, waker: Option<&Waker>) -> bool {
        let waker = waker.cloned();
        let waiting = match coroutine {
            None => None,
            Some(coroutine) => match coroutine.head().awaited.begin(handle.clone()) {
                None => return false,
                Some(wait) => Some((coroutine.into_resume(), wait)),
            },
        };
        self.replace(Last { waker, coroutine: waiting });
        true
    }

    /// Replaces the task that polled last, and ends its wait.
    fn replace(&self, new: Last) {
        let last = self.last.replace(new);
        if let Some((coroutine, wait)) = last.coroutine {
            coroutine.end_wait(wait);
        }
    }
}

impl Resume for Poller {
    fn own_block(&self) -> usize {
        0
    }

    fn made_at(&self) -> CallSite {
        self.at
    }

    fn resume(self: Pin<Rc<Self>>, _: u64) -> Option<Fired> {
        let Last { waker, coroutine } = self.last.take();
        match (waker, coroutine) {
            (None, coroutine) => coroutine.and_then(|(coroutine, wait)| coroutine.resume(wait)),
            (Some(waker), coroutine) => {
                if let Some((coroutine, wait)) = coroutine {
                    coroutine.end_wait(wait);
                }
                waker.wake();
                None
            }
        }
    }

    fn end_wait(&self, _: u64) {
        self.replace(Last::default());
    }
}

impl<T: 'static, E: DeferredError> IntoFuture for Deferred<T, E> {
    type Output = Result<T, E>;
    type IntoFuture = Wait<T, E>;

    #[inline]
    #[track_caller]
    fn into_future(self) -> Wait<T, E> {
        let registration = Registration { poller: None, coroutine: 0 };
        Wait {
            deferred: ManuallyDrop::new(Some(self)),
            registration: ManuallyDrop::new(registration),
            at: Location::caller(),
        }
    }
}

/// A `Wait` holds no pointer into itself.
impl<T: 'static, E: DeferredError> Unpin for Wait<T, E> {}

impl<T: 'static, E: DeferredError> Future for Wait<T, E> {
    type Output = Result<T, E>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, E>> {
        let this = &mut *self;
        if let Some(result) = this.deferred.as_mut().and_then(Deferred::take_ready) {
            // It is empty now, which the compiler cannot know.
            mem::forget(this.deferred.take());
            return Poll::Ready(with_location(result, this.at));
        }
        this.poll_chain(context)
    }
}

impl<T: 'static, E: DeferredError> Wait<T, E> {
    #[inline(never)]
    fn poll_chain(&mut self, context: &mut Context<'_>) -> Poll<Result<T, E>> {
        let Some(chain) = self.deferred.as_mut().and_then(Deferred::as_chain) else {
            panic!("a Wait was polled after it was complete");
        };
        if chain.is_ready() {
            return Poll::Ready(with_location(self.take_result(), self.at));
        }
        if register(chain.as_handle(), &mut self.registration, context.waker(), self.at) {
            return Poll::Pending;
        }
        self.end_with_cycle()
    }

    /// Takes the result, which is ready.
    #[inline]
    fn take_result(&mut self) -> Result<T, E> {
        let deferred = self.deferred.take().map(Deferred::into_result_or_chain);
        let result = deferred.expect("the future is not complete").unwrap_or_else(Chain::take);
        drop(self.registration.poller.take());
        result
    }

    /// Ends the wait of a coroutine for its own Deferred, whose result has no owner any more.
    #[cold]
    fn end_with_cycle(&mut self) -> Poll<Result<T, E>> {
        drop(self.deferred.take());
        drop(self.registration.poller.take());
        Poll::Ready(Err(error_with_location(BuiltinError::from(Cycle::new()).into(), self.at)))
    }

    /// Returns the result if it is ready. Otherwise gives it up like a drop.
    pub(crate) fn into_result(mut self) -> Option<Result<T, E>> {
        self.deferred.as_ref().is_some_and(Deferred::is_ready).then(|| self.take_result())
    }

    #[cold]
    fn give_up(&mut self) {
        if let Some(Err(chain)) = self.deferred.take().map(Deferred::into_result_or_chain) {
            end_wait(chain.as_handle());
            chain.cancel_and_ignore(&Cancelled::new());
        }
        drop(self.registration.poller.take());
    }
}

/// Adds a location to the trail of an error.
#[inline]
fn with_location<T, E: DeferredError>(result: Result<T, E>, at: CallSite) -> Result<T, E> {
    match result {
        Ok(value) => Ok(value),
        Err(error) => Err(error_with_location(error, at)),
    }
}

#[cold]
fn error_with_location<E: DeferredError>(mut error: E, at: CallSite) -> E {
    never_unwinding(|| error.add_location(at));
    error
}

/// Has the task that polls resumed or woken when the result of a Deferred is ready, which it is
/// not. Returns `false` if a coroutine awaits its own Deferred.
#[inline]
fn register(handle: &Handle, registration: &mut Registration, waker: &Waker, at: CallSite) -> bool {
    if registration.poller.is_none() && !handle.is_awaited() {
        if let Some(coroutine) = current::coroutine() {
            registration.coroutine = address(&coroutine);
            match coroutine.wait_for(handle, waker) {
                Registered::Done => return true,
                Registered::Own => return false,
                Registered::OtherWaker => {}
            }
        }
    }
    register_any(handle, registration, waker, at)
}

/// Like [`register`], for a further poll and for any waker.
#[cold]
fn register_any(handle: &Handle, registration: &mut Registration, waker: &Waker, at: CallSite) -> bool {
    let coroutine = current::coroutine();
    let is_direct = coroutine.as_ref().is_some_and(|coroutine| coroutine.head().is_polled_with(waker));
    if let Some(poller) = &registration.poller {
        return poller.is_last(coroutine.as_ref(), waker, is_direct)
            || poller.set(handle, coroutine, (!is_direct).then_some(waker));
    }
    if let Some(coroutine) = coroutine.as_ref().filter(|_| is_direct) {
        if handle.is_awaited() && registration.coroutine == address(coroutine) {
            return true;
        }
        end_wait(handle);
        registration.coroutine = address(coroutine);
        return matches!(coroutine.clone().wait_for(handle, waker), Registered::Done);
    }
    if coroutine.is_none() {
        undriven::awaited_at(at);
    }
    end_wait(handle);
    let new = registration.poller.insert(Rc::pin(Poller { last: Cell::default(), at }));
    handle.push_waiting(new.clone(), 0);
    new.set(handle, coroutine, Some(waker))
}

fn address(coroutine: &Pin<Rc<dyn Coroutine>>) -> usize {
    (&raw const **coroutine).addr()
}

/// Takes back the record that would resume or wake the task that polled last, and ends its wait.
fn end_wait(handle: &Handle) {
    if let Some((task, wait)) = handle.take_waiting() {
        task.end_wait(wait);
    }
}

fn is_same(waiting: &Waiting, coroutine: &Pin<Rc<dyn Coroutine>>) -> bool {
    ptr::addr_eq(&raw const *waiting.0, &raw const **coroutine)
}

impl<T: 'static, E: DeferredError> FusedFuture for Wait<T, E> {
    fn is_terminated(&self) -> bool {
        self.deferred.is_none()
    }
}

impl<T: 'static, E: DeferredError> Drop for Wait<T, E> {
    #[inline]
    fn drop(&mut self) {
        if self.deferred.is_some() {
            self.give_up();
        }
    }
}

impl<T: 'static, E: DeferredError> fmt::Debug for Wait<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait").field("is_terminated", &self.is_terminated()).finish_non_exhaustive()
    }
}
