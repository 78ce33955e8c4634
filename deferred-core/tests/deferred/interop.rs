//! Texts added to an error, and the errors of `anyhow` and `eyre`, hide neither a cancel nor a
//! timeout.

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use deferred_core::testing::failure_result_of;
use deferred_core::{
    Abandoned, BuiltinError, Cancelled, Clock, Cycle, Deferred, DeferredError as _, Failure, FailureGroup, FirstError,
    NestedDeferred, NoReactor, Panicked, SharedFailure, TimedOut, find_error, gather, inline_callbacks, race, report,
};

use crate::support::{Log, MANY, on_a_small_stack};

type Way = fn(Failure) -> Failure;

/// The ways to add a text to an error.
const WAYS: [(&str, Way); 5] = [
    ("wrap_msg", |failure| failure.wrap_msg("outer")),
    ("anyhow", |failure| Failure::from_report(anyhow::Error::from(failure.into_error()).context("outer"))),
    ("eyre", |failure| Failure::from_report(eyre::Report::from(failure.into_error()).wrap_err("outer"))),
    ("a box between", |failure| {
        let boxed: Box<dyn Error + Send + Sync> = failure.wrap_msg("outer").into();
        Failure::from_boxed(boxed)
    }),
    ("an error of anyhow between", |failure| {
        Failure::from_report(anyhow::Error::from(failure.wrap_msg("outer").into_error()))
    }),
];

#[test]
fn a_text_is_printed_before_the_error_which_is_its_cause() {
    for (name, way) in WAYS {
        let failure = way(io::Error::other("no disk").into());
        assert_eq!(failure.to_string(), "outer", "{name}");
        assert_eq!(format!("{failure:#}"), "outer: no disk", "{name}");
        assert!(format!("{failure:?}").starts_with("outer\n    caused by: no disk\n"), "{name}: {failure:?}");
        assert_eq!(failure.error().to_string(), "outer", "{name}");
        assert_eq!(failure.source().map(ToString::to_string).as_deref(), Some("no disk"), "{name}");
        let boxed: Box<dyn Error> = failure.into();
        assert_eq!(boxed.to_string(), "outer", "{name}");
    }
}

#[test]
fn the_error_below_a_text_is_still_trapped() {
    for (name, way) in WAYS {
        let failure = way(io::Error::from(io::ErrorKind::NotFound).into());
        assert!(!failure.check::<TimedOut>() && failure.builtin().is_none(), "{name}");
        let failure = failure.trap::<TimedOut>().unwrap_err();
        let trapped = failure.trap::<io::Error>().unwrap();
        assert_eq!(trapped.kind(), io::ErrorKind::NotFound, "{name}");
        assert_eq!(trapped.into_failure().to_string(), "outer", "{name}");

        let failure = way(TimedOut::after(Duration::from_secs(3)).into());
        assert!(failure.check::<BuiltinError>(), "{name}");
        assert_eq!(failure.downcast_ref::<TimedOut>().unwrap().duration(), Some(Duration::from_secs(3)), "{name}");
    }
}

#[test]
fn a_cancel_behind_a_text_is_a_cancel() {
    let events = Log::default();
    let reported = events.clone();
    let _hook = report::on_report(move |report| {
        if !report.is_cancelled() {
            reported.add(report.to_string());
        }
    });
    for (name, way) in WAYS {
        let clock = Clock::new();
        let never = move || {
            let (never, resolver) = Deferred::<u32>::new();
            std::mem::forget(resolver);
            never.map_err(way)
        };

        let limited = never().add_timeout(Duration::from_secs(1), &clock);
        clock.advance(Duration::from_secs(1));
        let failure = failure_result_of(limited);
        assert!(failure.check::<TimedOut>(), "{name}");
        assert_eq!(format!("{failure:#}"), "outer: timed out after 1s", "{name}");

        let cancelled = never();
        cancelled.cancel();
        drop(cancelled);
        assert!(events.take().is_empty(), "{name}: a cancel is not reported");

        let coroutine: Deferred<u32> = inline_callbacks(async move { never().await });
        coroutine.cancel();
        let failure = failure_result_of(coroutine);
        assert!(matches!(failure.builtin(), Some(BuiltinError::Cancelled(_))), "{name}");
        assert_eq!(failure.to_string(), "outer", "{name}");
    }
    drop(Deferred::<u32>::fail(Failure::msg("inner").wrap_msg("outer")));
    assert!(events.take()[0].starts_with("unhandled error: outer: inner"), "other errors are reported");
}

