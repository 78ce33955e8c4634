//! Coroutines that await the executor's own futures.

use std::cell::Cell;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use super::{BoxedFuture, Check, DriverTest};
use crate::coroutine::inline_callbacks;
use crate::deferred::Deferred;
use crate::error::{Cancelled, Failure};
use crate::reactor::ReactorHandle;

pub(super) const CHECKS: &[Check] = &[
    ("a coroutine awaits the executor's futures", a_coroutine_awaits_them),
    ("many coroutines await the executor's futures", many_coroutines_await_them),
    ("a flood of posts does not keep the executor's futures from running", a_flood_does_not_starve_them),
    ("a busy loop leaves its executor time after few turns", a_busy_loop_leaves_time),
    ("a cancel drops the executor's futures", a_cancel_drops_them),
];

/// Awaits `future` in a coroutine.
fn awaiting(future: BoxedFuture) -> Deferred<()> {
    inline_callbacks(async move {
        future.await;
        Ok(())
    })
}

fn a_coroutine_awaits_them(test: &DriverTest) {
    for (name, future) in &test.futures {
        let result = test.drive_until(|_| {
            let future = future.clone();
            // The futures of many executors can only be made while that runs.
            inline_callbacks(async move {
                for _ in 0..20 {
                    crate::Reactor::current().expect("a coroutine runs in a turn").sleep(Duration::ZERO).await?;
                    future().await;
                }
                Ok(())
            })
        });
        assert!(result.is_ok(), "{name}: {result:?}");
    }
}

fn many_coroutines_await_them(test: &DriverTest) {
    let result = test.drive_until(|reactor| {
        let futures = test.futures.clone();
        reactor.sleep(Duration::ZERO).add_callback(move |()| {
            let all = (0..30).flat_map(|_| futures.iter().map(|(_, future)| awaiting(future())).collect::<Vec<_>>());
            crate::gather(all).map_err(Failure::from).map(drop)
        })
    });
    assert!(result.is_ok(), "{result:?}");
}

fn a_flood_does_not_starve_them(test: &DriverTest) {
    fn flood(handle: ReactorHandle) {
        let next = handle.clone();
        // An error means that the loop has ended, and so does the flood.
        let _ = handle.call_from_thread(move || flood(next));
    }
    for (name, future) in &test.futures {
        let result = test.drive_until(|reactor| {
            flood(reactor.handle());
            let future = future.clone();
            reactor.sleep(Duration::ZERO).add_callback(move |()| awaiting(future()))
        });
        assert!(result.is_ok(), "{name}: {result:?}");
    }
}

fn a_busy_loop_leaves_time(test: &DriverTest) {
    /// Keeps each turn busy for a millisecond, until the loop ends.
    fn busy(handle: ReactorHandle) {
        thread::sleep(Duration::from_millis(1));
        let next = handle.clone();
        let _ = handle.call_from_thread(move || busy(next));
    }
    for (name, future) in &test.futures {
        let turns = test.drive_until(|reactor| {
            let (future, own) = (future.clone(), reactor.clone());
            reactor.sleep(Duration::ZERO).add_callback(move |()| {
                busy(own.handle());
                let before = own.health().turns;
                awaiting(future()).map(move |()| own.health().turns - before)
            })
        });
        // A future may need the executor several times, and a driver may take several turns for
        // each.
        let turns = turns.unwrap_or_else(|failure| panic!("{name}: {failure}"));
        assert!(turns <= 150, "{name} took {turns} turns of a busy loop");
    }
}

/// Sets a flag when it is dropped.
struct SetOnDrop(Rc<Cell<bool>>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

fn a_cancel_drops_them(test: &DriverTest) {
    for (name, future) in &test.futures {
        let dropped = Rc::new(Cell::new(false));
        let result = test.drive_until(|reactor| {
            let (future, flag) = (future.clone(), dropped.clone());
            reactor.sleep(Duration::ZERO).add_callback(move |()| {
                let future = future();
                let coroutine = inline_callbacks::<()>(async move {
                    let _flag = SetOnDrop(flag);
                    future.await;
                    std::future::pending().await
                });
                coroutine.cancel();
                coroutine
            })
        });
        assert!(result.is_err_and(|failure| failure.check::<Cancelled>()), "{name}");
        assert!(dropped.get(), "{name}");
    }
}
