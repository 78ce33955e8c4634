//! The tests of the network on the sockets of deferred-mio.

mod adapter {
    use std::net::TcpStream;
    #[cfg(unix)]
    use std::os::unix::net::UnixStream;
    use std::thread;
    use std::time::Duration;

    pub(crate) use deferred_core::driver::YieldNow;
    pub(crate) use deferred_mio::net;
    use deferred_mio::net::{Protocol, Transport};
    pub(crate) use deferred_mio::*;
    /// Threads beside the loop.
    pub(crate) use deferred_smol::{smol::unblock, spawn};

    pub(crate) const SOURCE: &str = "deferred-mio/src";

    pub(crate) fn yield_now() -> YieldNow {
        YieldNow::default()
    }

    /// Runs a test without a driver. It calls the function to let the sockets' events arrive.
    pub(crate) fn without_driver(test: impl FnOnce(&dyn Fn(&Reactor))) {
        test(&|reactor| {
            thread::sleep(Duration::from_millis(1));
            poll(reactor).unwrap();
        });
    }

    pub(crate) fn over_tcp<P: Protocol>(reactor: &Reactor, socket: TcpStream, protocol: P) -> Transport {
        net::over_tcp(reactor, net::TcpStream::from_std(reactor, socket).unwrap(), protocol)
    }

    #[cfg(unix)]
    pub(crate) fn over_unix<P: Protocol>(reactor: &Reactor, socket: UnixStream, protocol: P) -> Transport {
        net::over_unix(reactor, net::UnixStream::from_std(reactor, socket).unwrap(), protocol)
    }
}

mod suite;
