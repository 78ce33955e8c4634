//! Jobs of whoever has no reactor.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use deferred_core::{Completer, Failure, Remote};
use parking_lot::Mutex;

use crate::job::{Ending, Job, Owner, Slip, Task, Work};
use crate::workers::Workers;

/// Gives the job to the pool, and a Remote for its result.
#[track_caller]
pub(crate) fn submit<F, T>(workers: &Arc<Workers>, call: F) -> Remote<T>
where
    F: FnOnce(&Job<'_>) -> Result<T, Failure> + Send + 'static,
    T: Send + 'static,
{
    let number = Arc::new(AtomicU64::new(u64::MAX));
    let (cancelled, pool) = (number.clone(), Arc::downgrade(workers));
    let (remote, completer) = Remote::with_canceller(move || {
        if let Some(pool) = pool.upgrade() {
            // ORDERING: the Remote was handed out after this was written, and whoever drops it has got it from there.
            pool.cancel(cancelled.load(Ordering::Relaxed));
        }
    });
    let waits = Arc::new(Waiting { completer: Mutex::new(Some(completer)) });
    let task = Box::new(Sent { work: Work::Call(call), waits: waits.clone() });
    match workers.submit(task, Slip::new(std::panic::Location::caller(), waits.clone(), 0)) {
        Ok(given) => number.store(given, Ordering::Relaxed),
        Err((task, why)) => {
            drop(task);
            waits.fire(Err(why));
        }
    }
    remote
}

/// A job of a Remote.
struct Sent<F, T: 'static> {
    work: Work<F, T>,
    waits: Arc<Waiting<T>>,
}

struct Waiting<T: 'static> {
    completer: Mutex<Option<Completer<T>>>,
}

impl<T> Waiting<T> {
    fn fire(&self, result: Result<T, Failure>) {
        let completer = self.completer.lock().take();
        if let Some(completer) = completer {
            completer.fire(result);
        }
    }
}

impl<F, T> Task for Sent<F, T>
where
    F: FnOnce(&Job<'_>) -> Result<T, Failure> + Send + 'static,
    T: Send + 'static,
{
    fn run(&mut self, job: &Job<'_>) -> Ending {
        self.work.run(job)
    }

    fn refuse(&mut self, why: Failure) {
        self.work.refuse(why);
    }

    fn deliver(self: Box<Self>, _: Box<dyn Any>) {
        let Sent { work, waits } = *self;
        if let Some(result) = work.into_result() {
            waits.fire(result);
        }
    }
}

impl<T: Send + 'static> Owner for Waiting<T> {
    fn take_home(&self, _: u64, task: Box<dyn Task>) {
        task.deliver(Box::new(()));
    }

    fn give_up(&self, _: u64, why: Failure) {
        self.fire(Err(why));
    }
}
