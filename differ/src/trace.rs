//! The trace of a program on an engine.

/// An event of a trace. Each kind documents the meaning of the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) what: What,
    pub(crate) a: u32,
    pub(crate) b: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// The program reached its `a`th top-level operation.
    Op,
    /// Callback `a` was called with the value or error `b`.
    Ran,
    /// Canceller `a` was called.
    CancellerRan,
    /// Token `a` was dropped.
    Dropped,
    /// The error `a` was reported, of a Deferred created on line `b`.
    Unhandled,
    /// The last callback of the reported Deferred was added on line `a`, and the error's trail has
    /// `b` locations.
    UnhandledAt,
    /// A location of that trail.
    Passed,
    /// The result `b` of query `a`.
    Saw,
    /// A token was dropped twice.
    DroppedTwice,
    /// A value was corrupted.
    Corrupt,
    /// `a` tokens are alive at the end.
    Live,
}

/// The trace of a program.
pub(crate) type Trace = Vec<Event>;
