//! `Gate`.

use deferred_core::{Deferred, Gate, GateClosed};

use crate::support::{App, Log, peek_text, take_text};

#[test]
fn an_open_gate_admits_and_a_closed_one_waits_for_its_guards() {
    let gate = Gate::new();
    let (first, second) = (gate.enter().unwrap(), gate.enter().unwrap());
    assert_eq!((gate.count(), gate.is_closed()), (2, false));
    let mut drained = gate.close();
    assert!(gate.is_closed());
    assert_eq!(gate.enter().unwrap_err(), GateClosed);
    drop(first);
    assert_eq!(peek_text(&mut drained), "pending");
    let mut again = gate.close();
    drop(second);
    assert_eq!((peek_text(&mut drained), peek_text(&mut again)), ("()".into(), "()".into()));
    assert_eq!(take_text(gate.close()), "()");
}

#[test]
fn run_holds_the_gate_until_its_deferred_fires_and_fails_when_closed() {
    let gate = Gate::new();
    let (inner, resolver) = Deferred::<u32>::new();
    let runs = gate.run(move || inner);
    assert_eq!(take_text(gate.run(|| Ok(1))), "1");
    assert_eq!(gate.count(), 1);
    let drained = gate.close();
    assert_eq!(take_text(gate.run(|| Ok(2))), "Cancelled(the gate is closed: it admits no new work)");
    resolver.errback(App(1));
    assert_eq!((take_text(runs), take_text(drained)), ("App(1)".into(), "()".into()));
}

#[test]
fn a_panic_of_the_function_releases_the_gate() {
    let gate = Gate::new();
    let panics = gate.run(|| -> Result<(), _> { panic!("inside") });
    assert_eq!((take_text(panics).as_str(), gate.count()), ("Panicked(inside)", 0));
}

#[test]
fn dropping_the_last_guard_fires_close_after_the_callback() {
    let log = Log::new();
    let gate = Gate::new();
    let pass = gate.enter().unwrap();
    let _drained = log.watch("drained", gate.close());
    let inner = log.clone();
    drop(Deferred::succeed(()).map(move |()| {
        drop(pass);
        inner.add("callback ends");
    }));
    assert_eq!(log.take(), ["callback ends", "drained ()"]);
}
