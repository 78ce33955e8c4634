//! The results of each combinator, for members that fire before, at once and later, with values,
//! errors, cancels and panics.

use deferred_core::{
    Cancelled, Deferred, Failure, FirstSuccess, deferred_list, first_completion, first_success, gather, race,
};

use crate::support::{
    App, Log, Probe, describe, describe_failure, ignore_unhandled, peek_text, take_text, unhandled_into,
};

/// The time at which the members fire.
#[derive(Clone, Copy, Debug)]
enum When {
    /// The members are ready, without an allocated block.
    Before,
    /// The members are ready, with an allocated block.
    BeforeWithABlock,
    /// The members fire in order after they are joined.
    Later,
    /// The members fire in reverse order after they are joined.
    LaterReversed,
}

const ALWAYS: [When; 4] = [When::Before, When::BeforeWithABlock, When::Later, When::LaterReversed];

/// The result of a member: its value, or the name of an error.
type MemberResult = Result<u32, &'static str>;

/// Joins members with these results, and takes the result of the combinator.
fn outcome<T: std::fmt::Debug + 'static>(
    when: When,
    brings: &[MemberResult],
    join: impl FnOnce(Vec<Deferred<u32>>) -> Deferred<T>,
) -> String {
    let (mut deferreds, mut resolvers): (Vec<_>, Vec<_>) = brings.iter().map(|_| Deferred::<u32>::new()).unzip();
    let fire = |brings: MemberResult, resolver: deferred_core::Resolver<u32>| match brings {
        Ok(value) => resolver.callback(value),
        Err("cancelled") => resolver.errback(Cancelled::new()),
        Err("panicked") => Deferred::succeed(()).map(|()| panic!("a member")).chain_deferred(resolver),
        Err(_) => resolver.errback(App(7)),
    };
    let mut order: Vec<_> = brings.iter().copied().zip(resolvers.drain(..)).collect();
    if let When::LaterReversed = when {
        order.reverse();
    }
    let joined = match when {
        When::Before => {
            deferreds = Vec::new();
            for (brings, resolver) in order.drain(..) {
                let (ready, ready_resolver) = Deferred::new();
                fire(brings, ready_resolver);
                deferreds.push(Deferred::from(ready.try_take().unwrap()));
                resolver.callback(0);
            }
            join(deferreds)
        }
        When::BeforeWithABlock => {
            order.drain(..).for_each(|(brings, resolver)| fire(brings, resolver));
            join(deferreds)
        }
        When::Later | When::LaterReversed => {
            let joined = join(deferreds);
            order.into_iter().for_each(|(brings, resolver)| fire(brings, resolver));
            joined
        }
    };
    take_text(joined)
}

fn same_whenever<T: std::fmt::Debug + 'static>(
    brings: &[MemberResult],
    join: impl Fn(Vec<Deferred<u32>>) -> Deferred<T>,
    expected: &str,
) {
    let log = Log::new();
    let _hook = unhandled_into(&log);
    for when in ALWAYS {
        assert_eq!(outcome(when, brings, &join), expected, "{when:?}");
    }
    assert_eq!(log.take(), [""; 0], "the errors of members count as handled");
}

fn gathered(members: Vec<Deferred<u32>>) -> Deferred<Vec<u32>> {
    gather(members).map_err(|first| Failure::msg(format!("{:?} {}", first.index, describe_failure(&first.error))))
}

fn listed(members: Vec<Deferred<u32>>) -> Deferred<Vec<String>> {
    deferred_list(members).map(|results| results.iter().map(|result| describe(result.as_ref())).collect())
}

fn raced(members: Vec<Deferred<u32>>) -> Deferred<(usize, u32)> {
    race(members)
        .map_err(|group| Failure::msg(format!("{:?}", group.errors().iter().map(describe_failure).collect::<Vec<_>>())))
}

#[test]
fn gather_returns_all_values_in_order() {
    same_whenever(&[Ok(1), Ok(2), Ok(3)], gathered, "[1, 2, 3]");
    same_whenever(&[], gathered, "[]");
}

#[test]
fn gather_returns_the_error_with_its_index() {
    same_whenever(&[Ok(1), Err("app"), Ok(3)], gathered, "another error: Some(1) App(7)");
    same_whenever(&[Ok(1), Err("cancelled"), Ok(3)], gathered, "another error: Some(1) Cancelled");
    same_whenever(&[Ok(1), Ok(2), Err("panicked")], gathered, "another error: Some(2) Panicked(a member)");
}

