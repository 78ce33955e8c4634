//! `Unread`: received data that is not delivered yet.

use std::io;
use std::mem;

use super::{ConnectionLost, Transport};

/// Data that was received, and waits for more of it or for the end of a pause. When empty it has no
/// memory.
#[derive(Debug, Default)]
pub(super) struct Unread {
    bytes: Vec<u8>,
    /// The number of bytes at the start that were delivered already.
    delivered: usize,
}

impl Unread {
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.delivered
    }

    /// Returns the number of bytes that are stored.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn append(&mut self, data: &[u8]) {
        self.bytes.extend_from_slice(data);
    }

    /// Returns `true`, and ends the connection, if data waits that arrived before TLS was requested.
    /// `is_tls` is whether decrypted data has arrived.
    pub(super) fn is_refused(&self, transport: &Transport, is_tls: bool) -> bool {
        let is_refused = !self.is_empty() && !is_tls && transport.has_started_tls();
        if is_refused {
            transport.state.end(ConnectionLost::io(not_encrypted(self.len())));
        }
        is_refused
    }

    /// Returns the data, to deliver its start. The caller returns it with [`keep`](Self::keep).
    pub(super) fn take(&mut self) -> Unread {
        mem::take(self)
    }

    pub(super) fn data(&self) -> &[u8] {
        &self.bytes[self.delivered..]
    }

    /// Keeps the last `left` bytes of `taken`, and returns `true` if others were delivered.
    pub(super) fn keep(&mut self, mut taken: Unread, left: usize) -> bool {
        let (before, delivered) = (taken.delivered, taken.bytes.len() - left);
        if left == 0 {
            // Frees the memory of long data.
            taken = Unread::default();
        } else if delivered > left {
            // Not after each delivery, since there may be many with a pause after each.
            taken.bytes.drain(..delivered);
            taken.delivered = 0;
        } else {
            taken.delivered = delivered;
        }
        *self = taken;
        delivered > before
    }
}

/// Returns the error of data before TLS that follows the request for TLS. An attacker may have
/// added it.
pub(super) fn not_encrypted(length: usize) -> io::Error {
    let text = format!("{length} bytes arrived together with the request for TLS: they are not encrypted");
    io::Error::new(io::ErrorKind::InvalidData, text)
}
