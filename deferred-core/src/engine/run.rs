//! The loop: it runs stages, makes blocks wait for each other, hands results on, and cancels.

#![forbid(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::rc::Rc;

use super::raw::{BlockRef, Step};
use super::woken::{self, Woken};
use super::{Firing, never_unwinding};
use crate::error::{Abandoned, Cancelled, Cycle};

/// One thing for the loop to do.
enum Job {
    /// Takes a busy block through its next stage.
    Step(BlockRef),
    /// The resolver of the block was dropped.
    Abandon(BlockRef),
    /// Ends one pause.
    Unpause(BlockRef),
    /// Passes a cancel on; the number is that of the cancel.
    Cancel(BlockRef, Cancelled, u64),
    /// Runs what has been woken.
    Resume(Pin<Rc<dyn Woken>>),
    /// Does what is to come after what was dropped before it.
    Call(Box<dyn FnOnce() -> Option<Firing>>),
    /// Runs a block that was fired, and that is busy since.
    Run(BlockRef),
}

/// What [`LEVEL`] is outside the engine.
const OUTSIDE: usize = 0;
/// What it is in a level in which no drop has queued anything. Each job that waits makes it one more.
const INSIDE: usize = 1;
/// What is set in it once something was woken, which runs at the end of the outermost level: of the next one, where it is
/// set outside.
const WOKEN: usize = 1 << (usize::BITS - 1);

/// How many levels may do what drops have set off, one inside the other. A deeper one leaves it to those outside of it.
const DEEP: u32 = 16;

