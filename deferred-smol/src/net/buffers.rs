//! Memory that the connections of a reactor share, so that an idle one has none.

use std::cell::{Cell, RefCell};

/// What one read takes at most.
const READ: usize = 64 * 1024;
/// So many empty buffers are kept for who writes next,
const SPARES: usize = 64;
/// none of them larger than this.
const LARGEST: usize = 16 * 1024;

#[derive(Default)]
pub(super) struct Buffers {
    read: Cell<Vec<u8>>,
    spares: RefCell<Vec<Vec<u8>>>,
}

impl Buffers {
    /// To read into; to be given back.
    pub(super) fn for_reading(&self) -> Vec<u8> {
        let mut buffer = self.read.take();
        // Empty the first time, and in a turn inside of a callback that reads.
        buffer.resize(READ, 0);
        buffer
    }

    pub(super) fn read(&self, buffer: Vec<u8>) {
        self.read.set(buffer);
    }

    /// An empty one to write into.
    pub(super) fn spare(&self) -> Vec<u8> {
        self.spares.borrow_mut().pop().unwrap_or_default()
    }

    pub(super) fn give_back(&self, buffer: Vec<u8>) {
        let mut spares = self.spares.borrow_mut();
        if buffer.capacity() <= LARGEST && spares.len() < SPARES {
            spares.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_small_buffers_are_kept_for_who_writes_next_and_no_large_one() {
        let buffers = Buffers::default();
        buffers.give_back(Vec::with_capacity(16_385));
        for _ in 0..100 {
            buffers.give_back(Vec::with_capacity(16_384));
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
        buffers.read(first);
        assert_eq!(buffers.for_reading()[0], 7);
    }
}
