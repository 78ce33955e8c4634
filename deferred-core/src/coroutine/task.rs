//! A coroutine that is suspended: what resumes, cancels and ends it.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::current;
use super::wakes::{self, Lent};
use crate::deferred::Deferred;
use crate::engine::woken::{self, Woken};
use crate::engine::{Chain, Firing, Frame, Handle, Source, call_soon, inside};
use crate::error::{Abandoned, Cancelled, Fault, Interrupt, NoReactor, Panicked};
use crate::reactor::Reactor;

/// A coroutine, whatever its types.
pub(super) trait Coroutine: Woken {
    fn shared(&self) -> &Shared;

    /// It was woken: has it polled soon, unless it is being polled; then who does that sees to it.
    fn woken(self: Pin<Rc<Self>>);

    /// Its reactor is closed.
    fn abandon(self: Pin<Rc<Self>>);
}

/// What does not depend on its types.
pub(super) struct Shared {
    stage: Cell<Stage>,
    /// A Deferred that it waits for has its result, which came during a poll.
    again: Cell<bool>,
    /// A cancel that came during a poll, or the end of its reactor.
    end: Cell<Option<Interrupt>>,
    awaited: RefCell<Awaited>,
    reactor: Option<Reactor>,
    key: Cell<u64>,
    /// A waker that somebody has kept.
    lent: Cell<Option<Lent>>,
    /// By which the reactor keeps it.
    kept: Cell<Option<u64>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Suspended,
    /// Is being polled.
    Running,
    Ended,
}

/// The Deferreds that it waits for, in the order in which it has begun to.
#[derive(Default)]
struct Awaited {
    made: u64,
    /// Most wait for one at a time.
    first: Option<(u64, Handle)>,
    more: Vec<(u64, Handle)>,
}

impl Awaited {
    fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    fn remove(&mut self, number: u64) -> Option<Handle> {
        if self.first.as_ref().is_some_and(|(first, _)| *first == number) {
            let next = if self.more.is_empty() { None } else { Some(self.more.remove(0)) };
            return std::mem::replace(&mut self.first, next).map(|(_, handle)| handle);
        }
        let index = self.more.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(self.more.remove(index).1)
    }
}

impl Shared {
    /// The number of a wait that begins now.
    pub(super) fn begin_wait(&self) -> u64 {
        let mut awaited = self.awaited.borrow_mut();
        awaited.made += 1;
        awaited.made
    }

    /// What that wait waits for.
    pub(super) fn awaits(&self, number: u64, handle: Handle) {
        let mut awaited = self.awaited.borrow_mut();
        match awaited.first {
            None => awaited.first = Some((number, handle)),
            Some(_) => awaited.more.push((number, handle)),
        }
    }

    /// That wait is over. Says whether it was not yet.
    pub(super) fn end_wait(&self, number: u64) -> bool {
        let handle = self.awaited.borrow_mut().remove(number);
        handle.is_some() // and dropped behind the borrow
    }

    fn awaits_nothing(&self) -> bool {
        self.awaited.borrow().is_empty()
    }

    /// Cancels all that it waits for, by `how`.
    fn cancel_awaited(&self, why: &Cancelled) {
        let awaited = self.awaited.borrow();
        // They are cancelled after this, so the borrow does no harm.
        for (_, handle) in awaited.first.iter().chain(&awaited.more) {
            handle.pass_cancel(why);
        }
    }
}

pin_project! {
    struct Task<F, T, E: Fault> {
        #[pin]
        frame: Frame<F>,
        // Fires its Deferred. (This macro takes no attributes here.)
        source: Cell<Option<Source<T, E>>>,
        shared: Shared,
    }
}

/// What became of a coroutine that went on.
enum Went<T, E> {
    Pending,
    Ended(Result<T, E>),
}

pub(super) fn start<T, E, F>(coroutine: F, at: &'static Location<'static>) -> Deferred<T, E>
where
    T: 'static,
    E: Fault,
    F: Future<Output = Result<T, E>> + 'static,
{
    let shared = Shared {
        stage: Cell::new(Stage::Suspended),
        again: Cell::new(false),
        end: Cell::new(None),
        awaited: RefCell::default(),
        reactor: Reactor::current(),
        key: Cell::new(0),
        lent: Cell::new(None),
        kept: Cell::new(None),
    };
    let task = Rc::pin(Task { frame: Frame::new(coroutine), source: Cell::new(None), shared });
    inside(|| match task.clone().go_on() {
        Went::Ended(result) => Deferred::ready(result, at, at),
        Went::Pending => {
            let (chain, source) = Chain::pair(at);
            let forward = task.clone();
            source.set_forwarding(move |why: &Cancelled| forward.clone().cancel(why));
            task.source.set(Some(source));
            Deferred::pending(chain)
        }
    })
}

impl<T: 'static, E: Fault, F: Future<Output = Result<T, E>> + 'static> Task<F, T, E> {
    fn frame(self: &Pin<Rc<Self>>) -> Pin<&Frame<F>> {
        self.as_ref().project_ref().frame
    }

