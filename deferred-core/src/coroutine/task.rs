//! `Task`: a coroutine, and how it is resumed, cancelled and ended.

use std::any::Any;
use std::cell::{Cell, RefCell, RefMut};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::ptr;
use std::rc::Rc;
use std::task::{Context, Poll, RawWakerVTable, Waker};

use pin_project_lite::pin_project;

use super::awaited::Awaited;
use super::current;
use super::frame::{self, Frame};
use super::registry;
use crate::abort::never_unwinding;
use crate::context;
use crate::deferred::{Deferred, refuse_nested};
use crate::engine::{Chain, Fired, Handle, LiveCoroutine, Resume, Source, call_soon, enter_merged, ready_queue};
use crate::error::{self, Abandoned, BuiltinError, CallSite, Cancelled, DeferredError, NoReactor, Panicked};
use crate::inspect;
use crate::reactor::{Reactor, WakerHandle};

/// A coroutine without its types.
///
/// The functions of this file work on it, so that they are compiled once and not for each future.
pub(super) trait Coroutine: Resume {
    fn head(&self) -> &Head;

    /// Polls the future. Once it is ready, drops it and keeps its result.
    fn poll(self: Pin<&Self>, context: &mut Context<'_>) -> Poll<()>;

    /// Drops the future, or its result.
    fn discard(self: Pin<&Self>);

    /// Has [`finish`](Self::finish) fire this error.
    fn fail(self: Pin<&Self>, why: BuiltinError);

    /// Fires the coroutine's Deferred with the result. Does nothing before the Deferred exists.
    fn finish(self: Pin<&Self>) -> Option<Fired>;

    /// Begins a wait for a Deferred, which resumes the coroutine, if the coroutine is polled with
    /// this waker.
    fn wait_for(self: Pin<Rc<Self>>, handle: &Handle, waker: &Waker) -> Registered;

    fn into_resume(self: Pin<Rc<Self>>) -> Pin<Rc<dyn Resume>>;
}

/// The outcome of [`Coroutine::wait_for`].
pub(super) enum Registered {
    Done,
    /// The Deferred is the coroutine's own.
    Own,
    /// The waker is another one.
    OtherWaker,
}

/// The part of a coroutine that does not depend on its types.
pub(super) struct Head {
    pub(super) awaited: Awaited,
    /// The identity of the waker of the poll that runs.
    waker: Cell<(*const (), Option<&'static RawWakerVTable>)>,
    stage: Cell<Stage>,
    /// `true` if an awaited Deferred became ready during the poll, so that another poll is needed.
    again: Cell<bool>,
    /// `true` once `cold` exists, until the end.
    has_cold: Cell<bool>,
    reactor: Option<Reactor>,
    context: context::Context,
    at: CallSite,
    cold: RefCell<Option<Box<Cold>>>,
    _live: LiveCoroutine,
}

pin_project! {
    struct Task<F: Future, T, E: DeferredError> {
        head: Head,
        #[pin]
        frame: Frame<F>,
        // The source of the coroutine's Deferred, once it is suspended. (This macro takes no
        // attributes here.)
        source: Cell<Option<Source<T, E>>>,
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Suspended,
    /// The coroutine is being polled.
    Running,
    Ended,
}

/// State that few coroutines need.
#[derive(Default)]
struct Cold {
    /// The error with which the coroutine ends after the poll that runs: a cancel, or the closing
    /// of its reactor.
    end: Option<BuiltinError>,
    /// The waker of which a poll has kept a clone.
    waker: Option<Rc<WakerHandle>>,
    /// The key in the thread's registry, for wakers.
    key: Option<u64>,
    /// The key in the reactor's registry, for the closing of the reactor.
    reactor_key: Option<u64>,
}

#[inline]
pub(super) fn start<T, E, F>(coroutine: F, at: CallSite) -> Deferred<T, E>
where
    T: 'static,
    E: DeferredError,
    F: Future<Output = Result<T, E>> + 'static,
{
    let head = Head {
        awaited: Awaited::default(),
        waker: Cell::new((ptr::null(), None)),
        stage: Cell::new(Stage::Suspended),
        again: Cell::new(false),
        has_cold: Cell::new(false),
        reactor: Reactor::current(),
        context: context::Context::for_coroutine(at),
        at,
        cold: RefCell::new(None),
        _live: LiveCoroutine::new(),
    };
    let task = Rc::pin(Task { head, frame: frame::new(coroutine), source: Cell::new(None) });
    enter_merged(|| {
        never_unwinding(|| {
            if run_current(&task) {
                let result = frame::take_output(task.as_ref().project_ref().frame);
                let result = result.expect("a coroutine that ended has a result");
                return Deferred::with_result(in_origin(refuse_nested(result), &task.head), at, at);
            }
            let (chain, source) = Chain::pair(at);
            task.head.awaited.set_own(source.id());
            source.set_forwarding_canceller(canceller(task.clone()));
            task.source.set(Some(source));
            inspect::is_coroutine(chain.as_handle());
            Deferred::with_chain(chain)
        })
    })
}

/// Adds the location of the coroutine to the trail of its error, and its context if the error was
/// made without one.
#[inline]
fn in_origin<T, E: DeferredError>(result: Result<T, E>, head: &Head) -> Result<T, E> {
    #[cold]
    fn error_in_origin<E: DeferredError>(mut error: E, head: &Head) -> E {
        never_unwinding(|| error.add_location(head.at));
        error::adopt_context(&mut error, &head.context);
        error
    }

    result.map_err(|error| error_in_origin(error, head))
}

/// Makes the coroutine the current one, and polls it until it ends or is suspended. Returns `true`
/// if it has ended.
#[inline]
fn run_current<C: Coroutine + 'static>(task: &Pin<Rc<C>>) -> bool {
    current::with(task.clone(), || run(task.head(), task.as_ref()))
}

/// Polls the current coroutine until it ends or is suspended. Returns `true` if it has ended.
/// `head` and `task` belong to it.
fn run(head: &Head, task: Pin<&dyn Coroutine>) -> bool {
    if head.reactor.as_ref().is_none_or(Reactor::is_current) && head.context.is_current_and_empty() {
        run_entered(head, task)
    } else {
        enter_and_run(head, task)
    }
}

/// Like [`run`], for a coroutine with a context, or of a reactor that is not the current one.
#[cold]
fn enter_and_run(head: &Head, task: Pin<&dyn Coroutine>) -> bool {
    let _reactor = head.reactor.as_ref().map(Reactor::enter);
    let _context = head.context.enter();
    run_entered(head, task)
}

// `inline(always)` in this file: as `#[inline]`, a coroutine that is suspended once takes 1.2 %
// more instructions, `ended` 0.7 % (bench: coroutine/).
#[inline(always)]
fn run_entered(head: &Head, task: Pin<&dyn Coroutine>) -> bool {
    if head.stage.get() != Stage::Suspended {
        head.again.set(true);
        return false;
    }
    head.stage.set(Stage::Running);
    head.again.set(false);
    let waker = match head.own_waker().or_else(|| WakerHandle::borrow(&head.reactor)) {
        Some(waker) => waker,
        None => WakerHandle::new(head.reactor.as_ref(), registry::wake),
    };
    if poll(head, task, &waker).is_ready() {
        ended(head, waker);
        return true;
    }
    if head.again.get() {
        return run_again(head, task, waker);
    }
    suspended(head, waker)
}

/// Polls again, because an awaited Deferred became ready during the poll.
#[cold]
fn run_again(head: &Head, task: Pin<&dyn Coroutine>, waker: Rc<WakerHandle>) -> bool {
    while head.again.replace(false) {
        waker.clear_woken();
        if poll(head, task, &waker).is_ready() {
            ended(head, waker);
            return true;
        }
    }
    suspended(head, waker)
}

/// Suspends the coroutine after a poll. Returns `true` if it has ended, because it cannot wait.
#[inline]
fn suspended(head: &Head, waker: Rc<WakerHandle>) -> bool {
    if head.waits_for_deferreds_only(&waker) {
        head.stage.set(Stage::Suspended);
        waker.return_to_cache(&head.reactor);
        return false;
    }
    suspended_or_ended(waker)
}

/// Like [`suspended`], for a coroutine that does not only wait for Deferreds.
#[cold]
fn suspended_or_ended(waker: Rc<WakerHandle>) -> bool {
    let this = current::coroutine().expect("the caller has made the coroutine the current one");
    match suspend(&this, waker) {
        Ok(()) => false,
        Err(why) => {
            end(&this, why);
            true
        }
    }
}

/// Marks the coroutine as ended, removes it from the registries, and returns its waker.
#[inline(always)]
fn ended(head: &Head, waker: Rc<WakerHandle>) {
    head.stage.set(Stage::Ended);
    if head.has_cold.get() {
        head.unregister();
    } else if !waker.is_cloned() {
        waker.clear_woken();
        waker.return_to_cache(&head.reactor);
    }
}

/// Polls the coroutine once. A panic is its result.
#[inline]
fn poll(head: &Head, task: Pin<&dyn Coroutine>, waker: &WakerHandle) -> Poll<()> {
    let waker = waker.waker();
    head.waker.set((waker.data(), Some(waker.vtable())));
    let polled = catch_unwind(AssertUnwindSafe(|| task.poll(&mut Context::from_waker(waker))));
    polled.unwrap_or_else(|payload| fail(task, payload))
}

/// Makes a panic the result of the coroutine.
#[cold]
fn fail(task: Pin<&dyn Coroutine>, payload: Box<dyn Any + Send>) -> Poll<()> {
    let _ = discard(task); // the first panic is reported
    task.fail(Panicked::new(payload).into());
    Poll::Ready(())
}

/// Suspends a coroutine that does not wait for Deferreds only. Returns the error with which it must
/// end if it cannot wait.
#[cold]
fn suspend(task: &Pin<Rc<dyn Coroutine>>, waker: Rc<WakerHandle>) -> Result<(), BuiltinError> {
    let head = task.head();
    let alone = head.awaited.is_empty();
    let end = head.cold().end.take();
    match end {
        Some(BuiltinError::Cancelled(why)) if !alone => {
            head.awaited.all().iter().for_each(|handle| handle.cancel_soon(&why));
        }
        Some(why) => return Err(why),
        None => {}
    }
    if alone && head.reactor.is_none() && !waker.is_woken() {
        return Err(NoReactor::new().into());
    }
    if alone || waker.is_cloned() {
        let key = register(task)?;
        if waker.is_cloned() {
            waker.set_owner(key);
            head.cold().waker = Some(waker.clone());
        }
    }
    head.stage.set(Stage::Suspended);
    if waker.is_woken() {
        wake(task);
    }
    if head.cold().waker.is_none() {
        waker.clear_woken();
        waker.return_to_cache(&head.reactor);
    }
    Ok(())
}

/// Registers the coroutine for wakers and for the closing of its reactor. Returns its key.
fn register(task: &Pin<Rc<dyn Coroutine>>) -> Result<u64, BuiltinError> {
    let head = task.head();
    let known = head.cold().key;
    if let Some(key) = known {
        return Ok(key);
    }
    let key = registry::new_key();
    if let Some(reactor) = &head.reactor {
        let key = reactor.keep(AtClose(task.clone()), None).ok_or_else(Abandoned::reactor_closed)?;
        head.cold().reactor_key = Some(key);
    }
    head.cold().key = Some(key);
    registry::insert(key, task.clone());
    Ok(key)
}

/// Returns the canceller of the coroutine's Deferred.
fn canceller(task: Pin<Rc<dyn Coroutine>>) -> impl Fn(&Cancelled) + Clone {
    move |why| cancel(&task, why)
}

/// Handles a cancel of the coroutine's Deferred.
fn cancel(task: &Pin<Rc<dyn Coroutine>>, why: &Cancelled) {
    let head = task.head();
    match head.stage.get() {
        Stage::Running => head.cold().end = Some(why.clone().into()),
        Stage::Suspended if head.awaited.is_empty() => end_soon(task, why.clone().into()),
        Stage::Suspended => head.awaited.all().iter().for_each(|handle| handle.pass_cancel(why)),
        Stage::Ended => {}
    }
}

/// Queues the coroutine after a wake-up. If it is being polled now, that poll checks for wake-ups
/// at its end.
pub(super) fn wake(task: &Pin<Rc<dyn Coroutine>>) {
    let head = task.head();
    if head.stage.get() == Stage::Suspended {
        ready_queue::push(task.clone().into_resume(), head.reactor.is_some());
        if let Some(reactor) = &head.reactor {
            reactor.wake();
        }
    }
}

/// Begins a wait while there is another one.
#[cold]
fn wait_for_another(task: Pin<Rc<dyn Coroutine>>, handle: &Handle) -> Registered {
    match task.head().awaited.begin(handle.clone()) {
        None => Registered::Own,
        Some(wait) => {
            handle.push_waiting(task.into_resume(), wait);
            Registered::Done
        }
    }
}

/// Ends the coroutine with `Abandoned`, because its reactor is closed.
pub(super) fn abandon(task: &Pin<Rc<dyn Coroutine>>) {
    match task.head().stage.get() {
        Stage::Suspended => end_soon(task, Abandoned::reactor_closed().into()),
        Stage::Running => task.head().cold().end = Some(Abandoned::reactor_closed().into()),
        Stage::Ended => {}
    }
}

/// Ends the coroutine with `why` after the callback that runs now.
fn end_soon(task: &Pin<Rc<dyn Coroutine>>, why: BuiltinError) {
    task.head().stage.set(Stage::Ended);
    let task = task.clone();
    call_soon(move || {
        end(&task, why);
        task.as_ref().finish()
    });
}

/// Drops the suspended coroutine. Its result is then `why`, or the panic of a destructor.
#[cold]
fn end(task: &Pin<Rc<dyn Coroutine>>, why: BuiltinError) {
    task.head().stage.set(Stage::Ended);
    let _entered = task.head().context.enter();
    let why = discard(task.as_ref()).map_or(why, BuiltinError::from);
    task.as_ref().fail(why);
    task.head().unregister();
}

/// Drops the future. Returns the panic of a destructor, if there is one.
#[cold]
fn discard(task: Pin<&dyn Coroutine>) -> Option<Panicked> {
    let dropped = catch_unwind(AssertUnwindSafe(|| task.discard()));
    dropped.err().map(Panicked::new)
}

impl Head {
    /// Returns `true` if the coroutine is being polled with this waker.
    #[inline]
    pub(super) fn is_polled_with(&self, waker: &Waker) -> bool {
        let (data, vtable) = self.waker.get();
        data == waker.data() && vtable.is_some_and(|vtable| ptr::eq(vtable, waker.vtable()))
    }

