//! Many reactors, one for each thread, which post work to each other.
//!
//! Each counts the words of the lines that it is given, on its own loop and with a tally that no
//! other thread sees. A reader hands the lines out in turn. At the end each is asked for its tally,
//! which comes back as a Deferred of the one who asked.
//!
//! ```text
//! cargo run --example many_reactors
//! ```

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;

use deferred_core::{Deferred, Failure, Reactor, ReactorHandle, gather, inline_callbacks, park};

const TEXT: &str = "the loop waits for the first of many
many wait for the loop
the first of the many is the last";

type Tally = BTreeMap<String, u32>;

thread_local! {
    /// That of the counter on this thread. Calls that are posted to it find it here, since what is
    /// not `Send` does not travel.
    static TALLY: Rc<RefCell<Tally>> = Rc::default();
}

/// Starts a thread with a reactor of its own, and gives what reaches it.
fn start_counter() -> ReactorHandle {
    let (handle, started) = mpsc::channel();
    thread::spawn(move || park::run(|reactor| handle.send(reactor.handle())));
    started.recv().expect("the thread sends it first of all")
}

/// Runs on a counter's thread.
fn count(line: &str) {
    let tally = TALLY.with(Rc::clone);
    for word in line.split_whitespace() {
        *tally.borrow_mut().entry(word.to_owned()).or_default() += 1;
    }
}

/// What a counter has counted; `reactor` is the one who asks.
fn ask(reactor: &Reactor, counter: &ReactorHandle) -> Deferred<Tally> {
    let (tally, resolver) = reactor.remote();
    let answer = move || resolver.callback(TALLY.with(|tally| tally.take()));
    // Posted behind the lines, so it runs behind them. Had the counter ended, the resolver would be
    // dropped here, and the Deferred fail.
    let _ = counter.call_from_thread(answer);
    tally
}

fn main() -> ExitCode {
    park::react(|reactor| {
        let reactor = reactor.clone();
        inline_callbacks(async move {
            let counters: Vec<_> = (0..3).map(|_| start_counter()).collect();
            for (line, counter) in TEXT.lines().zip(counters.iter().cycle()) {
                let posted = counter.call_from_thread(|| count(line));
                posted.map_err(|_| Failure::msg("a counter has ended"))?;
            }
            let asked: Vec<_> = counters.iter().map(|counter| ask(&reactor, counter)).collect();
            let mut total = Tally::new();
            for (word, count) in gather(asked).await?.into_iter().flatten() {
                *total.entry(word).or_default() += count;
            }
            for (word, count) in total {
                println!("{word}: {count}");
            }
            counters.iter().for_each(ReactorHandle::stop);
            Ok(())
        })
    })
}