#[test]
fn gather_returns_the_first_error() {
    let both = [Err("app"), Err("cancelled")];
    assert_eq!(outcome(When::Later, &both, gathered), "another error: Some(0) App(7)");
    assert_eq!(outcome(When::LaterReversed, &both, gathered), "another error: Some(1) Cancelled");
    assert_eq!(outcome(When::Before, &both, gathered), "another error: Some(0) App(7)");
}

#[test]
fn deferred_list_returns_every_result_in_order() {
    let all = [Ok(1), Err("app"), Err("cancelled"), Err("panicked")];
    same_whenever(&all, listed, r#"["1", "App(7)", "Cancelled", "Panicked(a member)"]"#);
    same_whenever(&[], listed, "[]");
}

#[test]
fn race_returns_the_first_success_or_all_errors() {
    same_whenever(&[Err("app"), Ok(2), Err("app")], raced, "(1, 2)");
    same_whenever(&[Err("app"), Err("cancelled")], raced, r#"another error: ["App(7)", "Cancelled"]"#);
    same_whenever(&[], raced, "another error: []");
    assert_eq!(outcome(When::Later, &[Ok(1), Ok(2)], raced), "(0, 1)");
    assert_eq!(outcome(When::LaterReversed, &[Ok(1), Ok(2)], raced), "(1, 2)");
    assert_eq!(outcome(When::Before, &[Ok(1), Ok(2)], raced), "(0, 1)");
}

#[test]
fn first_success_lets_the_others_run() {
    let first = |members| {
        first_success(members).map(|first| match first {
            FirstSuccess::Success { index, value } => format!("{index} {value}"),
            FirstSuccess::AllFailed(errors) => format!("{:?}", errors.iter().map(describe_failure).collect::<Vec<_>>()),
        })
    };
    same_whenever(&[Err("app"), Ok(2)], first, "\"1 2\"");
    same_whenever(&[Err("app"), Err("cancelled")], first, r#""[\"App(7)\", \"Cancelled\"]""#);
    same_whenever(&[], first, "\"[]\"");
}

#[test]
fn first_completion_returns_the_first_value_or_error() {
    let first = |members| {
        first_completion(members)
            .map_err(|first| Failure::msg(format!("{:?} {}", first.index, describe_failure(&first.error))))
    };
    assert_eq!(outcome(When::Later, &[Err("app"), Ok(2)], first), "another error: Some(0) App(7)");
    assert_eq!(outcome(When::LaterReversed, &[Err("app"), Ok(2)], first), "(1, 2)");
    assert_eq!(outcome(When::Before, &[Err("app"), Ok(2)], first), "another error: Some(0) App(7)");
    assert_eq!(outcome(When::Later, &[], first), "another error: None Abandoned");
}

#[test]
fn a_member_that_is_paused_or_waits_is_waited_for() {
    let _quiet = ignore_unhandled();
    let (inner, resolver) = Deferred::<u32>::new();
    let (mut paused, paused_resolver) = Deferred::<u32>::new();
    let pause = paused.pause();
    let mut all = gather([Deferred::succeed(1).add_callback(move |_| inner), paused]).map_err(Failure::from);
    paused_resolver.callback(2);
    resolver.callback(1);
    assert_eq!(peek_text(&mut all), "pending");
    pause.unpause();
    assert_eq!(peek_text(&mut all), "[1, 2]");
}

#[test]
fn results_after_the_first_error_are_dropped_and_count_as_handled() {
    let log = Log::new();
    let _hook = unhandled_into(&log);
    let (first, resolve_first) = Deferred::<Probe>::new();
    let (second, resolve_second) = Deferred::new();
    let (third, resolve_third) = Deferred::new();
    let all = gather([first, second, third]).map_err(|first| first.error);
    resolve_first.callback(log.probe("the first value"));
    resolve_second.errback(App(1));
    assert_eq!(log.take(), ["the first value"]);
    resolve_third.errback(App(2));
    assert!(log.take().is_empty());
    drop(all);
    assert_eq!(log.take(), ["unhandled App(1)"]);
}

#[test]
fn a_gather_whose_deferred_was_dropped_consumes_the_results() {
    let log = Log::new();
    let _hook = unhandled_into(&log);
    let (first, resolver) = Deferred::<u32>::new();
    drop(gather([first, Deferred::succeed(1)]));
    resolver.callback(1);
    assert!(log.take().is_empty());
}
