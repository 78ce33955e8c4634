//! A Deferred that fires later, its callbacks and errbacks.

use std::process::ExitCode;
use std::time::Duration;

use deferred_mio::{Deferred, Failure, Reactor, gather, react};

fn dummy_data(reactor: &Reactor, input: u32) -> Deferred<u32> {
    let (deferred, resolver) = Deferred::new();
    reactor.call_later(Duration::from_millis(50), move || resolver.callback(input * 3));
    deferred
}

fn is_odd(number: u32) -> Result<String, Failure> {
    if number.is_multiple_of(2) {
        Err(Failure::msg(format!("{number} is even")))
    } else {
        Ok(format!("{number} is odd"))
    }
}

fn main() -> ExitCode {
    react(|reactor| {
        let odd = dummy_data(reactor, 3).add_callback(is_odd).map(|text| println!("{text}"));
        let even = dummy_data(reactor, 4).add_callback(is_odd);
        let even = even.add_callbacks(|text| println!("{text}"), |failure| println!("failed: {failure}"));
        gather([odd, even]).map_err(Failure::from)
    })
}
