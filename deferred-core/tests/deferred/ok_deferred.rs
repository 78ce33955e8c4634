//! `Ok(deferred)` from a callback is an error with a remedy, because nothing would wait for the
//! Deferred; and the correct alternatives.

use std::process::ExitCode;
use std::time::Duration;

use crate::support::{App, Log, ignore_unhandled, take_text};
use deferred_core::{
    BuiltinError, Clock, Deferred, DeferredError, DeferredLock, Failure, FirstError, NestedDeferred, concurrent, fold,
    gather, inline_callbacks, maybe_deferred, on_unhandled, park, scope, try_deferred,
};

fn never() -> Deferred<u32> {
    let (deferred, resolver) = Deferred::new();
    std::mem::forget(resolver);
    deferred
}

fn is_refused<T: 'static>(deferred: Deferred<T>) -> bool {
    let Ok(Err(failure)) = deferred.try_take() else { return false };
    matches!(failure.builtin(), Some(BuiltinError::NestedDeferred(_)))
}

#[test]
fn a_callback_that_returns_ok_deferred_fails_whenever_it_runs() {
    let lock = DeferredLock::new();
    assert!(is_refused(Deferred::succeed(1).add_callback(|_| Ok(never()))));
    assert!(is_refused(Deferred::<Deferred<u32>>::fail(App(1)).add_errback(|_| Ok(never()))));
    assert!(is_refused(Deferred::succeed(1).add_both(|_| Ok(never()))));
    assert!(is_refused(Deferred::succeed(1).add_callbacks(|_| Ok(never()), |_| Ok(never()))));
    assert!(is_refused(Deferred::succeed(1).add_finally(|| Ok(never()))));
    assert!(is_refused(maybe_deferred(|| Ok(never()))));
    assert!(is_refused(lock.run(|| Ok(never()))));
    assert!(!lock.is_locked());
    assert!(is_refused(scope(|_| Ok(never()))));
    assert!(is_refused(concurrent(1).map([1], |_| Ok(never())).map_err(Failure::from)));
    assert!(is_refused(fold([1], never(), |_, _| Ok(never()))));

    let (deferred, resolver) = Deferred::<u32>::new();
    let deferred = deferred.add_callback(|_| Ok(never())).map(|_| unreachable!("its callback does not run"));
    resolver.callback(1);
    assert!(is_refused::<u32>(deferred));
}

#[test]
fn an_error_beside_an_ok_deferred_is_unchanged() {
    let fails = |_| -> Result<Deferred<u32>, Failure> { Err(App(1).into()) };
    assert_eq!(take_text(Deferred::succeed(1).add_callback(fails).map(|_| ())), "App(1)");
}

#[test]
fn a_coroutine_that_returns_ok_deferred_fails_at_once_and_later() {
    assert!(is_refused(inline_callbacks(async { Ok(never()) })));
    let (awaited, resolver) = Deferred::<u32>::new();
    let later = inline_callbacks(async move {
        awaited.await?;
        Ok(never())
    });
    resolver.callback(1);
    assert!(is_refused(later));
    let typed = Deferred::<_, BuiltinError>::from_coroutine(async { Ok(Deferred::<(), BuiltinError>::from(Ok(()))) });
    assert!(matches!(typed.try_take(), Ok(Err(BuiltinError::NestedDeferred(_)))));
}

#[test]
fn a_main_that_returns_ok_deferred_fails_with_a_remedy() {
    let log = Log::new();
    let events = log.clone();
    let _hook = on_unhandled(move |unhandled| {
        assert!(unhandled.downcast_ref::<NestedDeferred>().is_some());
        events.add(unhandled.to_string());
    });
    assert_eq!(park::react(|_| Ok(never())), ExitCode::FAILURE);
    let said = log.take().join("\n");
    assert!(said.contains("try_deferred") && said.contains("Ok(deferred.await?)"), "{said}");
}

#[test]
fn a_call_of_the_loop_that_returns_ok_deferred_is_reported() {
    let log = Log::new();
    let events = log.clone();
    let _hook = on_unhandled(move |unhandled| events.add(format!("{:?}", unhandled.builtin())));
    let clock = Clock::new();
    clock.call_later(Duration::ZERO, || Ok(never()));
    clock.advance(Duration::ZERO);
    assert_eq!(log.take(), ["Some(NestedDeferred)"]);
}

#[test]
fn the_inner_deferred_continues_and_is_reported_if_it_fails() {
    let log = Log::new();
    let _hook = crate::support::unhandled_into(&log);
    let (inner, resolver) = Deferred::<u32>::new();
    assert!(is_refused(Deferred::succeed(()).add_callback(move |()| Ok(inner))));
    assert!(!resolver.is_cancelled());
    resolver.errback(App(2));
    assert_eq!(log.take(), ["unhandled App(2)"]);
}

#[test]
fn deferreds_may_be_inside_other_values() {
    let pair =
        Deferred::succeed(()).add_callback(|()| Ok((1, Deferred::succeed(2)))).add_callback(|(_, second)| second);
    assert_eq!(take_text(pair), "2");
    let mapped = Deferred::succeed(()).map(|()| Deferred::succeed(3)).add_callback(|inner| inner);
    assert_eq!(take_text(mapped), "3");
    let several: Deferred<Vec<u32>, FirstError> =
        gather(Deferred::succeed(()).map(|()| vec![Deferred::succeed(1)]).try_take().unwrap().unwrap());
    assert_eq!(several.try_take().unwrap().unwrap(), [1]);
}

#[test]
fn try_deferred_takes_errors_panics_and_deferreds() {
    let _quiet = ignore_unhandled();
    let parse = |text: &'static str| {
        try_deferred(move || {
            let number = text.parse::<u32>()?;
            assert!(number < 100, "too large");
            Ok(if number < 10 { Deferred::succeed(number) } else { Deferred::fail(App(number)) })
        })
    };
    assert_eq!(take_text(parse("7")), "7");
    assert_eq!(take_text(parse("12")), "App(12)");
    assert!(take_text(parse("seven")).contains("invalid digit"));
    assert_eq!(take_text(parse("100")), "Panicked(too large)");
    let (inner, resolver) = Deferred::<u32>::new();
    let waits = try_deferred(|| Ok(inner));
    assert!(!waits.is_ready());
    waits.cancel();
    assert!(resolver.is_cancelled());
    assert_eq!(take_text(waits), "Cancelled");
}

#[test]
fn never_fires_only_by_a_cancel() {
    let never = Deferred::never();
    let outer = Deferred::succeed(()).add_callback(|()| never.map(|_| ()));
    assert!(!outer.is_ready());
    outer.cancel();
    assert_eq!(take_text(outer), "Cancelled");
    let awaits = inline_callbacks(async { Deferred::never().await.map(|_| ()) });
    awaits.cancel();
    assert_eq!(take_text(awaits), "Cancelled");
    drop(Deferred::never());
}
