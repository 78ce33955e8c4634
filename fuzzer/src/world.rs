//! The state of a program: slots for each kind of value.
//!
//! No borrow is held while the library is called. Callbacks capture weak references to the world.
//!
//! Deferreds in a cycle of waits wait forever, which is correct. To avoid this, each Deferred has a
//! *level* and waits only for Deferreds of lower levels. A new Deferred gets the next level. A
//! coroutine, a scope and the like get their level before the Deferreds that they wait for are
//! created, so they use levels above [`HIGH`].

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::{Rc, Weak};
use std::task::Waker;

use deferred_core::{
    CancelHandle, Clock, CooperativeTask, Cooperator, Deferred, DeferredQueue, DeferredSemaphore, DelayedCall, Failure,
    Gate, GateGuard, HookGuard, LoopingCall, Pause, Permit, QueueStream, Resolver, Scope, Shared, Wait,
};

use crate::ledger::{Ledger, PanicOnDrop, Value};
use crate::program::{Body, End, Hold, Node, SLOTS, Stage, Style};

const HIGH: u64 = 1 << 32;
/// The maximum depth of nested bodies: a callback on a ready Deferred runs inside the call that
/// adds it.
const DEPTH: u32 = 24;

/// A value with a level.
pub(crate) struct Leveled<X> {
    pub(crate) level: u64,
    pub(crate) it: X,
}

pub(crate) struct Slots<X>([Cell<Option<X>>; SLOTS]);

impl<X> Slots<X> {
    fn new() -> Self {
        Slots([const { Cell::new(None) }; SLOTS])
    }

    pub(crate) fn take(&self, slot: usize) -> Option<X> {
        self.0[slot].take()
    }

    /// Stores `thing` and drops the previous value.
    pub(crate) fn put(&self, slot: usize, thing: X) {
        drop(self.0[slot].replace(Some(thing)));
    }

    /// Calls `f` with the value in the slot, which is taken out meanwhile.
    pub(crate) fn with(&self, slot: usize, f: impl FnOnce(&mut X)) {
        if let Some(mut thing) = self.take(slot) {
            f(&mut thing);
            if let Some(newer) = self.0[slot].replace(Some(thing)) {
                // `f` may have filled the slot meanwhile.
                drop(self.0[slot].replace(Some(newer)));
            }
        }
    }

    fn clear(&self) {
        self.0.iter().for_each(|slot| drop(slot.take()));
    }
}

pub(crate) type Resolving = (Leveled<Resolver<Value>>, bool);

pub(crate) struct World {
    pub(crate) style: Style,
    pub(crate) ledger: Rc<Ledger>,
    without: Rc<HashSet<usize>>,
    pub(crate) fuel: Cell<u32>,
    pub(crate) depth: Cell<u32>,
    next: Cell<u64>,
    pub(crate) clock: Clock,
    pub(crate) cooperator: Cooperator,
    pub(crate) locks: [DeferredSemaphore; 2],
    pub(crate) queues: [DeferredQueue<Value>; 3],
    pub(crate) gate: Gate,
    /// A handle for each Deferred, if all must end.
    handles: RefCell<Vec<CancelHandle>>,
    pub(crate) deferreds: Slots<Leveled<Deferred<Value>>>,
    /// The resolvers, and whether the Deferred has a forwarding canceller, so that only the
    /// resolver ends it.
    pub(crate) resolvers: Slots<Resolving>,
    pub(crate) cancels: Slots<CancelHandle>,
    pub(crate) pauses: Slots<Pause>,
    pub(crate) waits: Slots<Wait<Value>>,
    pub(crate) permits: Slots<Permit>,
    pub(crate) passes: Slots<GateGuard>,
    pub(crate) shared: Slots<Leveled<Shared<Value>>>,
    pub(crate) scopes: Slots<Leveled<Scope>>,
    pub(crate) streams: Slots<QueueStream<Value>>,
    pub(crate) calls: Slots<DelayedCall>,
    pub(crate) loops: Slots<LoopingCall>,
    pub(crate) tasks: Slots<Leveled<CooperativeTask>>,
    pub(crate) wakers: Slots<Waker>,
    pub(crate) hooks: Slots<HookGuard>,
}

impl World {
    pub(crate) fn new(style: Style, without: Rc<HashSet<usize>>) -> Rc<World> {
        let clock = Clock::new();
        Rc::new(World {
            style,
            ledger: Rc::default(),
            without,
            fuel: Cell::new(1500),
            depth: Cell::new(0),
            next: Cell::new(1),
            cooperator: Cooperator::new(&clock),
            clock,
            locks: [1, 3].map(DeferredSemaphore::new),
            queues: [
                DeferredQueue::new(),
                DeferredQueue::with_limits(Some(1), None),
                DeferredQueue::with_limits(Some(0), Some(1)),
            ],
            gate: Gate::new(),
            handles: RefCell::default(),
            deferreds: Slots::new(),
            resolvers: Slots::new(),
            cancels: Slots::new(),
            pauses: Slots::new(),
            waits: Slots::new(),
            permits: Slots::new(),
            passes: Slots::new(),
            shared: Slots::new(),
            scopes: Slots::new(),
            streams: Slots::new(),
            calls: Slots::new(),
            loops: Slots::new(),
            tasks: Slots::new(),
            wakers: Slots::new(),
            hooks: Slots::new(),
        })
    }

    pub(crate) fn low(&self) -> u64 {
        self.next.replace(self.next.get() + 1)
    }

    pub(crate) fn high(&self) -> u64 {
        HIGH + self.low()
    }

