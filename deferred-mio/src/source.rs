//! `Source`: a socket that is registered with the loop, and its readiness.
//!
//! A source is registered once, for both directions, and the system reports changes only. So the
//! last report is kept until an operation finds that there is nothing more to do: readiness is
//! remembered while no task asks for it, for example while a producer is paused.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use deferred_core::Reactor;
use mio::event::Event;

use crate::poller::Poller;

/// Whether a short read or write means that the next one would block, and that the system reports
/// the change after it, as epoll and kqueue do.
const SHORT_IS_ALL: bool = cfg!(any(
    target_os = "linux",
    target_os = "android",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly",
    target_vendor = "apple",
));

/// The number of operations of a coroutine that succeed one after the other, after which it lets
/// the loop run. Otherwise a coroutine whose peer sends without a pause would never be suspended.
const MAX_IN_A_ROW: u8 = 32;

/// A direction of a source.
#[derive(Default)]
struct Side {
    ready: Cell<bool>,
    /// The number of operations of a coroutine since it was last suspended.
    in_a_row: Cell<u8>,
    /// Whether the end of this side, or an error, was reported: after it, no other report comes.
    ended: Cell<bool>,
    /// The waker of the task that waits.
    waiting: RefCell<Option<Waker>>,
}

impl Side {
    fn set(&self, ended: bool) {
        self.ready.set(true);
        self.ended.set(self.ended.get() || ended);
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    fn wait(&self, context: &mut Context<'_>) {
        self.in_a_row.set(0);
        let mut waiting = self.waiting.borrow_mut();
        match &mut *waiting {
            Some(waker) => waker.clone_from(context.waker()),
            waiting => *waiting = Some(context.waker().clone()),
        }
    }

    /// Returns `Pending` and wakes the task if many operations have succeeded one after the other.
    fn poll_proceed(&self, context: &mut Context<'_>) -> Poll<()> {
        let in_a_row = self.in_a_row.get();
        if in_a_row < MAX_IN_A_ROW {
            self.in_a_row.set(in_a_row + 1);
            return Poll::Ready(());
        }
        self.in_a_row.set(0);
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Tries `operation` if it may succeed. Returns `Pending` if it would block; the task is woken
    /// when it may succeed.
    fn poll<T>(&self, context: &mut Context<'_>, mut operation: impl FnMut() -> io::Result<T>) -> Poll<io::Result<T>> {
        if self.ready.get() {
            match self.attempt(&mut operation) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
        self.wait(context);
        Poll::Pending
    }

    /// Tries `operation`, and notes if it would block.
    fn attempt<T>(&self, mut operation: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        loop {
            match operation() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.ready.set(false);
                    return Err(error);
                }
                done => return done,
            }
        }
    }

    /// Notes that an operation has done less than it could: the next one would block, and the
    /// system reports the next change. After the end there is no next report.
    fn exhausted(&self) {
        self.ready.set(self.ended.get() || !SHORT_IS_ALL);
    }
}

/// The readiness of a source, as the loop has last received it.
#[derive(Default)]
pub(crate) struct Readiness {
    read: Side,
    write: Side,
}

impl Readiness {
    pub(crate) fn set(&self, event: &Event) {
        let failed = event.is_error();
        let (read_ended, write_ended) = (event.is_read_closed() || failed, event.is_write_closed() || failed);
        if event.is_readable() || read_ended {
            self.read.set(read_ended);
        }
        if event.is_writable() || write_ended {
            self.write.set(write_ended);
        }
    }
}

/// A socket that is registered with the loop of a reactor. It is deregistered on drop.
pub(crate) struct Source<T: mio::event::Source> {
    socket: T,
    index: usize,
    readiness: Rc<Readiness>,
    poller: Rc<Poller>,
}

impl<T: mio::event::Source> Source<T> {
    pub(crate) fn new(reactor: &Reactor, socket: T) -> io::Result<Source<T>> {
        Source::with_poller(Poller::of(reactor)?, socket)
    }

    fn with_poller(poller: Rc<Poller>, mut socket: T) -> io::Result<Source<T>> {
        let (index, readiness) = poller.register(&mut socket)?;
        Ok(Source { socket, index, readiness, poller })
    }

    /// Like [`new`](Self::new), for a connected socket, to which something can be written.
    pub(crate) fn connected(reactor: &Reactor, socket: T) -> io::Result<Source<T>> {
        Ok(Source::new(reactor, socket)?.writable())
    }

    /// Like [`connected`](Self::connected), on the loop of this source.
    pub(crate) fn connected_beside<U: mio::event::Source>(&self, socket: U) -> io::Result<Source<U>> {
        Ok(Source::with_poller(self.poller.clone(), socket)?.writable())
    }

    fn writable(self) -> Source<T> {
        self.readiness.write.ready.set(true);
        self
    }

    pub(crate) fn get(&self) -> &T {
        &self.socket
    }

    /// Returns `Ready` if a coroutine may try to read. A protocol has a limit of its own.
    pub(crate) fn poll_may_read(&self, context: &mut Context<'_>) -> Poll<()> {
        self.readiness.read.poll_proceed(context)
    }

    /// Returns `Ready` if a coroutine may try to write.
    pub(crate) fn poll_may_write(&self, context: &mut Context<'_>) -> Poll<()> {
        self.readiness.write.poll_proceed(context)
    }

    /// Tries an operation that needs data or a connection of a peer.
    pub(crate) fn poll_read<R>(
        &self,
        context: &mut Context<'_>,
        mut operation: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.readiness.read.poll(context, || operation(&self.socket))
    }

    /// Like [`poll_read`](Self::poll_read), for a coroutine.
    pub(crate) async fn read_with<R>(&self, mut operation: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        poll_fn(|context| {
            ready!(self.poll_may_read(context));
            self.poll_read(context, &mut operation)
        })
        .await
    }

    /// Like [`poll_write`](Self::poll_write), for a coroutine.
    pub(crate) async fn write_with<R>(&self, mut operation: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        poll_fn(|context| {
            ready!(self.poll_may_write(context));
            self.poll_write(context, &mut operation)
        })
        .await
    }

    /// Tries an operation that needs room in the buffer of the system, or the end of a connect.
    pub(crate) fn poll_write<R>(
        &self,
        context: &mut Context<'_>,
        mut operation: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.readiness.write.poll(context, || operation(&self.socket))
    }
}

impl<T: mio::event::Source> Source<T>
where
    for<'a> &'a T: Read + Write,
{
    /// Reads into `buffer`.
    pub(crate) fn poll_read_into(&self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = self.poll_read(context, |mut socket| socket.read(buffer));
        if matches!(read, Poll::Ready(Ok(length)) if length < buffer.len()) {
            self.readiness.read.exhausted();
        }
        read
    }

    /// Reads what the system has, even if the loop has not received the report.
    pub(crate) fn read_now(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.readiness.read.attempt(|| (&self.socket).read(buffer));
        if read.as_ref().is_ok_and(|length| *length < buffer.len()) {
            self.readiness.read.exhausted();
        }
        read
    }

    /// Writes some of `data`.
    pub(crate) fn poll_write_from(&self, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.poll_write(context, |mut socket| socket.write(data));
        if matches!(written, Poll::Ready(Ok(length)) if length < data.len()) {
            self.readiness.write.exhausted();
        }
        written
    }
}

impl<T: mio::event::Source> Drop for Source<T> {
    fn drop(&mut self) {
        self.poller.deregister(&mut self.socket, self.index);
    }
}