#[test]
fn every_builtin_error_is_recognized_behind_contexts() {
    let errors: [fn() -> BuiltinError; 7] = [
        || Cancelled::because("the window was closed").into(),
        || TimedOut::new().into(),
        || Abandoned::new().into(),
        || Panicked::new(Box::new("here")).into(),
        || Cycle::new().into(),
        || NestedDeferred::new().into(),
        || NoReactor::new().into(),
    ];
    for error in errors {
        let (text, kind) = (error().to_string(), std::mem::discriminant(&error()));
        let direct = Failure::from_report(anyhow::Error::from(error()));
        let first =
            Failure::from_report(anyhow::Error::from(FirstError::new(1, Failure::from(error()))).context("of one"));
        let group = FailureGroup::new(vec![Failure::from(error()).wrap_msg("first"), error().into()]);
        let group = Failure::from_report(eyre::Report::from(group).wrap_err("of all"));
        for failure in WAYS.map(|(_, way)| way(error().into())).into_iter().chain([direct, first, group]) {
            let builtin = failure.builtin().unwrap_or_else(|| panic!("{failure:#} is {text}"));
            assert_eq!(std::mem::discriminant(builtin), kind, "{failure:#}");
            assert_eq!(builtin.to_string(), text, "{failure:#}");
        }
    }
}

#[test]
fn a_group_of_errors_with_texts_is_recognized() {
    let clock = Clock::new();
    let never = || {
        let (never, resolver) = Deferred::<u32>::new();
        std::mem::forget(resolver);
        never.map_err(|failure: Failure| failure.wrap_msg("one of two"))
    };
    let both = gather([never(), never()]).map_err(Failure::from).add_timeout(Duration::from_secs(1), &clock);
    let any = race([never(), never()]).map_err(Failure::from).add_timeout(Duration::from_secs(1), &clock);
    let loaded = gather([never()]).map_err(|first| Failure::from(first).wrap_msg("loading"));
    let shared = never().map_err(|failure| failure.wrap_msg("loading")).share();
    let loaded = loaded.add_timeout(Duration::from_secs(1), &clock);
    // An error that is shared, which the timeout must not change for the other owner.
    let other = Rc::new(Cell::new(None));
    let copy = other.clone();
    let held_twice = never().map_err(move |failure: Failure| {
        let shared = failure.wrap_msg("loading").into_error();
        copy.set(Some(shared.clone()));
        shared.to_failure()
    });
    let held_twice = held_twice.add_timeout(Duration::from_secs(1), &clock);
    let observed = [shared.observe(), shared.observe()].map(|it| it.add_timeout(Duration::from_secs(1), &clock));
    clock.advance(Duration::from_secs(1));
    assert!(failure_result_of(both).check::<TimedOut>());
    assert!(failure_result_of(any).check::<TimedOut>());
    let failure = failure_result_of(loaded);
    assert!(failure.check::<TimedOut>());
    assert_eq!(format!("{failure:#}"), "loading: timed out after 1s");
    // The cancel of an observer is its own error, without the texts of the other.
    assert!(observed.into_iter().all(|observed| failure_result_of(observed).check::<TimedOut>()));
    let failure = failure_result_of(held_twice);
    assert!(failure.check::<TimedOut>());
    assert_eq!(format!("{failure:#}"), "loading: one of two: timed out after 1s");
    let other = other.take().expect("the error was copied").to_failure();
    assert!(other.check::<Cancelled>());
    assert_eq!(format!("{other:#}"), "loading: one of two: cancelled: timed out after 1s", "with its reason");
}

