//! `ThreadSet`: how threads of a pool are woken and started, and how they end.
//!
//! # The protocol
//!
//! A `ThreadSet` is under the pool's one lock, beside the queue of jobs. Each thread is in one of
//! three states:
//!
//! - *busy*: it runs a job;
//! - *awake*: it has no job, and is about to check the queue. A thread that is being woken or
//!   started is already awake;
//! - *asleep*: it is on a stack, and parks until it is taken off.
//!
//! A caller that **adds a job** calls [`wake_for`](ThreadSet::wake_for) under the same lock, and so
//! does an awake thread that **takes a job** and leaves others in the queue. If no thread is awake,
//! the one that fell asleep last is taken off the stack (its caches are the warmest), becomes
//! awake, and is unparked after the lock is released. If none is asleep, a thread is started, up to
//! the maximum. So one wake-up is in progress at a time, and each thread that comes wakes the next
//! as long as jobs wait.
//!
//! A thread that **finds no job** puts itself on the stack under that lock, and parks until it is
//! off. An unpark alone means nothing: it may be left over from an earlier sleep.
//!
//! Consequences:
//!
//! 1. *No job is lost.* If jobs wait, a thread is awake, or none is asleep. Then every thread that
//!    may exist is busy, and checks the queue before it does anything else.
//! 2. *No wake-up is wasted*: while a thread is awake, none is woken.
//! 3. *A thread that ends does not block a place for long.* While it ends it counts as a thread,
//!    and afterwards it wakes another one if jobs wait. A surplus thread leaves behind no sleeper
//!    that would have to come: those were woken first.
//!
//! Only the lowest thread on the stack, which has slept longest, sleeps with a timeout for its
//! keep-alive, since a sleep with a timeout costs more. When it ends it unparks the next lowest,
//! which then sets a timeout. As many as the minimum never end by their keep-alive.
//!
//! The loom tests beside this file check 1.

#[cfg(all(test, loom))]
mod loom_tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::sync::Thread;

/// A thread of the pool, for the threads that wake it.
#[derive(Debug)]
pub(super) struct Sleeper {
    thread: Thread,
    /// Whether it is on the stack. Read and written under the lock.
    asleep: AtomicBool,
}

impl Sleeper {
    pub(super) fn new(thread: Thread) -> Arc<Sleeper> {
        Arc::new(Sleeper { thread, asleep: AtomicBool::new(false) })
    }

    /// Wakes the thread. Called without the lock, which the thread takes first.
    pub(super) fn unpark(&self) {
        self.thread.unpark();
    }

    /// Returns `true` if the thread is still on the stack. Called under the lock.
    pub(super) fn is_asleep(&self) -> bool {
        self.asleep.load(Ordering::Relaxed)
    }
}

/// The action that brings a thread to a queued job. It runs after the lock is released.
#[must_use = "a thread already counts as awake"]
#[derive(Debug)]
pub(super) enum WakeAction {
    Unpark(Arc<Sleeper>),
    Spawn,
}

/// The threads of a pool, by state; see the page above. All methods are called under the pool's
/// lock.
#[derive(Debug)]
pub(super) struct ThreadSet {
    min: usize,
    max: usize,
    busy: usize,
    awake: usize,
    /// The stack of sleeping threads.
    asleep: Vec<Arc<Sleeper>>,
    /// The number of threads that take no more jobs and have not ended yet.
    exiting: usize,
}

impl ThreadSet {
    pub(super) fn new(min: usize, max: usize) -> ThreadSet {
        ThreadSet { min, max, busy: 0, awake: 0, asleep: Vec::new(), exiting: 0 }
    }

    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// Returns the number of threads, including those that end.
    pub(super) fn count(&self) -> usize {
        self.active() + self.exiting
    }

    /// Returns the number of threads that take jobs.
    fn active(&self) -> usize {
        self.busy + self.awake + self.asleep.len()
    }

    pub(super) fn busy(&self) -> usize {
        self.busy
    }

    /// Returns `true` if the maximum number of threads run jobs.
    #[inline]
    pub(super) fn all_busy(&self) -> bool {
        self.busy > 0 && self.busy >= self.max
    }

