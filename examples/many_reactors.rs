//! Several reactors, one for each thread, that post calls to each other.
//!
//! Each counter counts the words of its lines, on its own loop and in a table that no other thread
//! accesses. The main reactor distributes the lines among them. At the end it asks each counter for
//! its table, which arrives as a Deferred.
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
    /// The table of this thread's counter. It is not `Send`, so calls from other threads find it
    /// here instead of capturing it.
    static TALLY: Rc<RefCell<Tally>> = Rc::default();
}

/// Starts a thread with its own reactor, and returns the handle of that reactor.
fn start_counter() -> ReactorHandle {
    let (handle, started) = mpsc::channel();
    thread::spawn(move || park::run(|reactor| handle.send(reactor.handle())));
    started.recv().expect("the thread sends its handle before it does anything else")
}

/// Counts the words of a line; runs on a counter's thread.
fn count(line: &str) {
    let tally = TALLY.with(Rc::clone);
    for word in line.split_whitespace() {
        *tally.borrow_mut().entry(word.to_owned()).or_default() += 1;
    }
}

/// Asks a counter for its table. `reactor` is the caller's.
fn ask(reactor: &Reactor, counter: &ReactorHandle) -> Deferred<Tally> {
    let (tally, resolver) = reactor.remote();
    let answer = move || resolver.callback(TALLY.with(|tally| tally.take()));
    // The call runs after the lines that were posted before it. If the counter had ended, the
    // resolver would be dropped here, and the Deferred would fail.
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
                posted.map_err(|_| Failure::msg("a counter ended early"))?;
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