#[test]
fn a_group_of_errors_prints_the_causes_of_each() {
    let member = |text: &str| Failure::msg(text).wrap_msg("loading");
    let group = FailureGroup::new(vec![member("no disk"), FirstError::new(3, member("no net")).into()]);
    let text = "all 2 failed: loading: no disk; Deferred 3 failed: loading: no net";
    assert_eq!(group.to_string(), text);
    let alone = FailureGroup::new(vec![member("no disk")]);
    let inside = Failure::from(FirstError::new(0, Failure::from(alone)));
    assert_eq!(format!("{inside:#}"), "Deferred 0 failed: all 1 failed: loading: no disk");
    let failure = Failure::from(group);
    assert_eq!((failure.to_string(), format!("{failure:#}")), (text.to_owned(), text.to_owned()));
    assert!(format!("{failure:?}").starts_with(text));
}

#[test]
fn an_error_is_found_in_the_error_of_another_crate() {
    use anyhow::Context as _;
    let disk = || Failure::from(io::Error::other("no disk"));
    let reports: [anyhow::Error; 5] = [
        disk().into_error().into(),
        anyhow::Error::from(disk().into_error()).context("reading"),
        anyhow::Error::from(disk().wrap_msg("reading").into_error()).context("loading"),
        anyhow::Error::from(
            Failure::from_report(anyhow::Error::from(disk().into_error()).context("inner")).into_error(),
        ),
        Err::<(), _>(io::Error::other("no disk")).context("reading").unwrap_err(),
    ];
    for report in reports {
        assert_eq!(find_error::<io::Error>(&*report).unwrap().to_string(), "no disk", "{report:#}");
        assert!(find_error::<TimedOut>(&*report).is_none() && find_error::<BuiltinError>(&*report).is_none());
    }
    let boxed: Box<dyn Error> = Failure::from(TimedOut::new()).wrap_msg("loading").into();
    assert!(find_error::<TimedOut>(&*boxed).is_some());
    let report = anyhow::Error::from(BuiltinError::from(TimedOut::new())).context("loading");
    assert!(find_error::<TimedOut>(&*report).is_some() && find_error::<Cancelled>(&*report).is_none());
    let report = anyhow::Error::from(Failure::from(TimedOut::new()).into_error());
    assert!(find_error::<BuiltinError>(&*report).is_some());
    let boxed: Box<dyn Error> = Failure::from_report(anyhow::Error::from(TimedOut::new())).into();
    assert!(find_error::<TimedOut>(&*boxed).is_some());
    // Of combined Deferreds.
    let first = || FirstError::new(1, Failure::from(TimedOut::new()));
    let group = || FailureGroup::new(vec![Failure::from(TimedOut::new()), TimedOut::new().into()]);
    let of_groups: [anyhow::Error; 4] = [
        first().into(),
        group().into(),
        Failure::from(first()).into_error().into(),
        anyhow::Error::from(Failure::from(group()).into_error()).context("loading"),
    ];
    for report in of_groups {
        assert!(
            find_error::<TimedOut>(&*report).is_some() && find_error::<Cancelled>(&*report).is_none(),
            "{report:#}"
        );
        let failure = Failure::from_report(report);
        assert!(matches!(failure.builtin(), Some(BuiltinError::TimedOut(_))), "{failure:#}");
    }
    let report = anyhow::Error::from(Failure::from(first()).into_error()).context("loading");
    assert!(Failure::from_report(report).check::<TimedOut>(), "as `builtin` says");
}

