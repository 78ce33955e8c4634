//! Reports: which hook receives them, what is printed without a hook, and the limit of floods.

use std::cell::RefCell;
use std::fmt;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;
use std::{env, thread};

use deferred_core::inspect::{self, PendingReport};
use deferred_core::report::{self, Level, Reportable, on_report};
use deferred_core::testing::{Reports, failure_result_of};
use deferred_core::{
    Abandoned, Cancelled, Clock, Deferred, Failure, HookGuard, Phase, Reactor, ShutdownTimedOut, SystemEvent,
    on_unhandled,
};

/// A report of another library.
#[derive(Debug)]
struct Reconnected(u32);

impl fmt::Display for Reconnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connected again after {} attempts", self.0)
    }
}

impl Reportable for Reconnected {
    fn kind(&self) -> &'static str {
        "reconnected"
    }

    fn level(&self) -> Level {
        Level::Warning
    }
}

#[derive(Clone, Default)]
struct Log(Rc<RefCell<Vec<String>>>);

impl Log {
    fn add(&self, text: impl fmt::Display) {
        self.0.borrow_mut().push(text.to_string());
    }

    /// Logs the kinds of all reports of this thread.
    fn kinds(&self, name: &'static str) -> HookGuard {
        let log = self.clone();
        on_report(move |report| log.add(format_args!("{name} {}", report.kind())))
    }

    fn take(&self) -> Vec<String> {
        self.0.take()
    }
}

fn fail() {
    drop(Deferred::<()>::fail(Failure::msg("nothing handles this")));
}

#[test]
fn one_hook_receives_the_reports_of_every_kind_as_values() {
    let (log, _on) = (Log::default(), inspect::enable());
    let sees = log.clone();
    let _hook = on_report(move |report| {
        let value = if let Some(unhandled) = report.unhandled() {
            unhandled.error_made_at().unwrap().line().to_string()
        } else if let Some(timed_out) = report.downcast_ref::<ShutdownTimedOut>() {
            format!("{}", timed_out.pending()[0].line())
        } else if let Some(list) = report.downcast_ref::<PendingReport>() {
            format!("{}: {}", list.cause, list.pending.items().len())
        } else {
            format!("{:?}", report.downcast_ref::<Reconnected>())
        };
        sees.add(format_args!("{:?} {} {value}", report.level(), report.kind()));
    });
    let line = line!();
    drop(Deferred::<()>::fail(Failure::msg("nothing handles this")));
    report::send(&Reconnected(3));
    let clock = Clock::new();
    let (deferred, _resolver) = Deferred::<()>::new();
    clock.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move || {
        deferred.add_errback(|_| Err(Failure::msg("the wait was cancelled")))
    });
    clock.stop();
    clock.advance(Duration::ZERO);
    clock.advance(Duration::from_secs(40));
    assert_eq!(
        log.take(),
        [
            format!("Error unhandled_error {}", line + 1),
            "Warning reconnected Some(Reconnected(3))".to_owned(),
            format!("Error shutdown_timed_out {}", line + 5),
            "Warning pending the shutdown does not wait for this any longer: 2".to_owned(),
            format!("Error unhandled_error {}", line + 6),
        ]
    );
}

#[test]
fn the_hook_that_was_set_last_and_is_for_the_kind_receives_a_report() {
    let log = Log::default();
    let all = log.kinds("all");
    let sees = log.clone();
    let unhandled = on_unhandled(move |_| sees.add("unhandled"));
    fail();
    report::send(&Reconnected(1));
    assert_eq!(log.take(), ["unhandled", "all reconnected"]);
    let later = log.kinds("later");
    fail();
    drop(later);
    drop(unhandled);
    fail();
    assert_eq!(log.take(), ["later unhandled_error", "all unhandled_error"]);
    drop(all);
}

