//! The threads of a pool: who works, who sleeps, and who is woken.
//!
//! # The protocol
//!
//! A crew stands behind the pool's one lock, beside the queue of jobs. Each thread is in one of
//! three states:
//!
//! - *busy*: it runs a job;
//! - *awake*: it has none, and is about to look at the queue. One that is being woken or started is
//!   awake already;
//! - *asleep*: it stands on a stack, and parks until it is taken off.
//!
//! Whoever **adds a job** calls [`summon`](Crew::summon) under the same lock, and so does an awake
//! thread that **takes a job** and leaves others behind. If nobody is awake, the last who fell
//! asleep is taken off the stack (its caches are the warmest), becomes awake, and is unparked after
//! the lock is released; if nobody sleeps, a thread is started, up to the maximum. So one wake is
//! under way at a time, and each who comes wakes the next as long as jobs wait.
//!
//! A thread that **finds no job** puts itself on the stack under that lock, and parks until it is
//! off. An unpark alone means nothing: it may be left over from another sleep.
//!
//! What follows:
//!
//! 1. *No job is left behind.* If jobs wait, somebody is awake, or nobody sleeps. Then every thread
//!    there may be is busy, and looks at the queue before it does anything else.
//! 2. *No wake is spent twice*: while somebody is awake nobody is woken.
//! 3. *A thread that leaves takes no place for long.* While it ends it counts as a thread, and when
//!    it has it summons another if jobs wait. One that is one too many leaves behind no sleeper who
//!    would have to come: they were woken first.
//!
//! Only the lowest on the stack, who has slept longest, sleeps with an alarm for its keep-alive,
//! since a sleep with an end costs more; when it leaves it tells the next lowest to set one. The
//! last thread of a pool stays and sleeps without.
//!
//! The loom tests beside this file replay 1.

#[cfg(all(test, loom))]
mod loom_tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::sync::Thread;

/// A thread of the pool, as those see it who wake it.
#[derive(Debug)]
pub(crate) struct Sleeper {
    thread: Thread,
    /// On the stack. Read and written under the lock.
    asleep: AtomicBool,
}

impl Sleeper {
    pub(crate) fn new(thread: Thread) -> Arc<Sleeper> {
        Arc::new(Sleeper { thread, asleep: AtomicBool::new(false) })
    }

    /// Without the lock, which it takes first.
    pub(crate) fn unpark(&self) {
        self.thread.unpark();
    }

    /// Under the lock: whether nobody has taken it off the stack.
    pub(crate) fn is_asleep(&self) -> bool {
        self.asleep.load(Ordering::Relaxed)
    }
}

/// Who is to come. It is answered when the lock is released.
#[must_use = "somebody counts as awake who is not yet"]
#[derive(Debug)]
pub(crate) enum Summons {
    Wake(Arc<Sleeper>),
    Start,
}

/// See the page above. All of it is used under the pool's lock.
#[derive(Debug)]
pub(crate) struct Crew {
    min: usize,
    max: usize,
    busy: usize,
    awake: usize,
    /// The stack.
    asleep: Vec<Arc<Sleeper>>,
    /// They take no job any more, and have not ended yet.
    leaving: usize,
}

impl Crew {
    pub(crate) fn new(min: usize, max: usize) -> Crew {
        Crew { min, max, busy: 0, awake: 0, asleep: Vec::new(), leaving: 0 }
    }

    pub(crate) fn max(&self) -> usize {
        self.max
    }

    pub(crate) fn threads(&self) -> usize {
        self.members() + self.leaving
    }

    /// Those who still take jobs.
    fn members(&self) -> usize {
        self.busy + self.awake + self.asleep.len()
    }

    pub(crate) fn busy(&self) -> usize {
        self.busy
    }

    /// Whether each thread that there may be has a job.
    #[inline]
    pub(crate) fn is_busy(&self) -> bool {
        self.busy > 0 && self.busy >= self.max
    }