    /// Returns the action that brings a thread to the queue, in which `queued` jobs wait.
    #[inline]
    pub(super) fn wake_for(&mut self, queued: usize) -> Option<WakeAction> {
        if queued == 0 || self.awake > 0 {
            return None;
        }
        if let Some(sleeper) = self.wake() {
            return Some(WakeAction::Unpark(sleeper));
        }
        (self.count() < self.max).then(|| {
            self.awake += 1;
            WakeAction::Spawn
        })
    }

    /// Takes the topmost thread off the stack.
    fn wake(&mut self) -> Option<Arc<Sleeper>> {
        let sleeper = self.asleep.pop()?;
        sleeper.asleep.store(false, Ordering::Relaxed);
        self.awake += 1;
        Some(sleeper)
    }

    /// Records that a thread could not be started. Returns a sleeping thread to wake instead.
    pub(super) fn spawn_failed(&mut self, queued: usize) -> Option<Arc<Sleeper>> {
        self.awake -= 1;
        if queued > 0 && self.awake == 0 { self.wake() } else { None }
    }

    /// Records that an awake thread has taken a job.
    #[inline]
    pub(super) fn begin_job(&mut self) {
        self.awake -= 1;
        self.busy += 1;
    }

    /// Records that a busy thread has no job any more.
    #[inline]
    pub(super) fn end_job(&mut self) {
        self.busy -= 1;
        self.awake += 1;
    }

    /// Pushes an awake thread onto the stack of sleeping threads. It must park while it is asleep.
    #[inline]
    pub(super) fn fall_asleep(&mut self, me: &Arc<Sleeper>) {
        self.awake -= 1;
        me.asleep.store(true, Ordering::Relaxed);
        self.asleep.push(me.clone());
    }

    /// Returns `true` if there are more threads than the maximum.
    #[inline]
    pub(super) fn is_too_large(&self) -> bool {
        self.active() > self.max
    }

    /// Records that an awake thread begins to end.
    pub(super) fn begin_exit(&mut self) {
        self.awake -= 1;
        self.exiting += 1;
    }

    /// Records that a thread has ended. Returns the action that brings another one, if jobs wait.
    pub(super) fn exited(&mut self, queued: usize) -> Option<WakeAction> {
        self.exiting -= 1;
        self.wake_for(queued)
    }

    /// Returns `true` if this sleeping thread must end after its keep-alive.
    pub(super) fn has_keep_alive(&self, me: &Arc<Sleeper>) -> bool {
        self.active() > self.min && self.asleep.first().is_some_and(|lowest| Arc::ptr_eq(lowest, me))
    }

    /// Records that the lowest thread on the stack begins to end. Returns the next lowest one,
    /// which must be unparked so that it sets a timeout.
    pub(super) fn exit_asleep(&mut self) -> Option<Arc<Sleeper>> {
        let me = self.asleep.remove(0);
        me.asleep.store(false, Ordering::Relaxed);
        self.exiting += 1;
        self.asleep.first().cloned()
    }

    /// Changes the limits. Returns the threads to unpark: surplus ones, which end, and the lowest
    /// sleeper, whose timeout may have changed.
    pub(super) fn adjust(&mut self, min: usize, max: usize) -> Vec<Arc<Sleeper>> {
        (self.min, self.max) = (min.min(max), max);
        let surplus = self.active().saturating_sub(max);
        let mut unpark: Vec<_> = (0..surplus).map_while(|_| self.wake()).collect();
        unpark.extend(self.asleep.first().cloned());
        unpark
    }

