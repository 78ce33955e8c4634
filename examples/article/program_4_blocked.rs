//! Program 4 of an introduction to Twisted, which shows the mistake: a call on the loop that
//! blocks.
//!
//! ```text
//! cargo run --release --example article_4_blocked
//! ```
//!
//! The request begins at one second, to a host that never answers. The whole loop waits with it:
//! the call that is due at three seconds runs when the client times out, at six (in the article,
//! after 130 seconds). No errback handles the error, so it is reported as unhandled, with the
//! location of the `call_later`, and the loop continues.
//!
//! | Python | here |
//! | --- | --- |
//! | `requests.get('http://www.google.com')` | `fetch`, a blocking client, against a silent host on loopback |
//! | `reactor.callWhenRunning(hello, 'yudahai')` | `reactor.call_when_running(move \|\| hello("yudahai"))` |
//! | `reactor.callLater(1, request_google)` | `reactor.call_later(Duration::from_secs(1), request)` |
//! | `reactor.callLater(3, hello, 'yuyue')` | `reactor.call_later(Duration::from_secs(3), move \|\| hello("yuyue"))` |
//! | "Unhandled Error" in the log | the report on standard error |
//!
//! Program 6 avoids the mistake. This one stops after eight seconds, or with `--forever` at Ctrl-C.

use std::error::Error;
use std::time::Duration;

use deferred_examples::{SilentHost, Story, fetch, run_for};

fn main() -> Result<(), Box<dyn Error>> {
    let host = SilentHost::start()?;
    let url = host.url()?;
    let story = Story::begin();
    let hello = move |name: &str| story.say(format_args!("Hello world! {name}"));
    let request = move || {
        story.say("the request begins, on the loop");
        fetch(&url, Duration::from_secs(5))
    };
    run_for(Duration::from_secs(8), |reactor| {
        reactor.call_when_running(move || hello("yudahai"));
        reactor.call_later(Duration::from_secs(1), request);
        reactor.call_later(Duration::from_secs(3), move || hello("yuyue (due at 3 s)"));
    });
    Ok(())
}
