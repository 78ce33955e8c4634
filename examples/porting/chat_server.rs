//! A chat of lines, whose clients first say their names.

use std::cell::RefCell;
use std::collections::HashMap;
use std::env;
use std::rc::Rc;

use deferred_mio::net::{ConnectionLost, LineProtocol, Lines, Transport};
use deferred_mio::{Failure, serve};

type Users = Rc<RefCell<HashMap<Vec<u8>, Transport>>>;

struct Chat {
    users: Users,
    name: Option<Vec<u8>>,
}

impl LineProtocol for Chat {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        transport.send_line("What's your name?");
        Ok(())
    }

    fn connection_lost(&mut self, _: &ConnectionLost) {
        self.name.as_ref().map(|name| self.users.borrow_mut().remove(name));
    }

    fn line_received(&mut self, transport: &Transport, line: &[u8]) -> Result<(), Failure> {
        let mut users = self.users.borrow_mut();
        if let Some(name) = &self.name {
            let message = [b"<", &name[..], b"> ", line].concat();
            users.values().filter(|user| *user != transport).for_each(|user| user.send_line(&message));
        } else if users.contains_key(line) {
            transport.send_line("Name taken, please choose another.");
        } else {
            transport.send_line([b"Welcome, ", line, b"!"].concat());
            users.insert(line.to_vec(), transport.clone());
            self.name = Some(line.to_vec());
        }
        Ok(())
    }
}

fn main() -> Result<(), Failure> {
    let port = env::args().nth(1).unwrap_or_default();
    let users = Users::default();
    serve(format!("127.0.0.1:{port}"), move |_| Lines::new(Chat { users: users.clone(), name: None }))
}
