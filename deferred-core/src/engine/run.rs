//! The run loop: runs stages and the run queue, and cancels.

#![forbid(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::rc::Rc;

use super::raw::BlockRef;
use super::wait::await_inner;
use super::{Fired, Resume, ready_queue};
use crate::abort::never_unwinding;
#[cfg(feature = "context")]
use crate::context::Context;
use crate::error::Cancelled;
use crate::report;

/// The outcome of a block's next stage.
pub(super) enum Step {
    /// The slot holds a result, and the loop goes on with it.
    Ready,
    /// The stage returned another block, for whose result this one begins to wait.
    Pending(BlockRef),
    /// The result was moved to the waiter, which holds it now.
    Delivered(BlockRef),
    /// The result was consumed; perhaps a block was fired with it.
    Consumed(Option<BlockRef>),
    /// The coroutine that waits for the result was resumed; perhaps this fired a block.
    Resumed(Option<BlockRef>),
    /// No stage is left.
    Finished,
    /// The block is paused, or has no result.
    Stopped,
}

/// An entry of the run queue.
enum Job {
    /// Passes the result of a busy block through its next stage.
    Advance(BlockRef),
    /// Fires the block with `Abandoned`: its resolver was dropped.
    Abandon(BlockRef),
    /// Ends one pause.
    Unpause(BlockRef),
    /// Passes on the cancel with this number.
    Cancel(BlockRef, Cancelled, u64),
    /// Resumes a woken coroutine.
    Resume(Pin<Rc<dyn Resume>>),
    /// Calls a function that must run after the jobs before it.
    Call(Box<dyn FnOnce() -> Option<Fired>>),
    /// Runs a block that was fired and has been busy since.
    RunClaimed(BlockRef),
}

/// The value of [`LEVEL`] outside the engine.
const OUTSIDE: usize = 0;
/// The value of [`LEVEL`] in a level whose drops have queued nothing. Each job that they queue adds
/// 1.
const INSIDE: usize = 1;
/// The bit of [`LEVEL`] that is set once a coroutine was woken. The end of the outermost level
/// resumes it; if the bit is set outside of all levels, the end of the next one does.
const WOKEN: usize = 1 << (usize::BITS - 1);

/// The bit of [`LEVEL`] that is set while [`FIRST`] is the first job of the level. It is not in the
/// number of jobs.
const HAS_FIRST: usize = 1 << (usize::BITS - 2);

/// The number of nested levels that run the jobs of their drops. A deeper level leaves its jobs to
/// the outer ones.
const MAX_DEPTH: u32 = 16;

