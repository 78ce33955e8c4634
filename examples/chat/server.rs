//! The chat.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use deferred_smol::Failure;
use deferred_smol::net::{ConnectionLost, LineProtocol, Lines, Transport};

/// So much of what others said may wait for somebody who does not read.
const PATIENCE: usize = 1024 * 1024;
const LONGEST_NAME: usize = 20;
const LONGEST_LINE: usize = 64 * 1024;
const LOBBY: &str = "lobby";

/// Who is there, for all protocols.
#[derive(Clone, Default)]
pub(crate) struct Chat {
    people: Rc<RefCell<BTreeMap<String, Person>>>,
}

struct Person {
    room: String,
    transport: Transport,
}

impl Chat {
    pub(crate) fn new() -> Chat {
        Chat::default()
    }

    /// Somebody who has not said his name yet.
    pub(crate) fn guest(&self) -> Lines<Guest> {
        Lines::new(Guest { chat: self.clone(), name: None }).max_length(LONGEST_LINE)
    }

    pub(crate) fn len(&self) -> usize {
        self.people.borrow().len()
    }

    pub(crate) fn tell_everyone(&self, text: &str) {
        for person in self.people.borrow().values() {
            person.transport.write(format!("* {text}\n").as_bytes());
        }
    }

    /// Says a line to all in this room but one.
    fn say(&self, room: &str, but: &str, line: &str) {
        let line = format!("{line}\n");
        for (name, person) in &*self.people.borrow() {
            if person.room == room && name != but {
                // If too much waits there, the connection ends, and the notice of that comes later:
                // nothing here changes while this goes through the people.
                person.transport.write(line.as_bytes());
            }
        }
    }

    /// Lets somebody into a room; says who is there.
    fn enter(&self, name: &str, room: &str, transport: &Transport) {
        let person = Person { room: room.to_owned(), transport: transport.clone() };
        let before = self.people.borrow_mut().insert(name.to_owned(), person);
        if let Some(before) = before {
            self.say(&before.room, name, &format!("* {name} goes to {room}"));
        }
        self.say(room, name, &format!("* {name} is here"));
        let others = self.people.borrow().values().filter(|person| person.room == room).count() - 1;
        transport.write(format!("* you are in {room}, with {others} others\n").as_bytes());
    }

    fn leave(&self, name: &str, why: &str) {
        let left = self.people.borrow_mut().remove(name);
        if let Some(person) = left {
            self.say(&person.room, name, &format!("* {name} has left: {why}"));
        }
    }

    fn room_of(&self, name: &str) -> String {
        self.people.borrow().get(name).map_or_else(String::new, |person| person.room.clone())
    }

    fn who(&self, room: &str) -> String {
        let people = self.people.borrow();
        let names: Vec<_> = people.iter().filter(|(_, person)| person.room == room).map(|(name, _)| &**name).collect();
        names.join(", ")
    }
}

/// One client.
pub(crate) struct Guest {
    chat: Chat,
    /// Once it is told.
    name: Option<String>,
}

impl Guest {
    fn introduce(&mut self, transport: &Transport, name: &str) {
        let fits = (1..=LONGEST_NAME).contains(&name.len())
            && name.chars().all(|letter| letter.is_alphanumeric() || letter == '-');
        if !fits {
            transport.write(b"* a name has up to 20 letters and digits; yours?\n");
        } else if self.chat.people.borrow().contains_key(name) {
            transport.write(b"* somebody has that name; yours?\n");
        } else {
            self.name = Some(name.to_owned());
            self.chat.enter(name, LOBBY, transport);
        }
    }

    fn obey(&self, name: &str, command: &str, transport: &Transport) {
        match command.split_once(' ').unwrap_or((command, "")) {
            ("join", room) if !room.is_empty() => self.chat.enter(name, room, transport),
            ("who", _) => {
                let names = self.chat.who(&self.chat.room_of(name));
                transport.write(format!("* {names}\n").as_bytes());
            }
            ("quit", _) => {
                transport.write(b"* goodbye\n");
                transport.lose_connection();
            }
            _ => transport.write(b"* there is /join ROOM, /who and /quit\n"),
        }
    }
}

impl LineProtocol for Guest {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        transport.set_write_limit(PATIENCE);
        transport.write(b"* welcome; your name?\n");
        Ok(())
    }

    fn line_received(&mut self, transport: &Transport, line: &[u8]) -> Result<(), Failure> {
        let line = String::from_utf8_lossy(line);
        match &self.name {
            None => self.introduce(transport, line.trim()),
            Some(name) => match line.strip_prefix('/') {
                Some(command) => self.obey(name, command.trim(), transport),
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
