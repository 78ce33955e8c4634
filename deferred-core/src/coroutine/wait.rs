//! `Wait`: the future that `.await` creates from a Deferred.

use std::cell::RefCell;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::mem::{self, ManuallyDrop};
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures_core::FusedFuture;

use super::current;
use super::task::Coroutine;
use crate::deferred::Deferred;
use crate::engine::{Chain, Handle};
use crate::error::{BuiltinError, CallSite, Cancelled, Cycle, DeferredError, Failure};

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
    registration: ManuallyDrop<Option<Registration>>,
    at: CallSite,
}

/// The registration with the Deferred: what happens when the result is ready.
enum Registration {
    /// Resumes the coroutine that has polled this, whose wait has this number.
    Direct(Pin<Rc<dyn Coroutine>>, u64),
    /// Wakes the last poller.
    Last(Rc<RefCell<Poller>>),
}

/// The task that polled last.
#[derive(Default)]
struct Poller {
    /// `None` if that is the coroutine itself.
    waker: Option<Waker>,
    /// The coroutine and the number of its wait, if a coroutine polled.
    coroutine: Option<(Pin<Rc<dyn Coroutine>>, u64)>,
}

impl Poller {
    /// Ends the wait of the coroutine.
    fn end_wait(self) {
        if let Some((coroutine, number)) = self.coroutine {
            coroutine.awaited().end(number);
        }
    }

    /// Returns `true` if this task is the one that polls now, with that waker. `direct` is `true`
    /// if that is the coroutine's own.
    fn is(&self, polls: Option<&Pin<Rc<dyn Coroutine>>>, waker: &Waker, direct: bool) -> bool {
        let same_waker = match &self.waker {
            Some(before) => before.will_wake(waker),
            None => direct,
        };
        same_waker
            && match (&self.coroutine, polls) {
                (None, None) => true,
                (Some((before, _)), Some(polls)) => is_same(before, polls),
                _ => false,
            }
    }
}

impl<T: 'static, E: DeferredError> IntoFuture for Deferred<T, E> {
    type Output = Result<T, E>;
    type IntoFuture = Wait<T, E>;

    #[inline]
    #[track_caller]
    fn into_future(self) -> Wait<T, E> {
        let (deferred, registration) = (ManuallyDrop::new(Some(self)), ManuallyDrop::new(None));
        Wait { deferred, registration, at: Location::caller() }
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
            let result = chain.take_result();
            self.end_wait();
            drop(self.deferred.take());
            return Poll::Ready(with_location(result, self.at));
        }
        let again = self.registration.take();
        let watched = match again {
            None => register_first(chain, context.waker()),
            Some(watched) => register_again(chain, watched, context.waker()),
        };
        if watched.is_none() {
            // The chain is the coroutine's own; its result has no owner any more.
            drop(self.deferred.take());
            return Poll::Ready(Err(error_with_location(BuiltinError::from(Cycle::new()).into(), self.at)));
        }
        self.registration = ManuallyDrop::new(watched);
        Poll::Pending
    }

    // As `#[inline]`, a lock that is handed over takes 0.7 % more instructions (bench: sync/).
    #[inline(always)]
    fn end_wait(&mut self) {
        match self.registration.take() {
            None => {}
            Some(Registration::Direct(coroutine, number)) => {
                coroutine.awaited().end(number);
            }
            Some(Registration::Last(poller)) => {
                poller.replace(Poller::default()).end_wait();
            }
        }
    }

    /// Returns the result if it is ready. Otherwise gives it up like a drop.
    pub(crate) fn into_result(mut self) -> Option<Result<T, E>> {
        let deferred = self.deferred.as_mut()?;
        let result = match deferred.as_chain() {
            None => deferred.take_ready()?,
            Some(chain) if chain.is_ready() => chain.take_result(),
            Some(_) => return None,
        };
        self.end_wait();
        drop(self.deferred.take());
        Some(result)
    }

    #[cold]
    fn give_up(&mut self) {
        self.end_wait();
        if let Some(Err(chain)) = self.deferred.take().map(Deferred::into_result_or_chain) {
            chain.cancel_and_ignore(&Cancelled::new());
        }
    }
}

