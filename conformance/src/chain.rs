//! The steps on one Deferred.

use std::rc::Rc;

use deferred_core::{Deferred, Failure};
use serde_json::{Value as Json, json};

use crate::action::{Named, run, run_deferred};
use crate::scenario::{Action, Canceller, ChainStep, Name};
use crate::world::World;

/// Plays a step. Returns `None`, without an effect, if the step does not apply.
pub(crate) fn play(world: &Rc<World>, step: &ChainStep) -> Option<()> {
    match step {
        ChainStep::New(name, canceller) => {
            world.is_free(name)?;
            let (deferred, resolver) = match canceller {
                None => Deferred::new(),
                Some(canceller) => Deferred::with_canceller(canceller_of(world, name, canceller)),
            };
            world.make(name, deferred, Some(resolver));
        }
        ChainStep::Succeed(name, value) => {
            world.is_free(name)?;
            world.make(name, Deferred::succeed(value.clone()), None);
        }
        ChainStep::Fail(name, error) => {
            world.is_free(name)?;
            world.make(name, Deferred::fail(Named::failure(error)), None);
        }
        ChainStep::Callback(name, value) => world.take_resolver(name)?.callback(value.clone()),
        ChainStep::Errback(name, error) => world.take_resolver(name)?.errback(Named::failure(error)),
        ChainStep::AddCallback(name, action) => add(world, name, |d| add_callback(world, d, action))?,
        ChainStep::AddErrback(name, action) => add(world, name, |d| add_errback(world, d, action))?,
        ChainStep::AddBoth(name, action) => add(world, name, |d| add_both(world, d, action))?,
        ChainStep::AddCallbacks(name, a, b) => add(world, name, |d| add_callbacks(world, d, a, b))?,
        ChainStep::Cancel(name) => world.cancel_handle(name)?.cancel(),
        ChainStep::Pause(name) => world.pause(name)?,
        ChainStep::Unpause(name) => world.take_pause(name)?.unpause(),
        ChainStep::ChainDeferred(from, to) => {
            let (deferred, resolver) = world.take_to_chain(from, to)?;
            deferred.chain_deferred(resolver);
        }
        ChainStep::Log(number) => world.trace(json!(["log", number])),
    }
    Some(())
}

fn canceller_of(
    world: &Rc<World>,
    name: &Name,
    canceller: &Canceller,
) -> impl FnOnce() -> Option<Result<Json, Failure>> + 'static {
    let (world, name) = (Rc::clone(world), Name::clone(name));
    let decision = match canceller {
        Canceller::Noop => None,
        Canceller::Callback(value) => Some(Ok(value.clone())),
        Canceller::Errback(error) => Some(Err(Named::failure(error))),
    };
    move || {
        world.trace(json!(["canceller", &*name]));
        if decision.is_some() {
            // The canceller fires it, so the program can no longer fire it.
            std::mem::forget(world.take_resolver(&name));
        }
        decision
    }
}

/// Callbacks may run during the call; the handle is not available to them.
fn add(world: &World, name: &Name, add: impl FnOnce(Deferred<Json>) -> Deferred<Json>) -> Option<()> {
    let deferred = add(world.take_deferred(name)?);
    world.put_back(name, deferred);
    Some(())
}

// An action that never returns a Deferred is added as a closure that returns a `Result`, so that
// both kinds of callback are replayed.

fn add_callback(world: &Rc<World>, deferred: Deferred<Json>, action: &Rc<Action>) -> Deferred<Json> {
    let (world, action) = (Rc::clone(world), Rc::clone(action));
    if action.may_defer() {
        deferred.add_callback(move |value| run_deferred(&world, &action, Ok(value)))
    } else {
        deferred.add_callback(move |value| run(&world, &action, Ok(value)))
    }
}

fn add_errback(world: &Rc<World>, deferred: Deferred<Json>, action: &Rc<Action>) -> Deferred<Json> {
    let (world, action) = (Rc::clone(world), Rc::clone(action));
    if action.may_defer() {
        deferred.add_errback(move |failure| run_deferred(&world, &action, Err(failure)))
    } else {
        deferred.add_errback(move |failure| run(&world, &action, Err(failure)))
    }
}

fn add_both(world: &Rc<World>, deferred: Deferred<Json>, action: &Rc<Action>) -> Deferred<Json> {
    let (world, action) = (Rc::clone(world), Rc::clone(action));
    if action.may_defer() {
        deferred.add_both(move |result| run_deferred(&world, &action, result))
    } else {
        deferred.add_both(move |result| run(&world, &action, result))
    }
}

fn add_callbacks(world: &Rc<World>, deferred: Deferred<Json>, a: &Rc<Action>, b: &Rc<Action>) -> Deferred<Json> {
    let (world_a, world_b) = (Rc::clone(world), Rc::clone(world));
    let (a, b) = (Rc::clone(a), Rc::clone(b));
    match (a.may_defer(), b.may_defer()) {
        (false, false) => deferred
            .add_callbacks(move |value| run(&world_a, &a, Ok(value)), move |failure| run(&world_b, &b, Err(failure))),
        (false, true) => deferred.add_callbacks(
            move |value| run(&world_a, &a, Ok(value)),
            move |failure| run_deferred(&world_b, &b, Err(failure)),
        ),
        (true, false) => deferred.add_callbacks(
            move |value| run_deferred(&world_a, &a, Ok(value)),
            move |failure| run(&world_b, &b, Err(failure)),
        ),
        (true, true) => deferred.add_callbacks(
            move |value| run_deferred(&world_a, &a, Ok(value)),
            move |failure| run_deferred(&world_b, &b, Err(failure)),
        ),
    }
}
