//! Panics: a panic of user code inside a stage is an error for the next errback, and nothing
//! unwinds through the call that fires. Also the results of dropped resolvers.

use std::panic::panic_any;
use std::rc::Rc;

use crate::support::{App, Log, PanicOnDrop, deferred_cell, ignore_unhandled, take_text};
use deferred_core::{Abandoned, Deferred, Failure, Panicked, Resolver};

type Source = fn(Result<u32, App>) -> (Deferred<u32>, Box<dyn FnOnce()>);

/// Returns the kinds of sources: ready at once, fired later, and returned by a callback.
fn sources() -> [(&'static str, Source); 3] {
    fn ready(result: Result<u32, App>) -> (Deferred<u32>, Box<dyn FnOnce()>) {
        (Deferred::from(result.map_err(Failure::from)), Box::new(|| ()))
    }
    fn pending(result: Result<u32, App>) -> (Deferred<u32>, Box<dyn FnOnce()>) {
        let (deferred, resolver) = Deferred::<u32>::new();
        (deferred, Box::new(move || resolver.fire(result.map_err(Failure::from))))
    }
    fn returned(result: Result<u32, App>) -> (Deferred<u32>, Box<dyn FnOnce()>) {
        let (outer, resolver) = Deferred::<()>::new();
        let (inner, fire) = pending(result);
        let fire = move || {
            resolver.callback(());
            fire();
        };
        (outer.add_callback(|()| inner), Box::new(fire))
    }
    [("ready", ready), ("pending", pending), ("returned", returned)]
}

/// Runs `stages` on each kind of source with `input`, and checks the result each time.
#[track_caller]
fn expect<T: std::fmt::Debug + 'static>(
    input: Result<u32, App>,
    expected: &str,
    stages: impl Fn(Deferred<u32>) -> Deferred<T>,
) {
    let _quiet = ignore_unhandled();
    for (name, source) in sources() {
        let (deferred, fire) = source(input);
        let log = Log::new();
        let deferred = log.watch("next", stages(deferred));
        fire();
        assert_eq!(log.take(), [format!("next {expected}")], "{name}");
        assert_eq!(take_text(deferred), expected, "{name}");
    }
}

const VALUE: Result<u32, App> = Ok(1);
const ERROR: Result<u32, App> = Err(App(1));

#[test]
fn a_panic_in_any_kind_of_stage_fires_the_next_errback() {
    fn fails() -> Result<u32, Failure> {
        panic!("here")
    }
    fn waits() -> Deferred<u32> {
        panic!("here")
    }
    let expected = "Panicked(here)";
    expect(VALUE, expected, |d| d.add_callback(|_| fails()));
    expect(VALUE, expected, |d| d.add_callback(|_| waits()));
    expect(ERROR, expected, |d| d.add_errback(|_| fails()));
    expect(ERROR, expected, |d| d.add_errback(|_| waits()));
    expect(VALUE, expected, |d| d.add_callbacks(|_| fails(), |_| Ok(0)));
    expect(VALUE, expected, |d| d.add_callbacks(|_| waits(), |_| Ok(0)));
    expect(ERROR, expected, |d| d.add_callbacks(|_| Ok(0), |_| fails()));
    expect(ERROR, expected, |d| d.add_callbacks(|_| Ok(0), |_| waits()));
    for input in [VALUE, ERROR] {
        expect(input, expected, |d| d.add_both(|_| fails()));
        expect(input, expected, |d| d.add_both(|_| waits()));
    }
    expect(VALUE, expected, |d| d.add_finally(fails));
    expect(VALUE, expected, |d| d.add_finally(waits));
    // If the result is already an error, the panic is reported and the error stays: see
    // `deferred/finally.rs`.
    expect(ERROR, "App(1)", |d| d.add_finally(fails));
    expect(VALUE, expected, |d| d.map(|_| -> u32 { panic!("here") }));
    expect(ERROR, expected, |d| d.map_err(|_| -> Failure { panic!("here") }));
}

