//! The steps of the format, by family.

use std::rc::Rc;

use serde_json::Value as Json;

use super::{Action, Name};

/// A step of a program.
#[derive(Debug)]
pub struct Step {
    /// The first word of the row, which is also its name in a skip row.
    pub word: String,
    /// The operation.
    pub what: What,
}

/// A step's family.
#[derive(Debug)]
pub enum What {
    /// Operations on one Deferred.
    Chain(ChainStep),
    /// Operations on several Deferreds.
    Many(ManyStep),
    /// Operations on the manual clock.
    Time(TimeStep),
    /// Operations on queues, locks and semaphores.
    Sync(SyncStep),
    /// Coroutines.
    Inline(InlineStep),
}

/// The action of a Deferred's canceller.
#[derive(Debug)]
pub enum Canceller {
    /// Decides nothing: the Deferred fires `Cancelled`.
    Noop,
    /// Fires the Deferred with a value.
    Callback(Json),
    /// Fires the Deferred with an error.
    Errback(String),
}

/// A step on one Deferred.
#[derive(Debug)]
pub enum ChainStep {
    /// Creates a pending Deferred.
    New(Name, Option<Canceller>),
    /// Creates a Deferred with this value.
    Succeed(Name, Json),
    /// Creates a Deferred with this error.
    Fail(Name, String),
    /// Fires the Deferred with a value.
    Callback(Name, Json),
    /// Fires the Deferred with an error.
    Errback(Name, String),
    /// Adds an action for a value.
    AddCallback(Name, Rc<Action>),
    /// Adds an action for an error.
    AddErrback(Name, Rc<Action>),
    /// Adds an action for either.
    AddBoth(Name, Rc<Action>),
    /// Adds one action for a value and one for an error, on one level.
    AddCallbacks(Name, Rc<Action>, Rc<Action>),
    /// Cancels it.
    Cancel(Name),
    /// Pauses it; pauses are counted.
    Pause(Name),
    /// Ends one pause.
    Unpause(Name),
    /// Fires the second Deferred with the result of the first.
    ChainDeferred(Name, Name),
    /// Writes a number into the trace.
    Log(i64),
}

/// A step on several Deferreds.
#[derive(Debug)]
pub enum ManyStep {
    /// Collects all values, or the first error.
    Gather(Name, Vec<Name>),
    /// Collects all results, with `fire_on_one_callback` and `fire_on_one_errback`.
    List(Name, Vec<Name>, bool, bool),
    /// Takes the first success.
    Race(Name, Vec<Name>),
}

/// A step on the clock. Durations are in seconds.
#[derive(Debug)]
pub enum TimeStep {
    /// Moves the clock.
    Advance(f64),
    /// Creates a timed call.
    CallLater(Name, f64, Rc<Action>),
    /// Cancels a timed call.
    CallCancel(Name),
    /// Makes a timed call due after this duration from now.
    CallReset(Name, f64),
    /// Delays a timed call by this duration.
    CallDelay(Name, f64),
    /// Traces whether a timed call is pending.
    CallActive(Name),
    /// Adds a timeout, with the value that a late result is converted to.
    Timeout(Name, f64, Option<Json>),
    /// Creates a Deferred with the result of an action that runs later.
    DeferLater(Name, f64, Rc<Action>),
    /// Starts a loop.
    Loop {
        /// The name of the loop.
        name: Name,
        /// The name of the Deferred that starting the loop returns.
        done: Name,
        /// The seconds between two runs.
        interval: f64,
        /// If `true`, the first run is at once.
        now: bool,
        /// If `true`, the action receives the count of intervals.
        counted: bool,
        /// The action of each run.
        action: Rc<Action>,
    },
    /// Stops a loop.
    LoopStop(Name),
    /// Restarts the grid of a loop.
    LoopReset(Name),
}

/// A step on a queue, a lock or a semaphore.
#[derive(Debug)]
pub enum SyncStep {
    /// Creates a queue with its size and its backlog.
    Queue(Name, Option<usize>, Option<usize>),
    /// Puts a value into a queue.
    Put(Name, Json),
    /// Creates a Deferred for the next value.
    Get(Name, Name),
    /// Creates a lock.
    Lock(Name),
    /// Creates a semaphore with this number of permits.
    Semaphore(Name, usize),
    /// Creates a Deferred for a permit.
    Acquire(Name, Name),
    /// Releases a permit.
    Release(Name),
    /// Runs an action with a permit.
    Run(Name, Name, Rc<Action>),
}

/// A step on coroutines.
#[derive(Debug)]
pub enum InlineStep {
    /// Starts a coroutine.
    Inline(Name, Rc<[Statement]>),
}

/// A statement of a coroutine.
#[derive(Debug)]
pub enum Statement {
    /// Writes a number into the trace.
    Log(i64),
    /// Plays a step.
    Do(Step),
    /// Waits for a Deferred, and catches all errors or those of one name.
    Await(i64, Name, Option<String>),
    /// The coroutine returns this value.
    Return(Json),
    /// The coroutine fails with this error.
    Raise(String),
}

impl Step {
    /// Calls `see` with this step and all steps nested in it.
    pub(super) fn each<'a>(&'a self, see: &mut dyn FnMut(&'a Step)) {
        see(self);
        for action in self.actions().into_iter().flatten() {
            action.steps.iter().for_each(|step| step.each(see));
        }
        if let What::Inline(InlineStep::Inline(_, script)) = &self.what {
            for statement in &script[..] {
                if let Statement::Do(step) = statement {
                    step.each(see);
                }
            }
        }
    }

    fn actions(&self) -> [Option<&Action>; 2] {
        match &self.what {
            What::Chain(ChainStep::AddCallbacks(_, a, b)) => [Some(a), Some(b)],
            What::Chain(ChainStep::AddCallback(_, a) | ChainStep::AddErrback(_, a) | ChainStep::AddBoth(_, a))
            | What::Time(
                TimeStep::CallLater(_, _, a) | TimeStep::DeferLater(_, _, a) | TimeStep::Loop { action: a, .. },
            )
            | What::Sync(SyncStep::Run(_, _, a)) => [Some(a), None],
            _ => [None, None],
        }
    }
}
