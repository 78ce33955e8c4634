//! After a panic of user code, wherever it ran, the thread works as before: dropped resolvers fire,
//! hooks are called, and callbacks run in order. If no callback can receive a panic, the process
//! ends with a message.

use std::env;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::support::{App, Log, PanicOnDrop, ignore_unhandled, take_text};
use deferred_core::{
    BuiltinError, Cancelled, Deferred, DeferredError, DeferredLock, Failure, Panicked, first_completion, gather,
    gather_cancelling, inline_callbacks, maybe_deferred, on_unhandled, race, report,
};

/// Checks that no engine call is still counted as running: dropped resolvers fire at once outside
/// of callbacks, and right after the callback inside one.
#[track_caller]
fn works(after: &str) {
    let log = Log::new();
    let (watched, resolver) = Deferred::<u32>::new();
    let watched = log.watch("dropped", watched);
    drop(resolver);
    assert_eq!(log.take(), ["dropped Abandoned"], "{after}: resolvers dropped outside of callbacks fire at once");
    drop(watched.add_errback(|_| Ok(0)));

    let lock = DeferredLock::new();
    let permit = lock.try_acquire().unwrap();
    let next = log.watch("next", lock.acquire().map(drop));
    let (deferred, resolver) = Deferred::<()>::new();
    let events = log.clone();
    let deferred = deferred.map(move |()| {
        drop(permit);
        events.add("callback ends");
    });
    let deferred = log.watch("after", deferred);
    resolver.callback(());
    assert_eq!(log.take(), ["callback ends", "next ()", "after ()"], "{after}");
    drop((next, deferred));

    assert_eq!(take_text(inline_callbacks(async { Deferred::succeed(1).await })), "1", "{after}");
}

/// An error that panics when it is dropped.
#[derive(Debug)]
enum Hostile {
    Armed,
    Builtin(BuiltinError),
}

impl Drop for Hostile {
    fn drop(&mut self) {
        if matches!(self, Hostile::Armed) {
            panic!("a hostile error");
        }
    }
}

impl From<BuiltinError> for Hostile {
    fn from(why: BuiltinError) -> Self {
        Hostile::Builtin(why)
    }
}

impl DeferredError for Hostile {
    fn builtin(&self) -> Option<&BuiltinError> {
        match self {
            Hostile::Armed => None,
            Hostile::Builtin(why) => Some(why),
        }
    }
}

/// The time at which a member has its result: before it is joined, before but with an allocated
/// block, or later.
#[derive(Clone, Copy, Debug)]
enum When {
    Ready,
    InABlock,
    Later,
}

const WHEN: [When; 3] = [When::Ready, When::InABlock, When::Later];

/// Returns members with these results, and the closures that fire the late ones.
fn members<T: 'static, E: DeferredError>(
    when: When,
    results: Vec<Result<T, E>>,
) -> (Vec<Deferred<T, E>>, impl FnOnce()) {
    let mut later: Vec<Box<dyn FnOnce()>> = Vec::new();
    let members = results
        .into_iter()
        .map(|result| match when {
            When::Ready => Deferred::from(result),
            When::InABlock => {
                let (deferred, resolver) = Deferred::typed();
                resolver.fire(result);
                deferred
            }
            When::Later => {
                let (deferred, resolver) = Deferred::typed();
                later.push(Box::new(move || resolver.fire(result)));
                deferred
            }
        })
        .collect();
    (members, move || later.into_iter().for_each(|fires| fires()))
}

fn panicked(error: &impl DeferredError) -> &str {
    match error.builtin() {
        Some(BuiltinError::Panicked(panicked)) => panicked.message(),
        other => panic!("a panic was expected, and not {other:?}"),
    }
}

#[test]
fn values_whose_destructor_panics_in_a_gather_become_its_error() {
    for when in WHEN {
        for cancels in [false, true] {
            let results: Vec<Result<_, BuiltinError>> =
                vec![Ok(Some(PanicOnDrop("a value"))), Ok(None), Err(Cancelled::new().into())];
            let (members, fires) = members(when, results);
            let gathered = if cancels { gather_cancelling(members) } else { gather(members) };
            fires();
            let error = gathered.try_take().unwrap().unwrap_err();
            assert_eq!(panicked(&error), "a value", "{when:?}");
            works("a gather");
        }
    }
}

#[test]
fn errors_whose_destructor_panics_in_a_race_become_its_error() {
    for when in WHEN {
        let (members, fires) = members(when, vec![Err(Hostile::Armed), Ok(1)]);
        let raced = race(members);
        fires();
        let error = raced.try_take().unwrap().unwrap_err();
        assert_eq!(panicked(&error), "a hostile error", "{when:?}");
        works("a race");
    }
}

