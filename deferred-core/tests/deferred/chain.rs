//! The input of each kind of stage, and the order in which stages run.

use std::cell::RefCell;
use std::rc::Rc;

use crate::support::{App, Log, deferred_cell, describe, describe_failure, ignore_unhandled, peek_text, take_text};
use deferred_core::{Cancelled, Deferred, Failure, Resolver, maybe_deferred};

/// The input of the stage under test.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Input {
    Value,
    Error,
    Cancelled,
    Panicked,
}

impl Input {
    const ALL: [Input; 4] = [Input::Value, Input::Error, Input::Cancelled, Input::Panicked];

    fn name(self) -> &'static str {
        match self {
            Input::Value => "1",
            Input::Error => "App(1)",
            Input::Cancelled => "Cancelled",
            Input::Panicked => "Panicked(source)",
        }
    }

    /// Returns a Deferred that was created fired.
    fn ready(self) -> Deferred<u32> {
        match self {
            Input::Value => Deferred::succeed(1),
            Input::Error => Deferred::fail(App(1)),
            Input::Cancelled => Deferred::fail(Cancelled::new()),
            Input::Panicked => Deferred::succeed(0).add_callback(|_: u32| -> Result<u32, Failure> { panic!("source") }),
        }
    }

    /// Returns a pending Deferred, and the closure that fires it.
    fn pending(self) -> (Deferred<u32>, Box<dyn FnOnce()>) {
        let (mut deferred, resolver) = Deferred::<u32>::new();
        match self {
            Input::Value => (deferred, Box::new(|| resolver.callback(1))),
            Input::Error => (deferred, Box::new(|| resolver.errback(App(1)))),
            Input::Cancelled => {
                let handle = deferred.cancel_handle();
                let cancel = move || {
                    handle.cancel();
                    assert!(resolver.is_cancelled());
                };
                (deferred, Box::new(cancel))
            }
            Input::Panicked => (
                deferred.add_callback(|_| -> Result<u32, Failure> { panic!("source") }),
                Box::new(|| resolver.callback(0)),
            ),
        }
    }
}

/// The time at which the input arrives, relative to the time at which the stage is added.
#[derive(Clone, Copy, Debug)]
enum Moment {
    AlwaysReady,
    FiredBefore,
    FiredAfter,
    FiredInAReadyCallback,
    FiredInAnotherCallback,
    ReturnedByAReadyOne,
    ReturnedByAPendingOne,
    ReturnedAfterItWasFired,
    FiredWhereItIsReturned,
    ReturnedTwice,
    Chained,
    Paused,
}

impl Moment {
    const ALL: [Moment; 12] = [
        Moment::AlwaysReady,
        Moment::FiredBefore,
        Moment::FiredAfter,
        Moment::FiredInAReadyCallback,
        Moment::FiredInAnotherCallback,
        Moment::ReturnedByAReadyOne,
        Moment::ReturnedByAPendingOne,
        Moment::ReturnedAfterItWasFired,
        Moment::FiredWhereItIsReturned,
        Moment::ReturnedTwice,
        Moment::Chained,
        Moment::Paused,
    ];

