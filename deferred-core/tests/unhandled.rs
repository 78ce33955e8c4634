//! Unhandled errors: the hook that is called, the contents of the report, and which errors count as
//! handled.

mod support;

use std::cell::RefCell;
use std::env;
use std::process::Command;
use std::rc::Rc;

use deferred_core::{BuiltinError, Cancelled, Deferred, DeferredError, Failure, Reactor, on_unhandled, report};
use support::{App, Log, ignore_unhandled, take_text, unhandled_into};

const NONE: [&str; 0] = [];

#[test]
fn an_error_is_reported_when_its_deferred_is_dropped() {
    let log = Log::new();
    let _hook = unhandled_into(&log);
    let (deferred, resolver) = Deferred::<u32>::new();
    resolver.errback(App(1));
    assert_eq!(log.take(), NONE);
    drop(deferred);
    assert_eq!(log.take(), ["unhandled App(1)"]);

    let ready = Deferred::<u32>::fail(App(2)).map(|value| value + 1);
    assert_eq!(log.take(), NONE);
    drop(ready);
    assert_eq!(log.take(), ["unhandled App(2)"]);

    drop(Deferred::succeed(1).add_callback(|_| -> Result<u32, Failure> { panic!("here") }));
    assert_eq!(log.take().len(), 1);
}

#[test]
fn an_error_of_a_dropped_deferred_is_reported_when_its_chain_ends() {
    let log = Log::new();
    let _hook = unhandled_into(&log);
    let (deferred, resolver) = Deferred::<u32>::new();
    drop(log.watch("last stage", deferred));
    resolver.errback(App(1));
    assert_eq!(log.take(), ["last stage App(1)", "unhandled App(1)"]);

    let (deferred, resolver) = Deferred::<u32>::new();
    drop(deferred);
    drop(resolver);
    assert_eq!(log.take().len(), 1);
}

#[test]
fn each_error_is_reported_once() {
    let log = Log::new();
    let _hook = unhandled_into(&log);
    let (inner, inner_resolver) = Deferred::<u32>::new();
    let (middle, middle_resolver) = Deferred::<()>::new();
    let middle = middle.add_callback(|()| inner);
    let outer = Deferred::succeed(()).add_callback(|()| middle).map(|value| value);
    middle_resolver.callback(());
    inner_resolver.errback(App(3));
    assert_eq!(log.take(), NONE);
    drop(outer);
    assert_eq!(log.take(), ["unhandled App(3)"]);
}

#[test]
fn a_handled_error_is_not_reported() {
    let log = Log::new();
    let _hook = unhandled_into(&log);
    drop(Deferred::<u32>::fail(App(1)).add_errback(|_| Ok(0)));
    let (deferred, resolver) = Deferred::<u32>::new();
    drop(deferred.add_errback(|_| Ok(0)));
    resolver.errback(App(1));

    // The result is taken.
    assert_eq!(take_text(Deferred::<u32>::fail(App(1))), "App(1)");
    let (deferred, resolver) = Deferred::<u32>::new();
    resolver.errback(App(1));
    assert_eq!(take_text(deferred), "App(1)");

    // The Deferred is returned from a callback and handled by the outer Deferred.
    let (inner, resolver) = Deferred::<u32>::new();
    drop(Deferred::succeed(()).add_callback(|()| inner).add_errback(|_| Ok(0)));
    resolver.errback(App(1));

    // The result is a value.
    drop(Deferred::succeed(1));
    let (deferred, resolver) = Deferred::<u32>::new();
    drop(deferred);
    resolver.callback(1);
    assert_eq!(log.take(), NONE);
}

#[test]
fn a_handle_or_a_pause_of_a_ready_deferred_reports_nothing() {
    let log = Log::new();
    let _hook = unhandled_into(&log);
    let mut deferred = Deferred::<u32>::succeed(1);
    let _handle = deferred.cancel_handle();
    let mut paused = Deferred::<u32>::fail(App(1));
    let pause = paused.pause();
    assert_eq!(log.take(), NONE);
    drop((deferred, paused));
    assert_eq!(log.take(), NONE);
    drop(pause);
    assert_eq!(log.take(), ["unhandled App(1)"]);
}

#[test]
fn inspecting_an_error_does_not_handle_it() {
    let log = Log::new();
    let _hook = unhandled_into(&log);
    let (mut deferred, resolver) = Deferred::<u32>::new();
    resolver.errback(App(1));
    assert!(deferred.peek().is_some());
    let mut deferred = deferred;
    drop(deferred.cancel_handle());
    deferred.pause().unpause();
    drop(deferred);
    assert_eq!(log.take(), ["unhandled App(1)"]);
}

