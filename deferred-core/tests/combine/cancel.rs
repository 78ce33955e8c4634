//! Cancellation of combinators.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use deferred_core::{
    CancelHandle, Cancelled, Clock, Deferred, Failure, FailureGroup, FirstError, TimedOut, deferred_list,
    first_completion, first_success, gather, gather_cancelling, race,
};

use crate::support::{App, Log, cancellable, describe, ignore_unhandled, peek_text, take_text, unhandled_into};

#[test]
fn a_cancel_reaches_all_pending_members_in_order() {
    let log = Log::new();
    let members = || [cancellable(&log, "a", None), Deferred::succeed(2), cancellable(&log, "c", None)];
    let all = deferred_list(members())
        .map(|results| results.iter().map(|result| describe(result.as_ref())).collect::<Vec<_>>());
    all.cancel();
    assert_eq!(log.take(), ["cancels a", "cancels c"]);
    assert_eq!(take_text(all), r#"["Cancelled", "2", "Cancelled"]"#);

    let all = gather(members());
    all.cancel();
    assert_eq!(log.take(), ["cancels a", "cancels c"]);
    let first = all.try_take().unwrap().unwrap_err();
    assert_eq!((first.index, first.error.check::<Cancelled>()), (Some(0), true));

    let any = first_success([cancellable(&log, "a", None), cancellable(&log, "b", Some(5))]);
    any.cancel();
    assert_eq!(log.take(), ["cancels a", "cancels b"]);
    assert!(any.try_take().unwrap().is_ok());

    let first = first_completion([cancellable(&log, "a", None), cancellable(&log, "b", None)]);
    first.cancel();
    assert_eq!(log.take(), ["cancels a", "cancels b"]);
    assert_eq!(first.try_take().unwrap().unwrap_err().index, Some(0));
}

#[test]
fn the_reason_of_a_cancel_reaches_the_members() {
    let (first, _resolver) = Deferred::<u32>::new();
    let all = gather([first]);
    all.cancel_with(&Cancelled::because("shutdown"));
    let error = all.try_take().unwrap().unwrap_err().error;
    assert_eq!(format!("{error:#}"), "cancelled: shutdown");
}

#[test]
fn a_gather_succeeds_if_the_cancelled_members_fire_values() {
    let log = Log::new();
    let all = gather([cancellable(&log, "a", Some(1)), Deferred::succeed(2)]).map_err(Failure::from);
    all.cancel();
    assert_eq!(take_text(all), "[1, 2]");
}

#[test]
fn each_cancel_is_passed_on_again() {
    let count = Rc::new(std::cell::Cell::new(0));
    let counted = count.clone();
    let (stubborn, _resolver) = Deferred::<u32>::with_forwarding_canceller(move |_| counted.set(counted.get() + 1));
    let all = gather([stubborn]);
    all.cancel();
    all.cancel();
    assert_eq!(count.get(), 2);
}

#[test]
fn members_after_one_that_has_failed_are_cancelled_too() {
    let log = Log::new();
    let all = gather_cancelling([cancellable(&log, "a", None), Deferred::fail(App(1)), cancellable(&log, "c", None)]);
    assert_eq!(log.take(), ["cancels a", "cancels c"]);
    assert_eq!(all.try_take().unwrap().unwrap_err().index, Some(1));
}

#[test]
fn a_race_cancels_the_losers_before_it_fires() {
    let log = Log::new();
    let _hook = unhandled_into(&log);
    let (winner, resolver) = Deferred::<u32>::new();
    let first = race([cancellable(&log, "a", None), winner, cancellable(&log, "c", None)]).map_err(Failure::from);
    let mut first = log.watch("race", first);
    resolver.callback(2);
    assert_eq!(log.take(), ["cancels a", "cancels c", "race (1, 2)"]);
    assert_eq!(peek_text(&mut first), "(1, 2)");
    drop(first);
    assert!(log.take().is_empty());
}

#[test]
fn a_ready_winner_cancels_inside_the_call_that_joins() {
    let log = Log::new();
    let inner = log.clone();
    let done = Deferred::succeed(()).add_callback(move |()| {
        let first = race([cancellable(&inner, "a", None), Deferred::succeed(2)]).map_err(Failure::from);
        inner.add("joined");
        first
    });
    assert_eq!(log.take(), ["cancels a", "joined"]);
    assert_eq!(take_text(done), "(1, 2)");
}

#[test]
fn a_cancelled_race_fires_a_cancellers_value_or_the_errors_or_cancelled() {
    let log = Log::new();
    let decided = race([cancellable(&log, "a", None), cancellable(&log, "b", Some(2))]);
    decided.cancel();
    assert_eq!(decided.try_take().unwrap().unwrap(), (1, 2));

    let failed = race([cancellable(&log, "a", None), cancellable(&log, "b", None)]);
    failed.cancel();
    let group = failed.try_take().unwrap().unwrap_err();
    assert_eq!((group.errors().len(), group.is_whole()), (2, false));

    let (stubborn, resolver) = Deferred::<u32>::with_forwarding_canceller(|_| ());
    let whole = race([stubborn]);
    whole.cancel();
    let group = whole.try_take().unwrap().unwrap_err();
    assert!(group.is_whole());
    assert!(Failure::from(group).check::<Cancelled>());
    resolver.errback(App(1)); // handled
}

#[test]
fn a_race_cancelled_by_a_losers_callback_is_cancelled() {
    // As in Twisted: the race has not fired while it cancels the losers.
    let handle = Rc::new(RefCell::new(None::<CancelHandle>));
    let cancels = handle.clone();
    let (loser, _kept) = Deferred::<u32>::new();
    let loser = loser.add_both(move |result| {
        cancels.borrow().as_ref().expect("set").cancel();
        result
    });
    let (winner, resolver) = Deferred::<u32>::new();
    let mut first = race([loser, winner]);
    handle.replace(Some(first.cancel_handle()));
    resolver.callback(1);
    let group = first.try_take().unwrap().unwrap_err();
    assert!(group.is_whole() && group.errors()[0].check::<Cancelled>());
}

#[test]
fn gather_cancelling_cancels_the_siblings_of_a_failure_before_it_fires() {
    let log = Log::new();
    let _hook = unhandled_into(&log);
    let (fails, resolver) = Deferred::<u32>::new();
    let all = gather_cancelling([cancellable(&log, "a", None), fails, cancellable(&log, "c", Some(3))])
        .map_err(Failure::from);
    let all = log.watch("gather", all);
    resolver.errback(App(1));
    let events = log.take();
    assert_eq!(events[..2], ["cancels a", "cancels c"]);
    assert!(events[2].contains("Deferred 1 failed: application error 1"), "{events:?}");
    drop(all.add_errback(|_| Ok(Vec::new())));
    assert!(log.take().is_empty());
}

#[test]
fn a_member_whose_callback_cancels_the_gather_again_is_skipped() {
    let log = Log::new();
    let handle = Rc::new(RefCell::new(None::<CancelHandle>));
    let cancels = handle.clone();
    let first = cancellable(&log, "a", None).add_both(move |result| {
        cancels.borrow().as_ref().expect("set").cancel();
        result
    });
    let mut all = deferred_list([first, cancellable(&log, "b", None)]);
    handle.replace(Some(all.cancel_handle()));
    all.cancel();
    assert_eq!(log.take(), ["cancels a", "cancels b"]);
    assert_eq!(all.try_take().unwrap().unwrap().len(), 2);
}

#[test]
fn a_timeout_of_a_group_becomes_timed_out() {
    let _quiet = ignore_unhandled();
    let clock = Clock::new();
    let never = || {
        let (deferred, resolver) = Deferred::<u32>::new();
        std::mem::forget(resolver);
        deferred
    };
    let all = gather([never()]).map_err(Failure::from).add_timeout(Duration::from_secs(1), &clock);
    let typed = gather([never()]).add_timeout(Duration::from_secs(1), &clock);
    let first = race([never(), never()]).map_err(Failure::from).add_timeout(Duration::from_secs(1), &clock);
    clock.advance(Duration::from_secs(1));
    assert!(all.try_take().unwrap().unwrap_err().check::<TimedOut>());
    let FirstError { index, error, .. } = typed.try_take().unwrap().unwrap_err();
    assert!(index.is_none() && error.check::<TimedOut>());
    assert!(first.try_take().unwrap().unwrap_err().check::<TimedOut>());
}

#[test]
fn a_deferred_that_waits_for_a_gather_forwards_its_cancel() {
    let log = Log::new();
    let all = deferred_list([cancellable(&log, "a", None)]);
    let outer = Deferred::succeed(()).add_callback(move |()| all).map(|results| results.len());
    outer.cancel();
    assert_eq!(log.take(), ["cancels a"]);
    assert_eq!(take_text(outer), "1");
}

#[test]
fn a_group_of_groups_keeps_every_error() {
    let inner = || race([Deferred::<u32>::fail(App(1)), Deferred::fail(App(2))]);
    let outer = race([inner(), inner()]);
    let group: FailureGroup<FailureGroup> = outer.try_take().unwrap().unwrap_err();
    assert_eq!(group.errors().iter().map(|inner| inner.errors().len()).sum::<usize>(), 4);
}
