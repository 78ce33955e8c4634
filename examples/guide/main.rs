//! The program of `docs/guide.md`: a weather station, which grows from chapter to chapter.

mod sensors;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use deferred_smol::net::{ConnectionLost, LineProtocol, Lines, Transport, connect_tcp, listen_tcp, on_line};
use deferred_smol::{
    Backoff, Deferred, DeferredLock, Failure, LoopingCall, Reactor, RemoteSender, concurrent, gather, inline_callbacks,
    race, react,
};
use deferred_threadpool::defer_to_thread;
use sensors::{SensorError, Sensors};

// Callbacks.

fn temperature(sensors: &Sensors, name: &str) -> Deferred<f64> {
    let (deferred, resolver) = Deferred::new();
    sensors.read(name, move |answer| resolver.fire(answer.map_err(Failure::from)));
    deferred
}

fn in_words(sensors: &Sensors, name: &'static str) -> Deferred<String> {
    temperature(sensors, name)
        .map(|celsius| celsius * 1.8 + 32.0)
        .map(move |fahrenheit| format!("{name}: {fahrenheit} °F"))
}

// Errors.

fn or_replaced(sensors: &Rc<Sensors>, name: &str, other: &'static str) -> Deferred<f64> {
    let sensors = sensors.clone();
    temperature(&sensors, name).add_errback(move |failure| match failure.trap::<SensorError>() {
        Ok(_broken) => temperature(&sensors, other), // a callback can return a Deferred
        Err(failure) => Deferred::fail(failure),     // any other error goes on
    })
}

// Cancellation.

fn cancellable(sensors: &Rc<Sensors>, name: &str) -> Deferred<f64> {
    let request = Rc::new(Cell::new(None));
    let (deferred, resolver) = Deferred::with_canceller({
        let (sensors, request) = (sensors.clone(), request.clone());
        move || {
            if let Some(request) = request.get() {
                sensors.forget(request);
            }
            None // it fails with `Cancelled`
        }
    });
    request.set(Some(sensors.read(name, move |answer| resolver.fire(answer.map_err(Failure::from)))));
    deferred
}

fn with_limit(sensors: &Rc<Sensors>, name: &str, reactor: &Reactor) -> Deferred<f64> {
    cancellable(sensors, name).add_timeout(Duration::from_millis(50), reactor)
}

// Coroutines.

fn difference(sensors: Rc<Sensors>) -> Deferred<f64> {
    inline_callbacks(async move {
        let attic = temperature(&sensors, "attic").await?;
        let cellar = temperature(&sensors, "cellar").await?;
        Ok(attic - cellar)
    })
}

// Many at once.

fn average(sensors: &Sensors, names: &[&str]) -> Deferred<f64> {
    let count = names.len() as f64;
    let all = gather(names.iter().map(|name| temperature(sensors, name)));
    all.map(move |all| all.iter().sum::<f64>() / count).map_err(Failure::from)
}

fn two_at_a_time(sensors: Rc<Sensors>, names: Vec<&'static str>) -> Deferred<Vec<f64>> {
    concurrent(2).map(names, move |name| temperature(&sensors, name)).map_err(Failure::from)
}

fn first(sensors: &Rc<Sensors>, names: &[&str]) -> Deferred<f64> {
    race(names.iter().map(|name| cancellable(sensors, name))).map(|(_index, degrees)| degrees).map_err(Failure::from)
}

// Time.

fn watch(sensors: Rc<Sensors>, reactor: &Reactor, show: impl Fn(f64) + Clone + 'static) -> LoopingCall {
    let watch = LoopingCall::new(reactor, move || {
        let show = show.clone();
        temperature(&sensors, "attic").map(show) // the next call waits for this one
    });
    drop(watch.start(Duration::from_secs(60)));
    watch
}

fn patient(sensors: Rc<Sensors>, reactor: &Reactor) -> Deferred<f64> {
    let backoff = Backoff::new(Duration::from_millis(100)).max_attempts(3);
    let clock = reactor.clone();
    reactor.retry(backoff, move |_attempt| with_limit(&sensors, "garden", &clock))
}

// Threads.

#[derive(Clone, Default)]
struct Archive(Arc<Mutex<Vec<f64>>>);

impl Archive {
    /// Blocks for as long as the disk needs.
    fn store(&self, degrees: f64) -> Result<usize, Failure> {
        thread::sleep(Duration::from_millis(5));
        let mut rows = self.0.lock().map_err(|_| Failure::msg("the archive is broken"))?;
        rows.push(degrees);
        Ok(rows.len())
    }
}

fn store(archive: &Archive, degrees: f64) -> Deferred<usize> {
    let archive = archive.clone();
    defer_to_thread(move || archive.store(degrees)) // blocks a thread of the pool, not the loop
}

/// A library with a thread of its own, which calls back there.
fn count_rain_drops(drops: RemoteSender<u32>) {
    thread::spawn(move || {
        for number in 1..=3 {
            if drops.send(number).is_err() {
                return; // the queue is closed
            }
        }
    });
}

