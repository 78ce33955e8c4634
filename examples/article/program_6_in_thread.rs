//! Program 6 of an introduction to Twisted: the blocking client of program 4 in a thread, where it
//! blocks nothing else.
//!
//! ```text
//! cargo run --release --example article_6_in_thread
//! ```
//!
//! | Python | here |
//! | --- | --- |
//! | `requests.get('http://www.google.com', timeout=10)` | `fetch`, against a silent host on loopback |
//! | `try: .. except Exception as e: print(e)` | the `Err` of a `Result` |
//! | `reactor.callInThread(request_google)` | `call_in_thread(request)` in a call of the loop |
//! | `reactor.callWhenRunning(hello, 'yudahai')` | `reactor.call_when_running(move \|\| hello("yudahai"))` |
//! | `reactor.callLater(3, hello, 'yuyue')` | `reactor.call_later(Duration::from_secs(3), move \|\| hello("yuyue"))` |
//!
//! It stops after twelve seconds, or with `--forever` at Ctrl-C.

use std::error::Error;
use std::time::Duration;

use deferred_examples::{SilentHost, Story, fetch, run_for};
use deferred_threadpool::call_in_thread;

fn main() -> Result<(), Box<dyn Error>> {
    let host = SilentHost::start()?;
    let url = host.url()?;
    let story = Story::begin();
    let hello = move |name: &str| story.say(format_args!("Hello world! {name}"));
    let request = move || {
        story.say("the request begins, in a thread");
        match fetch(&url, Duration::from_secs(10)) {
            Ok(page) => story.say(format_args!("a page of {} bytes", page.len())),
            Err(failure) => story.say(format_args!("the request failed: {failure}")),
        }
        Ok(())
    };
    run_for(Duration::from_secs(12), |reactor| {
        reactor.call_when_running(move || hello("yudahai"));
        reactor.call_later(Duration::from_secs(1), move || call_in_thread(request));
        reactor.call_later(Duration::from_secs(3), move || hello("yuyue"));
    });
    Ok(())
}
