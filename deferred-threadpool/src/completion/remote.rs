//! Jobs of callers without a reactor: their results go to a `RemoteFuture`.

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use deferred_core::{Failure, RemoteCompleter, RemoteFuture};
use parking_lot::Mutex;

use crate::atomic::AtomicU64;
use crate::error::StopTimedOut;
use crate::job::{AnyJob, CompletionSink, Job, JobInfo, JobKey, JobState, drop_refused, in_context};
use crate::worker::{StopWaiter, Waiter, Workers};

/// Submits a job to the pool. Returns a `RemoteFuture` for its result.
#[track_caller]
pub(crate) fn submit_remote<F, T>(workers: &Arc<Workers>, closure: F) -> RemoteFuture<T>
where
    F: FnOnce(&Job<'_>) -> Result<T, Failure> + Send + 'static,
    T: Send + 'static,
{
    let number = Arc::new(AtomicU64::new(u64::MAX));
    let (cancelled, pool) = (number.clone(), Arc::downgrade(workers));
    let (remote, completer) = RemoteFuture::with_canceller(move || {
        if let Some(pool) = pool.upgrade() {
            // ORDERING: the `RemoteFuture` is returned after the number was written, and the thread
            // that drops it has received it from there.
            pool.cancel(cancelled.load(Ordering::Relaxed));
        }
    });
    let sink = Arc::new(RemoteSink { completer: Mutex::new(Some(completer)) });
    let location = Location::caller();
    let closure = in_context(location, closure);
    let info = JobInfo::new(location, sink.clone(), JobKey::default());
    match workers.submit(Box::new(JobState::Closure(closure)), info) {
        Ok(submitted) => number.store(submitted, Ordering::Relaxed),
        Err((job, why)) => {
            sink.fire(Err(drop_refused(job, why)));
        }
    }
    remote
}

/// Returns a `RemoteFuture` for the end of a pool, and the waiter that completes it.
pub(crate) fn remote_stop_waiter() -> (RemoteFuture<()>, Box<dyn StopWaiter>) {
    let (stopped, completer) = RemoteFuture::new();
    (stopped, Box::new(RemoteStopWaiter(completer)))
}

struct RemoteStopWaiter(RemoteCompleter<()>);

impl Waiter for RemoteStopWaiter {
    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}

impl StopWaiter for RemoteStopWaiter {
    fn complete(self: Box<Self>, result: Result<(), StopTimedOut>) {
        self.0.fire(result.map_err(Failure::from));
    }
}

/// The sink that completes a `RemoteFuture`.
struct RemoteSink<T: 'static> {
    completer: Mutex<Option<RemoteCompleter<T>>>,
}

impl<T> RemoteSink<T> {
    fn fire(&self, result: Result<T, Failure>) {
        let completer = self.completer.lock().take();
        if let Some(completer) = completer {
            completer.fire(result);
        }
    }
}

impl<T: Send + 'static> CompletionSink for RemoteSink<T> {
    fn complete(&self, _: JobKey, job: Box<dyn AnyJob>) {
        let mut slot = None;
        job.take_result(&mut slot);
        if let Some(result) = slot {
            self.fire(result);
        }
    }

    fn abandon(&self, _: JobKey, why: Failure) {
        self.fire(Err(why));
    }
}
