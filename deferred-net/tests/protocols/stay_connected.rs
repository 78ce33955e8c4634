//! Clients that stay connected.

use std::cell::RefCell;
use std::rc::Rc;

use deferred_core::testing::{Reports, assert_no_result, failure_result_of, success_result_of};
use deferred_core::{Abandoned, Backoff, Cancelled, Clock, Deferred, Failure, Resolver};
use deferred_net::testing::Pair;
use deferred_net::{ClientService, ConnectionLost, Transport, on_data, stay_connected};

use super::{MS, SECOND};

/// Attempts to connect, which the test answers.
#[derive(Clone, Default)]
struct Attempts(Rc<RefCell<Vec<Resolver<Transport>>>>);

impl Attempts {
    fn start(&self, clock: &Clock, backoff: Backoff) -> ClientService {
        let attempts = self.clone();
        stay_connected(clock, backoff, move || {
            let (deferred, resolver) = Deferred::new();
            attempts.0.borrow_mut().push(resolver);
            deferred
        })
    }

    #[track_caller]
    fn answer(&self, answer: Result<Transport, Failure>) {
        let resolver = self.0.borrow_mut().pop().expect("an attempt");
        match answer {
            Ok(transport) => resolver.callback(transport),
            Err(failure) => resolver.errback(failure),
        }
    }

    fn count(&self) -> usize {
        self.0.borrow().len()
    }
}

fn steady() -> Backoff {
    Backoff::new(SECOND).jitter(0.0)
}

fn connection(clock: &Clock) -> Pair<'_> {
    Pair::connect(clock, on_data(|_, _| ()), on_data(|_, _| ()))
}

#[test]
fn attempts_follow_each_other_with_growing_delays_until_one_succeeds() {
    let (clock, attempts) = (Clock::new(), Attempts::default());
    let service = attempts.start(&clock, steady());
    let mut waits = service.when_connected();
    for delay in [1, 2, 4] {
        attempts.answer(Err(Failure::msg("refused")));
        clock.advance(delay * SECOND - MS);
        assert_eq!(attempts.count(), 0);
        clock.advance(MS);
        assert_eq!(attempts.count(), 1);
    }
    assert_no_result(&mut waits);
    assert_eq!(service.last_failure().unwrap().to_string(), "refused");
    assert!(service.transport().is_none());
    let pair = connection(&clock);
    attempts.answer(Ok(pair.client.clone()));
    assert_eq!(success_result_of(waits), pair.client);
    assert_eq!(success_result_of(service.when_connected()), pair.client);
    assert_eq!(service.transport(), Some(pair.client.clone()));
}

#[test]
fn a_lost_connection_is_replaced_after_the_first_delay() {
    let (clock, attempts) = (Clock::new(), Attempts::default());
    let service = attempts.start(&clock, steady());
    for _ in 0..3 {
        attempts.answer(Err(Failure::msg("refused")));
        clock.advance(2 * SECOND); // a loss counts as an attempt
        let pair = connection(&clock);
        attempts.answer(Ok(pair.client.clone()));
        pair.server.abort_connection();
        pair.flush();
        assert!(service.transport().is_none());
        assert!(service.last_failure().unwrap().check::<ConnectionLost>());
        let mut waits = service.when_connected();
        clock.advance(SECOND - MS);
        assert_eq!(attempts.count(), 0);
        assert_no_result(&mut waits);
        clock.advance(MS);
        assert_eq!(attempts.count(), 1);
    }
}

#[test]
fn stop_fires_when_nothing_is_left() {
    // During an attempt.
    let (clock, attempts) = (Clock::new(), Attempts::default());
    let service = attempts.start(&clock, steady());
    let waits = service.when_connected();
    success_result_of(service.stop());
    assert!(failure_result_of(waits).check::<Cancelled>());
    assert!(failure_result_of(service.when_connected()).check::<Cancelled>());
    success_result_of(service.stop());

    // During a delay.
    let attempts = Attempts::default();
    let service = attempts.start(&clock, steady());
    attempts.answer(Err(Failure::msg("refused")));
    success_result_of(service.stop());
    clock.advance(100 * SECOND);
    assert_eq!(attempts.count(), 0);
    assert!(clock.delayed_calls().is_empty());
    assert_eq!(service.last_failure().unwrap().to_string(), "refused");

    // While it is connected.
    let attempts = Attempts::default();
    let service = attempts.start(&clock, steady());
    let pair = connection(&clock);
    attempts.answer(Ok(pair.client.clone()));
    let (mut first, mut second) = (service.stop(), service.stop());
    assert_no_result(&mut first);
    assert_no_result(&mut second);
    pair.flush();
    success_result_of(first);
    success_result_of(second);
    assert!(matches!(pair.client.lost(), Some(ConnectionLost::Done)));
    clock.advance(100 * SECOND);
    assert_eq!(attempts.count(), 0);
}

