//! `Cooperator`: long work in short slices.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use crate::context::Context;
use crate::deferred::{CancelHandle, Deferred, IntoDeferred, maybe_deferred_at};
use crate::engine::{StageOutput, call_soon, catch, drop_or_panicked};
use crate::error::{Abandoned, CallSite, Cancelled, Failure, ShareError};
use crate::instant::Instant;
use crate::reactor::Reactor;
use crate::report;
use crate::sync::Waiters;

/// A scheduler that runs several iterators in turn, one step each, for a slice of time in each turn
/// of the reactor. It is for work that would block the loop if it were done at once.
///
/// A step is a call of the iterator's `next`. If it returns a [`Deferred`], the iterator's next
/// step waits for that, and the others continue. Clones refer to the same cooperator.
///
/// Twisted's `Cooperator`.
///
/// # Examples
///
/// ```
/// use std::{cell::Cell, rc::Rc};
/// use deferred_core::{Cooperator, park};
///
/// let sum = Rc::new(Cell::new(0_u64));
/// let adds = sum.clone();
/// park::run_until(|reactor| {
///     let cooperator = Cooperator::new(reactor);
///     cooperator.coiterate((1..=100_000).map(move |n| adds.set(adds.get() + n)))
/// })
/// .unwrap();
/// assert_eq!(sum.get(), 5_000_050_000);
/// ```
#[derive(Clone)]
pub struct Cooperator {
    inner: Rc<Inner>,
}

struct Inner {
    reactor: Reactor,
    slice: Cell<Duration>,
    /// The tasks whose next step can run, in FIFO order.
    ready: RefCell<VecDeque<Rc<Work>>>,
    /// Whether a call of `tick` is scheduled.
    scheduled: Cell<bool>,
    at: CallSite,
}

/// The state of one iterator.
struct Work {
    /// `None` once the task is done, which breaks a reference cycle.
    cooperator: RefCell<Option<Rc<Inner>>>,
    step: RefCell<Option<Step>>,
    pauses: Cell<u32>,
    state: Cell<State>,
    /// The handle of the Deferred that the task waits for.
    waits: RefCell<Option<CancelHandle>>,
    result: RefCell<Option<Result<(), <Failure as ShareError>::Shared>>>,
    /// Whether an observer has received the error, or will.
    observed: Cell<bool>,
    /// The context of the start, until the end.
    context: RefCell<Context>,
    at: CallSite,
    observers: Waiters<(), (), Failure>,
    /// The key of the [`AtClose`] in the reactor's registry.
    key: Cell<Option<u64>>,
}

/// A function that runs one step. It returns `None` at the end.
type Step = Box<dyn FnMut() -> Option<Deferred<()>>>;

#[derive(Clone, Copy, PartialEq)]
enum State {
    /// The task is in `ready`, or its step runs.
    Ready,
    /// The task could run, but is paused.
    Paused,
    /// The task waits for a Deferred.
    Waiting,
    Done,
}

impl Cooperator {
    /// Creates a cooperator with a slice of ten milliseconds in each turn.
    #[must_use]
    #[track_caller]
    pub fn new(reactor: &Reactor) -> Cooperator {
        let inner = Inner {
            reactor: reactor.clone(),
            slice: Cell::new(Duration::from_millis(10)),
            ready: RefCell::default(),
            scheduled: Cell::new(false),
            at: Location::caller(),
        };
        Cooperator { inner: Rc::new(inner) }
    }

    /// Sets the length of the slice, which is measured with the system's clock, also on a
    /// [`Clock`](crate::Clock). With zero, each turn runs one step.
    pub fn set_slice(&self, slice: Duration) {
        self.inner.slice.set(slice);
    }

    /// Starts a task that runs the steps of `work`, the first one in a turn. Each item of `work` is
    /// a step. Its type is a return type of a callback: see [`IntoDeferred`].
    ///
    /// An error is reported as unhandled if the last handle of the task is dropped and nothing
    /// observed the task.
    ///
    /// On a closed reactor the task fails at once with [`Abandoned`].
    #[track_caller]
    pub fn cooperate<I>(&self, work: I) -> CooperativeTask
    where
        I: IntoIterator<Item: IntoDeferred<Failure>, IntoIter: 'static>,
    {
        let (mut work, at) = (work.into_iter(), Location::caller());
        let step = move || {
            let item = catch(|| StageOutput::Ready(Ok::<_, Failure>(work.next())));
            match item {
                StageOutput::Ready(Ok(item)) => {
                    item.map(|item| maybe_deferred_at(at, || item.into_deferred().without_value(at)))
                }
                StageOutput::Ready(Err(failure)) => Some(Deferred::from(Err(failure))),
                StageOutput::Pending(_) => unreachable!("the closure returns a ready result"),
            }
        };
        let work = Rc::new(Work {
            cooperator: RefCell::new(Some(self.inner.clone())),
            step: RefCell::new(Some(Box::new(step))),
            pauses: Cell::new(0),
            state: Cell::new(State::Paused),
            waits: RefCell::new(None),
            result: RefCell::new(None),
            observed: Cell::new(false),
            context: RefCell::new(Context::current()),
            at,
            observers: Waiters::new(),
            key: Cell::new(None),
        });
        work.key.set(self.inner.reactor.keep(AtClose(work.clone()), None));
        match work.key.get() {
            Some(_) => self.inner.make_ready(work.clone()),
            None => work.end(Err(Abandoned::reactor_closed().into())),
        }
        CooperativeTask { work }
    }

