//! A job with a connection: the connection is taken, used, brought into a known state, and put back
//! or closed.
//!
//! # States
//!
//! A connection is put back only in a known state. After the closure:
//!
//! 1. no interrupt can begin any more; if one has, the manager checks that it cannot reach the next
//!    job, or the connection is closed;
//! 2. after a value, an open transaction is committed;
//! 3. after an error, an open transaction is rolled back. If it is unknown whether one is open, or
//!    if the rollback fails, the connection is closed;
//! 4. after a panic, the transaction of an interaction is rolled back, and another connection is
//!    closed;
//! 5. a connection that is broken, discarded or too old is closed; with another one, `on_return` is
//!    called.
//!
//! A connection is out of its thread-local while a job uses it, so a panic of the manager drops it.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use deferred_core::{Failure, report};

use super::builder::Options;
use super::interrupt::{InterruptHandle, Interrupted, Interrupts};
use super::manage::ManageConnection;
use super::pooled::PooledConnection;
use super::report::ReturnFailed;
use crate::job::{Job, drop_ignoring_panic};

/// The manager of a pool and its options.
pub(super) struct Connections<M: ManageConnection> {
    manager: M,
    pub(super) options: Options<M::Connection>,
    pub(super) counters: Arc<Counters>,
}

// ORDERING: Relaxed: they are counters.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) opened: AtomicU64,
    pub(super) closed: AtomicU64,
    pub(super) failed: AtomicU64,
}

/// An open connection, which is counted.
struct Open<C> {
    connection: C,
    interrupt: Option<InterruptHandle>,
    opened_at: Instant,
    counters: Arc<Counters>,
}

impl<C> Drop for Open<C> {
    fn drop(&mut self) {
        self.counters.closed.fetch_add(1, Ordering::Relaxed);
    }
}

thread_local! {
    /// The [`Open`] connection of this thread, which belongs to one pool.
    static OPEN: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
}

/// Closes the connection of a thread that ends or is idle.
pub(super) fn close() {
    if let Some(connection) = OPEN.take() {
        drop_ignoring_panic(connection);
    }
}

/// Returns `true` if this thread has a connection.
pub(super) fn is_open() -> bool {
    OPEN.with_borrow(Option::is_some)
}

/// The kind of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The closure runs in a transaction.
    Interaction,
    /// The closure may begin transactions.
    Plain,
}

/// The result of a closure, or the payload of its panic.
type Called<T> = thread::Result<Result<T, Failure>>;

/// A connection after its use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Known,
    Unknown,
}

impl<M: ManageConnection> Connections<M> {
    pub(super) fn new(manager: M, options: Options<M::Connection>) -> Connections<M> {
        Connections { manager, options, counters: Arc::default() }
    }

    /// Opens the connection of this thread if it has none.
    pub(super) fn open_now(&self) -> Result<(), Failure> {
        if !is_open() {
            let open = self.open()?;
            OPEN.set(Some(open));
        }
        Ok(())
    }

