//! The tests of the network on tokio's sockets.

mod adapter {
    use std::net::TcpStream;
    #[cfg(unix)]
    use std::os::unix::net::UnixStream;
    use std::sync::LazyLock;
    use std::time::Duration;

    pub(crate) use deferred_tokio::net;
    use deferred_tokio::net::{Protocol, Transport};
    pub(crate) use deferred_tokio::tokio::task::yield_now;
    pub(crate) use deferred_tokio::*;
    use tokio::runtime::Runtime;

    pub(crate) const SOURCE: &str = "deferred-tokio/src";

    /// Runs `future` in another thread, so that it may block.
    #[track_caller]
    pub(crate) fn spawn<T: Send + 'static>(
        future: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Deferred<T> {
        static OTHER_THREADS: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
        let _entered = OTHER_THREADS.enter();
        deferred_tokio::spawn(future)
    }

    pub(crate) async fn unblock<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        tokio::task::spawn_blocking(work).await.unwrap()
    }

    /// Runs a test without a driver. It calls the function to let the sockets' events arrive.
    pub(crate) fn without_driver(test: impl FnOnce(&dyn Fn(&Reactor))) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _entered = runtime.enter();
        test(&|_| runtime.block_on(tokio::time::sleep(Duration::from_millis(1))));
    }

    pub(crate) fn over_tcp<P: Protocol>(reactor: &Reactor, socket: TcpStream, protocol: P) -> Transport {
        socket.set_nonblocking(true).unwrap();
        net::over_tcp(reactor, tokio::net::TcpStream::from_std(socket).unwrap(), protocol)
    }

    #[cfg(unix)]
    pub(crate) fn over_unix<P: Protocol>(reactor: &Reactor, socket: UnixStream, protocol: P) -> Transport {
        socket.set_nonblocking(true).unwrap();
        net::over_unix(reactor, tokio::net::UnixStream::from_std(socket).unwrap(), protocol)
    }
}

mod suite;
