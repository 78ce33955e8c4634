//! A library in the style of many C libraries: its handle must stay on the thread that has opened
//! it, and it calls back in threads of its own.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The handle. It is not `Sync`.
pub(crate) struct Sensors {
    last: Cell<u32>,
    running: RefCell<HashMap<u32, Measurement>>,
}

/// A measurement: the channel that ends it, and its thread.
type Measurement = (Sender<()>, JoinHandle<()>);

impl Sensors {
    pub(crate) fn open() -> Sensors {
        Sensors { last: Cell::new(0), running: RefCell::default() }
    }

    /// Begins a measurement, and returns its number. `done` is called once, in another thread, with
    /// the temperature, or with `None` if there is no such sensor; or never, if the measurement is
    /// cancelled.
    pub(crate) fn measure(&self, sensor: i32, done: impl FnOnce(Option<i32>) + Send + 'static) -> Option<u32> {
        if sensor < 0 {
            done(None);
            return None;
        }
        let number = self.last.get() + 1;
        self.last.set(number);
        let (cancel, cancelled) = mpsc::channel();
        let thread = thread::spawn(move || {
            // Sensor 0 is slow.
            let takes = if sensor == 0 { Duration::from_secs(10) } else { Duration::from_millis(50) };
            if cancelled.recv_timeout(takes) != Ok(()) {
                done(Some(15 + sensor % 10));
            }
        });
        let mut running = self.running.borrow_mut();
        running.retain(|_, (_, thread)| !thread.is_finished());
        running.insert(number, (cancel, thread));
        Some(number)
    }

    /// Cancels a measurement. Returns `false` if it is done.
    pub(crate) fn cancel(&self, number: u32) -> bool {
        self.running.borrow_mut().remove(&number).is_some_and(|(cancel, _)| cancel.send(()).is_ok())
    }
}
