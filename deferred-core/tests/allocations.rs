//! The number of allocations of the engine. In this file, small captures have at most one word, and
//! small results at most two.

#[path = "support/count.rs"]
mod count;
mod support;

use std::cell::Cell;
use std::future::{Future, IntoFuture, poll_fn};
use std::hint::black_box;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use count::live_bytes;
use deferred_core::{
    BuiltinError, CancelHandle, Clock, Cooperator, Deferred, DeferredError, DeferredLock, DeferredQueue, Failure, Gate,
    Pause, Resolver, inline_callbacks, maybe_deferred,
};
use support::{App, ignore_unhandled};

/// The number of blocks whose memory a thread keeps for reuse.
const KEPT: usize = 256;

/// Uses up the free list of this thread.
fn use_up() {
    drop(Deferred::<u64>::new());
    for _ in 0..=KEPT {
        std::mem::forget(Deferred::<u64>::new());
    }
}

/// Runs `work` with an empty free list, and returns its result and the number of allocations.
fn allocations<R>(work: impl FnOnce() -> R) -> (R, u64) {
    use_up();
    count::allocations(work)
}

/// An error that needs no allocation.
#[derive(Debug, PartialEq)]
enum Plain {
    Interrupted,
    Number(u32),
}

impl From<BuiltinError> for Plain {
    fn from(_: BuiltinError) -> Self {
        Plain::Interrupted
    }
}

impl DeferredError for Plain {}

#[test]
fn a_chain_on_a_ready_deferred_allocates_nothing() {
    let one = black_box(1_u64);
    let (result, count) = allocations(|| {
        Deferred::<u64>::succeed(one)
            .add_callback(move |value| Ok(value + one))
            .add_callback(move |value| Deferred::succeed(value + one))
            .map(move |value| value + one)
            .add_both(|result| result)
            .add_errback(Err)
            .map_err(|failure| failure)
            .add_finally(|| Ok(()))
            .add_finally(move || Deferred::succeed(one))
            .add_callbacks(|value| Ok(value * 2), Err)
            .map(|value| [value; 100])
            .map(|values| values[99])
            .try_take()
            .unwrap()
            .unwrap()
    });
    assert_eq!((result, count), (8, 0));
}

#[test]
fn a_chain_on_a_ready_error_allocates_nothing_but_its_trail() {
    let failure = Failure::from(App(1));
    let (result, count) = allocations(|| {
        Deferred::<u64>::fail(failure)
            .add_callback(|value| Ok(value + 1))
            .map(|value| value + 1)
            .add_both(|result| result)
            .add_finally(|| Ok(()))
            .add_errback(Err)
            .try_take()
            .unwrap()
            .unwrap_err()
    });
    assert!(result.check::<App>());
    assert!(count <= 1, "{count}");

    // An error type without a trail.
    let (result, count) = allocations(|| {
        Deferred::<u64, Plain>::from(Err(Plain::Number(1)))
            .add_callback(|value| Ok(value + 1))
            .map(|value| value + 1)
            .add_both(|result| result)
            .add_finally(|| Ok(()))
            .add_errback(|_| Err(Plain::Number(2)))
            .try_take()
            .unwrap()
            .unwrap_err()
    });
    assert_eq!((result, count), (Plain::Number(2), 0));
}

#[test]
fn from_maybe_deferred_and_peeking_allocate_nothing() {
    let (_, count) = allocations(|| {
        let mut deferred = Deferred::from(Ok::<u64, Failure>(1));
        assert!(deferred.is_ready());
        assert!(deferred.peek().is_some());
        deferred.cancel();
        drop(deferred);
        drop(maybe_deferred(|| Ok(1_u64)));
        drop(maybe_deferred(|| Deferred::succeed(1_u64)).map(|value| value + 1));
    });
    assert_eq!(count, 0);
}

#[test]
fn a_ready_deferred_that_returns_a_pending_one_allocates_once() {
    let (inner, resolver) = Deferred::<u64>::new();
    let (result, count) = allocations(|| {
        let outer = Deferred::succeed(()).add_callback(|()| inner).map(|value| value + 1);
        resolver.callback(1);
        outer.try_take().unwrap().unwrap()
    });
    assert_eq!((result, count), (2, 1));
}