#[test]
fn an_error_replaced_by_another_counts_as_handled() {
    let log = Log::new();
    let _hook = unhandled_into(&log);
    drop(Deferred::<u32>::fail(App(1)).add_errback(|_| Err(App(2).into())));
    assert_eq!(log.take(), ["unhandled App(2)"]);
}

#[test]
fn the_locations_are_reported() {
    type Places = Rc<RefCell<Vec<(u32, u32)>>>;
    let places = Places::default();
    let sink = places.clone();
    let _hook = on_unhandled(move |unhandled| {
        assert_eq!(unhandled.made_at().file(), file!());
        assert_eq!(unhandled.last_added_at().file(), file!());
        sink.borrow_mut().push((unhandled.made_at().line(), unhandled.last_added_at().line()));
    });

    let made = line!() + 1;
    let (deferred, resolver) = Deferred::<u32>::new();
    let deferred = deferred.map(|value| value + 1);
    let deferred = deferred.add_callback(|value| Ok(value + 1));
    let last = line!() + 1;
    let deferred = deferred.map(|value| value * 2);
    resolver.errback(App(1));
    drop(deferred);
    assert_eq!(places.take(), [(made, last)]);

    // Without stages, both are the location where the Deferred was created.
    let made = line!() + 1;
    let (deferred, resolver) = Deferred::<u32>::new();
    drop(deferred);
    resolver.errback(App(1));
    assert_eq!(places.take(), [(made, made)]);

    // Stages that are added to a fired Deferred count too.
    let made = line!() + 1;
    let (deferred, resolver) = Deferred::<u32>::new();
    resolver.errback(App(1));
    let last = line!() + 1;
    drop(deferred.map(|value| value + 1));
    assert_eq!(places.take(), [(made, last)]);
}

#[test]
fn the_location_of_a_ready_deferred_is_reported() {
    let places = Rc::new(RefCell::new(Vec::new()));
    let sink = places.clone();
    let _hook = on_unhandled(move |unhandled| {
        sink.borrow_mut().push((unhandled.made_at().line(), unhandled.last_added_at().line()));
    });
    let made = line!() + 1;
    let deferred = Deferred::<u32>::fail(App(1));
    drop(deferred);
    assert_eq!(places.take(), [(made, made)]);

    // A ready Deferred has only one location: where it was created, or where its last callback was
    // added.
    let made = line!() + 1;
    let deferred = Deferred::<u32>::fail(App(1));
    let last = line!() + 1;
    let deferred = deferred.map(|value| value + 1);
    drop(deferred);
    let (made_at, last_added_at) = places.take()[0];
    assert!(made_at == made || made_at == last);
    assert_eq!(last_added_at, last);
}

#[test]
fn the_trail_and_the_error_are_in_the_report() {
    let reports = Rc::new(RefCell::new(Vec::new()));
    let sink = reports.clone();
    let _hook = on_unhandled(move |unhandled| {
        assert_eq!(unhandled.downcast_ref::<App>(), Some(&App(4)));
        assert!(unhandled.downcast_ref::<Cancelled>().is_none());
        assert!(unhandled.builtin().is_none());
        assert!(format!("{:?}", unhandled.error()).contains("application error 4"));
        sink.borrow_mut().push(unhandled.to_string());
    });
    for ready in [false, true] {
        let (pending, resolver) = Deferred::<u32>::new();
        let deferred = if ready { Deferred::fail(App(4)) } else { pending };
        let first = line!() + 1;
        let deferred = deferred.map(|value| value + 1);
        let second = line!() + 1;
        let deferred = deferred.add_callback(|value| Ok(value + 1));
        let last = line!() + 1;
        let deferred = deferred.map(|value| value * 2);
        if ready {
            resolver.callback(0);
        } else {
            resolver.errback(App(4));
        }
        drop(deferred);
        let report = reports.take().remove(0);
        assert!(report.contains("application error 4"), "{report}");
        for line in [first, second, last] {
            assert!(report.contains(&format!("{}:{line}", file!())), "line {line} is in\n{report}");
        }
    }
}

