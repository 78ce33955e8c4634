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
//! # Panics
//!
//! Each method of the manager, each hook and each destructor can panic, and a second panic during
//! the unwinding of a first would abort the process. So each is called by itself: a panic of a
//! method is an error of the job, after which the connection is closed, and a panic of a destructor
//! is ignored. Only the panic of the closure goes on, at the end.

use std::any::Any;
use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Instant;

use deferred_core::{Failure, Panicked, report};

use super::builder::Options;
use super::interrupt::{InterruptHandle, Interrupted, Interrupts};
use super::manage::ManageConnection;
use super::pooled::PooledConnection;
use super::report::ReturnFailed;
use crate::atomic::AtomicU64;
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

/// A value of the user, whose destructor may panic: that is ignored.
struct Quiet<T>(Option<T>);

impl<T> Quiet<T> {
    fn new(value: T) -> Quiet<T> {
        Quiet(Some(value))
    }

    fn into_inner(mut self) -> T {
        self.0.take().expect("it is taken only here")
    }
}

impl<T> Deref for Quiet<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("it is taken only by `into_inner`")
    }
}

impl<T> DerefMut for Quiet<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("it is taken only by `into_inner`")
    }
}

impl<T> Drop for Quiet<T> {
    fn drop(&mut self) {
        drop_ignoring_panic(self.0.take());
    }
}

/// An open connection. It is counted as closed after the destructor of the connection.
struct Open<C> {
    interrupt: Quiet<Option<InterruptHandle>>,
    connection: Quiet<C>,
    opened_at: Instant,
    _closed: CountClosed,
}

struct CountClosed(Arc<Counters>);

impl Drop for CountClosed {
    fn drop(&mut self) {
        self.0.closed.fetch_add(1, Ordering::Relaxed);
    }
}

thread_local! {
    /// The [`Open`] connection of this thread, which belongs to one pool.
    static OPEN: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
}

/// Closes the connection of a thread that ends.
pub(super) fn close() {
    drop(OPEN.take());
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

/// Calls user code. A panic is an error.
fn caught<T>(call: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    panic::catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|payload| Err(Panicked::new(payload).into()))
}

impl<M: ManageConnection> Connections<M> {
    pub(super) fn new(manager: M, options: Options<M::Connection>) -> Connections<M> {
        Connections { manager, options, counters: Arc::default() }
    }

