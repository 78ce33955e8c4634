//! Where an error was made: `?`, `msg` and `from_boxed` note their own location, and a report names
//! the user's locations only.

mod support;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use deferred_core::testing::failure_result_of;
use deferred_core::{
    Clock, Deferred, Failure, FailureGroup, HookGuard, LoopingCall, Reactor, gather, inline_callbacks, maybe_deferred,
    on_unhandled, park,
};
use support::App;

/// The reports of unhandled errors while it exists.
struct Reports {
    texts: Rc<RefCell<Vec<String>>>,
    _hook: HookGuard,
}

impl Reports {
    fn new() -> Reports {
        let texts = Rc::new(RefCell::new(Vec::new()));
        let sink = texts.clone();
        let hook = on_unhandled(move |unhandled| {
            let trail = unhandled.trail().into_iter().flat_map(|trail| trail.iter());
            for at in trail.chain([unhandled.made_at(), unhandled.last_added_at()]) {
                assert_eq!(at.file(), file!(), "line {}: {unhandled}", at.line());
            }
            sink.borrow_mut().push(unhandled.to_string());
        });
        Reports { texts, _hook: hook }
    }

    /// Returns the only report, which names these lines of this file, and no line of the crates.
    #[track_caller]
    fn names(&self, made_at: u32, others: &[u32]) -> String {
        let [report] = &self.texts.take()[..] else { panic!("one report") };
        names(report, made_at, others);
        report.clone()
    }
}

#[track_caller]
fn names(report: &str, made_at: u32, others: &[u32]) {
    assert!(report.contains(&format!("made at {}:{made_at}:", file!())), "line {made_at}: {report}");
    for line in others {
        assert!(report.contains(&format!("{}:{line}:", file!())), "line {line}: {report}");
    }
    is_clean(report);
}

#[track_caller]
fn is_clean(report: &str) {
    assert!(!report.contains("/src/") && !report.contains("library/"), "{report}");
}

fn parse(text: &str) -> Result<u32, Failure> {
    Ok(text.parse()?) // PARSE
}

/// Returns the line of this file that ends with the comment `mark`.
fn line_of(mark: &str) -> u32 {
    let comment = format!("// {mark}");
    let line = include_str!("origins.rs").lines().position(|line| line.ends_with(&comment));
    line.expect("a line has the mark") as u32 + 1
}

#[test]
fn each_conversion_notes_its_own_line() {
    let made_at = |failure: Failure| (failure.made_at().file(), failure.made_at().line());
    let here = |line| (file!(), line);

    assert_eq!(made_at(parse("x").unwrap_err()), here(line_of("PARSE")));
    assert_eq!(made_at(Failure::msg("text")), here(line!()));
    assert_eq!(made_at(Failure::from(App(1))), here(line!()));
    assert_eq!(made_at(Failure::from_boxed(Box::new(App(1)))), here(line!()));
    assert_eq!(made_at(App(1).into()), here(line!()));
    let fails = failure_result_of(Deferred::<()>::fail(App(1)));
    assert_eq!(made_at(fails), here(line!() - 1));
    let (deferred, resolver) = Deferred::<()>::new();
    resolver.errback(App(1));
    assert_eq!(made_at(failure_result_of(deferred)), here(line!() - 1));
}

#[test]
fn a_failure_keeps_the_line_where_it_was_made() {
    let line = line_of("PARSE");
    let again = || -> Result<(), Failure> {
        parse("x")?;
        Ok(())
    };
    assert_eq!(again().unwrap_err().made_at().line(), line);

    // Shared with two observers.
    let (deferred, resolver) = Deferred::<u32>::new();
    let shared = deferred.share();
    resolver.errback(parse("x").unwrap_err());
    for observer in [shared.observe(), shared.observe()] {
        assert_eq!(failure_result_of(observer).made_at().line(), line);
    }

    // A member of a group, in its wrapper.
    let first = failure_result_of(gather([Deferred::from(parse("x"))]));
    assert_eq!(Failure::from(first).made_at().line(), line);
    let trapped = parse("x").unwrap_err().trap::<std::num::ParseIntError>().unwrap();
    assert_eq!(trapped.into_failure().made_at().line(), line);
}

#[test]
fn the_line_is_in_the_debug_form() {
    let text = format!("{:?}", parse("x").unwrap_err());
    let line = line_of("PARSE");
    assert!(text.starts_with(&format!("invalid digit found in string\n    made at {}:{line}:", file!())), "{text}");
    let group: FailureGroup = failure_result_of(deferred_core::race([Deferred::<()>::fail(App(1))]));
    is_clean(&format!("{:?}", Failure::from(group)));
}

