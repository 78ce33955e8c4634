//! The article's fourth program, which shows the mistake: a call of the loop that blocks.
//!
//! ```text
//! cargo run --release --example article_4_blocked
//! ```
//!
//! The request begins at one second and waits for a host that never answers. The whole loop waits
//! with it, so the hello that is due at three seconds comes when the client gives up, at six (in
//! the article, after 130 seconds). The error is nobody's: it is reported as unhandled, with the
//! place of the `call_later`, and the loop goes on.
//!
//! | Python | here |
//! | --- | --- |
//! | `requests.get('http://www.google.com')` | `fetch`, a blocking client, against a silent host on loopback |
//! | `reactor.callWhenRunning(hello, 'yudahai')` | `reactor.call_when_running(move \|\| hello("yudahai"))` |
//! | `reactor.callLater(1, request_google)` | `reactor.call_later(Duration::from_secs(1), request)` |
//! | `reactor.callLater(3, hello, 'yuyue')` | `reactor.call_later(Duration::from_secs(3), move \|\| hello("yuyue"))` |
//! | "Unhandled Error" in the log | the report on standard error |
//!
//! Program 6 does it right. This one ends by itself after eight seconds, with `--forever` at
//! Ctrl-C.

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
        reactor.call_later(Duration::from_secs(3), move || hello("yuyue, who was due at 3"));
    });
    Ok(())
}
