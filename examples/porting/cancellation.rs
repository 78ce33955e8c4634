//! Cancellers and timeouts.

use std::process::ExitCode;
use std::time::Duration;

use deferred_mio::{Cancelled, Deferred, Failure, Reactor, TimedOut, react};

fn look_up(reactor: &Reactor, name: &'static str) -> Deferred<String> {
    let (deferred, resolver) = Deferred::new();
    let call = reactor.call_later(Duration::from_secs(10), move || resolver.callback(format!("the address of {name}")));
    let (cancellable, forward) = Deferred::with_canceller(move || {
        println!("forgetting {name}");
        let _ = call.cancel();
        None
    });
    deferred.chain_deferred(forward);
    cancellable
}

fn cancelled(failure: Failure) -> Result<(), Failure> {
    failure.trap::<Cancelled>()?;
    println!("it was cancelled");
    Ok(())
}

fn timed_out(failure: Failure) -> Result<(), Failure> {
    failure.trap::<TimedOut>()?;
    println!("it took too long");
    Ok(())
}

fn main() -> ExitCode {
    react(|reactor| {
        let first = look_up(reactor, "example.org").map(|_| ()).add_errback(cancelled);
        first.cancel();
        let second = look_up(reactor, "example.com").add_timeout(Duration::from_millis(50), reactor);
        second.map(|_| ()).add_errback(timed_out)
    })
}