    /// Polls it, as long as that is of use.
    fn go_on(self: Pin<Rc<Self>>) -> Went<T, E> {
        let shared = &self.shared;
        match shared.stage.get() {
            Stage::Suspended => shared.stage.set(Stage::Running),
            Stage::Running => {
                shared.again.set(true);
                return Went::Pending;
            }
            Stage::Ended => return Went::Pending,
        }
        let _entered = shared.reactor.as_ref().and_then(Reactor::enter_unless_current);
        let result = loop {
            shared.again.set(false);
            let lent = shared.lent.take().unwrap_or_else(|| wakes::lend(shared.reactor.as_ref()));
            if shared.key.get() == 0 {
                shared.key.set(wakes::new_key());
            }
            let polled = self.poll(&lent);
            let woken = lent.is_woken();
            let kept = lent.is_kept();
            if kept {
                shared.lent.set(Some(lent));
            } else {
                wakes::give_back(lent, shared.reactor.as_ref());
            }
            match polled {
                Poll::Ready(result) => break result,
                Poll::Pending if shared.again.get() => {}
                Poll::Pending => match self.suspend(woken, kept) {
                    Ok(()) => return Went::Pending,
                    Err(why) => break Err(self.discarded().unwrap_or_else(|| why.into())),
                },
            }
        };
        self.ended();
        Went::Ended(result)
    }

    /// A panic of the coroutine is its result.
    fn poll(self: &Pin<Rc<Self>>, lent: &Lent) -> Poll<Result<T, E>> {
        let waker = lent.begin(self.shared.key.get());
        let _current = current::set(self.clone(), waker);
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let polled = self.frame().poll(&mut Context::from_waker(waker)).expect("nobody else polls it");
            if polled.is_ready() {
                self.frame().discard();
            }
            polled
        }));
        polled.unwrap_or_else(|payload| {
            let _ = self.discarded(); // the first panic is told
            Poll::Ready(Err(Interrupt::from(Panicked::new(payload)).into()))
        })
    }

    /// Drops the frame. Gives the panic of that.
    fn discarded(self: &Pin<Rc<Self>>) -> Option<E> {
        let dropped = catch_unwind(AssertUnwindSafe(|| self.frame().discard()));
        dropped.err().map(|payload| Interrupt::from(Panicked::new(payload)).into())
    }

    /// It waits now. An error if it can wait for nothing.
    fn suspend(self: &Pin<Rc<Self>>, woken: bool, kept: bool) -> Result<(), Interrupt> {
        let shared = &self.shared;
        let alone = shared.awaits_nothing();
        match shared.end.take() {
            Some(Interrupt::Cancelled(why)) if !alone => shared.cancel_awaited(&why),
            Some(why) => return Err(why),
            None => {}
        }
        if kept || alone {
            if alone && !woken && shared.reactor.is_none() {
                return Err(NoReactor::new().into());
            }
            self.remember()?;
        }
        shared.stage.set(Stage::Suspended);
        if woken {
            self.clone().woken();
        }
        Ok(())
    }

    /// Lets wakers reach it, and the end of its reactor.
    fn remember(self: &Pin<Rc<Self>>) -> Result<(), Interrupt> {
        let shared = &self.shared;
        let key = shared.key.get();
        if shared.kept.get().is_some() {
            return Ok(());
        }
        let kept = match &shared.reactor {
            Some(reactor) => reactor.keep(AtClose(key), None).ok_or_else(Abandoned::new)?,
            None => 0,
        };
        shared.kept.set(Some(kept));
        wakes::remember(key, self.clone());
        Ok(())
    }

    fn ended(&self) {
        let shared = &self.shared;
        shared.stage.set(Stage::Ended);
        drop(shared.lent.take());
        if let Some(kept) = shared.kept.take() {
            wakes::forget(shared.key.get());
            if let Some(reactor) = &shared.reactor {
                drop(reactor.claim::<AtClose>(kept));
            }
        }
    }

    /// Its Deferred was cancelled.
    fn cancel(self: Pin<Rc<Self>>, why: &Cancelled) {
        let shared = &self.shared;
        match shared.stage.get() {
            Stage::Running => shared.end.set(Some(why.clone().into())),
            Stage::Suspended if shared.awaits_nothing() => self.end_now(why.clone().into()),
            Stage::Suspended => shared.cancel_awaited(why),
            Stage::Ended => {}
        }
    }

    /// Drops it where it stands, after the callback that runs.
    fn end_now(self: Pin<Rc<Self>>, why: Interrupt) {
        self.shared.stage.set(Stage::Running);
        call_soon(move || {
            let error = self.discarded().unwrap_or_else(|| why.into());
            self.ended();
            self.source.take().map(|source| source.firing(Err(error)))
        });
    }
}

impl<T: 'static, E: Fault, F: Future<Output = Result<T, E>> + 'static> Woken for Task<F, T, E> {
    fn resume(self: Pin<Rc<Self>>) -> Option<Firing> {
        match self.clone().go_on() {
            Went::Pending => None,
            Went::Ended(result) => self.source.take().map(|source| source.firing(result)),
        }
    }
}

impl<T: 'static, E: Fault, F: Future<Output = Result<T, E>> + 'static> Coroutine for Task<F, T, E> {
    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn woken(self: Pin<Rc<Self>>) {
        if self.shared.stage.get() == Stage::Suspended {
            let reactor = self.shared.reactor.clone();
            woken::wake(self, reactor.is_some());
            if let Some(reactor) = reactor {
                reactor.wake();
            }
        }
    }

    fn abandon(self: Pin<Rc<Self>>) {
        match self.shared.stage.get() {
            Stage::Suspended => self.end_now(Abandoned::new().into()),
            Stage::Running => self.shared.end.set(Some(Abandoned::new().into())),
            Stage::Ended => {}
        }
    }
}

/// What a reactor keeps of a coroutine that a waker may wake: dropped, it ends it.
struct AtClose(u64);

impl Drop for AtClose {
    fn drop(&mut self) {
        if let Some(coroutine) = wakes::find(self.0) {
            coroutine.abandon();
        }
    }
}
