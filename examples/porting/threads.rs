//! Work in threads, and calls from them.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use deferred_mio::{Failure, Reactor, ReactorHandle, gather, inline_callbacks, react};
use deferred_threadpool::defer_to_thread;

fn long_calculation(number: u32) -> u32 {
    thread::sleep(Duration::from_millis(10));
    number * number
}

fn waits_for_the_loop(reactor: &ReactorHandle) -> Result<String, Failure> {
    let later = || Reactor::current().map(|reactor| reactor.defer_later(Duration::from_millis(10), || Ok(42)));
    let answer = reactor.blocking_call_from_thread(move || later().expect("it runs on the loop"))?;
    Ok(format!("the loop says {answer}"))
}

fn main() -> ExitCode {
    react(|reactor| {
        let (reactor, handle) = (reactor.clone(), reactor.handle());
        inline_callbacks(async move {
            let squares = gather([1, 2, 3].map(|n| defer_to_thread(move || Ok(long_calculation(n))))).await?;
            println!("squares: {} {} {}", squares[0], squares[1], squares[2]);
            println!("{}", defer_to_thread(move || waits_for_the_loop(&handle)).await?);
            let (called, resolver) = reactor.remote();
            thread::spawn(move || resolver.callback("called from a thread"));
            println!("{}", called.await?);
            Ok(())
        })
    })
}
