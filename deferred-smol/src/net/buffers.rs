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
