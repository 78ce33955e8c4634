//! What `.await` makes of a Deferred.

use std::cell::RefCell;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::mem;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures_core::FusedFuture;

use super::current;
use super::task::Coroutine;
use crate::deferred::Deferred;
use crate::engine::Chain;
use crate::error::{Cancelled, Failure, Fault};

/// A [`Deferred`] that is being waited for; `.await` makes it, and `into_future` for `join!` and `select!`.
///
/// In a coroutine ([`inline_callbacks`](crate::inline_callbacks)) it is resumed inside the call that fires the Deferred.
/// In any other future of this thread, whichever executor polls that, it wakes the waker that it was polled with.
///
/// # Cancellation
///
/// Dropping it before it is done cancels the Deferred, right after the callback that runs just now. What that brings
/// counts as handled.
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
pub struct Wait<T: 'static, E: Fault = Failure> {
    state: State<T, E>,
    at: &'static Location<'static>,
}

enum State<T: 'static, E: Fault> {
    Deferred(Deferred<T, E>),
    Watched(Chain<T, E>, Watched),
    Done,
}

/// Who is told when the result is there.
enum Watched {
    /// The coroutine that has polled it, by that wait.
    Direct(Pin<Rc<dyn Coroutine>>, u64),
    /// Whoever was the last to poll it.
    Last(Rc<RefCell<Poller>>),
}

/// Who polled last.
struct Poller {
    /// None if that is the coroutine itself.
    waker: Option<Waker>,
    /// The coroutine, if there is one, and its wait.
    coroutine: Option<(Pin<Rc<dyn Coroutine>>, u64)>,
}

impl Poller {
    /// It waits no longer.
    fn end_wait(&mut self) -> bool {
        self.coroutine.take().is_some_and(|(coroutine, number)| coroutine.shared().end_wait(number))
    }
}

impl Watched {
    fn end_wait(&self) {
        match self {
            Watched::Direct(coroutine, number) => {
                coroutine.shared().end_wait(*number);
            }
            Watched::Last(poller) => {
                let mut before = mem::replace(&mut *poller.borrow_mut(), Poller { waker: None, coroutine: None });
                before.end_wait();
            }
        }
    }
}

impl<T: 'static, E: Fault> IntoFuture for Deferred<T, E> {
    type Output = Result<T, E>;
    type IntoFuture = Wait<T, E>;

    #[inline(always)]
    #[track_caller]
    fn into_future(self) -> Wait<T, E> {
        Wait { state: State::Deferred(self), at: Location::caller() }
    }
}

impl<T: 'static, E: Fault> Wait<T, E> {
    /// The result, if it is there. If it is not, this gives it up as a drop does.
    pub(crate) fn into_result(mut self) -> Option<Result<T, E>> {
        match mem::replace(&mut self.state, State::Done) {
            State::Deferred(deferred) => match deferred.try_take() {
                Ok(result) => Some(result),
                Err(deferred) => {
                    self.state = State::Deferred(deferred);
                    None
                }
            },
            State::Watched(chain, watched) if chain.is_done() => {
                watched.end_wait();
                Some(chain.take())
            }
            state => {
                self.state = state;
                None
            }
        }
    }
}

/// It holds no pointer into itself.
impl<T: 'static, E: Fault> Unpin for Wait<T, E> {}

impl<T: 'static, E: Fault> Future for Wait<T, E> {
    type Output = Result<T, E>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, E>> {
        let result = match mem::replace(&mut self.state, State::Done) {
            State::Deferred(deferred) => match deferred.try_take() {
                Ok(result) => result,
                Err(deferred) => {
                    self.state = first_watch(deferred.into_chain(), context.waker());
                    return Poll::Pending;
                }
            },
            State::Watched(chain, watched) if chain.is_done() => {
                watched.end_wait();
                chain.take()
            }
            State::Watched(chain, watched) => {
                self.state = watch_again(chain, watched, context.waker());
                return Poll::Pending;
            }
            State::Done => panic!("a Wait was polled after it was done"),
        };
        Poll::Ready(match result {
            Ok(value) => Ok(value),
            Err(error) => Err(passed(error, self.at)),
        })
    }
}

