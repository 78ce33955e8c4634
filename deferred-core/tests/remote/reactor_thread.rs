//! `ReactorThread`: a loop on a thread of its own, with its state.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use deferred_core::testing::Reports;
use deferred_core::{
    Abandoned, Cancelled, Deferred, Failure, Panicked, Phase, Reactor, ReactorThread, Resolver, SystemEvent,
};
use futures::executor::block_on;

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

/// A value that must not leave its thread, and sends a message when it is dropped.
struct State {
    thread: thread::ThreadId,
    dropped: mpsc::Sender<thread::ThreadId>,
    not_send: Rc<Cell<u32>>,
}

impl Drop for State {
    fn drop(&mut self) {
        let _ = self.dropped.send(thread::current().id());
    }
}

fn state(dropped: mpsc::Sender<thread::ThreadId>) -> State {
    State { thread: thread::current().id(), dropped, not_send: Rc::default() }
}

#[test]
fn the_state_stays_on_its_thread_from_the_first_call_to_its_drop() {
    let (sender, dropped) = mpsc::channel();
    let reactor = ReactorThread::start(move |_| Ok(state(sender))).wait().unwrap();
    let there = reactor.call(|state| Ok(state.thread)).wait().unwrap();
    assert_ne!(there, thread::current().id());
    for number in 0..10 {
        let count = reactor.call(move |state| {
            assert_eq!(thread::current().id(), state.thread);
            state.not_send.set(state.not_send.get() + 1);
            let state = state.clone();
            Reactor::current().unwrap().defer_later(MS, move || Ok(state.not_send.get() - 1))
        });
        assert_eq!(count.wait().unwrap(), number);
    }
    reactor.stop().wait().unwrap();
    assert_eq!(dropped.try_recv().unwrap(), there, "after `stop` it is dropped");
}

#[test]
fn a_main_that_returns_a_deferred_is_ready_with_it() {
    let reactor = ReactorThread::start(|reactor| reactor.defer_later(2 * MS, || Ok(7))).wait().unwrap();
    assert_eq!(reactor.call(|state| Ok(**state)).wait().unwrap(), 7);
}

#[test]
fn a_main_that_fails_or_panics_fails_the_start_and_ends_the_thread() {
    let (sender, ended) = mpsc::channel();
    let failed = {
        let sender = sender.clone();
        ReactorThread::<()>::start(move |reactor| {
            reactor.add_system_event_trigger(Phase::After, SystemEvent::Shutdown, move || sender.send(1).unwrap());
            Err(Failure::msg("no such file"))
        })
    };
    assert_eq!(failed.wait().unwrap_err().to_string(), "no such file");
    assert_eq!(ended.recv().unwrap(), 1);
    let later = ReactorThread::<()>::start(move |reactor| {
        reactor.add_system_event_trigger(Phase::After, SystemEvent::Shutdown, move || sender.send(2).unwrap());
        reactor.sleep(MS).add_callback(|()| -> Result<(), Failure> { panic!("ouch") })
    });
    assert_eq!(later.wait().unwrap_err().trap::<Panicked>().unwrap().message(), "ouch");
    assert_eq!(ended.recv().unwrap(), 2);
}

#[test]
fn dropping_the_start_cancels_main_and_ends_the_thread() {
    let (sender, events) = mpsc::channel();
    let start = ReactorThread::<()>::start(move |reactor| {
        let (begun, cancelled) = (sender.clone(), sender.clone());
        reactor.add_system_event_trigger(Phase::After, SystemEvent::Shutdown, move || sender.send("ended").unwrap());
        begun.send("begun").unwrap();
        reactor.sleep(HOUR).add_errback(move |failure| {
            cancelled.send(if failure.check::<Cancelled>() { "cancelled" } else { "failed" }).unwrap();
            Err(failure)
        })
    });
    assert_eq!(events.recv().unwrap(), "begun");
    drop(start);
    assert_eq!([events.recv().unwrap(), events.recv().unwrap()], ["cancelled", "ended"]);
}

#[test]
fn dropping_the_last_clone_stops_the_loop() {
    let (sender, dropped) = mpsc::channel();
    let reactor = ReactorThread::start(move |_| Ok(state(sender))).wait().unwrap();
    let clone = reactor.clone();
    drop(reactor);
    clone.call(|_| Ok(())).wait().unwrap();
    assert!(dropped.try_recv().is_err());
    drop(clone);
    dropped.recv().unwrap();
}

#[test]
fn stop_waits_for_the_shutdown_and_can_be_called_again() {
    let (sender, order) = mpsc::channel();
    let reactor = ReactorThread::start(move |reactor| {
        let own = reactor.clone();
        reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move || {
            own.sleep(5 * MS).map(move |()| sender.send("shut down").unwrap())
        });
    });
    let reactor = reactor.wait().unwrap();
    let (first, second) = (reactor.stop(), reactor.stop());
    first.wait().unwrap();
    assert_eq!(order.try_recv(), Ok("shut down"));
    second.wait().unwrap();
    reactor.stop().wait().unwrap();
    let late = reactor.call(|_| Ok(()));
    assert!(late.wait().unwrap_err().check::<Abandoned>());
}

