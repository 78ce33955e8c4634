//! Deferreds on `wasm32-unknown-unknown`, which has neither a clock nor threads: the driver provides
//! the time. `.ci/wasm` runs this program in node. A real one would get the time from
//! `performance.now()`, and wait with `setTimeout` between two turns.
#![forbid(unsafe_code)]

#[cfg(all(target_family = "wasm", target_os = "unknown"))]
fn main() {
    on_wasm::run();
}

#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
fn main() {
    println!("this program is for wasm32-unknown-unknown: see `.ci/wasm`");
}

#[cfg(all(target_family = "wasm", target_os = "unknown"))]
mod on_wasm {
    use std::cell::Cell;
    use std::rc::Rc;
    use std::task::Waker;
    use std::time::Duration;

    use deferred_core::testing::success_result_of;
    use deferred_core::{Clock, Deferred, Instant, LoopingCall, Reactor, Turn, inline_callbacks};

    thread_local! {
        static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }

    /// Runs the loop until it is stopped. Each sleep only moves the time.
    fn drive(reactor: &Reactor) {
        loop {
            match reactor.turn(Waker::noop()) {
                Turn::Again => {}
                Turn::Sleep(due) => {
                    let due = due.expect("a timer, or the program would wait forever");
                    NOW.set(NOW.get() + due.duration_since(Instant::now()));
                }
                Turn::Stopped => return,
            }
        }
    }

    pub(crate) fn run() {
        Instant::set_time_source(|| NOW.get());

        let (deferred, resolver) = Deferred::new();
        let coroutine = inline_callbacks(async move { Ok(deferred.await? + 1) });
        resolver.callback(41);
        assert_eq!(success_result_of(coroutine), 42);

        let owner = Reactor::new();
        let (reactor, ticks) = (Reactor::clone(&owner), Rc::new(Cell::new(0)));
        let counted = ticks.clone();
        let tick = LoopingCall::new(&reactor, move || counted.set(counted.get() + 1));
        drop(tick.start(Duration::from_secs(1)));
        drop(inline_callbacks(async move {
            reactor.sleep(Duration::from_millis(3500)).await?;
            reactor.stop();
            Ok(())
        }));
        drive(&owner);
        assert_eq!((ticks.get(), NOW.get()), (4, Duration::from_millis(3500)));

        let clock = Clock::new();
        let late = clock.sleep(Duration::from_secs(7200)).map(|()| 1);
        let late = late.add_timeout(Duration::from_secs(3600), &clock).add_errback(|_| Ok(7));
        clock.advance(Duration::from_secs(3600));
        assert_eq!(success_result_of(late), 7);
    }
}
