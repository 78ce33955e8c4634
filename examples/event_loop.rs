//! The main job: a loop that goes on ticking while a blocking client hangs in a thread.
//!
//! ```text
//! cargo run --release --example event_loop
//! ```
//!
//! It tells its story in about thirteen seconds, each line with the seconds since the start as its
//! first word:
//!
//! - a hello every half second, which does not drift, and one at three seconds;
//! - a blocking HTTP client in the pool, against a host that never answers: it gives up by itself,
//!   and its thread is free then; and once the loop gives up first, and its thread is not;
//! - the same against a host that answers;
//! - the wrong way: the same client on the loop itself, what that does to the ticks, and how a
//!   watchdog names it;
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
        // From a thread of its own, it says which call holds the loop, while that still does.
        let watchdog = Watchdog::new().hook(move |blocked| story.say(format_args!("watchdog: {blocked}")));
        watchdog.start(reactor).expect("the system has a thread to give");
        let mut ticks = 0;
        let ticking = LoopingCall::new(reactor, move || {
            ticks += 1;
            story.say(format_args!("hello, tick {ticks}"));
        });
        let stopped = ticking.start_later(Duration::from_millis(500)).add_callback(move |_| story.say("no more ticks"));
        reactor.call_later(Duration::from_secs(3), move || story.say("hello, three seconds have passed"));

        // One after the other, each a Deferred that the next one waits for.
        after(1.2, reactor)
            .add_callback({
                let (client, url) = (client.clone(), silent.clone());
                move |()| client.gives_up_by_itself(url)
            })
            .add_callback({
                let (client, url, reactor) = (client.clone(), silent.clone(), owned.clone());
                move |()| client.is_given_up(url, &reactor)
            })
            .add_callback({
                let client = client.clone();
                move |()| client.gets_a_page(answering)
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
            .add_callback(move |()| story.say("the pool has no thread any more, and the loop stops"))
    }))
}

/// Fires after that many seconds.
fn after(seconds: f64, reactor: &Reactor) -> Deferred<()> {
    let (deferred, resolver) = Deferred::new();
    reactor.call_later(Duration::from_secs_f64(seconds), move || resolver.callback(()));
    deferred
}

/// A blocking client, and a pool with one thread for it.
#[derive(Clone)]
struct Client {
    story: Story,
    pool: ThreadPool,
}

impl Client {
    /// The client has a timeout of its own: the thread that it blocks comes free.
    fn gives_up_by_itself(&self, url: String) -> Deferred<()> {
        let story = self.story;
        story.say("in the pool: a fetch from a host that never answers; the client gives up after 3 s");
        self.pool
            .defer_to_thread(move || fetch(&url, Duration::from_secs(3)))
            .add_callback(move |page| story.say(format_args!("a page of {} bytes?", page.len())))
            .add_errback(move |failure| {
                story.say(format_args!("the client gave up, and its thread is free: {failure}"));
                Ok(())
            })
    }

    /// The loop gives up before the client does. Nothing can stop the thread that the client
    /// blocks: it stays busy until the client gives up too, and only then takes the next job.
    fn is_given_up(&self, url: String, reactor: &Reactor) -> Deferred<()> {
        let story = self.story;
        story.say("in the pool: the same, but the loop waits for 1 s only");
        let pool = self.pool.clone();
        self.pool
            .defer_to_thread(move || fetch(&url, Duration::from_secs(3)))
            .add_timeout(Duration::from_secs(1), reactor)
            .add_callback(move |page| story.say(format_args!("a page of {} bytes?", page.len())))
            .add_errback(move |failure| {
                let timed_out = failure.trap::<TimedOut>()?;
                story.say(format_args!("{timed_out}: nobody waits, but its thread is busy until the client gives up"));
                Ok(())
            })
            .add_callback(move |()| pool.defer_to_thread(|| Ok(())))
            .add_callback(move |()| story.say("the client gave up, so its thread has taken the next job"))
    }

    fn gets_a_page(&self, url: String) -> Deferred<()> {
        let story = self.story;
        story.say("in the pool: a fetch from a host that answers");
        self.pool
            .defer_to_thread(move || fetch(&url, Duration::from_secs(3)))
            .add_callback(move |page| story.say(format_args!("the page has {} bytes", page.len())))
    }

    /// The wrong way. The ticks that are due meanwhile do not come, and the first one after it is
    /// late.
    fn blocks_the_loop(&self, url: &str) -> Result<(), Failure> {
        self.story.say("the wrong way: the fetch on the loop itself, which stands still until the client gives up");
        match fetch(url, Duration::from_millis(2200)) {
            Ok(page) => self.story.say(format_args!("a page of {} bytes?", page.len())),
            Err(failure) => {
                self.story.say(format_args!("the client gave up, and the loop goes on; no tick came: {failure}"));
            }
        }
        Ok(())
    }
}
