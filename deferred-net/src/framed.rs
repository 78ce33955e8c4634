//! `Framed`: splits incoming data into frames, each with its length in front.

use std::io;

use deferred_core::Failure;

use super::unread::{Unread, not_encrypted};
use super::{ConnectionLost, Protocol, Transport};

/// The default maximum length of a frame, as in Twisted.
const MAX_LENGTH: usize = 99_999;

/// A format of frames.
///
/// Twisted's `Int8StringReceiver`, `Int16StringReceiver`, `Int32StringReceiver` and
/// `NetstringReceiver`.
#[doc(alias = "Int8StringReceiver")]
#[doc(alias = "Int16StringReceiver")]
#[doc(alias = "Int32StringReceiver")]
#[doc(alias = "NetstringReceiver")]
#[doc(alias = "length_delimited")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Framing {
    /// The length is one byte.
    Int8,
    /// The length is two bytes, the upper one first.
    Int16,
    /// The length is four bytes, the highest one first.
    Int32,
    /// The length is a decimal number and a colon, and a comma follows the frame: `5:hello,`.
    Netstring,
}

/// The start of received data.
enum Found {
    /// A frame from the first to before the second position, and the start of the next one.
    Frame(usize, usize, usize),
    /// A frame of this length, which may be incomplete.
    TooLong(usize),
    Incomplete,
    Invalid(&'static str),
}

impl Framing {
    /// Sends a frame.
    ///
    /// Twisted's `sendString`.
    ///
    /// # Errors
    ///
    /// Returns an error if the frame is longer than the format allows. Nothing is sent then.
    #[doc(alias = "sendString")]
    pub fn send(self, transport: &Transport, frame: impl AsRef<[u8]>) -> io::Result<()> {
        let frame = frame.as_ref();
        let length = u32::try_from(frame.len()).ok().filter(|length| u64::from(*length) <= self.longest());
        let Some(length) = length else {
            let text = format!("a frame of {} bytes is too long: the format allows {}", frame.len(), self.longest());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        };
        match self {
            Framing::Int8 | Framing::Int16 | Framing::Int32 => {
                transport.write(&length.to_be_bytes()[4 - self.prefix()..]);
                transport.write(frame);
            }
            Framing::Netstring => {
                transport.write(format!("{length}:"));
                transport.write(frame);
                transport.write(",");
            }
        }
        Ok(())
    }

    /// Returns the length of the longest frame.
    fn longest(self) -> u64 {
        match self {
            Framing::Int8 => u8::MAX.into(),
            Framing::Int16 => u16::MAX.into(),
            Framing::Int32 | Framing::Netstring => u32::MAX.into(),
        }
    }

    /// Returns the number of bytes of the length.
    fn prefix(self) -> usize {
        match self {
            Framing::Int8 => 1,
            Framing::Int16 => 2,
            Framing::Int32 | Framing::Netstring => 4,
        }
    }

    fn find(self, data: &[u8], max_length: usize) -> Found {
        if self == Framing::Netstring {
            return find_netstring(data, max_length);
        }
        let prefix = self.prefix();
        let Some(bytes) = data.get(..prefix) else { return Found::Incomplete };
        let length = bytes.iter().fold(0, |length, byte| length << 8 | u64::from(*byte));
        match usize::try_from(length) {
            Ok(length) if length <= max_length && data.len() - prefix >= length => {
                Found::Frame(prefix, prefix + length, prefix + length)
            }
            Ok(length) if length <= max_length => Found::Incomplete,
            length => Found::TooLong(length.unwrap_or(usize::MAX)),
        }
    }
}

fn find_netstring(data: &[u8], max_length: usize) -> Found {
    let digits = data.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let start = digits + 1;
    let length = data[..digits]
        .iter()
        .fold(0_usize, |length, digit| length.saturating_mul(10).saturating_add(usize::from(digit - b'0')));
    if digits > 1 && data[0] == b'0' {
        return Found::Invalid("the length of a netstring begins with a zero");
    }
    // Also before the colon, so that a number without an end is not buffered.
    if length > max_length {
        return Found::TooLong(length);
    }
    match data.get(digits) {
        None => return Found::Incomplete,
        Some(b':') if digits > 0 => {}
        Some(_) => return Found::Invalid("a netstring begins with a number and a colon"),
    }
    match data.get(start + length) {
        None => Found::Incomplete,
        Some(b',') => Found::Frame(start, start + length, start + length + 1),
        Some(_) => Found::Invalid("a netstring ends with a comma"),
    }
}

/// The callbacks of a connection on which frames arrive. [`Framed`] converts it into a
/// [`Protocol`].
///
/// Twisted's `StatefulStringProtocol`, and the callbacks of its string receivers.
pub trait FrameProtocol: 'static {
    /// Called when the connection is established: see [`Protocol::connection_made`].
    ///
    /// # Errors
    ///
    /// An error aborts the connection.
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        let _ = transport;
        Ok(())
    }

    /// Called for each frame.
    ///
    /// It is not called while reading is [paused](Transport::pause_producing), nor after
    /// [`lose_connection`](Transport::lose_connection), even if frames have arrived.
    ///
    /// # Errors
    ///
    /// An error aborts the connection.
    #[doc(alias = "stringReceived")]
    fn frame_received(&mut self, transport: &Transport, frame: &[u8]) -> Result<(), Failure>;

    /// Called when the peer has ended its side: see [`Protocol::read_connection_lost`]. By default
    /// it loses the connection.
    ///
    /// # Errors
    ///
    /// An error aborts the connection.
    fn read_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        transport.lose_connection();
        Ok(())
    }

    /// Called when the connection has ended: see [`Protocol::connection_lost`]. An incomplete last
    /// frame is not delivered.
    fn connection_lost(&mut self, reason: &ConnectionLost) {
        let _ = reason;
    }
}