#[test]
fn a_panic_may_be_trapped_and_the_chain_continues() {
    expect(VALUE, "7", |d| {
        d.add_callback(|_| -> Result<u32, Failure> { panic!("here") })
            .add_callback(|_| -> Result<u32, Failure> { unreachable!("an error passes it") })
            .add_errback(|failure| {
                assert_eq!(failure.trap::<Panicked>()?.message(), "here");
                Ok(6)
            })
            .map(|value| value + 1)
    });
}

#[test]
fn the_payload_arrives_whole() {
    #[derive(Debug, PartialEq)]
    struct Payload(u32);

    let panicked = |deferred: Deferred<()>| {
        let failure = deferred.try_take().unwrap().unwrap_err();
        failure.downcast::<Panicked>().expect("it panicked")
    };
    let ready = || Deferred::succeed(());
    let by_text = panicked(ready().map(|()| panic!("a text")));
    assert_eq!(by_text.message(), "a text");
    assert_eq!(by_text.into_payload().downcast_ref::<&str>(), Some(&"a text"));
    let by_string = panicked(ready().map(|()| panic!("number {}", 5)));
    assert_eq!(by_string.message(), "number 5");
    let by_any = panicked(ready().map(|()| panic_any(Payload(3))));
    assert!(!by_any.message().is_empty());
    let payload = by_any.take_payload().expect("the payload was not taken yet");
    assert_eq!(payload.downcast_ref::<Payload>(), Some(&Payload(3)));
    assert!(by_any.take_payload().is_none());
}

#[test]
fn nothing_unwinds_out_of_a_call_that_fires() {
    let _quiet = ignore_unhandled();
    let deferred = || {
        let (deferred, resolver) = Deferred::<u32>::new();
        let mut deferred = deferred.add_both(|_| -> Result<u32, Failure> { panic!("everywhere") });
        (deferred.cancel_handle(), deferred, resolver)
    };
    let (_, d, resolver) = deferred();
    resolver.callback(1);
    drop(d);
    let (_, d, resolver) = deferred();
    resolver.errback(App(1));
    drop(d);
    let (_, d, resolver) = deferred();
    drop(resolver);
    drop(d);
    let (handle, d, _resolver) = deferred();
    handle.cancel();
    drop(d);
    let (_, mut d, resolver) = deferred();
    let pause = d.pause();
    resolver.callback(1);
    pause.unpause();
    drop(d);
    let (_, d, resolver) = deferred();
    drop(d);
    resolver.callback(1);
}

#[test]
fn a_panic_of_captures_counts_as_the_stages() {
    let expected = "Panicked(capture)";
    expect(VALUE, expected, |d| {
        let bomb = PanicOnDrop("capture");
        d.add_callback(move |value| {
            let _captured = &bomb;
            Ok(value)
        })
    });
    expect(ERROR, expected, |d| {
        let bomb = PanicOnDrop("capture");
        d.add_errback(move |failure| {
            let _captured = &bomb;
            Err(failure)
        })
    });
    for input in [VALUE, ERROR] {
        expect(input, expected, |d| {
            let bomb = PanicOnDrop("capture");
            d.add_both(move |result| {
                let _captured = &bomb;
                result
            })
        });
    }
    expect(VALUE, expected, |d| {
        let bomb = PanicOnDrop("capture");
        d.add_finally(move || {
            let _captured = &bomb;
            Ok(())
        })
    });
}

#[test]
fn a_panic_of_captures_that_a_stage_drops_unused_counts_as_the_stages() {
    let expected = "Panicked(capture)";
    expect(VALUE, expected, |d| {
        let bomb = PanicOnDrop("capture");
        d.add_errback(move |failure| {
            let _captured = &bomb;
            Err(failure)
        })
    });
    expect(ERROR, expected, |d| {
        let bomb = PanicOnDrop("capture");
        d.add_callback(move |value| {
            let _captured = &bomb;
            Ok(value)
        })
    });
    expect(VALUE, expected, |d| {
        let bomb = PanicOnDrop("capture");
        d.add_callbacks(Ok, move |failure| {
            let _captured = &bomb;
            Err(failure)
        })
    });
    expect(ERROR, expected, |d| {
        let bomb = PanicOnDrop("capture");
        d.map(move |value| {
            let _captured = &bomb;
            value
        })
    });
}

