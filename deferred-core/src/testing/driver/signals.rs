//! Ctrl-C.

use std::cell::Cell;
use std::process::{self, Command};
use std::rc::Rc;
use std::time::Duration;

use parking_lot::Mutex;

use super::{Check, DriverTest};
use crate::reactor::{Phase, SystemEvent};

pub(super) const CHECKS: &[Check] = &[("Ctrl-C stops a loop that sleeps, with its shutdown", ctrl_c_stops_a_loop)];

/// Held while a check needs all signals of the process.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn ctrl_c_stops_a_loop(test: &DriverTest) {
    let _only = ONE_AT_A_TIME.lock();
    let shut_down = Rc::new(Cell::new(false));
    test.drive(|reactor| {
        reactor.stop_on_signals().expect("the system can handle signals");
        reactor.call_later(Duration::from_millis(5), || {
            Command::new("kill").args(["-INT", &process::id().to_string()]).status()?;
            Ok(())
        });
        let flag = shut_down.clone();
        reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move || flag.set(true));
    });
    assert!(shut_down.get());
}
