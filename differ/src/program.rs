//! The type of random programs, their generation, and the shrinking of failing ones.

use std::rc::Rc;

use fastrand::Rng;

/// Selects one of the values that exist when the operation runs.
pub(crate) type Pick = u8;

/// The type of a result or a capture: zero-sized, small, large, over-aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Zero,
    Small,
    Large,
    Wide,
}

/// An operation of a program.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    New(Shape),
    /// A Deferred with a canceller that decides the result.
    Cancellable(Shape, Rc<Canceller>),
    /// A Deferred with a forwarding canceller.
    Forwarding(Shape, Rc<Canceller>),
    Succeed(Shape),
    Fail(Shape),
    Maybe(Rc<Stage>),
    Repeat(Rc<Stage>, u8),
    Add(Pick, Rc<Stage>),
    Fire(Pick, bool),
    DropResolver(Pick),
    IsCancelled(Pick),
    Chain(Pick, Pick),
    Cancel(Pick),
    TakeHandle(Pick),
    CancelByHandle(Pick),
    DropHandle(Pick),
    Pause(Pick),
    Unpause(Pick),
    DropPause(Pick),
    IsReady(Pick),
    Peek(Pick),
    Take(Pick),
    DropDeferred(Pick),
}

#[derive(Clone, Debug)]
pub(crate) struct Canceller {
    pub(crate) id: u32,
    pub(crate) body: Vec<Op>,
    pub(crate) end: Decision,
    pub(crate) hold: Option<Hold>,
}

/// The decision of a canceller.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Decision {
    Nothing,
    Value,
    Error,
    Panic,
}

/// A stage of a program: a callback with its kind, captures and output.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    pub(crate) id: u32,
    pub(crate) kind: Kind,
    pub(crate) to: Shape,
    pub(crate) capture: Shape,
    pub(crate) hold: Option<Hold>,
    /// If `true`, the destructor of its capture panics.
    pub(crate) bomb: bool,
    pub(crate) body: Vec<Op>,
    pub(crate) end: End,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Callback,
    Errback,
    Callbacks,
    Both,
    Finally,
    Map,
}

/// The result of a callback.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Value,
    Error,
    Panic,
    Deferred(Pick),
}

/// The capture of a callback, which is dropped when it has run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hold {
    Resolver(Pick),
    Deferred(Pick),
    Pause(Pick),
    Handle(Pick),
}

/// Generates a program.
pub(crate) fn generate(rng: &mut Rng) -> Vec<Op> {
    let length = 4 + rng.usize(..28);
    let mut maker = Maker { rng, id: 0 };
    if maker.rng.u32(..6) > 0 {
        return (0..length).map(|_| maker.op(0)).collect();
    }
    let mut program = maker.tail_call();
    for _ in 0..maker.rng.u32(..4) {
        let (at, op) = (maker.rng.usize(..=program.len()), maker.op(0));
        program.insert(at, op);
    }
    program.extend((0..length / 4).map(|_| maker.op(0)));
    program
}

struct Maker<'a> {
    rng: &'a mut Rng,
    id: u32,
}

impl Maker<'_> {
    fn op(&mut self, depth: u32) -> Op {
        match self.rng.u32(..100) {
            0..=9 => Op::New(self.shape()),
            10..=12 => Op::Cancellable(self.shape(), self.canceller(depth)),
            13..=14 => Op::Forwarding(self.shape(), self.canceller(depth)),
            15..=16 => Op::Succeed(self.shape()),
            17 => Op::Fail(self.shape()),
            18 => Op::Maybe(self.stage(depth)),
            19 => Op::Repeat(self.stage(depth), self.rng.u8(..4)),
            20..=54 => Op::Add(self.pick(), self.stage(depth)),
            55..=66 => Op::Fire(self.pick(), self.rng.u32(..4) > 0),
            67..=69 => Op::DropResolver(self.pick()),
            70 => Op::IsCancelled(self.pick()),
            71..=74 => Op::Chain(self.pick(), self.pick()),
            75..=78 => Op::Cancel(self.pick()),
            79..=81 => Op::TakeHandle(self.pick()),
            82..=84 => Op::CancelByHandle(self.pick()),
            85 => Op::DropHandle(self.pick()),
            86..=88 => Op::Pause(self.pick()),
            89..=90 => Op::Unpause(self.pick()),
            91 => Op::DropPause(self.pick()),
            92..=93 => Op::IsReady(self.pick()),
            94..=95 => Op::Peek(self.pick()),
            96..=97 => Op::Take(self.pick()),
            _ => Op::DropDeferred(self.pick()),
        }
    }

    /// A pattern that random generation rarely produces: `to` waits for `d`, whose last callback
    /// returns `x`, so that `to` waits for `x`, and later for `y`. A handle to `d` is used during
    /// one of these waits or after them.
    fn tail_call(&mut self) -> Vec<Op> {
        let mut leaves = |number| {
            self.id += 1;
            let (to, capture) = (Shape::Small, Shape::Small);
            let (hold, bomb, body, end) = (None, false, Vec::new(), End::Deferred(number));
            Rc::new(Stage { id: self.id, kind: Kind::Both, to, capture, hold, bomb, body, end })
        };
        let [d, first, second] = [1, 1, 1].map(&mut leaves);
        let new = || Op::New(Shape::Small);
        let mut ops = vec![new(), new(), new(), Op::TakeHandle(0), Op::Add(0, d), new()];
        ops.extend([Op::Add(0, first), Op::Add(0, second)]);
        ops.extend([Op::Fire(0, true), Op::Fire(0, true), Op::Fire(0, true)]);
        let at = ops.len() - self.rng.usize(..4);
        ops.insert(at, Op::CancelByHandle(0));
        ops
    }

    /// Draws a value, mostly one of the latest, which are the ones related to each other.
    fn pick(&mut self) -> Pick {
        if self.rng.u32(..3) == 0 { self.rng.u8(..) } else { self.rng.u8(..3) }
    }

    fn shape(&mut self) -> Shape {
        match self.rng.u32(..8) {
            0 => Shape::Zero,
            1 => Shape::Large,
            2 => Shape::Wide,
            _ => Shape::Small,
        }
    }

    fn hold(&mut self) -> Option<Hold> {
        match self.rng.u32(..20) {
            0..=2 => Some(Hold::Resolver(self.pick())),
            3 => Some(Hold::Deferred(self.pick())),
            4 => Some(Hold::Pause(self.pick())),
            5 => Some(Hold::Handle(self.pick())),
            _ => None,
        }
    }

    fn body(&mut self, depth: u32) -> Vec<Op> {
        let length = if depth >= 2 { 0 } else { [0, 0, 0, 1, 1, 2, 3][self.rng.usize(..7)] };
        (0..length).map(|_| self.op(depth + 1)).collect()
    }

    fn canceller(&mut self, depth: u32) -> Rc<Canceller> {
        self.id += 1;
        let end = match self.rng.u32(..8) {
            0 => Decision::Value,
            1 => Decision::Error,
            2 => Decision::Panic,
            _ => Decision::Nothing,
        };
        Rc::new(Canceller { id: self.id, body: self.body(depth), end, hold: self.hold() })
    }

    fn stage(&mut self, depth: u32) -> Rc<Stage> {
        self.id += 1;
        let kind = match self.rng.u32(..10) {
            0..=2 => Kind::Callback,
            3..=4 => Kind::Errback,
            5 => Kind::Callbacks,
            6..=7 => Kind::Both,
            8 => Kind::Finally,
            _ => Kind::Map,
        };
        let end = match self.rng.u32(..12) {
            0..=3 => End::Value,
            4 => End::Error,
            5 => End::Panic,
            _ => End::Deferred(self.pick()),
        };
        Rc::new(Stage {
            id: self.id,
            kind,
            to: self.shape(),
            capture: self.shape(),
            hold: self.hold(),
            bomb: self.rng.u32(..40) == 0,
            body: self.body(depth),
            end,
        })
    }
}

