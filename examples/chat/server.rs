//! The chat server: rooms, and the protocol of a client.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use deferred_smol::Failure;
use deferred_smol::net::{ConnectionLost, LineProtocol, Lines, Transport};

/// The number of bytes that are buffered for a client that does not read.
const WRITE_LIMIT: usize = 1024 * 1024;
const LONGEST_NAME: usize = 20;
const LONGEST_LINE: usize = 64 * 1024;
const LOBBY: &str = "lobby";

/// The clients that have a name, shared by all protocols.
#[derive(Clone, Default)]
pub(crate) struct Chat {
    members: Rc<RefCell<BTreeMap<String, Member>>>,
}

struct Member {
    room: String,
    transport: Transport,
}

impl Chat {
    pub(crate) fn new() -> Chat {
        Chat::default()
    }

    /// Creates the protocol of a new client, which has no name yet.
    pub(crate) fn protocol(&self) -> Lines<Client> {
        Lines::new(Client { chat: self.clone(), name: None }).max_length(LONGEST_LINE)
    }

    pub(crate) fn len(&self) -> usize {
        self.members.borrow().len()
    }

    pub(crate) fn announce(&self, text: &str) {
        for member in self.members.borrow().values() {
            member.transport.write(format!("* {text}\n").as_bytes());
        }
    }

    /// Sends a line to all members of `room` except `but`.
    fn say(&self, room: &str, except: &str, line: &str) {
        let line = format!("{line}\n");
        for (name, member) in &*self.members.borrow() {
            if member.room == room && name != except {
                // If the buffer exceeds its limit, the connection is lost, but `connection_lost` is
                // called later, so the map does not change during this loop.
                member.transport.write(line.as_bytes());
            }
        }
    }

    /// Moves a client into `room`, and notifies both rooms and the client.
    fn enter(&self, name: &str, room: &str, transport: &Transport) {
        let member = Member { room: room.to_owned(), transport: transport.clone() };
        let previous = self.members.borrow_mut().insert(name.to_owned(), member);
        if let Some(previous) = previous {
            self.say(&previous.room, name, &format!("* {name} goes to {room}"));
        }
        self.say(room, name, &format!("* {name} is here"));
        let others = self.members.borrow().values().filter(|member| member.room == room).count() - 1;
        transport.write(format!("* you are in {room}, with {others} others\n").as_bytes());
    }

    fn leave(&self, name: &str, why: &str) {
        let left = self.members.borrow_mut().remove(name);
        if let Some(member) = left {
            self.say(&member.room, name, &format!("* {name} has left: {why}"));
        }
    }

    fn room_of(&self, name: &str) -> String {
        self.members.borrow().get(name).map_or_else(String::new, |member| member.room.clone())
    }

    fn names_in(&self, room: &str) -> String {
        let members = self.members.borrow();
        let names: Vec<_> = members.iter().filter(|(_, member)| member.room == room).map(|(name, _)| &**name).collect();
        names.join(", ")
    }
}

/// The protocol of one client.
pub(crate) struct Client {
    chat: Chat,
    /// The client's name, once it has sent a valid one.
    name: Option<String>,
}

impl Client {
    fn set_name(&mut self, transport: &Transport, name: &str) {
        let fits = (1..=LONGEST_NAME).contains(&name.len())
            && name.chars().all(|letter| letter.is_alphanumeric() || letter == '-');
        if !fits {
            transport.write(b"* a name has up to 20 letters, digits and hyphens; your name?\n");
        } else if self.chat.members.borrow().contains_key(name) {
            transport.write(b"* that name is taken; your name?\n");
        } else {
            self.name = Some(name.to_owned());
            self.chat.enter(name, LOBBY, transport);
        }
    }

    fn run_command(&self, name: &str, command: &str, transport: &Transport) {
        match command.split_once(' ').unwrap_or((command, "")) {
            ("join", room) if !room.is_empty() => self.chat.enter(name, room, transport),
            ("who", _) => {
                let names = self.chat.names_in(&self.chat.room_of(name));
                transport.write(format!("* {names}\n").as_bytes());
            }
            ("quit", _) => {
                transport.write(b"* goodbye\n");
                transport.lose_connection();
            }
            _ => transport.write(b"* unknown command; use /join ROOM, /who or /quit\n"),
        }
    }
}

impl LineProtocol for Client {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        transport.set_write_limit(WRITE_LIMIT);
        transport.write(b"* welcome; your name?\n");
        Ok(())
    }

    fn line_received(&mut self, transport: &Transport, line: &[u8]) -> Result<(), Failure> {
        let line = String::from_utf8_lossy(line);
        match &self.name {
            None => self.set_name(transport, line.trim()),
            Some(name) => match line.strip_prefix('/') {
                Some(command) => self.run_command(name, command.trim(), transport),
                None => self.chat.say(&self.chat.room_of(name), name, &format!("{name}: {line}")),
            },
        }
        Ok(())
    }

    fn connection_lost(&mut self, reason: &ConnectionLost) {
        if let Some(name) = self.name.take() {
            let why = match reason {
                ConnectionLost::TooSlow { .. } => "does not read".to_owned(),
                reason => reason.to_string(),
            };
            self.chat.leave(&name, &why);
        }
    }
}
