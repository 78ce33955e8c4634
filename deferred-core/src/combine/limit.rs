//! `concurrent`: a call for each of many items, with limited concurrency.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, IntoFuture, poll_fn};
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::notice::{Notice, noticing_cancel};
use crate::coroutine::Wait;
use crate::deferred::{Deferred, IntoDeferred, Resolver, maybe_deferred_at};
use crate::engine::{Fired, Handle, enter, run_soon};
use crate::error::{CallSite, Cancelled, Failure, FirstError};
use crate::inspect::Kind;

/// Limits concurrency: `concurrent(4).map(urls, fetch)` calls `fetch` for each item, with at most 4
/// calls pending at a time.
///
/// # Panics
///
/// Panics if `limit` is 0, since no call could run.
///
/// # Examples
///
/// ```
/// use deferred_core::testing::success_result_of;
/// use deferred_core::{Deferred, concurrent};
///
/// let doubled = concurrent(2).map(1..=3, |n| Deferred::succeed(n * 2));
/// assert_eq!(success_result_of(doubled), [2, 4, 6]);
/// ```
#[doc(alias = "buffered")]
#[doc(alias = "buffer_unordered")]
#[doc(alias = "window")]
#[must_use = "a limit does nothing until `map` or `map_stream` is called"]
pub fn concurrent(limit: usize) -> Concurrent {
    assert!(limit > 0, "with a limit of 0 no call could run");
    Concurrent { limit, in_order: true }
}

/// A concurrency limit. [`concurrent`] creates it.
#[derive(Clone, Copy, Debug)]
#[must_use = "a limit does nothing until `map` or `map_stream` is called"]
pub struct Concurrent {
    limit: usize,
    in_order: bool,
}

impl Concurrent {
    /// Makes [`map`](Self::map) and [`map_stream`](Self::map_stream) return the values in the order
    /// of completion instead of the order of the items.
    pub fn unordered(self) -> Concurrent {
        Concurrent { in_order: false, ..self }
    }

    /// Calls `f` for each item. The returned Deferred fires with all values.
    ///
    /// An item is taken from `items` only when its call can begin, so `items` may be long, or
    /// computed on demand. The loop uses no stack, for any number of items.
    ///
    /// To get the results of all calls instead of the first error, make each result a value:
    /// `concurrent(10).map(urls, |url| fetch(url).add_both(Ok::<_, Failure>))`.
    ///
    /// # Errors
    ///
    /// The returned Deferred fails with [`FirstError`]: the first error of a call and the index of
    /// its item. Before it fails, the pending calls are cancelled, and no further call begins. A
    /// panic of `items` has no index.
    ///
    /// # Cancellation
    ///
    /// Cancelling the returned Deferred cancels all pending calls, in order, and no further call
    /// begins. The returned Deferred fires when the pending calls have ended: with the first error,
    /// with all values if the `size_hint` of `items` shows that none is left, or else with
    /// [`Cancelled`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::RefCell;
    /// use std::rc::Rc;
    /// use deferred_core::testing::success_result_of;
    /// use deferred_core::{Deferred, Resolver, concurrent};
    ///
    /// let resolvers = Rc::new(RefCell::new(Vec::<Resolver<u32>>::new()));
    /// let calls = resolvers.clone();
    /// let all = concurrent(2).map(0..5, move |_| {
    ///     let (deferred, resolver) = Deferred::new();
    ///     calls.borrow_mut().push(resolver);
    ///     deferred
    /// });
    /// assert_eq!(resolvers.borrow().len(), 2);
    /// for n in 0..5 {
    ///     let resolver = resolvers.borrow_mut().remove(0);
    ///     resolver.callback(n);
    /// }
    /// assert_eq!(success_result_of(all), [0, 1, 2, 3, 4]);
    /// ```
    #[track_caller]
    pub fn map<I, R, F>(self, items: I, f: F) -> Deferred<Vec<R::Value>, FirstError>
    where
        I: IntoIterator<IntoIter: 'static>,
        R: IntoDeferred<Failure>,
        F: FnMut(I::Item) -> R + 'static,
    {
        self.run(Items(items.into_iter()), f, Location::caller())
    }