    /// Returns a level for a Deferred that waits for Deferreds of these levels.
    pub(crate) fn above(&self, levels: impl IntoIterator<Item = u64>) -> u64 {
        if levels.into_iter().any(|level| level >= HIGH) { self.high() } else { self.low() }
    }

    /// Stores a new Deferred in a slot.
    pub(crate) fn put(&self, slot: usize, level: u64, mut deferred: Deferred<Value>) {
        if self.style.ends {
            self.handles.borrow_mut().push(deferred.cancel_handle());
        }
        // Some levels get no stage that records the end.
        if level % 3 > 0 {
            let ledger = self.ledger.clone();
            ledger.made(level);
            deferred = deferred.add_both(move |result| {
                ledger.ended(level);
                result
            });
        }
        self.deferreds.put(slot, Leveled { level, it: deferred });
    }

    /// Takes the Deferred in the slot if a Deferred of this level may wait for it.
    pub(crate) fn below(&self, slot: usize, level: u64) -> Option<Deferred<Value>> {
        let found = self.deferreds.take(slot)?;
        if found.level < level {
            return Some(found.it);
        }
        self.deferreds.put(slot, found);
        None
    }

    pub(crate) fn cancel(&self, slot: usize) {
        self.deferreds.with(slot, |deferred| deferred.it.cancel());
    }

    /// Performs a stage of a Deferred of this level.
    pub(crate) fn perform(self: &Rc<Self>, stage: &Stage, level: u64) -> Deferred<Value> {
        self.run(&stage.body);
        self.end(stage.end, level)
    }

    /// Like [`perform`](Self::perform), but drops the captures before the result is created,
    /// because a panic of their destructors would leak it.
    pub(crate) fn perform_holding(self: &Rc<Self>, stage: &Stage, level: u64, held: Held) -> Deferred<Value> {
        self.run(&stage.body);
        drop(held);
        self.end(stage.end, level)
    }

    pub(crate) fn end(&self, end: End, level: u64) -> Deferred<Value> {
        match end {
            End::Value => Deferred::succeed(self.ledger.value()),
            End::Error => Deferred::fail(Failure::msg("of the program")),
            End::Panic => panic!("of the program"),
            End::Slot(slot) => self.below(slot, level).unwrap_or_else(|| Deferred::succeed(self.ledger.value())),
        }
    }

    pub(crate) fn run(self: &Rc<Self>, body: &Body) {
        if self.depth.get() >= DEPTH {
            return;
        }
        let depth = Depth(&self.depth);
        depth.0.set(depth.0.get() + 1);
        body.iter().for_each(|node| self.run_one(node));
    }

    pub(crate) fn run_one(self: &Rc<Self>, node: &Node) {
        let Some(left) = self.fuel.get().checked_sub(1) else { return };
        self.fuel.set(left);
        if !self.without.contains(&node.number) {
            self.play(&node.op);
        }
    }

    /// Returns the captures of a stage.
    pub(crate) fn held(self: &Rc<Self>, stage: &Stage) -> Held {
        let thing: Option<Box<dyn Any>> = match stage.holds {
            Hold::Nothing => None,
            Hold::Resolver(slot) => match self.resolvers.take(slot) {
                // The Deferred that waits for it may hold it.
                Some(forwarding @ (_, true)) => {
                    self.resolvers.put(slot, forwarding);
                    None
                }
                found => found.map(|found| Box::new(found) as Box<dyn Any>),
            },
            Hold::Permit(slot) => self.permits.take(slot).map(|found| Box::new(found) as Box<dyn Any>),
            Hold::GateGuard(slot) => self.passes.take(slot).map(|found| Box::new(found) as Box<dyn Any>),
            Hold::Cancels(slot) => Some(Box::new(CancelsOnDrop(Rc::downgrade(self), slot))),
        };
        Held { _value: self.ledger.value(), _thing: thing, _bomb: stage.bomb.then(|| PanicOnDrop) }
    }

    /// Drops everything. Bodies do nothing afterwards.
    pub(crate) fn finish(&self) {
        self.fuel.set(0);
        self.clear();
        if self.style.ends {
            let before = self.handles.take();
            before.iter().for_each(CancelHandle::cancel);
            self.clock.close();
            before.iter().for_each(CancelHandle::cancel);
        } else {
            self.clock.close();
        }
        // Callbacks that ran meanwhile have stored permits and the like.
        self.clear();
        self.deferreds.clear();
        self.clear();
        if self.style.ends {
            for lock in &self.locks {
                if (lock.available(), lock.waiting()) != (lock.limit(), 0) {
                    self.ledger.problem(format!("permits are lost: {lock:?}"));
                }
            }
            if self.gate.count() > 0 {
                self.ledger.problem(format!("a pass is lost: {:?}", self.gate));
            }
        }
    }

    fn clear(&self) {
        self.hooks.clear();
        self.pauses.clear();
        self.waits.clear();
        self.permits.clear();
        self.passes.clear();
        self.resolvers.clear();
        self.streams.clear();
        self.shared.clear();
        self.scopes.clear();
        self.calls.clear();
        self.loops.clear();
        self.tasks.clear();
        self.wakers.clear();
        self.cancels.clear();
    }
}

struct Depth<'a>(&'a Cell<u32>);

impl Drop for Depth<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Captures, which are dropped in this order.
pub(crate) struct Held {
    _value: Value,
    _thing: Option<Box<dyn Any>>,
    _bomb: Option<PanicOnDrop>,
}

struct CancelsOnDrop(Weak<World>, usize);

impl Drop for CancelsOnDrop {
    fn drop(&mut self) {
        if let Some(world) = self.0.upgrade() {
            world.cancel(self.1);
        }
    }
}