    #[inline]
    fn waits_for_deferreds_only(&self, waker: &WakerHandle) -> bool {
        !self.awaited.is_empty() && !self.has_cold.get() && !waker.is_cloned() && !waker.is_woken()
    }

    fn cold(&self) -> RefMut<'_, Cold> {
        self.has_cold.set(true);
        RefMut::map(self.cold.borrow_mut(), |cold| &mut **cold.get_or_insert_default())
    }

    #[inline]
    fn own_waker(&self) -> Option<Rc<WakerHandle>> {
        if self.has_cold.get() { self.cold_waker() } else { None }
    }

    #[cold]
    fn cold_waker(&self) -> Option<Rc<WakerHandle>> {
        let waker = self.cold.borrow().as_ref()?.waker.clone();
        waker.inspect(|waker| waker.clear_woken())
    }

    /// Removes the coroutine from the registries.
    #[cold]
    fn unregister(&self) {
        self.has_cold.set(false);
        let Some(cold) = self.cold.take() else { return };
        if let Some(key) = cold.key {
            registry::remove(key);
        }
        if let (Some(reactor), Some(key)) = (&self.reactor, cold.reactor_key) {
            drop(reactor.claim::<AtClose>(key));
        }
    }
}

impl<T: 'static, E: DeferredError, F: Future<Output = Result<T, E>> + 'static> Resume for Task<F, T, E> {
    fn made_at(&self) -> CallSite {
        self.head.at
    }

