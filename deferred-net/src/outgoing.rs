//! `Outgoing`: data that waits to be sent.

use std::io;
use std::mem;
use std::task::{Poll, ready};

/// Written data that was not sent yet. When empty it has no memory.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    /// The number of bytes at the start that were sent.
    sent: usize,
}

impl Outgoing {
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends data. `spare` returns a buffer if there is none.
    pub(super) fn push(&mut self, data: &[u8], spare: impl FnOnce() -> Vec<u8>) {
        if self.bytes.capacity() == 0 {
            self.bytes = spare();
        }
        // Sent bytes are removed when they are at least half of the buffer, so that each byte is
        // moved once on average.
        if self.bytes.len() + data.len() > self.bytes.capacity() && self.sent >= self.len() {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        self.bytes.extend_from_slice(data);
    }

    /// Passes the data to `write` until all is sent, or `write` is pending or fails. Returns the
    /// buffer if all is sent.
    pub(super) fn poll_send(
        &mut self,
        mut write: impl FnMut(&[u8]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<Option<Vec<u8>>>> {
        while !self.is_empty() {
            match ready!(write(&self.bytes[self.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.sent += sent,
            }
        }
        self.sent = 0;
        self.bytes.clear();
        Poll::Ready(Ok((self.bytes.capacity() > 0).then(|| mem::take(&mut self.bytes))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_sent_in_order_with_any_size_of_writes() {
        let mut random = 1_u64;
        let mut next = move |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % below
        };
        for _ in 0..200 {
            let (mut outgoing, mut pushed, mut sent) = (Outgoing::default(), Vec::new(), Vec::new());
            for _ in 0..50 {
                let data: Vec<u8> = (0..next(40)).map(|_| next(256) as u8).collect();
                outgoing.push(&data, || Vec::with_capacity(16));
                pushed.extend(data);
                let mut room = next(60);
                let result = outgoing.poll_send(|data| {
                    let some = data.len().min(room);
                    room -= some;
                    sent.extend_from_slice(&data[..some]);
                    if some == 0 { Poll::Pending } else { Poll::Ready(Ok(some)) }
                });
                assert_eq!(result.is_ready(), sent.len() == pushed.len());
                assert_eq!(outgoing.len(), pushed.len() - sent.len());
                assert_eq!(pushed[..sent.len()], sent);
            }
        }
    }

    /// Sends `room` bytes; a further write would block.
    fn send(outgoing: &mut Outgoing, mut room: usize) -> Poll<io::Result<Option<Vec<u8>>>> {
        outgoing.poll_send(|data| {
            let some = data.len().min(room);
            room -= some;
            if some == 0 { Poll::Pending } else { Poll::Ready(Ok(some)) }
        })
    }

    #[test]
    fn an_empty_buffer_has_no_memory_and_a_slow_peer_costs_little_more_than_its_data() {
        let mut outgoing = Outgoing::default();
        outgoing.push(&[7; 50], Vec::new);
        let mut most = 0;
        for _ in 0..10_000 {
            outgoing.push(&[7; 100], Vec::new);
            // The peer reads as fast as data is written, but some always remains.
            assert!(send(&mut outgoing, 100).is_pending());
            assert_eq!(outgoing.len(), 50);
            most = most.max(outgoing.bytes.capacity());
        }
        assert!(most < 1000, "{most}");
        let Poll::Ready(Ok(given)) = send(&mut outgoing, 50) else { panic!("it is not sent") };
        assert!(given.is_some_and(|bytes| bytes.is_empty() && bytes.capacity() == most));
        assert_eq!(outgoing.bytes.capacity(), 0);
        assert!(matches!(send(&mut outgoing, 50), Poll::Ready(Ok(None))));
    }

    #[test]
    fn sent_bytes_are_removed_if_the_buffer_is_full_and_they_are_at_least_half() {
        let mut outgoing = Outgoing::default();
        outgoing.push(&[7; 16], || Vec::with_capacity(16));
        assert!(send(&mut outgoing, 7).is_pending());
        outgoing.push(&[7], Vec::new);
        assert_eq!(outgoing.sent, 7, "nine bytes would be moved for seven");
        assert!(send(&mut outgoing, 3).is_pending());
        outgoing.push(&[7], Vec::new);
        assert_eq!(outgoing.sent, 10, "there was room");
        let room = outgoing.bytes.capacity() - outgoing.bytes.len();
        outgoing.push(&vec![7; room], Vec::new);
        assert_eq!(outgoing.sent, 10, "just enough");
        let left = outgoing.len();
        assert!(send(&mut outgoing, left / 2 - 5).is_pending());
        assert_eq!(outgoing.sent, outgoing.len());
        outgoing.push(&[7], Vec::new);
        assert_eq!(outgoing.sent, 0);
    }

    #[test]
    fn a_write_that_takes_nothing_is_an_error() {
        let mut outgoing = Outgoing::default();
        outgoing.push(b"x", Vec::new);
        let sent = outgoing.poll_send(|_| Poll::Ready(Ok(0)));
        assert!(matches!(sent, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::WriteZero));
    }
}
