//! The steps on coroutines.

use std::rc::Rc;

use deferred_core::{Failure, inline_callbacks};
use serde_json::{Value as Json, json};

use crate::action::{Named, error_name};
use crate::scenario::{InlineStep, Statement};
use crate::world::World;

/// Plays a step. Returns `None`, without an effect, if the step does not apply.
pub(crate) fn play(world: &Rc<World>, step: &InlineStep) -> Option<()> {
    let InlineStep::Inline(name, script) = step;
    world.is_free(name)?;
    let deferred = inline_callbacks(run(Rc::clone(world), Rc::clone(script)));
    world.make(name, deferred, None);
    Some(())
}

async fn run(world: Rc<World>, script: Rc<[Statement]>) -> Result<Json, Failure> {
    for statement in &script[..] {
        match statement {
            Statement::Log(number) => world.trace(json!(["log", number])),
            Statement::Do(step) => world.play(step),
            Statement::Return(value) => return Ok(value.clone()),
            Statement::Raise(error) => return Err(Named::failure(error)),
            Statement::Await(number, name, catch) => {
                let Some(deferred) = world.take_deferred(name) else {
                    world.trace(json!(["skip", "await"]));
                    continue;
                };
                match deferred.await {
                    Ok(value) => world.trace(json!(["got", number, value])),
                    Err(failure) => {
                        let error = error_name(&failure);
                        if !catch.as_ref().is_some_and(|catch| catch == "all" || error == **catch) {
                            return Err(failure);
                        }
                        world.trace(json!(["caught", number, error]));
                    }
                }
            }
        }
    }
    Ok(Json::Null)
}