#[cold]
fn passed<E: Fault>(mut error: E, at: &'static Location<'static>) -> E {
    error.passed(at);
    error
}

/// The result is not there, and this is the first who waits for it.
fn first_watch<T: 'static, E: Fault>(mut chain: Chain<T, E>, waker: &Waker) -> State<T, E> {
    match current::who(waker) {
        Some((coroutine, true)) => {
            let number = coroutine.shared().begin_wait();
            let told = coroutine.clone();
            let handle = chain.watch(move || if told.shared().end_wait(number) { told.resume() } else { None });
            coroutine.shared().awaits(number, handle);
            State::Watched(chain, Watched::Direct(coroutine, number))
        }
        _ => watch_by_poller(chain, waker),
    }
}

/// One record for whoever will have polled last.
fn watch_by_poller<T: 'static, E: Fault>(mut chain: Chain<T, E>, waker: &Waker) -> State<T, E> {
    let poller = Rc::new(RefCell::new(Poller { waker: None, coroutine: None }));
    let told = poller.clone();
    let handle = chain.watch(move || {
        let Poller { waker, coroutine } = told.replace(Poller { waker: None, coroutine: None });
        let ended = coroutine.filter(|(coroutine, number)| coroutine.shared().end_wait(*number));
        match waker {
            Some(waker) => {
                waker.wake();
                None
            }
            None => ended.and_then(|(coroutine, _)| coroutine.resume()),
        }
    });
    set_poller(&poller, waker, handle);
    State::Watched(chain, Watched::Last(poller))
}

fn set_poller(poller: &Rc<RefCell<Poller>>, waker: &Waker, handle: crate::engine::Handle) {
    let who = current::who(waker);
    let direct = who.as_ref().is_some_and(|(_, direct)| *direct);
    let coroutine = who.map(|(coroutine, _)| {
        let number = coroutine.shared().begin_wait();
        coroutine.shared().awaits(number, handle);
        (coroutine, number)
    });
    let waker = (!direct).then(|| waker.clone());
    let mut before = poller.replace(Poller { waker, coroutine });
    before.end_wait();
}

/// It is polled again, perhaps by somebody else.
fn watch_again<T: 'static, E: Fault>(chain: Chain<T, E>, watched: Watched, waker: &Waker) -> State<T, E> {
    match &watched {
        Watched::Direct(coroutine, number) => match current::who(waker) {
            Some((polls, true)) if is_same(&polls, coroutine) => State::Watched(chain, watched),
            _ => {
                coroutine.shared().end_wait(*number);
                watch_by_poller(chain, waker)
            }
        },
        Watched::Last(poller) => {
            let same = {
                let poller = poller.borrow();
                let same_waker = poller.waker.as_ref().is_some_and(|before| before.will_wake(waker));
                let who = current::who(waker);
                match (&poller.coroutine, &who) {
                    (None, None) => same_waker,
                    (Some((before, _)), Some((polls, direct))) => {
                        is_same(before, polls) && if *direct { poller.waker.is_none() } else { same_waker }
                    }
                    _ => false,
                }
            };
            if !same {
                set_poller(poller, waker, chain.awaited_handle());
            }
            State::Watched(chain, watched)
        }
    }
}

fn is_same(one: &Pin<Rc<dyn Coroutine>>, other: &Pin<Rc<dyn Coroutine>>) -> bool {
    std::ptr::addr_eq(&raw const **one, &raw const **other)
}

impl<T: 'static, E: Fault> FusedFuture for Wait<T, E> {
    fn is_terminated(&self) -> bool {
        matches!(self.state, State::Done)
    }
}

impl<T: 'static, E: Fault> Drop for Wait<T, E> {
    #[inline]
    fn drop(&mut self) {
        match mem::replace(&mut self.state, State::Done) {
            State::Done => {}
            State::Deferred(deferred) => match deferred.try_take() {
                Ok(_) => {}
                Err(deferred) => deferred.into_chain().forsake(&Cancelled::new()),
            },
            State::Watched(chain, watched) => {
                watched.end_wait();
                chain.forsake(&Cancelled::new());
            }
        }
    }
}

impl<T: 'static, E: Fault> fmt::Debug for Wait<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait").field("is_terminated", &self.is_terminated()).finish_non_exhaustive()
    }
}