    /// Runs a job with the connection of this thread.
    pub(super) fn run<T>(
        &self,
        kind: Kind,
        job: &Job<'_>,
        f: impl FnOnce(&mut PooledConnection<'_, M::Connection>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut open = self.take()?;
        let used = panic::catch_unwind(AssertUnwindSafe(|| self.use_connection(kind, &mut open, job, f)));
        let (result, state) = used.unwrap_or_else(|payload| (Err(payload), State::Unknown));
        let keeps = state == State::Known
            && panic::catch_unwind(AssertUnwindSafe(|| self.is_returned(&mut open))).unwrap_or(false);
        if keeps {
            OPEN.set(Some(open));
        } else {
            drop_ignoring_panic(open);
        }
        result.unwrap_or_else(|payload| panic::resume_unwind(payload))
    }

    /// Returns the connection of this thread if it works, or else a new one.
    fn take(&self) -> Result<Box<Open<M::Connection>>, Failure> {
        if let Some(Ok(mut open)) = OPEN.take().map(|open| open.downcast::<Open<M::Connection>>()) {
            let checked = panic::catch_unwind(AssertUnwindSafe(|| self.is_usable(&mut open)));
            if let Ok(true) = checked {
                return Ok(open);
            }
            drop_ignoring_panic(open);
            if let Err(payload) = checked {
                panic::resume_unwind(payload);
            }
        }
        self.open()
    }

    fn is_usable(&self, open: &mut Open<M::Connection>) -> bool {
        !self.is_too_old(open) && (!self.options.checks || self.manager.check(&mut open.connection).is_ok())
    }

    fn is_too_old(&self, open: &Open<M::Connection>) -> bool {
        self.options.max_lifetime.is_some_and(|lifetime| open.opened_at.elapsed() >= lifetime)
    }

    fn open(&self) -> Result<Box<Open<M::Connection>>, Failure> {
        let open = || {
            let mut connection = self.manager.open()?;
            if let Some(hook) = &self.options.on_open {
                hook(&mut connection)?;
            }
            let interrupt = match &self.options.interrupt_handle {
                Some(handle) => Some(handle(&mut connection)?),
                None => self.manager.interrupt_handle(&mut connection),
            };
            Ok((connection, interrupt))
        };
        match panic::catch_unwind(AssertUnwindSafe(open)) {
            Ok(Ok((connection, interrupt))) => {
                self.counters.opened.fetch_add(1, Ordering::Relaxed);
                let counters = self.counters.clone();
                Ok(Box::new(Open { connection, interrupt, opened_at: Instant::now(), counters }))
            }
            failed => {
                self.counters.failed.fetch_add(1, Ordering::Relaxed);
                match failed {
                    Ok(result) => Err(result.err().expect("a connection was returned above")),
                    Err(payload) => panic::resume_unwind(payload),
                }
            }
        }
    }

    /// Calls `f` with a connection, and ends the transaction.
    fn use_connection<T>(
        &self,
        kind: Kind,
        open: &mut Open<M::Connection>,
        job: &Job<'_>,
        f: impl FnOnce(&mut PooledConnection<'_, M::Connection>) -> Result<T, Failure>,
    ) -> (Called<T>, State) {
        if job.is_cancelled() {
            drop_ignoring_panic(f);
            return (Ok(Err(job.cancelled_error())), State::Known);
        }
        let interrupts = open.interrupt.as_ref().map(|handle| handle.interrupt_on_cancel(job));
        let mut connection = PooledConnection::new(&mut open.connection, job);
        let (called, begun) = self.call(kind, &mut connection, job, f);
        let interrupted = interrupts.map_or(Interrupted::Times(0), Interrupts::end);
        let discarded = connection.is_discarded();
        let connection = &mut open.connection;
        let is_settled = match interrupted {
            Interrupted::Times(0) => true,
            Interrupted::Times(times) => {
                let error = called.as_ref().ok().and_then(|result| result.as_ref().err());
                self.manager.check_interrupted(connection, times, error).is_ok()
            }
            Interrupted::Unfinished => false,
        };
        if !is_settled {
            // Closing the connection rolls back. The job was cancelled, so nothing is confirmed.
            let called = called.map(|result| result.and_then(|_| Err(job.cancelled_error())));
            return (called, State::Unknown);
        }
        let (called, state) = self.end(begun, connection, called);
        (called, if discarded { State::Unknown } else { state })
    }

    /// Calls `f`, in a transaction if it is an interaction. Returns `true` if that has begun.
    fn call<T>(
        &self,
        kind: Kind,
        connection: &mut PooledConnection<'_, M::Connection>,
        job: &Job<'_>,
        f: impl FnOnce(&mut PooledConnection<'_, M::Connection>) -> Result<T, Failure>,
    ) -> (Called<T>, bool) {
        if kind == Kind::Plain {
            return (panic::catch_unwind(AssertUnwindSafe(|| f(connection))), false);
        }
        let begun = match &self.options.transactions {
            Some(transactions) => (transactions.begin)(connection),
            None => self.manager.begin(connection),
        };
        if let Err(error) = begun {
            drop_ignoring_panic(f);
            return (Ok(Err(error)), false);
        }
        // The job may have been cancelled while the transaction began.
        if job.is_cancelled() {
            drop_ignoring_panic(f);
            return (Ok(Err(job.cancelled_error())), true);
        }
        match panic::catch_unwind(AssertUnwindSafe(|| f(connection))) {
            Ok(Ok(_)) if job.is_cancelled() => (Ok(Err(job.cancelled_error())), true),
            called => (called, true),
        }
    }

    /// Ends the transaction that the pool has begun, or that the closure may have begun, and
    /// decides whether the connection is in a known state.
    fn end<T>(&self, begun: bool, connection: &mut M::Connection, called: Called<T>) -> (Called<T>, State) {
        let first = match called {
            Ok(Ok(value)) => {
                // If the transaction of an interaction has ended by itself, for example because the
                // disk was full, the commit fails, and the job does too.
                if !begun && self.in_transaction(connection) != Some(true) {
                    return (Ok(Ok(value)), State::Known);
                }
                match self.commit(connection) {
                    Ok(()) => return (Ok(Ok(value)), State::Known),
                    Err(error) => Ok(Err(error)),
                }
            }
            Err(payload) if !begun => return (Err(payload), State::Unknown),
            failed => failed,
        };
        let state = self.recover(begun, connection);
        (first, state)
    }

    /// Rolls back after an error.
    fn recover(&self, begun: bool, connection: &mut M::Connection) -> State {
        match self.in_transaction(connection) {
            Some(false) => return State::Known,
            None if !begun => return State::Unknown,
            _ => {}
        }
        match self.rollback(connection) {
            Ok(()) => State::Known,
            Err(error) => {
                // Without a connection there is no transaction.
                if !self.manager.is_broken(connection) && self.manager.check(connection).is_ok() {
                    self.manager.rollback_failed(error);
                }
                State::Unknown
            }
        }
    }

    /// Returns `true` if a connection in a known state can serve the next job.
    fn is_returned(&self, open: &mut Open<M::Connection>) -> bool {
        if self.is_too_old(open) || self.manager.is_broken(&mut open.connection) {
            return false;
        }
        match self.options.on_return.as_ref().map(|hook| hook(&mut open.connection)) {
            None | Some(Ok(())) => true,
            Some(Err(error)) => {
                report::send(&ReturnFailed { error });
                false
            }
        }
    }

    fn commit(&self, connection: &mut M::Connection) -> Result<(), Failure> {
        match &self.options.transactions {
            Some(transactions) => (transactions.commit)(connection),
            None => self.manager.commit(connection),
        }
    }

    fn rollback(&self, connection: &mut M::Connection) -> Result<(), Failure> {
        match &self.options.transactions {
            Some(transactions) => (transactions.rollback)(connection),
            None => self.manager.rollback(connection),
        }
    }

    fn in_transaction(&self, connection: &mut M::Connection) -> Option<bool> {
        match &self.options.in_transaction {
            Some(in_transaction) => Some(in_transaction(connection)),
            None => self.manager.in_transaction(connection),
        }
    }
}
