//! A million members, and combinators nested a million times.

use deferred_core::{
    BuiltinError, Cancelled, Deferred, DeferredError as _, Failure, FailureGroup, concurrent, deferred_list, gather,
    on_unhandled, race,
};

use crate::support::{Log, MANY, on_a_small_stack, take_text};

#[test]
fn a_gather_of_a_million_fires_and_is_cancelled() {
    on_a_small_stack(|| {
        let (deferreds, resolvers): (Vec<_>, Vec<_>) = (0..MANY).map(|_| Deferred::<u64>::new()).unzip();
        let all = gather(deferreds).map(|values| values.into_iter().sum::<u64>()).map_err(Failure::from);
        resolvers.into_iter().zip(0..).for_each(|(resolver, n)| resolver.callback(n));
        assert_eq!(take_text(all), (MANY * (MANY - 1) / 2).to_string());

        let (deferreds, resolvers): (Vec<_>, Vec<_>) = (0..MANY).map(|_| Deferred::<u64>::new()).unzip();
        let all = deferred_list(deferreds).map(|results| results.iter().filter(|result| result.is_err()).count());
        all.cancel();
        assert_eq!(take_text(all), MANY.to_string());
        assert!(resolvers.iter().all(deferred_core::Resolver::is_cancelled));
    });
}

#[test]
fn a_million_nested_gathers_and_races_fire_and_are_cancelled() {
    on_a_small_stack(|| {
        for cancels in [false, true] {
            for races in [false, true] {
                let (mut deferred, resolver) = Deferred::<u64>::new();
                for _ in 0..MANY {
                    deferred = if races {
                        race([deferred])
                            .map(|(_, value)| value + 1)
                            .map_err(|group| group.into_errors().into_iter().next().expect("one"))
                    } else {
                        gather([deferred]).map(|values| values[0] + 1).map_err(|first| first.error)
                    };
                }
                if cancels {
                    deferred.cancel();
                    assert_eq!(take_text(deferred), "Cancelled");
                    drop(resolver);
                } else {
                    resolver.callback(0);
                    assert_eq!(take_text(deferred), MANY.to_string());
                }
            }
        }
    });
}

/// Wraps the error of a Deferred in another error.
type Wraps = fn(Deferred<u64>) -> Deferred<u64>;

#[derive(Debug)]
struct Wrapped(#[expect(dead_code, reason = "only its destructor matters")] Failure);

impl std::fmt::Display for Wrapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("wrapped")
    }
}

impl std::error::Error for Wrapped {}

const WRAPS: [(&str, Wraps); 10] = [
    ("thrown on", |deferred| {
        deferred.add_errback(|failure| -> Result<u64, Failure> { std::panic::resume_unwind(Box::new(failure)) })
    }),
    ("a box of a shared one", |deferred| {
        let shared = deferred.share();
        let (one, other) = (shared.observe(), shared.observe());
        one.map_err(move |failure| {
            // The other Deferred holds it too, so the box contains a shared error.
            let boxed = Failure::from_boxed(failure.into());
            drop(other.add_errback(|_| Ok(0)));
            boxed
        })
    }),
    ("gather", |deferred| gather([deferred]).map(|values| values[0]).map_err(Failure::from)),
    ("race", |deferred| race([deferred]).map(|(_, value)| value).map_err(Failure::from)),
    ("race of two", |deferred| {
        race([deferred, Deferred::fail(Cancelled::new())]).map(|(_, value)| value).map_err(Failure::from)
    }),
    ("concurrent", |deferred| {
        concurrent(1).map([deferred], |deferred| deferred).map(|values| values[0]).map_err(Failure::from)
    }),
    ("a reason", |deferred| deferred.map_err(|failure| Cancelled::because(failure).into())),
    ("a shared one", |deferred| deferred.share().observe()),
    ("an error of the user", |deferred| deferred.map_err(|failure| Wrapped(failure).into())),
    ("gather and race", |deferred| {
        let first = gather([deferred]).map(|values| values[0]).map_err(Failure::from);
        race([first]).map(|(_, value)| value).map_err(|group| Cancelled::because(group).into())
    }),
];

#[test]
fn a_million_nested_errors_are_inspected_reported_and_dropped() {
    for (name, wraps) in WRAPS {
        println!("{name}"); // a stack overflow prints nothing else
        on_a_small_stack(move || {
            let log = Log::new();
            let lines = log.clone();
            let _hook = on_unhandled(move |unhandled| {
                lines.add(format!("{:.20} {:?}", unhandled.to_string(), unhandled.builtin().is_some()));
                assert!(!format!("{:?}", unhandled.error()).is_empty());
            });
            for looks in [false, true] {
                let mut deferred = Deferred::fail(Cancelled::new());
                for _ in 0..MANY {
                    deferred = wraps(deferred);
                }
                if looks {
                    let failure = deferred.try_take().unwrap().unwrap_err();
                    assert_eq!(failure.builtin().is_some(), name != "an error of the user", "{name}");
                    assert!(failure.to_string().len() < 10_000, "{name}: {} bytes", failure.to_string().len());
                    assert!(format!("{failure:#}").len() < 10_000, "{name}");
                    assert!(format!("{failure:?}").len() < 10_000, "{name}");
                    let _ = (failure.source().is_some(), failure.check::<Cancelled>());
                    let error: Box<dyn std::error::Error> = failure.into();
                    assert!(format!("{error:?}").len() < 10_000, "{name}");
                }
            }
            assert_eq!(log.take().len(), 1);
        });
    }
}

#[test]
fn the_text_of_nested_errors_with_many_members_is_bounded() {
    let mut failure = Failure::from(Cancelled::new());
    for _ in 0..30 {
        let members =
            [Deferred::<u32>::fail(failure), Deferred::fail(Cancelled::new()), Deferred::fail(Cancelled::new())];
        failure = race(members).try_take().unwrap().unwrap_err().into();
    }
    assert!(failure.to_string().starts_with("all 3 failed: all 3 failed: "), "{failure}");
    assert!(failure.to_string().len() < 1000, "{failure}");
    assert!(failure.builtin().is_some());
}

#[test]
fn the_text_of_wide_nested_errors_and_reasons_is_bounded() {
    for through_reasons in [false, true] {
        let mut failure = Failure::from(Cancelled::because("the root"));
        for _ in 0..12 {
            let shared = Deferred::<u32>::fail(failure).share();
            let group = race((0..8).map(|_| shared.observe())).try_take().unwrap().unwrap_err();
            failure = if through_reasons { Cancelled::because(group).into() } else { group.into() };
        }
        assert!(failure.to_string().len() < 1_000_000, "{through_reasons}: {}", failure.to_string().len());
    }
}

#[test]
fn an_error_that_is_in_a_group_twice_is_visited_once() {
    let mut error = Failure::from(Cancelled::new());
    // Each level doubles the number of paths.
    for _ in 0..64 {
        let shared = Deferred::<u32>::fail(error).share();
        let twice = [shared.observe(), shared.observe()].map(|one| one.try_take().unwrap().unwrap_err());
        error = FailureGroup::new(twice.into()).into();
    }
    assert!(matches!(error.builtin(), Some(BuiltinError::Cancelled(_))));
    assert!(format!("{error}").len() < 10_000 && format!("{error:?}").len() < 10_000);
}