    /// Lets `input` arrive at the stages that `stages` adds.
    fn arrange(self, input: Input, stages: impl FnOnce(Deferred<u32>) -> Deferred<u32>) -> Deferred<u32> {
        if let Moment::AlwaysReady = self {
            return stages(input.ready());
        }
        let (mut inner, fire) = input.pending();
        match self {
            Moment::AlwaysReady => unreachable!(),
            Moment::FiredBefore => {
                fire();
                stages(inner)
            }
            Moment::FiredAfter => {
                let deferred = stages(inner);
                fire();
                deferred
            }
            Moment::FiredInAReadyCallback => {
                let deferred = stages(inner);
                drop(Deferred::succeed(()).map(|()| fire()));
                deferred
            }
            Moment::FiredInAnotherCallback => {
                let deferred = stages(inner);
                let (other, resolver) = Deferred::<()>::new();
                drop(other.map(|()| fire()));
                resolver.callback(());
                deferred
            }
            Moment::ReturnedByAReadyOne => {
                let deferred = stages(Deferred::succeed(()).add_callback(|()| inner));
                fire();
                deferred
            }
            Moment::ReturnedByAPendingOne => {
                let (outer, resolver) = Deferred::<()>::new();
                let deferred = stages(outer.add_callback(|()| inner));
                resolver.callback(());
                fire();
                deferred
            }
            Moment::ReturnedAfterItWasFired => {
                let (outer, resolver) = Deferred::<()>::new();
                let deferred = stages(outer.add_callback(|()| inner));
                fire();
                resolver.callback(());
                deferred
            }
            Moment::FiredWhereItIsReturned => {
                let (outer, resolver) = Deferred::<()>::new();
                let deferred = stages(outer.add_callback(|()| {
                    fire();
                    inner
                }));
                resolver.callback(());
                deferred
            }
            Moment::ReturnedTwice => {
                let (middle, middle_resolver) = Deferred::<()>::new();
                let (outer, resolver) = Deferred::<()>::new();
                let middle = middle.add_callback(|()| inner);
                let deferred = stages(outer.add_callback(|()| middle));
                resolver.callback(());
                middle_resolver.callback(());
                fire();
                deferred
            }
            Moment::Chained => {
                let (target, resolver) = Deferred::<u32>::new();
                let deferred = stages(target);
                inner.chain_deferred(resolver);
                fire();
                deferred
            }
            Moment::Paused => {
                let pause = inner.pause();
                let mut deferred = stages(inner);
                fire();
                assert!(deferred.peek().is_none());
                pause.unpause();
                deferred
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Callback,
    Errback,
    Callbacks,
    Both,
    Map,
    MapErr,
    Finally,
}

/// The action of the stage under test.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Value,
    Error,
    Panic,
    Ready,
    ReadyError,
    Pending,
    PendingError,
}

impl Act {
    const ALL: [Act; 7] =
        [Act::Value, Act::Error, Act::Panic, Act::Ready, Act::ReadyError, Act::Pending, Act::PendingError];

    fn name(self) -> &'static str {
        match self {
            Act::Value | Act::Ready | Act::Pending => "100",
            Act::Error | Act::ReadyError | Act::PendingError => "App(7)",
            Act::Panic => "Panicked(stage)",
        }
    }

    fn returns_a_result(self) -> bool {
        matches!(self, Act::Value | Act::Error | Act::Panic)
    }

    fn result(self) -> Result<u32, Failure> {
        match self {
            Act::Value | Act::Ready | Act::Pending => Ok(100),
            Act::Error | Act::ReadyError | Act::PendingError => Err(App(7).into()),
            Act::Panic => panic!("stage"),
        }
    }

    fn deferred(self, later: &Later) -> Deferred<u32> {
        if let Act::Pending | Act::PendingError = self {
            let (deferred, resolver) = Deferred::new();
            later.borrow_mut().push((resolver, self));
            deferred
        } else {
            self.result().into()
        }
    }
}

type Later = Rc<RefCell<Vec<(Resolver<u32>, Act)>>>;

fn add(kind: Kind, act: Act, log: &Log, later: &Later, deferred: Deferred<u32>) -> Deferred<u32> {
    let (log, other_log) = (log.clone(), log.clone());
    let (later, other_later) = (later.clone(), later.clone());
    let on_value = move |value: u32| log.add(format!("value {value}"));
    let on_error = move |failure: Failure| other_log.add(format!("error {}", describe_failure(&failure)));
    match (kind, act.returns_a_result()) {
        (Kind::Callback, true) => deferred.add_callback(move |value| {
            on_value(value);
            act.result()
        }),
        (Kind::Callback, false) => deferred.add_callback(move |value| {
            on_value(value);
            act.deferred(&later)
        }),
        (Kind::Errback, true) => deferred.add_errback(move |failure| {
            on_error(failure);
            act.result()
        }),
        (Kind::Errback, false) => deferred.add_errback(move |failure| {
            on_error(failure);
            act.deferred(&later)
        }),
        (Kind::Callbacks, true) => deferred.add_callbacks(
            move |value| {
                on_value(value);
                act.result()
            },
            move |failure| {
                on_error(failure);
                act.deferred(&other_later)
            },
        ),
        (Kind::Callbacks, false) => deferred.add_callbacks(
            move |value| {
                on_value(value);
                act.deferred(&later)
            },
            move |failure| {
                on_error(failure);
                act.deferred(&other_later)
            },
        ),
        (Kind::Both, true) => deferred.add_both(move |result| {
            result.map_or_else(on_error, on_value);
            act.result()
        }),
        (Kind::Both, false) => deferred.add_both(move |result| {
            result.map_or_else(on_error, on_value);
            act.deferred(&later)
        }),
        (Kind::Map, _) => deferred.map(move |value| {
            on_value(value);
            act.result().unwrap()
        }),
        (Kind::MapErr, _) => deferred.map_err(move |failure| {
            on_error(failure);
            act.result().unwrap_err()
        }),
        (Kind::Finally, true) => deferred.add_finally(move || {
            on_value(0);
            act.result()
        }),
        (Kind::Finally, false) => deferred.add_finally(move || {
            on_value(0);
            act.deferred(&later)
        }),
    }
}

/// Returns the input that the stage logs, and the result of the chain.
fn expected(kind: Kind, act: Act, input: Input) -> (Option<String>, &'static str) {
    let is_value = input == Input::Value;
    let sees = if is_value { format!("value {}", input.name()) } else { format!("error {}", input.name()) };
    let runs = match kind {
        Kind::Callback | Kind::Map => is_value,
        Kind::Errback | Kind::MapErr => !is_value,
        Kind::Callbacks | Kind::Both | Kind::Finally => true,
    };
    if !runs {
        return (None, input.name());
    }
    if kind != Kind::Finally {
        return (Some(sees), act.name());
    }
    // A finally keeps the result, unless the result is a value and the finally fails.
    let keeps = act.name() == "100" || !is_value;
    (Some("value 0".into()), if keeps { input.name() } else { act.name() })
}

fn check_matrix(kind: Kind, acts: &[Act]) {
    let _quiet = ignore_unhandled();
    for moment in Moment::ALL {
        for input in Input::ALL {
            for &act in acts {
                let (log, later) = (Log::new(), Later::default());
                let mut deferred =
                    moment.arrange(input, |deferred| log.watch("then", add(kind, act, &log, &later, deferred)));
                for (resolver, act) in later.take() {
                    resolver.fire(act.result());
                }
                let (sees, then) = expected(kind, act, input);
                let expected: Vec<String> = sees.into_iter().chain([format!("then {then}")]).collect();
                assert_eq!(log.take(), expected, "{kind:?} {act:?} {input:?} {moment:?}");
                assert_eq!(peek_text(&mut deferred), then, "{kind:?} {act:?} {input:?} {moment:?}");
                assert_eq!(take_text(deferred), then, "{kind:?} {act:?} {input:?} {moment:?}");
            }
        }
    }
}

#[test]
fn a_callback_receives_only_values() {
    check_matrix(Kind::Callback, &Act::ALL);
}

#[test]
fn an_errback_receives_only_errors() {
    check_matrix(Kind::Errback, &Act::ALL);
}

#[test]
fn add_callbacks_is_one_level() {
    check_matrix(Kind::Callbacks, &Act::ALL);
}

#[test]
fn add_both_receives_both() {
    check_matrix(Kind::Both, &Act::ALL);
}

#[test]
fn map_receives_only_values() {
    check_matrix(Kind::Map, &[Act::Value, Act::Panic]);
}

#[test]
fn map_err_receives_only_errors() {
    check_matrix(Kind::MapErr, &[Act::Error, Act::Panic]);
}

#[test]
fn finally_keeps_the_result_unless_it_fails() {
    check_matrix(Kind::Finally, &Act::ALL);
}

/// Each stage logs when it runs and when its captures are dropped; each value logs when it is
/// dropped.
#[test]
fn captures_and_input_are_dropped_before_the_next_stage_runs() {
    let _quiet = ignore_unhandled();
    for moment in Moment::ALL {
        for input in Input::ALL {
            let log = Log::new();
            let deferred = moment.arrange(input, |deferred| {
                let (on_value, on_error, never) = (log.probe("- a"), log.probe("- b"), log.probe("- c"));
                let (a, b, c) = (log.clone(), log.clone(), log.clone());
                let (first, second) = (log.probe("- made by a"), log.probe("- made by b"));
                deferred
                    .add_callbacks(
                        move |_| {
                            let _captured = (&on_value, &first);
                            a.add("a");
                            Ok(first)
                        },
                        move |_| {
                            let _captured = (&on_error, &second);
                            b.add("b");
                            Ok(second)
                        },
                    )
                    .add_errback(move |failure| {
                        let _captured = &never;
                        Err(failure)
                    })
                    .add_callback(move |_| {
                        c.add("d");
                        Ok(())
                    })
                    .add_callback(move |()| Ok(2))
            });
            assert_eq!(take_text(deferred), "2");
            let lines = log.take();
            let place = |line: &str| {
                let places: Vec<usize> = (0..lines.len()).filter(|&place| lines[place] == line).collect();
                assert_eq!(places.len(), 1, "{line} of {lines:?}, {moment:?} {input:?}");
                places[0]
            };
            let ran = if input == Input::Value { "a" } else { "b" };
            assert!(place(ran) < place("d"));
            for dropped in ["- a", "- b", "- c"] {
                assert!(place(dropped) < place("d"), "{dropped} of {lines:?}, {moment:?} {input:?}");
            }
            assert!(place("d") < place(&format!("- made by {ran}")));
        }
    }
}

#[test]
fn captures_are_dropped_before_the_returned_deferred_is_awaited() {
    let log = Log::new();
    let (inner, inner_resolver) = Deferred::<u32>::new();
    let (outer, resolver) = Deferred::<crate::support::Probe>::new();
    let (capture, run) = (log.probe("- capture"), log.clone());
    let outer = outer.add_callback(move |_input| {
        let _captured = &capture;
        run.add("run");
        inner
    });
    resolver.callback(log.probe("- input"));
    let mut lines = log.take();
    lines[1..].sort();
    assert_eq!(lines, ["run", "- capture", "- input"]);
    inner_resolver.callback(5);
    assert_eq!(take_text(outer), "5");
}

#[test]
fn stages_run_in_the_order_they_were_added() {
    let log = Log::new();
    let (mut deferred, resolver) = Deferred::<u32>::new();
    for round in 0..100 {
        let log = log.clone();
        deferred = deferred.map(move |value| {
            log.add(format!("{round}: {value}"));
            value + 1
        });
    }
    resolver.callback(0);
    let expected: Vec<String> = (0..100).map(|round| format!("{round}: {round}")).collect();
    assert_eq!(log.take(), expected);
    assert_eq!(take_text(deferred), "100");
}

#[test]
fn a_callback_runs_inside_the_call_that_fires_or_adds() {
    let log = Log::new();
    let (deferred, resolver) = Deferred::<u32>::new();
    let deferred = log.watch("first", deferred);
    assert!(log.take().is_empty());
    resolver.callback(1);
    assert_eq!(log.take(), ["first 1"]);
    let deferred = log.watch("second", deferred);
    assert_eq!(log.take(), ["second 1"]);
    drop(log.watch("third", deferred));
    assert_eq!(log.take(), ["third 1"]);
}

#[test]
fn a_chain_continues_after_its_deferred_is_dropped() {
    let log = Log::new();
    let (deferred, resolver) = Deferred::<u32>::new();
    drop(log.watch("watched", deferred.map(|value| value + 1)));
    resolver.callback(1);
    assert_eq!(log.take(), ["watched 2"]);
}

#[test]
fn a_callback_added_inside_the_deferreds_own_callback_runs_last() {
    let (log, shelf) = (Log::new(), deferred_cell::<u32>());
    let (deferred, resolver) = Deferred::<u32>::new();
    let (inside, own) = (log.clone(), shelf.clone());
    let deferred = deferred.map(move |value| {
        let mut mine = own.take().expect("on the shelf");
        assert!(mine.peek().is_none());
        let mine = inside.watch("added inside", mine.map(|value| value * 10));
        inside.add("adding is over");
        *own.borrow_mut() = Some(mine);
        value
    });
    *shelf.borrow_mut() = Some(log.watch("added before", deferred));
    resolver.callback(4);
    assert_eq!(log.take(), ["adding is over", "added before 4", "added inside 40"]);
    assert_eq!(take_text(shelf.take().unwrap()), "40");
}

#[test]
fn a_result_cannot_be_taken_inside_the_deferreds_own_callback() {
    let (log, shelf) = (Log::new(), deferred_cell::<u32>());
    let (deferred, resolver) = Deferred::<u32>::new();
    let (inside, own) = (log.clone(), shelf.clone());
    *shelf.borrow_mut() = Some(deferred.map(move |value| {
        let mine = own.take().unwrap().try_take().expect_err("its callback still runs");
        inside.add(if !mine.is_ready() { "pending" } else { "not pending" });
        *own.borrow_mut() = Some(mine);
        value
    }));
    resolver.callback(4);
    assert_eq!(log.take(), ["pending"]);
    assert_eq!(take_text(shelf.take().unwrap()), "4");
}

#[test]
fn firing_another_deferred_inside_a_callback_runs_its_chain_first() {
    let log = Log::new();
    let (inner, inner_resolver) = Deferred::<u32>::new();
    let (outer, resolver) = Deferred::<u32>::new();
    let _inner = log.watch("inner", inner);
    let inside = log.clone();
    let outer = outer.map(move |value| {
        inside.add("before");
        inner_resolver.callback(1);
        inside.add("after");
        value
    });
    let _outer = log.watch("outer", outer);
    resolver.callback(2);
    assert_eq!(log.take(), ["before", "inner 1", "after", "outer 2"]);
}

#[test]
fn from_and_maybe_deferred_return_the_result_of_the_function() {
    let _quiet = ignore_unhandled();
    assert_eq!(take_text(Deferred::from(Ok::<u32, Failure>(1))), "1");
    assert_eq!(take_text(Deferred::<u32>::from(Err(App(2).into()))), "App(2)");
    assert_eq!(take_text(maybe_deferred(|| Ok(1))), "1");
    assert_eq!(take_text(maybe_deferred(|| Err::<u32, Failure>(App(1).into()))), "App(1)");
    assert_eq!(take_text(maybe_deferred(|| Deferred::succeed(1))), "1");
    assert_eq!(take_text(maybe_deferred(|| -> Result<u32, Failure> { panic!("at once") })), "Panicked(at once)");
    assert_eq!(take_text(maybe_deferred(|| -> Deferred<u32> { panic!("at once") })), "Panicked(at once)");
    let (pending, resolver) = Deferred::<u32>::new();
    let deferred = maybe_deferred(|| pending);
    assert!(!deferred.is_ready());
    resolver.callback(3);
    assert_eq!(take_text(deferred), "3");
}

#[test]
fn an_error_may_be_trapped_with_the_question_mark() {
    let _quiet = ignore_unhandled();
    for (error, expected) in [(App(1), "0"), (App(2), "App(2)")] {
        let deferred = Deferred::<u32>::fail(error).add_errback(|failure| {
            let app = failure.trap::<App>()?;
            if *app == App(1) { Ok(0) } else { Err(app.into_failure()) }
        });
        assert_eq!(take_text(deferred), expected);
    }
    let passed = Deferred::<u32>::fail(Cancelled::new()).add_errback(|failure| {
        failure.trap::<App>()?;
        Ok(0)
    });
    assert_eq!(take_text(passed), "Cancelled");
    assert_eq!(describe::<u32>(Err(&App(3).into())), "App(3)");
}