#[inline]
fn with_location<T, E: DeferredError>(result: Result<T, E>, at: CallSite) -> Result<T, E> {
    match result {
        Ok(value) => Ok(value),
        Err(error) => Err(error_with_location(error, at)),
    }
}

#[cold]
fn error_with_location<E: DeferredError>(mut error: E, at: CallSite) -> E {
    error.add_location(at);
    error
}

/// Registers the first poll with a Deferred that is not ready. Returns `None` if a coroutine awaits
/// its own Deferred.
#[inline]
fn register_first<T: 'static, E: DeferredError>(chain: &mut Chain<T, E>, waker: &Waker) -> Option<Registration> {
    let polls = if current::is_polled_with(waker) { current::coroutine() } else { None };
    let Some(coroutine) = polls else { return register_poller(chain, waker) };
    if coroutine.awaited().is_own(chain.id()) {
        return None;
    }
    let number = coroutine.awaited().begin();
    let resumes = coroutine.clone();
    let handle = chain.on_ready(move || if resumes.awaited().end(number) { resumes.resume() } else { None });
    coroutine.awaited().add(number, handle);
    Some(Registration::Direct(coroutine, number))
}

/// Appends one record that wakes the task that will have polled last.
#[cold]
fn register_poller<T: 'static, E: DeferredError>(chain: &mut Chain<T, E>, waker: &Waker) -> Option<Registration> {
    if is_own(chain) {
        return None;
    }
    let poller = Rc::new(RefCell::new(Poller::default()));
    let last = poller.clone();
    let handle = chain.on_ready(move || {
        let Poller { waker, coroutine } = last.take();
        let ended = coroutine.filter(|(coroutine, number)| coroutine.awaited().end(*number));
        match waker {
            Some(waker) => {
                waker.wake();
                None
            }
            None => ended.and_then(|(coroutine, _)| coroutine.resume()),
        }
    });
    set_poller(&poller, waker, handle);
    Some(Registration::Last(poller))
}

/// Returns `true` if this is the Deferred of the coroutine that polls.
fn is_own<T: 'static, E: DeferredError>(chain: &Chain<T, E>) -> bool {
    current::coroutine().is_some_and(|coroutine| coroutine.awaited().is_own(chain.id()))
}

fn set_poller(poller: &Rc<RefCell<Poller>>, waker: &Waker, handle: Handle) {
    let coroutine = current::coroutine().map(|coroutine| {
        let number = coroutine.awaited().begin();
        coroutine.awaited().add(number, handle);
        (coroutine, number)
    });
    let waker = (!current::is_polled_with(waker)).then(|| waker.clone());
    poller.replace(Poller { waker, coroutine }).end_wait();
}

/// Registers a further poll, perhaps of another task.
#[cold]
fn register_again<T: 'static, E: DeferredError>(
    chain: &mut Chain<T, E>,
    watched: Registration,
    waker: &Waker,
) -> Option<Registration> {
    let (polls, direct) = (current::coroutine(), current::is_polled_with(waker));
    match &watched {
        Registration::Direct(coroutine, number) => {
            if direct && polls.is_some_and(|polls| is_same(&polls, coroutine)) {
                return Some(watched);
            }
            coroutine.awaited().end(*number);
            register_poller(chain, waker)
        }
        Registration::Last(poller) => {
            let same = poller.borrow().is(polls.as_ref(), waker, direct);
            if !same && is_own(chain) {
                poller.replace(Poller::default()).end_wait();
                return None;
            }
            if !same {
                set_poller(poller, waker, chain.handle_for_waiter());
            }
            Some(watched)
        }
    }
}

fn is_same(one: &Pin<Rc<dyn Coroutine>>, other: &Pin<Rc<dyn Coroutine>>) -> bool {
    std::ptr::addr_eq(&raw const **one, &raw const **other)
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