#[test]
fn a_test_collects_reports_and_fails_at_its_end_if_it_does_not_take_them() {
    let reports = Reports::collect();
    fail();
    report::send(&Reconnected(1));
    drop(Deferred::<()>::fail(Cancelled::new()));
    let texts = reports.take();
    assert!(texts.len() == 2 && texts[1] == "connected again after 1 attempts", "{texts:?}");
    report::send(&Reconnected(2));
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(reports)));
    let message = *ended.unwrap_err().downcast::<String>().unwrap();
    assert!(message.starts_with("1 reports since deferred-core/tests/reports.rs:"), "{message}");
    assert!(message.ends_with(" that the test did not expect:\nconnected again after 2 attempts"), "{message}");
}

#[test]
fn an_abandoned_deferred_says_whether_its_resolver_was_dropped_or_its_reactor_was_closed() {
    let cause = |deferred: Deferred<u32>| {
        let abandoned = failure_result_of(deferred).trap::<Abandoned>().unwrap();
        (abandoned.is_reactor_closed(), abandoned.to_string())
    };
    let (dropped, resolver) = Deferred::new();
    drop(resolver);
    let (is_closed, text) = cause(dropped);
    assert!(!is_closed && text.contains("the resolver was dropped without firing"), "{text}");

    let reactor = Reactor::new();
    let (remote, _resolver) = reactor.remote::<u32>();
    let sleeps = reactor.sleep(Duration::from_secs(1)).map(|()| 0);
    let (in_a_timer, resolver) = Deferred::new();
    reactor.call_later(Duration::from_secs(1), move || resolver.callback(1));
    let coroutine = {
        let _entered = reactor.enter();
        deferred_core::inline_callbacks(std::future::pending::<Result<u32, Failure>>())
    };
    drop(reactor);
    for deferred in [remote, sleeps, in_a_timer, coroutine] {
        let (is_closed, text) = cause(deferred);
        assert!(is_closed && text == "abandoned: the reactor was closed before the Deferred was fired", "{text}");
    }
    let (later, resolver) = Deferred::new();
    drop(resolver);
    assert!(!cause(later).0, "the reactor is closed already");
}

