//! `scope`: children that do not outlive its body.

use deferred_core::{BuiltinError, Cancelled, Deferred, Failure, Scope, inline_callbacks, scope, typed_scope};

use crate::support::{App, Log, cancellable, peek_text, take_text, unhandled_into};

#[test]
fn running_children_are_cancelled_in_order_when_the_body_finishes() {
    let log = Log::new();
    let _hook = unhandled_into(&log);
    let (body, resolver) = Deferred::<u32>::new();
    let done = scope(|scope| {
        scope.add(cancellable(&log, "a", None));
        scope.add(Deferred::succeed("done at once"));
        scope.add(cancellable(&log, "b", None));
        assert_eq!(scope.children(), 2);
        body
    });
    let done = log.watch("scope", done);
    resolver.callback(1);
    assert_eq!(log.take(), ["cancels a", "cancels b", "scope 1"]);
    drop(done);
    assert!(log.take().is_empty());
}

#[test]
fn a_body_that_is_ready_ends_the_scope_at_once() {
    let log = Log::new();
    let done = scope(|scope| {
        scope.add(cancellable(&log, "a", None));
        Ok(1)
    });
    assert_eq!((log.take(), take_text(done).as_str()), (vec!["cancels a".to_owned()], "1"));
}

#[test]
fn a_cancelled_child_that_takes_time_is_waited_for() {
    let (stubborn, resolver) = Deferred::<u32>::with_forwarding_canceller(|_| ());
    let mut done = scope(|scope| {
        scope.add(stubborn);
        Ok(1)
    });
    assert_eq!(peek_text(&mut done), "pending");
    resolver.callback(5);
    assert_eq!(take_text(done), "1");
}

#[test]
fn the_first_error_of_a_child_cancels_all_and_is_the_error_of_the_scope() {
    let log = Log::new();
    let _hook = unhandled_into(&log);
    let (fails, resolver) = Deferred::<u32>::new();
    let body = cancellable(&log, "body", None);
    let done = scope(|scope| {
        scope.add(cancellable(&log, "a", None));
        scope.add(fails);
        body
    });
    let done = log.watch("scope", done);
    resolver.errback(App(1));
    assert_eq!(log.take(), ["cancels body", "cancels a", "scope App(1)"]);
    drop(done);
    assert_eq!(log.take(), ["unhandled App(1)"]);
}

#[test]
fn a_child_that_fails_before_the_body_waits_cancels_the_body_at_its_next_await() {
    let log = Log::new();
    let body = cancellable(&log, "body", None);
    let done = scope(|scope| {
        scope.add(Deferred::<u32>::fail(App(1)));
        scope.add(cancellable(&log, "late", None));
        body
    });
    assert_eq!(log.take(), ["cancels late", "cancels body"]);
    assert_eq!(take_text(done), "App(1)");
}

#[test]
fn a_child_that_fails_cancels_the_others_even_if_the_body_continues() {
    let log = Log::new();
    let (fails, resolver) = Deferred::<u32>::new();
    let (stubborn, body) = Deferred::<u32>::with_forwarding_canceller(|_| ());
    let mut done = scope(|scope| {
        scope.add(fails);
        scope.add(cancellable(&log, "other", None));
        stubborn
    });
    resolver.errback(App(1));
    assert_eq!((log.take(), peek_text(&mut done).as_str()), (vec!["cancels other".to_owned()], "pending"));
    body.callback(1);
    assert_eq!(take_text(done), "App(1)");
}

#[test]
fn a_cancelled_child_does_not_end_the_scope() {
    let (gives_up, resolver) = Deferred::<u32>::new();
    let (body, body_resolver) = Deferred::<u32>::new();
    let mut done = scope(|scope| {
        scope.add(gives_up);
        body
    });
    resolver.errback(Cancelled::new());
    assert_eq!(peek_text(&mut done), "pending");
    body_resolver.callback(1);
    assert_eq!(take_text(done), "1");
}

#[test]
fn a_cancel_goes_to_the_body_then_to_the_children() {
    let count = std::rc::Rc::new(std::cell::Cell::new(0));
    let heard = count.clone();
    let (stubborn, resolver) = Deferred::<u32>::with_forwarding_canceller(move |_| heard.set(heard.get() + 1));
    let log = Log::new();
    let body = cancellable(&log, "body", None);
    let mut done = scope(|scope| {
        scope.add(stubborn);
        body
    });
    done.cancel();
    assert_eq!((log.take(), count.get()), (vec!["cancels body".to_owned()], 1));
    done.cancel();
    assert_eq!((count.get(), peek_text(&mut done).as_str()), (2, "pending"));
    resolver.callback(1);
    assert_eq!(take_text(done), "Cancelled");
}

#[test]
fn a_child_added_after_the_end_is_cancelled_at_once() {
    let log = Log::new();
    let mut kept = None::<Scope>;
    let done = scope(|scope| {
        kept = Some(scope.clone());
        Ok(1)
    });
    assert_eq!(take_text(done), "1");
    kept.expect("kept").add(cancellable(&log, "late", None));
    assert_eq!(log.take(), ["cancels late"]);
}

#[test]
fn a_panic_of_the_body_cancels_the_children() {
    let log = Log::new();
    let done = scope(|scope| -> Result<(), Failure> {
        scope.add(cancellable(&log, "a", None));
        panic!("in the body")
    });
    assert_eq!((log.take(), take_text(done).as_str()), (vec!["cancels a".to_owned()], "Panicked(in the body)"));
}

#[test]
fn coroutines_as_children_clean_up_before_the_scope_ends() {
    let log = Log::new();
    let lines = log.clone();
    let (never, _kept) = Deferred::<()>::new();
    let (body, resolver) = Deferred::<u32>::new();
    let done = scope(|scope| {
        scope.spawn(async move {
            let result = never.await;
            lines.add("cleans up");
            result
        });
        inline_callbacks(async move { body.await })
    });
    let _done = log.watch("scope", done);
    resolver.callback(1);
    assert_eq!(log.take(), ["cleans up", "scope 1"]);
}

#[test]
fn errors_may_be_a_user_type() {
    let done = typed_scope(|scope: &Scope<BuiltinError>| {
        scope.add(Deferred::<u32, BuiltinError>::succeed_typed());
        Ok::<_, BuiltinError>(1)
    });
    assert!(matches!(done.try_take(), Ok(Ok(1))));
}

trait SucceedTyped {
    fn succeed_typed() -> Self;
}

impl SucceedTyped for Deferred<u32, BuiltinError> {
    fn succeed_typed() -> Self {
        Deferred::from(Ok(1))
    }
}

#[test]
fn errors_after_the_first_are_reported() {
    let log = Log::new();
    let _hook = unhandled_into(&log);
    let (first, fails_first) = Deferred::<u32>::new();
    let (second, fails_second) = Deferred::<u32>::with_forwarding_canceller(|_| ());
    let (body, fails_last) = Deferred::<u32>::with_forwarding_canceller(|_| ());
    let done = scope(|scope| {
        scope.add(first);
        scope.add(second);
        scope.add(cancellable(&log, "ends", None));
        body
    });
    fails_first.errback(App(1));
    fails_second.errback(App(2));
    fails_last.errback(App(3));
    assert_eq!(log.take(), ["cancels ends", "unhandled App(2)", "unhandled App(3)"]);
    assert_eq!(take_text(done), "App(1)");
}