#[test]
fn the_location_and_the_trail_survive_a_text_and_another_crate() {
    let ways: [Way; 4] = [
        |failure| failure.wrap_msg("outer"),
        |failure| failure.into_error().into(),
        |failure| Failure::from_report(anyhow::Error::from(failure.into_error())),
        |failure| Failure::from_boxed(Box::new(failure.into_error())),
    ];
    for way in ways {
        let failure = failure_result_of(Deferred::<u32>::fail(Failure::msg("inner")).map(|n| n + 1));
        let (made_at, trail) = (failure.made_at(), failure.trail().total());
        assert!(trail > 0);
        let failure = way(failure);
        assert_eq!((failure.made_at(), failure.trail().total()), (made_at, trail));
    }
}

#[test]
fn an_error_below_a_text_is_taken_out_by_value_unless_it_is_shared() {
    let wrapped = || Failure::from(io::Error::other("inner")).wrap_msg("middle").wrap_msg("outer");
    assert_eq!(wrapped().downcast::<io::Error>().unwrap().to_string(), "inner");
    assert_eq!(wrapped().trap::<io::Error>().unwrap().into_inner().unwrap().to_string(), "inner");
    let mut failure = wrapped();
    *failure.downcast_mut::<io::Error>().unwrap() = io::Error::other("changed");
    assert_eq!(format!("{failure:#}"), "outer: middle: changed");
    assert!(failure.downcast_mut::<TimedOut>().is_none());

    // Through `SharedFailure`, and by value while it is not shared.
    assert!(Failure::from(wrapped().into_error()).downcast::<io::Error>().is_ok());
    let shared = Failure::from(io::Error::other("inner")).into_error();
    let (made_at, outer) = (shared.to_failure().made_at(), shared.to_failure().wrap_msg("middle").wrap_msg("outer"));
    let mut outer = outer.downcast::<io::Error>().expect_err("it is shared");
    assert_eq!(format!("{outer:#}"), "outer: middle: inner");
    assert_eq!(outer.made_at(), made_at);
    assert!(outer.downcast_mut::<io::Error>().is_none());
    drop(shared);
    assert!(outer.downcast::<io::Error>().is_ok());

    // A report owns its errors.
    let report = Failure::from_report(anyhow::Error::from(io::Error::other("inner")).context("outer"));
    let report = report.wrap_msg("outermost").downcast::<io::Error>().expect_err("it is inside the report");
    assert_eq!(format!("{report:#}"), "outermost: outer: inner");
    assert!(report.trap::<io::Error>().unwrap().into_inner().is_err());
}

#[test]
fn a_failure_passes_through_functions_of_anyhow_and_eyre() {
    fn failed(failure: Failure) -> Result<(), Failure> {
        Err(failure)
    }
    fn of_anyhow(failure: Failure) -> anyhow::Result<()> {
        use anyhow::Context as _;
        failed(failure).map_err(Failure::into_error).context("in anyhow")
    }
    fn of_eyre(failure: Failure) -> eyre::Result<()> {
        use eyre::WrapErr as _;
        of_anyhow(failure).map_err(Failure::from_report).map_err(Failure::into_error).wrap_err("in eyre")
    }
    fn of_deferred(failure: Failure) -> Result<(), Failure> {
        of_eyre(failure).map_err(Failure::from_report)
    }
    let failure = of_deferred(TimedOut::new().into()).unwrap_err();
    assert_eq!(format!("{failure:#}"), "in eyre: in anyhow: timed out");
    assert!(failure.check::<TimedOut>());
    let failure = of_deferred(Cancelled::because(io::Error::other("the reason")).into()).unwrap_err();
    assert!(failure.downcast_ref::<Cancelled>().unwrap().reason().unwrap().is::<io::Error>());
    let error = of_anyhow(TimedOut::new().into()).unwrap_err();
    assert!(error.downcast_ref::<SharedFailure>().unwrap().to_failure().check::<TimedOut>());
}

