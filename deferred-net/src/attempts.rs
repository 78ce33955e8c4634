//! `connect_any`: overlapping attempts to connect to the addresses of a name.

use std::future::{Future, IntoFuture, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use deferred_core::Reactor;

use super::error::error_with_address;

/// The time after which the next address is tried, as RFC 8305 recommends.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Looks up a name, and connects to its addresses with `connect`, until one succeeds. The next
/// attempt begins when one fails or after 250 ms, beside the earlier ones, so an address that does
/// not answer costs only that delay. IPv6 and IPv4 addresses alternate. This is the algorithm
/// "happy eyeballs" (RFC 8305).
///
/// [`connect_tcp`](super::connect_tcp) uses it; call it for sockets of another kind.
///
/// # Errors
///
/// Returns the error of the lookup or of the last attempt that has failed. Its text includes the
/// name or the address.
///
/// # Cancellation
///
/// A cancel drops all attempts.
pub async fn connect_any<S>(
    reactor: &Reactor,
    name: &str,
    lookup: impl Future<Output = io::Result<Vec<SocketAddr>>>,
    connect: impl AsyncFn(SocketAddr) -> io::Result<S>,
) -> io::Result<S> {
    let addresses = lookup.await.map_err(|error| error_with_address("look up", format_args!("{name}"), error))?;
    let mut addresses = alternate(addresses).into_iter();
    let begin = |address| (address, Box::pin(connect(address)));
    let Some(first) = addresses.next().map(begin) else {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("the name {name} has no address")));
    };
    let mut attempts = vec![first];
    let pause = || reactor.sleep(ATTEMPT_DELAY).into_future();
    let mut delay = (addresses.len() > 0).then(pause);
    poll_fn(|context| {
        loop {
            let mut failed = None;
            let mut index = 0;
            while let Some((address, attempt)) = attempts.get_mut(index) {
                match attempt.as_mut().poll(context) {
                    Poll::Pending => index += 1,
                    Poll::Ready(Ok(socket)) => return Poll::Ready(Ok(socket)),
                    Poll::Ready(Err(error)) => {
                        failed = Some(error_with_address("connect to", *address, error));
                        drop(attempts.remove(index));
                    }
                }
            }
            let waited = delay.as_mut().is_some_and(|delay| Pin::new(delay).poll(context).is_ready());
            if failed.is_none() && !waited {
                return Poll::Pending;
            }
            match addresses.next() {
                Some(address) => attempts.push(begin(address)),
                None => match failed {
                    Some(error) if attempts.is_empty() => return Poll::Ready(Err(error)),
                    _ => return Poll::Pending,
                },
            }
            delay = (addresses.len() > 0).then(pause);
        }
    })
    .await
}

/// Alternates between IPv6 and IPv4, in the order of each, beginning with the kind of the first.
fn alternate(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first().map(SocketAddr::is_ipv6) else { return addresses };
    let (mut these, mut others): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first);
    let mut alternating = Vec::with_capacity(these.len() + others.len());
    let (mut these, mut others) = (these.drain(..), others.drain(..));
    loop {
        let pair = [these.next(), others.next()];
        if pair == [None, None] {
            return alternating;
        }
        alternating.extend(pair.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kinds_of_addresses_alternate() {
        let of = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let sorted = of(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"]);
        assert_eq!(alternate(sorted), of(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]));
        let one_kind = of(&["1.1.1.1:1", "2.2.2.2:1"]);
        assert_eq!(alternate(one_kind.clone()), one_kind);
        assert!(alternate(Vec::new()).is_empty());
    }
}
