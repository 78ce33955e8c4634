//! Sockets in memory.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::socket::Socket;

/// One direction of a connection.
#[derive(Default)]
pub(super) struct Pipe {
    /// The bytes that were written and not read.
    pub(super) bytes: Vec<u8>,
    /// Whether the writing side has ended it.
    pub(super) ended: bool,
    /// The error that the reader gets, in place of further bytes.
    pub(super) failed: Option<io::ErrorKind>,
    /// Whether the reader has closed it.
    pub(super) closed: bool,
    /// Whether the buffer counts as full.
    pub(super) full: bool,
    waiting: Vec<Waker>,
    /// The number of operations that had an effect.
    pub(super) moves: u64,
}

impl Pipe {
    fn wait(&mut self, waker: &Waker) {
        if !self.waiting.iter().any(|waiting| waiting.will_wake(waker)) {
            self.waiting.push(waker.clone());
        }
    }
}

pub(super) type SharedPipe = Rc<RefCell<Pipe>>;

/// Changes a pipe, and wakes both sides.
pub(super) fn change<R>(pipe: &RefCell<Pipe>, f: impl FnOnce(&mut Pipe) -> R) -> R {
    let mut borrowed = pipe.borrow_mut();
    borrowed.moves += 1;
    let result = f(&mut borrowed);
    let waiting = std::mem::take(&mut borrowed.waiting);
    drop(borrowed);
    waiting.into_iter().for_each(Waker::wake);
    result
}

/// One side of a connection in memory.
pub(super) struct MemorySocket {
    pub(super) input: SharedPipe,
    pub(super) output: SharedPipe,
    pub(super) local: SocketAddr,
    pub(super) peer: SocketAddr,
}

impl Socket for MemorySocket {
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self.read_now(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.input.borrow_mut().wait(context.waker());
                Poll::Pending
            }
            read => Poll::Ready(read),
        }
    }

    fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let pipe = self.input.borrow();
        if pipe.bytes.is_empty() && pipe.failed.is_none() && !pipe.ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        drop(pipe);
        change(&self.input, |pipe| {
            let length = pipe.bytes.len().min(buffer.len());
            if length == 0 {
                return pipe.failed.map_or(Ok(0), |kind| Err(kind.into()));
            }
            buffer[..length].copy_from_slice(&pipe.bytes[..length]);
            pipe.bytes.drain(..length);
            Ok(length)
        })
    }

    fn poll_write(&mut self, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let mut pipe = self.output.borrow_mut();
        if pipe.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if pipe.full {
            pipe.wait(context.waker());
            return Poll::Pending;
        }
        drop(pipe);
        change(&self.output, |pipe| pipe.bytes.extend_from_slice(data));
        Poll::Ready(Ok(data.len()))
    }

    fn poll_finish(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        change(&self.output, |pipe| pipe.ended = true);
        Poll::Ready(Ok(()))
    }

    fn abort(&mut self) {
        change(&self.output, |pipe| pipe.failed = Some(io::ErrorKind::ConnectionReset));
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }
}

impl Drop for MemorySocket {
    fn drop(&mut self) {
        // Like a system, which resets a connection that is closed with unread data.
        let unread = change(&self.input, |pipe| {
            pipe.closed = true;
            !pipe.bytes.is_empty()
        });
        change(&self.output, |pipe| {
            pipe.ended = true;
            if unread {
                pipe.failed = Some(io::ErrorKind::ConnectionReset);
            }
        });
    }
}
