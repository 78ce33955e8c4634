//! Coroutines that have been woken. A turn of the reactor resumes them, or the end of the outermost
//! level.

#![forbid(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::rc::Rc;

use super::{Resume, run};
use crate::error::CallSite;

type Queue = VecDeque<Pin<Rc<dyn Resume>>>;

struct Queues {
    /// Woken coroutines that have a reactor. Outside of turns, the end of the outermost level
    /// resumes those that are in the queue at that time.
    with_reactor: Queue,
    /// Woken coroutines that have no reactor. Outside of turns, the end of the outermost level
    /// resumes all of them.
    without_reactor: Queue,
}

thread_local! {
    /// The queues of this thread, without a destructor, like the run queue.
    static QUEUES: ManuallyDrop<RefCell<Queues>> =
        const { ManuallyDrop::new(RefCell::new(Queues { with_reactor: VecDeque::new(), without_reactor: VecDeque::new() })) };
    /// `true` while a turn runs on this thread. A woken coroutine then waits for this turn's batch,
    /// or the next one's.
    static IN_TURN: Cell<bool> = const { Cell::new(false) };
}

fn with_queues<R>(f: impl FnOnce(&mut Queues) -> R) -> R {
    QUEUES.with(|queues| f(&mut queues.borrow_mut()))
}

/// Queues a woken coroutine: for a turn, or for the end of the outermost level if no turn runs.
///
/// While the thread-locals of the thread are destroyed nothing runs the queue any more, so the
/// coroutine is only dropped.
pub(crate) fn push(coroutine: Pin<Rc<dyn Resume>>, has_reactor: bool) {
    if run::is_thread_ending() {
        return;
    }
    run::free_at_thread_end();
    with_queues(|queues| {
        if has_reactor { &mut queues.with_reactor } else { &mut queues.without_reactor }.push_back(coroutine);
    });
    if !IN_TURN.get() {
        // A reactor is woken too. Without one, the next call of the engine on this thread resumes
        // the coroutine.
        run::note_woken(!has_reactor);
    }
}

/// Runs `f` as a turn: coroutines that are woken in it wait for its batch. It counts as an
/// outermost level.
pub(crate) fn in_turn<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            IN_TURN.set(self.0);
            // There may be no further turn. Coroutines with a reactor end with that reactor.
            if !self.0 && with_queues(|queues| !queues.without_reactor.is_empty()) {
                run::note_woken(true);
            }
        }
    }
    let _outer = Restore(IN_TURN.replace(true));
    run::as_outermost(f)
}

/// Returns `true` if a turn runs on this thread.
pub(crate) fn is_in_turn() -> bool {
    IN_TURN.get()
}

/// Returns `true` if no coroutine waits for a turn.
pub(crate) fn is_empty() -> bool {
    with_queues(|queues| queues.with_reactor.is_empty() && queues.without_reactor.is_empty())
}

/// Resumes up to `limit` of the coroutines that are in the queues now, for a turn. Calls
/// `before_each` with the location where each was created. Returns their number.
pub(crate) fn run_batch(limit: usize, before_each: impl Fn(CallSite)) -> usize {
    let (with_reactor, without_reactor) = with_queues(|queues| {
        let with_reactor = queues.with_reactor.len().min(limit);
        (with_reactor, queues.without_reactor.len().min(limit - with_reactor))
    });
    if with_reactor + without_reactor == 0 {
        return 0;
    }
    run_some(with_reactor, |queues| &mut queues.with_reactor, &before_each)
        + run_some(without_reactor, |queues| &mut queues.without_reactor, &before_each)
}

/// Returns the number of coroutines that were resumed: a nested turn may have resumed the others.
fn run_some(count: usize, queue: fn(&mut Queues) -> &mut Queue, before_each: &impl Fn(CallSite)) -> usize {
    for resumed in 0..count {
        let Some(coroutine) = with_queues(|queues| queue(queues).pop_front()) else { return resumed };
        before_each(coroutine.made_at());
        run::resume(coroutine);
    }
    count
}

/// Resumes woken coroutines at the end of the outermost level, unless a turn will.
pub(super) fn run_all() {
    if IN_TURN.get() {
        return;
    }
    // One round only: a coroutine that wakes itself must not hold the loop.
    run_some(with_queues(|queues| queues.with_reactor.len()), |queues| &mut queues.with_reactor, &|_| ());
    while let Some(coroutine) = with_queues(|queues| queues.without_reactor.pop_front()) {
        run::resume(coroutine);
    }
}

/// Drops the coroutines that nothing will resume, and frees the memory of the queues.
pub(super) fn free() {
    let left =
        with_queues(|queues| (std::mem::take(&mut queues.with_reactor), std::mem::take(&mut queues.without_reactor)));
    drop(left); // after the borrow
}
