//! The tests of the network on smol's sockets.

mod adapter {
    use std::net::TcpStream;
    #[cfg(unix)]
    use std::os::unix::net::UnixStream;
    use std::thread;
    use std::time::Duration;

    pub(crate) use deferred_smol::net;
    use deferred_smol::net::{Protocol, Transport};
    pub(crate) use deferred_smol::smol::future::yield_now;
    pub(crate) use deferred_smol::smol::unblock;
    pub(crate) use deferred_smol::*;

    pub(crate) const SOURCE: &str = "deferred-smol/src";

    /// Runs a test without a driver. It calls the function to let the sockets' events arrive: only
    /// smol's own thread polls them.
    pub(crate) fn without_driver(test: impl FnOnce(&dyn Fn(&Reactor))) {
        test(&|_| thread::sleep(Duration::from_millis(1)));
    }

    pub(crate) fn over_tcp<P: Protocol>(reactor: &Reactor, socket: TcpStream, protocol: P) -> Transport {
        net::over_tcp(reactor, smol::Async::new(socket).unwrap(), protocol)
    }

    #[cfg(unix)]
    pub(crate) fn over_unix<P: Protocol>(reactor: &Reactor, socket: UnixStream, protocol: P) -> Transport {
        net::over_unix(reactor, smol::Async::new(socket).unwrap(), protocol)
    }
}

mod suite;
