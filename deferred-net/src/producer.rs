//! `Producer`: code that writes much data, and that can be paused.

use std::any::Any;
use std::cell::Cell;
use std::ptr;
use std::rc::{Rc, Weak};

use super::Transport;
use super::transport_state::TransportState;

/// Code that writes to a [`Transport`] and can be paused.
/// [`register_producer`](Transport::register_producer) registers it.
///
/// The methods are called on the loop's thread, `pause_producing` also inside the `write` that
/// exceeds the limit. So they take `&self`, and change state in a `Cell`.
///
/// Twisted's `IPushProducer` and `IPullProducer`.
#[doc(alias = "IPushProducer")]
#[doc(alias = "IPullProducer")]
pub trait Producer {
    /// Stops writing until `resume_producing`.
    #[doc(alias = "pauseProducing")]
    fn pause_producing(&self);

    /// Resumes writing. A pull producer writes one piece.
    #[doc(alias = "resumeProducing")]
    fn resume_producing(&self);

    /// Stops writing, because the connection has ended.
    #[doc(alias = "stopProducing")]
    fn stop_producing(&self) {}
}

/// A shared producer, which the program can also resume itself.
impl<P: Producer + ?Sized> Producer for Rc<P> {
    fn pause_producing(&self) {
        (**self).pause_producing();
    }

    fn resume_producing(&self) {
        (**self).resume_producing();
    }

    fn stop_producing(&self) {
        (**self).stop_producing();
    }
}

/// A registered producer, and its state.
pub(super) struct Registered {
    producer: Box<dyn Producer>,
    /// The connection, if the producer is one: it writes nothing after the end of its peer.
    connection: Option<Weak<TransportState>>,
    pulls: bool,
    /// A push producer: whether it is paused. A pull producer: whether it was resumed and has not
    /// written yet.
    waits: Cell<bool>,
}

impl Registered {
    pub(super) fn push(producer: impl Producer + 'static) -> Registered {
        Registered::new(producer, false)
    }

    pub(super) fn pull(producer: impl Producer + 'static) -> Registered {
        Registered::new(producer, true)
    }

    fn new(producer: impl Producer + 'static, pulls: bool) -> Registered {
        let transport = (&producer as &dyn Any).downcast_ref::<Transport>();
        let connection: Option<Weak<TransportState>> = transport.map(|transport| Rc::downgrade(&transport.state));
        Registered { producer: Box::new(producer), connection, pulls, waits: Cell::new(false) }
    }

    /// Lets the producer, if it is a connection, notify `consumer` when it receives nothing more.
    pub(super) fn notify_at_end(&self, consumer: &Rc<TransportState>) {
        if let Some(connection) = self.connection.as_ref().and_then(Weak::upgrade) {
            let consumers = &mut connection.cold().consumers;
            // Many may follow each other, or one may be registered again and again.
            consumers
                .retain(|before| before.strong_count() > 0 && !ptr::addr_eq(before.as_ptr(), Rc::as_ptr(consumer)));
            let consumer: Weak<TransportState> = Rc::downgrade(consumer);
            consumers.push(consumer);
        }
    }

    /// Returns `false` if the producer is a connection that receives nothing more.
    pub(super) fn may_write(&self) -> bool {
        let Some(connection) = &self.connection else { return true };
        connection.upgrade().is_some_and(|connection| connection.may_read())
    }

    /// Handles a write. `enough` is `true` if the buffered data exceeds the high-water mark.
    pub(super) fn wrote(&self, enough: bool) {
        if self.pulls {
            self.waits.set(false);
        } else if enough && !self.waits.replace(true) {
            self.producer.pause_producing();
        }
    }

    /// Handles sent data, after which little is buffered, or nothing if `nothing_left`.
    pub(super) fn resume(&self, nothing_left: bool) {
        let resumes = if self.pulls { nothing_left && !self.waits.replace(true) } else { self.waits.replace(false) };
        if resumes {
            self.producer.resume_producing();
        }
    }

    /// Handles a replacement by another producer: nothing resumes this one any more.
    pub(super) fn replaced(&self) {
        if !self.pulls && self.waits.replace(false) {
            self.producer.resume_producing();
        }
    }

    pub(super) fn stop(&self) {
        self.producer.stop_producing();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use deferred_core::Clock;

    use super::*;
    use crate::on_data;
    use crate::socket::Silent;

    #[test]
    fn consumers_that_come_and_go_use_no_more_memory() {
        let clock = Clock::new();
        let open = || Transport::over_socket(&clock, Silent, on_data(|_, _| ()));
        let (producer, consumer) = (open(), open());
        for _ in 0..1000 {
            consumer.register_producer(producer.clone());
            let other = open();
            other.register_producer(producer.clone());
            other.abort_connection();
            clock.advance(Duration::ZERO);
        }
        let count = producer.state.cold().consumers.len();
        assert!(count <= 3, "{count}");
    }
}
