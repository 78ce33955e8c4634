//! The execution of operations.

use std::future::{Future, IntoFuture, poll_fn};
use std::mem::forget;
use std::ops::ControlFlow;
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use deferred_core::{
    Backoff, Deferred, Failure, LoopingCall, concurrent, deferred_list, first_completion, first_success, fold, gather,
    gather_cancelling, inline_callbacks, on_unhandled, race, repeat_until, scope,
};
use futures::StreamExt as _;
use futures::future::{join, select};

use crate::ledger::Value;
use crate::program::{End, Kind, Many, Op, Stage, Step};
use crate::world::{Leveled, World};

fn millis(time: u64) -> Duration {
    Duration::from_millis(time)
}

/// Calls `f` with the world if it still exists, as callbacks do.
fn of<R>(world: &Weak<World>, f: impl FnOnce(&Rc<World>) -> R) -> Option<R> {
    world.upgrade().map(|world| f(&world))
}

/// Returns `deferred`, or a failed Deferred if it is `None`.
fn or_gone(deferred: Option<Deferred<Value>>) -> Deferred<Value> {
    deferred.unwrap_or_else(|| Deferred::fail(Failure::msg("the program is over")))
}

impl World {
    /// Returns a function that performs the stage at each call.
    fn performing(self: &Rc<Self>, stage: &Stage, level: u64) -> impl FnMut() -> Deferred<Value> + 'static {
        // A function that is called several times must not capture a value whose destructor panics:
        // nothing would catch the panic.
        let stage = Stage { bomb: false, ..stage.clone() };
        let (world, held) = (Rc::downgrade(self), self.held(&stage));
        move || {
            let _held = &held;
            or_gone(of(&world, |world| world.perform(&stage, level)))
        }
    }

    pub(crate) fn play(self: &Rc<Self>, op: &Op) {
        match op {
            Op::New(_) | Op::WithCanceller(..) | Op::Forwarding(..) | Op::Succeed(_) | Op::Fail(_) | Op::Never(_) => {
                self.make(op);
            }
            Op::Add(slot, kind, stage) => self.add(*slot, *kind, stage),
            Op::Many(many, members, slot) => self.combine(*many, members, *slot),
            Op::Coroutine(steps, end, slot) => {
                let level = self.high();
                let coroutine = coroutine(Rc::downgrade(self), steps.clone(), *end, level);
                self.put(*slot, level, inline_callbacks(coroutine));
            }
            Op::Scope(..) | Op::AddToScope(..) | Op::Concurrent(..) | Op::Fold(..) | Op::RepeatUntil(..) => {
                self.nest(op)
            }
            Op::Share(_) | Op::Observe(..) | Op::DropShared(_) | Op::Shield(_) => self.share(op),
            Op::Acquire(..) | Op::TryAcquire(..) | Op::Release(_) | Op::DropPermit(_) | Op::RunLocked(..) => {
                self.lock(op);
            }
            Op::Put(_) | Op::PutWait(..) | Op::Get(..) | Op::TryGet(_) | Op::CloseQueue(_) => self.queue(op),
            Op::Stream(_) | Op::PollStream(_) | Op::DropStream(_) => self.stream(op),
            Op::Enter(_) | Op::DropPass(_) | Op::CloseGate(_) | Op::RunInGate(..) => self.gate(op),
            Op::Poll(_) | Op::PollAgain(_) | Op::DropWait(_) => self.wait(op),
            Op::Forget(kind, slot) => self.forget(*kind, *slot),
            _ if self.fire(op) => {}
            _ => self.pass_time(op),
        }
    }

    fn forget(&self, kind: usize, slot: usize) {
        match kind {
            0 => forget(self.permits.take(slot)),
            1 => forget(self.passes.take(slot)),
            2 => forget(self.resolvers.take(slot)),
            3 => forget(self.pauses.take(slot)),
            4 => forget(self.waits.take(slot)),
            5 => forget(self.streams.take(slot)),
            6 => forget(self.deferreds.take(slot)),
            7 => forget(self.shared.take(slot)),
            8 => forget(self.scopes.take(slot)),
            9 => forget(self.loops.take(slot)),
            10 => forget(self.tasks.take(slot)),
            _ => forget(self.calls.take(slot)),
        }
    }

    fn make(self: &Rc<Self>, op: &Op) {
        let value = || self.ledger.value();
        match op {
            Op::New(slot) => {
                let level = self.low();
                let (deferred, resolver) = Deferred::new();
                self.put(*slot, level, deferred);
                self.resolvers.put(*slot, (Leveled { level, it: resolver }, false));
            }
            Op::WithCanceller(slot, stage) => {
                let level = self.low();
                let (world, called) = (Rc::downgrade(self), stage.clone());
                // A canceller has no stage that would catch the panic of a destructor.
                let held = self.held(&Stage { bomb: false, ..stage.clone() });
                let (deferred, resolver) = Deferred::with_canceller(move || {
                    let _held = &held;
                    let value = of(&world, |world| {
                        world.run(&called.body);
                        match called.end {
                            End::Value => Some(Ok(world.ledger.value())),
                            End::Error => Some(Err(Failure::msg("of a canceller"))),
                            End::Panic => panic!("of a canceller"),
                            End::Slot(_) => None,
                        }
                    });
                    value.flatten()
                });
                self.put(*slot, level, deferred);
                self.resolvers.put(*slot, (Leveled { level, it: resolver }, false));
            }
            Op::Forwarding(slot, body) => {
                let level = self.low();
                let (world, body) = (Rc::downgrade(self), body.clone());
                let (deferred, resolver) = Deferred::with_forwarding_canceller(move |_| {
                    of(&world, |world| world.run(&body));
                });
                self.put(*slot, level, deferred);
                self.resolvers.put(*slot, (Leveled { level, it: resolver }, true));
            }
            Op::Succeed(slot) => self.put(*slot, self.low(), Deferred::succeed(value())),
            Op::Fail(slot) => self.put(*slot, self.low(), Deferred::fail(Failure::msg("of the program"))),
            Op::Never(slot) => self.put(*slot, self.low(), Deferred::never().map(|never| match never {})),
            _ => {}
        }
    }

    fn fire(self: &Rc<Self>, op: &Op) -> bool {
        match op {
            Op::Fire(slot, true) => {
                if let Some((resolver, _)) = self.resolvers.take(*slot) {
                    resolver.it.callback(self.ledger.value());
                }
            }
            Op::Fire(slot, false) => {
                if let Some((resolver, _)) = self.resolvers.take(*slot) {
                    resolver.it.errback(Failure::msg("fired"));
                }
            }
            Op::DropResolver(slot) => drop(self.resolvers.take(*slot)),
            Op::Chain(from, to) => {
                if let Some((resolver, forwards)) = self.resolvers.take(*to) {
                    match self.below(*from, resolver.level) {
                        Some(deferred) => deferred.chain_deferred(resolver.it),
                        None => self.resolvers.put(*to, (resolver, forwards)),
                    }
                }
            }
            Op::Cancel(slot) => self.cancel(*slot),
            Op::TakeHandle(slot) => {
                self.deferreds.with(*slot, |deferred| self.cancels.put(*slot, deferred.it.cancel_handle()));
            }
            Op::CancelBy(slot) => self.cancels.with(*slot, |handle| handle.cancel()),
            Op::Pause(slot) => self.deferreds.with(*slot, |deferred| self.pauses.put(*slot, deferred.it.pause())),
            Op::Unpause(slot) => {
                if let Some(pause) = self.pauses.take(*slot) {
                    pause.unpause();
                }
            }
            Op::DropPause(slot) => drop(self.pauses.take(*slot)),
            Op::Take(slot) => {
                if let Some(Leveled { level, it }) = self.deferreds.take(*slot) {
                    match it.try_take() {
                        Ok(result) => drop(result),
                        Err(it) => self.deferreds.put(*slot, Leveled { level, it }),
                    }
                }
            }
            Op::Peek(slot) => self.deferreds.with(*slot, |deferred| {
                if deferred.it.peek().is_some() != deferred.it.is_ready() {
                    self.ledger.problem("peek and is_ready disagree");
                }
            }),
            Op::Drop(slot) => drop(self.deferreds.take(*slot)),
            Op::Wake(slot) => {
                if let Some(waker) = self.wakers.take(*slot) {
                    waker.wake();
                }
            }
            Op::Hook(slot) => {
                self.hooks.put(*slot, on_unhandled(|_| drop(Deferred::<u32>::fail(Failure::msg("again")))))
            }
            Op::DropHook(slot) => drop(self.hooks.take(*slot)),
            _ => return false,
        }
        true
    }

    fn add(self: &Rc<Self>, slot: usize, kind: Kind, stage: &Stage) {
        let Some(Leveled { level, it: deferred }) = self.deferreds.take(slot) else { return };
        let (world, called, held) = (Rc::downgrade(self), stage.clone(), self.held(stage));
        let ledger = self.ledger.clone();
        let perform = move |held| or_gone(of(&world, |world| world.perform_holding(&called, level, held)));
        let added = match kind {
            Kind::Callback => deferred.add_callback(move |value| {
                drop(value);
                perform(held)
            }),
            Kind::Errback => deferred.add_errback(move |_| perform(held)),
            Kind::Both => deferred.add_both(move |result| {
                drop(result);
                perform(held)
            }),
            Kind::Callbacks => {
                let other = self.ledger.value();
                deferred.add_callbacks(move |_| perform(held), move |_| Ok(other))
            }
            Kind::Finally => deferred.add_finally(move || perform(held)),
            Kind::Map => deferred.map(move |value| {
                drop((value, perform(held)));
                ledger.value()
            }),
            Kind::MapErr => deferred.map_err(move |failure| {
                drop(perform(held));
                failure
            }),
        };
        // A callback that ran meanwhile may have filled the slot.
        self.deferreds.put(slot, Leveled { level, it: added });
    }

    fn combine(self: &Rc<Self>, many: Many, members: &[usize], slot: usize) {
        let taken: Vec<_> = members.iter().filter_map(|member| self.deferreds.take(*member)).collect();
        let level = self.above(taken.iter().map(|member| member.level));
        let members = taken.into_iter().map(|member| member.it);
        let ledger = self.ledger.clone();
        let one = move || ledger.value();
        let deferred = match many {
            Many::Gather => gather(members).map_err(Failure::from).map(move |_| one()),
            Many::GatherCancelling => gather_cancelling(members).map_err(Failure::from).map(move |_| one()),
            Many::List => deferred_list(members).map(move |_| one()),
            Many::Race => race(members).map_err(Failure::from).map(|(_, value)| value),
            Many::FirstSuccess => first_success(members).map(move |_| one()),
            Many::FirstCompletion => first_completion(members).map_err(Failure::from).map(|(_, value)| value),
        };
        self.put(slot, level, deferred);
    }

    fn nest(self: &Rc<Self>, op: &Op) {
        let level = self.high();
        let value = {
            let ledger = self.ledger.clone();
            move || ledger.value()
        };
        match op {
            Op::Scope(children, end, slot) => {
                let deferred = scope(|scope| {
                    for child in children {
                        if let Some(child) = self.below(*child, level) {
                            scope.add(child);
                        }
                    }
                    self.scopes.put(*slot, Leveled { level, it: scope.clone() });
                    self.end(*end, level)
                });
                self.put(*slot, level, deferred);
            }
            Op::AddToScope(slot, child) => self.scopes.with(*slot, |scope| {
                if let Some(child) = self.below(*child, scope.level) {
                    scope.it.add(child);
                }
            }),
            Op::Concurrent(limit, count, stage, slot) => {
                let mut performs = self.performing(stage, level);
                let all = concurrent(*limit).map(0..*count, move |_| performs());
                self.put(*slot, level, all.map_err(Failure::from).map(move |_| value()));
            }
            Op::Fold(count, stage, slot) => {
                let mut performs = self.performing(stage, level);
                self.put(*slot, level, fold(0..*count, value(), move |_, _| performs()));
            }
            Op::RepeatUntil(count, stage, slot) => {
                let mut performs = self.performing(stage, level);
                let mut left = *count;
                let repeats = repeat_until(move || {
                    let last = left == 0;
                    left = left.saturating_sub(1);
                    performs()
                        .map(move |value| if last { ControlFlow::Break(value) } else { ControlFlow::Continue(()) })
                });
                self.put(*slot, level, repeats);
            }
            _ => {}
        }
    }

    fn share(self: &Rc<Self>, op: &Op) {
        match op {
            Op::Share(slot) => {
                if let Some(Leveled { level, it }) = self.deferreds.take(*slot) {
                    self.shared.put(*slot, Leveled { level, it: it.share() });
                }
            }
            Op::Observe(slot, to) => {
                let mut observed = None;
                self.shared.with(*slot, |shared| observed = Some((shared.level, shared.it.observe())));
                if let Some((level, deferred)) = observed {
                    self.put(*to, self.above([level]), deferred);
                }
            }
            Op::DropShared(slot) => drop(self.shared.take(*slot)),
            Op::Shield(slot) => {
                if let Some(Leveled { level, it }) = self.deferreds.take(*slot) {
                    self.put(*slot, self.above([level]), it.shield());
                }
            }
            _ => {}
        }
    }

    fn lock(self: &Rc<Self>, op: &Op) {
        match op {
            Op::Acquire(lock, count, stage, slot) => {
                let lock = &self.locks[lock % 2];
                let level = self.low();
                let (world, called, held) = (Rc::downgrade(self), stage.clone(), self.held(stage));
                let to = *slot;
                let acquired = lock.acquire_many((*count).min(lock.limit())).add_callback(move |permit| {
                    or_gone(of(&world, |world| {
                        world.permits.put(to, permit);
                        world.perform_holding(&called, level, held)
                    }))
                });
                self.put(*slot, level, acquired);
            }
            Op::TryAcquire(lock, slot) => {
                if let Some(permit) = self.locks[lock % 2].try_acquire(1) {
                    self.permits.put(*slot, permit);
                }
            }
            Op::Release(slot) => {
                if let Some(permit) = self.permits.take(*slot) {
                    permit.release();
                }
            }
            Op::DropPermit(slot) => drop(self.permits.take(*slot)),
            Op::RunLocked(lock, stage, slot) => {
                let level = self.high();
                let performs = self.performing(stage, level);
                self.put(*slot, level, self.locks[lock % 2].run(performs));
            }
            _ => {}
        }
        for lock in &self.locks {
            if lock.available() > lock.limit() {
                self.ledger.problem(format!("more permits than there are: {lock:?}"));
            }
        }
    }

    fn queue(self: &Rc<Self>, op: &Op) {
        match op {
            Op::Put(queue) => drop(self.queues[queue % 3].put(self.ledger.value())),
            Op::PutWait(queue, slot) => {
                let ledger = self.ledger.clone();
                let put = self.queues[queue % 3].put_wait(self.ledger.value()).map(move |()| ledger.value());
                self.put(*slot, self.low(), put);
            }
            Op::Get(queue, slot) => {
                let (ledger, queue, ticket) = (self.ledger.clone(), queue % 3, self.ledger.ticket());
                let got = self.queues[queue].get().map(move |value| {
                    ledger.got(queue, ticket, &value);
                    value
                });
                self.put(*slot, self.low(), got);
            }
            Op::TryGet(queue) => {
                let (queue, ticket) = (queue % 3, self.ledger.ticket());
                if let Some(value) = self.queues[queue].try_get() {
                    self.ledger.got(queue, ticket, &value);
                }
            }
            Op::CloseQueue(queue) => self.queues[queue % 3].close(),
            _ => {}
        }
    }

    fn stream(self: &Rc<Self>, op: &Op) {
        match op {
            Op::Stream(slot) => {
                self.ledger.has_no_order(slot % 3);
                self.streams.put(*slot, self.queues[slot % 3].stream());
            }
            Op::PollStream(slot) => self.streams.with(*slot, |stream| {
                drop(stream.poll_next_unpin(&mut Context::from_waker(Waker::noop())));
            }),
            Op::DropStream(slot) => drop(self.streams.take(*slot)),
            _ => {}
        }
    }

    fn gate(self: &Rc<Self>, op: &Op) {
        match op {
            Op::Enter(slot) => {
                if let Ok(pass) = self.gate.enter() {
                    self.passes.put(*slot, pass);
                }
            }
            Op::DropPass(slot) => drop(self.passes.take(*slot)),
            Op::CloseGate(slot) => {
                let ledger = self.ledger.clone();
                self.put(*slot, self.high(), self.gate.close().map(move |()| ledger.value()));
            }
            Op::RunInGate(stage, slot) => {
                let level = self.high();
                let performs = self.performing(stage, level);
                self.put(*slot, level, self.gate.run(performs));
            }
            _ => {}
        }
    }

    fn wait(self: &Rc<Self>, op: &Op) {
        let context = &mut Context::from_waker(Waker::noop());
        match op {
            Op::Poll(slot) => {
                if let Some(Leveled { it, .. }) = self.deferreds.take(*slot) {
                    let mut wait = it.into_future();
                    if Pin::new(&mut wait).poll(context).is_pending() {
                        self.waits.put(*slot, wait);
                    }
                }
            }
            Op::PollAgain(slot) => {
                if let Some(mut wait) = self.waits.take(*slot) {
                    if Pin::new(&mut wait).poll(context).is_pending() {
                        self.waits.put(*slot, wait);
                    }
                }
            }
            Op::DropWait(slot) => drop(self.waits.take(*slot)),
            _ => {}
        }
    }

    fn pass_time(self: &Rc<Self>, op: &Op) {
        let clock = &self.clock;
        match op {
            Op::CallLater(time, stage, slot) => {
                let performs = self.performing(stage, u64::MAX);
                self.calls.put(*slot, clock.call_later(millis(*time), performs));
            }
            Op::CancelCall(slot) => self.calls.with(*slot, |call| _ = call.cancel()),
            Op::DelayCall(slot, time) => self.calls.with(*slot, |call| _ = call.delay(millis(*time))),
            Op::ResetCall(slot, time) => self.calls.with(*slot, |call| _ = call.reset(millis(*time))),
            Op::Advance(time) => clock.advance(millis(*time)),
            Op::AdvanceInSteps(time) => clock.advance_in_steps(millis(*time)),
            Op::Turn => drop(clock.turn(Waker::noop())),
            Op::CloseClock => clock.close(),
            Op::Sleep(time, slot) => {
                let ledger = self.ledger.clone();
                self.put(*slot, self.low(), clock.sleep(millis(*time)).map(move |()| ledger.value()));
            }
            Op::Timeout(slot, time) => {
                if let Some(Leveled { level, it }) = self.deferreds.take(*slot) {
                    self.deferreds.put(*slot, Leveled { level, it: it.add_timeout(millis(*time), clock) });
                }
            }
            Op::StartLooping(time, stage, slot) => {
                let level = self.high();
                let mut performs = self.performing(stage, level);
                let looping = LoopingCall::new(clock, move || performs().map(drop));
                let ledger = self.ledger.clone();
                self.put(*slot, level, looping.start(millis(*time)).map(move |_| ledger.value()));
                self.loops.put(*slot, looping);
            }
            Op::StopLooping(slot) => self.loops.with(*slot, |looping| looping.stop()),
            Op::Cooperate(count, stage, slot) => {
                let level = self.high();
                let mut performs = self.performing(stage, level);
                let work = (0..*count).map(move |_| performs().map(drop));
                self.tasks.put(*slot, Leveled { level, it: self.cooperator.cooperate(work) });
            }
            Op::PauseTask(slot) => self.tasks.with(*slot, |task| _ = task.it.pause()),
            Op::ResumeTask(slot) => self.tasks.with(*slot, |task| _ = task.it.resume()),
            Op::StopTask(slot) => self.tasks.with(*slot, |task| _ = task.it.stop()),
            Op::WhenDone(slot, to) => {
                let mut done = None;
                self.tasks.with(*slot, |task| done = Some(task.it.when_done()));
                if let Some(done) = done {
                    let ledger = self.ledger.clone();
                    self.put(*to, self.high(), done.map(move |()| ledger.value()));
                }
            }
            Op::Retry(attempts, stage, slot) => {
                let level = self.high();
                let mut performs = self.performing(stage, level);
                let backoff = Backoff::new(millis(1)).max_attempts(*attempts as u32).jitter(0.0);
                self.put(*slot, level, clock.retry(backoff, move |_| performs()));
            }
            _ => unreachable!("{op:?} is played elsewhere"),
        }
    }
}