/// Runs the test `name` of this file in another process, and returns its standard error.
fn standard_error_of(name: &str) -> String {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env("DEFERRED_TEST_CHILD", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn is_child() -> bool {
    env::var_os("DEFERRED_TEST_CHILD").is_some()
}

#[test]
fn a_flood_is_printed_ten_times_and_counted() {
    if is_child() {
        let reactor = Reactor::new();
        (0..1350).for_each(|_| fail());
        (0..3).for_each(|_| drop(Deferred::<()>::fail(Failure::msg("another line"))));
        (0..20).for_each(|_| report::send(&Reconnected(7)));
        drop(reactor);
        return;
    }
    let output = standard_error_of("a_flood_is_printed_ten_times_and_counted");
    let count = |text: &str| output.lines().filter(|line| line.contains(text)).count();
    assert_eq!(count("deferred: unhandled error: nothing handles this"), 10, "{output}");
    assert_eq!(count("deferred: unhandled error: another line"), 3, "{output}");
    assert_eq!(count("deferred: connected again"), 10, "{output}");
    assert_eq!(
        // Reported early, so that a flood is seen.
        [100, 1000, 240].map(|more| {
            count(&format!("deferred: {more} more reports like one above: unhandled_error at deferred-core/tests/"))
        }),
        [1; 3],
        "{output}"
    );
    assert_eq!(count("deferred: 10 more reports like one above: reconnected"), 1, "{output}");
    assert_eq!(count("more report"), 4, "{output}");
    assert_eq!(count("help: add an errback"), 1, "once for each process");
}

#[test]
fn the_limit_of_floods_can_be_set_and_is_not_for_hooks() {
    if is_child() {
        report::set_max_per_minute(2);
        let log = Log::default();
        let hook = log.kinds("hook");
        (0..20).for_each(|_| fail());
        assert_eq!(log.take().len(), 20);
        drop(hook);
        (0..20).for_each(|_| fail());
        drop(Reactor::new());
        (0..20).for_each(|_| fail());
        drop(Reactor::new());
        return;
    }
    let output = standard_error_of("the_limit_of_floods_can_be_set_and_is_not_for_hooks");
    let count = |text: &str| output.lines().filter(|line| line.contains(text)).count();
    assert_eq!((count("unhandled error:"), count("18 more reports"), count("20 more reports")), (2, 1, 1), "{output}");
}

#[test]
fn the_hook_of_the_process_may_print_and_is_called_on_every_thread() {
    if is_child() {
        report::set_hook(|report| {
            eprint!("hook: ");
            report.print();
        });
        report::send(&Reconnected(1));
        thread::spawn(|| report::send(&Reconnected(2))).join().unwrap();
        drop(Deferred::<()>::fail(Cancelled::new()));
        let log = Log::default();
        let hook = log.kinds("thread");
        report::send(&Reconnected(3));
        assert_eq!(log.take(), ["thread reconnected"]);
        drop(hook);
        assert!(report::take_hook().is_some() && report::take_hook().is_none());
        report::send(&Reconnected(4));
        return;
    }
    let output = standard_error_of("the_hook_of_the_process_may_print_and_is_called_on_every_thread");
    let after = |n: u32| format!("deferred: connected again after {n} attempts\n");
    assert_eq!(output, format!("hook: {}hook: {}hook: {}", after(1), after(2), after(4)));
}

#[test]
fn a_value_whose_location_or_text_makes_reports_does_no_harm() {
    struct Recursive;

    impl fmt::Debug for Recursive {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Recursive")
        }
    }

    impl fmt::Display for Recursive {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            report::send(&Recursive);
            f.write_str("recursive")
        }
    }

    impl Reportable for Recursive {
        fn kind(&self) -> &'static str {
            "recursive"
        }

        fn level(&self) -> Level {
            Level::Warning
        }

        fn location(&self) -> Option<&'static std::panic::Location<'static>> {
            drop(Deferred::<()>::fail(Failure::msg("inside of a location")));
            None
        }

        fn is_limited(&self) -> bool {
            thread::current().name() == Some("limited")
        }
    }

    report::send(&Recursive);
    thread::Builder::new().name("limited".into()).spawn(|| report::send(&Recursive)).unwrap().join().unwrap();
}

#[test]
fn a_value_whose_kind_or_text_panics_is_reported_without_it() {
    #[derive(Debug)]
    struct Hostile;

    impl fmt::Display for Hostile {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("no text")
        }
    }

    impl Reportable for Hostile {
        fn kind(&self) -> &'static str {
            if thread::current().name() == Some("kind") { panic!("no kind") } else { "hostile" }
        }

        fn level(&self) -> Level {
            Level::Error
        }
    }

    thread::Builder::new().name("kind".into()).spawn(|| report::send(&Hostile)).unwrap().join().unwrap();
    let reports = Reports::collect();
    report::send(&Hostile);
    assert_eq!(reports.take(), ["hostile, whose printing has panicked"]);
}

#[test]
fn a_test_does_not_receive_the_counts_of_other_threads() {
    thread::spawn(|| (0..50).for_each(|_| fail())).join().unwrap();
    deferred_core::testing::checked(|_| ());
}

#[test]
fn a_value_whose_kind_makes_reports_is_counted_too() {
    struct Chatty;

    impl fmt::Debug for Chatty {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Chatty")
        }
    }

    impl fmt::Display for Chatty {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("chatty")
        }
    }

    impl Reportable for Chatty {
        fn kind(&self) -> &'static str {
            drop(Deferred::<()>::fail(Failure::msg("inside of a kind")));
            "chatty"
        }

        fn level(&self) -> Level {
            Level::Warning
        }
    }

    // More than the number at which the count is reported.
    (0..150).for_each(|_| report::send(&Chatty));
}
