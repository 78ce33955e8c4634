//! The state of a scenario during its replay: the objects behind its names, and its trace.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::rc::Rc;

use deferred_core::{CancelHandle, Deferred, Failure, Pause, Resolver, Unhandled, on_unhandled};
use serde_json::{Value as Json, json};

use crate::action::{error_name, outcome};
use crate::report::Difference;
use crate::scenario::{End, Name, Scenario, Step, What};
use crate::sync::{self, Lines};
use crate::time::{self, Timed};
use crate::{chain, inline, many};

/// Selects the names for which the replay takes a [`CancelHandle`].
///
/// Taking a handle allocates the block of a Deferred, and a Deferred without a block runs through
/// other parts of the library, so both are worth a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handles {
    /// Creates cancel handles only for names that some step of the program cancels.
    WhereCancelled,
    /// Creates cancel handles for all names.
    Everywhere,
}

/// Replays one scenario.
///
/// # Errors
///
/// Returns the first row in which the scenario differs from its recording.
pub fn replay(scenario: Scenario, handles: Handles) -> Result<(), Difference> {
    let world = Rc::new(World {
        to_cancel: (handles == Handles::WhereCancelled).then(|| scenario.cancelled()),
        slots: RefCell::default(),
        lines: Lines::default(),
        timed: Timed::default(),
        trace: RefCell::default(),
    });
    let unhandled = Rc::new(RefCell::new(Vec::new()));
    let collected = Rc::clone(&unhandled);
    let _hook = on_unhandled(move |error| collected.borrow_mut().push(unhandled_name(error)));

    for (index, step) in scenario.steps.iter().enumerate() {
        world.trace(json!(["step", index]));
        world.play(step);
    }
    let left = world.end();
    // All other objects are leaked: dropping one could fire, unpause or run something, and add
    // errors to the trace.
    mem::forget(Rc::clone(&world));
    let mut rows = world.trace.take();
    match scenario.end {
        End::Results => {
            rows.extend(left.into_iter().map(|(name, deferred)| json!(["final", &*name, final_result(deferred)])));
        }
        End::Unhandled => {
            drop(left);
            let mut errors = unhandled.take();
            errors.sort_by_key(Json::to_string);
            rows.extend(errors.into_iter().map(|error| json!(["unhandled", error])));
        }
    }
    Difference::find(&scenario.id, &scenario.expected, &rows).map_or(Ok(()), Err)
}

/// Checks that `peek` and `try_take` agree.
fn final_result(mut deferred: Deferred<Json>) -> Json {
    let seen = deferred.peek().map_or(json!("pending"), outcome);
    let taken = deferred.try_take().map_or(json!("pending"), |result| outcome(result.as_ref()));
    if seen == taken { seen } else { json!({ "seen": seen, "taken": taken }) }
}

fn unhandled_name(error: &Unhandled<'_>) -> Json {
    error.downcast_ref::<Failure>().map_or_else(|| json!(format!("unexpected: {:?}", error.error())), error_name)
}

/// The objects behind the names of a running scenario, and the rows traced so far.
///
/// No method holds a borrow while the library runs callbacks, because they play steps too.
pub(crate) struct World {
    /// The names that get a cancel handle; `None` for all.
    to_cancel: Option<BTreeSet<Name>>,
    slots: RefCell<BTreeMap<Name, Slot>>,
    pub(crate) lines: Lines,
    pub(crate) timed: Timed,
    trace: RefCell<Vec<Json>>,
}

/// A named Deferred, whose parts exist until they are used up.
struct Slot {
    deferred: Option<Deferred<Json>>,
    resolver: Option<Resolver<Json>>,
    cancel_handle: Option<CancelHandle>,
    pauses: Vec<Pause>,
}

impl World {
    pub(crate) fn trace(&self, row: Json) {
        self.trace.borrow_mut().push(row);
    }

