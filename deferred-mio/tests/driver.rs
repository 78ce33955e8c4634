//! The driver of mio passes the test of drivers.

use std::thread;

use deferred_mio::testing::driver::DriverTest;
use deferred_mio::{RemoteFuture, drive};

#[test]
fn mio_passes_the_test_of_drivers() {
    DriverTest::new(|reactor| drive(reactor).unwrap())
        .future("a thread", || async {
            let (future, completer) = RemoteFuture::new();
            thread::spawn(move || completer.callback(1));
            assert_eq!(future.await.unwrap(), 1);
        })
        .run();
}
