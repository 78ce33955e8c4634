//! The main job of this crate: a loop that keeps ticking while a blocking client hangs in a thread.
//!
//! ```text
//! cargo run --release --example event_loop
//! ```
//!
//! The program runs for about thirteen seconds. Each line begins with the seconds since the start.
//! It shows:
//!
//! - a greeting every half second that does not drift, and one at three seconds;
//! - a blocking HTTP client in the pool, against a host that never answers: once the client times
//!   out by itself, which frees its thread; and once the loop stops waiting first, which does not;
//! - the same client against a host that answers;
//! - the wrong way: the same client on the loop itself, what that does to the ticks, and how a
//!   watchdog reports the call that blocks;
//! - a clean stop.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use deferred_examples::{AnsweringHost, SilentHost, Story, fetch};
use deferred_smol::{Deferred, Failure, LoopingCall, Reactor, TimedOut, Watchdog, react};
use deferred_threadpool::ThreadPool;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let silent = SilentHost::start()?;
    let answering = AnsweringHost::start("deferred! ".repeat(1000))?;
    let client = Client { story: Story::begin(), pool: ThreadPool::new(1) };
    let (silent, answering) = (silent.url()?, answering.url());

    Ok(react(move |reactor| {
        let (story, owned) = (client.story, reactor.clone());
        // The watchdog's own thread reports which call blocks the loop while that call still runs.
        let watchdog = Watchdog::new().hook(move |blocked| story.say(format_args!("watchdog: {blocked}")));
        watchdog.start(reactor).expect("the system can start a thread");
        let mut ticks = 0;
        let ticking = LoopingCall::new(reactor, move || {
            ticks += 1;
            story.say(format_args!("hello, tick {ticks}"));
        });
        let stopped = ticking.start_later(Duration::from_millis(500)).add_callback(move |_| story.say("no more ticks"));
        reactor.call_later(Duration::from_secs(3), move || story.say("hello, three seconds have passed"));

        // Each step returns a Deferred, and the next step waits for it.
        after(1.2, reactor)
            .add_callback({
                let (client, url) = (client.clone(), silent.clone());
                move |()| client.client_times_out(url)
            })
            .add_callback({
                let (client, url, reactor) = (client.clone(), silent.clone(), owned.clone());
                move |()| client.loop_stops_waiting(url, &reactor)
            })
            .add_callback({
                let client = client.clone();
                move |()| client.page_arrives(answering)
            })
            .add_callback({
                let reactor = owned.clone();
                move |()| after(1.0, &reactor)
            })
            .add_callback({
                let client = client.clone();
                move |()| client.blocks_the_loop(&silent)
            })
            .add_callback(move |()| after(1.8, &owned))
            .add_callback(move |()| {
                ticking.stop();
                stopped
            })
            .add_callback(move |()| client.pool.stop())
            .add_callback(move |()| story.say("the pool has stopped its thread, and the loop stops"))
    }))
}

/// Returns a `Deferred` that fires after `seconds`.
fn after(seconds: f64, reactor: &Reactor) -> Deferred<()> {
    let (deferred, resolver) = Deferred::new();
    reactor.call_later(Duration::from_secs_f64(seconds), move || resolver.callback(()));
    deferred
}

/// A blocking client, and a pool with one thread to run it.
#[derive(Clone)]
struct Client {
    story: Story,
    pool: ThreadPool,
}

impl Client {
    /// Fetches with the client's own timeout: the thread that it blocks becomes free.
    fn client_times_out(&self, url: String) -> Deferred<()> {
        let story = self.story;
        story.say("in the pool: fetch from a host that never answers; the client times out after 3 s");
        self.pool
            .defer_to_thread(move || fetch(&url, Duration::from_secs(3)))
            .add_callback(move |page| story.say(format_args!("unexpected: a page of {} bytes", page.len())))
            .add_errback(move |failure| {
                story.say(format_args!("the client timed out, which frees its thread: {failure}"));
                Ok(())
            })
    }

    /// Fetches, but stops waiting before the client times out. Nothing can stop the thread that the
    /// client blocks: it stays busy until the client times out too, and only then runs the next
    /// job.
    fn loop_stops_waiting(&self, url: String, reactor: &Reactor) -> Deferred<()> {
        let story = self.story;
        story.say("in the pool: the same fetch, but the loop waits for only 1 s");
        let pool = self.pool.clone();
        self.pool
            .defer_to_thread(move || fetch(&url, Duration::from_secs(3)))
            .add_timeout(Duration::from_secs(1), reactor)
            .add_callback(move |page| story.say(format_args!("unexpected: a page of {} bytes", page.len())))
            .add_errback(move |failure| {
                let timed_out = failure.trap::<TimedOut>()?;
                story.say(format_args!("{timed_out}; the thread stays busy until the client times out"));
                Ok(())
            })
            .add_callback(move |()| pool.defer_to_thread(|| Ok(())))
            .add_callback(move |()| story.say("the client timed out, and the thread ran the next job"))
    }

    fn page_arrives(&self, url: String) -> Deferred<()> {
        let story = self.story;
        story.say("in the pool: fetch from a host that answers");
        self.pool
            .defer_to_thread(move || fetch(&url, Duration::from_secs(3)))
            .add_callback(move |page| story.say(format_args!("the page has {} bytes", page.len())))
    }

    /// Fetches on the loop itself, which is the wrong way: the ticks that are due meanwhile are
    /// skipped, and the first one afterwards is late.
    fn blocks_the_loop(&self, url: &str) -> Result<(), Failure> {
        self.story.say("the wrong way: fetch on the loop itself, which is blocked until the client times out");
        match fetch(url, Duration::from_millis(2200)) {
            Ok(page) => self.story.say(format_args!("unexpected: a page of {} bytes", page.len())),
            Err(failure) => {
                self.story.say(format_args!(
                    "the client timed out, and the loop continues; no tick ran meanwhile: {failure}"
                ));
            }
        }
        Ok(())
    }
}