    /// Like [`map`](Self::map), but for the items of a stream. The next item is requested only when
    /// its call can begin.
    ///
    /// A coroutine polls the stream: see [`inline_callbacks`](crate::inline_callbacks) for streams
    /// that wait for futures other than Deferreds.
    ///
    /// # Errors
    ///
    /// Like [`map`](Self::map).
    ///
    /// # Cancellation
    ///
    /// Like [`map`](Self::map). The stream is not polled any more, and dropped at the end. If no
    /// call is pending, that is at once.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::testing::success_result_of;
    /// use deferred_core::{Deferred, DeferredQueue, concurrent};
    ///
    /// let numbers = DeferredQueue::<u32>::new();
    /// let doubled = concurrent(2).map_stream(numbers.stream(), |n| Deferred::succeed(n * 2));
    /// numbers.put(1).unwrap();
    /// numbers.put(2).unwrap();
    /// numbers.close();
    /// assert_eq!(success_result_of(doubled), [2, 4]);
    /// ```
    #[track_caller]
    pub fn map_stream<S, R, F>(self, stream: S, f: F) -> Deferred<Vec<R::Value>, FirstError>
    where
        S: Stream + 'static,
        R: IntoDeferred<Failure>,
        F: FnMut(S::Item) -> R + 'static,
    {
        self.run(stream, f, Location::caller())
    }

    fn run<S, R, F>(self, stream: S, mut f: F, at: CallSite) -> Deferred<Vec<R::Value>, FirstError>
    where
        S: Stream + 'static,
        R: IntoDeferred<Failure>,
        F: FnMut(S::Item) -> R + 'static,
    {
        let coroutine = |notice| async move {
            let (stream, calls) = (Box::pin(stream), Calls::new(at));
            let mut feed = Feed { stream, ended: false, limit: self.limit, notice, calls };
            let mut values = Vec::new();
            let mut index = 0;
            while let Some(next) = poll_fn(|context| feed.poll(context)).await {
                match next {
                    Next::Cancelled(error) => return Err(error),
                    Next::Item(item) => {
                        feed.calls.begin(index, maybe_deferred_at(at, || f(item)));
                        index += 1;
                    }
                    Next::Done(index, Ok(value)) => values.push((index, value)),
                    Next::Done(index, Err(error)) => {
                        let why = Cancelled::because("another call of the same `map` has failed");
                        feed.calls.cancel(&why);
                        return Err(FirstError::new(index, error));
                    }
                }
            }
            if self.in_order {
                values.sort_unstable_by_key(|(index, _)| *index);
            }
            Ok(values.into_iter().map(|(_, value)| value).collect())
        };
        // As a level of its own: if a call fails at once, the pending ones are cancelled before
        // this returns.
        enter(|| noticing_cancel(at, "concurrent", |notice| Deferred::from_coroutine_at(at, coroutine(notice))))
    }
}

/// The next event of the loop.
enum Next<I, T> {
    Item(I),
    /// The call with this index has this result.
    Done(usize, Result<T, Failure>),
    /// The loop was cancelled, and no call is pending.
    Cancelled(FirstError),
}

struct Feed<S, T: 'static> {
    stream: Pin<Box<S>>,
    ended: bool,
    limit: usize,
    notice: Notice,
    calls: Calls<T>,
}

impl<S: Stream, T: 'static> Feed<S, T> {
    /// Returns the next event. `Ready(None)` once everything is done.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Next<S::Item, T>>> {
        if let Some((index, result)) = self.calls.take_done() {
            return Poll::Ready(Some(Next::Done(index, result)));
        }
        if self.notice.is_cancelled() {
            // An item that was taken now would be lost.
            self.ended |= self.stream.size_hint().1 == Some(0);
        } else if !self.ended && self.calls.running() < self.limit {
            match self.stream.as_mut().poll_next(context) {
                Poll::Ready(Some(item)) => return Poll::Ready(Some(Next::Item(item))),
                Poll::Ready(None) => self.ended = true,
                Poll::Pending => {}
            }
        }
        if self.calls.running() > 0 {
            match self.calls.poll_ended(context) {
                Poll::Ready(()) => self.poll(context),
                Poll::Pending => Poll::Pending,
            }
        } else if self.ended {
            Poll::Ready(None)
        } else {
            self.notice.error().map_or(Poll::Pending, |error| Poll::Ready(Some(Next::Cancelled(error))))
        }
    }
}