#[test]
fn the_stop_abandons_calls_that_have_not_ended() {
    let reactor = ReactorThread::start(|_| Ok(RefCell::new(Vec::new()))).wait().unwrap();
    let never = reactor.call(|kept| {
        let (deferred, resolver) = Deferred::<()>::new();
        kept.borrow_mut().push(resolver);
        deferred
    });
    reactor.stop().wait().unwrap();
    assert!(never.wait().unwrap_err().check::<Abandoned>());
}

#[test]
fn the_stop_drops_a_state_to_which_a_pending_call_refers() {
    struct Waits {
        waiting: RefCell<Vec<Resolver<u32>>>,
        _state: State,
    }
    for in_a_coroutine in [false, true] {
        let (sender, dropped) = mpsc::channel();
        let start = ReactorThread::start(move |_| Ok(Waits { waiting: RefCell::default(), _state: state(sender) }));
        let reactor = start.wait().unwrap();
        // The state has the resolver, and the Deferred has the state.
        let never = reactor.call(move |state| {
            let (event, resolver) = Deferred::new();
            state.waiting.borrow_mut().push(resolver);
            let state = state.clone();
            if in_a_coroutine {
                return deferred_core::inline_callbacks(async move {
                    let number = event.await?;
                    drop(state);
                    Ok(number)
                });
            }
            event.map(move |number| {
                drop(state);
                number
            })
        });
        reactor.stop().wait().unwrap();
        dropped.try_recv().unwrap();
        let abandoned = never.wait().unwrap_err().trap::<Abandoned>().unwrap();
        assert!(abandoned.is_reactor_closed());
    }
}

#[test]
fn a_driver_that_panics_ends_everything_with_an_error() {
    let reactor = ReactorThread::start_with(
        |reactor| {
            let _ = reactor.turn(std::task::Waker::noop()); // completes the start
            thread::sleep(10 * MS);
            panic!("the driver");
        },
        |_| Ok(()),
    );
    let reactor = reactor.wait().unwrap();
    let call = reactor.call(|_| Deferred::<()>::new().0);
    assert_eq!(reactor.stop().wait().unwrap_err().trap::<Panicked>().unwrap().message(), "the driver");
    assert!(call.wait().unwrap_err().check::<Abandoned>());
    assert!(reactor.stop().wait().unwrap_err().check::<Panicked>());
}

#[test]
fn a_loop_can_use_the_state_of_another_thread() {
    let other = ReactorThread::start(|_| Ok(Cell::new(20))).wait().unwrap();
    let sum = deferred_core::park::run_until(move |_| {
        deferred_core::inline_callbacks(async move {
            let before = other.call(|cell| Ok(cell.replace(0))).await?;
            other.stop().await?;
            Ok(before + 1)
        })
    });
    assert_eq!(sum.unwrap(), 21);
}

#[test]
fn many_start_and_end_at_random_moments() {
    for round in 0..200_u32 {
        let reports = Reports::collect();
        let start = ReactorThread::start(move |reactor| {
            if round % 3 == 0 { reactor.sleep(MS / 10).map(|()| 1) } else { Deferred::succeed(1) }
        });
        if round % 7 == 0 {
            drop(start);
            continue;
        }
        let reactor = block_on(start).unwrap();
        let calls: Vec<_> = (0..5).map(|number| reactor.call(move |state| Ok(**state + number))).collect();
        match round % 4 {
            0 => drop(reactor),
            1 => reactor.stop().wait().unwrap(),
            2 => drop(reactor.stop()),
            _ => reactor.handle().stop(),
        }
        // Posted before the stop, so each has run.
        for (number, call) in calls.into_iter().enumerate() {
            assert_eq!(call.wait().unwrap(), 1 + number as u32);
        }
        reports.assert_none();
    }
}

#[test]
fn waiting_for_the_end_on_the_loops_own_thread_is_refused() {
    let reactor = ReactorThread::start(|_| Ok(())).wait().unwrap();
    let own = reactor.clone();
    let waits = reactor.call(move |_| own.stop().wait());
    let message = waits.wait().unwrap_err().trap::<Panicked>().unwrap().message().to_owned();
    assert!(message.contains("would wait for itself forever"), "{message}");
}

#[test]
fn what_a_closed_reactor_does_not_accept_fails_with_that_reason() {
    let owner = Reactor::new();
    let (reactor, handle) = (owner.clone(), owner.handle());
    owner.close();
    let failed = [
        reactor.sleep(MS).try_take().unwrap(),
        reactor.defer_later(MS, || Ok(())).try_take().unwrap(),
        reactor.remote::<()>().0.try_take().unwrap(),
        Deferred::<()>::new().0.into_remote(&reactor).wait(),
        handle.call(|| Ok(())).wait(),
    ];
    for result in failed {
        let abandoned = result.unwrap_err().trap::<Abandoned>().unwrap();
        assert!(abandoned.is_reactor_closed(), "{abandoned}");
    }
    // Only these: a resolver that is dropped has another reason.
    let (dropped, resolver) = Deferred::<()>::new();
    drop(resolver);
    let dropped = dropped.try_take().unwrap().unwrap_err();
    assert!(!dropped.trap::<Abandoned>().unwrap().is_reactor_closed());
}