#[test]
fn three_small_callbacks_on_a_pending_deferred_take_one_allocation() {
    let (one, two, three) = (black_box(1_u64), black_box(2_u64), black_box(3_u64));
    let (result, count) = allocations(|| {
        let (deferred, resolver) = Deferred::<u64>::new();
        let deferred = deferred
            .add_callback(move |value| Ok(value + one))
            .add_callback(move |value| Ok(i64::try_from(value + two)?))
            .add_callback(move |value| Ok(u64::try_from(value)? + three));
        resolver.callback(black_box(0));
        deferred.try_take().unwrap().unwrap()
    });
    assert_eq!((result, count), (6, 1));
}

#[test]
fn three_small_stages_of_other_kinds_take_one_allocation() {
    let one = black_box(1_u64);
    let (result, count) = allocations(|| {
        let (deferred, resolver) = Deferred::<u64>::new();
        let deferred = deferred
            .map(move |value| value + one)
            .add_both(move |result| result.map(|value| value + one))
            .add_errback(move |_| Ok(one));
        resolver.callback(black_box(0));
        deferred.try_take().unwrap().unwrap()
    });
    assert_eq!((result, count), (2, 1));
}

#[test]
fn errbacks_that_handle_an_error_take_no_more() {
    let (_, count) = allocations(|| {
        let (deferred, resolver) = Deferred::<u64, Plain>::typed();
        let deferred =
            deferred.add_callback(|value| Ok(value + 1)).add_errback(|_| Err(Plain::Number(5))).add_errback(|_| Ok(1));
        resolver.errback(Plain::Number(1));
        deferred.try_take().unwrap().unwrap()
    });
    assert_eq!(count, 1);
}

fn with_results_of<const WORDS: usize>(callbacks: u64) -> u64 {
    let one = black_box(1_u64);
    let ((), count) = allocations(|| {
        let (mut deferred, resolver) = Deferred::<[u64; WORDS]>::new();
        for _ in 0..callbacks {
            deferred = deferred.add_callback(move |mut values| {
                values[WORDS - 1] += one;
                Ok(values)
            });
        }
        resolver.callback([0; WORDS]);
        assert_eq!(deferred.try_take().unwrap().unwrap()[WORDS - 1], callbacks);
    });
    count
}

#[test]
fn results_of_64_and_256_bytes_take_at_most_two_allocations() {
    let (small, large) = (with_results_of::<8>(3), with_results_of::<32>(3));
    assert!(small <= 2, "{small} with 64 bytes");
    assert!(large <= 2, "{large} with 256 bytes");
}

#[test]
fn a_result_that_grows_along_the_chain_takes_at_most_two_allocations() {
    let ((), count) = allocations(|| {
        let (deferred, resolver) = Deferred::<u8>::new();
        let deferred = deferred
            .add_callback(|value| Ok([u64::from(value); 8]))
            .add_callback(|values| Ok([values[7]; 32]))
            .add_callback(|values| Ok(values[31] as u8));
        resolver.callback(7);
        assert_eq!(deferred.try_take().unwrap().unwrap(), 7);
    });
    assert!(count <= 3, "{count}: the block, and the spill once for each larger size");
}

#[test]
fn ten_callbacks_take_at_most_two_allocations_and_a_thousand_six() {
    for (callbacks, most) in [(3, 1), (10, 2), (1000, 6)] {
        let count = with_results_of::<1>(callbacks);
        assert!(count <= most, "{callbacks} callbacks: {count}");
    }
}

fn error_through(callbacks: usize) -> u64 {
    let failure = Failure::from(App(1));
    let (mut deferred, resolver) = Deferred::<u64>::new();
    for _ in 0..callbacks {
        deferred = deferred.add_callback(|value| Ok(value + 1));
    }
    let (failure, count) = allocations(|| {
        resolver.errback(failure);
        deferred.try_take().unwrap().unwrap_err()
    });
    assert!(failure.check::<App>());
    count
}

#[test]
fn the_trail_of_an_error_takes_at_most_one_allocation() {
    for callbacks in [1, 3, 16, 17, 33, 1000] {
        let count = error_through(callbacks);
        assert!(count <= 1, "{count} through {callbacks}");
    }
}