#[test]
fn a_report_contains_only_known_locations() {
    let reports = Rc::new(RefCell::new(Vec::new()));
    let sink = reports.clone();
    let _hook = on_unhandled(move |unhandled| sink.borrow_mut().push(unhandled.to_string()));
    let place = |line| format!("{}:{line}", file!());
    let lines = || reports.take().remove(0).lines().map(str::to_owned).collect::<Vec<_>>();
    let error = "unhandled error: application error 1";

    let made = line!() + 1;
    drop(Deferred::<u32>::from(Err(Failure::from(App(1)))));
    let report = lines();
    assert_eq!((report.len(), report[0].as_str()), (3, error), "it has passed nothing");
    assert!(report[1].starts_with(&format!("    error made at {}:", place(made))), "{report:?}");
    assert!(report[2].starts_with(&format!("    Deferred at {}:", place(made))), "{report:?}");

    let made = line!() + 1;
    let (deferred, resolver) = Deferred::<u32>::new();
    let added = line!() + 1;
    let deferred = deferred.map(|value| value);
    let fired = line!() + 1;
    resolver.errback(App(1));
    drop(deferred);
    let report = lines();
    assert_eq!((report.len(), report[0].as_str()), (7, error));
    let starts = [
        format!("    error made at {}:", place(fired)),
        format!("    Deferred made at {}:", place(made)),
        format!("    last callback added at {}:", place(added)),
        "    passed through:".to_owned(),
        format!("        {}:", place(fired)),
        format!("        {}:", place(added)),
    ];
    assert!(report[1..].iter().zip(&starts).all(|(line, start)| line.starts_with(start)), "{report:#?}");
}

#[test]
fn a_hook_of_this_thread_nests_and_is_restored() {
    let (outside, inside) = (Log::new(), Log::new());
    let fail = || drop(Deferred::<u32>::fail(App(1)));
    let _outer = unhandled_into(&outside);
    {
        let _inner = unhandled_into(&inside);
        fail();
        let _quiet = ignore_unhandled();
        fail();
    }
    assert_eq!((outside.take().len(), inside.take().len()), (0, 1));
    fail();
    assert_eq!((outside.take().len(), inside.take().len()), (1, 0));
}

#[test]
fn a_hook_may_use_deferreds_and_set_hooks_itself() {
    let log = Log::new();
    let sink = log.clone();
    let _hook = on_unhandled(move |_| {
        let _quiet = ignore_unhandled();
        drop(Deferred::<u32>::fail(App(2)));
        let (deferred, resolver) = Deferred::<u32>::new();
        let deferred = sink.watch("inside the hook", deferred);
        resolver.callback(1);
        drop(deferred);
    });
    drop(Deferred::<u32>::fail(App(1)));
    assert_eq!(log.take(), ["inside the hook 1"]);
}

#[test]
fn the_hook_is_called_for_builtin_errors_too() {
    let log = Log::new();
    let sink = log.clone();
    let _hook = on_unhandled(move |unhandled| {
        sink.add(match unhandled.builtin() {
            Some(BuiltinError::Cancelled(_)) => "cancelled",
            Some(BuiltinError::Abandoned(_)) => "abandoned",
            Some(BuiltinError::Panicked(_)) => "panicked",
            _ => "another",
        });
    });
    let (deferred, resolver) = Deferred::<u32>::new();
    deferred.cancel();
    drop(deferred);
    drop(resolver);
    assert_eq!(log.take(), ["cancelled"]);
    let (deferred, resolver) = Deferred::<u32>::new();
    drop(resolver);
    drop(deferred);
    assert_eq!(log.take(), ["abandoned"]);
    drop(Deferred::succeed(1).map(|_| panic!("here")));
    assert_eq!(log.take(), ["panicked"]);
}

#[test]
fn typed_errors_are_reported_with_their_type() {
    #[derive(Debug, PartialEq)]
    struct Typed(Option<u32>);
    impl From<BuiltinError> for Typed {
        fn from(_: BuiltinError) -> Self {
            Typed(None)
        }
    }
    impl DeferredError for Typed {}

    let log = Log::new();
    let sink = log.clone();
    let _hook = on_unhandled(move |unhandled| {
        assert_eq!(unhandled.downcast_ref::<Typed>(), Some(&Typed(Some(6))));
        sink.add(format!("{:?}", unhandled.error()));
    });
    let (deferred, resolver) = Deferred::<u32, Typed>::typed();
    resolver.errback(Typed(Some(6)));
    drop(deferred);
    assert_eq!(log.take(), ["Typed(Some(6))"]);
    drop(Deferred::<u32, Typed>::from(Err(Typed(Some(6)))));
    assert_eq!(log.take(), ["Typed(Some(6))"]);
}

#[test]
fn errors_of_stages_dropped_inside_a_callback_are_reported() {
    let log = Log::new();
    let _hook = unhandled_into(&log);
    let (deferred, resolver) = Deferred::<u32>::new();
    drop(deferred.map(|_| drop(Deferred::<u32>::fail(App(1)))));
    resolver.callback(1);
    assert_eq!(log.take(), ["unhandled App(1)"]);
}

