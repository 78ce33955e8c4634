//! The recorded programs, as written in the files.
//!
//! Each step is a [`Step`]; the families of steps are the enums below it.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;

use serde_json::Value as Json;

mod read;
mod step;

pub use read::Malformed;
pub use step::{Canceller, ChainStep, InlineStep, ManyStep, Statement, Step, SyncStep, TimeStep, What};

/// The name of a Deferred, a queue, a timed call and so on.
pub type Name = Rc<str>;

/// A recorded program and its trace on Twisted.
#[derive(Debug)]
pub struct Scenario {
    /// Its name in reports.
    pub id: String,
    /// The state that is recorded after the steps.
    pub end: End,
    /// The program.
    pub steps: Vec<Step>,
    /// The recorded rows: the trace, then `["final", d, outcome]` for each final result in the
    /// order of their names, or `["unhandled", error]` for each unhandled error in the order of
    /// their text.
    pub expected: Vec<Json>,
}

/// The state that is recorded after a scenario's steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The result of each Deferred whose handle exists.
    Results,
    /// The unhandled errors, after every handle was dropped.
    Unhandled,
}

/// A function of a scenario: a callback, an errback, a timed call or the function of a loop.
#[derive(Debug)]
pub struct Action {
    /// The name of the action in the trace.
    pub id: i64,
    /// The steps that run before it returns.
    pub steps: Vec<Step>,
    /// The results: the n-th run returns the n-th, and later runs return the last.
    pub returns: Vec<Return>,
    /// The number of runs after which the loop of this action stops.
    pub times: Option<u64>,
    runs: Cell<usize>,
}

impl Action {
    /// Returns the result of this run. Each call counts as a run.
    pub(crate) fn next_return(&self) -> &Return {
        let run = self.runs.replace(self.runs.get() + 1);
        &self.returns[run.min(self.returns.len() - 1)]
    }

    /// Returns `true` if any run returns a Deferred.
    pub(crate) fn may_defer(&self) -> bool {
        self.returns.iter().any(|r| matches!(r, Return::Deferred(_)))
    }
}

/// The result of an action.
#[derive(Debug)]
pub enum Return {
    /// The input of the action, also if it is an error.
    Same,
    /// The value.
    Value(Json),
    /// The sum of an integer input and this number, or this number for any other input.
    Add(i64),
    /// An error: the action fails with it.
    Raise(String),
    /// The Deferred, which uses up its handle; null if it has none.
    Deferred(Name),
}

impl Scenario {
    /// Returns the names that some step cancels, anywhere in the program.
    pub(crate) fn cancelled(&self) -> BTreeSet<Name> {
        let mut names = BTreeSet::new();
        self.each_step(&mut |step| {
            if let What::Chain(ChainStep::Cancel(name)) = &step.what {
                names.insert(Name::clone(name));
            }
        });
        names
    }

    fn each_step<'a>(&'a self, see: &mut dyn FnMut(&'a Step)) {
        self.steps.iter().for_each(|step| step.each(see));
    }
}
