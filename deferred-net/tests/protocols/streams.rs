//! Connections on streams of other crates.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use deferred_core::{Clock, Deferred, Failure};
use deferred_net::testing::StringTransport;
use deferred_net::{ConnectionLost, Transport, on_data};
use futures_io::{AsyncRead, AsyncWrite};
use smol::future::FutureExt;
use smol::io::{AsyncReadExt, AsyncWriteExt};

use super::{Log, text};

/// A stream whose writes stay in a buffer until it is flushed.
struct Buffered {
    reader: piper::Reader,
    writer: piper::Writer,
    buffer: Vec<u8>,
}

impl AsyncRead for Buffered {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, data: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.reader).poll_read(context, data)
    }
}

impl AsyncWrite for Buffered {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.buffer.extend_from_slice(data);
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while !this.buffer.is_empty() {
            match Pin::new(&mut this.writer).poll_write(context, &this.buffer)? {
                Poll::Ready(written) => drop(this.buffer.drain(..written)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.as_mut().poll_flush(context) {
            Poll::Ready(Ok(())) => Pin::new(&mut self.writer).poll_close(context),
            flushed => flushed,
        }
    }
}

#[test]
fn data_flushes_and_ends_pass_through_a_stream_with_a_buffer() {
    let (clock, log) = (Clock::new(), Log::default());
    let (reader, mut to_protocol) = piper::pipe(10);
    let (mut from_protocol, writer) = piper::pipe(10);
    let [noted, lost] = [log.clone(), log.clone()];
    let protocol = on_data(move |transport, data| {
        noted.note(text(data));
        transport.write(data.repeat(10)); // more than the pipe holds
    })
    .on_lost(move |reason| lost.note(format!("lost: {reason}")));
    let transport = Transport::over(&clock, Buffered { reader, writer, buffer: Vec::new() }, protocol);
    let talks = async {
        to_protocol.write_all(b"hello").await.unwrap();
        let mut answer = [0; 50];
        from_protocol.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, *b"hello".repeat(10));
        drop(to_protocol);
        assert_eq!(from_protocol.read(&mut answer).await.unwrap(), 0, "the protocol's side has ended");
        while transport.lost().is_none() {
            smol::future::yield_now().await;
        }
    };
    let turns = async {
        loop {
            clock.advance(std::time::Duration::ZERO);
            smol::future::yield_now().await;
        }
    };
    smol::block_on(talks.or(turns));
    assert_eq!(log.take(), ["hello", "lost: the connection was closed"]);
    assert!(matches!(transport.lost(), Some(ConnectionLost::Done)));
    assert_eq!(transport.peer_addr().unwrap_err().kind(), io::ErrorKind::NotConnected);
}

#[test]
fn options_of_a_stream_are_not_supported() {
    let clock = Clock::new();
    let (reader, writer) = (piper::pipe(10).0, piper::pipe(10).1);
    let transport = Transport::over(&clock, Buffered { reader, writer, buffer: Vec::new() }, on_data(|_, _| ()));
    if transport.lost().is_none() {
        assert_eq!(transport.peer_addr().unwrap_err().kind(), io::ErrorKind::Unsupported);
        assert_eq!(transport.set_nodelay(true).unwrap_err().kind(), io::ErrorKind::Unsupported);
    }
}

/// A file that is read in small pieces, or fails.
struct File(usize, bool);

impl io::Read for File {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0 == 0 && self.1 {
            return Err(io::Error::other("a bad block"));
        }
        let length = self.0.min(buffer.len()).min(1000);
        buffer[..length].fill(b'x');
        self.0 -= length;
        Ok(length)
    }
}

/// Runs the loop until the Deferred is ready, while a thread works.
pub(super) fn wait<T: 'static>(peer: &StringTransport<'_>, deferred: Deferred<T>) -> Result<T, Failure> {
    while !deferred.is_ready() {
        peer.flush();
        std::thread::yield_now();
    }
    deferred.try_take().unwrap_or_else(|_| unreachable!("it is ready"))
}

