//! What `.await` makes of a Deferred.

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

/// A [`Deferred`] that is being waited for; `.await` makes it, and `into_future` for `join!` and
/// `select!`.
///
/// In a coroutine ([`inline_callbacks`](crate::inline_callbacks)) it is resumed inside the call
/// that fires the Deferred. In any other future of this thread, whichever executor polls that, it
/// wakes the waker that it was polled with.
///
/// # Cancellation
///
/// Dropping it before it is done cancels the Deferred, right after the callback that runs just now.
/// What that brings counts as handled.
///
/// # Examples
///
/// ```
/// use std::future::IntoFuture;
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
/// assert_eq!(sum.try_take().unwrap().unwrap(), 3);
/// ```
#[must_use = "a future does nothing unless it is polled, and dropping this one cancels its Deferred"]
pub struct Wait<T: 'static, E: DeferredError = Failure> {
    /// None once it is done. Dropped by hand: the compiler would look again at one that is done.
    deferred: ManuallyDrop<Option<Deferred<T, E>>>,
    watched: ManuallyDrop<Option<Watched>>,
    at: CallSite,
}

/// Who is told when the result is there.
enum Watched {
    /// The coroutine that has polled it, by the number of that wait.
    Direct(Pin<Rc<dyn Coroutine>>, u64),
    /// Whoever was the last to poll it.
    Last(Rc<RefCell<Poller>>),
}

/// Who polled last.
#[derive(Default)]
struct Poller {
    /// None if that is the coroutine itself.
    waker: Option<Waker>,
    /// The coroutine, if there is one, and its wait.
    coroutine: Option<(Pin<Rc<dyn Coroutine>>, u64)>,
}

impl Poller {
    /// It waits no longer.
    fn end_wait(self) {
        if let Some((coroutine, number)) = self.coroutine {
            coroutine.awaited().end(number);
        }
    }

    /// Whether this is who polls now, with that waker; `direct` says that it is the coroutine's.
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

    #[inline(always)]
    #[track_caller]
    fn into_future(self) -> Wait<T, E> {
        let (deferred, watched) = (ManuallyDrop::new(Some(self)), ManuallyDrop::new(None));
        Wait { deferred, watched, at: Location::caller() }
    }
}

/// It holds no pointer into itself.
impl<T: 'static, E: DeferredError> Unpin for Wait<T, E> {}

impl<T: 'static, E: DeferredError> Future for Wait<T, E> {
    type Output = Result<T, E>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, E>> {
        let this = &mut *self;
        if let Some(result) = this.deferred.as_mut().and_then(Deferred::take_ready) {
            // Nothing is left in it, which the compiler does not see.
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
            panic!("a Wait was polled after it was done");
        };
        if chain.is_ready() {
            let result = chain.take_result();
            self.end_wait();
            drop(self.deferred.take());
            return Poll::Ready(with_location(result, self.at));
        }
        let again = self.watched.take();
        let watched = match again {
            None => first_watch(chain, context.waker()),
            Some(watched) => watch_again(chain, watched, context.waker()),
        };
        if watched.is_none() {
            // The coroutine's chain goes on; its result has no owner any more.
            drop(self.deferred.take());
            return Poll::Ready(Err(error_with_location(BuiltinError::from(Cycle::new()).into(), self.at)));
        }
        self.watched = ManuallyDrop::new(watched);
        Poll::Pending
    }

    #[inline(always)]
    fn end_wait(&mut self) {
        match self.watched.take() {
            None => {}
            Some(Watched::Direct(coroutine, number)) => {
                coroutine.awaited().end(number);
            }
            Some(Watched::Last(poller)) => {
                poller.replace(Poller::default()).end_wait();
            }
        }
    }

    /// The result, if it is there. If it is not, this gives it up as a drop does.
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

#[inline(always)]
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

/// The result is not there, and this is the first who waits for it.
#[inline(always)]
fn first_watch<T: 'static, E: DeferredError>(chain: &mut Chain<T, E>, waker: &Waker) -> Option<Watched> {
    let polls = if current::is_polled_with(waker) { current::coroutine() } else { None };
    let Some(coroutine) = polls else { return watch_by_poller(chain, waker) };
    if coroutine.awaited().is_own(chain.id()) {
        return None;
    }
    let number = coroutine.awaited().begin();
    let told = coroutine.clone();
    let handle = chain.on_ready(move || if told.awaited().end(number) { told.resume() } else { None });
    coroutine.awaited().add(number, handle);
    Some(Watched::Direct(coroutine, number))
}

/// One record for whoever will have polled last.
#[cold]
fn watch_by_poller<T: 'static, E: DeferredError>(chain: &mut Chain<T, E>, waker: &Waker) -> Option<Watched> {
    if is_own(chain) {
        return None;
    }
    let poller = Rc::new(RefCell::new(Poller::default()));
    let told = poller.clone();
    let handle = chain.on_ready(move || {
        let Poller { waker, coroutine } = told.take();
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
    Some(Watched::Last(poller))
}

/// Whether it is the Deferred of the coroutine that polls.
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

/// It is polled again, perhaps by somebody else.
#[cold]
fn watch_again<T: 'static, E: DeferredError>(
    chain: &mut Chain<T, E>,
    watched: Watched,
    waker: &Waker,
) -> Option<Watched> {
    let (polls, direct) = (current::coroutine(), current::is_polled_with(waker));
    match &watched {
        Watched::Direct(coroutine, number) => {
            if direct && polls.is_some_and(|polls| is_same(&polls, coroutine)) {
                return Some(watched);
            }
            coroutine.awaited().end(*number);
            watch_by_poller(chain, waker)
        }
        Watched::Last(poller) => {
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
    #[inline(always)]
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
