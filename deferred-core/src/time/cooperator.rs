//! Much work, a slice at a time.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::deferred::{CancelHandle, Deferred, IntoDeferred, maybe_deferred_at};
use crate::engine::{StageOutput, call_soon, catch, drop_or_panicked};
use crate::error::{self, Abandoned, CallSite, Cancelled, Failure, ShareError};
use crate::reactor::Reactor;
use crate::sync::Waiters;

/// Runs many iterators in turn, one step each, for a slice of time in each turn of the reactor: for
/// work that would hold the loop if it were done at once.
///
/// A step does its work in the iterator's `next`, and may give a [`Deferred`] that is waited for
/// before the next step; the others go on meanwhile. Clones mean the same one.
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
    /// Those that are to make a step, the next one first.
    ready: RefCell<VecDeque<Rc<Work>>>,
    /// A call of the reactor is to come that makes steps.
    scheduled: Cell<bool>,
    at: CallSite,
}

/// One iterator.
struct Work {
    /// Until it is done: then nobody is held in a circle.
    cooperator: RefCell<Option<Rc<Inner>>>,
    step: RefCell<Option<Step>>,
    pauses: Cell<u32>,
    state: Cell<State>,
    /// What cancels what it waits for.
    waits: RefCell<Option<CancelHandle>>,
    result: RefCell<Option<Result<(), <Failure as ShareError>::Shared>>>,
    /// Somebody has its error, or will.
    watched: Cell<bool>,
    at: CallSite,
    watchers: Waiters<(), (), Failure>,
    /// By which the reactor keeps the [`AtClose`].
    kept: Cell<Option<u64>>,
}

/// Makes a step. None at the end.
type Step = Box<dyn FnMut() -> Option<Deferred<()>>>;

#[derive(Clone, Copy, PartialEq)]
enum State {
    /// Is in `ready`, or makes a step.
    Ready,
    /// Would be there, but is paused.
    Paused,
    /// Waits for a Deferred.
    Waiting,
    Done,
}

impl Cooperator {
    /// One whose slice is ten milliseconds a turn.
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

    /// Takes so much time in a turn, by the clock of the system also where that of the reactor is
    /// moved by hand. Of zero, one step is made in a turn.
    pub fn set_slice(&self, slice: Duration) {
        self.inner.slice.set(slice);
    }

