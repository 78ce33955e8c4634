//! With the feature `tracing`, reports are events with fields, and spans follow with the context.
#![cfg(feature = "tracing")]

use std::collections::BTreeMap;
use std::fmt;
use std::panic::Location;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use deferred_core::context::Context;
use deferred_core::report::{self, Level, Reportable};
use deferred_core::{Clock, Deferred, Failure, Reactor, inline_callbacks};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::with_default;
use tracing::{Event, Metadata, Subscriber, info_span};
use tracing_core::span::Current;

/// A subscriber that keeps the fields of events.
#[derive(Clone, Default)]
struct Events {
    seen: Arc<Mutex<Vec<BTreeMap<&'static str, String>>>>,
    /// Whether each event causes a report.
    reports: bool,
    /// The spans that this thread has entered, by their names.
    entered: Arc<Mutex<Vec<Id>>>,
    /// Their names below those of their parents, by their numbers.
    spans: Arc<Mutex<Vec<(String, &'static Metadata<'static>)>>>,
}

impl Events {
    /// Returns the name of the current span.
    fn current(&self) -> String {
        let current = self.entered.lock().unwrap().last().cloned();
        current.map_or_else(String::new, |id| self.spans.lock().unwrap()[id.into_u64() as usize - 1].0.clone())
    }
}

struct Fields<'a>(&'a mut BTreeMap<&'static str, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl Subscriber for Events {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() || metadata.target() == "deferred"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let name = format!("{}/{}", self.current(), span.metadata().name());
        let mut spans = self.spans.lock().unwrap();
        spans.push((name, span.metadata()));
        Id::from_u64(spans.len() as u64)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = BTreeMap::from([("level", event.metadata().level().to_string())]);
        event.record(&mut Fields(&mut fields));
        self.seen.lock().unwrap().push(fields);
        if self.reports {
            drop(Deferred::<()>::fail(Failure::msg("the subscriber's own, on standard error")));
        }
    }

    fn enter(&self, span: &Id) {
        self.entered.lock().unwrap().push(span.clone());
    }

    fn exit(&self, _: &Id) {
        self.entered.lock().unwrap().pop();
    }

    fn current_span(&self) -> Current {
        let Some(id) = self.entered.lock().unwrap().last().cloned() else { return Current::none() };
        let metadata = self.spans.lock().unwrap()[id.into_u64() as usize - 1].1;
        Current::new(id, metadata)
    }
}

#[derive(Debug)]
struct Reconnected {
    _attempts: u32,
}

impl fmt::Display for Reconnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connected again")
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

#[test]
fn each_report_is_an_event_with_its_locations_and_its_value() {
    let events = Events::default();
    let (failed, made) = (line!() + 4, line!() + 2);
    with_default(events.clone(), || {
        let (deferred, resolver) = Deferred::<u32>::new();
        let deferred = deferred.map(|value| value);
        resolver.errback(Failure::msg("nothing handles this"));
        drop(deferred);
        report::send(&Reconnected { _attempts: 3 });
        let reactor = Reactor::new();
        let (abandoned, _resolver) = reactor.remote::<u32>();
        drop(abandoned);
        drop(reactor);
    });
    let events = std::mem::take(&mut *events.seen.lock().unwrap());
    let at = |line| format!("{}:{line}:", file!());
    let [unhandled, reconnected, closed] = &events[..] else { panic!("{events:#?}") };
    assert_eq!((&*unhandled["level"], &*unhandled["kind"]), ("ERROR", "unhandled_error"));
    assert!(unhandled["location"].starts_with(&at(failed)), "{unhandled:#?}");
    assert!(unhandled["made_at"].starts_with(&at(made)), "{unhandled:#?}");
    assert!(unhandled["last_added_at"].starts_with(&at(made + 1)), "{unhandled:#?}");
    assert!(unhandled["message"].starts_with("unhandled error: nothing handles this\n"), "{unhandled:#?}");
    assert_eq!((&*reconnected["level"], &*reconnected["kind"]), ("WARN", "reconnected"));
    assert_eq!((&*reconnected["message"], &*reconnected["value"]), ("connected again", "Reconnected { _attempts: 3 }"));
    assert_eq!((&*closed["kind"], &*closed["value"]), ("reactor_closed", "AbandonedCount { count: 1 }"));
}

#[test]
fn a_subscriber_that_causes_a_report_does_not_receive_that() {
    let events = Events { reports: true, ..Events::default() };
    with_default(events.clone(), || {
        (0..2).for_each(|_| drop(Deferred::<()>::fail(Failure::msg("nothing handles this"))));
    });
    assert_eq!(events.seen.lock().unwrap().len(), 2);
}

#[test]
fn the_current_span_follows_and_a_coroutine_has_one_of_its_own() {
    let events = Events::default();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = |name: &'static str| {
        let (events, seen) = (events.clone(), seen.clone());
        move || seen.lock().unwrap().push(format!("{name} {}", events.current()))
    };
    with_default(events.clone(), || {
        let clock = Clock::new();
        let (deferred, resolver) = Deferred::<()>::new();
        let (begins, resumes) = (notes("begins"), notes("resumes"));
        let coroutine = info_span!("request").in_scope(|| {
            clock.call_later(Duration::from_secs(1), notes("timer"));
            inline_callbacks(async move {
                begins();
                deferred.await?;
                resumes();
                Ok(())
            })
        });
        let job = info_span!("upload").in_scope(|| Context::for_job(Location::caller()));
        let connection = Context::for_connection(Location::caller(), &|| "::1".to_owned());
        notes("between")();
        clock.advance(Duration::from_secs(1));
        resolver.callback(());
        job.run(notes("job"));
        connection.run(notes("connection"));
        notes("after")();
        drop(coroutine);
    });
    assert_eq!(
        *seen.lock().unwrap(),
        [
            "begins /request/coroutine",
            "between ",
            "timer /request",
            "resumes /request/coroutine",
            "job /upload/job",
            "connection /connection",
            "after ",
        ]
    );
}
