//! The end of a thread whose thread-locals hold Deferreds, in each order of destruction: locals
//! that are older than the library's are destroyed after them, younger ones before. Values that are
//! dropped then fire, are reported, and return.

mod support;

use std::any::Any;
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Sender};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use deferred_core::{
    BuiltinError, CancelHandle, Clock, Cooperator, Deferred, DeferredError, DeferredLock, DeferredQueue, Failure, Gate,
    LoopingCall, Reactor, Resolver, concurrent, gather, inline_callbacks, on_unhandled, race, report, scope,
};
use support::{App, describe, ignore_unhandled};

thread_local! {
    static HELD: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
}

/// Initializes the thread-locals of the library.
fn use_the_library() {
    let (deferred, resolver) = Deferred::<()>::new();
    drop(Deferred::succeed(()).map(move |()| drop(resolver)));
    drop(deferred.add_errback(|_| Ok(())));
    let _hook = ignore_unhandled();
    let owner = Reactor::new();
    let _entered = owner.enter();
    drop(inline_callbacks(async {
        let mut polled = false;
        poll_fn(move |context| {
            context.waker().wake_by_ref();
            let ready = std::mem::replace(&mut polled, true);
            if ready { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        Ok(())
    }));
}

/// Runs `fill` on a thread, stores its result in a thread-local there, and returns the messages
/// that were sent until the thread ended.
fn messages_of(older: bool, fill: impl FnOnce(Sender<String>) -> Vec<Box<dyn Any>> + Send + 'static) -> Vec<String> {
    let (sender, said) = mpsc::channel();
    let thread = thread::Builder::new().stack_size(2 << 20).spawn(move || {
        if older {
            HELD.with(|_| ());
            use_the_library();
        } else {
            use_the_library();
            HELD.with(|_| ());
        }
        let held = fill(sender);
        HELD.with(|local| local.replace(held));
    });
    thread.unwrap().join().unwrap();
    said.try_iter().collect()
}

/// Sends the result of `deferred`.
fn report<T: std::fmt::Debug + 'static>(sender: &Sender<String>, name: &'static str, deferred: Deferred<T>) {
    let sender = sender.clone();
    drop(
        deferred.add_both(move |result| {
            sender.send(format!("{name} {}", describe(result.as_ref()))).map_err(Failure::from)
        }),
    );
}

fn held(value: impl Any) -> Vec<Box<dyn Any>> {
    vec![Box::new(value)]
}

/// Calls a function when it is dropped.
struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        self.0.take().unwrap()();
    }
}

fn on_drop(f: impl FnOnce() + 'static) -> Vec<Box<dyn Any>> {
    held(OnDrop(Some(f)))
}

/// Returns a Deferred that fires only when it is cancelled.
fn pending() -> Deferred<u32> {
    let (deferred, resolver) = Deferred::new();
    std::mem::forget(resolver);
    deferred
}

#[test]
fn a_resolver_fires() {
    for older in [false, true] {
        let lines = messages_of(older, |sender| {
            let (deferred, resolver) = Deferred::<u32>::new();
            report(&sender, "it is", deferred);
            held(resolver)
        });
        assert_eq!(lines, ["it is Abandoned"], "older: {older}");
    }
}

#[test]
fn combinators_are_cancelled() {
    type Combines = fn() -> Deferred<()>;
    let combines: [(&str, Combines); 7] = [
        ("gather", || gather([pending(), pending()]).map_err(Into::into).map(drop)),
        ("race", || race([pending(), pending()]).map_err(Into::into).map(drop)),
        ("concurrent", || concurrent(2).map([1, 2, 3], |_| pending()).map_err(Into::into).map(drop)),
        ("scope", || {
            scope(|scope| {
                scope.add(pending());
                pending()
            })
            .map(drop)
        }),
        ("share", || pending().share().observe().map(drop)),
        ("a coroutine", || {
            inline_callbacks(async {
                pending().await?;
                Ok(())
            })
        }),
        ("run", || DeferredLock::new().run(pending).map(drop)),
    ];
    for older in [false, true] {
        for (name, combines) in combines {
            let lines = messages_of(older, move |sender| {
                let mut combined = combines();
                let handle: CancelHandle = combined.cancel_handle();
                drop(combined.add_errback(move |failure| {
                    let cancelled = matches!(failure.builtin(), Some(BuiltinError::Cancelled(_)));
                    Ok(sender.send(format!("{name} was cancelled: {cancelled}"))?)
                }));
                on_drop(move || handle.cancel())
            });
            assert_eq!(lines, [format!("{name} was cancelled: true")], "older: {older}");
        }
    }
}

#[test]
fn a_race_is_won() {
    for older in [false, true] {
        let lines = messages_of(older, |sender| {
            let (wins, resolver) = Deferred::<u32>::new();
            let events = sender.clone();
            let (loses, never) = Deferred::with_canceller(move || {
                events.send("cancels the other".into()).unwrap();
                None
            });
            std::mem::forget(never);
            report(&sender, "race", race([loses, wins]).map_err(Into::into));
            on_drop(move || resolver.callback(7))
        });
        assert_eq!(lines, ["cancels the other", "race (1, 7)"], "older: {older}");
    }
}

