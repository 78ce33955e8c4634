//! Single flight: of many who ask for the same at once, only the first makes the call, and all get its answer.
//!
//! ```text
//! cargo run --example single_flight
//! ```

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use deferred_core::{Deferred, Failure, Reactor, Shared, gather, park};

/// Makes at most one call for each key at a time.
#[derive(Clone)]
struct SingleFlight {
    flying: Rc<RefCell<HashMap<&'static str, Shared<String>>>>,
}

impl SingleFlight {
    fn new() -> Self {
        SingleFlight { flying: Rc::default() }
    }

    /// The answer of the call that is on its way for this key, or of `call`.
    fn get(&self, key: &'static str, call: impl FnOnce() -> Deferred<String>) -> Deferred<String> {
        if let Some(shared) = self.flying.borrow().get(key) {
            return shared.observe();
        }
        let flying = self.flying.clone();
        let shared = call()
            .add_finally(move || {
                flying.borrow_mut().remove(key);
            })
            .share();
        if !shared.is_ready() {
            self.flying.borrow_mut().insert(key, shared.clone());
        }
        shared.observe()
    }
}

/// A slow service.
fn look_up(reactor: &Reactor, key: &'static str) -> Deferred<String> {
    println!("looking up {key}");
    reactor.defer_later(Duration::from_millis(50), move || Ok(format!("the answer to {key}")))
}

fn main() {
    let answers = park::run_until(|reactor| {
        let (flight, service) = (SingleFlight::new(), reactor.clone());
        gather(["one", "two", "one", "one"].map(|key| {
            let service = service.clone();
            flight.get(key, move || look_up(&service, key))
        }))
        .map_err(Failure::from)
        .add_callback(move |mut answers| {
            // The first flight has landed, so this is another one.
            flight.get("one", move || look_up(&service, "one")).add_callback(move |again| {
                answers.push(again);
                Ok(answers)
            })
        })
    });
    match answers {
        Ok(answers) => answers.iter().for_each(|answer| println!("{answer}")),
        Err(failure) => eprintln!("{failure:#}"),
    }
}