/// A [`Protocol`] that splits incoming data into frames for a [`FrameProtocol`].
///
/// A frame that exceeds the maximum length, and data that is not a frame, end the connection with
/// an [`Io`](ConnectionLost::Io) error of the kind `InvalidData`. Only an incomplete frame is
/// buffered, or data that arrived before reading was paused.
///
/// # Examples
///
/// ```
/// use deferred_mio::net::testing::StringTransport;
/// use deferred_mio::net::{FrameProtocol, Framed, Framing, Transport};
/// use deferred_mio::{Clock, Failure};
///
/// struct Echo;
///
/// impl FrameProtocol for Echo {
///     fn frame_received(&mut self, transport: &Transport, frame: &[u8]) -> Result<(), Failure> {
///         Framing::Netstring.send(transport, frame)?;
///         Ok(())
///     }
/// }
///
/// let clock = Clock::new();
/// let peer = StringTransport::connect(&clock, Framed::new(Framing::Netstring, Echo));
/// peer.receive("5:hello,2:h");
/// assert_eq!(peer.value(), b"5:hello,");
/// ```
#[doc(alias = "StatefulStringProtocol")]
#[derive(Debug)]
pub struct Framed<P> {
    framing: Framing,
    protocol: P,
    max_length: usize,
    /// Whether data has arrived that TLS has decrypted.
    is_tls: bool,
    unread: Unread,
}

impl<P: FrameProtocol> Framed<P> {
    /// Creates a protocol for frames of up to 99,999 bytes.
    pub fn new(framing: Framing, protocol: P) -> Framed<P> {
        Framed { framing, protocol, max_length: MAX_LENGTH, is_tls: false, unread: Unread::default() }
    }

    /// Sets the maximum length of a frame in bytes.
    #[doc(alias = "MAX_LENGTH")]
    #[must_use]
    pub fn max_length(mut self, bytes: usize) -> Framed<P> {
        self.max_length = bytes;
        self
    }

    /// Returns the protocol that gets the frames.
    pub fn get_ref(&self) -> &P {
        &self.protocol
    }

    /// Delivers the frames at the start of `data`, and returns the rest.
    fn deliver<'a>(&mut self, transport: &Transport, mut data: &'a [u8]) -> Result<&'a [u8], Failure> {
        while !transport.is_closing() {
            if transport.is_paused() || data.is_empty() {
                return Ok(data);
            }
            if transport.is_starting_tls() {
                return Ok(refuse(transport, not_encrypted(data.len())));
            }
            match self.framing.find(data, self.max_length) {
                Found::Frame(from, to, next) => {
                    self.protocol.frame_received(transport, &data[from..to])?;
                    data = &data[next..];
                }
                Found::Incomplete => return Ok(data),
                Found::TooLong(length) => {
                    let text = format!("a frame of {length} bytes exceeds the maximum of {}", self.max_length);
                    return Ok(refuse(transport, io::Error::new(io::ErrorKind::InvalidData, text)));
                }
                Found::Invalid(why) => return Ok(refuse(transport, io::Error::new(io::ErrorKind::InvalidData, why))),
            }
        }
        Ok(&[])
    }

    fn deliver_unread(&mut self, transport: &Transport) -> Result<(), Failure> {
        let taken = self.unread.take();
        let left = self.deliver(transport, taken.data())?.len();
        self.unread.keep(taken, left);
        Ok(())
    }
}

/// Ends a connection because of its data.
fn refuse(transport: &Transport, error: io::Error) -> &'static [u8] {
    transport.state.end(ConnectionLost::io(error));
    &[]
}

/// The clone has the same settings and a clone of the protocol, and no data.
impl<P: FrameProtocol + Clone> Clone for Framed<P> {
    fn clone(&self) -> Framed<P> {
        Framed { max_length: self.max_length, ..Framed::new(self.framing, self.protocol.clone()) }
    }
}

impl<P: FrameProtocol> Protocol for Framed<P> {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.protocol.connection_made(transport)
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        if self.unread.is_refused(transport, self.is_tls) {
            return Ok(());
        }
        self.is_tls = transport.is_tls();
        if self.unread.is_empty() {
            let left = self.deliver(transport, data)?;
            self.unread.append(left);
            return Ok(());
        }
        self.unread.append(data);
        self.deliver_unread(transport)
    }

    fn read_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.protocol.read_connection_lost(transport)
    }

    fn reading_resumed(&mut self, transport: &Transport) -> Result<(), Failure> {
        if self.unread.is_empty() || self.unread.is_refused(transport, self.is_tls) {
            Ok(())
        } else {
            self.deliver_unread(transport)
        }
    }

    fn connection_lost(&mut self, reason: &ConnectionLost) {
        self.protocol.connection_lost(reason);
    }
}