    /// Opens the connection of this thread if it has none.
    pub(super) fn open_now(&self) -> Result<(), Failure> {
        if OPEN.with_borrow(Option::is_none) {
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
        let f = Quiet::new(f);
        let mut lent = Lent { connections: self, open: self.take()?, is_known: true, begun: false };
        let called = lent.use_by(kind, job, f);
        lent.put_back();
        called.unwrap_or_else(|payload| panic::resume_unwind(payload))
    }

    /// Returns the connection of this thread if it works, or else a new one.
    fn take(&self) -> Result<Box<Open<M::Connection>>, Failure> {
        if let Some(Ok(mut open)) = OPEN.take().map(|open| open.downcast::<Open<M::Connection>>()) {
            if !self.is_too_old(&open) {
                let checked =
                    if self.options.checks { caught(|| self.manager.check(&mut open.connection)) } else { Ok(()) };
                match checked {
                    Ok(()) => return Ok(open),
                    Err(error) if error.check::<Panicked>() => return Err(error),
                    Err(_) => {}
                }
            }
        }
        self.open()
    }

    fn is_too_old(&self, open: &Open<M::Connection>) -> bool {
        self.options.max_lifetime.is_some_and(|lifetime| open.opened_at.elapsed() >= lifetime)
    }

    fn open(&self) -> Result<Box<Open<M::Connection>>, Failure> {
        let opened = caught(|| self.manager.open()).map(Quiet::new).and_then(|mut connection| {
            let interrupt = caught(|| self.set_up(&mut connection))?;
            Ok((connection, interrupt))
        });
        let counter = if opened.is_ok() { &self.counters.opened } else { &self.counters.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        let (connection, interrupt) = opened?;
        Ok(Box::new(Open {
            interrupt: Quiet::new(interrupt),
            connection,
            opened_at: Instant::now(),
            _closed: CountClosed(self.counters.clone()),
        }))
    }

    /// Prepares a connection that was opened, and returns its handle.
    fn set_up(&self, connection: &mut M::Connection) -> Result<Option<InterruptHandle>, Failure> {
        if let Some(hook) = &self.options.on_open {
            hook(connection)?;
        }
        match &self.options.interrupt_handle {
            Some(handle) => handle(connection).map(Some),
            None => Ok(self.manager.interrupt_handle(connection)),
        }
    }
}

/// The connection of a job.
struct Lent<'a, M: ManageConnection> {
    connections: &'a Connections<M>,
    open: Box<Open<M::Connection>>,
    /// Whether the connection is in a known state.
    is_known: bool,
    /// Whether the pool has begun a transaction.
    begun: bool,
}

impl<M: ManageConnection> Lent<'_, M> {
    /// Calls a method of the manager, or a hook. A panic is an error, and closes the connection.
    fn call<T>(
        &mut self,
        call: impl FnOnce(&Connections<M>, &mut M::Connection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let (connections, connection) = (self.connections, &mut *self.open.connection);
        let called = panic::catch_unwind(AssertUnwindSafe(|| call(connections, connection)));
        called.unwrap_or_else(|payload| {
            self.is_known = false;
            Err(Panicked::new(payload).into())
        })
    }

    /// Calls `f` with the connection, and ends the transaction.
    fn use_by<T, F>(&mut self, kind: Kind, job: &Job<'_>, f: Quiet<F>) -> Called<T>
    where
        F: FnOnce(&mut PooledConnection<'_, M::Connection>) -> Result<T, Failure>,
    {
        if job.is_cancelled() {
            return Ok(Err(job.cancelled_error()));
        }
        let interrupts = self.open.interrupt.as_ref().map(|handle| handle.interrupt_on_cancel(job));
        let (mut called, discarded) = self.call_closure(kind, job, f);
        let interrupted = interrupts.map_or(Interrupted::Times(0), Interrupts::end);
        // A cancel that came before this is still before the commit.
        if self.begun && matches!(called, Ok(Ok(_))) && (job.is_cancelled() || interrupted != Interrupted::Times(0)) {
            drop_ignoring_panic(called);
            called = Ok(Err(job.cancelled_error()));
        }
        let is_settled = match interrupted {
            Interrupted::Times(0) => true,
            Interrupted::Times(times) => {
                let error = called.as_ref().ok().and_then(|result| result.as_ref().err());
                self.call(|connections, connection| connections.manager.check_interrupted(connection, times, error))
                    .is_ok()
            }
            Interrupted::Unfinished => false,
        };
        self.is_known &= is_settled;
        let called = if is_settled { self.end(called, discarded) } else { called };
        self.is_known &= !discarded;
        called
    }

    /// Calls `f`, in a transaction if it is an interaction. Returns its result, and whether it has
    /// discarded the connection.
    fn call_closure<T, F>(&mut self, kind: Kind, job: &Job<'_>, f: Quiet<F>) -> (Called<T>, bool)
    where
        F: FnOnce(&mut PooledConnection<'_, M::Connection>) -> Result<T, Failure>,
    {
        if kind == Kind::Interaction {
            let begun = self.call(|connections, connection| match &connections.options.transactions {
                Some(transactions) => (transactions.begin)(connection),
                None => connections.manager.begin(connection),
            });
            if let Err(error) = begun {
                return (Ok(Err(error)), false);
            }
            self.begun = true;
            // The job may have been cancelled while the transaction began.
            if job.is_cancelled() {
                return (Ok(Err(job.cancelled_error())), false);
            }
        }
        let mut connection = PooledConnection::new(&mut *self.open.connection, job);
        let f = f.into_inner();
        let called = panic::catch_unwind(AssertUnwindSafe(|| f(&mut connection)));
        (called, connection.is_discarded())
    }

    /// Ends the transaction that the pool has begun, or that the closure may have begun.
    fn end<T>(&mut self, called: Called<T>, discarded: bool) -> Called<T> {
        let first = match called {
            Ok(Ok(value)) => {
                let value = Quiet::new(value);
                // If the transaction of an interaction has ended by itself, for example because the
                // disk was full, the commit fails, and the job does too.
                let ended = if self.begun { Ok(true) } else { self.in_transaction().map(|open| open == Some(true)) };
                match ended.and_then(|open| if open { self.commit() } else { Ok(()) }) {
                    Ok(()) => return Ok(Ok(value.into_inner())),
                    Err(error) => Ok(Err(error)),
                }
            }
            failed => failed,
        };
        if (first.is_err() && !self.begun) || discarded {
            self.is_known = false; // closing the connection rolls back
        } else {
            self.recover();
        }
        first
    }

    /// Rolls back after an error.
    fn recover(&mut self) {
        match self.in_transaction() {
            Ok(Some(false)) => return,
            Ok(None) if !self.begun => {
                self.is_known = false;
                return;
            }
            _ => {}
        }
        let rolled_back = self.call(|connections, connection| match &connections.options.transactions {
            Some(transactions) => (transactions.rollback)(connection),
            None => connections.manager.rollback(connection),
        });
        if let Err(error) = rolled_back {
            self.is_known = false;
            // Without a connection there is no transaction.
            let is_broken = self.call(|connections, connection| {
                if connections.manager.is_broken(connection) {
                    return Ok(true);
                }
                connections.manager.check(connection).map(|()| false)
            });
            if let Ok(false) = is_broken {
                let _ = self.call(|connections, _| {
                    connections.manager.rollback_failed(error);
                    Ok(())
                });
            }
        }
    }

    fn commit(&mut self) -> Result<(), Failure> {
        self.call(|connections, connection| match &connections.options.transactions {
            Some(transactions) => (transactions.commit)(connection),
            None => connections.manager.commit(connection),
        })
    }

    fn in_transaction(&mut self) -> Result<Option<bool>, Failure> {
        self.call(|connections, connection| {
            Ok(match &connections.options.in_transaction {
                Some(in_transaction) => Some(in_transaction(connection)),
                None => connections.manager.in_transaction(connection),
            })
        })
    }

    /// Keeps the connection for the next job of this thread, or closes it.
    fn put_back(mut self) {
        if self.is_known && self.is_usable() {
            OPEN.set(Some(self.open));
        }
    }

    /// Returns `true` if a connection in a known state can serve the next job.
    fn is_usable(&mut self) -> bool {
        if self.connections.is_too_old(&self.open) {
            return false;
        }
        if self.call(|connections, connection| Ok(connections.manager.is_broken(connection))).unwrap_or(true) {
            return false;
        }
        let returned = self.call(|connections, connection| match &connections.options.on_return {
            Some(hook) => hook(connection),
            None => Ok(()),
        });
        if let Err(error) = returned {
            report::send(&ReturnFailed { error });
            return false;
        }
        true
    }
}
