//! The order in which the drops of a callback take effect, if they hand over permits.

use deferred_core::{Deferred, DeferredLock, Permit};

use crate::support::Log;

/// Returns a held lock's permit, whose waiter logs `name` when it gets the permit.
fn held(log: &Log, name: &'static str) -> Permit {
    let lock = DeferredLock::new();
    let permit = lock.try_acquire().unwrap();
    let log = log.clone();
    drop(lock.acquire().map(move |_| log.add(name)));
    permit
}

/// Returns something whose drop fires a Deferred, which logs `name`.
fn fires(log: &Log, name: &'static str) -> impl Sized + 'static {
    let (deferred, resolver) = Deferred::<()>::new();
    let log = log.clone();
    drop(deferred.add_both(move |_| {
        log.add(name);
        Ok(())
    }));
    resolver
}

/// Runs `callback` as the first of two callbacks of a pending Deferred. The second one logs.
fn in_a_callback(log: &Log, callback: impl FnOnce() + 'static) {
    let (deferred, resolver) = Deferred::new();
    let (first, second) = (log.clone(), log.clone());
    let deferred = deferred.map(move |()| {
        callback();
        first.add("callback ends");
    });
    drop(deferred.map(move |()| second.add("next callback")));
    resolver.callback(());
    log.add("fired");
}

#[test]
fn the_first_drop_takes_effect_first_whatever_is_dropped() {
    let log = Log::new();
    let (permit, resolver) = (held(&log, "permit"), fires(&log, "resolver"));
    in_a_callback(&log, move || {
        drop(permit);
        drop(resolver);
    });
    assert_eq!(log.take(), ["callback ends", "permit", "resolver", "next callback", "fired"]);

    let (permit, resolver) = (held(&log, "permit"), fires(&log, "resolver"));
    in_a_callback(&log, move || {
        drop(resolver);
        drop(permit);
    });
    assert_eq!(log.take(), ["callback ends", "resolver", "permit", "next callback", "fired"]);

    let permits = ["one", "two", "three"].map(|name| held(&log, name));
    in_a_callback(&log, move || drop(permits));
    assert_eq!(log.take(), ["callback ends", "one", "two", "three", "next callback", "fired"]);
}

#[test]
fn the_drops_of_a_handover_come_before_the_other_drops_of_the_callback() {
    let log = Log::new();
    let lock = DeferredLock::new();
    let (permit, inner, other) = (lock.try_acquire().unwrap(), held(&log, "inner"), held(&log, "other"));
    let waits = log.clone();
    drop(lock.acquire().map(move |_| {
        drop(inner);
        waits.add("outer");
    }));
    in_a_callback(&log, move || drop((permit, other)));
    assert_eq!(log.take(), ["callback ends", "outer", "inner", "other", "next callback", "fired"]);
}

#[test]
fn a_handover_in_a_nested_call_that_fires_takes_effect_in_that_call() {
    let log = Log::new();
    let (outer, inner) = (held(&log, "outer"), held(&log, "inner"));
    let nested = log.clone();
    in_a_callback(&log, move || {
        drop(outer);
        in_a_callback(&nested, move || drop(inner));
    });
    let inner = ["callback ends", "inner", "next callback", "fired"];
    let outer = ["callback ends", "outer", "next callback", "fired"];
    assert_eq!(log.take(), [inner, outer].concat());
}

#[test]
fn a_handover_in_a_callback_on_a_ready_deferred_takes_effect_after_the_outer_callback() {
    for first in [false, true] {
        let log = Log::new();
        let (outer, inner, last) = (held(&log, "outer"), held(&log, "inner"), fires(&log, "last"));
        in_a_callback(&log, move || {
            if first {
                drop(outer);
                drop(Deferred::succeed(inner).map(drop));
            } else {
                drop(Deferred::succeed(inner).map(drop));
                drop(outer);
            }
            drop(last);
        });
        let [one, two] = if first { ["outer", "inner"] } else { ["inner", "outer"] };
        assert_eq!(log.take(), ["callback ends", one, two, "last", "next callback", "fired"]);
    }
}

#[test]
fn a_handover_outside_of_all_callbacks_takes_effect_in_the_drop() {
    let log = Log::new();
    drop(held(&log, "permit"));
    log.add("dropped");
    assert_eq!(log.take(), ["permit", "dropped"]);
}

#[test]
fn a_handover_to_a_paused_waiter_takes_effect_at_the_end_of_the_pause() {
    let log = Log::new();
    let lock = DeferredLock::new();
    let (permit, waits) = (lock.try_acquire().unwrap(), log.clone());
    let mut waiter = lock.acquire();
    let pause = waiter.pause();
    drop(waiter.map(move |_| waits.add("paused")));
    let other = held(&log, "other");
    in_a_callback(&log, move || drop((permit, other)));
    assert_eq!(log.take(), ["callback ends", "other", "next callback", "fired"]);
    drop(pause);
    assert_eq!(log.take(), ["paused"]);
    assert!(!lock.is_locked());
}