thread_local! {
    static LEVEL: Cell<usize> = const { Cell::new(OUTSIDE) };
    /// What drops have queued, and what levels have left to do: the last ones are those of the innermost. See rule 2.
    ///
    /// Without a destructor, so that it works for the thread-locals that are destroyed after the others. [`AtThreadEnd`]
    /// frees its memory.
    static QUEUED: ManuallyDrop<RefCell<Vec<Job>>> = const { ManuallyDrop::new(RefCell::new(Vec::new())) };
    static AT_THREAD_END: AtThreadEnd = const { AtThreadEnd };
    /// It is destroyed.
    static ENDING: Cell<bool> = const { Cell::new(false) };
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    static CANCELS: Cell<u64> = const { Cell::new(0) };
    /// The number of the cancel that a canceller passes on just now.
    static PASSING: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Runs what waits for a level, and frees the memory of the queues, when the thread ends. From then on they are freed
/// after each level.
struct AtThreadEnd;

impl Drop for AtThreadEnd {
    fn drop(&mut self) {
        inside(|| ());
        ENDING.set(true);
        free_queues();
    }
}

/// The thread-locals of this thread are being destroyed.
pub(super) fn thread_ends() -> bool {
    ENDING.get()
}

/// Has the queues freed in the end.
pub(super) fn free_at_thread_end() {
    // Refused where that has begun.
    let _ = AT_THREAD_END.try_with(|_| ());
}

#[cold]
fn free_queues() {
    QUEUED.with(|queued| {
        let mut queued = queued.borrow_mut();
        if queued.is_empty() {
            *queued = Vec::new();
        }
    });
    woken::free();
}

/// A level that runs, from when it is made to when it is dropped, also by a panic: that leaves nothing undone.
struct Level {
    outer: usize,
    /// What its drops have set off is left to the level outside of it, if there is one.
    joins: bool,
}

impl Level {
    #[inline(always)]
    fn begin(joins: bool) -> Level {
        Level { outer: LEVEL.replace(INSIDE), joins }
    }
}

impl Drop for Level {
    #[inline(always)]
    fn drop(&mut self) {
        // The upper bit of the outer one may be set: see `WOKEN`.
        let outer = if LEVEL.get() == INSIDE && self.outer < WOKEN {
            self.outer
        } else if self.joins {
            leave(self.outer)
        } else {
            drain(self.outer)
        };
        LEVEL.set(outer);
    }
}

/// Runs `f` as a callback runs, and then what its drops have set off.
#[inline(always)]
pub(crate) fn inside<R>(f: impl FnOnce() -> R) -> R {
    let _level = Level::begin(false);
    f()
}

/// Runs `f`, which belongs to the callback that calls this, and leaves what its drops set off to come after that one.
/// Where no callback runs, it comes after `f`.
#[inline(always)]
pub(crate) fn within<R>(f: impl FnOnce() -> R) -> R {
    let _level = Level::begin(true);
    f()
}

/// Runs `f` as if no callback ran: for a nested loop, which must not leave anything to what is outside of it, since that
/// goes on only after the loop.
pub(super) fn from_the_top<R>(f: impl FnOnce() -> R) -> R {
    /// The level outside, which gets what was woken meanwhile.
    struct Outer(usize);
    impl Drop for Outer {
        fn drop(&mut self) {
            LEVEL.set(self.0 | LEVEL.get() & WOKEN);
        }
    }
    let _depth = Depth(DEPTH.replace(0));
    let _outer = Outer(LEVEL.replace(OUTSIDE));
    f()
}

/// Restores the depth when it is dropped.
struct Depth(u32);

impl Depth {
    /// One level deeper. None if it is too deep.
    fn enter() -> Option<Depth> {
        let outer = DEPTH.get();
        (outer < DEEP).then(|| {
            DEPTH.set(outer + 1);
            Depth(outer)
        })
    }
}

impl Drop for Depth {
    fn drop(&mut self) {
        DEPTH.set(self.0);
    }
}

/// Does what is queued with this level. Gives what the level is to be that this one was called in: what was woken waits
/// for the end of the outermost.
///
/// Declared so that it is known never to unwind: what the callback has left then needs no address, and stays in
/// registers.
#[cold]
extern "C" fn drain(outer: usize) -> usize {
    work(None);
    if outer & !WOKEN != OUTSIDE {
        return leave(outer);
    }
    if (LEVEL.get() | outer) & WOKEN != 0 {
        LEVEL.set(INSIDE);
        never_unwinding(woken::run_all);
    }
    if ENDING.get() {
        free_queues();
    }
    OUTSIDE
}

/// Leaves what is queued with this level to the one that it was called in, `outer`, whose own lies below that.
#[cold]
extern "C" fn leave(outer: usize) -> usize {
    if outer & !WOKEN == OUTSIDE {
        return drain(outer);
    }
    let level = LEVEL.get();
    (outer + (level & !WOKEN) - INSIDE) | level & WOKEN
}

/// Takes the block, if it has a result that its stages may have, through them.
pub(super) fn start(block: &BlockRef) {
    if let Some(block) = begin(block.clone()) {
        inside(|| run(block));
    }
}

/// Runs what was fired, inside this call; where too many such calls are one inside the other, after the callback that
/// runs.
pub(super) fn start_firing(block: BlockRef) {
    match Depth::enter() {
        Some(_depth) => inside(|| {
            if let Some(block) = take_up(block) {
                run(block);
            }
        }),
        None => soon(Job::Run(block)),
    }
}

/// Takes a block that has just been fired, if it is not paused, through its stages.
#[inline(always)]
pub(super) fn start_fired(block: BlockRef) {
    // One that somebody holds and that has no stages is as it should be.
    if !(block.is_done() && block.is_held()) {
        run_fired(block);
    }
}

fn run_fired(block: BlockRef) {
    inside(|| {
        if let Some(block) = fired(block) {
            run(block);
        }
    });
}

/// Takes a busy block through its stages, and all that follows. The stack of jobs is needed only where something was
/// dropped.
#[inline(always)]
fn run(mut block: BlockRef) {
    never_unwinding(|| {
        loop {
            if LEVEL.get() != INSIDE {
                return work(Some(block));
            }
            match step(block) {
                Some(next) => block = next,
                None => return,
            }
        }
    });
}

fn new_cancel() -> u64 {
    CANCELS.set(CANCELS.get() + 1);
    CANCELS.get()
}

pub(super) fn cancel_now(block: BlockRef, why: &Cancelled) {
    level(Job::Cancel(block, why.clone(), new_cancel()));
}

pub(super) fn cancel_soon(block: BlockRef, why: &Cancelled) {
    soon(Job::Cancel(block, why.clone(), new_cancel()));
}

pub(super) fn pass_cancel(block: BlockRef, why: &Cancelled) {
    let number = PASSING.get().unwrap_or_else(new_cancel);
    soon(Job::Cancel(block, why.clone(), number));
}

/// Calls `f` after what was dropped, or cancelled soon, before this; and fires what it gives.
pub(crate) fn call_soon(f: impl FnOnce() -> Option<Firing> + 'static) {
    soon(Job::Call(Box::new(f)));
}

/// Runs what was fired after what was dropped, or cancelled soon, before this.
pub(crate) fn run_soon(firing: Firing) {
    if let Some(block) = firing.into_block() {
        soon(Job::Run(block));
    }
}

/// Runs what has been woken, as a level of its own.
pub(super) fn resume(woken: Pin<Rc<dyn Woken>>) {
    level(Job::Resume(woken));
}

/// Has what was woken run at the end of the outermost level; where there is none, of the next one if `next` says so.
pub(super) fn note_woken(next: bool) {
    let level = LEVEL.get();
    if next || level != OUTSIDE {
        LEVEL.set(level | WOKEN);
    }
}

pub(super) fn unpause_now(block: BlockRef) {
    level(Job::Unpause(block));
}

pub(super) fn unpause_soon(block: BlockRef) {
    soon(Job::Unpause(block));
}

pub(super) fn abandon_soon(block: &BlockRef) {
    if !block.is_fired() {
        soon(Job::Abandon(block.clone()));
    }
}

/// Does a job right after the callback that runs; now, where none does. What destructors call.
#[cold]
fn soon(job: Job) {
    if LEVEL.get() & !WOKEN == OUTSIDE {
        return level(job);
    }
    push(job);
    LEVEL.set(LEVEL.get() + 1);
}

fn push(job: Job) {
    QUEUED.with(|queued| {
        let mut queued = queued.borrow_mut();
        if queued.capacity() == 0 {
            free_at_thread_end();
        }
        queued.push(job);
    });
}

/// Does a job now, with all that follows from it.
fn level(job: Job) {
    inside(|| work(perform(job)));
}

/// Takes a busy block through its stages, and does all that follows and that is queued with this level.
#[inline(never)]
fn work(next: Option<BlockRef>) {
    never_unwinding(|| match Depth::enter() {
        Some(_depth) => work_off(next),
        None => only_run(next),
    });
}

fn work_off(mut next: Option<BlockRef>) {
    // What is left to do lies on top of the queue, the next on top. A level that is called from here puts its own above
    // that, and takes all of it away, or counts it as dropped here.
    let mut left = 0;
    loop {
        if LEVEL.get() & !WOKEN != INSIDE {
            left += collect(next.take());
        }
        next = match next {
            Some(block) => step(block),
            None if left == 0 => return,
            None => {
                left -= 1;
                let job = QUEUED.with(|queued| queued.borrow_mut().pop());
                job.and_then(perform)
            }
        };
    }
}

/// Takes a busy block through its stages and leaves what they drop where it is queued.
#[cold]
fn only_run(mut next: Option<BlockRef>) {
    while let Some(block) = next {
        next = step(block);
    }
}

/// What the last job has dropped comes before what else is left, the first drop first, and before the next step of the
/// block that ran. Says by how many the jobs have become more.
#[cold]
fn collect(next: Option<BlockRef>) -> usize {
    let level = LEVEL.get();
    LEVEL.set(level & WOKEN | INSIDE);
    let dropped = (level & !WOKEN) - INSIDE;
    QUEUED.with(|queued| {
        let mut queued = queued.borrow_mut();
        let from = queued.len() - dropped;
        queued.extend(next.map(Job::Step));
        queued[from..].reverse();
        queued.len() - from
    })
}

#[cold]
fn perform(job: Job) -> Option<BlockRef> {
    match job {
        Job::Step(block) => step(block),
        Job::Abandon(block) => abandon(block),
        Job::Unpause(block) => {
            block.state.unpause();
            begin(block)
        }
        Job::Cancel(block, why, number) => cancel(block, &why, number),
        Job::Resume(woken) => woken.resume().and_then(Firing::into_block).and_then(take_up),
        Job::Run(block) => take_up(block),
        Job::Call(f) => f().and_then(Firing::into_block).and_then(take_up),
    }
}

/// Makes a block that can run busy.
#[inline(always)]
fn begin(block: BlockRef) -> Option<BlockRef> {
    if !block.can_run() {
        return None;
    }
    block.state.set_busy();
    Some(block)
}

/// Takes a busy block through its stages, up to one after which there is something else to do. Gives the busy block whose
/// step is next.
#[inline(always)]
fn step(block: BlockRef) -> Option<BlockRef> {
    // What the stage has dropped comes before the next one.
    match block.step(|| LEVEL.get() == INSIDE) {
        Step::Result => Some(block),
        Step::Finished => {
            block.state.clear_busy();
            block.end();
            None
        }
        Step::Stopped => {
            block.state.clear_busy();
            None
        }
        Step::Wait(inner) => join(block, inner),
        Step::Gave(to) => begin(to),
        Step::Ended(block) => block.and_then(take_up),
        // Something may stand behind one that was told too late.
        Step::Told(None) => begin(block),
        Step::Told(Some(block)) => take_up(block),
    }
}

/// What is to be done with a block that has just been fired.
#[inline(always)]
fn fired(block: BlockRef) -> Option<BlockRef> {
    if block.has_canceller() {
        block.drop_canceller();
    }
    begin(block)
}

/// What is to be done with a block that was fired some time ago, and is busy since.
#[inline(always)]
fn take_up(block: BlockRef) -> Option<BlockRef> {
    if block.has_canceller() {
        block.drop_canceller();
    }
    // Whoever ends a pause finds it as it is: not busy.
    if block.state.is_paused() {
        block.state.clear_busy();
        return None;
    }
    Some(block)
}

/// A stage of the busy `block` has left `inner`, of which it takes the result, or which it waits for.
#[inline(never)]
fn join(block: BlockRef, inner: BlockRef) -> Option<BlockRef> {
    if block.is(&inner) {
        block.refuse(Cycle::new().into());
        return Some(block);
    }
    if inner.is_done() {
        inner.move_result(&block);
        return Some(block);
    }
    block.state.clear_busy();
    if block.only_gives() {
        // A tail call: all that is left is to pass the result on. The one that waits for it waits for `inner` instead,
        // and this block is out of the chain, which so stays as long as it was.
        match block.take_give() {
            Some(to) if !to.is(&inner) => {
                block.hand_over(&to);
                wait_for(to, inner);
                return None;
            }
            // `inner` is who waits for this block: a circle, that waits for ever.
            Some(to) => block.push_give(to),
            None => {}
        }
    }
    wait_for(block, inner);
    None
}

/// Has `block`, which waits, wait for `inner`.
#[inline]
pub(super) fn wait_for(block: BlockRef, mut inner: BlockRef) {
    // One that would only pass on what it waits for itself is left out as well.
    while inner.only_passes_on() {
        let Some(next) = inner.awaited().filter(|next| !next.is(&block)) else { break };
        let give = next.take_give();
        debug_assert!(give.is_some_and(|to| to.is(&inner)));
        inner.hand_over(&block);
        inner = next;
    }
    block.state.set_toward(&inner);
    inner.push_give(block);
}

fn abandon(block: BlockRef) -> Option<BlockRef> {
    // A canceller that decides fires it in a moment, whatever it has dropped.
    if block.is_fired() || block.state.is_cancelling() || !block.interrupt(Abandoned::new().into()) {
        return None;
    }
    fired(block)
}

/// Cancels what `block` stands for now: itself while unfired, else what it waits for.
///
/// Each block passes one cancel on once, so that it ends where Deferreds wait for each other in a circle.
fn cancel(mut block: BlockRef, why: &Cancelled, number: u64) -> Option<BlockRef> {
    while block.is_fired() {
        if block.state.pass_cancel(number) {
            return None;
        }
        block = block.awaited().or_else(|| block.state.heir())?;
    }
    if block.state.pass_cancel(number) || block.state.is_cancelling() {
        return None;
    }
    let outer = PASSING.replace(Some(number));
    let has_fired = block.ask_canceller(why);
    PASSING.set(outer);
    if has_fired { fired(block) } else { None }
}