    /// Like [`cooperate`](Self::cooperate), but returns a Deferred that fires when the work is
    /// done.
    ///
    /// # Errors
    ///
    /// The returned Deferred fails with the first error or panic of a step, or of a Deferred that a
    /// step returned, or with [`Abandoned`] if the reactor is closed first.
    ///
    /// # Cancellation
    ///
    /// Cancelling the returned Deferred stops the work.
    #[doc(alias = "task.coiterate")]
    #[track_caller]
    pub fn coiterate<I>(&self, work: I) -> Deferred<()>
    where
        I: IntoIterator<Item: IntoDeferred<Failure>, IntoIter: 'static>,
    {
        let at = Location::caller();
        self.cooperate(work).observe(at, |work| work.end(Err(Cancelled::new().into())))
    }
}

impl Inner {
    fn make_ready(self: &Rc<Self>, work: Rc<Work>) {
        work.state.set(State::Ready);
        self.ready.borrow_mut().push_back(work);
        self.schedule();
    }

    fn schedule(self: &Rc<Self>) {
        if !self.scheduled.replace(true) {
            let inner = self.clone();
            self.reactor.call_at(self.reactor.now(), move || inner.tick(), self.at);
        }
    }

    /// Runs steps until the slice is over.
    fn tick(self: Rc<Self>) {
        self.scheduled.set(false);
        let started_at = Instant::now();
        loop {
            let next = self.ready.borrow_mut().pop_front();
            let Some(work) = next else { return };
            // For a nested turn inside the step, which runs the other tasks.
            if !self.ready.borrow().is_empty() {
                self.schedule();
            }
            // A task that was paused or stopped meanwhile does not run.
            if work.state.get() == State::Ready {
                work.step(&self);
            }
            if started_at.elapsed() >= self.slice.get() {
                return;
            }
        }
    }
}

impl Work {
    fn step(self: Rc<Self>, cooperator: &Rc<Inner>) {
        if self.pauses.get() > 0 {
            self.state.set(State::Paused);
            return;
        }
        let Some(mut step) = self.step.take() else { return };
        let context = self.context.borrow().clone();
        let stepped = context.run(&mut step);
        if self.state.get() == State::Done {
            return; // stopped inside its own step
        }
        self.step.replace(Some(step));
        let Some(mut deferred) = stepped else { return self.end(Ok(())) };
        if !deferred.is_ready() {
            self.state.set(State::Waiting);
            self.waits.replace(Some(deferred.cancel_handle()));
        }
        let cooperator = cooperator.clone();
        drop(deferred.add_both(move |result| {
            self.waits.take();
            match result {
                _ if self.state.get() == State::Done => {}
                Ok(()) => cooperator.make_ready(self),
                Err(failure) => self.end(Err(failure)),
            }
        }));
    }