#[test]
fn a_connect_that_ignores_its_cancel_is_closed() {
    let clock = Clock::new();
    let pair = connection(&clock);
    let late = pair.client.clone();
    let service = stay_connected(&clock, steady(), move || {
        let (deferred, resolver) = Deferred::<Transport>::new();
        std::mem::forget(resolver);
        let late = late.clone();
        deferred.add_errback(move |_| Ok(late.clone()))
    });
    let mut stops = service.stop();
    assert_no_result(&mut stops);
    pair.flush();
    success_result_of(stops);
    assert!(pair.client.lost().is_some());
}

#[test]
fn a_stop_inside_the_callback_of_a_connection_works() {
    let (clock, attempts) = (Clock::new(), Attempts::default());
    let service = attempts.start(&clock, steady());
    let stopper = service.clone();
    let stopped = service.when_connected().add_callback(move |_| stopper.stop());
    let pair = connection(&clock);
    attempts.answer(Ok(pair.client.clone()));
    pair.flush();
    success_result_of(stopped);
}

#[test]
fn waiting_can_be_limited_to_a_number_of_failures() {
    let (clock, attempts) = (Clock::new(), Attempts::default());
    let service = attempts.start(&clock, steady());
    let (first, second, mut all) =
        (service.when_connected_within(1), service.when_connected_within(2), service.when_connected());
    attempts.answer(Err(Failure::msg("one")));
    assert_eq!(failure_result_of(first).to_string(), "one");
    clock.advance(SECOND);
    attempts.answer(Err(Failure::msg("two")));
    assert_eq!(failure_result_of(second).to_string(), "two");
    assert_no_result(&mut all);
    clock.advance(2 * SECOND);
    let pair = connection(&clock);
    attempts.answer(Ok(pair.client.clone()));
    success_result_of(all);
    success_result_of(service.when_connected_within(1));
}

#[test]
fn after_the_last_attempt_all_who_wait_get_its_error() {
    let (clock, attempts) = (Clock::new(), Attempts::default());
    let service = attempts.start(&clock, steady().max_attempts(2));
    let waits = service.when_connected();
    attempts.answer(Err(Failure::msg("one")));
    clock.advance(SECOND);
    attempts.answer(Err(Failure::msg("two")));
    assert_eq!(failure_result_of(waits).to_string(), "two");
    assert_eq!(failure_result_of(service.when_connected()).to_string(), "two");
    success_result_of(service.stop());
    clock.advance(100 * SECOND);
    assert_eq!(attempts.count(), 0);
}

#[test]
fn a_panic_of_connect_is_reported_and_ends_the_service() {
    let clock = Clock::new();
    let reports = Reports::collect();
    let service = stay_connected(&clock, steady(), || -> Deferred<Transport> { panic!("a defect") });
    assert!(failure_result_of(service.when_connected()).to_string().contains("a defect"));
    assert_eq!(reports.take().len(), 1);
    success_result_of(service.stop());
}

#[test]
fn the_end_of_the_reactor_fails_what_waits() {
    for connects in [false, true] {
        let clock = Clock::new();
        let reactor = clock.clone();
        let service = stay_connected(&clock, steady(), move || {
            let attempt = if connects { reactor.sleep(SECOND) } else { Deferred::succeed(()) };
            attempt.add_callback(|()| Err::<Transport, _>(Failure::msg("refused")))
        });
        let waits = service.when_connected();
        drop(clock);
        assert!(failure_result_of(waits).check::<Abandoned>());
        assert!(failure_result_of(service.when_connected()).check::<Abandoned>());
        success_result_of(service.stop());
    }
}

#[test]
fn a_cancelled_wait_ends_only_the_wait() {
    let (clock, attempts) = (Clock::new(), Attempts::default());
    let service = attempts.start(&clock, steady());
    let waits = service.when_connected();
    waits.cancel();
    assert!(failure_result_of(waits).check::<Cancelled>());
    let pair = connection(&clock);
    attempts.answer(Ok(pair.client.clone()));
    assert_eq!(service.transport(), Some(pair.client.clone()));
}

#[test]
fn the_last_failure_is_forgotten_with_the_next_connection() {
    let (clock, attempts) = (Clock::new(), Attempts::default());
    let service = attempts.start(&clock, steady());
    attempts.answer(Err(Failure::msg("no")));
    assert_eq!(service.last_failure().unwrap().to_string(), "no");
    clock.advance(SECOND);
    let pair = connection(&clock);
    attempts.answer(Ok(pair.client.clone()));
    assert!(service.last_failure().is_none());
    success_result_of(service.when_connected());
}