#[test]
fn a_wait_for_another_deferred_allocates_nothing() {
    let (inner, inner_resolver) = Deferred::<u64>::new();
    let (outer, resolver) = Deferred::<u64>::new();
    let outer = outer.add_callback(move |_| inner);
    let (result, count) = allocations(|| {
        resolver.callback(1);
        inner_resolver.callback(2);
        outer.try_take().unwrap().unwrap()
    });
    assert_eq!((result, count), (2, 0));
}

#[test]
fn handles_pauses_cancels_and_chaining_of_a_pending_deferred_allocate_nothing() {
    let _quiet = ignore_unhandled();
    let (mut deferred, resolver) = Deferred::<u64, Plain>::typed();
    let (target, target_resolver) = Deferred::<u64, Plain>::typed();
    let ((), count) = allocations(|| {
        let handle = deferred.cancel_handle();
        let other = handle.clone();
        let pause = deferred.pause();
        pause.unpause();
        deferred.chain_deferred(target_resolver);
        other.cancel();
        handle.cancel();
        drop(resolver);
        assert_eq!(target.try_take().unwrap(), Err(Plain::Interrupted));
    });
    assert_eq!(count, 0);
}

#[test]
fn all_memory_is_freed() {
    let _quiet = ignore_unhandled();
    let round = |end: u32| {
        let (mut deferred, resolver) = Deferred::<[u64; 20]>::new();
        let handle = deferred.cancel_handle();
        let pause = deferred.pause();
        let text = String::from("captured");
        let mut deferred = deferred.add_callback(move |_| Ok(text));
        for _ in 0..50 {
            deferred = deferred.add_errback(Err);
        }
        let (inner, inner_resolver) = Deferred::<String>::new();
        let deferred = deferred.add_callback(|_| inner);
        match end {
            0 => resolver.callback([1; 20]),
            1 => resolver.errback(App(1)),
            2 => handle.cancel(),
            _ => drop(resolver),
        }
        drop(pause);
        drop(inner_resolver);
        drop(deferred);
    };
    (0..4).for_each(round); // initializes this thread
    let before = live_bytes();
    (0..4).for_each(round);
    assert_eq!(live_bytes() - before, 0);
}

/// A coroutine that fires a Deferred in the poll that awaits it, and then waits for others.
#[test]
fn a_coroutine_that_is_polled_again_allocates_only_its_frame() {
    let (one, fires_one) = Deferred::<u64>::new();
    let waits = [(); 3].map(|()| Deferred::<u64>::new());
    let (waits, fires): (Vec<_>, Vec<_>) = waits.into_iter().unzip();
    let round = || {
        inline_callbacks(async move {
            let mut one = std::pin::pin!(one.into_future());
            let mut fires_one = Some(fires_one);
            let first = poll_fn(|context| {
                let polled = one.as_mut().poll(context);
                if let Some(fires_one) = fires_one.take() {
                    fires_one.callback(1); // resumes this coroutine, which is being polled
                    return Poll::Pending;
                }
                polled
            });
            let mut sum = first.await?;
            for wait in waits {
                sum += wait.await?;
            }
            Ok(sum)
        })
    };
    drop(inline_callbacks(async { Ok(()) })); // the waker of this thread
    Deferred::<u64>::new().0.cancel(); // leaves a block in the free list
    let (sum, count) = count::allocations(|| {
        let sum = round();
        fires.into_iter().for_each(|fires| fires.callback(1));
        sum
    });
    assert_eq!(sum.try_take().unwrap().unwrap(), 4);
    assert_eq!(count, 1, "the frame; its Deferred reuses a block");
}

#[test]
fn a_timer_uses_the_memory_of_one_that_was_cancelled_or_has_run() {
    let clock = Clock::new();
    let ran = Rc::new(Cell::new(0));
    let start = || {
        let ran = ran.clone();
        clock.call_later(Duration::from_secs(1), move || ran.set(ran.get() + 1))
    };
    let _others: Vec<_> = (0..3).map(|_| start()).collect(); // the wheel has its memory
    start().cancel().unwrap();
    let ((), count) = allocations(|| (0..10).for_each(|_| start().cancel().unwrap()));
    assert_eq!(count, 0, "cancelled");
    let round = || {
        drop(start());
        clock.advance(Duration::from_secs(1));
    };
    (0..200).for_each(|_| round()); // each slot of the wheel has its memory
    let ((), count) = allocations(round);
    assert_eq!((count, ran.get()), (0, 3 + 201), "run");
    let held = start();
    held.cancel().unwrap();
    let (other, count) = allocations(start);
    assert_eq!(count, 1, "a handle refers to the cancelled one");
    assert!(!held.active() && other.active());
}