#[test]
fn send_file_sends_everything_and_waits_for_a_slow_peer() {
    let clock = Clock::new();
    let peer = StringTransport::connect(&clock, on_data(|_, _| ()));
    assert_eq!(wait(&peer, peer.send_file(File(0, false))).unwrap(), 0);
    peer.set_reading(false);
    let sends = peer.send_file(File(1_000_000, false));
    for _ in 0..1000 {
        peer.flush();
        std::thread::yield_now();
        assert!(peer.unsent() < 200_000, "{}", peer.unsent());
    }
    assert!(!sends.is_ready());
    peer.set_reading(true);
    assert_eq!(wait(&peer, sends).unwrap(), 1_000_000);
    peer.flush();
    assert_eq!(peer.take_value(), vec![b'x'; 1_000_000]);
    assert!(peer.lost().is_none());
}

#[test]
fn send_file_fails_if_the_file_panics() {
    struct Panics;
    impl io::Read for Panics {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            panic!("no")
        }
    }
    let clock = Clock::new();
    let peer = StringTransport::connect(&clock, on_data(|_, _| ()));
    let failure = wait(&peer, peer.send_file(Panics)).unwrap_err();
    assert!(failure.to_string().contains("has panicked"), "{failure}");
}

#[test]
fn send_file_fails_with_the_error_of_the_file_or_of_the_connection() {
    let clock = Clock::new();
    let peer = StringTransport::connect(&clock, on_data(|_, _| ()));
    let failure = wait(&peer, peer.send_file(File(100_000, true))).unwrap_err();
    assert_eq!(failure.to_string(), "a bad block");
    assert_eq!(peer.take_value().len(), 100_000, "what was read before");
    peer.set_reading(false);
    let sends = peer.send_file(File(10_000_000, false));
    while peer.unsent() < 65_536 {
        peer.flush();
        std::thread::yield_now();
    }
    peer.reset();
    assert!(wait(&peer, sends).unwrap_err().check::<ConnectionLost>());
}

#[test]
fn a_connection_that_is_lost_waits_for_the_file() {
    let clock = Clock::new();
    let peer = StringTransport::connect(&clock, on_data(|_, _| ()));
    let sends = peer.send_file(File(1_000_000, false));
    peer.lose_connection();
    assert_eq!(wait(&peer, sends).unwrap(), 1_000_000);
    peer.flush();
    assert_eq!(peer.value().len(), 1_000_000);
    assert!(peer.has_ended());
    for half in [false, true] {
        let peer = StringTransport::connect(&clock, on_data(|_, _| ()));
        if half {
            peer.lose_write_connection()
        } else {
            peer.lose_connection()
        }
        peer.flush();
        let failure = wait(&peer, peer.send_file(File(5, false))).unwrap_err();
        assert_eq!(failure.downcast_ref::<io::Error>().unwrap().kind(), io::ErrorKind::NotConnected);
    }
}

#[test]
fn a_file_that_blocks_does_not_hide_the_end_of_the_connection() {
    struct Blocks(std::sync::mpsc::Receiver<()>);
    impl io::Read for Blocks {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(0)
        }
    }
    let clock = Clock::new();
    let (unblocks, blocked) = std::sync::mpsc::channel();
    let peer = StringTransport::connect(&clock, on_data(|_, _| ()));
    let sends = peer.send_file(Blocks(blocked));
    peer.flush();
    peer.reset();
    assert!(wait(&peer, sends).unwrap_err().check::<ConnectionLost>());
    drop(unblocks);
}

#[test]
fn a_file_that_would_block_is_asked_again() {
    struct Sometimes(u32);
    impl io::Read for Sometimes {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            match self.0 {
                1 | 3 => Err(io::ErrorKind::WouldBlock.into()),
                2 => {
                    buffer[0] = b'x';
                    Ok(1)
                }
                _ => Ok(0),
            }
        }
    }
    let clock = Clock::new();
    let peer = StringTransport::connect(&clock, on_data(|_, _| ()));
    assert_eq!(wait(&peer, peer.send_file(Sometimes(0))).unwrap(), 1);
}
