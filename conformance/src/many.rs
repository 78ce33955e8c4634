//! The steps on several Deferreds.

use std::rc::Rc;

use deferred_core::{
    Deferred, Failure, FirstError, FirstSuccess, deferred_list, first_completion, first_success, gather, race,
};
use serde_json::{Value as Json, json};

use crate::action::error_name;
use crate::scenario::ManyStep;
use crate::world::World;

/// Plays a step. Returns `None`, without an effect, if the step does not apply.
pub(crate) fn play(world: &Rc<World>, step: &ManyStep) -> Option<()> {
    let (ManyStep::Gather(name, members) | ManyStep::List(name, members, ..) | ManyStep::Race(name, members)) = step;
    world.is_free(name)?;
    let members = world.take_all(members)?;
    let deferred = match *step {
        ManyStep::Gather(..) => gather(members).map(Json::from).map_err(Failure::from),
        ManyStep::List(_, _, fire_on_one_callback, fire_on_one_errback) => {
            list(members, fire_on_one_callback, fire_on_one_errback)
        }
        ManyStep::Race(..) => race(members).map(|(index, value)| json!([index, value])).map_err(Failure::from),
    };
    world.make(name, deferred, None);
    Some(())
}

fn list(members: Vec<Deferred<Json>>, fire_on_one_callback: bool, fire_on_one_errback: bool) -> Deferred<Json> {
    match (fire_on_one_callback, fire_on_one_errback) {
        (false, false) => deferred_list(members).map(|results| results.into_iter().map(entry).collect()),
        (false, true) => gather(members)
            .map(|values| values.into_iter().map(|value| json!([true, value])).collect())
            .map_err(Failure::from),
        (true, false) => first_success(members).map(|first| match first {
            FirstSuccess::Success { index, value } => json!([value, index]),
            FirstSuccess::AllFailed(errors) => errors.into_iter().map(|error| entry(Err(error))).collect(),
        }),
        (true, true) => first_completion(members)
            .map(|(index, value)| json!([value, index]))
            .map_err(|first: FirstError| Failure::from(first)),
    }
}

fn entry(result: Result<Json, Failure>) -> Json {
    match result {
        Ok(value) => json!([true, value]),
        Err(failure) => json!([false, error_name(&failure)]),
    }
}
