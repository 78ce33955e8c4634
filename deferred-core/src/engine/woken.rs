//! What was woken, and waits for the end of the outermost level.

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::collections::VecDeque;
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

#[derive(Default)]
struct Queues {
    /// Run at the end of the outermost level, as many as are there then, or by the next turn.
    patient: VecDeque<Pin<Rc<dyn Woken>>>,
    /// Run at the end of the outermost level, all of them.
    homeless: VecDeque<Pin<Rc<dyn Woken>>>,
}

thread_local! {
    static QUEUES: RefCell<Queues> = RefCell::default();
}

/// `None` while the thread ends and its locals are gone.
fn with<R>(f: impl FnOnce(&mut Queues) -> R) -> Option<R> {
    QUEUES.try_with(|queues| f(&mut queues.borrow_mut())).ok()
}

/// Has it run later: at the end of the outermost level, or by a turn, if it is of a reactor.
pub(crate) fn wake(woken: Pin<Rc<dyn Woken>>, has_reactor: bool) {
    with(|queues| if has_reactor { &mut queues.patient } else { &mut queues.homeless }.push_back(woken));
    run::note_woken();
}

/// Whether there is something for a turn to do.
pub(crate) fn is_waiting() -> bool {
    with(|queues| !queues.patient.is_empty()).unwrap_or(false)
}

/// What a turn does: runs up to `limit` of those that are there now, and says of each where it was made before it does.
/// Says how many there were.
pub(crate) fn run_batch(limit: usize, tell: impl Fn(&'static Location<'static>)) -> usize {
    let count = with(|queues| queues.patient.len().min(limit)).unwrap_or(0);
    for _ in 0..count {
        let Some(Some(woken)) = with(|queues| queues.patient.pop_front()) else { break };
        tell(woken.made_at());
        run::resume(woken);
    }
    count
}

/// At the end of the outermost level.
pub(super) fn run_all() {
    // Once, since one that wakes itself must not hold the loop.
    run_batch(usize::MAX, |_| ());
    while let Some(Some(woken)) = with(|queues| queues.homeless.pop_front()) {
        run::resume(woken);
    }
}