#[test]
fn an_error_of_a_callback_names_its_line_and_those_it_passed() {
    let reports = Reports::new();
    for later in [false, true] {
        let (deferred, resolver) = Deferred::<&str>::new();
        let mut resolver = Some(resolver);
        if !later {
            resolver.take().unwrap().callback("x");
        }
        let added = line!() + 1;
        let parsed = deferred.add_callback(parse);
        let mapped = line!() + 1;
        drop(parsed.map(|number| number + 1));
        if let Some(resolver) = resolver {
            resolver.callback("x");
        }
        reports.names(line_of("PARSE"), &[added, mapped]);
    }
}

#[test]
fn an_error_of_a_timer_names_its_line_and_the_timers() {
    let reports = Reports::new();
    let clock = Clock::new();
    let set = line!() + 1;
    clock.call_later(Duration::from_secs(1), || parse("x").map(drop));
    clock.advance(Duration::from_secs(1));
    reports.names(line_of("PARSE"), &[set]);
}

#[test]
fn an_error_of_a_coroutine_names_its_line_and_the_coroutines() {
    let reports = Reports::new();
    let (deferred, resolver) = Deferred::<&str>::new();
    let inner = line!() + 1;
    let parsed = inline_callbacks(async move { parse(deferred.await?) });
    let outer = line!() + 1;
    let waits = inline_callbacks(async move {
        let number: u32 = parsed.await?; // AWAIT
        Ok(number)
    });
    resolver.callback("x");
    drop(waits);
    let report = reports.names(line_of("PARSE"), &[inner, line_of("AWAIT"), outer]);
    assert_eq!(report.matches("origins.rs").count(), 5, "{report}");

    // Without a suspension.
    let at_once = line!() + 1;
    drop(inline_callbacks(async { parse("x") }));
    reports.names(line_of("PARSE"), &[at_once]);
}

#[test]
fn an_error_of_a_looping_call_names_its_line_and_the_start() {
    let reports = Reports::new();
    let clock = Clock::new();
    let ticks = Rc::new(std::cell::Cell::new(0));
    let count = ticks.clone();
    let looping = LoopingCall::new(&clock, move || {
        count.set(count.get() + 1);
        if count.get() % 2 == 0 { parse("x").map(drop) } else { Ok(()) }
    });
    let started = line!() + 1;
    drop(looping.start(Duration::from_secs(1)));
    clock.advance(Duration::from_secs(1));
    reports.names(line_of("PARSE"), &[started]);

    let looping = looping.keep_going();
    let started = line!() + 1;
    let _ended = looping.start(Duration::from_secs(1));
    clock.advance(Duration::from_secs(1));
    assert_eq!(ticks.get(), 4);
    reports.names(line_of("PARSE"), &[started]);
}

#[test]
fn an_error_of_a_posted_call_names_its_line_and_the_post() {
    let reports = Reports::new();
    let mut posted = 0;
    park::run(|reactor| {
        posted = line!() + 1;
        reactor.handle().call_from_thread(|| parse("x").map(drop)).unwrap();
        reactor.call_later(Duration::ZERO, {
            let reactor = reactor.clone();
            move || reactor.stop()
        });
    });
    reports.names(line_of("PARSE"), &[posted]);
}

#[test]
fn the_last_error_of_a_program_names_its_line() {
    let reports = Reports::new();
    let ended = line!() + 1;
    let result = park::run_until(|_| maybe_deferred(|| parse("x")));
    names(&format!("{:?}", result.unwrap_err()), line_of("PARSE"), &[ended]);
    assert!(reports.texts.take().is_empty());
}

#[test]
fn an_error_of_the_library_names_the_lines_of_the_user_only() {
    let reports = Reports::new();
    let clock = Clock::new();
    let (deferred, resolver) = Deferred::<()>::new();
    let timeout = line!() + 1;
    drop(deferred.add_timeout(Duration::from_secs(1), &clock));
    clock.advance(Duration::from_secs(1));
    drop(resolver);
    let report = reports.texts.take().remove(0);
    assert!(report.contains(&format!("{}:{timeout}:", file!())) && !report.contains("error made at"), "{report}");
    is_clean(&report);

    let panics = line!() + 1;
    drop(Deferred::succeed(()).add_callback(|()| -> Result<(), Failure> { panic!("on purpose") }));
    let report = reports.texts.take().remove(0);
    assert!(report.contains(&format!("{}:{panics}:", file!())), "{report}");
    is_clean(&report);

    let (deferred, resolver) = Deferred::<()>::new();
    drop(resolver);
    is_clean(&format!("{:?}", failure_result_of(deferred)));
    drop(Deferred::<(), Failure>::from(Err(io::Error::other("as it is").into())));
    is_clean(&reports.texts.take().remove(0));
    drop(Reactor::new());
}
