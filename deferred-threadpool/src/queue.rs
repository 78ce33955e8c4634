//! The jobs that wait for a thread, in the order they came.

use std::collections::VecDeque;
use std::mem;

use deferred_core::Failure;

/// Runs a job, or tells it why it cannot run. Dropping it abandons it.
pub(crate) type Job = Box<dyn FnOnce(Result<(), Failure>) + Send>;

/// Names a job while it waits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// A queue whose jobs can be taken out of the middle: that leaves a hole, and when most of it is holes they are swept
/// out.
#[derive(Default)]
pub(crate) struct Queue {
    jobs: VecDeque<(Ticket, Option<Job>)>,
    waiting: usize,
    tickets: u64,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.waiting
    }

    pub(crate) fn push(&mut self, job: Job) -> Ticket {
        let ticket = Ticket(self.tickets);
        self.tickets += 1;
        self.waiting += 1;
        self.jobs.push_back((ticket, Some(job)));
        ticket
    }

    pub(crate) fn pop(&mut self) -> Option<Job> {
        loop {
            if let (_, Some(job)) = self.jobs.pop_front()? {
                self.waiting -= 1;
                return Some(job);
            }
        }
    }

    /// `None` if it does not wait any more.
    pub(crate) fn remove(&mut self, ticket: Ticket) -> Option<Job> {
        let index = self.jobs.binary_search_by_key(&ticket, |(ticket, _)| *ticket).ok()?;
        let job = self.jobs[index].1.take()?;
        self.waiting -= 1;
        if self.waiting < self.jobs.len() / 2 {
            self.jobs.retain(|(_, job)| job.is_some());
        }
        Some(job)
    }

    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Job> + use<> {
        self.waiting = 0;
        mem::take(&mut self.jobs).into_iter().filter_map(|(_, job)| job)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn what_is_left_comes_out_in_order_whatever_was_removed() {
        let (sender, ran) = mpsc::channel();
        let mut queue = Queue::default();
        let tickets: Vec<_> = (0..100)
            .map(|number| {
                let sender = sender.clone();
                queue.push(Box::new(move |_| sender.send(number).unwrap()))
            })
            .collect();
        let keep = |number: &usize| number % 9 == 4;
        for number in (0..100).rev().filter(|number| !keep(number)) {
            assert!(queue.remove(tickets[number]).is_some());
            assert!(queue.remove(tickets[number]).is_none());
        }
        assert_eq!(queue.len(), 11);
        while let Some(job) = queue.pop() {
            job(Ok(()));
        }
        assert_eq!(queue.len(), 0);
        assert!(queue.remove(tickets[4]).is_none());
        assert_eq!(ran.try_iter().collect::<Vec<_>>(), (0..100).filter(keep).collect::<Vec<_>>());
    }
}