#[test]
fn handles_are_as_small_as_they_can_be() {
    const WORD: usize = size_of::<usize>();
    assert_eq!(size_of::<Failure>(), WORD);
    assert_eq!(size_of::<Option<Failure>>(), WORD);
    assert_eq!(size_of::<Resolver<[u64; 100]>>(), WORD);
    assert_eq!(size_of::<CancelHandle>(), WORD);
    assert_eq!(size_of::<Pause>(), WORD);
    assert_eq!(size_of::<Deferred<()>>(), 4 * WORD, "the result and two places");
    assert_eq!(size_of::<Deferred<usize>>(), 4 * WORD, "the result and two places");
    assert_eq!(size_of::<Deferred<[usize; 8]>>(), 11 * WORD, "the result and two places");
    const fn crosses_threads<T: Send + Sync>() {}
    crosses_threads::<Failure>();
}

/// A pending Deferred with one or three small callbacks is one allocation of 184 bytes, for which
/// common allocators use 192.
#[test]
#[cfg(target_pointer_width = "64")]
fn a_pending_deferred_with_up_to_three_small_callbacks_is_184_bytes() {
    for callbacks in 0..=3 {
        let one = black_box(1_u64);
        use_up();
        let before = live_bytes();
        let (mut deferred, resolver) = Deferred::<u64>::new();
        for _ in 0..callbacks {
            deferred = deferred.add_callback(move |value| Ok(value + one));
        }
        assert_eq!(live_bytes() - before, 184, "{callbacks}");
        resolver.callback(1);
        drop(deferred);
        assert_eq!(live_bytes() - before, 184, "it is kept for another");
    }
}

#[test]
fn the_block_of_a_dropped_deferred_is_reused() {
    let fires = |more: u64| {
        let (deferred, resolver) = Deferred::<u64>::new();
        let deferred = deferred.add_callback(move |value| Ok(value + more));
        resolver.callback(1);
        deferred.try_take().unwrap().unwrap()
    };
    assert_eq!(fires(1), 2);
    let (sum, count) = count::allocations(|| (0..100).map(fires).sum::<u64>());
    assert_eq!((sum, count), (5050, 0));
}

/// Blocks are also kept if their result was moved out, if they were left out of a tail call, or if
/// they ended without a consumer.
#[test]
#[cfg(target_pointer_width = "64")]
fn a_thread_keeps_256_blocks_and_no_more() {
    use_up();
    let before = live_bytes();
    let many: Vec<_> = (0..1000).map(|_| Deferred::<u64>::new()).collect();
    for (number, (deferred, resolver)) in many.into_iter().enumerate() {
        match number % 4 {
            0 => drop(deferred.add_callback(|value| Ok([value; 100]))),
            1 => drop(Deferred::succeed(()).add_callback(|()| deferred)),
            2 => drop((0..10).fold(deferred, |deferred, more| deferred.map(move |value| value + more))),
            _ => drop(deferred),
        }
        resolver.callback(1);
    }
    assert_eq!(live_bytes() - before, 256 * 184);
}

#[test]
fn awaiting_a_ready_deferred_allocates_nothing() {
    let mut future = std::pin::pin!(async {
        let mut sum = 0_u64;
        for _ in 0..100 {
            sum += Deferred::<u64>::succeed(black_box(1)).await?;
        }
        Ok::<_, Failure>(sum)
    });
    let mut context = Context::from_waker(Waker::noop());
    let (polled, count) = allocations(|| future.as_mut().poll(&mut context));
    assert!(matches!(polled, Poll::Ready(Ok(100))));
    assert_eq!(count, 0);
}

#[test]
fn a_coroutine_that_suspends_is_two_allocations_besides_the_awaited_deferred() {
    // The cached waker of this thread is created once.
    assert!(inline_callbacks(async { Deferred::<u64>::succeed(1).await }).is_ready());
    let (first, resolver) = Deferred::<u64>::new();
    let (second, second_resolver) = Deferred::<u64>::new();
    let (deferred, count) = allocations(|| inline_callbacks(async move { Ok(first.await? + second.await?) }));
    assert_eq!(count, 2);
    let ((), count) = allocations(|| {
        resolver.callback(1);
        second_resolver.callback(2);
    });
    assert_eq!(count, 0);
    assert_eq!(deferred.try_take().unwrap().unwrap(), 3);
}

