//! The type of random programs, and their generation.
//!
//! A program is a tree: callbacks, cancellers, coroutines and calls have bodies. Each operation has
//! a number, by which the shrinker leaves it out.

use std::rc::Rc;

use fastrand::Rng;

/// The number of slots for each kind of value.
pub(crate) const SLOTS: usize = 8;

/// Operations that run one after the other.
pub(crate) type Body = Rc<[Node]>;

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) number: usize,
    pub(crate) op: Op,
}

/// The body of a callback, its result and its captures.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    pub(crate) body: Body,
    pub(crate) end: End,
    /// The values that the callback captures besides its number.
    pub(crate) holds: Hold,
    /// A capture whose destructor panics.
    pub(crate) bomb: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Value,
    Error,
    Panic,
    /// The Deferred that is in this slot when the callback ends.
    Slot(usize),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Hold {
    Nothing,
    Resolver(usize),
    Permit(usize),
    GateGuard(usize),
    /// A value whose destructor cancels the Deferred in this slot.
    Cancels(usize),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Callback,
    Errback,
    Both,
    Callbacks,
    Finally,
    Map,
    MapErr,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Many {
    Gather,
    GatherCancelling,
    List,
    Race,
    FirstSuccess,
    FirstCompletion,
}

/// A step of a coroutine.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Await(usize),
    /// Awaits both, or the first of them.
    Join(usize, usize),
    Select(usize, usize),
    Do(Body),
    Yield,
    /// Waits until `Op::Wake` wakes this waker.
    KeepWaker(usize),
    /// Acquires a permit, runs the body, and releases the permit by a drop or explicitly.
    Locked(usize, Body, bool),
    Get(usize),
}

#[derive(Clone, Debug)]
pub(crate) enum Op {
    New(usize),
    WithCanceller(usize, Stage),
    Forwarding(usize, Body),
    Succeed(usize),
    Fail(usize),
    Never(usize),
    Fire(usize, bool),
    DropResolver(usize),
    Add(usize, Kind, Stage),
    Chain(usize, usize),
    Cancel(usize),
    TakeHandle(usize),
    CancelBy(usize),
    Pause(usize),
    Unpause(usize),
    DropPause(usize),
    Take(usize),
    Peek(usize),
    Drop(usize),
    Poll(usize),
    PollAgain(usize),
    DropWait(usize),
    Many(Many, Vec<usize>, usize),
    Share(usize),
    Observe(usize, usize),
    DropShared(usize),
    Shield(usize),
    Scope(Vec<usize>, End, usize),
    AddToScope(usize, usize),
    Concurrent(usize, usize, Stage, usize),
    Fold(usize, Stage, usize),
    RepeatUntil(usize, Stage, usize),
    Acquire(usize, usize, Stage, usize),
    TryAcquire(usize, usize),
    Release(usize),
    DropPermit(usize),
    RunLocked(usize, Stage, usize),
    Put(usize),
    PutWait(usize, usize),
    Get(usize, usize),
    TryGet(usize),
    Stream(usize),
    PollStream(usize),
    DropStream(usize),
    CloseQueue(usize),
    Enter(usize),
    DropPass(usize),
    CloseGate(usize),
    RunInGate(Stage, usize),
    CallLater(u64, Stage, usize),
    CancelCall(usize),
    DelayCall(usize, u64),
    ResetCall(usize, u64),
    Advance(u64),
    AdvanceInSteps(u64),
    Turn,
    Sleep(u64, usize),
    Timeout(usize, u64),
    StartLooping(u64, Stage, usize),
    StopLooping(usize),
    Cooperate(usize, Stage, usize),
    PauseTask(usize),
    ResumeTask(usize),
    StopTask(usize),
    WhenDone(usize, usize),
    Retry(usize, Stage, usize),
    Coroutine(Vec<Step>, End, usize),
    Wake(usize),
    Hook(usize),
    DropHook(usize),
    CloseClock,
    /// Leaks the value in a slot of this kind.
    Forget(usize, usize),
}

/// The features that a program may use, drawn for each program, so that some programs are simple
/// and some use everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    /// If `true`, everything is cancelled and closed at the end, so that every Deferred must end.
    pub(crate) ends: bool,
    pub(crate) panics: bool,
    /// If `true`, guards and similar values are leaked, so that some Deferreds never end.
    forgets: bool,
    /// If `true`, permits are released only by drops, and nothing is paused.
    plain: bool,
    time: bool,
    coroutines: bool,
}

pub(crate) struct Program {
    pub(crate) style: Style,
    pub(crate) body: Body,
    /// The number of operations.
    pub(crate) length: usize,
}

/// The number of kinds of values that can be leaked.
pub(crate) const KINDS: usize = 12;

