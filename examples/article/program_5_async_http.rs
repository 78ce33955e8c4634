//! Program 5 of an introduction to Twisted, the right way: an HTTP client that does not block the
//! loop.
//!
//! ```text
//! cargo run --release --example article_5_async_http
//! ```
//!
//! The request goes to a host that cannot be reached. The calls at zero and three seconds run on
//! time; the request fails later and is handled where it was made. Then the same client fetches a
//! page from a host that answers.
//!
//! | Python | here |
//! | --- | --- |
//! | `agent = Agent(reactor, connectTimeout=5)` | `get`: hyper over one of smol's sockets, with `add_timeout` |
//! | `@inlineCallbacks def request_google():` | `inline_callbacks(async move { .. })` |
//! | `response = yield agent.request('GET', url, headers)` | `get(address, reactor).await` |
//! | `try: .. except Exception as e:` | the `Err` of a `Result` |
//! | `reactor.callWhenRunning(hello, 'yudahai')` | `reactor.call_when_running(move \|\| hello("yudahai"))` |
//! | `reactor.callLater(1, request_google)` | `reactor.call_later(Duration::from_secs(1), request)` |
//! | `reactor.callLater(3, hello, 'yuyue')` | `reactor.call_later(Duration::from_secs(3), move \|\| hello("yuyue"))` |
//!
//! It stops after eight seconds, or with `--forever` at Ctrl-C.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use deferred_examples::{AnsweringHost, Story, UnreachableHost, run_for};
use deferred_smol::smol::net::TcpStream;
use deferred_smol::{Deferred, Reactor, inline_callbacks};
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{HOST, USER_AGENT};
use smol_hyper::rt::FuturesIo;

/// Fetches the page of `host`. hyper and smol's sockets know nothing of the loop: they return
/// futures, and the coroutine awaits them.
fn get(host: SocketAddr, reactor: &Reactor) -> Deferred<Bytes> {
    let page = inline_callbacks(async move {
        let stream = TcpStream::connect(host).await?;
        let (mut sender, connection) = http1::handshake(FuturesIo::new(stream)).await?;
        // A second coroutine transfers the bytes. It ends when `sender` is dropped.
        drop(inline_callbacks(async move { Ok(connection.await?) }));
        let request = Request::get("/").header(HOST, host.to_string()).header(USER_AGENT, "deferred");
        let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
        Ok(response.into_body().collect().await?.to_bytes())
    });
    page.add_timeout(Duration::from_secs(5), reactor)
}

fn main() -> Result<(), Box<dyn Error>> {
    let unreachable = UnreachableHost::start()?;
    let answering = AnsweringHost::start("a page".to_owned())?;
    let hosts = [unreachable.address(), answering.address()];
    let story = Story::begin();
    let hello = move |name: &str| story.say(format_args!("Hello world! {name}"));
    run_for(Duration::from_secs(8), |reactor| {
        let loops = reactor.clone();
        let request = move || {
            story.say("the request begins, in a coroutine");
            inline_callbacks(async move {
                for host in hosts {
                    match get(host, &loops).await {
                        Ok(page) => story.say(format_args!("{} bytes: {}", page.len(), String::from_utf8_lossy(&page))),
                        Err(failure) => story.say(format_args!("the request failed: {failure}")),
                    }
                }
                Ok(())
            })
        };
        reactor.call_when_running(move || hello("yudahai"));
        reactor.call_later(Duration::from_secs(1), request);
        reactor.call_later(Duration::from_secs(3), move || hello("yuyue"));
    });
    Ok(())
}
