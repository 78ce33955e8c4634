//! Deferreds in functions that return an `anyhow::Error`, and such functions in a coroutine. A
//! timeout and a cancel are recognized through both.
//!
//! With `eyre` it is the same.
//!
//! ```text
//! cargo run --example anyhow
//! ```

use std::time::Duration;

use anyhow::Context;
use deferred_smol::{Cancelled, Deferred, Failure, Reactor, TimedOut, find_error, inline_callbacks, run_until};

/// A function of anyhow, which knows nothing of Deferreds.
fn port_of(settings: &str) -> anyhow::Result<u16> {
    let port = settings.split_once('=').context("there is no `=`")?.1;
    port.trim().parse().with_context(|| format!("{port:?} is no port"))
}

/// A library with Deferreds, whose server does not answer.
fn ask(reactor: &Reactor, port: u16) -> Deferred<String> {
    reactor.sleep(Duration::from_secs(60)).map(move |()| format!("the answer of port {port}"))
}

/// An asynchronous function of anyhow, which awaits a Deferred.
async fn load(reactor: Reactor, settings: &str) -> anyhow::Result<String> {
    let port = port_of(settings).context("reading the settings")?;
    let answer = ask(&reactor, port).add_timeout(Duration::from_millis(20), &reactor);
    answer.await.map_err(Failure::into_error).context("asking the server")
}

fn main() -> anyhow::Result<()> {
    run_until(|reactor| {
        let reactor = reactor.clone();
        inline_callbacks(async move {
            let error = load(reactor.clone(), "port: 80").await.expect_err("there is no `=`");
            println!("{error:#}");

            let error = load(reactor.clone(), "port = 80").await.expect_err("nothing answers");
            println!("{error:#}; a timeout: {}", find_error::<TimedOut>(&*error).is_some());

            // As a Deferred, which other code can cancel.
            let loaded = inline_callbacks({
                let reactor = reactor.clone();
                async move { load(reactor, "port = 80").await.map_err(Failure::from_report) }
            });
            loaded.cancel();
            let failure = loaded.await.expect_err("it was cancelled");
            println!("{failure:#}; a cancel: {}", failure.check::<Cancelled>());
            Ok(())
        })
    })
    .map_err(Failure::into_error)?;
    Ok(())
}