#[test]
fn panics_of_large_and_over_aligned_captures_count_as_the_stages() {
    #[repr(align(64))]
    struct Wide(#[expect(dead_code, reason = "only its destructor matters")] PanicOnDrop);

    for input in [VALUE, ERROR] {
        expect(input, "Panicked(wide)", |d| {
            let captured = (Wide(PanicOnDrop("wide")), [0_u8; 300]);
            d.add_both(move |result| {
                let _captured = &captured;
                result
            })
        });
    }
}

#[test]
fn a_result_that_passes_a_stage_whose_captures_panic_is_dropped_once() {
    let _quiet = ignore_unhandled();
    for (name, source) in sources() {
        let log = Log::new();
        let (deferred, fire) = source(VALUE);
        let (bomb, value) = (PanicOnDrop("capture"), log.probe("the value"));
        let deferred = deferred.map(move |_| value).add_errback(move |failure| {
            let _captured = &bomb;
            Err(failure)
        });
        fire();
        assert_eq!(take_text(deferred), "Panicked(capture)", "{name}");
        assert_eq!(log.take(), ["the value"], "{name}");
    }
}

#[test]
fn the_result_kept_by_a_finally_is_dropped_once_when_it_panics() {
    let _quiet = ignore_unhandled();
    for (name, source) in sources() {
        let log = Log::new();
        let (deferred, fire) = source(VALUE);
        let (bomb, value) = (PanicOnDrop("capture"), log.probe("the value"));
        let deferred = deferred.map(move |_| value).add_finally(move || {
            let _captured = &bomb;
            Ok(())
        });
        fire();
        assert_eq!(take_text(deferred), "Panicked(capture)", "{name}");
        assert_eq!(log.take(), ["the value"], "{name}");
    }
}

#[test]
fn the_returned_deferred_is_dropped_when_the_captures_of_a_stage_panic() {
    let _quiet = ignore_unhandled();
    for (name, source) in sources() {
        let log = Log::new();
        let (deferred, fire) = source(VALUE);
        let (inner, inner_resolver) = Deferred::<u32>::new();
        let inner = log.watch("inner", inner);
        let bomb = PanicOnDrop("capture");
        let deferred = deferred.add_callback(move |_| {
            let _captured = &bomb;
            inner
        });
        fire();
        assert_eq!(take_text(deferred), "Panicked(capture)", "{name}");
        inner_resolver.callback(2);
        assert_eq!(log.take(), ["inner 2"], "it runs on, as each that is dropped: {name}");
    }
}

#[test]
fn a_panic_of_the_value_that_a_stage_drops_counts_as_the_stages() {
    expect(VALUE, "Panicked(value)", |d| {
        d.map(|_| PanicOnDrop("value")).add_callback(|bomb| {
            drop(bomb);
            Ok(1)
        })
    });
    expect(VALUE, "Panicked(value)", |d| d.map(|_| PanicOnDrop("value")).map(|_| 1));
    expect(VALUE, "Panicked(value)", |d| d.map(|_| PanicOnDrop("value")).add_both(|_| Ok(1)));
}

#[test]
fn a_panic_of_the_error_that_a_stage_drops_counts_as_the_stages() {
    #[derive(Debug)]
    struct Fragile(#[expect(dead_code, reason = "only its destructor matters")] PanicOnDrop);
    impl std::fmt::Display for Fragile {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("fragile")
        }
    }
    impl std::error::Error for Fragile {}

    expect(VALUE, "Panicked(error)", |d| {
        d.add_callback(|_| Err::<u32, Failure>(Fragile(PanicOnDrop("error")).into())).add_errback(|_| Ok(1))
    });
}

#[test]
fn adjacent_panics_are_separate_errors() {
    expect(VALUE, "Panicked(third)", |d| {
        d.add_both(|_| -> Result<u32, Failure> { panic!("first") })
            .add_both(|_| -> Result<u32, Failure> { panic!("second") })
            .add_both(|_| -> Result<u32, Failure> { panic!("third") })
    });
}

#[test]
fn a_panic_of_the_body_of_a_stage_with_many_captures_drops_each_once() {
    let _quiet = ignore_unhandled();
    for (name, source) in sources() {
        let log = Log::new();
        let (deferred, fire) = source(VALUE);
        let probes: Vec<_> = (0..3).map(|index| log.probe(format!("probe {index}"))).collect();
        let deferred = deferred.add_callback(move |_| -> Result<u32, Failure> {
            let _captured = &probes;
            panic!("body")
        });
        fire();
        assert_eq!(log.take(), ["probe 0", "probe 1", "probe 2"], "{name}");
        assert_eq!(take_text(deferred), "Panicked(body)", "{name}");
    }
}

#[test]
fn a_resolver_dropped_unfired_fires_abandoned() {
    let log = Log::new();
    let (deferred, resolver) = Deferred::<u32>::new();
    let deferred = log.watch("saw", deferred);
    drop(resolver);
    assert_eq!(log.take(), ["saw Abandoned"]);
    let trapped = deferred.add_errback(|failure| {
        failure.trap::<Abandoned>()?;
        Ok(2)
    });
    assert_eq!(take_text(trapped), "2");
}

#[test]
fn a_resolver_dropped_by_a_panic_fires_abandoned() {
    let _quiet = ignore_unhandled();
    let log = Log::new();
    let (deferred, resolver) = Deferred::<u32>::new();
    let deferred = log.watch("saw", deferred);
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _resolver = resolver;
        panic!("outside of the engine");
    }));
    assert!(unwound.is_err());
    assert_eq!(log.take(), ["saw Abandoned"]);
    drop(deferred);
}

