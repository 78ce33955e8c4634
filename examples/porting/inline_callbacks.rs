//! Coroutines.

use std::process::ExitCode;
use std::time::Duration;

use deferred_mio::{Deferred, Failure, Reactor, inline_callbacks, react};

fn fetch(reactor: &Reactor, page: u32) -> Deferred<String> {
    if page == 3 {
        return Deferred::fail(Failure::msg("no such page"));
    }
    reactor.defer_later(Duration::from_millis(20), move || Ok(format!("page {page}")))
}

fn fetch_all(reactor: Reactor) -> Deferred<Vec<String>> {
    inline_callbacks(async move {
        let mut pages = Vec::new();
        for number in 1..5 {
            match fetch(&reactor, number).await {
                Ok(page) => pages.push(page),
                Err(failure) => println!("skipped: {failure}"),
            }
        }
        Ok(pages)
    })
}

fn main() -> ExitCode {
    react(|reactor| fetch_all(reactor.clone()).map(|pages| println!("{}", pages.join(", "))))
}
