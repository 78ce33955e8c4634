//! Jobs of whoever has no reactor.

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use deferred_core::{Failure, RemoteCompleter, RemoteFuture};
use parking_lot::Mutex;

use crate::job::{Job, Key, Owner, Slip, Task, Work, drop_refused};
use crate::workers::Workers;

/// Gives the job to the pool, and a RemoteFuture for its result.
#[track_caller]
pub(crate) fn submit<F, T>(workers: &Arc<Workers>, call: F) -> RemoteFuture<T>
where
    F: FnOnce(&Job<'_>) -> Result<T, Failure> + Send + 'static,
    T: Send + 'static,
{
    let number = Arc::new(AtomicU64::new(u64::MAX));
    let (cancelled, pool) = (number.clone(), Arc::downgrade(workers));
    let (remote, completer) = RemoteFuture::with_canceller(move || {
        if let Some(pool) = pool.upgrade() {
            // ORDERING: the RemoteFuture was handed out after this was written, and whoever drops
            // it has got it from there.
            pool.cancel(cancelled.load(Ordering::Relaxed));
        }
    });
    let waits = Arc::new(Waiting { completer: Mutex::new(Some(completer)) });
    let slip = Slip::new(Location::caller(), waits.clone(), Key::default());
    match workers.submit(Box::new(Work::Call(call)), slip) {
        Ok(given) => number.store(given, Ordering::Relaxed),
        Err((task, why)) => {
            waits.fire(Err(drop_refused(task, why)));
        }
    }
    remote
}

/// Whoever waits for a job of a RemoteFuture.
struct Waiting<T: 'static> {
    completer: Mutex<Option<RemoteCompleter<T>>>,
}

impl<T> Waiting<T> {
    fn fire(&self, result: Result<T, Failure>) {
        let completer = self.completer.lock().take();
        if let Some(completer) = completer {
            completer.fire(result);
        }
    }
}

impl<T: Send + 'static> Owner for Waiting<T> {
    fn take_home(&self, _: Key, task: Box<dyn Task>) {
        let mut slot = None;
        task.give(&mut slot);
        if let Some(result) = slot {
            self.fire(result);
        }
    }

    fn give_up(&self, _: Key, why: Failure) {
        self.fire(Err(why));
    }
}
