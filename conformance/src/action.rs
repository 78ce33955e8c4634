//! Actions at run time, and the form of outcomes in the trace.

use std::fmt;
use std::rc::Rc;

use deferred_core::{Cancelled, Deferred, Failure, FailureGroup, FirstError, TimedOut};
use serde_json::{Value as Json, json};

use crate::scenario::{Action, Return};
use crate::world::World;

/// An error that a program raises.
#[derive(Debug)]
pub(crate) struct Named(pub(crate) String);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Named {}

impl Named {
    pub(crate) fn failure(name: &str) -> Failure {
        Failure::from(Self(name.to_owned()))
    }
}

/// Returns the form of an error in the trace.
pub(crate) fn error_name(failure: &Failure) -> Json {
    if let Some(Named(name)) = failure.downcast_ref() {
        json!(name)
    } else if failure.check::<Cancelled>() {
        json!("Cancelled")
    } else if failure.check::<TimedOut>() {
        json!("TimedOut")
    } else if let Some(first) = failure.downcast_ref::<FirstError>() {
        json!(["FirstError", first.index, error_name(&first.error)])
    } else if let Some(group) = failure.downcast_ref::<FailureGroup>() {
        json!(["FailureGroup", group.errors().iter().map(error_name).collect::<Json>()])
    } else {
        json!(format!("unexpected: {failure}"))
    }
}

/// Returns the form of a result in the trace.
pub(crate) fn outcome(result: Result<&Json, &Failure>) -> Json {
    match result {
        Ok(value) => json!({ "ok": value }),
        Err(failure) => json!({ "err": error_name(failure) }),
    }
}

/// Runs an action that never returns a Deferred.
pub(crate) fn run(world: &Rc<World>, action: &Action, input: Result<Json, Failure>) -> Result<Json, Failure> {
    plain(begin(world, action, &input), input)
}

/// Runs an action that may return a Deferred.
pub(crate) fn run_deferred(world: &Rc<World>, action: &Action, input: Result<Json, Failure>) -> Deferred<Json> {
    match begin(world, action, &input) {
        Return::Deferred(name) => world.take_deferred(name).unwrap_or_else(|| Deferred::succeed(Json::Null)),
        returned => Deferred::from(plain(returned, input)),
    }
}

fn begin<'a>(world: &Rc<World>, action: &'a Action, input: &Result<Json, Failure>) -> &'a Return {
    world.trace(json!(["cb", action.id, outcome(input.as_ref())]));
    action.steps.iter().for_each(|step| world.play(step));
    action.next_return()
}

fn plain(returned: &Return, input: Result<Json, Failure>) -> Result<Json, Failure> {
    match returned {
        Return::Same => input,
        Return::Value(value) => Ok(value.clone()),
        Return::Add(more) => {
            let integer = input.ok().and_then(|value| value.as_i64());
            Ok(json!(integer.map_or(*more, |n| n + more)))
        }
        Return::Raise(name) => Err(Named::failure(name)),
        Return::Deferred(_) => unreachable!("an action that may defer runs through run_deferred"),
    }
}