#[test]
fn a_coroutine_that_does_not_suspend_is_one_allocation() {
    assert!(inline_callbacks(async { Deferred::<u64>::succeed(1).await }).is_ready());
    let (deferred, count) = allocations(|| inline_callbacks(async { Deferred::<u64>::succeed(1).await }));
    assert_eq!((deferred.try_take().unwrap().unwrap(), count), (1, 1));
}

#[test]
fn an_await_that_suspends_allocates_nothing_beyond_the_deferred() {
    let slot = Rc::new(Cell::new(None::<Resolver<u64>>));
    let waiting = slot.clone();
    let deferred = inline_callbacks(async move {
        let mut sum = 0;
        for _ in 0..100 {
            let (deferred, resolver) = Deferred::new();
            waiting.set(Some(resolver));
            sum += deferred.await?;
        }
        Ok(sum)
    });
    let ((), count) = allocations(|| {
        while let Some(resolver) = slot.take() {
            resolver.callback(1);
        }
    });
    assert_eq!(deferred.try_take().unwrap().unwrap(), 100);
    // The first Deferred was created before, and is released after the second was created.
    assert_eq!(count, 1, "each Deferred takes the memory of the one before the last");
}

#[test]
fn a_coroutine_that_waited_for_a_foreign_future_leaks_nothing() {
    let clock = Clock::new();
    let round = || {
        let (senders, received): (Vec<_>, Vec<_>) = (0..1000).map(|_| futures::channel::oneshot::channel()).unzip();
        let waiting: Vec<_> =
            received.into_iter().map(|received| clock.ensure_deferred(async { Ok(received.await?) })).collect();
        senders.into_iter().for_each(|sender: futures::channel::oneshot::Sender<u32>| sender.send(1).unwrap());
        clock.advance(Duration::ZERO);
        assert!(waiting.iter().all(Deferred::is_ready));
    };
    round();
    let before = live_bytes();
    (0..5).for_each(|_| round());
    let more = live_bytes() - before;
    assert!(more < 5000, "{more} bytes are left of 5000 that have ended");
}

/// Creates a Deferred that waits for a Deferred that is kept.
type Waits = Box<dyn Fn() -> Deferred<()>>;

#[test]
fn cancelled_coroutines_leak_nothing() {
    let _quiet = ignore_unhandled();
    let clock = Clock::new();
    let gate = Gate::new();
    let _pass = gate.enter().unwrap();
    let lock = DeferredLock::new();
    let _permit = lock.try_acquire().unwrap();
    let queue = DeferredQueue::<u32>::with_limits(Some(0), None);
    let getters = DeferredQueue::<u32>::new();
    let cooperator = Cooperator::new(&clock);
    let task = cooperator.cooperate([Deferred::<()>::new().0]);
    let (source, _resolver) = Deferred::<u32>::new();
    let shared = source.share();
    let keeps = shared.observe();
    let (reactor, coroutines) = (clock.clone(), clock.clone());
    let waits: [(&str, Waits); 8] = [
        ("Gate::close", Box::new(move || gate.close())),
        ("DeferredLock::acquire", Box::new(move || lock.acquire().map(drop))),
        ("DeferredQueue::put_wait", Box::new(move || queue.put_wait(1))),
        ("DeferredQueue::get", Box::new(move || getters.get().map(drop))),
        ("CooperativeTask::when_done", Box::new(move || task.when_done())),
        ("Shared::observe", Box::new(move || shared.observe().map(drop))),
        ("Reactor::sleep", Box::new(move || reactor.sleep(Duration::from_secs(60)))),
        ("a coroutine", Box::new(move || coroutines.ensure_deferred(std::future::pending()))),
    ];
    for (name, wait) in waits {
        let round = || {
            let waiting: Vec<_> = (0..1000).map(|_| wait()).collect();
            waiting.iter().for_each(Deferred::cancel);
        };
        round();
        let before = live_bytes();
        for _ in 0..5 {
            round();
        }
        let more = live_bytes() - before;
        assert!(more < 5000, "{name}: {more} bytes are left of 5000 that were cancelled");
    }
    drop(keeps);
}
