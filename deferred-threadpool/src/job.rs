//! A job: a closure, then its result, in one box that goes out and comes home whole.

use std::any::Any;
use std::mem;
use std::panic::{self, AssertUnwindSafe, Location};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use deferred_core::{Failure, Panicked};

/// The job that runs, for its own closure: whether somebody still wants its result.
///
/// [`ThreadPool::defer_to_thread_with`](crate::ThreadPool::defer_to_thread_with) gives it.
#[derive(Debug)]
pub struct Job<'a> {
    told: &'a AtomicU64,
    number: u64,
}

impl<'a> Job<'a> {
    pub(crate) fn new(told: &'a AtomicU64, number: u64) -> Job<'a> {
        Job { told, number }
    }

    /// Whether nobody waits for the result any more: its Deferred was cancelled, its reactor has
    /// ended, or the pool was stopped and its deadline has passed. Costs one load, so a loop may
    /// look each time round.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        // ORDERING: a hint; nothing is published by it.
        self.told.load(Ordering::Relaxed) == self.number
    }
}

/// How a closure has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Done,
    Failed,
    Panicked,
}

/// A job's box, whatever its types. A destructor in it may be foreign code: it is dropped where no
/// lock is held.
pub(crate) trait Task: Send {
    /// Calls the closure, which is dropped in here, and keeps the result.
    fn run(&mut self, job: &Job<'_>) -> Ending;

    /// Keeps this error for its result. The closure is dropped.
    fn refuse(&mut self, why: Failure);

    /// Puts the result into `slot`, an `Option<Result<T, Failure>>` of the right type.
    fn give(self: Box<Self>, slot: &mut dyn Any);
}

/// By which an owner knows a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) shelf: u32,
    pub(crate) place: u32,
    /// How often the place had been used before.
    pub(crate) round: u32,
}

/// Where jobs come from and their results go to: a reactor, or a RemoteFuture.
pub(crate) trait Owner: Send + Sync {
    /// The job has its result.
    fn take_home(&self, key: Key, task: Box<dyn Task>);

    /// The job runs on, and nobody shall wait for it any more.
    fn give_up(&self, key: Key, why: Failure);
}

/// A job as the pool handles it.
pub(crate) struct Entry {
    /// Given by the pool: they go up.
    pub(crate) number: u64,
    pub(crate) task: Box<dyn Task>,
    pub(crate) slip: Slip,
}

/// What the pool knows of a job while its box is elsewhere.
pub(crate) struct Slip {
    /// Where it was given to the pool,
    pub(crate) at: &'static Location<'static>,
    /// and when.
    pub(crate) since: Instant,
    pub(crate) owner: Arc<dyn Owner>,
    pub(crate) key: Key,
}

impl Slip {
    /// For a job that is given to the pool now.
    pub(crate) fn new(at: &'static Location<'static>, owner: Arc<dyn Owner>, key: Key) -> Slip {
        Slip { at, since: Instant::now(), owner, key }
    }
}

impl Entry {
    pub(crate) fn refuse(self, why: Failure) {
        let Entry { mut task, slip, .. } = self;
        task.refuse(why);
        slip.owner.take_home(slip.key, task);
    }
}

/// The closure until it is called, then the result.
pub(crate) enum Work<F, T> {
    Call(F),
    Result(Result<T, Failure>),
    Gone,
}

impl<F, T> Task for Work<F, T>
where
    F: FnOnce(&Job<'_>) -> Result<T, Failure> + Send + 'static,
    T: Send + 'static,
{
    fn run(&mut self, job: &Job<'_>) -> Ending {
        let Work::Call(call) = mem::replace(self, Work::Gone) else { unreachable!("a job runs once") };
        let (result, ending) = match panic::catch_unwind(AssertUnwindSafe(|| call(job))) {
            Ok(Ok(value)) => (Ok(value), Ending::Done),
            Ok(Err(error)) => (Err(error), Ending::Failed),
            Err(payload) => (Err(Panicked::new(payload).into()), Ending::Panicked),
        };
        *self = Work::Result(result);
        ending
    }

    fn refuse(&mut self, why: Failure) {
        drop_guarded(mem::replace(self, Work::Result(Err(why))));
    }

    fn give(self: Box<Self>, slot: &mut dyn Any) {
        let slot: &mut Option<Result<T, Failure>> = slot.downcast_mut().expect("the slot is of the job's type");
        if let Work::Result(result) = *self {
            *slot = Some(result);
        }
    }
}

/// Drops the closure of a job that is refused. A panic of that is the error instead.
pub(crate) fn drop_refused<X>(closure: X, why: Failure) -> Failure {
    match panic::catch_unwind(AssertUnwindSafe(|| drop(closure))) {
        Ok(()) => why,
        Err(payload) => Panicked::new(payload).into(),
    }
}

/// Drops what came from a user.
pub(crate) fn drop_guarded<X>(value: X) {
    guarded(|| drop(value));
}

/// Runs code of a user where its panic has nowhere to go and must not take a thread, or the end of
/// a loop, with it; the panic's own message was printed.
pub(crate) fn guarded(f: impl FnOnce()) {
    if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(f)) {
        drop(Panicked::new(payload)); // whose payload may panic too
    }
}
