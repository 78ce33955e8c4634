//! Single flight: of several concurrent requests for the same key, only the first makes the call,
//! and all of them receive its answer. The answer is cached for a while; an error is not.
//!
//! ```text
//! cargo run --release --example single_flight
//! ```

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use deferred_core::{Deferred, Failure, Reactor, Shared, gather, park};

/// Makes at most one call for each key at a time, and caches its answer for `keep`.
#[derive(Clone)]
struct Cache {
    reactor: Reactor,
    keep: Duration,
    answers: Rc<RefCell<HashMap<&'static str, Shared<String>>>>,
}

impl Cache {
    fn new(reactor: &Reactor, keep: Duration) -> Self {
        Cache { reactor: reactor.clone(), keep, answers: Rc::default() }
    }

    /// Returns the answer that is cached or pending, or else makes `call`.
    fn get(&self, key: &'static str, call: impl FnOnce() -> Deferred<String>) -> Deferred<String> {
        if let Some(shared) = self.answers.borrow().get(key) {
            return shared.observe();
        }
        let failed = Rc::new(Cell::new(false));
        let (cache, set_failed) = (self.clone(), failed.clone());
        let answer = call().add_both(move |result| {
            let answers = cache.answers;
            let forget = move || drop(answers.borrow_mut().remove(key));
            if result.is_ok() {
                cache.reactor.call_later(cache.keep, forget);
            } else {
                set_failed.set(true);
                forget();
            }
            result
        });
        let shared = answer.share();
        // A call that failed at once ran `forget` before this insertion.
        if !failed.get() {
            self.answers.borrow_mut().insert(key, shared.clone());
        }
        shared.observe()
    }
}

/// A slow service, which fails the first request for "three".
#[derive(Clone)]
struct Service {
    reactor: Reactor,
    failed: Rc<Cell<bool>>,
}

impl Service {
    fn look_up(&self, key: &'static str) -> Deferred<String> {
        println!("looking up {key}");
        let fails = key == "three" && !self.failed.replace(true);
        self.reactor.defer_later(Duration::from_millis(50), move || {
            if fails { Err(Failure::msg("the service is busy")) } else { Ok(format!("the answer to {key}")) }
        })
    }
}

fn main() {
    let result = park::run_until(|reactor| {
        let cache = Cache::new(reactor, Duration::from_millis(100));
        let service = Service { reactor: reactor.clone(), failed: Rc::default() };
        let get = move |key: &'static str| {
            let service = service.clone();
            let answer = cache.get(key, move || service.look_up(key));
            answer.add_errback(move |failure| Ok(format!("no answer to {key}: {failure}")))
        };
        let (get_again, get_later, reactor) = (get.clone(), get.clone(), reactor.clone());
        gather(["one", "two", "one", "one", "three"].map(get))
            .map_err(Failure::from)
            .add_callback(move |answers| {
                answers.iter().for_each(|answer| println!("{answer}"));
                // "one" is cached; "three" failed and is not.
                gather(["one", "three"].map(get_again)).map_err(Failure::from)
            })
            .add_callback(move |answers| {
                answers.iter().for_each(|answer| println!("again: {answer}"));
                reactor.sleep(Duration::from_millis(200)) // longer than answers are cached
            })
            .add_callback(move |()| get_later("one"))
            .map(|answer| println!("later: {answer}"))
    });
    if let Err(failure) = result {
        eprintln!("{failure:#}");
    }
}
