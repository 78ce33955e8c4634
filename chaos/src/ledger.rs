//! Counters shared by all threads: each value is dropped once, each Deferred fires once, and each
//! connection is made and lost once.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use deferred_smol::{Deferred, Failure};

/// The payload of intended panics. Every other panic is a problem.
pub(crate) struct Chaos;

/// Panics without the panic hook, which would count a problem.
pub(crate) fn panics() -> ! {
    std::panic::resume_unwind(Box::new(Chaos))
}

type Note = Box<dyn Fn() -> String + Send>;

#[derive(Default)]
pub(crate) struct Ledger {
    next: AtomicU64,
    /// The values that are alive, by number.
    alive: Mutex<BTreeMap<u64, &'static str>>,
    problems: Mutex<Vec<String>>,
    /// Notes that are printed if the round hangs.
    notes: Mutex<Vec<Note>>,
    pub(crate) fired: AtomicU64,
    pub(crate) lost: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Ledger {
    pub(crate) fn problem(&self, text: impl Into<String>) {
        lock(&self.problems).push(text.into());
    }

    /// Creates a value that must be dropped once.
    pub(crate) fn token(self: &Arc<Self>, what: &'static str) -> Token {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.alive).insert(number, what);
        Token { ledger: self.clone(), number, bomb: false }
    }

    /// Like [`token`](Self::token), but the destructor panics.
    pub(crate) fn panicking_token(self: &Arc<Self>, what: &'static str) -> Token {
        let mut token = self.token(what);
        token.bomb = true;
        token
    }

    /// Checks that this Deferred fires once, with any result.
    pub(crate) fn watch<T: 'static>(self: &Arc<Self>, what: &'static str, deferred: Deferred<T>) -> Deferred<()> {
        let watched = Watched { token: self.token(what), has_fired: false };
        deferred.add_both(move |result: Result<T, Failure>| {
            watched.fires();
            drop(result); // may panic
            Ok(())
        })
    }

    pub(crate) fn problems(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.problems))
    }

    /// Adds a note that is printed if the round hangs.
    pub(crate) fn note(&self, note: impl Fn() -> String + Send + 'static) {
        lock(&self.notes).push(Box::new(note));
    }

    pub(crate) fn notes(&self) -> Vec<String> {
        lock(&self.notes).iter().map(|note| note()).collect()
    }

    pub(crate) fn forget_notes(&self) {
        let notes = std::mem::take(&mut *lock(&self.notes));
        drop(notes);
    }

    /// Returns the number of values that are alive, by kind.
    pub(crate) fn alive(&self) -> Option<String> {
        let mut kinds = BTreeMap::<&str, usize>::new();
        lock(&self.alive).values().for_each(|what| *kinds.entry(what).or_default() += 1);
        let mut text = String::new();
        for (what, number) in &kinds {
            write!(text, "{}{number} of {what}", if text.is_empty() { "" } else { ", " })
                .expect("writing to a string cannot fail");
        }
        Some(text).filter(|text| !text.is_empty())
    }
}

pub(crate) struct Token {
    ledger: Arc<Ledger>,
    number: u64,
    bomb: bool,
}

impl Drop for Token {
    fn drop(&mut self) {
        if lock(&self.ledger.alive).remove(&self.number).is_none() {
            self.ledger.problem("something was dropped twice");
        }
        if self.bomb && !std::thread::panicking() {
            panics();
        }
    }
}

struct Watched {
    token: Token,
    has_fired: bool,
}

impl Watched {
    fn fires(mut self) {
        self.has_fired = true;
        self.token.ledger.fired.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.has_fired {
            let what = lock(&self.token.ledger.alive).get(&self.token.number).copied().unwrap_or("?");
            self.token.ledger.problem(format!("a Deferred never fired: {what}"));
        }
    }
}