    /// Ends the task, and fires its observers.
    fn end(&self, result: Result<(), Failure>) {
        if self.state.replace(State::Done) == State::Done {
            return;
        }
        // If the work has not failed, a panic of the iterator's destructor is its error.
        let step = self.step.take();
        let dropped = drop_or_panicked(step).map_err(Failure::from);
        let result = result.and(dropped).map_err(Failure::into_shared);
        self.result.replace(Some(result.clone()));
        drop(self.context.take());
        let (waits, cooperator) = (self.waits.take(), self.cooperator.take());
        if let Some(waits) = waits {
            waits.cancel();
        }
        if let (Some(key), Some(cooperator)) = (self.key.take(), cooperator) {
            drop(cooperator.reactor.claim::<AtClose>(key));
        }
        while let Some(((), observer)) = self.observers.first() {
            observer.fire(copy(&result));
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let (Some(Err(failure)), false) = (self.result.get_mut(), self.observed.get()) {
            report::unhandled(&Failure::from_shared(failure), self.at, self.at);
        }
    }
}

fn copy(result: &Result<(), <Failure as ShareError>::Shared>) -> Result<(), Failure> {
    result.as_ref().copied().map_err(Failure::from_shared)
}

/// The entry in the reactor's registry. Dropping it ends the task, after the current callback.
struct AtClose(Rc<Work>);

impl Drop for AtClose {
    fn drop(&mut self) {
        // If the task has ended, it has claimed this itself.
        if self.0.state.get() != State::Done {
            let work = self.0.clone();
            call_soon(move || {
                work.end(Err(Abandoned::reactor_closed().into()));
                None
            });
        }
    }
}

/// A task of a [`Cooperator`]. [`Cooperator::cooperate`] creates it. Clones refer to the same task.
/// Dropping it has no effect.
///
/// Twisted's `CooperativeTask`.
#[doc(alias = "coiterate")]
#[derive(Clone)]
pub struct CooperativeTask {
    work: Rc<Work>,
}

impl CooperativeTask {
    /// Pauses the task: no further step runs until [`resume`](Self::resume). Pauses are counted.
    ///
    /// # Errors
    ///
    /// Returns [`TaskFinished::Done`] if the task is done.
    pub fn pause(&self) -> Result<(), TaskFinished> {
        self.running()?;
        self.work.pauses.set(self.work.pauses.get() + 1);
        Ok(())
    }

    /// Ends one pause.
    ///
    /// # Errors
    ///
    /// Returns [`TaskFinished`] if the task is done or not paused.
    pub fn resume(&self) -> Result<(), TaskFinished> {
        self.running()?;
        let work = &self.work;
        let left = work.pauses.get().checked_sub(1).ok_or(TaskFinished::NotPaused)?;
        work.pauses.set(left);
        if left == 0 && work.state.get() == State::Paused {
            let cooperator = work.cooperator.borrow().clone();
            if let Some(cooperator) = cooperator {
                cooperator.make_ready(work.clone());
            }
        }
        Ok(())
    }

    /// Stops the task, and cancels the Deferred that it waits for. Its observers fail with
    /// [`TaskStopped`], inside this call.
    ///
    /// Twisted's `stop` does not cancel that Deferred.
    ///
    /// # Errors
    ///
    /// Returns [`TaskFinished::Done`] if the task is done.
    pub fn stop(&self) -> Result<(), TaskFinished> {
        self.running()?;
        self.work.observed.set(true); // the caller knows
        self.work.end(Err(TaskStopped.into()));
        Ok(())
    }

    /// Returns a Deferred that fires when the task is done. Each call returns another one.
    ///
    /// # Errors
    ///
    /// The returned Deferred fails with the first error of a step or of a Deferred that a step
    /// returned, with [`TaskStopped`], or with [`Abandoned`] if the reactor is closed first.
    ///
    /// # Cancellation
    ///
    /// A cancel fires [`Cancelled`] in the returned Deferred. The work continues.
    #[track_caller]
    pub fn when_done(&self) -> Deferred<()> {
        self.observe(Location::caller(), |_| ())
    }

    /// Returns a Deferred that fires when the task is done. A cancel of it calls `on_cancel`.
    fn observe(&self, at: CallSite, left: impl FnOnce(&Rc<Work>) + 'static) -> Deferred<()> {
        let work = &self.work;
        work.observed.set(true);
        let done = work.result.borrow().as_ref().map(copy);
        match done {
            Some(result) => Deferred::with_result(result, at, at),
            None => {
                work.observers.wait((), work, |work| &work.observers, left, |_| "for a cooperative task".to_owned(), at)
            }
        }
    }

    fn running(&self) -> Result<(), TaskFinished> {
        if self.work.state.get() == State::Done { Err(TaskFinished::Done) } else { Ok(()) }
    }
}

impl fmt::Debug for Cooperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cooperator").field("ready", &self.inner.ready.borrow().len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for CooperativeTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CooperativeTask").field("is_done", &self.running().is_err()).finish_non_exhaustive()
    }
}

/// The reason why an operation on a [`CooperativeTask`] failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskFinished {
    /// The task is done, has failed or was stopped.
    Done,
    /// The task is not paused.
    NotPaused,
}

impl fmt::Display for TaskFinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TaskFinished::Done => "the cooperative task is done",
            TaskFinished::NotPaused => "the cooperative task is not paused",
        })
    }
}

impl Error for TaskFinished {}

/// The error of a [`CooperativeTask`] that was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskStopped;

impl fmt::Display for TaskStopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the cooperative task was stopped")
    }
}

impl Error for TaskStopped {}
