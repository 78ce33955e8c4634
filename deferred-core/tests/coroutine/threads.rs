//! Wakers that other threads borrow, and wake-ups that race with polls.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;

use deferred_core::{Deferred, Failure, Reactor, inline_callbacks, park};

use crate::support::{ignore_unhandled, take_text};

#[test]
fn a_scoped_thread_may_poll_its_own_deferred_with_a_coroutines_waker() {
    // The scoped thread must not recognize the waker as a coroutine's: its Deferred must not resume
    // this coroutine.
    let deferred = park::run_until(|reactor| {
        let mut rounds = 0;
        reactor.ensure_deferred(std::future::poll_fn(move |context| {
            rounds += 1;
            if rounds == 3 {
                return Poll::Ready(Ok::<_, Failure>(rounds));
            }
            let waker = context.waker();
            thread::scope(|scope| {
                scope.spawn(move || {
                    let (other, resolver) = Deferred::<u32>::new();
                    let mut wait = other.into_future();
                    assert!(Pin::new(&mut wait).poll(&mut Context::from_waker(waker)).is_pending());
                    resolver.callback(1); // wakes
                    let polled = Pin::new(&mut wait).poll(&mut Context::from_waker(Waker::noop()));
                    assert!(matches!(polled, Poll::Ready(Ok(1))));
                });
            });
            Poll::Pending
        }))
    });
    assert_eq!(deferred.unwrap(), 3);
}

#[test]
fn a_wake_by_reference_from_a_scoped_thread_during_the_poll() {
    let polls = park::run_until(|reactor| {
        let mut polls = 0;
        reactor.ensure_deferred(std::future::poll_fn(move |context| {
            polls += 1;
            if polls == 10 {
                return Poll::Ready(Ok::<_, Failure>(polls));
            }
            let waker = context.waker();
            thread::scope(|scope| {
                scope.spawn(|| waker.wake_by_ref());
            });
            Poll::Pending
        }))
    });
    assert_eq!(polls.unwrap(), 10);
}

/// A flag that another thread sets, and the waker of the coroutine that waits for it.
#[derive(Default)]
struct Flag {
    set: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Flag {
    fn set(&self) {
        self.set.store(true, Ordering::SeqCst);
        let waker = self.waker.lock().unwrap().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    async fn wait(&self) {
        std::future::poll_fn(|context| {
            *self.waker.lock().unwrap() = Some(context.waker().clone());
            if self.set.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

#[test]
fn wakes_that_race_with_polls_are_not_lost() {
    for seed in 0..2_000_u32 {
        park::run_until(|reactor| {
            let flags: [Arc<Flag>; 2] = Default::default();
            let others = flags.clone();
            thread::spawn(move || {
                for flag in others {
                    for _ in 0..(seed * 7919) % 300 {
                        std::hint::spin_loop();
                    }
                    flag.set();
                }
            });
            reactor.ensure_deferred(async move {
                for flag in flags {
                    flag.wait().await;
                }
                Ok(())
            })
        })
        .unwrap();
    }
}

#[test]
fn a_loop_that_ends_while_other_threads_wake_abandons_and_loses_nothing() {
    let _quiet = ignore_unhandled();
    for _ in 0..200 {
        let reactor = Reactor::new();
        let flag = Arc::new(Flag::default());
        let (other, clone) = (flag.clone(), flag.clone());
        let deferred = reactor.ensure_deferred(async move {
            clone.wait().await;
            Ok(())
        });
        let setter = thread::spawn(move || other.set());
        let _ = reactor.turn(Waker::noop());
        drop(reactor);
        let outcome = take_text(deferred);
        assert!(outcome == "()" || outcome == "Abandoned", "{outcome}");
        setter.join().unwrap();
    }
}

#[test]
fn a_waker_of_a_coroutine_without_a_reactor_that_another_thread_wakes_does_nothing() {
    let (deferred, resolver) = Deferred::<u32>::new();
    let flag = Arc::new(Flag::default());
    let other = flag.clone();
    let outer = inline_callbacks(async move {
        let mut wait = deferred.into_future();
        let waiting = async move { flag.wait().await };
        futures::pin_mut!(waiting);
        match futures::future::select(&mut wait, waiting).await {
            futures::future::Either::Left((value, _)) => value,
            futures::future::Either::Right(_) => Ok(0),
        }
    });
    thread::spawn(move || other.set()).join().unwrap();
    resolver.callback(1);
    assert_eq!(take_text(outer), "1");
}
