//! The state of the loop: everything here runs on its thread, without a lock.

use std::cell::Cell;
use std::rc::Rc;

use deferred_examples::Story;
use deferred_tokio::{Deferred, Failure, Reactor};
use rusqlite::Connection;

use crate::sensors::Sensors;

pub(crate) struct Backend {
    reactor: Reactor,
    sensors: Rc<Sensors>,
    database: Connection,
    cancelled: Rc<Cell<u32>>,
    story: Story,
}

impl Backend {
    pub(crate) fn open(reactor: &Reactor, story: Story) -> Result<Backend, Failure> {
        let database = Connection::open_in_memory()?;
        database.execute("CREATE TABLE measured (sensor INTEGER, degrees INTEGER)", ())?;
        let sensors = Rc::new(Sensors::open());
        Ok(Backend { reactor: reactor.clone(), sensors, database, cancelled: Rc::default(), story })
    }

    /// Asks a sensor, and stores the answer.
    pub(crate) fn measure(self: &Rc<Self>, sensor: i32) -> Deferred<i32> {
        let backend = self.clone();
        self.ask(sensor).add_callback(move |degrees| {
            backend.database.execute("INSERT INTO measured VALUES (?1, ?2)", (sensor, degrees))?;
            Ok(degrees)
        })
    }

    /// The callback of the library becomes a Deferred: it fires in the library's thread, and the
    /// callbacks run on the loop's. A cancel cancels the measurement.
    fn ask(&self, sensor: i32) -> Deferred<i32> {
        let (sensors, cancelled, story) = (self.sensors.clone(), self.cancelled.clone(), self.story);
        let number = Rc::new(Cell::new(None));
        let asked = number.clone();
        let (answer, resolver) = self.reactor.remote_with_canceller(move || {
            if asked.get().is_some_and(|number| sensors.cancel(number)) {
                cancelled.set(cancelled.get() + 1);
                story.say(format_args!("the measurement of sensor {sensor} is cancelled"));
            }
            None
        });
        number.set(self.sensors.measure(sensor, move |degrees| match degrees {
            Some(degrees) => resolver.callback(degrees),
            None => resolver.errback(Failure::msg(format!("there is no sensor {sensor}"))),
        }));
        answer
    }

    pub(crate) fn average(&self) -> Result<f64, Failure> {
        Ok(self.database.query_row("SELECT avg(degrees) FROM measured", (), |row| row.get(0))?)
    }

    /// Returns the number of measurements that were cancelled.
    pub(crate) fn cancelled(&self) -> u32 {
        self.cancelled.get()
    }
}