    /// So many jobs wait: who is to come for them.
    #[inline]
    pub(crate) fn summon(&mut self, waiting: usize) -> Option<Summons> {
        if waiting == 0 || self.awake > 0 {
            return None;
        }
        if let Some(sleeper) = self.wake() {
            return Some(Summons::Wake(sleeper));
        }
        (self.threads() < self.max).then(|| {
            self.awake += 1;
            Summons::Start
        })
    }

    /// Takes the last one off the stack.
    fn wake(&mut self) -> Option<Arc<Sleeper>> {
        let sleeper = self.asleep.pop()?;
        sleeper.asleep.store(false, Ordering::Relaxed);
        self.awake += 1;
        Some(sleeper)
    }

    /// The thread that was to be started was not. Gives somebody who is to come instead.
    pub(crate) fn start_failed(&mut self, waiting: usize) -> Option<Arc<Sleeper>> {
        self.awake -= 1;
        if waiting > 0 && self.awake == 0 { self.wake() } else { None }
    }

    /// One that was awake has taken a job.
    #[inline]
    pub(crate) fn begin_job(&mut self) {
        self.awake -= 1;
        self.busy += 1;
    }

    /// One that was busy has no job.
    #[inline]
    pub(crate) fn end_job(&mut self) {
        self.busy -= 1;
        self.awake += 1;
    }

    /// One that was awake found no job. It parks as long as it is asleep.
    #[inline]
    pub(crate) fn fall_asleep(&mut self, me: &Arc<Sleeper>) {
        self.awake -= 1;
        me.asleep.store(true, Ordering::Relaxed);
        self.asleep.push(me.clone());
    }

    /// Whether there are more than may be.
    #[inline]
    pub(crate) fn is_too_large(&self) -> bool {
        self.members() > self.max
    }

    /// One that was awake leaves.
    pub(crate) fn leave(&mut self) {
        self.awake -= 1;
        self.leaving += 1;
    }

    /// And has left. Gives who may come now.
    pub(crate) fn left(&mut self, waiting: usize) -> Option<Summons> {
        self.leaving -= 1;
        self.summon(waiting)
    }

    /// Whether this one, who is asleep, is to leave when it has slept for its keep-alive.
    pub(crate) fn has_alarm(&self, me: &Arc<Sleeper>) -> bool {
        self.members() > self.min.max(1) && self.asleep.first().is_some_and(|lowest| Arc::ptr_eq(lowest, me))
    }

    /// The lowest on the stack leaves. Gives the next lowest, who is to be unparked to set its
    /// alarm.
    pub(crate) fn leave_asleep(&mut self) -> Option<Arc<Sleeper>> {
        let me = self.asleep.remove(0);
        me.asleep.store(false, Ordering::Relaxed);
        self.leaving += 1;
        self.asleep.first().cloned()
    }

    /// Other limits. Gives those who are to be unparked: one too many, who leaves, or one whose
    /// alarm has changed.
    pub(crate) fn adjust(&mut self, min: usize, max: usize) -> Vec<Arc<Sleeper>> {
        (self.min, self.max) = (min.min(max), max);
        let surplus = self.members().saturating_sub(max);
        let mut told: Vec<_> = (0..surplus).map_while(|_| self.wake()).collect();
        told.extend(self.asleep.first().cloned());
        told
    }

