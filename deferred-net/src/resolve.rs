//! `resolve`: the lookup of names, in threads.

use std::any::Any;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::thread;

use deferred_core::{Deferred, DeferredSemaphore, Failure, Reactor, RemoteFuture};

use super::error::ignore_cancel;

/// The maximum number of lookups at a time. More wait.
const MAX_LOOKUPS: usize = 16;

struct Lookups(DeferredSemaphore);

/// Looks up a name, for example `"example.org:80"`, with the system's resolver, in a thread that
/// exists for the time of the lookup. A `SocketAddr`, or a text that contains one, needs no lookup.
/// At most 16 lookups of a reactor run at a time.
///
/// Twisted's `reactor.resolve`.
///
/// # Errors
///
/// Returns the error of the lookup, or of the system if it cannot create a thread.
///
/// # Cancellation
///
/// A lookup that runs ends by itself, in its thread.
///
/// # Examples
///
/// ```
/// use deferred_mio::{inline_callbacks, net::resolve, run_until};
///
/// let addresses = run_until(|reactor| {
///     let reactor = reactor.clone();
///     inline_callbacks(async move { Ok(resolve(&reactor, "127.0.0.1:80").await?) })
/// });
/// assert_eq!(addresses.unwrap(), [([127, 0, 0, 1], 80).into()]);
/// ```
#[doc(alias = "getHostByName")]
#[doc(alias = "IReactorPluggableNameResolver")]
#[doc(alias = "lookup_host")]
pub async fn resolve(reactor: &Reactor, address: impl ToSocketAddrs + Send + 'static) -> io::Result<Vec<SocketAddr>> {
    let any: &dyn Any = &address;
    let literal = any.downcast_ref::<SocketAddr>().copied().or_else(|| {
        let text = any.downcast_ref::<&'static str>().copied().or_else(|| any.downcast_ref::<String>().map(|s| &**s));
        text?.parse().ok()
    });
    if let Some(address) = literal {
        return Ok(vec![address]);
    }
    let lookups = reactor.extension(|| Lookups(DeferredSemaphore::new(MAX_LOOKUPS)));
    let permit = lookups.0.acquire().await.map_err(io::Error::other)?;
    let (found, completer) = RemoteFuture::new();
    let look_up = move || completer.callback(address.to_socket_addrs().map(Iterator::collect));
    thread::Builder::new().name("deferred-resolve".into()).spawn(look_up)?;
    // A coroutine of its own, since the thread counts until its end, also after a cancel.
    let (answer, resolver) = Deferred::new();
    let waits = reactor.ensure_deferred(async move {
        let answer = found.await.map_err(io::Error::other);
        drop(permit);
        resolver.callback(answer);
        Ok::<_, Failure>(())
    });
    drop(waits.add_errback(ignore_cancel));
    let answer: Result<io::Result<_>, Failure> = answer.await;
    answer.map_err(io::Error::other)??
}
