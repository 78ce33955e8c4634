//! A call for each of many items, so many at a time.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, IntoFuture, poll_fn};
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::coroutine::Wait;
use crate::deferred::{Deferred, IntoDeferred, Resolver, maybe_deferred_at};
use crate::engine::{Fired, Handle, enter, run_soon};
use crate::error::{CallSite, Cancelled, Failure, FirstError};

/// Calls a function for each of many items, at most `limit` at a time:
/// `concurrent(4).map(urls, fetch)`.
///
/// # Panics
///
/// If `limit` is 0: nothing would ever run.
///
/// # Examples
///
/// ```
/// use deferred_core::{Deferred, concurrent};
///
/// let doubled = concurrent(2).map(1..=3, |n| Deferred::succeed(n * 2));
/// assert_eq!(doubled.try_take().unwrap().unwrap(), [2, 4, 6]);
/// ```
#[doc(alias = "buffered")]
#[doc(alias = "buffer_unordered")]
#[doc(alias = "window")]
#[must_use = "it does nothing before `map` or `map_stream`"]
pub fn concurrent(limit: usize) -> Concurrent {
    assert!(limit > 0, "with a limit of 0 nothing would ever run");
    Concurrent { limit, in_order: true }
}

/// How many at a time; [`concurrent`] gives it.
#[derive(Clone, Copy, Debug)]
#[must_use = "it does nothing before `map` or `map_stream`"]
pub struct Concurrent {
    limit: usize,
    in_order: bool,
}

impl Concurrent {
    /// Gives the values as they come, and not in the order of the items.
    pub fn unordered(self) -> Concurrent {
        Concurrent { in_order: false, ..self }
    }

    /// Calls `f` for each item, and gives the values once all are there.
    ///
    /// An item is taken from `items` only when its call can begin: those may be many, or made on
    /// the way. It needs no stack, however many there are.
    ///
    /// # Errors
    ///
    /// Through the Deferred: the first that a call has, with the index of its item. No further call
    /// begins then, and those that run are cancelled, before it fires. A panic of `items` has no
    /// index.
    ///
    /// # Cancellation
    ///
    /// Each cancel is passed on to all calls that run, in order. What they bring decides.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::RefCell;
    /// use std::rc::Rc;
    /// use deferred_core::{Deferred, Resolver, concurrent};
    ///
    /// let begun = Rc::new(RefCell::new(Vec::<Resolver<u32>>::new()));
    /// let calls = begun.clone();
    /// let all = concurrent(2).map(0..5, move |_| {
    ///     let (deferred, resolver) = Deferred::new();
    ///     calls.borrow_mut().push(resolver);
    ///     deferred
    /// });
    /// assert_eq!(begun.borrow().len(), 2);
    /// for n in 0..5 {
    ///     let resolver = begun.borrow_mut().remove(0);
    ///     resolver.callback(n);
    /// }
    /// assert_eq!(all.try_take().unwrap().unwrap(), [0, 1, 2, 3, 4]);
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

    /// [`map`](Self::map) over a stream. The next item is asked for only when its call can begin.
    ///
    /// The stream is polled by a coroutine: see [`inline_callbacks`](crate::inline_callbacks) about
    /// streams that wait for what is no Deferred.
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map).
    ///
    /// # Cancellation
    ///
    /// As [`map`](Self::map); while no call runs, the stream is dropped, and it fires
    /// [`Cancelled`].
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::{Deferred, DeferredQueue, concurrent};
    ///
    /// let numbers = DeferredQueue::<u32>::new();
    /// let doubled = concurrent(2).map_stream(numbers.stream(), |n| Deferred::succeed(n * 2));
    /// numbers.put(1).unwrap();
    /// numbers.put(2).unwrap();
    /// numbers.close();
    /// assert_eq!(doubled.try_take().unwrap().unwrap(), [2, 4]);
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
        let coroutine = async move {
            let mut feed = Feed { stream: Box::pin(stream), ended: false, limit: self.limit, calls: Calls::new(at) };
            let mut values = Vec::new();
            let mut begun = 0;
            while let Some(next) = poll_fn(|context| feed.poll(context)).await {
                match next {
                    Next::Item(item) => {
                        feed.calls.begin(begun, maybe_deferred_at(at, || f(item)));
                        begun += 1;
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
        // Those that run are cancelled before this returns, if one has failed at once.
        enter(|| Deferred::from_coroutine_at(at, coroutine))
    }
}

/// What is to be done next.
enum Next<I, T> {
    Item(I),
    /// The call with this number has brought that.
    Done(usize, Result<T, Failure>),
}

struct Feed<S, T: 'static> {
    stream: Pin<Box<S>>,
    ended: bool,
    limit: usize,
    calls: Calls<T>,
}

impl<S: Stream, T: 'static> Feed<S, T> {
    /// None once all is done.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Next<S::Item, T>>> {
        if let Some((index, result)) = self.calls.take_done() {
            return Poll::Ready(Some(Next::Done(index, result)));
        }
        if !self.ended && self.calls.running() < self.limit {
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
            Poll::Pending
        }
    }
}

/// The calls that run, and what those have brought that do not any more.
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
        // Dropping one that has not fired would cancel the calls.
        match self.shared.waiting.take() {
            None => self.waiting = None,
            waiting => self.shared.waiting.set(waiting),
        }
        self.shared.done.borrow_mut().pop_front()
    }

    /// Ready once a call has ended. Meanwhile a Deferred waits that passes a cancel on to all that
    /// run.
    fn poll_ended(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let (shared, at) = (&self.shared, self.at);
        let waiting = self.waiting.get_or_insert_with(|| {
            let calls = shared.clone();
            let (ended, resolver) = Deferred::forwarding_at(at, move |why| calls.each(|call| call.pass_cancel(why)));
            shared.waiting.set(Some(resolver));
            ended.into_future()
        });
        Pin::new(waiting).poll(context).map(|_| ())
    }

    /// Cancels all that run, after this.
    fn cancel(&self, why: &Cancelled) {
        if let Some(waiting) = self.shared.waiting.take() {
            run_soon(waiting.source.set_result(Ok(())));
        }
        self.shared.each(|call| call.cancel_soon(why));
    }
}

/// The end, also by a panic of the items: none runs on.
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
        drop(handle); // behind the borrow
        self.done.borrow_mut().push_back((index, result));
        self.waiting.take().map(|resolver| resolver.source.set_result(Ok(())))
    }
}

/// A stream that is an iterator.
struct Items<I>(I);

/// It holds no pointer into itself: the iterator is never pinned.
impl<I> Unpin for Items<I> {}

impl<I: Iterator> Stream for Items<I> {
    type Item = I::Item;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<I::Item>> {
        Poll::Ready(self.0.next())
    }
}
