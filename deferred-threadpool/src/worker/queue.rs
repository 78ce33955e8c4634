//! `Queue`: the jobs that wait for a thread, in FIFO order.

use std::collections::VecDeque;

use crate::job::QueuedJob;

/// A FIFO queue from which any job can be removed. A removal leaves a hole; when most places are
/// holes they are removed.
#[derive(Default)]
pub(super) struct Queue {
    /// The jobs by their numbers, which ascend.
    places: VecDeque<(u64, Option<QueuedJob>)>,
    len: usize,
}

impl Queue {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn push(&mut self, job: QueuedJob) {
        self.len += 1;
        self.places.push_back((job.number, Some(job)));
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<QueuedJob> {
        loop {
            if let (_, Some(job)) = self.places.pop_front()? {
                self.len -= 1;
                return Some(job);
            }
        }
    }

    /// Removes the job with this number. Returns `None` if it is not in the queue.
    pub(super) fn remove(&mut self, number: u64) -> Option<QueuedJob> {
        let index = self.places.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        let job = self.places[index].1.take()?;
        self.len -= 1;
        if self.len < self.places.len() / 2 {
            self.places.retain(|(_, job)| job.is_some());
        }
        Some(job)
    }

    /// Returns the place of a job, from 1 on. Removed jobs before it still have theirs. `None` if it
    /// is not in the queue.
    pub(super) fn place(&self, number: u64) -> Option<usize> {
        let index = self.places.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.places[index].1.as_ref().map(|_| index + 1)
    }

    /// Returns the job that has waited longest.
    pub(super) fn first(&self) -> Option<&QueuedJob> {
        self.places.iter().find_map(|(_, job)| job.as_ref())
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
    use crate::job::{AnyJob, CompletionSink, Job, JobInfo, JobKey, Outcome};

    struct Ignored;

    impl CompletionSink for Ignored {
        fn complete(&self, _: JobKey, _: Box<dyn AnyJob>) {}
        fn abandon(&self, _: JobKey, _: Failure) {}
    }

    impl AnyJob for Ignored {
        fn run(&mut self, _: &Job<'_>) -> Outcome {
            Outcome::Done
        }
        fn refuse(&mut self, _: Failure) {}
        fn add_location(&mut self, _: &'static Location<'static>) {}
        fn take_result(self: Box<Self>, _: &mut dyn Any) {}
    }

    fn job(number: u64) -> QueuedJob {
        let (submitted_on, submitted_at) = (Location::caller(), Instant::now());
        let info = JobInfo { submitted_on, submitted_at, sink: Arc::new(Ignored), key: JobKey::default() };
        QueuedJob { number, job: Box::new(Ignored), info }
    }

    #[test]
    fn after_removals_the_remaining_jobs_come_out_in_order() {
        let mut queue = Queue::default();
        // The numbers of refused jobs are missing.
        let numbers: Vec<u64> = (0..100).map(|number| number * 3).collect();
        numbers.iter().for_each(|number| queue.push(job(*number)));
        let keep = |number: &u64| number % 9 == 6;
        for number in numbers.iter().rev().filter(|number| !keep(number)) {
            assert!(queue.remove(*number).is_some());
            assert!(queue.remove(*number).is_none());
        }
        assert!(queue.remove(1).is_none());
        assert_eq!(queue.first().map(|job| job.number), Some(6));
        assert_eq!(queue.len(), numbers.iter().filter(|number| keep(number)).count());
        let left: Vec<u64> = std::iter::from_fn(|| queue.pop()).map(|job| job.number).collect();
        assert_eq!(left, numbers.iter().copied().filter(|number| keep(number)).collect::<Vec<_>>());
        assert_eq!(queue.len(), 0);
        assert!(queue.remove(6).is_none());
    }

    #[test]
    fn holes_are_removed_when_most_places_are_holes() {
        let mut queue = Queue::default();
        (0..10).for_each(|number| queue.push(job(number)));
        for (number, places) in [10, 10, 10, 10, 10, 4, 4, 4, 1].into_iter().enumerate() {
            queue.remove(number as u64);
            assert_eq!(queue.places.len(), places, "{number}");
        }
    }
}