/// Returns a future that is pending once, and then ready.
fn once(f: impl FnOnce(&Waker)) -> impl Future<Output = ()> {
    let mut f = Some(f);
    poll_fn(move |context| match f.take() {
        Some(f) => {
            f(context.waker());
            Poll::Pending
        }
        None => Poll::Ready(()),
    })
}

async fn coroutine(world: Weak<World>, steps: Vec<Step>, end: End, level: u64) -> Result<Value, Failure> {
    for step in steps {
        let Some(here) = world.upgrade() else { break };
        match step {
            Step::Await(slot) => {
                let awaited = here.below(slot, level);
                drop(here);
                if let Some(awaited) = awaited {
                    drop(awaited.await);
                }
            }
            Step::Join(first, second) => {
                let both = (here.below(first, level), here.below(second, level));
                drop(here);
                if let (Some(first), Some(second)) = both {
                    drop(join(first.into_future(), second.into_future()).await);
                }
            }
            Step::Select(first, second) => {
                let both = (here.below(first, level), here.below(second, level));
                drop(here);
                if let (Some(first), Some(second)) = both {
                    drop(select(first.into_future(), second.into_future()).await);
                }
            }
            Step::Do(body) => here.run(&body),
            Step::Yield => {
                drop(here);
                once(Waker::wake_by_ref).await;
            }
            Step::KeepWaker(slot) => {
                drop(here);
                let keeps = world.clone();
                once(move |waker| _ = of(&keeps, |world| world.wakers.put(slot, waker.clone()))).await;
            }
            Step::Locked(lock, body, by_hand) => {
                let acquired = here.locks[lock % 2].acquire();
                drop(here);
                let permit = acquired.await?;
                of(&world, |world| world.run(&body));
                if by_hand {
                    permit.release();
                } else {
                    drop(permit);
                }
            }
            Step::Get(queue) => {
                let value = here.queues[queue % 3].get();
                drop(here);
                let mut value = pin!(value.into_future());
                drop(value.as_mut().await?);
            }
        }
    }
    let ends = of(&world, |world| world.end(end, level));
    or_gone(ends).await
}