    fn own_block(&self) -> usize {
        self.head.awaited.own()
    }

    fn resume(self: Pin<Rc<Self>>, wait: u64) -> Option<Fired> {
        self.end_wait(wait);
        if run_current(&self) { self.as_ref().finish() } else { None }
    }

    #[inline]
    fn end_wait(&self, wait: u64) {
        self.head.awaited.end(wait);
    }
}

impl<T: 'static, E: DeferredError, F: Future<Output = Result<T, E>> + 'static> Coroutine for Task<F, T, E> {
    fn head(&self) -> &Head {
        &self.head
    }

    fn poll(self: Pin<&Self>, context: &mut Context<'_>) -> Poll<()> {
        frame::poll(self.project_ref().frame, context)
    }

    fn discard(self: Pin<&Self>) {
        frame::set_output(self.project_ref().frame, None);
    }

    fn fail(self: Pin<&Self>, why: BuiltinError) {
        frame::set_output(self.project_ref().frame, Some(Err(why.into())));
    }

    fn finish(self: Pin<&Self>) -> Option<Fired> {
        let source = self.source.take()?;
        let result = frame::take_output(self.project_ref().frame)?;
        Some(source.set_result(in_origin(refuse_nested(result), &self.head)))
    }

    fn wait_for(self: Pin<Rc<Self>>, handle: &Handle, waker: &Waker) -> Registered {
        if !self.head.is_polled_with(waker) {
            return Registered::OtherWaker;
        }
        match self.head.awaited.begin_only(handle) {
            Some(wait) => {
                handle.push_waiting(self, wait);
                Registered::Done
            }
            None => wait_for_another(self, handle),
        }
    }

    fn into_resume(self: Pin<Rc<Self>>) -> Pin<Rc<dyn Resume>> {
        self
    }
}

/// The entry in the reactor's registry. Dropping it, which closing the reactor does, ends the
/// coroutine.
struct AtClose(Pin<Rc<dyn Coroutine>>);

impl Drop for AtClose {
    fn drop(&mut self) {
        abandon(&self.0);
    }
}
