//! `Pair`: two protocols that are connected in memory.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use deferred_core::Clock;

use super::memory::{MemorySocket, SharedPipe};
use super::settle;
use crate::{Protocol, Transport};

/// Two protocols that are connected with each other.
///
/// # Examples
///
/// ```
/// use std::cell::RefCell;
/// use std::rc::Rc;
/// use deferred_mio::net::on_line;
/// use deferred_mio::net::testing::Pair;
/// use deferred_mio::Clock;
///
/// let clock = Clock::new();
/// let answers = Rc::new(RefCell::new(Vec::new()));
/// let seen = answers.clone();
/// let client = on_line(move |_, line| seen.borrow_mut().push(line.to_vec())).on_made(|transport| transport.send_line("a"));
/// let server = on_line(|transport, line| transport.send_line(line.to_ascii_uppercase()));
///
/// let pair = Pair::connect(&clock, client, server);
/// assert_eq!(*answers.borrow(), [b"A"]);
/// pair.client.send_line("b");
/// pair.flush();
/// assert_eq!(*answers.borrow(), [b"A", b"B"]);
/// ```
#[doc(alias = "iosim")]
#[doc(alias = "IOPump")]
#[doc(alias = "connectedServerAndClient")]
pub struct Pair<'c> {
    /// The connection of the client.
    pub client: Transport,
    /// The connection of the server.
    pub server: Transport,
    clock: &'c Clock,
    pipes: [SharedPipe; 2],
}

impl<'c> Pair<'c> {
    /// Connects two protocols: calls `connection_made`, of the client first, and delivers what they
    /// write. The address of the client is `192.0.2.1:54321`, that of the server `192.0.2.2:80`.
    ///
    /// # Panics
    ///
    /// Panics if the protocols exchange data without an end. So does [`flush`](Self::flush).
    #[track_caller]
    pub fn connect(clock: &'c Clock, client: impl Protocol, server: impl Protocol) -> Pair<'c> {
        let addresses: [SocketAddr; 2] =
            [(Ipv4Addr::new(192, 0, 2, 1), 54321).into(), (Ipv4Addr::new(192, 0, 2, 2), 80).into()];
        let pipes = [SharedPipe::default(), SharedPipe::default()];
        let socket = |side: usize| MemorySocket {
            input: pipes[side].clone(),
            output: pipes[1 - side].clone(),
            local: addresses[side],
            peer: addresses[1 - side],
        };
        let client = Transport::over_socket(clock, socket(0), client);
        let server = Transport::over_socket(clock, socket(1), server);
        let pair = Pair { client, server, clock, pipes };
        pair.flush();
        pair
    }

    /// Delivers what both sides have written, and the answers, until neither has anything to
    /// deliver.
    #[track_caller]
    pub fn flush(&self) {
        settle(self.clock, || self.pipes.iter().map(|pipe| pipe.borrow().moves).sum());
    }
}

impl fmt::Debug for Pair<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").field("client", &self.client).field("server", &self.server).finish_non_exhaustive()
    }
}
