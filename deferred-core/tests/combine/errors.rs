//! The error types of combinators.

use std::error::Error;

use deferred_core::{
    BuiltinError, Cancelled, Deferred, DeferredError, Failure, FailureGroup, FirstError, Trail, gather, on_unhandled,
    race,
};

use crate::support::{App, Caused, Log, describe_failure};

fn first_error() -> FirstError {
    gather([Deferred::succeed(1), Deferred::fail(App(1))]).try_take().unwrap().unwrap_err()
}

#[test]
fn a_first_error_has_the_index_and_the_error() {
    let first = first_error();
    assert_eq!(first.to_string(), "Deferred 1 failed: application error 1");
    assert_eq!(FirstError::<Failure>::from(BuiltinError::from(Cancelled::new())).to_string(), "cancelled");
}

#[test]
fn the_error_of_a_group_keeps_the_trail_of_the_first_error_or_has_its_own() {
    fn total(error: &impl DeferredError) -> Option<usize> {
        error.trail().map(Trail::total)
    }
    let gathered = gather([Deferred::<u32>::fail(App(1))]).add_both(|result| result);
    let first = gathered.add_both(|result| result).try_take().unwrap().unwrap_err();
    assert_eq!((total(&first), total(&first.error)), (Some(3), Some(3)));
    let raced = race([Deferred::<u32>::fail(App(1))]).add_both(|result| result);
    let group = raced.add_both(|result| result).try_take().unwrap().unwrap_err();
    assert_eq!((total(&group), total(&group.errors()[0])), (Some(2), Some(1)));
}

#[test]
fn a_first_error_has_the_cause_of_its_inner_error() {
    let caused = Deferred::<u32>::fail(Caused(App(1)));
    let first = gather([caused]).try_take().unwrap().unwrap_err();
    assert!(first.source().unwrap().is::<App>());
    assert!(first_error().source().is_none());
}

#[test]
fn of_nested_errors_eight_are_printed_and_the_others_counted() {
    for (depth, printed) in [(1, 1), (8, 8), (9, 8), (12, 8)] {
        let mut deferred = Deferred::<u32>::fail(App(1));
        for _ in 0..depth {
            deferred = gather([deferred]).map(|values| values[0]).map_err(Failure::from);
        }
        let more = if depth > printed { format!("({} more nested errors): ", depth - printed) } else { String::new() };
        let expected = format!("{}{more}application error 1", "Deferred 0 failed: ".repeat(printed));
        assert_eq!(deferred.try_take().unwrap().unwrap_err().to_string(), expected);
    }
    let alone = race([Deferred::<u32>::fail(App(1))]).try_take().unwrap().unwrap_err();
    assert_eq!(Failure::from(alone).to_string(), "all 1 failed: application error 1");
}

#[test]
fn a_failure_of_a_first_error_keeps_it_and_can_be_trapped() {
    let failure = Failure::from(first_error());
    let trapped = failure.trap::<FirstError>().unwrap();
    assert_eq!((trapped.index, describe_failure(&trapped.error)), (Some(1), "App(1)".into()));
}

#[test]
fn the_error_of_a_group_converts_into_a_failure() {
    let whole = FirstError::<Failure>::from(BuiltinError::from(Cancelled::new()));
    assert!(Failure::from(whole).check::<Cancelled>());
    let whole = FailureGroup::<Failure>::from(BuiltinError::from(Cancelled::new()));
    assert!(Failure::from(whole).check::<Cancelled>());
}

#[test]
fn a_failure_finds_a_nested_builtin_error() {
    let cancelled = || Deferred::<u32>::fail(Cancelled::new());
    let first = Failure::from(gather([cancelled()]).try_take().unwrap().unwrap_err());
    assert!(matches!(first.builtin(), Some(BuiltinError::Cancelled(_))));
    assert!(!first.check::<Cancelled>(), "it is a FirstError");
    let group = Failure::from(race([cancelled(), cancelled()]).try_take().unwrap().unwrap_err());
    assert!(matches!(group.builtin(), Some(BuiltinError::Cancelled(_))));
    let mixed = Failure::from(race([cancelled(), Deferred::fail(App(1))]).try_take().unwrap().unwrap_err());
    assert!(mixed.builtin().is_none());
    assert_eq!(mixed.to_string(), "all 2 failed: cancelled; application error 1");
}

#[test]
fn errors_of_a_user_type_nest() {
    let first: FirstError<BuiltinError> =
        gather([Deferred::<u32, BuiltinError>::from(Err(Cancelled::new().into()))]).try_take().unwrap().unwrap_err();
    assert_eq!(first.to_string(), "Deferred 0 failed: Cancelled");
    let failure = Failure::from(first);
    assert!(failure.check::<FirstError<BuiltinError>>());
}

#[test]
fn the_report_of_an_unhandled_group_error_has_the_index_and_the_message() {
    let log = Log::new();
    let lines = log.clone();
    let _hook = on_unhandled(move |error| lines.add(error.to_string().lines().next().unwrap_or_default()));
    drop(gather([Deferred::<u32>::fail(App(1))]));
    drop(race([Deferred::<u32>::fail(App(1)), Deferred::fail(App(2))]));
    assert_eq!(
        log.take(),
        [
            "unhandled error: Deferred 0 failed: application error 1",
            "unhandled error: all 2 failed: application error 1; application error 2",
        ]
    );
}