#[test]
fn a_report_is_dropped_once_and_a_box_stays_what_it_was() {
    #[derive(Debug)]
    struct Held(#[expect(dead_code, reason = "it is only counted")] Arc<()>);
    impl fmt::Display for Held {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("held")
        }
    }
    impl Error for Held {}
    let count = Arc::new(());

    let failure = Failure::from_report(anyhow::Error::from(Held(count.clone())));
    let boxed: Box<dyn Error + Send + Sync> = failure.into();
    let failure = Failure::from_boxed(boxed);
    assert!(failure.check::<Held>(), "a report is recognized in a box");
    assert_eq!(Arc::strong_count(&count), 2);
    drop(failure);
    assert_eq!(Arc::strong_count(&count), 1);

    let boxed: Box<dyn Error + Send + Sync> = Box::new(Held(count.clone()));
    assert!(Failure::from_report(boxed).downcast::<Held>().is_ok(), "a box is not a report");
    assert_eq!(Arc::strong_count(&count), 1);
}

#[test]
fn a_million_texts_are_added_searched_and_dropped_on_a_small_stack() {
    on_a_small_stack(|| {
        let mut failure = Failure::from(TimedOut::new());
        for _ in 0..MANY {
            failure = failure.wrap_msg("again");
        }
        assert!(failure.check::<TimedOut>() && failure.builtin().is_some());
        assert!(format!("{failure:#}").ends_with("timed out"));
        assert!(failure.downcast_mut::<TimedOut>().is_some());
        let shared = failure.into_error();
        let failure = shared.to_failure().downcast::<TimedOut>().expect_err("it is shared");
        drop(shared);
        assert!(failure.downcast::<TimedOut>().is_ok());

        let mut failure = Failure::from(Cancelled::new());
        for n in 0..MANY {
            failure = match n % 3 {
                0 => failure.wrap_msg("again"),
                1 => Failure::from_report(anyhow::Error::from(failure.into_error())),
                _ => Failure::from_report(anyhow::Error::from(failure.into_error()).context("again")),
            };
        }
        assert!(failure.check::<Cancelled>() && failure.builtin().is_some());
        drop(failure);
    });
}

#[test]
fn groups_and_texts_nested_a_million_times_are_printed_in_short_on_a_small_stack() {
    on_a_small_stack(|| {
        let wraps: [Way; 3] = [
            |failure| Failure::from(FailureGroup::new(vec![failure.wrap_msg("again")])),
            |failure| {
                let report = anyhow::Error::from(failure.into_error()).context("again");
                Failure::from(FailureGroup::new(vec![Failure::msg("one"), Failure::from_report(report)]))
            },
            |failure| FirstError::new(1, failure.wrap_msg("again")).into(),
        ];
        for wrap in wraps {
            let mut failure = Failure::from(io::Error::other("no disk"));
            for _ in 0..MANY {
                failure = wrap(failure);
            }
            assert!(failure.to_string().len() < 10_000);
            // Of a chain of causes each is printed once.
            let lengths = [format!("{failure:#}").len(), format!("{failure:?}").len()];
            assert!(lengths.into_iter().all(|length| length < 100 * MANY as usize), "{lengths:?}");
            drop(failure);
        }
    });
}

#[test]
fn groups_with_several_members_and_texts_between_them_are_printed_in_short() {
    for every in [1, 2, 3, 7] {
        let mut failure = Failure::msg("no disk");
        for n in 0..40 {
            let shared = failure.into_error();
            failure = FailureGroup::new((0..3).map(|_| shared.to_failure()).collect()).into();
            if n % every == 0 {
                failure = failure.wrap_msg("loading");
            }
            if n % 5 == 0 {
                failure = FirstError::new(1, failure).into();
            }
        }
        for text in [failure.to_string(), format!("{failure:#}"), format!("{failure:?}")] {
            assert!(text.len() < 1_000_000, "every {every}: {}", text.len());
        }
    }
}
