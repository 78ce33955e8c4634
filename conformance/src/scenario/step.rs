//! Every step of the format, by family.

use std::rc::Rc;

use serde_json::Value as Json;

use super::{Action, Name};

/// One row of a program.
#[derive(Debug)]
pub struct Step {
    /// Its first word, which is also what the trace calls it when it does not apply.
    pub word: String,
    /// What it does.
    pub what: What,
}

/// A step's family.
#[derive(Debug)]
pub enum What {
    /// One Deferred: made, fired, added to, cancelled, paused, chained.
    Chain(ChainStep),
    /// Many Deferreds at once.
    Many(ManyStep),
    /// A manual clock and what hangs on it.
    Time(TimeStep),
    /// Queues, locks, semaphores.
    Sync(SyncStep),
    /// Coroutines.
    Inline(InlineStep),
}

/// What a Deferred's canceller does.
#[derive(Debug)]
pub enum Canceller {
    /// Nothing: the Deferred is cancelled.
    Noop,
    /// Fires it with a value.
    Callback(Json),
    /// Fires it with an error.
    Errback(String),
}

/// The steps about one Deferred.
#[derive(Debug)]
pub enum ChainStep {
    /// Makes one to be fired.
    New(Name, Option<Canceller>),
    /// Makes one that has this value.
    Succeed(Name, Json),
    /// Makes one that has this error.
    Fail(Name, String),
    /// Fires it with a value.
    Callback(Name, Json),
    /// Fires it with an error.
    Errback(Name, String),
    /// Adds an action for a value.
    AddCallback(Name, Rc<Action>),
    /// Adds an action for an error.
    AddErrback(Name, Rc<Action>),
    /// Adds an action for either.
    AddBoth(Name, Rc<Action>),
    /// Adds one for a value and one for an error, on one level.
    AddCallbacks(Name, Rc<Action>, Rc<Action>),
    /// Cancels it.
    Cancel(Name),
    /// Pauses it; pauses are counted.
    Pause(Name),
    /// Takes one pause back.
    Unpause(Name),
    /// Lets the first one's result fire the second.
    ChainDeferred(Name, Name),
    /// Writes a number into the trace.
    Log(i64),
}

/// The steps about many Deferreds at once.
#[derive(Debug)]
pub enum ManyStep {
    /// All values, or the first error.
    Gather(Name, Vec<Name>),
    /// All outcomes, with `fire_on_one_callback` and `fire_on_one_errback`.
    List(Name, Vec<Name>, bool, bool),
    /// The first success.
    Race(Name, Vec<Name>),
}

/// The steps about time; durations are seconds.
#[derive(Debug)]
pub enum TimeStep {
    /// Moves the clock.
    Advance(f64),
    /// Makes a timed call.
    CallLater(Name, f64, Rc<Action>),
    /// Cancels one.
    CallCancel(Name),
    /// Lets it run so long from now.
    CallReset(Name, f64),
    /// Lets it run so much later.
    CallDelay(Name, f64),
    /// Asks whether it is still to run.
    CallActive(Name),
    /// Adds a timeout, with the value that a late result is converted to.
    Timeout(Name, f64, Option<Json>),
    /// Runs an action later, and has its result.
    DeferLater(Name, f64, Rc<Action>),
    /// Starts a loop.
    Loop {
        /// What the loop is called.
        name: Name,
        /// What the Deferred that its start returns is called.
        done: Name,
        /// Seconds between two runs.
        interval: f64,
        /// Whether the first run is at once.
        now: bool,
        /// Whether the action gets the count of intervals.
        counted: bool,
        /// What each run does.
        action: Rc<Action>,
    },
    /// Stops a loop.
    LoopStop(Name),
    /// Starts a loop's grid anew.
    LoopReset(Name),
}

/// The steps about waiting in line.
#[derive(Debug)]
pub enum SyncStep {
    /// Makes a queue, with its size and its backlog.
    Queue(Name, Option<usize>, Option<usize>),
    /// Puts a value into a queue.
    Put(Name, Json),
    /// Gets a Deferred for the next value.
    Get(Name, Name),
    /// Makes a lock.
    Lock(Name),
    /// Makes a semaphore with so many permits.
    Semaphore(Name, usize),
    /// Gets a Deferred for a permit.
    Acquire(Name, Name),
    /// Gives a permit back.
    Release(Name),
    /// Runs an action with a permit.
    Run(Name, Name, Rc<Action>),
}

/// The steps about coroutines.
#[derive(Debug)]
pub enum InlineStep {
    /// Starts a coroutine.
    Inline(Name, Rc<[Statement]>),
}

/// One statement of a coroutine.
#[derive(Debug)]
pub enum Statement {
    /// Writes a number into the trace.
    Log(i64),
    /// Plays a step.
    Do(Step),
    /// Waits for a Deferred, and catches all errors or those of one name.
    Await(i64, Name, Option<String>),
    /// Ends with this value.
    Return(Json),
    /// Ends with this error.
    Raise(String),
}

impl Step {
    /// Shows this step and all that are nested in it.
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