pub(crate) fn generate(rng: &mut Rng) -> Program {
    let forgets = rng.u8(..8) == 0;
    let style = Style {
        ends: !forgets && rng.u8(..4) > 0,
        forgets,
        panics: rng.bool(),
        plain: rng.u8(..4) == 0,
        time: rng.bool(),
        coroutines: rng.bool(),
    };
    let length = rng.usize(4..40);
    let mut maker = Maker { rng, style, next: 0, left: 120 };
    let body = maker.body_of(length, 0);
    Program { style, body, length: maker.next }
}

struct Maker<'a> {
    rng: &'a mut Rng,
    style: Style,
    next: usize,
    /// The remaining budget of operations, at any depth.
    left: usize,
}

impl Maker<'_> {
    fn body(&mut self, depth: usize) -> Body {
        let most = [6, 4, 2, 1].get(depth).copied().unwrap_or(0);
        let length = if self.rng.bool() { 0 } else { self.rng.usize(0..=most) };
        self.body_of(length, depth)
    }

    fn body_of(&mut self, length: usize, depth: usize) -> Body {
        let mut nodes = Vec::new();
        for _ in 0..length {
            if self.left == 0 {
                break;
            }
            self.left -= 1;
            let number = self.next;
            self.next += 1;
            nodes.push(Node { number, op: self.op(depth + 1) });
        }
        nodes.into()
    }

    /// Draws a slot, mostly one of the first, so that operations meet the same values.
    fn slot(&mut self) -> usize {
        self.rng.usize(..SLOTS).min(self.rng.usize(..SLOTS))
    }

    fn slots(&mut self) -> Vec<usize> {
        (0..self.rng.usize(..4)).map(|_| self.slot()).collect()
    }

    fn end(&mut self) -> End {
        match self.rng.u8(..10) {
            0..=4 => End::Value,
            5..=6 => End::Error,
            7 if self.style.panics => End::Panic,
            _ => End::Slot(self.slot()),
        }
    }

    fn hold(&mut self) -> Hold {
        match self.rng.u8(..12) {
            0 | 1 => Hold::Resolver(self.slot()),
            2 | 3 => Hold::Permit(self.slot()),
            4 => Hold::GateGuard(self.slot()),
            5 => Hold::Cancels(self.slot()),
            _ => Hold::Nothing,
        }
    }

    fn stage(&mut self, depth: usize) -> Stage {
        let bomb = self.style.panics && self.rng.u8(..12) == 0;
        Stage { body: self.body(depth), end: self.end(), holds: self.hold(), bomb }
    }

    fn steps(&mut self, depth: usize) -> Vec<Step> {
        (0..self.rng.usize(..5))
            .map(|_| match self.rng.u8(..14) {
                0..=3 => Step::Await(self.slot()),
                4 => Step::Join(self.slot(), self.slot()),
                5 => Step::Select(self.slot(), self.slot()),
                6 | 7 => Step::Do(self.body(depth)),
                8 => Step::Yield,
                9 => Step::KeepWaker(self.slot()),
                10 | 11 => Step::Get(self.slot()),
                _ => Step::Locked(self.slot(), self.body(depth), !self.style.plain && self.rng.bool()),
            })
            .collect()
    }

    fn op(&mut self, depth: usize) -> Op {
        loop {
            if let Some(op) = self.draw(depth) {
                return op;
            }
        }
    }

    /// Draws an operation; returns `None` if this program does not use its kind.
    fn draw(&mut self, depth: usize) -> Option<Op> {
        Some(match self.rng.u8(..100) {
            0..=3 if self.style.forgets => Op::Forget(self.rng.usize(..KINDS), self.slot()),
            0..=15 => self.making(depth),
            16..=33 => self.firing(),
            34..=51 => self.adding(depth),
            52..=63 => self.combining(depth),
            64..=79 => self.waiting(depth),
            80..=89 if self.style.time => self.timing(depth),
            90..=98 if self.style.coroutines => self.coroutine(depth),
            99 => match self.rng.u8(..12) {
                0 => Op::CloseClock,
                1..=2 => Op::CloseQueue(self.slot()),
                3 => Op::CloseGate(self.slot()),
                4..=7 => Op::Hook(self.slot()),
                _ => Op::DropHook(self.slot()),
            },
            _ => return None,
        })
    }

    fn making(&mut self, depth: usize) -> Op {
        match self.rng.u8(..12) {
            0..=5 => Op::New(self.slot()),
            6..=7 => Op::WithCanceller(self.slot(), self.stage(depth)),
            8 => Op::Forwarding(self.slot(), self.body(depth)),
            9 => Op::Succeed(self.slot()),
            10 => Op::Fail(self.slot()),
            _ => Op::Never(self.slot()),
        }
    }

    fn firing(&mut self) -> Op {
        match self.rng.u8(..20) {
            0..=7 => Op::Fire(self.slot(), self.rng.u8(..4) > 0),
            8..=9 => Op::DropResolver(self.slot()),
            10..=12 => Op::Cancel(self.slot()),
            13 => Op::TakeHandle(self.slot()),
            14 => Op::CancelBy(self.slot()),
            15 => Op::Take(self.slot()),
            16 => Op::Peek(self.slot()),
            17 => Op::Drop(self.slot()),
            _ if self.style.plain => Op::Drop(self.slot()),
            _ => match self.rng.u8(..3) {
                0 => Op::Pause(self.slot()),
                1 => Op::Unpause(self.slot()),
                _ => Op::DropPause(self.slot()),
            },
        }
    }

    fn adding(&mut self, depth: usize) -> Op {
        let kind = match self.rng.u8(..10) {
            0..=2 => Kind::Callback,
            3 => Kind::Errback,
            4..=5 => Kind::Both,
            6 => Kind::Callbacks,
            7 => Kind::Finally,
            8 => Kind::Map,
            _ => Kind::MapErr,
        };
        match self.rng.u8(..10) {
            0 => Op::Chain(self.slot(), self.slot()),
            1 => Op::Poll(self.slot()),
            2 => Op::PollAgain(self.slot()),
            3 => Op::DropWait(self.slot()),
            _ => Op::Add(self.slot(), kind, self.stage(depth)),
        }
    }

    fn combining(&mut self, depth: usize) -> Op {
        match self.rng.u8(..16) {
            0..=5 => {
                let many = match self.rng.u8(..6) {
                    0 => Many::Gather,
                    1 => Many::GatherCancelling,
                    2 => Many::List,
                    3 => Many::Race,
                    4 => Many::FirstSuccess,
                    _ => Many::FirstCompletion,
                };
                Op::Many(many, self.slots(), self.slot())
            }
            6 => Op::Share(self.slot()),
            7..=8 => Op::Observe(self.slot(), self.slot()),
            9 => Op::DropShared(self.slot()),
            10 => Op::Shield(self.slot()),
            11 => Op::Scope(self.slots(), self.end(), self.slot()),
            12 => Op::AddToScope(self.slot(), self.slot()),
            13 => Op::Concurrent(1 + self.rng.usize(..3), self.rng.usize(..5), self.stage(depth), self.slot()),
            14 => Op::Fold(self.rng.usize(..5), self.stage(depth), self.slot()),
            _ => Op::RepeatUntil(self.rng.usize(..5), self.stage(depth), self.slot()),
        }
    }

    fn waiting(&mut self, depth: usize) -> Op {
        match self.rng.u8(..24) {
            0..=4 => Op::Acquire(self.slot(), 1 + self.rng.usize(..3), self.stage(depth), self.slot()),
            5 => Op::TryAcquire(self.slot(), self.slot()),
            6 if !self.style.plain => Op::Release(self.slot()),
            6..=8 => Op::DropPermit(self.slot()),
            9..=10 => Op::RunLocked(self.slot(), self.stage(depth), self.slot()),
            11..=12 => Op::Put(self.slot()),
            13 => Op::PutWait(self.slot(), self.slot()),
            14..=15 => Op::Get(self.slot(), self.slot()),
            16 => Op::TryGet(self.slot()),
            17 => Op::Stream(self.slot()),
            18 => Op::PollStream(self.slot()),
            19 => Op::DropStream(self.slot()),
            20 => Op::Enter(self.slot()),
            21..=22 => Op::DropPass(self.slot()),
            _ => Op::RunInGate(self.stage(depth), self.slot()),
        }
    }

    fn timing(&mut self, depth: usize) -> Op {
        let time = self.rng.u64(..20);
        match self.rng.u8(..20) {
            0..=2 => Op::CallLater(time, self.stage(depth), self.slot()),
            3 => Op::CancelCall(self.slot()),
            4 => Op::DelayCall(self.slot(), time),
            5 => Op::ResetCall(self.slot(), time),
            6..=8 => Op::Advance(time),
            9 => Op::AdvanceInSteps(time),
            10 => Op::Turn,
            11 => Op::Sleep(time, self.slot()),
            12 => Op::Timeout(self.slot(), time),
            13 => Op::StartLooping(1 + time, self.stage(depth), self.slot()),
            14 => Op::StopLooping(self.slot()),
            15 => Op::Cooperate(self.rng.usize(..5), self.stage(depth), self.slot()),
            16 => match self.rng.u8(..3) {
                0 => Op::PauseTask(self.slot()),
                1 => Op::ResumeTask(self.slot()),
                _ => Op::StopTask(self.slot()),
            },
            17 => Op::WhenDone(self.slot(), self.slot()),
            _ => Op::Retry(1 + self.rng.usize(..3), self.stage(depth), self.slot()),
        }
    }

    fn coroutine(&mut self, depth: usize) -> Op {
        match self.rng.u8(..4) {
            0 => Op::Wake(self.slot()),
            _ => Op::Coroutine(self.steps(depth), self.end(), self.slot()),
        }
    }
}
