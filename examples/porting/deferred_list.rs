//! All results of several Deferreds.

use std::process::ExitCode;

use deferred_mio::{Deferred, Failure, deferred_list, react};

fn print_results(results: Vec<Result<&'static str, Failure>>) {
    for result in results {
        match result {
            Ok(value) => println!("succeeded with {value}"),
            Err(failure) => println!("failed with {failure}"),
        }
    }
}

fn main() -> ExitCode {
    react(|_| {
        let ((first, one), (second, two), (third, three)) = (Deferred::new(), Deferred::new(), Deferred::new());
        let every = deferred_list([first, second, third]).map(print_results);
        one.callback("one");
        two.errback(Failure::msg("bang!"));
        three.callback("three");
        every
    })
}