#[test]
fn permits_guards_and_values_are_handed_on() {
    for older in [false, true] {
        let lines = messages_of(older, |sender| {
            let lock = DeferredLock::new();
            let permit = lock.try_acquire().unwrap();
            report(&sender, "permit", lock.acquire().map(drop));
            let gate = Gate::new();
            let pass = gate.enter().unwrap();
            report(&sender, "gate", gate.close());
            let queue = DeferredQueue::<u32>::new();
            let mut stream = queue.stream();
            {
                let mut next = pin!(futures::StreamExt::next(&mut stream));
                assert!(next.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop())).is_pending());
            }
            queue.put(3).unwrap();
            report(&sender, "value", queue.get());
            vec![Box::new(permit), Box::new(pass), Box::new(stream)]
        });
        assert_eq!(lines, ["permit ()", "gate ()", "value 3"], "older: {older}");
    }
}

#[test]
fn resolvers_inside_each_other_need_no_stack() {
    for older in [false, true] {
        let lines = messages_of(older, |sender| {
            let (mut deferred, outermost) = Deferred::<u32>::new();
            let mut resolver: Resolver<u32>;
            for _ in 0..100_000 {
                let next;
                (next, resolver) = Deferred::new();
                drop(deferred.add_errback(move |failure| {
                    let _resolver = resolver;
                    Err(failure)
                }));
                deferred = next;
            }
            report(&sender, "the last is", deferred);
            vec![Box::new(ignore_unhandled()), Box::new(outermost)]
        });
        assert_eq!(lines, ["the last is Abandoned"], "older: {older}");
    }
}

#[test]
fn a_reactor_closes_and_its_waiters_end() {
    for older in [false, true] {
        let lines = messages_of(older, |sender| {
            let owner = Reactor::new();
            let entered = owner.enter();
            let (remote, resolver) = owner.remote::<u32>();
            std::mem::forget(resolver);
            report(&sender, "remote", remote);
            let kept = RefCell::new(None);
            report(&sender, "a coroutine with a waker", {
                inline_callbacks(poll_fn(move |context| {
                    kept.replace(Some(context.waker().clone()));
                    Poll::<Result<(), Failure>>::Pending
                }))
            });
            let inner = owner.sleep(Duration::from_secs(60));
            report(&sender, "a coroutine that sleeps", inline_callbacks(async move { inner.await }));
            let looping = LoopingCall::new(&owner, || ());
            report(&sender, "looping", looping.start_later(Duration::from_secs(60)).map(drop));
            let cooperator = Cooperator::new(&owner);
            report(&sender, "cooperator", cooperator.coiterate(std::iter::repeat_with(|| Ok(()))));
            drop(entered);
            held(owner)
        });
        let mut sorted = lines.clone();
        sorted.sort();
        assert_eq!(
            sorted,
            [
                "a coroutine that sleeps Abandoned",
                "a coroutine with a waker Abandoned",
                "cooperator Abandoned",
                "looping ()",
                "remote Abandoned"
            ],
            "older: {older}, {lines:?}"
        );
    }
}

#[test]
fn a_clock_does_the_same() {
    for older in [false, true] {
        let lines = messages_of(older, |sender| {
            let clock = Clock::new();
            report(&sender, "sleep", clock.sleep(Duration::from_secs(1)));
            held(clock)
        });
        assert_eq!(lines, ["sleep Abandoned"], "older: {older}");
    }
}

/// Waits for a Deferred, and for a waker that is sent to the test.
async fn waits_for_both(deferred: Deferred<u32>, kept: Sender<Waker>) -> Result<u32, Failure> {
    let mut wait = pin!(deferred.into_future());
    let mut woken = false;
    poll_fn(move |context| {
        if let Poll::Ready(result) = wait.as_mut().poll(context) {
            return Poll::Ready(result);
        }
        if std::mem::replace(&mut woken, true) {
            return Poll::Ready(Ok(1));
        }
        kept.send(context.waker().clone()).unwrap();
        Poll::Pending
    })
    .await
}

#[test]
fn a_coroutine_without_a_reactor_that_a_waker_may_wake_ends() {
    for older in [false, true] {
        for wakes in [false, true] {
            let lines = messages_of(older, move |sender| {
                let (keeps, kept) = mpsc::channel();
                report(&sender, "it is", inline_callbacks(waits_for_both(pending(), keeps)));
                let waker = kept.recv().unwrap();
                on_drop(move || {
                    if wakes {
                        waker.wake()
                    }
                })
            });
            // If the thread's coroutines were destroyed before the wake-up, that ended the
            // coroutine.
            assert!(lines == ["it is 1"] || lines == ["it is Abandoned"], "older: {older}, {lines:?}");
            assert!(wakes || lines == ["it is Abandoned"]);
        }
    }
}

#[test]
fn an_unhandled_error_is_reported_to_the_thread_hook_or_the_global_hook() {
    static REPORTED: AtomicU32 = AtomicU32::new(0);
    report::set_hook(|report| {
        if report.unhandled().and_then(|unhandled| unhandled.downcast_ref()) == Some(&App(77)) {
            REPORTED.fetch_add(1, Ordering::SeqCst);
        }
    });
    for older in [false, true] {
        let lines = messages_of(older, |sender| {
            let hook = on_unhandled(move |_| sender.send("the hook of the thread".into()).unwrap());
            let (deferred, resolver) = Deferred::<u32>::new();
            drop(deferred.add_errback(|_| Err(App(77).into())));
            vec![Box::new(resolver), Box::new(hook)]
        });
        // If the thread's hooks were destroyed first, the global hook is called.
        assert_eq!((lines.len(), REPORTED.load(Ordering::SeqCst)), if older { (0, 1) } else { (1, 0) });
    }
}
