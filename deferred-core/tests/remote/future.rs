//! A `RemoteFuture` without a reactor: how it gets its result, and the effect of dropping it or its
//! completer.

use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use deferred_core::{Abandoned, Failure, RemoteCompleter, RemoteFuture, TimedOut, inline_callbacks, park};

#[test]
fn a_value_arrives_before_and_during_the_wait() {
    let (remote, completer) = RemoteFuture::new();
    completer.callback(1);
    assert_eq!(remote.wait().unwrap(), 1);

    let (remote, completer) = RemoteFuture::new();
    let waits = thread::spawn(|| remote.wait().unwrap());
    completer.callback(2);
    assert_eq!(waits.join().unwrap(), 2);
}

#[test]
fn an_error_arrives_with_the_location_of_errback() {
    let (remote, completer) = RemoteFuture::<()>::new();
    completer.errback(Failure::msg("no luck"));
    let failure = remote.wait().unwrap_err();
    assert_eq!(failure.to_string(), "no luck");
    assert!(format!("{failure:?}").contains("future.rs"), "{failure:?}");
}

#[test]
fn dropping_the_completer_fires_abandoned() {
    let (remote, completer) = RemoteFuture::<()>::new();
    let (other, late) = RemoteFuture::<()>::new();
    drop(completer);
    let waits = thread::spawn(|| other.wait());
    drop(late);
    assert!(remote.wait().unwrap_err().check::<Abandoned>());
    assert!(waits.join().unwrap().unwrap_err().check::<Abandoned>());
}

#[test]
fn dropping_the_future_calls_the_canceller_once_and_the_completer_is_cancelled() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counts = calls.clone();
    let (remote, completer) = RemoteFuture::<Arc<()>>::with_canceller(move || {
        counts.fetch_add(1, Ordering::Relaxed);
    });
    assert!(!completer.is_cancelled());
    drop(remote);
    assert!(completer.is_cancelled());
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    let value = Arc::new(());
    completer.callback(value.clone());
    assert_eq!(Arc::strong_count(&value), 1, "a value that arrives too late is dropped");
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[test]
fn a_completed_future_drops_its_canceller_uncalled() {
    let held = Arc::new(());
    let holds = held.clone();
    let (remote, completer) = RemoteFuture::with_canceller(move || panic!("{holds:?}"));
    completer.callback(());
    assert_eq!(Arc::strong_count(&held), 1);
    remote.wait().unwrap();
}

#[test]
fn a_wait_that_times_out_returns_the_future() {
    let (remote, completer) = RemoteFuture::new();
    let remote = remote.wait_timeout(Duration::from_millis(1)).expect_err("nothing was brought");
    completer.callback(3);
    assert_eq!(remote.wait_timeout(Duration::from_secs(60)).unwrap().unwrap(), 3);
}

#[test]
fn a_wait_after_the_result_was_polled_panics_instead_of_blocking_forever() {
    let (mut remote, completer) = RemoteFuture::<u32>::new();
    completer.callback(1);
    let mut context = Context::from_waker(Waker::noop());
    assert!(matches!(Pin::new(&mut remote).poll(&mut context), Poll::Ready(Ok(1))));
    let waits = || drop(remote.wait_timeout(Duration::from_millis(1)));
    let panicked = panic::catch_unwind(AssertUnwindSafe(waits)).unwrap_err();
    assert_eq!(panicked.downcast_ref(), Some(&"a RemoteFuture was waited for after it had returned its result"));
}

#[test]
fn a_coroutine_may_await_the_remote_future_and_a_timeout_drops_it() {
    let (remote, completer) = RemoteFuture::new();
    let (never, never_fired) = RemoteFuture::<()>::new();
    let result = park::run_until(|reactor| {
        thread::spawn(move || completer.callback(20));
        let times_out = reactor.ensure_deferred(never).add_timeout(Duration::from_millis(5), reactor);
        inline_callbacks(async move {
            let n = remote.await?;
            assert!(times_out.await.unwrap_err().check::<TimedOut>());
            Ok(n + 1)
        })
    });
    assert_eq!(result.unwrap(), 21);
    assert!(never_fired.is_cancelled());
}

#[test]
fn within_one_thread_the_value_need_not_be_send() {
    let (remote, completer): (RemoteFuture<Rc<u8>>, RemoteCompleter<Rc<u8>>) = RemoteFuture::new();
    completer.callback(Rc::new(7));
    assert_eq!(*remote.wait().unwrap(), 7);
}

#[test]
fn many_threads_complete_many_futures() {
    for round in 0..500u32 {
        let (remote, completer) = RemoteFuture::new();
        let brings = thread::spawn(move || if round % 3 == 0 { drop(completer) } else { completer.callback(round) });
        let gives_up = round % 5 == 0;
        if gives_up {
            drop(remote);
        } else {
            match remote.wait() {
                Ok(value) => assert_eq!(value, round),
                Err(error) => assert!(round % 3 == 0 && error.check::<Abandoned>()),
            }
        }
        brings.join().unwrap();
    }
}