/// The pending calls, and the results of finished calls that were not taken yet.
struct Calls<T: 'static> {
    shared: Rc<Shared<T>>,
    waiting: Option<Wait<()>>,
    at: CallSite,
}

struct Shared<T: 'static> {
    running: RefCell<BTreeMap<usize, Handle>>,
    done: RefCell<VecDeque<(usize, Result<T, Failure>)>>,
    waiting: Cell<Option<Resolver<()>>>,
}

impl<T: 'static> Calls<T> {
    fn new(at: CallSite) -> Self {
        let shared = Shared { running: RefCell::default(), done: RefCell::default(), waiting: Cell::new(None) };
        Calls { shared: Rc::new(shared), waiting: None, at }
    }

    fn running(&self) -> usize {
        self.shared.running.borrow().len()
    }

    fn begin(&self, index: usize, call: Deferred<T>) {
        match call.into_result_or_chain() {
            Ok(result) => self.shared.done.borrow_mut().push_back((index, result)),
            Err(chain) => {
                self.shared.running.borrow_mut().insert(index, chain.handle_for_waiter());
                let shared = self.shared.clone();
                chain.consume(move |result| shared.ended(index, result));
            }
        }
    }

    fn take_done(&mut self) -> Option<(usize, Result<T, Failure>)> {
        // Dropping it before it has fired would cancel the calls.
        match self.shared.waiting.take() {
            None => self.waiting = None,
            waiting => self.shared.waiting.set(waiting),
        }
        self.shared.done.borrow_mut().pop_front()
    }

    /// Waits until a call has a result. Meanwhile a Deferred passes each cancel on to all pending
    /// calls.
    fn poll_ended(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let (shared, at) = (&self.shared, self.at);
        let waiting = self.waiting.get_or_insert_with(|| {
            let calls = shared.clone();
            let (ended, resolver) = Deferred::forwarding_at(at, move |why| calls.each(|call| call.pass_cancel(why)));
            shared.waiting.set(Some(resolver));
            let calls = Rc::downgrade(shared);
            let ended = ended.describe(move |it| {
                calls.upgrade().into_iter().for_each(|calls| calls.each(|call| it.waits_for_handle(call)));
                it.set_kind(Kind::Group);
                it.set_details("concurrent calls");
            });
            ended.into_future()
        });
        Pin::new(waiting).poll(context).map(|_| ())
    }

    /// Cancels all pending calls after the current callback.
    fn cancel(&self, why: &Cancelled) {
        if let Some(waiting) = self.shared.waiting.take() {
            run_soon(waiting.source.set_result(Ok(())));
        }
        self.shared.each(|call| call.cancel_soon(why));
    }
}

/// Cancels the pending calls at the end, also after a panic of the items.
impl<T: 'static> Drop for Calls<T> {
    fn drop(&mut self) {
        if self.running() > 0 {
            self.cancel(&Cancelled::because("its `map` has ended"));
        }
    }
}

impl<T: 'static> Shared<T> {
    fn each(&self, f: impl FnMut(&Handle)) {
        self.running.borrow().values().for_each(f);
    }

    fn ended(&self, index: usize, result: Result<T, Failure>) -> Option<Fired> {
        let handle = self.running.borrow_mut().remove(&index);
        drop(handle); // after the borrow
        self.done.borrow_mut().push_back((index, result));
        self.waiting.take().map(|resolver| resolver.source.set_result(Ok(())))
    }
}

/// An iterator as a stream.
struct Items<I>(I);

/// The iterator is never pinned.
impl<I> Unpin for Items<I> {}

impl<I: Iterator> Stream for Items<I> {
    type Item = I::Item;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<I::Item>> {
        Poll::Ready(self.0.next())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}
