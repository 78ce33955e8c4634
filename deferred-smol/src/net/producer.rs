//! Who writes much, and is told when to stop.

use std::cell::Cell;

#[cfg(doc)]
use super::Transport;

/// Whoever writes to a [`Transport`] and can be told to wait:
/// [`register_producer`](Transport::register_producer).
///
/// The methods are called on the loop's thread, `pause_producing` also inside of the `write` that
/// was too much; so they take `&self`, and what they change is in a `Cell`.
///
/// Twisted's `IPushProducer` and `IPullProducer`.
pub trait Producer {
    /// Write no more, for now.
    fn pause_producing(&self);

    /// Write again. For a pull producer: write one piece.
    fn resume_producing(&self);

    /// Nobody wants it any more: the connection is over.
    fn stop_producing(&self) {}
}

/// A producer, and what it was told last.
pub(super) struct Registered {
    producer: Box<dyn Producer>,
    pulls: bool,
    /// It was told to pause; or to write a piece, and has not done so yet.
    waits: Cell<bool>,
}

impl Registered {
    pub(super) fn push(producer: impl Producer + 'static) -> Registered {
        Registered { producer: Box::new(producer), pulls: false, waits: Cell::new(false) }
    }

    pub(super) fn pull(producer: impl Producer + 'static) -> Registered {
        Registered { producer: Box::new(producer), pulls: true, waits: Cell::new(false) }
    }

    /// Something was written, and perhaps enough.
    pub(super) fn wrote(&self, enough: bool) {
        if self.pulls {
            self.waits.set(false);
        } else if enough && !self.waits.replace(true) {
            self.producer.pause_producing();
        }
    }

    /// There is little left to send; or even nothing.
    pub(super) fn resume(&self, nothing_left: bool) {
        let resumes = if self.pulls { nothing_left && !self.waits.replace(true) } else { self.waits.replace(false) };
        if resumes {
            self.producer.resume_producing();
        }
    }

    pub(super) fn stop(&self) {
        self.producer.stop_producing();
    }
}
