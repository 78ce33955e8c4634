//! Buffers that the connections of a reactor share, so that an idle connection has none.

use std::cell::{Cell, RefCell};

/// The maximum size of one read.
const READ_SIZE: usize = 64 * 1024;
/// The maximum number of spare write buffers.
const MAX_SPARES: usize = 64;
/// The maximum capacity of a spare write buffer.
const MAX_SPARE_CAPACITY: usize = 16 * 1024;

#[derive(Default)]
pub(super) struct Buffers {
    read: Cell<Vec<u8>>,
    spares: RefCell<Vec<Vec<u8>>>,
}

impl Buffers {
    /// Takes the read buffer. The caller returns it with
    /// [`return_read_buffer`](Self::return_read_buffer).
    #[inline]
    pub(super) fn for_reading(&self) -> Vec<u8> {
        let mut buffer = self.read.take();
        // It is empty at first, and in a nested turn inside a callback that was called with it.
        buffer.resize(READ_SIZE, 0);
        buffer
    }

    #[inline]
    pub(super) fn return_read_buffer(&self, buffer: Vec<u8>) {
        self.read.set(buffer);
    }

    /// Returns an empty write buffer.
    pub(super) fn spare(&self) -> Vec<u8> {
        self.spares.borrow_mut().pop().unwrap_or_default()
    }

    pub(super) fn recycle(&self, buffer: Vec<u8>) {
        let mut spares = self.spares.borrow_mut();
        if buffer.capacity() <= MAX_SPARE_CAPACITY && spares.len() < MAX_SPARES {
            spares.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limited_number_of_small_buffers_is_kept() {
        let buffers = Buffers::default();
        buffers.recycle(Vec::with_capacity(16_385));
        for _ in 0..100 {
            buffers.recycle(Vec::with_capacity(16_384));
        }
        let spares = (0..100).map(|_| buffers.spare().capacity());
        assert_eq!(spares.take_while(|&capacity| capacity > 0).collect::<Vec<_>>(), [16_384; 64]);
    }

    #[test]
    fn all_reads_share_their_memory() {
        let buffers = Buffers::default();
        let mut first = buffers.for_reading();
        assert_eq!(first.len(), 65_536);
        first[0] = 7;
        buffers.return_read_buffer(first);
        assert_eq!(buffers.for_reading()[0], 7);
    }
}