#[test]
fn a_late_result_that_panics_is_reported() {
    for when in WHEN {
        let log = Log::new();
        let events = log.clone();
        let _hook = on_unhandled(move |unhandled| match unhandled.builtin() {
            Some(BuiltinError::Panicked(panicked)) => events.add(panicked.message()),
            other => events.add(format!("{other:?}")),
        });
        let results: Vec<Result<_, Failure>> = vec![Ok(None), Ok(Some(PanicOnDrop("a late value")))];
        let (members, fires) = members(when, results);
        let first = first_completion(members);
        fires();
        let (index, value) = first.try_take().unwrap().unwrap();
        assert_eq!((index, value.is_none()), (0, true), "{when:?}");
        assert_eq!(log.take(), ["a late value"], "{when:?}");
        works("a late result");
    }
}

#[test]
fn a_cancelled_race_whose_stored_error_panics_when_it_is_dropped_fires() {
    // A member that ignores cancels.
    let (waits, _resolver) = Deferred::<u32, Hostile>::with_forwarding_canceller(|_| ());
    let raced = race([Deferred::from(Err(Hostile::Armed)), waits]);
    raced.cancel();
    let error = raced.try_take().unwrap().unwrap_err();
    assert_eq!(panicked(&error), "a hostile error");
    works("a cancelled race");
}

/// Panics with a payload that panics when it is dropped.
fn throw() {
    panic_any(PanicOnDrop("the payload"))
}

#[test]
fn a_hook_whose_payload_panics_on_drop_leaves_the_hooks_unchanged() {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    report::set_hook(|report| {
        if report.unhandled().is_some_and(|unhandled| unhandled.downcast_ref::<App>().is_some()) {
            CALLS.fetch_add(1, Ordering::SeqCst);
        }
    });
    let fail = || drop(Deferred::<()>::fail(App(1)));
    {
        let _hook = on_unhandled(|_| throw());
        let reported = catch_unwind(AssertUnwindSafe(fail));
        assert!(reported.is_ok(), "a panic of a hook ends there");
    }
    fail();
    assert_eq!(CALLS.load(Ordering::SeqCst), 1, "the hook of the process is called again");
    report::take_hook();
    works("a hook");
}

#[test]
fn callbacks_whose_payload_panics_on_drop_fail_like_others() {
    let _quiet = ignore_unhandled();
    for stage in 0..4 {
        let deferred = match stage {
            0 => Deferred::succeed(()).map(|()| throw()),
            1 => maybe_deferred(throw),
            2 => inline_callbacks(async {
                throw();
                Ok(())
            }),
            _ => {
                let (deferred, resolver) = Deferred::new();
                let deferred = deferred.map(|()| throw());
                resolver.callback(());
                deferred
            }
        };
        let failure = deferred.try_take().unwrap().unwrap_err();
        let payload = failure.downcast_ref::<Panicked>().unwrap().take_payload().unwrap();
        mem::forget(payload);
        works("a payload");
    }
}

#[test]
fn a_panic_that_a_coroutine_catches_around_a_nested_one_leaves_no_level() {
    let outer = inline_callbacks(async {
        let caught = catch_unwind(AssertUnwindSafe(|| {
            let _inner = Deferred::succeed(PanicOnDrop("a value that is never taken"));
        }));
        assert!(caught.is_err());
        Ok(1)
    });
    assert_eq!(take_text(outer), "1");
    works("a coroutine that catches");
}

/// The environment variable that is set in the process that should end.
const ENDS: &str = "DEFERRED_TEST_ENDS";

/// An error type whose conversion from a builtin error panics.
#[derive(Debug)]
struct NotFromUs;

impl From<BuiltinError> for NotFromUs {
    fn from(_: BuiltinError) -> Self {
        panic!("no conversion")
    }
}

impl DeferredError for NotFromUs {}

/// The programs that end the process.
const PROGRAMS: [(&str, fn()); 6] = [
    ("a resolver that is dropped", || drop(Deferred::<u32, NotFromUs>::typed())),
    ("a callback", || drop(Deferred::<u32, NotFromUs>::from(Ok(1)).map(|_| panic!("a callback")))),
    ("a coroutine", || drop(Deferred::<u32, NotFromUs>::from_coroutine(async { panic!("a body") }))),
    ("a coroutine without a reactor", || drop(Deferred::<u32, NotFromUs>::from_coroutine(std::future::pending()))),
    ("the end of a chain", || {
        let (deferred, resolver) = Deferred::new();
        drop(deferred);
        resolver.callback(PanicOnDrop("it is never taken"));
    }),
    ("a coroutine with a payload", || {
        drop(Deferred::<u32, NotFromUs>::from_coroutine(async { panic_any(PanicOnDrop("the payload")) }))
    }),
];

#[test]
fn a_panic_that_no_callback_can_receive_ends_the_process_with_a_message() {
    if let Ok(program) = env::var(ENDS) {
        PROGRAMS[program.parse::<usize>().unwrap()].1();
        return;
    }
    for (index, (name, _)) in PROGRAMS.iter().enumerate() {
        let output = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "levels::a_panic_that_no_callback_can_receive_ends_the_process_with_a_message",
                "--nocapture",
            ])
            .env(ENDS, index.to_string())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{name} went on:\n{said}");
        assert!(
            said.contains("deferred: aborting: a destructor, a conversion from BuiltinError or a waker of other code"),
            "{name} said:\n{said}"
        );
    }
}