thread_local! {
    static LEVEL: Cell<usize> = const { Cell::new(OUTSIDE) };
    /// The run queue: jobs that drops have queued, and jobs that open levels still have to run. The
    /// innermost level's jobs are the last ones. See rule 2.
    ///
    /// It has no destructor, so that thread-locals that are destroyed later can still use it.
    /// [`AtThreadEnd`] frees its memory.
    static RUN_QUEUE: ManuallyDrop<RefCell<Vec<Job>>> = const { ManuallyDrop::new(RefCell::new(Vec::new())) };
    /// A fired block that is the only job, or the first one, of the level that has `HAS_FIRST`. It
    /// needs no place in the run queue.
    static FIRST: Cell<Option<ManuallyDrop<BlockRef>>> = const { Cell::new(None) };
    static AT_THREAD_END: AtThreadEnd = const { AtThreadEnd };
    /// `true` once [`AT_THREAD_END`] is destroyed.
    static THREAD_ENDING: Cell<bool> = const { Cell::new(false) };
    /// The number of nested levels that run jobs.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    /// The number of the newest cancel.
    static LAST_CANCEL: Cell<u64> = const { Cell::new(0) };
    /// The number of the cancel whose canceller runs now.
    static CURRENT_CANCEL: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Runs what waits for a level when the thread ends, and frees the memory of the queues. From then
/// on the end of each level frees it.
struct AtThreadEnd;

impl Drop for AtThreadEnd {
    fn drop(&mut self) {
        enter(|| ());
        THREAD_ENDING.set(true);
        free_queues();
    }
}

/// Returns `true` while the thread-locals of this thread are being destroyed.
pub(super) fn is_thread_ending() -> bool {
    THREAD_ENDING.get()
}

/// Registers the destructor that frees the queues at the end of the thread.
pub(super) fn free_at_thread_end() {
    // An error means that the destructor has run: each level frees the queues then.
    let _ = AT_THREAD_END.try_with(|_| ());
}

#[cold]
fn free_queues() {
    RUN_QUEUE.with(|queue| {
        let mut queue = queue.borrow_mut();
        if queue.is_empty() {
            *queue = Vec::new();
        }
    });
    ready_queue::free();
}

/// A level, from its creation to its drop. A panic drops it too, so that it leaves no job behind.
struct Level {
    /// The value of [`LEVEL`] outside.
    outer: usize,
    /// Whether the jobs of its drops become the outer level's, if there is one.
    merges: bool,
}

impl Level {
    #[inline]
    fn begin(merges: bool) -> Level {
        Level { outer: LEVEL.replace(INSIDE), merges }
    }
}

impl Drop for Level {
    #[inline]
    fn drop(&mut self) {
        // `WOKEN` may be set in the outer one.
        let outer = if LEVEL.get() == INSIDE && self.outer < WOKEN {
            self.outer
        } else if self.merges {
            merge_into_outer(self.outer)
        } else {
            drain(self.outer)
        };
        LEVEL.set(outer);
    }
}

/// Runs `f` as a level of its own, and then the jobs that its drops have queued.
// `inline(always)` in this file: as `#[inline]`, these four take up to 1 % more instructions of a
// cancel, a flatten or a lock that is handed over (bench: engine/, sync/).
#[inline(always)]
pub(crate) fn enter<R>(f: impl FnOnce() -> R) -> R {
    let _level = Level::begin(false);
    f()
}

/// Runs `f` as a part of the callback that calls this: the jobs that its drops queue run after that
/// callback. If no callback runs, they run after `f`.
#[inline]
pub(crate) fn enter_merged<R>(f: impl FnOnce() -> R) -> R {
    let _level = Level::begin(true);
    f()
}

/// Runs `f` as if no level were outside of it. A nested reactor loop must leave no job to the outer
/// levels, which go on only after that loop.
pub(super) fn as_outermost<R>(f: impl FnOnce() -> R) -> R {
    /// Restores the outer level, and passes `WOKEN` on to it.
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

/// Restores the depth when dropped.
struct Depth(u32);

impl Depth {
    /// Increments the nesting depth of levels. Returns `None` at [`MAX_DEPTH`].
    fn enter() -> Option<Depth> {
        let outer = DEPTH.get();
        (outer < MAX_DEPTH).then(|| {
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

/// Runs the jobs of this level. Returns the new value of [`LEVEL`] for the outer level. Woken
/// coroutines wait for the end of the outermost level.
///
/// It is `extern "C"` because such a function never unwinds: the output of the callback then needs
/// no address, and stays in registers.
#[cold]
extern "C" fn drain(outer: usize) -> usize {
    run_queue(None);
    if outer & !WOKEN != OUTSIDE {
        return merge_into_outer(outer);
    }
    if (LEVEL.get() | outer) & WOKEN != 0 {
        LEVEL.set(INSIDE);
        never_unwinding(ready_queue::run_all);
    }
    if THREAD_ENDING.get() {
        free_queues();
    }
    OUTSIDE
}

/// Leaves the jobs of this level to the level outside, `outer`, whose own jobs lie below them in
/// the run queue. Returns the new value of [`LEVEL`] for the outer level.
#[cold]
extern "C" fn merge_into_outer(outer: usize) -> usize {
    if outer & !WOKEN == OUTSIDE {
        return drain(outer);
    }
    if LEVEL.get() & HAS_FIRST != 0 {
        take_first_into_queue();
    }
    let level = LEVEL.get();
    (outer + (level & !WOKEN) - INSIDE) | level & WOKEN
}

fn take_first() -> Option<BlockRef> {
    FIRST.take().map(ManuallyDrop::into_inner)
}

/// Moves the first job of this level into the run queue, below the other ones.
fn take_first_into_queue() {
    let level = LEVEL.get() & !HAS_FIRST;
    let others = (level & !WOKEN) - INSIDE;
    LEVEL.set(level + 1);
    let first = take_first();
    push(Job::RunClaimed(first.expect("the level has a first job")), others);
}

/// Runs the stages of the block inside this call, if it can run.
#[inline]
pub(super) fn run_if_ready(block: &BlockRef) {
    if block.can_run() {
        run_ready(block.clone());
    }
}

#[cold]
fn run_ready(block: BlockRef) {
    block.state.set_busy();
    enter(|| run_block(block));
}

/// Runs a claimed block inside this call, or after the callback that runs now if too many such
/// calls are nested.
pub(super) fn run_claimed(block: BlockRef) {
    match Depth::enter() {
        Some(_depth) => enter(|| {
            if let Some(block) = prepare_claimed(block) {
                run_block(block);
            }
        }),
        None => queue(Job::RunClaimed(block)),
    }
}

/// Runs a block that has just been fired and that is not busy, unless it is paused.
#[inline]
pub(super) fn run_fired(block: BlockRef) {
    // A block with a chain and without stages has nothing to do.
    if !(block.is_ready() && block.has_chain()) {
        run_fired_stages(block);
    }
}

fn run_fired_stages(block: BlockRef) {
    enter(|| {
        if let Some(block) = prepare_fired(block) {
            run_block(block);
        }
    });
}

/// Runs the stages of a busy block, and everything that follows. The run queue is needed only after
/// a drop.
#[inline]
fn run_block(mut block: BlockRef) {
    never_unwinding(|| {
        loop {
            if LEVEL.get() != INSIDE {
                return run_queue(Some(block));
            }
            match advance(block) {
                Some(next) => block = next,
                None => return,
            }
        }
    });
}

fn new_cancel() -> u64 {
    LAST_CANCEL.set(LAST_CANCEL.get() + 1);
    LAST_CANCEL.get()
}

pub(super) fn cancel_now(block: BlockRef, why: &Cancelled) {
    enter(|| {
        if let Some(block) = cancel(block, why, new_cancel()) {
            run_block(block);
        }
    });
}

pub(super) fn cancel_soon(block: BlockRef, why: &Cancelled) {
    queue(Job::Cancel(block, why.clone(), new_cancel()));
}

pub(super) fn pass_cancel(block: BlockRef, why: &Cancelled) {
    let number = CURRENT_CANCEL.get().unwrap_or_else(new_cancel);
    queue(Job::Cancel(block, why.clone(), number));
}

/// Queues a call of `f`, which runs after the jobs that are queued already. The block that it
/// returns runs next.
pub(crate) fn call_soon(f: impl FnOnce() -> Option<Fired> + 'static) {
    queue(Job::Call(Box::new(f)));
}

/// Queues a fired block, which runs after the jobs that are queued already.
pub(crate) fn run_soon(fired: Fired) {
    let Some(block) = fired.into_block() else { return };
    if LEVEL.get() != INSIDE {
        return queue(Job::RunClaimed(block));
    }
    // It may be the first job of an outer level.
    match FIRST.take() {
        None => {
            FIRST.set(Some(ManuallyDrop::new(block)));
            LEVEL.set(INSIDE | HAS_FIRST);
        }
        outer => {
            FIRST.set(outer);
            queue(Job::RunClaimed(block));
        }
    }
}

/// Resumes a woken coroutine, as a level of its own.
pub(super) fn resume(coroutine: Pin<Rc<dyn Resume>>) {
    run_now(Job::Resume(coroutine));
}

/// Has woken coroutines resumed at the end of the outermost level. If no level is open, `next`
/// decides whether the end of the next one resumes them.
pub(super) fn note_woken(next: bool) {
    let level = LEVEL.get();
    if next || level != OUTSIDE {
        LEVEL.set(level | WOKEN);
    }
}

pub(super) fn unpause_now(block: BlockRef) {
    run_now(Job::Unpause(block));
}

pub(super) fn unpause_soon(block: BlockRef) {
    queue(Job::Unpause(block));
}

pub(super) fn abandon_soon(block: &BlockRef) {
    if !block.is_fired() {
        queue(Job::Abandon(block.clone()));
    }
}

/// Runs a job right after the callback that runs now, or inside this call if none runs. Destructors
/// call this.
#[cold]
fn queue(job: Job) {
    if LEVEL.get() & !WOKEN == OUTSIDE {
        return run_now(job);
    }
    push(job, 0);
    LEVEL.set(LEVEL.get() + 1);
}

/// Puts a job into the run queue, below this number of others.
fn push(job: Job, others: usize) {
    RUN_QUEUE.with(|queue| {
        let mut queue = queue.borrow_mut();
        if queue.capacity() == 0 {
            free_at_thread_end();
        }
        let at = queue.len() - others;
        queue.insert(at, job);
    });
}

/// Runs a job inside this call, with everything that follows from it.
fn run_now(job: Job) {
    enter(|| run_queue(run_job(job)));
}

/// Runs the stages of a busy block, everything that follows, and the jobs of this level.
#[inline(never)]
fn run_queue(next: Option<BlockRef>) {
    never_unwinding(|| match Depth::enter() {
        Some(_depth) => run_queue_to_end(next),
        None => run_without_queue(next),
    });
}

fn run_queue_to_end(mut next: Option<BlockRef>) {
    const ONLY_FIRST: usize = INSIDE | HAS_FIRST;
    // This level's jobs are on top of the run queue, the next one topmost. An inner level puts its
    // own above them, and takes all of those away or counts them as dropped here.
    let mut left = 0;
    loop {
        match LEVEL.get() & !WOKEN {
            INSIDE => {}
            // The only job of the last step.
            ONLY_FIRST if next.is_none() => {
                LEVEL.set(LEVEL.get() & !HAS_FIRST);
                next = take_first().and_then(prepare_claimed);
            }
            _ => left += take_dropped(next.take()),
        }
        next = match next {
            Some(block) => advance(block),
            None if left == 0 => return,
            None => {
                left -= 1;
                let job = RUN_QUEUE.with(|queue| queue.borrow_mut().pop());
                job.and_then(run_job)
            }
        };
    }
}

/// Runs the stages of a busy block. The jobs that they queue stay in the run queue.
#[cold]
fn run_without_queue(mut next: Option<BlockRef>) {
    while let Some(block) = next {
        next = advance(block);
    }
}

/// Brings the jobs that the last step has queued into order: the first drop first, all of them
/// before the jobs that were left, and before `next`, the block that ran. Returns the number of
/// added jobs.
#[cold]
fn take_dropped(next: Option<BlockRef>) -> usize {
    if LEVEL.get() & HAS_FIRST != 0 {
        take_first_into_queue();
    }
    let level = LEVEL.get();
    LEVEL.set(level & WOKEN | INSIDE);
    let dropped = (level & !WOKEN) - INSIDE;
    RUN_QUEUE.with(|queue| {
        let mut queue = queue.borrow_mut();
        let from = queue.len() - dropped;
        queue.extend(next.map(Job::Advance));
        queue[from..].reverse();
        queue.len() - from
    })
}

#[cold]
fn run_job(job: Job) -> Option<BlockRef> {
    match job {
        Job::Advance(block) => advance(block),
        Job::Abandon(block) => abandon(block),
        Job::Unpause(block) => {
            block.state.unpause();
            claim(block)
        }
        Job::Cancel(block, why, number) => cancel(block, &why, number),
        Job::Resume(coroutine) => coroutine.resume(0).and_then(Fired::into_block).and_then(prepare_claimed),
        Job::RunClaimed(block) => prepare_claimed(block),
        Job::Call(f) => f().and_then(Fired::into_block).and_then(prepare_claimed),
    }
}

/// Makes a block busy, if it can run.
#[inline(always)]
fn claim(block: BlockRef) -> Option<BlockRef> {
    if !block.can_run() {
        return None;
    }
    block.state.set_busy();
    Some(block)
}

/// Runs stages of a busy block until something else has to happen first. Returns the busy block
/// that runs next.
#[inline(always)]
fn advance(block: BlockRef) -> Option<BlockRef> {
    // Only stages with a context of their own enter one.
    #[cfg(feature = "context")]
    if !Context::is_current_empty() {
        return advance_outside_context(block);
    }
    // The drops of a stage come before the next stage.
    match block.advance(|| LEVEL.get() == INSIDE) {
        Step::Ready => Some(block),
        Step::Finished => {
            block.state.clear_busy();
            block.finish();
            None
        }
        Step::Stopped => {
            block.state.clear_busy();
            None
        }
        Step::Pending(inner) => await_inner(block, inner),
        Step::Delivered(waiter) => claim(waiter),
        Step::Consumed(block) => block.and_then(prepare_claimed),
        // The block may have got a further stage meanwhile: the wait was given up.
        Step::Resumed(None) => claim(block),
        Step::Resumed(Some(block)) => prepare_claimed(block),
    }
}

#[cfg(feature = "context")]
#[cold]
fn advance_outside_context(block: BlockRef) -> Option<BlockRef> {
    Context::new().run(|| advance(block))
}

/// Prepares a block that has just been fired. Returns it if it can run.
#[inline(always)]
fn prepare_fired(block: BlockRef) -> Option<BlockRef> {
    block.drop_canceller();
    claim(block)
}

/// Prepares a block that was fired some time ago and has been busy since. Returns it unless it is
/// paused.
#[inline]
fn prepare_claimed(block: BlockRef) -> Option<BlockRef> {
    block.drop_canceller();
    // The end of the pause claims the block again, and needs it not to be busy.
    if block.state.is_paused() {
        block.state.clear_busy();
        return None;
    }
    Some(block)
}

/// Fires an unfired block with `Abandoned`. Returns it if it can run.
fn abandon(block: BlockRef) -> Option<BlockRef> {
    // A canceller that is still deciding fires the block in a moment, even if it has dropped the
    // source.
    if block.is_fired() || block.state.is_cancelling() || !block.fire_error(report::abandoned().into()) {
        return None;
    }
    prepare_fired(block)
}

/// Cancels the block if it is unfired, else the block that it waits for. Returns the block to run
/// next.
///
/// Each block passes one cancel on only once, so that a cancel ends in a circle of Deferreds that
/// wait for each other.
fn cancel(mut block: BlockRef, why: &Cancelled, number: u64) -> Option<BlockRef> {
    while block.is_fired() {
        if block.state.pass_cancel(number) {
            return None;
        }
        block = block.awaited().or_else(|| block.successor())?;
    }
    if block.state.pass_cancel(number) || block.state.is_cancelling() {
        return None;
    }
    let outer = CURRENT_CANCEL.replace(Some(number));
    #[cfg(feature = "context")]
    let has_fired = Context::new().run(|| block.run_canceller(why));
    #[cfg(not(feature = "context"))]
    let has_fired = block.run_canceller(why);
    CURRENT_CANCEL.set(outer);
    if has_fired { prepare_fired(block) } else { None }
}
