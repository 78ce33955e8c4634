//! The steps on the clock.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use deferred_core::{Clock, Deferred, DelayedCall, LoopingCall};
use serde_json::{Value as Json, json};

use crate::action::{error_name, outcome, run, run_deferred};
use crate::scenario::{Action, Name, TimeStep};
use crate::world::World;

/// The clock, and the objects that the steps of this family create.
#[derive(Default)]
pub(crate) struct Timed {
    clock: Clock,
    calls: RefCell<BTreeMap<Name, DelayedCall>>,
    loops: RefCell<BTreeMap<Name, LoopingCall>>,
}

impl Timed {
    fn call(&self, name: &Name) -> Option<DelayedCall> {
        self.calls.borrow().get(name).cloned()
    }

    fn running(&self, name: &Name) -> Option<LoopingCall> {
        self.loops.borrow().get(name).filter(|looping| looping.is_running()).cloned()
    }
}

/// Times are multiples of 1/1024 s, which are not whole nanoseconds; so a second is 1024 here.
fn seconds(count: f64) -> Duration {
    Duration::from_secs_f64(count * 1024.0)
}

/// Plays a step. Returns `None`, without an effect, if the step does not apply.
pub(crate) fn play(world: &Rc<World>, step: &TimeStep) -> Option<()> {
    let timed = &world.timed;
    match step {
        TimeStep::Advance(by) => timed.clock.advance(seconds(*by)),
        TimeStep::CallLater(name, delay, action) => {
            if timed.calls.borrow().contains_key(name) {
                return None;
            }
            let call = call_later(world, name, *delay, action);
            timed.calls.borrow_mut().insert(Name::clone(name), call);
        }
        TimeStep::CallCancel(name) => timed.call(name)?.cancel().ok()?,
        TimeStep::CallReset(name, delay) => timed.call(name)?.reset(seconds(*delay)).ok()?,
        TimeStep::CallDelay(name, more) => timed.call(name)?.delay(seconds(*more)).ok()?,
        TimeStep::CallActive(name) => {
            let active = timed.call(name)?.active();
            world.trace(json!(["active", &**name, active]));
        }
        TimeStep::Timeout(name, delay, on_timeout) => {
            let deferred = world.take_deferred(name)?;
            let delay = seconds(*delay);
            let timed_out = match on_timeout.clone() {
                None => deferred.add_timeout(delay, &timed.clock),
                Some(value) => {
                    let (traces, name) = (Rc::clone(world), Name::clone(name));
                    deferred.add_timeout_with(delay, &timed.clock, move |result| {
                        traces.trace(json!(["timed_out", &*name, outcome(result.as_ref())]));
                        Ok(value)
                    })
                }
            };
            world.put_back(name, timed_out);
        }
        TimeStep::DeferLater(name, delay, action) => {
            world.is_free(name)?;
            let (player, action) = (Rc::clone(world), Rc::clone(action));
            let deferred = if action.may_defer() {
                timed.clock.defer_later(seconds(*delay), move || run_deferred(&player, &action, Ok(Json::Null)))
            } else {
                timed.clock.defer_later(seconds(*delay), move || run(&player, &action, Ok(Json::Null)))
            };
            world.make(name, deferred, None);
        }
        TimeStep::Loop { name, done, interval, now, counted, action } => {
            if timed.loops.borrow().contains_key(name) {
                return None;
            }
            world.is_free(done)?;
            let looping = looping(world, name, *counted, action);
            timed.loops.borrow_mut().insert(Name::clone(name), looping.clone());
            let interval = seconds(*interval);
            let started = if *now { looping.start(interval) } else { looping.start_later(interval) };
            world.make(done, started.map(|_| json!("loop")), None);
        }
        TimeStep::LoopStop(name) => timed.running(name)?.stop(),
        TimeStep::LoopReset(name) => timed.running(name)?.reset(),
    }
    Some(())
}

/// Errors that the action raises are traced; a Deferred that it returns is dropped.
fn call_later(world: &Rc<World>, name: &Name, delay: f64, action: &Rc<Action>) -> DelayedCall {
    let (player, name, action) = (Rc::clone(world), Name::clone(name), Rc::clone(action));
    world.timed.clock.call_later(seconds(delay), move || {
        if action.may_defer() {
            drop(run_deferred(&player, &action, Ok(Json::Null)));
        } else if let Err(failure) = run(&player, &action, Ok(Json::Null)) {
            player.trace(json!(["call_raised", &*name, error_name(&failure)]));
        }
    })
}

fn looping(world: &Rc<World>, name: &Name, counted: bool, action: &Rc<Action>) -> LoopingCall {
    let (player, name, action) = (Rc::clone(world), Name::clone(name), Rc::clone(action));
    let runs = RefCell::new(0);
    let body = move |count: Json| {
        *runs.borrow_mut() += 1;
        if action.times.is_some_and(|times| *runs.borrow() > times) {
            let looping = player.timed.loops.borrow().get(&name).cloned();
            looping.expect("a loop that runs").stop();
            return Deferred::succeed(Json::Null);
        }
        if action.may_defer() {
            run_deferred(&player, &action, Ok(count))
        } else {
            Deferred::from(run(&player, &action, Ok(count)))
        }
    };
    let clock = &world.timed.clock;
    if counted {
        LoopingCall::with_count(clock, move |count| body(json!(count)))
    } else {
        LoopingCall::new(clock, move || body(Json::Null))
    }
}