/// Runs the test `name` of this file in another process, in which `DEFERRED_TEST_CHILD` is set, and
/// returns its standard error.
fn standard_error_of(name: &str) -> String {
    let output = Command::new(env::current_exe().expect("tests have a path"))
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env("DEFERRED_TEST_CHILD", "1")
        .output()
        .expect("it runs again");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).expect("text")
}

fn is_child() -> bool {
    env::var_os("DEFERRED_TEST_CHILD").is_some()
}

#[test]
fn by_default_errors_are_printed_on_standard_error() {
    if is_child() {
        drop(Deferred::<u32>::fail(App(1234)).map(|value| value));
        return;
    }
    let output = standard_error_of("by_default_errors_are_printed_on_standard_error");
    assert!(output.contains("application error 1234"), "{output}");
    assert!(output.contains(file!()), "{output}");
}

#[test]
fn a_panic_of_the_hook_is_printed_on_standard_error_with_the_error() {
    if is_child() {
        let _hook = on_unhandled(|_| panic!("in the hook"));
        drop(Deferred::<u32>::fail(App(1234)));
        return;
    }
    let output = standard_error_of("a_panic_of_the_hook_is_printed_on_standard_error_with_the_error");
    assert!(
        output.contains(
            "deferred: the hook for a report (unhandled_error), or the printing of that, panicked: in the hook"
        )
    );
    assert!(output.contains("unhandled error: application error 1234"), "{output}");
}

#[test]
fn by_default_cancelled_is_not_printed() {
    if is_child() {
        let (deferred, _resolver) = Deferred::<u32>::new();
        deferred.cancel();
        drop(deferred);
        drop(Deferred::<u32>::fail(Cancelled::new()));
        return;
    }
    let output = standard_error_of("by_default_cancelled_is_not_printed");
    assert!(output.trim().is_empty(), "{output}");
}

#[test]
fn by_default_abandoned_deferreds_are_one_line_and_other_errors_are_printed_in_full() {
    if is_child() {
        let reactor = Reactor::new();
        let resolvers: Vec<_> = (0..3).map(|_| reactor.remote::<u32>().1).collect();
        let (deferred, resolver) = reactor.remote::<u32>();
        drop(deferred.map_err(|_| Failure::from(App(1234))));
        drop(reactor);
        drop((resolvers, resolver));
        return;
    }
    let name = "by_default_abandoned_deferreds_are_one_line_and_other_errors_are_printed_in_full";
    let output = standard_error_of(name);
    assert!(output.contains("application error 1234"), "{output}");
    let lines: Vec<&str> = output.lines().filter(|line| line.to_lowercase().contains("abandoned")).collect();
    assert!(matches!(lines.as_slice(), [line] if line.contains("while 3 Deferreds waited for it")), "{output}");
}

#[test]
fn hooks_are_called_for_each_deferred_that_the_end_of_a_reactor_abandons() {
    let log = Log::new();
    let _hook = unhandled_into(&log);
    let reactor = Reactor::new();
    let resolvers: Vec<_> = (0..2).map(|_| reactor.remote::<u32>().1).collect();
    drop(reactor);
    assert_eq!(log.take(), ["unhandled Abandoned"; 2]);
    assert!(resolvers.iter().all(|resolver| resolver.is_cancelled()));
}

#[test]
fn the_global_hook_is_called_if_the_thread_has_none() {
    if is_child() {
        report::set_hook(|report| {
            eprintln!("process hook: {:?}", report.unhandled().and_then(|unhandled| unhandled.downcast_ref::<App>()));
        });
        drop(Deferred::<u32>::fail(App(1)));
        std::thread::spawn(|| drop(Deferred::<u32>::fail(App(2)))).join().unwrap();
        let log = Log::new();
        let here = unhandled_into(&log);
        drop(Deferred::<u32>::fail(App(3)));
        assert_eq!(log.take(), ["unhandled App(3)"]);
        drop(here);
        drop(Deferred::<u32>::fail(App(4)));
        let hook = report::take_hook().expect("it was set");
        drop(Deferred::<u32>::fail(Cancelled::new())); // not reported by default
        report::set_hook(move |report| hook(report));
        drop(Deferred::<u32>::fail(App(5)));
        return;
    }
    let output = standard_error_of("the_global_hook_is_called_if_the_thread_has_none");
    let lines: Vec<&str> = output.lines().collect();
    let expected = [1, 2, 4, 5].map(|number| format!("process hook: Some(App({number}))"));
    assert_eq!(lines, expected);
}
