//! The health of a loop, a pool and a port as metrics.
//!
//! Every 20 milliseconds a [`LoopingCall`] passes the numbers to the crate `metrics`. A program
//! would install an exporter, for example the one for Prometheus; this one installs a recorder that
//! prints the last values at the end.
//!
//! ```text
//! cargo run --example health
//! ```

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use deferred_smol::net::{Port, Protocol, Transport, listen_tcp};
use deferred_smol::{Failure, Health, LoopingCall, Reactor, run};
use deferred_threadpool::ThreadPool;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit, counter, gauge};

/// Passes the numbers of a loop to `metrics`.
fn export_loop(health: &Health) {
    counter!("loop_turns").absolute(health.turns);
    counter!("loop_calls", "kind" => "posted").absolute(health.posted_calls);
    counter!("loop_calls", "kind" => "timer").absolute(health.timer_calls);
    counter!("loop_calls", "kind" => "coroutine").absolute(health.coroutine_calls);
    counter!("loop_unhandled_errors").absolute(health.unhandled_errors);
    counter!("loop_blocking_calls").absolute(health.blocking_calls);
    gauge!("loop_timers").set(health.timers as f64);
    gauge!("loop_coroutines").set(health.coroutines as f64);
    gauge!("loop_inbox").set(health.inbox as f64);
    gauge!("loop_oldest_post_seconds").set(health.oldest_post.unwrap_or_default().as_secs_f64());
    gauge!("loop_turn_seconds", "quantile" => "0.99").set(health.turn_times.quantile(0.99).as_secs_f64());
    gauge!("loop_turn_seconds", "quantile" => "1").set(health.turn_times.max().as_secs_f64());
    gauge!("loop_timer_lateness_seconds", "quantile" => "0.99").set(health.timer_lateness.quantile(0.99).as_secs_f64());
}

fn export_pool(pool: &ThreadPool) {
    let stats = pool.stats();
    gauge!("pool_threads", "state" => "busy").set(stats.busy as f64);
    gauge!("pool_threads", "state" => "idle").set(stats.idle as f64);
    gauge!("pool_queued").set(stats.queued as f64);
    gauge!("pool_oldest_wait_seconds").set(stats.oldest_wait.unwrap_or_default().as_secs_f64());
    counter!("pool_jobs", "outcome" => "done").absolute(stats.done);
    counter!("pool_jobs", "outcome" => "failed").absolute(stats.failed + stats.panicked);
    counter!("pool_stuck").absolute(stats.stuck);
}

fn export_port(port: &Port) {
    let stats = port.stats();
    gauge!("port_connections").set(stats.connections as f64);
    counter!("port_accepted").absolute(stats.accepted);
    counter!("port_accept_errors").absolute(stats.accept_errors);
    counter!("port_failed_handshakes").absolute(stats.failed_handshakes);
}

/// Answers each request from the pool.
struct Answers(ThreadPool);

impl Protocol for Answers {
    fn data_received(&mut self, transport: &Transport, _: &[u8]) -> Result<(), Failure> {
        let transport = transport.clone();
        let answer = self.0.defer_to_thread(|| {
            thread::sleep(Duration::from_millis(2)); // a query
            Ok("answer")
        });
        drop(answer.map(move |answer| transport.write(answer.as_bytes())));
        Ok(())
    }
}

fn serve(reactor: &Reactor) -> io::Result<()> {
    let pool = ThreadPool::new(4);
    let jobs = pool.clone();
    let port = listen_tcp(reactor, "127.0.0.1:0", move |_| Answers(jobs.clone()))?;
    let address = port.local_addr().expect("a TCP port has an address");

    let (watched, same) = (reactor.clone(), port);
    let exports = LoopingCall::new(reactor, move || {
        export_loop(&watched.health());
        export_pool(&pool);
        export_port(&same);
    });
    drop(exports.start(Duration::from_millis(20)));

    // Three clients, in threads.
    let handle = reactor.handle();
    thread::spawn(move || {
        let clients: Vec<_> = (0..3).map(|_| thread::spawn(move || ask(address))).collect();
        clients.into_iter().for_each(|client| client.join().expect("no panic").expect("an answer"));
        thread::sleep(Duration::from_millis(50)); // so that the last values are exported
        handle.stop();
    });
    Ok(())
}

/// Makes ten requests.
fn ask(address: std::net::SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    for _ in 0..10 {
        stream.write_all(b"?")?;
        stream.read_exact(&mut [0; 6])?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let values = Values::default();
    metrics::set_global_recorder(values.clone())?;
    run(serve)?;
    values.print();
    Ok(())
}

/// A recorder that keeps the last value of each metric.
#[derive(Clone, Default)]
struct Values(Arc<Mutex<BTreeMap<String, Arc<Value>>>>);

#[derive(Default)]
struct Value(Mutex<f64>);

impl Values {
    fn value(&self, key: &Key) -> Arc<Value> {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        self.0.lock().expect("no panic").entry(name).or_default().clone()
    }

    fn print(&self) {
        for (name, value) in &*self.0.lock().expect("no panic") {
            println!("{name} {}", value.0.lock().expect("no panic"));
        }
    }
}

impl metrics::CounterFn for Value {
    fn increment(&self, by: u64) {
        *self.0.lock().expect("no panic") += by as f64;
    }

    fn absolute(&self, value: u64) {
        *self.0.lock().expect("no panic") = value as f64;
    }
}

impl metrics::GaugeFn for Value {
    fn increment(&self, by: f64) {
        *self.0.lock().expect("no panic") += by;
    }

    fn decrement(&self, by: f64) {
        *self.0.lock().expect("no panic") -= by;
    }

    fn set(&self, value: f64) {
        *self.0.lock().expect("no panic") = value;
    }
}

impl Recorder for Values {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.value(key).into()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.value(key).into()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