    /// Plays a step, or traces that it does not apply.
    pub(crate) fn play(self: &Rc<Self>, step: &Step) {
        let played = match &step.what {
            What::Chain(step) => chain::play(self, step),
            What::Inline(step) => inline::play(self, step),
            What::Many(step) => many::play(self, step),
            What::Sync(step) => sync::play(self, step),
            What::Time(step) => time::play(self, step),
        };
        if played.is_none() {
            self.trace(json!(["skip", step.word]));
        }
    }

    pub(crate) fn is_free(&self, name: &Name) -> Option<()> {
        (!self.slots.borrow().contains_key(name)).then_some(())
    }

    pub(crate) fn make(&self, name: &Name, mut deferred: Deferred<Json>, resolver: Option<Resolver<Json>>) {
        let wanted = self.to_cancel.as_ref().is_none_or(|names| names.contains(name));
        let cancel_handle = wanted.then(|| deferred.cancel_handle());
        let slot = Slot { deferred: Some(deferred), resolver, cancel_handle, pauses: Vec::new() };
        self.slots.borrow_mut().insert(Name::clone(name), slot);
    }

    fn slot<T>(&self, name: &Name, look: impl FnOnce(&mut Slot) -> Option<T>) -> Option<T> {
        self.slots.borrow_mut().get_mut(name).and_then(look)
    }

    pub(crate) fn take_deferred(&self, name: &Name) -> Option<Deferred<Json>> {
        self.slot(name, |slot| slot.deferred.take())
    }

    /// Takes all of these Deferreds, or none.
    pub(crate) fn take_all(&self, names: &[Name]) -> Option<Vec<Deferred<Json>>> {
        let mut slots = self.slots.borrow_mut();
        let all = |name| slots.get(name).is_some_and(|slot| slot.deferred.is_some());
        if !names.iter().all(all) {
            return None;
        }
        names.iter().map(|name| slots.get_mut(name)?.deferred.take()).collect()
    }

    /// Returns a Deferred that `take_deferred` took.
    pub(crate) fn put_back(&self, name: &Name, deferred: Deferred<Json>) {
        self.slot(name, |slot| slot.deferred.replace(deferred));
    }

    pub(crate) fn take_resolver(&self, name: &Name) -> Option<Resolver<Json>> {
        self.slot(name, |slot| slot.resolver.take())
    }

    pub(crate) fn cancel_handle(&self, name: &Name) -> Option<CancelHandle> {
        self.slot(name, |slot| Some(slot.cancel_handle.clone().expect("every name that a step cancels has a handle")))
    }

    pub(crate) fn pause(&self, name: &Name) -> Option<()> {
        self.slot(name, |slot| {
            slot.pauses.push(slot.deferred.as_mut()?.pause());
            Some(())
        })
    }

    /// Takes one pause of the Deferred, for the caller to end. Returns `None` if the handle is used
    /// up: the Deferred then stays paused.
    pub(crate) fn take_pause(&self, name: &Name) -> Option<Pause> {
        self.slot(name, |slot| slot.deferred.as_ref().and_then(|_| slot.pauses.pop()))
    }

    /// Takes the two ends that `chain_deferred` joins, or none.
    pub(crate) fn take_to_chain(&self, from: &Name, to: &Name) -> Option<(Deferred<Json>, Resolver<Json>)> {
        let mut slots = self.slots.borrow_mut();
        let fits = from != to && slots.get(from)?.deferred.is_some() && slots.get(to)?.resolver.is_some();
        if !fits {
            return None;
        }
        Some((slots.get_mut(from)?.deferred.take()?, slots.get_mut(to)?.resolver.take()?))
    }

    /// Returns the remaining handles.
    fn end(&self) -> Vec<(Name, Deferred<Json>)> {
        let mut slots = self.slots.borrow_mut();
        slots.iter_mut().filter_map(|(name, slot)| Some((Name::clone(name), slot.deferred.take()?))).collect()
    }
}