    /// Everybody is to come, and to leave when there is no job.
    pub(crate) fn wake_all(&mut self) -> Vec<Arc<Sleeper>> {
        std::iter::from_fn(|| self.wake()).collect()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sync::current;

    /// A crew of this thread, several times.
    fn asleep(threads: usize, min: usize, max: usize) -> (Crew, Vec<Arc<Sleeper>>) {
        let mut crew = Crew::new(min, max);
        let sleepers: Vec<_> = (0..threads).map(|_| Sleeper::new(current())).collect();
        for sleeper in &sleepers {
            crew.awake += 1;
            crew.fall_asleep(sleeper);
        }
        (crew, sleepers)
    }

    fn woken(summons: Option<Summons>) -> Arc<Sleeper> {
        let Some(Summons::Wake(sleeper)) = summons else { panic!("{summons:?}") };
        sleeper
    }

    #[test]
    fn the_last_to_sleep_is_woken_first_and_one_at_a_time() {
        let (mut crew, sleepers) = asleep(3, 0, 9);
        assert!(Arc::ptr_eq(&woken(crew.summon(2)), &sleepers[2]));
        assert!(crew.summon(2).is_none());
        crew.begin_job();
        assert!(Arc::ptr_eq(&woken(crew.summon(1)), &sleepers[1]));
        crew.begin_job();
        assert!(crew.summon(0).is_none());
    }

    #[test]
    fn a_thread_is_started_when_nobody_sleeps_and_there_may_be_more() {
        let mut crew = Crew::new(0, 1);
        assert!(matches!(crew.summon(2), Some(Summons::Start)));
        assert!(crew.summon(2).is_none());
        crew.begin_job();
        assert!(crew.summon(1).is_none(), "there is one, and may be no more");
        assert!(crew.adjust(0, 2).is_empty());
        assert!(matches!(crew.summon(1), Some(Summons::Start)));
    }

    #[test]
    fn a_job_that_comes_while_a_thread_leaves_gets_another_when_it_has_left() {
        let (mut crew, sleepers) = asleep(2, 0, 2);
        woken(crew.summon(1));
        crew.begin_job();
        assert!(crew.has_alarm(&sleepers[0]));
        assert!(crew.leave_asleep().is_none());
        assert!(crew.summon(1).is_none(), "two threads exist");
        assert!(matches!(crew.left(1), Some(Summons::Start)));
    }

    #[test]
    fn who_sleeps_comes_where_a_start_failed() {
        let mut crew = Crew::new(0, 9);
        assert!(matches!(crew.summon(1), Some(Summons::Start)));
        // Meanwhile another thread takes that job, runs it and falls asleep; the next one counts on
        // the start.
        let other = Sleeper::new(current());
        crew.awake += 1;
        crew.fall_asleep(&other);
        assert!(crew.summon(1).is_none());
        assert!(Arc::ptr_eq(&crew.start_failed(1).unwrap(), &other));
    }

    #[test]
    fn where_a_start_failed_nobody_comes_for_nothing_or_beside_another() {
        for (waiting, others_awake) in [(0, 0), (1, 1)] {
            let (mut crew, sleepers) = asleep(1, 0, 9);
            crew.awake = others_awake + 1; // who was to be started
            assert!(crew.start_failed(waiting).is_none());
            assert!(sleepers[0].is_asleep());
        }
    }

    #[test]
    fn only_the_lowest_has_an_alarm_and_the_last_one_none() {
        let (mut crew, sleepers) = asleep(3, 0, 9);
        let alarms = |crew: &Crew| sleepers.iter().map(|sleeper| crew.has_alarm(sleeper)).collect::<Vec<_>>();
        assert_eq!(alarms(&crew), [true, false, false]);
        assert!(Arc::ptr_eq(&crew.leave_asleep().unwrap(), &sleepers[1]));
        assert_eq!(alarms(&crew), [false, true, false]);
        assert!(crew.leave_asleep().is_some());
        assert_eq!(alarms(&crew), [false, false, false]);
        assert!(crew.left(0).is_none() && crew.left(0).is_none());
        assert_eq!(crew.threads(), 1);
    }

    #[test]
    fn fewer_threads_are_woken_to_leave_as_far_as_they_sleep() {
        let (mut crew, sleepers) = asleep(3, 0, 9);
        woken(crew.summon(1));
        crew.begin_job();
        let told = crew.adjust(0, 1);
        assert_eq!(told.len(), 2);
        assert!(told.iter().all(|sleeper| !sleeper.is_asleep()));
        for _ in 0..2 {
            assert!(crew.is_too_large());
            crew.leave();
        }
        assert!(!crew.is_too_large());
        assert!(sleepers.iter().all(|sleeper| !sleeper.is_asleep()));
    }
}