/// Removes parts of the program as long as `fails` returns `true`.
pub(crate) fn shrink(mut program: Vec<Op>, fails: impl Fn(&[Op]) -> bool) -> Vec<Op> {
    loop {
        let smaller = smaller(&program).find(|candidate| fails(candidate));
        match smaller {
            Some(smaller) => program = smaller,
            None => return program,
        }
    }
}

/// Returns all programs with one part removed or simplified.
fn smaller(ops: &[Op]) -> impl Iterator<Item = Vec<Op>> {
    let halves = [ops[..ops.len() / 2].to_vec(), ops[ops.len() / 2..].to_vec()].into_iter();
    let fewer = (0..ops.len()).map(|at| {
        let mut fewer = ops.to_vec();
        fewer.remove(at);
        fewer
    });
    let simpler = (0..ops.len()).flat_map(|at| {
        simpler(&ops[at]).into_iter().map(move |op| {
            let mut changed = ops.to_vec();
            changed[at] = op;
            changed
        })
    });
    let all: Vec<_> = halves.filter(|half| half.len() < ops.len()).chain(fewer).chain(simpler).collect();
    all.into_iter()
}

/// Returns simpler replacements of an operation.
fn simpler(op: &Op) -> Vec<Op> {
    let stages = |stage: &Rc<Stage>| {
        let mut simpler: Vec<Stage> = smaller(&stage.body).map(|body| Stage { body, ..Stage::clone(stage) }).collect();
        if stage.hold.is_some() {
            simpler.push(Stage { hold: None, ..Stage::clone(stage) });
        }
        if stage.bomb {
            simpler.push(Stage { bomb: false, ..Stage::clone(stage) });
        }
        if stage.to != Shape::Small || stage.capture != Shape::Small {
            simpler.push(Stage { to: Shape::Small, capture: Shape::Small, ..Stage::clone(stage) });
        }
        if !matches!(stage.end, End::Value) {
            simpler.push(Stage { end: End::Value, ..Stage::clone(stage) });
        }
        simpler.into_iter().map(Rc::new).collect::<Vec<_>>()
    };
    let cancellers = |canceller: &Rc<Canceller>| {
        let mut simpler: Vec<Canceller> =
            smaller(&canceller.body).map(|body| Canceller { body, ..Canceller::clone(canceller) }).collect();
        if canceller.hold.is_some() {
            simpler.push(Canceller { hold: None, ..Canceller::clone(canceller) });
        }
        simpler.into_iter().map(Rc::new).collect::<Vec<_>>()
    };
    match op {
        Op::Add(pick, stage) => stages(stage).into_iter().map(|stage| Op::Add(*pick, stage)).collect(),
        Op::Maybe(stage) => stages(stage).into_iter().map(Op::Maybe).collect(),
        Op::Repeat(stage, rounds) => stages(stage).into_iter().map(|stage| Op::Repeat(stage, *rounds)).collect(),
        Op::Cancellable(shape, canceller) => {
            let mut simpler = vec![Op::New(*shape)];
            simpler.extend(cancellers(canceller).into_iter().map(|canceller| Op::Cancellable(*shape, canceller)));
            simpler
        }
        Op::Forwarding(shape, canceller) => {
            let mut simpler = vec![Op::New(*shape)];
            simpler.extend(cancellers(canceller).into_iter().map(|canceller| Op::Forwarding(*shape, canceller)));
            simpler
        }
        _ => Vec::new(),
    }
}
