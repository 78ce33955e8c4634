//! What a program does on an engine, line by line.

/// One line of a trace. What the numbers mean is said at each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) what: What,
    pub(crate) a: u32,
    pub(crate) b: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// The program has come to an op of its top level, which is its `a`th.
    Op,
    /// Callback `a` got the value or error `b`.
    Ran,
    /// Canceller `a` was called.
    CancellerRan,
    /// Token `a` was dropped.
    Dropped,
    /// The error `a` was reported, of a Deferred made on line `b`.
    Unhandled,
    /// The same: its last callback was added on line `a`, and its trail has `b` places.
    UnhandledAt,
    /// A place of that trail.
    Passed,
    /// The answer to a question, `a`, and what was seen, `b`.
    Saw,
    /// A token that is not alive was dropped.
    DroppedTwice,
    /// A value was not what it was made.
    Corrupt,
    /// At the end: `a` tokens live.
    Live,
}

/// All that a program did.
pub(crate) type Trace = Vec<Event>;
