//! A chat whose members are on several reactors.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;

use deferred_mio::net::ConnectionLost;
use deferred_mio::net::{LineProtocol, Lines, ServerEndpoint, Transport};
use deferred_mio::{Failure, Reactor, ReactorThread, RemoteSender, inline_callbacks, start_thread};

/// The reactors of the chat.
pub(crate) struct Chat {
    address: SocketAddr,
    reactors: Vec<ReactorThread<Room>>,
}

/// The part of the room that is on one reactor.
#[derive(Default)]
struct Room {
    members: RefCell<Vec<Transport>>,
    /// The largest number of members.
    most: Cell<usize>,
    /// Sends a line to each of the other reactors.
    others: RefCell<Vec<RemoteSender<Vec<u8>>>>,
}

impl Room {
    /// Sends a line to the members on this reactor.
    fn deliver(&self, line: &[u8]) {
        self.members.borrow().iter().for_each(|member| member.send_line(line));
    }
}

/// The protocol of a member.
struct Member(Rc<Room>);

impl LineProtocol for Member {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        let mut members = self.0.members.borrow_mut();
        members.push(transport.clone());
        self.0.most.set(self.0.most.get().max(members.len()));
        Ok(())
    }

    fn line_received(&mut self, _: &Transport, line: &[u8]) -> Result<(), Failure> {
        self.0.deliver(line);
        for other in &*self.0.others.borrow() {
            // A post for each reactor, not for each member. It fails only if that has ended.
            let _ = other.send(line.to_vec());
        }
        Ok(())
    }

    fn connection_lost(&mut self, _: &ConnectionLost) {
        self.0.members.borrow_mut().retain(|member| member.lost().is_none());
    }
}

impl Chat {
    pub(crate) fn start(reactors: usize) -> Result<Chat, Failure> {
        let mut address = "127.0.0.1:0".to_owned();
        let (mut all, mut senders) = (Vec::new(), Vec::new());
        for _ in 0..reactors {
            let listens_on = address.clone();
            let reactor = start_thread(|_| Ok(Room::default())).wait()?;
            let (bound, sender) = reactor.call(move |room| open(room, &listens_on)).wait()?;
            address = bound.to_string();
            all.push(reactor);
            senders.push(sender);
        }
        for (index, reactor) in all.iter().enumerate() {
            let mut others = senders.clone();
            others.remove(index);
            let connect = move |room: &Rc<Room>| {
                *room.others.borrow_mut() = others;
                Ok(())
            };
            reactor.call(connect).wait()?;
        }
        let address = address.parse().map_err(|_| Failure::msg("the port has no address"))?;
        Ok(Chat { address, reactors: all })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the largest number of members of each reactor.
    pub(crate) fn members(&self) -> Result<Vec<usize>, Failure> {
        self.reactors.iter().map(|reactor| reactor.call(|room| Ok(room.most.get())).wait()).collect()
    }

    pub(crate) fn stop(self) -> Result<(), Failure> {
        self.reactors.iter().try_for_each(|reactor| reactor.stop().wait())
    }
}

/// Lets a room listen. Returns its address, and what sends lines to it.
fn open(room: &Rc<Room>, address: &str) -> Result<(SocketAddr, RemoteSender<Vec<u8>>), Failure> {
    let reactor = Reactor::current().ok_or_else(|| Failure::msg("this runs in a call of the reactor"))?;
    let members = room.clone();
    let endpoint = ServerEndpoint::tcp(address).reuse_port(true);
    let port = endpoint.listen(&reactor, move |_| Lines::new(Member(members.clone())))?;
    let (lines, sender) = reactor.remote_queue::<Vec<u8>>(None);
    let room = room.clone();
    drop(inline_callbacks(async move {
        while let Ok(line) = lines.get().await {
            room.deliver(&line);
        }
        Ok(())
    }));
    Ok((port.local_addr().ok_or_else(|| Failure::msg("the port has no address"))?, sender))
}
