//! `StreamSocket`: any asynchronous stream as the socket of a connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_io::{AsyncRead, AsyncWrite};

use super::socket::Socket;

pub(super) struct StreamSocket<T>(Pin<Box<T>>);

impl<T> StreamSocket<T> {
    pub(super) fn new(stream: T) -> StreamSocket<T> {
        StreamSocket(Box::pin(stream))
    }
}

impl<T: AsyncRead + AsyncWrite + 'static> Socket for StreamSocket<T> {
    const BUFFERS: bool = true;

    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.0.as_mut().poll_read(context, buffer)
    }

    fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Only called at the end of a connection, which is polled no more.
        match self.poll_read(&mut Context::from_waker(Waker::noop()), buffer) {
            Poll::Ready(read) => read,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.0.as_mut().poll_write(context, data)
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_flush(context)
    }

    fn poll_finish(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_close(context)
    }
}