    /// Takes all threads off the stack. They must be unparked.
    pub(super) fn wake_all(&mut self) -> Vec<Arc<Sleeper>> {
        std::iter::from_fn(|| self.wake()).collect()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sync::current;

    /// Creates a set of `count` sleeping threads, all of which are this thread.
    fn asleep(count: usize, min: usize, max: usize) -> (ThreadSet, Vec<Arc<Sleeper>>) {
        let mut threads = ThreadSet::new(min, max);
        let sleepers: Vec<_> = (0..count).map(|_| Sleeper::new(current())).collect();
        for sleeper in &sleepers {
            threads.awake += 1;
            threads.fall_asleep(sleeper);
        }
        (threads, sleepers)
    }

    fn woken(action: Option<WakeAction>) -> Arc<Sleeper> {
        let Some(WakeAction::Unpark(sleeper)) = action else { panic!("{action:?}") };
        sleeper
    }

    #[test]
    fn the_last_sleeper_is_woken_first_and_one_at_a_time() {
        let (mut threads, sleepers) = asleep(3, 0, 9);
        assert!(Arc::ptr_eq(&woken(threads.wake_for(2)), &sleepers[2]));
        assert!(threads.wake_for(2).is_none());
        threads.begin_job();
        assert!(Arc::ptr_eq(&woken(threads.wake_for(1)), &sleepers[1]));
        threads.begin_job();
        assert!(threads.wake_for(0).is_none());
    }

    #[test]
    fn a_thread_is_started_if_none_sleeps_and_the_maximum_allows_it() {
        let mut threads = ThreadSet::new(0, 1);
        assert!(matches!(threads.wake_for(2), Some(WakeAction::Spawn)));
        assert!(threads.wake_for(2).is_none());
        threads.begin_job();
        assert!(threads.wake_for(1).is_none(), "the maximum is reached");
        assert!(threads.adjust(0, 2).is_empty());
        assert!(matches!(threads.wake_for(1), Some(WakeAction::Spawn)));
    }

    #[test]
    fn a_job_submitted_while_a_thread_ends_gets_another_thread() {
        let (mut threads, sleepers) = asleep(2, 0, 2);
        woken(threads.wake_for(1));
        threads.begin_job();
        assert!(threads.has_keep_alive(&sleepers[0]));
        assert!(threads.exit_asleep().is_none());
        assert!(threads.wake_for(1).is_none(), "two threads exist");
        assert!(matches!(threads.exited(1), Some(WakeAction::Spawn)));
    }

    #[test]
    fn a_sleeper_is_woken_if_a_start_failed() {
        let mut threads = ThreadSet::new(0, 9);
        assert!(matches!(threads.wake_for(1), Some(WakeAction::Spawn)));
        // Meanwhile another thread takes that job, runs it and falls asleep. The next job relies on
        // the start.
        let other = Sleeper::new(current());
        threads.awake += 1;
        threads.fall_asleep(&other);
        assert!(threads.wake_for(1).is_none());
        assert!(Arc::ptr_eq(&threads.spawn_failed(1).unwrap(), &other));
    }

    #[test]
    fn after_a_failed_start_no_sleeper_is_woken_without_a_job_or_beside_an_awake_thread() {
        for (waiting, others_awake) in [(0, 0), (1, 1)] {
            let (mut threads, sleepers) = asleep(1, 0, 9);
            threads.awake = others_awake + 1; // the thread that could not be started
            assert!(threads.spawn_failed(waiting).is_none());
            assert!(sleepers[0].is_asleep());
        }
    }

    #[test]
    fn only_the_lowest_sleeper_has_a_keep_alive_and_the_minimum_has_none() {
        let (mut threads, sleepers) = asleep(3, 1, 9);
        let keep_alive =
            |threads: &ThreadSet| sleepers.iter().map(|sleeper| threads.has_keep_alive(sleeper)).collect::<Vec<_>>();
        assert_eq!(keep_alive(&threads), [true, false, false]);
        assert!(Arc::ptr_eq(&threads.exit_asleep().unwrap(), &sleepers[1]));
        assert_eq!(keep_alive(&threads), [false, true, false]);
        assert!(threads.exit_asleep().is_some());
        assert_eq!(keep_alive(&threads), [false, false, false]);
        assert!(threads.exited(0).is_none() && threads.exited(0).is_none());
        assert_eq!(threads.count(), 1);
    }

    #[test]
    fn a_lower_maximum_wakes_surplus_sleepers() {
        let (mut threads, sleepers) = asleep(3, 0, 9);
        woken(threads.wake_for(1));
        threads.begin_job();
        let unpark = threads.adjust(0, 1);
        assert_eq!(unpark.len(), 2);
        assert!(unpark.iter().all(|sleeper| !sleeper.is_asleep()));
        for _ in 0..2 {
            assert!(threads.is_too_large());
            threads.begin_exit();
        }
        assert!(!threads.is_too_large());
        assert!(sleepers.iter().all(|sleeper| !sleeper.is_asleep()));
    }
}
