//! `CancelFlag`: which job of a thread is cancelled, and the calls that interrupt it.

use std::fmt;
use std::mem;
use std::sync::atomic::Ordering;

use parking_lot::{Condvar, Mutex};

use crate::atomic::AtomicU64;
use crate::job::{drop_ignoring_panic, ignore_panic};

/// The flag of a thread, which the pool sets and the running job reads.
pub(crate) struct CancelFlag {
    /// The number of the job that was cancelled last.
    number: AtomicU64,
    calls: Mutex<Calls>,
    /// Notified when no call runs any more.
    done: Condvar,
}

/// The calls that the running job has registered.
#[derive(Default)]
struct Calls {
    registered: Vec<Registered>,
    last_key: u64,
    /// The number of threads that make calls at the moment.
    running: u32,
}

struct Registered {
    /// The number of the job.
    job: u64,
    key: u64,
    call: Box<dyn FnOnce() + Send>,
}

impl CancelFlag {
    pub(crate) fn new() -> CancelFlag {
        CancelFlag { number: AtomicU64::new(u64::MAX), calls: Mutex::default(), done: Condvar::new() }
    }

    /// Marks a job as cancelled.
    pub(crate) fn set(&self, number: u64) {
        // ORDERING: a hint, which publishes nothing; the lock of the calls orders it with those.
        self.number.store(number, Ordering::Relaxed);
    }

    pub(crate) fn is_set(&self, number: u64) -> bool {
        self.number.load(Ordering::Relaxed) == number
    }

    /// Makes the calls that a job has registered, without a lock, after the job was marked as
    /// cancelled. The job may have ended meanwhile, and the calls may be those of the next one.
    pub(crate) fn interrupt(&self, number: u64) {
        let mut calls = self.calls.lock();
        let (registered, others) =
            mem::take(&mut calls.registered).into_iter().partition::<Vec<_>, _>(|registered| registered.job == number);
        calls.registered = others;
        if registered.is_empty() {
            return;
        }
        calls.running += 1;
        drop(calls);
        for Registered { call, .. } in registered {
            ignore_panic(call);
        }
        self.calls.lock().running -= 1;
        self.done.notify_all();
    }

    /// Registers a call for the job with this number, which runs. If that is cancelled already,
    /// the call is made now.
    pub(crate) fn register(&self, number: u64, call: Box<dyn FnOnce() + Send>) -> u64 {
        let mut calls = self.calls.lock();
        calls.last_key += 1;
        let key = calls.last_key;
        // Those of earlier jobs, whose guards were leaked.
        let (registered, leaked) =
            mem::take(&mut calls.registered).into_iter().partition(|registered| registered.job == number);
        calls.registered = registered;
        calls.registered.push(Registered { job: number, key, call });
        drop(calls);
        drop_ignoring_panic(leaked);
        // A cancel that has not seen the call has set the flag before.
        if self.is_set(number) {
            self.interrupt(number);
        }
        key
    }

    /// Removes a call. If it runs at the moment, waits for its end.
    fn remove(&self, key: u64) {
        let mut calls = self.calls.lock();
        let index = calls.registered.iter().position(|registered| registered.key == key);
        let removed = index.map(|index| calls.registered.remove(index));
        while removed.is_none() && calls.running > 0 {
            self.done.wait(&mut calls);
        }
        drop(calls);
        drop_ignoring_panic(removed); // without the lock
    }
}

/// A guard while which a cancel of the job makes a call. [`Job::on_cancel`](crate::Job::on_cancel)
/// creates it.
///
/// Dropping it removes the call. If the call runs at that moment, the drop waits for its end, so
/// that it cannot interrupt what follows.
#[must_use = "the call is removed at once if this is not bound to a variable"]
pub struct OnCancel<'a> {
    flag: &'a CancelFlag,
    key: u64,
}

impl<'a> OnCancel<'a> {
    pub(crate) fn new(flag: &'a CancelFlag, number: u64, call: Box<dyn FnOnce() + Send>) -> OnCancel<'a> {
        OnCancel { flag, key: flag.register(number, call) }
    }
}

impl Drop for OnCancel<'_> {
    fn drop(&mut self) {
        self.flag.remove(self.key);
    }
}

impl fmt::Debug for OnCancel<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnCancel").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn a_late_interrupt_of_a_job_does_not_reach_the_next_one_of_its_thread() {
        let flag = CancelFlag::new();
        let first = OnCancel::new(&flag, 1, Box::new(|| unreachable!("the job has ended")));
        flag.set(1);
        drop(first);
        let called = Arc::new(AtomicBool::new(false));
        let sets = called.clone();
        let _second = OnCancel::new(&flag, 2, Box::new(move || sets.store(true, Ordering::Relaxed)));
        flag.interrupt(1);
        assert!(!called.load(Ordering::Relaxed));
        flag.set(2);
        flag.interrupt(2);
        assert!(called.load(Ordering::Relaxed));
    }

    #[test]
    fn a_leaked_guard_has_no_effect_on_later_jobs() {
        let flag = CancelFlag::new();
        mem::forget(OnCancel::new(&flag, 1, Box::new(|| unreachable!("the job has ended"))));
        let called = Arc::new(AtomicBool::new(false));
        let sets = called.clone();
        let _second = OnCancel::new(&flag, 2, Box::new(move || sets.store(true, Ordering::Relaxed)));
        flag.set(2);
        flag.interrupt(2);
        assert!(called.load(Ordering::Relaxed));
        mem::forget(OnCancel::new(&flag, 3, Box::new(|| unreachable!("the job has ended"))));
        flag.set(4);
        flag.interrupt(4);
        assert_eq!(flag.calls.lock().registered.len(), 1);
    }
}