#[test]
fn resolvers_dropped_inside_a_callback_fire_after_it_in_order() {
    for ready in [false, true] {
        let log = Log::new();
        let mut resolvers = Vec::new();
        let mut kept = Vec::new();
        for name in ["first", "second", "third"] {
            let (deferred, resolver) = Deferred::<u32>::new();
            kept.push(log.watch(name, deferred));
            resolvers.push(resolver);
        }
        let inside = log.clone();
        let drops = move |()| {
            resolvers.into_iter().for_each(drop);
            inside.add("the callback ends");
        };
        let (pending, resolver) = Deferred::<()>::new();
        if ready {
            drop(Deferred::succeed(()).map(drops));
            drop(pending.map(|()| ()));
            resolver.callback(());
        } else {
            drop(pending.map(drops));
            resolver.callback(());
        }
        let expected = ["the callback ends", "first Abandoned", "second Abandoned", "third Abandoned"];
        let lines = log.take();
        if ready {
            // Whether a callback on a ready Deferred counts as an engine call is not part of the
            // interface.
            let mut sorted = lines.clone();
            sorted.sort();
            let mut all = expected.to_vec();
            all.sort();
            assert_eq!(sorted, all);
            let abandoned: Vec<_> = lines.iter().filter(|line| line.ends_with("Abandoned")).collect();
            assert_eq!(abandoned, expected[1..].iter().collect::<Vec<_>>());
        } else {
            assert_eq!(lines, expected);
        }
        kept.into_iter().for_each(|deferred| drop(deferred.add_errback(|_| Ok(0))));
    }
}

#[test]
fn a_resolver_dropped_as_a_capture_fires_after_its_stage() {
    let log = Log::new();
    let (other, other_resolver) = Deferred::<u32>::new();
    let other = log.watch("other", other);
    let (deferred, resolver) = Deferred::<u32>::new();
    let inside = log.clone();
    let deferred = deferred.map(move |value| {
        let _captured: &Resolver<u32> = &other_resolver;
        inside.add("callback");
        value
    });
    resolver.callback(1);
    assert_eq!(log.take(), ["callback", "other Abandoned"]);
    assert_eq!(take_text(deferred), "1");
    drop(other.add_errback(|_| Ok(0)));
}

#[test]
fn a_callback_that_returns_its_own_deferred_fires_cycle() {
    for with_handle in [false, true] {
        for paused in [false, true] {
            let (log, shelf) = (Log::new(), deferred_cell::<u32>());
            let (deferred, resolver) = Deferred::<()>::new();
            let own = shelf.clone();
            let mut deferred = deferred.add_callback(move |()| own.take().unwrap());
            let handle = with_handle.then(|| deferred.cancel_handle());
            let pause = paused.then(|| deferred.pause());
            let watched = log.watch("saw", deferred).add_errback(|_| Ok(0));
            *shelf.borrow_mut() = Some(watched);
            resolver.callback(());
            if let Some(pause) = pause {
                assert!(log.take().is_empty());
                pause.unpause();
            }
            assert_eq!(log.take(), ["saw Cycle"]);
            if let Some(handle) = handle {
                handle.cancel();
            }
        }
    }
}

