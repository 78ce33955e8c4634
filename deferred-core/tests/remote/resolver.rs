//! Deferreds that other threads fire, and which reactor is the current one.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::thread;

use crate::{Log, on_another_thread, record, turn};
use deferred_core::{Abandoned, Closed, Reactor, ReactorHandle, RemoteResolver, Turn, park};

#[test]
fn a_remote_resolver_fires_on_the_reactors_thread() {
    let home = thread::current().id();
    let result = park::run_until(|reactor| {
        let (deferred, resolver) = reactor.remote();
        thread::spawn(move || resolver.callback(thread::current().id()));
        deferred.add_callback(move |there| Ok((there, thread::current().id())))
    });
    let (there, here) = result.unwrap();
    assert_ne!(there, home);
    assert_eq!(here, home);
}

#[test]
fn a_remote_error_arrives_at_the_errback() {
    let line = line!() + 3;
    let result = park::run_until(|reactor| {
        let (deferred, resolver) = reactor.remote::<u32>();
        thread::spawn(move || resolver.errback("x".parse::<u8>().unwrap_err()));
        deferred
    });
    let failure = result.unwrap_err();
    assert!(failure.check::<std::num::ParseIntError>());
    assert_eq!(failure.trail().iter().next().map(|place| place.line()), Some(line));
}

#[test]
fn a_resolver_of_a_closed_reactor_is_cancelled_from_the_start() {
    let reactor = Reactor::new();
    reactor.close();
    let (deferred, resolver) = reactor.remote::<u32>();
    assert!(resolver.is_cancelled());
    assert!(deferred.try_take().unwrap().unwrap_err().check::<Abandoned>());
}

#[test]
fn a_remote_resolver_dropped_unfired_fires_abandoned() {
    let result = park::run_until(|reactor| {
        let (deferred, resolver) = reactor.remote::<u32>();
        thread::spawn(move || drop(resolver));
        deferred
    });
    assert!(result.unwrap_err().check::<Abandoned>());
}

#[test]
fn cancelling_marks_the_remote_resolver_at_once_and_its_result_is_ignored() {
    let reactor = Reactor::new();
    let log = Log::default();
    let (mut deferred, resolver) = reactor.remote();
    let cancel = deferred.cancel_handle();
    record(&log, deferred);
    assert!(!resolver.is_cancelled());
    cancel.cancel();
    assert!(resolver.is_cancelled());
    assert_eq!(log.take(), ["cancelled"]);
    on_another_thread(move || resolver.callback(1));
    assert_eq!(turn(&reactor), Turn::Sleep(None));
    assert!(log.take().is_empty());
}

#[test]
fn a_remote_canceller_decides_the_result() {
    let reactor = Reactor::new();
    let log = Log::default();
    let (mut deferred, resolver) = reactor.remote_with_canceller(|| Some(Ok(3)));
    let cancel = deferred.cancel_handle();
    record(&log, deferred);
    cancel.cancel();
    assert_eq!(log.take(), ["3"]);
    assert!(resolver.is_cancelled());
}

#[test]
fn closing_abandons_remote_resolvers_in_the_order_they_were_made() {
    let reactor = Reactor::new();
    let order = Rc::new(RefCell::new(Vec::new()));
    let resolvers: Vec<RemoteResolver<()>> = (0..5)
        .map(|number| {
            let (deferred, resolver) = reactor.remote();
            let order = order.clone();
            deferred.add_both(move |result| {
                order.borrow_mut().push((number, result.unwrap_err().check::<Abandoned>()));
                Ok(())
            });
            resolver
        })
        .collect();
    reactor.close();
    assert_eq!(order.take(), (0..5).map(|number| (number, true)).collect::<Vec<_>>());
    on_another_thread(move || resolvers.into_iter().for_each(|resolver| resolver.callback(())));
}

#[test]
fn remote_types_are_send_and_sync() {
    fn crosses<T: Send + Sync>() {}
    crosses::<ReactorHandle>();
    crosses::<RemoteResolver<Cell<u8>>>();
    crosses::<Closed<fn()>>();
}

#[test]
fn the_current_reactor_is_the_one_that_was_turned_or_entered_last() {
    fn is(reactor: &Reactor) -> bool {
        // Two handles of one reactor share its state.
        let mark = reactor.extension(Cell::<u32>::default);
        Reactor::current().is_some_and(|current| Rc::ptr_eq(&current.extension(Cell::<u32>::default), &mark))
    }
    let (one, two) = (Reactor::new(), Reactor::new());
    assert!(Reactor::current().is_none());
    let inner = two.clone();
    let seen = Rc::new(Cell::new(false));
    let in_turn = seen.clone();
    two.call_when_running(move || in_turn.set(is(&inner)));
    let in_one = one.enter();
    let in_two = two.enter();
    drop(in_one); // the outer guard
    assert!(is(&two));
    drop(in_two);
    assert!(Reactor::current().is_none());
    let entered = one.enter();
    let _ = turn(&two);
    assert!(seen.get());
    assert!(is(&one));
    drop(entered);
    assert!(Reactor::current().is_none());
}
