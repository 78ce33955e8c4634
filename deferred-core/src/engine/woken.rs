//! What was woken, and waits for a turn of the reactor or for the end of the outermost level.

#![forbid(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;

use super::{Firing, run};

/// What can be woken: a coroutine.
pub(crate) trait Woken {
    /// Where it was made.
    fn made_at(&self) -> &'static Location<'static>;

    /// Goes on, and gives what was fired by that.
    fn resume(self: Pin<Rc<Self>>) -> Option<Firing>;
}

type Queue = VecDeque<Pin<Rc<dyn Woken>>>;

struct Queues {
    /// Those of a reactor. Outside of turns, the end of the outermost level runs as many as are there then.
    patient: Queue,
    /// Those without one. Outside of turns, the end of the outermost level runs all of them.
    homeless: Queue,
}

thread_local! {
    /// Without a destructor, like the queue of jobs.
    static QUEUES: ManuallyDrop<RefCell<Queues>> =
        const { ManuallyDrop::new(RefCell::new(Queues { patient: VecDeque::new(), homeless: VecDeque::new() })) };
    /// A turn runs on this thread: what is woken is for its batch, or for that of the next one.
    static IN_TURN: Cell<bool> = const { Cell::new(false) };
}

fn with<R>(f: impl FnOnce(&mut Queues) -> R) -> R {
    QUEUES.with(|queues| f(&mut queues.borrow_mut()))
}

/// Has it run later: by a turn, or at the end of the outermost level where no turn runs.
///
/// At the end of the thread nobody runs it any more: it is abandoned with all that can be woken there.
pub(crate) fn wake(woken: Pin<Rc<dyn Woken>>, has_reactor: bool) {
    if run::thread_ends() {
        return;
    }
    run::free_at_thread_end();
    with(|queues| if has_reactor { &mut queues.patient } else { &mut queues.homeless }.push_back(woken));
    if !IN_TURN.get() {
        // A reactor is woken too. Without one, the next call of the engine on this thread sees to it.
        run::note_woken(!has_reactor);
    }
}

/// Runs `f` as a turn: what is woken waits for its batch. Nothing is too deep in it, and it leaves nothing to what is
/// outside of it.
pub(crate) fn in_turn<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            IN_TURN.set(self.0);
            // Perhaps there is no other turn. Those of a reactor end with it.
            if !self.0 && with(|queues| !queues.homeless.is_empty()) {
                run::note_woken(true);
            }
        }
    }
    let _outer = Restore(IN_TURN.replace(true));
    run::from_the_top(f)
}

/// Whether a turn runs on this thread.
pub(crate) fn in_a_turn() -> bool {
    IN_TURN.get()
}

/// Whether there is something for a turn to do.
pub(crate) fn is_waiting() -> bool {
    with(|queues| !queues.patient.is_empty() || !queues.homeless.is_empty())
}

/// What a turn does: runs up to `limit` of those that are there now, and says of each where it was made before it does.
/// Says how many there were.
pub(crate) fn run_batch(limit: usize, tell: impl Fn(&'static Location<'static>)) -> usize {
    let patient = with(|queues| queues.patient.len().min(limit));
    let homeless = with(|queues| queues.homeless.len().min(limit - patient));
    run_some(patient, |queues| &mut queues.patient, &tell);
    run_some(homeless, |queues| &mut queues.homeless, &tell);
    patient + homeless
}

fn run_some(count: usize, queue: fn(&mut Queues) -> &mut Queue, tell: &impl Fn(&'static Location<'static>)) {
    for _ in 0..count {
        let Some(woken) = with(|queues| queue(queues).pop_front()) else { return };
        tell(woken.made_at());
        run::resume(woken);
    }
}

/// At the end of the outermost level.
pub(super) fn run_all() {
    if IN_TURN.get() {
        return;
    }
    // Once, since one that wakes itself must not hold the loop.
    run_some(with(|queues| queues.patient.len()), |queues| &mut queues.patient, &|_| ());
    while let Some(woken) = with(|queues| queues.homeless.pop_front()) {
        run::resume(woken);
    }
}

/// Drops what nobody will run, and the memory.
pub(super) fn free() {
    let left = with(|queues| (std::mem::take(&mut queues.patient), std::mem::take(&mut queues.homeless)));
    drop(left); // behind the borrow
}