#[test]
fn a_callback_that_returns_the_successor_of_its_deferred_fires_cycle_or_waits() {
    // The callback of `inner`, for which `outer` waits, returns `outer`: a cycle of two, which
    // waits forever and does not crash.
    let shelf = deferred_cell::<u32>();
    let (inner, inner_resolver) = Deferred::<()>::new();
    let (outer, resolver) = Deferred::<()>::new();
    let own = shelf.clone();
    let inner = inner.add_callback(move |()| own.take().unwrap());
    *shelf.borrow_mut() = Some(outer.add_callback(|()| inner).add_both(|_| Ok(0)));
    resolver.callback(());
    inner_resolver.callback(());
    assert!(shelf.borrow().is_none());
}

#[test]
fn a_callback_of_a_ready_deferred_cannot_reach_that_deferred() {
    // The Deferred has no handle yet while `add_callback` runs, so the callback can only return
    // another one.
    let deferred = Deferred::succeed(1).add_callback(|value| Deferred::succeed(value).add_callback(Deferred::succeed));
    assert_eq!(take_text(deferred), "1");
}

#[test]
fn a_panic_converts_into_typed_errors_too() {
    use deferred_core::{BuiltinError, DeferredError};

    #[derive(Debug)]
    enum Typed {
        Builtin(BuiltinError),
        Other(u32),
    }
    impl From<BuiltinError> for Typed {
        fn from(builtin: BuiltinError) -> Self {
            Typed::Builtin(builtin)
        }
    }
    impl DeferredError for Typed {
        fn builtin(&self) -> Option<&BuiltinError> {
            if let Typed::Builtin(builtin) = self { Some(builtin) } else { None }
        }
    }

    let _quiet = ignore_unhandled();
    let (deferred, resolver) = Deferred::<u32, Typed>::typed();
    let deferred = deferred.map(|_| -> u32 { panic!("typed") });
    resolver.callback(1);
    let error = deferred.try_take().unwrap().unwrap_err();
    assert!(matches!(error, Typed::Builtin(BuiltinError::Panicked(panicked)) if panicked.message() == "typed"));

    let (deferred, resolver) = Deferred::<u32, Typed>::typed();
    let deferred = deferred.map_err(|error| match error {
        Typed::Builtin(builtin) => Failure::from(builtin),
        Typed::Other(number) => App(number).into(),
    });
    drop(resolver);
    assert_eq!(take_text(deferred), "Abandoned");

    let (deferred, resolver) = Deferred::<u32, Typed>::typed();
    resolver.errback(Typed::Other(3));
    let deferred = deferred.map_err(|error| match error {
        Typed::Builtin(builtin) => Failure::from(builtin),
        Typed::Other(number) => App(number).into(),
    });
    assert_eq!(take_text(deferred), "App(3)");

    let (deferred, _resolver) = Deferred::<u32, Typed>::typed_with_canceller(|| None);
    deferred.cancel();
    assert!(matches!(deferred.try_take(), Ok(Err(Typed::Builtin(BuiltinError::Cancelled(_))))));
}

#[test]
fn a_panic_in_one_chain_does_not_affect_the_chain_that_fired_it() {
    let _quiet = ignore_unhandled();
    let log = Log::new();
    let (inner, inner_resolver) = Deferred::<u32>::new();
    let inner = Rc::new(inner.map(|_| -> u32 { panic!("inner") }));
    let (outer, resolver) = Deferred::<u32>::new();
    let outer = outer.map(move |value| {
        inner_resolver.callback(1);
        value
    });
    let outer = log.watch("outer", outer);
    resolver.callback(2);
    assert_eq!(log.take(), ["outer 2"]);
    assert_eq!(take_text(outer), "2");
    assert_eq!(take_text(Rc::into_inner(inner).unwrap()), "Panicked(inner)");
}
