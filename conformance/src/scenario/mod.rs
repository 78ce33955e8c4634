//! The recorded programs, as they are written in the files.
//!
//! A step is a row of [`Step`]; the families of steps are the enums below it.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;

use serde_json::Value as Json;

mod read;
mod step;

pub use read::Malformed;
pub use step::{Canceller, ChainStep, InlineStep, ManyStep, Statement, Step, SyncStep, TimeStep, What};

/// What a program calls a Deferred, a queue, a timed call and so on.
pub type Name = Rc<str>;

/// One recorded program, and what Twisted did with it.
#[derive(Debug)]
pub struct Scenario {
    /// Its name in reports.
    pub id: String,
    /// What to look at when the steps are done.
    pub end: End,
    /// The program.
    pub steps: Vec<Step>,
    /// The recorded rows: the trace, then `["final", d, outcome]` for each final result in the
    /// order of their names, or `["unhandled", error]` for each unhandled error in the order of
    /// their text.
    pub expected: Vec<Json>,
}

/// What is looked at when a scenario's steps are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// What each Deferred whose handle is left holds.
    Results,
    /// The errors that nobody handled, once every handle is dropped.
    Unhandled,
}

/// A callback or errback, a timed call, a loop's function.
#[derive(Debug)]
pub struct Action {
    /// Names it in the trace.
    pub id: i64,
    /// What it does before it returns.
    pub steps: Vec<Step>,
    /// What it returns; of several, the n-th run returns the n-th, and the last one repeats.
    pub returns: Vec<Return>,
    /// After how many runs the loop it belongs to stops itself.
    pub times: Option<u64>,
    runs: Cell<usize>,
}

impl Action {
    /// What this run returns. Each call counts as a run.
    pub(crate) fn next_return(&self) -> &Return {
        let run = self.runs.replace(self.runs.get() + 1);
        &self.returns[run.min(self.returns.len() - 1)]
    }

    /// Whether any run returns a Deferred.
    pub(crate) fn may_defer(&self) -> bool {
        self.returns.iter().any(|r| matches!(r, Return::Deferred(_)))
    }
}

/// What an action returns.
#[derive(Debug)]
pub enum Return {
    /// Its input, an error included.
    Same,
    /// This value.
    Value(Json),
    /// An integer input plus this; this alone for any other input.
    Add(i64),
    /// Fails with this error.
    Raise(String),
    /// This Deferred, whose handle is used up; null where it has none.
    Deferred(Name),
}

impl Scenario {
    /// The names that some step cancels, wherever it stands in the program.
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
