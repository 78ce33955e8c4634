//! The jobs that wait for a thread, in the order they came.

use std::collections::VecDeque;

use crate::job::Entry;

/// A queue whose jobs can be taken out of the middle: that leaves a hole, and when most of it is
/// holes they are swept out.
#[derive(Default)]
pub(crate) struct Queue {
    /// By number, which go up.
    jobs: VecDeque<(u64, Option<Entry>)>,
    waiting: usize,
}

impl Queue {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.waiting
    }

    #[inline]
    pub(crate) fn push(&mut self, job: Entry) {
        self.waiting += 1;
        self.jobs.push_back((job.number, Some(job)));
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Entry> {
        loop {
            if let (_, Some(job)) = self.jobs.pop_front()? {
                self.waiting -= 1;
                return Some(job);
            }
        }
    }

    /// `None` if it does not wait any more.
    pub(crate) fn remove(&mut self, number: u64) -> Option<Entry> {
        let index = self.jobs.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        let job = self.jobs[index].1.take()?;
        self.waiting -= 1;
        if self.waiting < self.jobs.len() / 2 {
            self.jobs.retain(|(_, job)| job.is_some());
        }
        Some(job)
    }

    /// The one that has waited longest.
    pub(crate) fn first(&self) -> Option<&Entry> {
        self.jobs.iter().find_map(|(_, job)| job.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use std::any::Any;
    use std::panic::Location;
    use std::sync::Arc;
    use std::time::Instant;

    use deferred_core::Failure;

    use super::*;
    use crate::job::{Ending, Job, Key, Owner, Slip, Task};

    struct Nobody;

    impl Owner for Nobody {
        fn take_home(&self, _: Key, _: Box<dyn Task>) {}
        fn give_up(&self, _: Key, _: Failure) {}
    }

    impl Task for Nobody {
        fn run(&mut self, _: &Job<'_>) -> Ending {
            Ending::Done
        }
        fn refuse(&mut self, _: Failure) {}
        fn give(self: Box<Self>, _: &mut dyn Any) {}
    }

    fn entry(number: u64) -> Entry {
        let slip = Slip { at: Location::caller(), since: Instant::now(), owner: Arc::new(Nobody), key: Key::default() };
        Entry { number, task: Box::new(Nobody), slip }
    }

    #[test]
    fn what_is_left_comes_out_in_order_whatever_was_removed() {
        let mut queue = Queue::default();
        // Numbers of refused jobs are missing.
        let numbers: Vec<u64> = (0..100).map(|number| number * 3).collect();
        numbers.iter().for_each(|number| queue.push(entry(*number)));
        let keep = |number: &u64| number % 9 == 6;
        for number in numbers.iter().rev().filter(|number| !keep(number)) {
            assert!(queue.remove(*number).is_some());
            assert!(queue.remove(*number).is_none());
        }
        assert!(queue.remove(1).is_none());
        assert_eq!(queue.first().map(|entry| entry.number), Some(6));
        assert_eq!(queue.len(), numbers.iter().filter(|number| keep(number)).count());
        let left: Vec<u64> = std::iter::from_fn(|| queue.pop()).map(|entry| entry.number).collect();
        assert_eq!(left, numbers.iter().copied().filter(|number| keep(number)).collect::<Vec<_>>());
        assert_eq!(queue.len(), 0);
        assert!(queue.remove(6).is_none());
    }

    #[test]
    fn holes_stay_until_most_of_it_is_holes() {
        let mut queue = Queue::default();
        (0..10).for_each(|number| queue.push(entry(number)));
        for (number, places) in [10, 10, 10, 10, 10, 4, 4, 4, 1].into_iter().enumerate() {
            queue.remove(number as u64);
            assert_eq!(queue.jobs.len(), places, "{number}");
        }
    }
}