    /// Makes the steps of `work`, the first one in a turn. What a step gives is what callbacks
    /// return.
    ///
    /// An error of it that nobody watches for is reported as unhandled when the last of its handles
    /// is gone.
    ///
    /// On a closed reactor it has failed with [`Abandoned`].
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
                StageOutput::Pending(_) => unreachable!("nothing waits in here"),
            }
        };
        let work = Rc::new(Work {
            cooperator: RefCell::new(Some(self.inner.clone())),
            step: RefCell::new(Some(Box::new(step))),
            pauses: Cell::new(0),
            state: Cell::new(State::Paused),
            waits: RefCell::new(None),
            result: RefCell::new(None),
            watched: Cell::new(false),
            at,
            watchers: Waiters::new(),
            kept: Cell::new(None),
        });
        work.kept.set(self.inner.reactor.keep(AtClose(work.clone()), None));
        match work.kept.get() {
            Some(_) => self.inner.make_ready(work.clone()),
            None => work.end(Err(Abandoned::new().into())),
        }
        CooperativeTask { work }
    }

    /// [`cooperate`](Self::cooperate), for a Deferred that fires when it is done.
    ///
    /// # Errors
    ///
    /// Through the Deferred: that of a step, of a Deferred that a step gives, and a panic.
    ///
    /// # Cancellation
    ///
    /// Stops the work.
    #[track_caller]
    pub fn coiterate<I>(&self, work: I) -> Deferred<()>
    where
        I: IntoIterator<Item: IntoDeferred<Failure>, IntoIter: 'static>,
    {
        let at = Location::caller();
        self.cooperate(work).watch(at, |work| work.end(Err(Cancelled::new().into())))
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

    /// Makes steps until the slice is over.
    fn tick(self: Rc<Self>) {
        self.scheduled.set(false);
        let begun = Instant::now();
        loop {
            let next = self.ready.borrow_mut().pop_front();
            let Some(work) = next else { return };
            // For a turn inside of the step, which goes on with the others.
            if !self.ready.borrow().is_empty() {
                self.schedule();
            }
            // One that was paused or stopped meanwhile is not to run.
            if work.state.get() == State::Ready {
                work.step(&self);
            }
            if begun.elapsed() >= self.slice.get() {
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
        let stepped = step();
        if self.state.get() == State::Done {
            return; // stopped from inside
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

    /// It is done, and tells those who watch.
    fn end(&self, result: Result<(), Failure>) {
        if self.state.replace(State::Done) == State::Done {
            return;
        }
        // A panic of the iterator's destructor is the error of work that has not failed.
        let step = self.step.take();
        let dropped = drop_or_panicked(step).map_err(Failure::from);
        let result = result.and(dropped).map_err(Failure::into_shared);
        self.result.replace(Some(result.clone()));
        let (waits, cooperator) = (self.waits.take(), self.cooperator.take());
        if let Some(waits) = waits {
            waits.cancel();
        }
        if let (Some(key), Some(cooperator)) = (self.kept.take(), cooperator) {
            drop(cooperator.reactor.claim::<AtClose>(key));
        }
        while let Some(((), watcher)) = self.watchers.first() {
            watcher.fire(copy(&result));
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let (Some(Err(failure)), false) = (self.result.get_mut(), self.watched.get()) {
            error::report(&Failure::from_shared(failure), self.at, self.at);
        }
    }
}

fn copy(result: &Result<(), <Failure as ShareError>::Shared>) -> Result<(), Failure> {
    result.as_ref().copied().map_err(Failure::from_shared)
}

/// What the reactor keeps of one: dropped, it ends it, after the callback that runs.
struct AtClose(Rc<Work>);

impl Drop for AtClose {
    fn drop(&mut self) {
        // Claimed by the end itself, there is nothing left to do.
        if self.0.state.get() != State::Done {
            let work = self.0.clone();
            call_soon(move || {
                work.end(Err(Abandoned::new().into()));
                None
            });
        }
    }
}

/// An iterator that a [`Cooperator`] runs; [`Cooperator::cooperate`] gives it. Clones mean the same
/// one. Dropping it changes nothing.
///
/// Twisted's `CooperativeTask`.
#[derive(Clone)]
pub struct CooperativeTask {
    work: Rc<Work>,
}

impl CooperativeTask {
    /// Makes no further step until [`resume`](Self::resume). Pauses are counted.
    ///
    /// # Errors
    ///
    /// If it is done.
    pub fn pause(&self) -> Result<(), TaskFinished> {
        self.running()?;
        self.work.pauses.set(self.work.pauses.get() + 1);
        Ok(())
    }

    /// Ends one pause.
    ///
    /// # Errors
    ///
    /// If it is done, or not paused.
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

    /// Makes no further step, and cancels what it waits for. Those who watch get [`TaskStopped`],
    /// in here.
    ///
    /// Twisted's leaves alone what is waited for.
    ///
    /// # Errors
    ///
    /// If it is done.
    pub fn stop(&self) -> Result<(), TaskFinished> {
        self.running()?;
        self.work.watched.set(true); // whoever stops it knows
        self.work.end(Err(TaskStopped.into()));
        Ok(())
    }

    /// A Deferred that fires when it is done; each call gives another one.
    ///
    /// # Errors
    ///
    /// Through the Deferred: that of a step, and of a Deferred that a step gives; [`TaskStopped`];
    /// [`Abandoned`] if the reactor is closed before.
    ///
    /// # Cancellation
    ///
    /// Fires [`Cancelled`]. The work goes on.
    #[track_caller]
    pub fn when_done(&self) -> Deferred<()> {
        self.watch(Location::caller(), |_| ())
    }

    /// A Deferred that fires when it is done. If that is cancelled, `left` is called.
    fn watch(&self, at: CallSite, left: impl FnOnce(&Rc<Work>) + 'static) -> Deferred<()> {
        let work = &self.work;
        work.watched.set(true);
        let done = work.result.borrow().as_ref().map(copy);
        match done {
            Some(result) => Deferred::with_result(result, at, at),
            None => work.watchers.wait((), work, |work| &work.watchers, left, at),
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

/// Why a [`CooperativeTask`] cannot be operated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskFinished {
    /// It is done, has failed or was stopped.
    Done,
    /// It was to be resumed and is not paused.
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

/// Somebody has stopped a [`CooperativeTask`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskStopped;

impl fmt::Display for TaskStopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the cooperative task was stopped")
    }
}

impl Error for TaskStopped {}