fn rain(reactor: &Reactor) -> Deferred<u32> {
    let (drops, sender) = reactor.remote_queue(None);
    count_rain_drops(sender);
    inline_callbacks(async move {
        let mut sum = 0;
        while let Ok(number) = drops.get().await {
            sum += number;
        }
        Ok(sum)
    })
}

// Network.

/// Answers each line, which is the name of a sensor.
struct Station {
    sensors: Rc<Sensors>,
    /// The answers have the order of the questions.
    turn: DeferredLock,
}

impl LineProtocol for Station {
    fn line_received(&mut self, transport: &Transport, line: &[u8]) -> Result<(), Failure> {
        let (sensors, transport) = (self.sensors.clone(), transport.clone());
        let name = String::from_utf8_lossy(line).into_owned();
        let answer = self.turn.run(move || {
            let answer = with_limit(&sensors, &name, transport.reactor());
            answer.add_both(move |degrees| match degrees {
                Ok(degrees) => transport.send_line(format!("{degrees}")),
                Err(failure) => transport.send_line(format!("error: {failure}")),
            })
        });
        drop(answer); // it goes on; an error would be reported
        Ok(())
    }
}

fn station(sensors: &Rc<Sensors>) -> Lines<Station> {
    Lines::new(Station { sensors: sensors.clone(), turn: DeferredLock::new() })
}

fn ask(reactor: &Reactor, port: u16, questions: &'static [&'static str]) -> Deferred<Vec<String>> {
    let (answers, resolver) = Deferred::new();
    let (mut received, mut resolver) = (Vec::new(), Some(resolver));
    let client = on_line(move |transport, line| {
        received.push(String::from_utf8_lossy(line).into_owned());
        if received.len() == questions.len() {
            transport.lose_connection();
            if let Some(resolver) = resolver.take() {
                resolver.callback(std::mem::take(&mut received));
            }
        }
    })
    .on_made(move |transport| questions.iter().for_each(|question| transport.send_line(question)))
    .on_lost(|reason: &ConnectionLost| println!("the connection has ended: {reason}"));
    connect_tcp(reactor, ("127.0.0.1", port), Duration::from_secs(5), client).add_callback(move |_| answers)
}

fn main() -> std::process::ExitCode {
    react(|reactor| {
        let reactor = reactor.clone();
        inline_callbacks(async move {
            let sensors = Rc::new(Sensors::new(&reactor));
            println!("{}", in_words(&sensors, "attic").await?);
            println!("instead of the roof: {}", or_replaced(&sensors, "roof", "attic").await?);
            if let Err(failure) = with_limit(&sensors, "garden", &reactor).await {
                println!("garden: {failure}");
            }
            println!("difference: {}", difference(sensors.clone()).await?);
            println!("average: {}", average(&sensors, &["attic", "cellar"]).await?);
            println!("in order: {:?}", two_at_a_time(sensors.clone(), vec!["cellar", "attic", "cellar"]).await?);
            println!("first: {}", first(&sensors, &["garden", "cellar"]).await?);
            let watch = watch(sensors.clone(), &reactor, |degrees| println!("watched: {degrees}"));
            if let Err(failure) = patient(sensors.clone(), &reactor).await {
                println!("after three attempts: {failure}");
            }
            watch.stop();
            println!("rows in the archive: {}", store(&Archive::default(), 27.5).await?);
            println!("drops: {}", rain(&reactor).await?);

            let served = sensors.clone();
            let port = listen_tcp(&reactor, "127.0.0.1:0", move |_| station(&served))?;
            let number = port.local_addr().map_or(0, |address| address.port());
            for answer in ask(&reactor, number, &["cellar", "roof", "garden", "attic"]).await? {
                println!("answer: {answer}");
            }
            port.shut_down(Duration::from_secs(1)).await?;
            Ok(())
        })
    })
}

#[cfg(test)]
mod tests {
    use deferred_smol::net::testing::StringTransport;
    use deferred_smol::testing::{assert_no_result, checked, failure_result_of, success_result_of};
    use deferred_smol::{Clock, TimedOut};

    use super::*;

    #[test]
    fn a_sensor_answers_after_ten_milliseconds() {
        let clock = Clock::new();
        let sensors = Sensors::new(&clock);
        let mut words = in_words(&sensors, "attic");
        assert_no_result(&mut words);
        clock.advance(Duration::from_millis(10));
        assert_eq!(success_result_of(words), "attic: 81.5 °F");
    }

    #[test]
    fn a_timeout_forgets_the_request() {
        let clock = Clock::new();
        let sensors = Rc::new(Sensors::new(&clock));
        let degrees = with_limit(&sensors, "garden", &clock);
        assert_eq!(sensors.waiting(), 1);
        clock.advance(Duration::from_millis(50));
        assert!(failure_result_of(degrees).check::<TimedOut>());
        assert_eq!(sensors.waiting(), 0);
    }

    #[test]
    fn the_station_answers_in_the_order_of_the_questions() {
        checked(|clock| {
            let sensors = Rc::new(Sensors::new(clock));
            let client = StringTransport::connect(clock, station(&sensors));
            client.receive("garden\r\nattic\r\n");
            clock.advance_in_steps(Duration::from_secs(1));
            client.flush();
            assert_eq!(client.value(), b"error: timed out after 50ms\r\n27.5\r\n");
        });
    }
}
