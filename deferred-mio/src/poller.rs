//! `Poller`: the wait of a loop for its sockets, its next timer, and other threads.
//!
//! # Wake-ups
//!
//! A wake-up from another thread is a system call, and is needed only while the loop waits. The
//! loop sets `asleep` and then reads `notified`; a waker sets `notified` and then takes `asleep`.
//! Both operations are sequentially consistent, so at least one of them sees the other: the loop
//! does not wait, or the waker interrupts the wait. While the loop dispatches events, a wake-up is
//! only the flag, which the next turn follows in any case.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use deferred_core::Reactor;
use mio::{Events, Poll, Token};

use crate::source::Readiness;

/// The token of the waker, which no source has.
const WAKER: Token = Token(usize::MAX);

/// The number of events that one wait receives. More wait for the next one.
const EVENTS: usize = 1024;

/// The selector of a reactor, and its sources.
pub(crate) struct Poller {
    poll: RefCell<Poll>,
    events: RefCell<Events>,
    sources: RefCell<Sources>,
    wake: Arc<WakeLoop>,
    waker: Waker,
}

/// The sources by token.
#[derive(Default)]
struct Sources {
    slots: Vec<Option<Rc<Readiness>>>,
    free: Vec<usize>,
}

struct WakeLoop {
    /// Whether the loop waits, or is about to.
    asleep: AtomicBool,
    /// Whether the loop must turn before it waits.
    notified: AtomicBool,
    waker: mio::Waker,
}

impl Wake for WakeLoop {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.notified.store(true, Ordering::SeqCst);
        if self.asleep.swap(false, Ordering::SeqCst) {
            // It can only fail if the loop is gone.
            let _ = self.waker.wake();
        }
    }
}

impl Poller {
    fn new() -> io::Result<Poller> {
        let poll = Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), WAKER)?;
        let wake = Arc::new(WakeLoop { asleep: AtomicBool::new(false), notified: AtomicBool::new(false), waker });
        Ok(Poller {
            poll: RefCell::new(poll),
            events: RefCell::new(Events::with_capacity(EVENTS)),
            sources: RefCell::default(),
            waker: Waker::from(wake.clone()),
            wake,
        })
    }

    /// Returns the poller of a reactor, which the first call creates.
    ///
    /// # Errors
    ///
    /// Returns the error of the system, which may have no more file descriptors.
    pub(crate) fn of(reactor: &Reactor) -> io::Result<Rc<Poller>> {
        /// The poller, if it could be created.
        #[derive(Default)]
        struct Created(RefCell<Option<Rc<Poller>>>);
        let created = reactor.extension(Created::default);
        if let Some(poller) = &*created.0.borrow() {
            return Ok(poller.clone());
        }
        let poller = Rc::new(Poller::new()?);
        *created.0.borrow_mut() = Some(poller.clone());
        Ok(poller)
    }

    /// Returns the waker that ends a wait.
    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Registers a source. Its readiness wakes the tasks that wait for it.
    pub(crate) fn register(&self, source: &mut impl mio::event::Source) -> io::Result<(usize, Rc<Readiness>)> {
        let readiness = Rc::new(Readiness::default());
        let index = self.sources.borrow_mut().insert(readiness.clone());
        let interest = mio::Interest::READABLE | mio::Interest::WRITABLE;
        let registered = self.poll.borrow().registry().register(source, Token(index), interest);
        match registered {
            Ok(()) => Ok((index, readiness)),
            Err(error) => {
                self.sources.borrow_mut().remove(index);
                Err(error)
            }
        }
    }

    pub(crate) fn deregister(&self, source: &mut impl mio::event::Source, index: usize) {
        // An error means that the system has already removed it.
        let _ = self.poll.borrow().registry().deregister(source);
        self.sources.borrow_mut().remove(index);
    }

    /// Receives the events that have come, without waiting.
    pub(crate) fn poll_now(&self) -> io::Result<()> {
        self.receive(Some(Duration::ZERO))
    }

    /// Waits for events or a wake-up, at most until `due`.
    pub(crate) fn wait(&self, due: Option<Instant>) -> io::Result<()> {
        self.wake.asleep.store(true, Ordering::SeqCst);
        let waited = if self.wake.notified.load(Ordering::SeqCst) { self.poll_now() } else { self.wait_asleep(due) };
        self.wake.asleep.store(false, Ordering::SeqCst);
        // Before the turn, which sees each change that came before this: reading the flag
        // synchronizes with the thread that has set it.
        self.wake.notified.swap(false, Ordering::SeqCst);
        waited
    }

    fn wait_asleep(&self, due: Option<Instant>) -> io::Result<()> {
        let Some(due) = due else { return self.receive(None) };
        let left = due.saturating_duration_since(Instant::now());
        let millis = Duration::from_millis(left.as_millis().try_into().unwrap_or(u64::MAX));
        if !millis.is_zero() {
            // Events, or an early end: the next turn asks again for the rest.
            return self.receive(Some(millis));
        }
        self.wait_short(left)
    }

    /// Waits for less than a millisecond.
    #[cfg(unix)]
    fn wait_short(&self, timeout: Duration) -> io::Result<()> {
        use std::os::fd::AsFd;

        use rustix::event::{PollFd, PollFlags, Timespec, poll};

        if timeout.is_zero() {
            return self.poll_now();
        }
        let is_ready = {
            let selector = self.poll.borrow();
            let timeout = Timespec { tv_sec: 0, tv_nsec: timeout.subsec_nanos().into() };
            poll(&mut [PollFd::from_borrowed_fd(selector.registry().as_fd(), PollFlags::IN)], Some(&timeout))
        };
        match is_ready {
            Ok(0) => Ok(()),
            Ok(_) => self.poll_now(),
            Err(error) if error == rustix::io::Errno::INTR => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    #[cfg(not(unix))]
    fn wait_short(&self, timeout: Duration) -> io::Result<()> {
        self.receive(Some(timeout))
    }

    /// Waits in the system, and notes the readiness of the sources.
    fn receive(&self, timeout: Option<Duration>) -> io::Result<()> {
        let mut events = self.events.borrow_mut();
        let polled = self.poll.borrow_mut().poll(&mut events, timeout);
        // The tasks that the events wake need no system call.
        self.wake.asleep.store(false, Ordering::SeqCst);
        match polled {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        for event in events.iter() {
            // A source may be gone, or its token used again: then the operation finds nothing.
            let readiness = self.sources.borrow().get(event.token());
            if let Some(readiness) = readiness {
                readiness.set(event);
            }
        }
        Ok(())
    }
}

impl Sources {
    fn insert(&mut self, readiness: Rc<Readiness>) -> usize {
        match self.free.pop() {
            Some(index) => {
                self.slots[index] = Some(readiness);
                index
            }
            None => {
                self.slots.push(Some(readiness));
                self.slots.len() - 1
            }
        }
    }

    fn remove(&mut self, index: usize) {
        self.slots[index] = None;
        self.free.push(index);
    }

    fn get(&self, token: Token) -> Option<Rc<Readiness>> {
        self.slots.get(token.0)?.clone()
    }
}
