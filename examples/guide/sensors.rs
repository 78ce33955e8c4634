//! A library that calls back. It stands for a dependency that knows nothing of Deferreds.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use deferred_smol::Reactor;

type Callback = Box<dyn FnOnce(Result<f64, SensorError>)>;

/// The error of a sensor.
#[derive(Debug, PartialEq)]
pub(crate) struct SensorError {
    /// The name of the sensor.
    pub(crate) sensor: String,
}

impl fmt::Display for SensorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sensor {} is broken", self.sensor)
    }
}

impl std::error::Error for SensorError {}

/// The sensors. Each answers after 10 ms, except for the one in the garden, which never does.
pub(crate) struct Sensors {
    reactor: Reactor,
    waiting: Rc<RefCell<HashMap<u32, Callback>>>,
    last: RefCell<u32>,
}

impl Sensors {
    pub(crate) fn new(reactor: &Reactor) -> Sensors {
        Sensors { reactor: reactor.clone(), waiting: Rc::default(), last: RefCell::new(0) }
    }

    /// Reads a sensor and calls `done` later. Returns the number of the request.
    pub(crate) fn read(&self, name: &str, done: impl FnOnce(Result<f64, SensorError>) + 'static) -> u32 {
        let request = self.last.replace_with(|last| *last + 1) + 1;
        self.waiting.borrow_mut().insert(request, Box::new(done));
        let answer = match name {
            "attic" => Ok(27.5),
            "cellar" => Ok(12.0),
            "garden" => return request,
            _ => Err(SensorError { sensor: name.to_owned() }),
        };
        let waiting = self.waiting.clone();
        self.reactor.call_later(Duration::from_millis(10), move || {
            let done = waiting.borrow_mut().remove(&request);
            if let Some(done) = done {
                done(answer);
            }
        });
        request
    }

    /// Forgets a request, whose callback is not called.
    pub(crate) fn forget(&self, request: u32) {
        let done = self.waiting.borrow_mut().remove(&request);
        drop(done);
    }

    /// Returns the number of requests that are not answered.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.borrow().len()
    }
}
