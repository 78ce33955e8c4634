//! `InterruptHandle`: has the cancel of a job interrupt what its connection does.

use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::cancel_flag::OnCancel;
use crate::job::{Job, ignore_panic};

/// The time for which the end of a job waits for an interrupt that still runs. After that the
/// connection is closed, so that the interrupt cannot reach the next job.
const PATIENCE: Duration = Duration::from_secs(1);

/// The time after which a job that has not ended is interrupted again. It doubles each time.
const AGAIN: Duration = Duration::from_millis(100);
const AGAIN_MAX: Duration = Duration::from_secs(2);

/// A function that interrupts what a connection does.
/// [`ManageConnection::interrupt_handle`](crate::ManageConnection::interrupt_handle) returns it.
///
/// It is called when a job is cancelled while it uses the connection, and again from time to time
/// until the job ends, since a database ignores an interrupt between two queries. It is never
/// called while the connection has no job.
#[derive(Clone)]
pub struct InterruptHandle {
    interrupt: Arc<dyn Fn() + Send + Sync>,
    blocks: bool,
}

impl InterruptHandle {
    /// Creates a handle that calls `interrupt`, which must not block: the first call runs on the
    /// thread that cancels, which is usually that of the loop.
    pub fn new(interrupt: impl Fn() + Send + Sync + 'static) -> InterruptHandle {
        InterruptHandle { interrupt: Arc::new(interrupt), blocks: false }
    }

    /// Creates a handle that calls `interrupt`, which may block, in a thread of its own. The end of
    /// the job waits for it, but only for a second; then the connection is closed. A call that
    /// never returns keeps its thread.
    ///
    /// If the interrupt takes effect some time after `interrupt` has returned, as in PostgreSQL,
    /// implement
    /// [`ManageConnection::check_interrupted`](crate::ManageConnection::check_interrupted) too.
    pub fn blocking(interrupt: impl Fn() + Send + Sync + 'static) -> InterruptHandle {
        InterruptHandle { interrupt: Arc::new(interrupt), blocks: true }
    }

    /// Has a cancel of `job` interrupt the connection until the returned guard is ended or
    /// dropped.
    pub(super) fn interrupt_on_cancel<'a>(&self, job: &Job<'a>) -> Interrupts<'a> {
        let progress = Arc::<Progress>::default();
        let (handle, calls) = (self.clone(), progress.clone());
        Interrupts { guard: Some(job.on_cancel(move || handle.begin(calls))), progress }
    }

    /// Interrupts the job now and, in a thread of its own, again until it ends.
    fn begin(self, progress: Arc<Progress>) {
        progress.lock().is_running = true;
        if !self.blocks {
            self.call(&progress);
        }
        let repeats = progress.clone();
        let repeat = move || {
            let mut delay = AGAIN;
            if self.blocks {
                self.call(&repeats);
            }
            while !repeats.has_ended_after(delay) {
                self.call(&repeats);
                delay = (delay * 2).min(AGAIN_MAX);
            }
        };
        // Without a thread, a blocking interrupt is not made, and another one is not repeated.
        if thread::Builder::new().name("deferred-interrupt".into()).spawn(repeat).is_err() {
            progress.finish_call();
        }
    }

    /// Interrupts the job, unless it has ended.
    fn call(&self, progress: &Progress) {
        if progress.begin_call() {
            ignore_panic(|| (self.interrupt)());
        }
        progress.finish_call();
    }
}

impl fmt::Debug for InterruptHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InterruptHandle").field("blocks", &self.blocks).finish_non_exhaustive()
    }
}

/// A guard while which a cancel interrupts the connection.
pub(super) struct Interrupts<'a> {
    guard: Option<OnCancel<'a>>,
    progress: Arc<Progress>,
}

/// The interrupts of a job, at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interrupted {
    /// The handle was called this number of times.
    Times(u32),
    /// The handle was called, and still runs.
    Unfinished,
}

impl Interrupts<'_> {
    /// Prevents further interrupts, and waits for the end of one that runs.
    pub(super) fn end(mut self) -> Interrupted {
        self.prevent();
        let mut state = self.progress.lock();
        self.progress.changed.wait_while_for(&mut state, |state| state.is_running, PATIENCE);
        if state.is_running { Interrupted::Unfinished } else { Interrupted::Times(state.calls) }
    }

    fn prevent(&mut self) {
        drop(self.guard.take()); // after it, no first call begins
        self.progress.lock().has_ended = true;
        self.progress.changed.notify_all();
    }
}

impl Drop for Interrupts<'_> {
    fn drop(&mut self) {
        self.prevent();
    }
}

/// The progress of the interrupts of a job.
#[derive(Default)]
struct Progress {
    state: Mutex<State>,
    /// Notified when a call or the job ends.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    calls: u32,
    /// Whether a call runs, or is about to.
    is_running: bool,
    /// Whether the job has ended.
    has_ended: bool,
}

impl Progress {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Returns `true` if the job has not ended.
    fn begin_call(&self) -> bool {
        let mut state = self.lock();
        state.is_running = !state.has_ended;
        state.calls += u32::from(state.is_running);
        state.is_running
    }

    fn finish_call(&self) {
        self.lock().is_running = false;
        self.changed.notify_all();
    }

    /// Waits for the end of the job, for at most `delay`. Returns `true` if it has ended.
    fn has_ended_after(&self, delay: Duration) -> bool {
        let mut state = self.lock();
        self.changed.wait_while_for(&mut state, |state| !state.has_ended, delay);
        state.has_ended
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn no_call_begins_after_the_job_has_ended() {
        let calls = Arc::new(AtomicU32::new(0));
        let counts = calls.clone();
        let handle = InterruptHandle::blocking(move || _ = counts.fetch_add(1, Ordering::Relaxed));
        let progress = Progress::default();
        handle.call(&progress);
        progress.lock().has_ended = true;
        handle.call(&progress);
        assert_eq!((calls.load(Ordering::Relaxed), progress.lock().calls), (1, 1));
        assert!(!progress.lock().is_running);
    }
}
