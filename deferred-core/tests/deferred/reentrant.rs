//! User code that the engine calls between stages (`add_location`, a conversion from
//! `BuiltinError`, a destructor) may access the same Deferred: add stages until its memory moves,
//! cancel it, or drop its resolver.

use std::cell::RefCell;
use std::rc::Rc;

use deferred_core::{BuiltinError, Deferred, DeferredError};

type Hook = Box<dyn FnOnce()>;

thread_local! {
    static WHEN_PASSED: RefCell<Option<Hook>> = const { RefCell::new(None) };
    static WHEN_MADE: RefCell<Option<Hook>> = const { RefCell::new(None) };
}

/// An error that runs a hook when a location is added to it, or when it is made from a
/// `BuiltinError`.
#[derive(Debug)]
enum Hooked {
    Raised,
    Made(BuiltinError),
}

impl Hooked {
    fn name(&self) -> String {
        match self {
            Hooked::Raised => "raised".into(),
            Hooked::Made(builtin) => builtin.to_string().split(':').next().unwrap_or_default().into(),
        }
    }
}

impl From<BuiltinError> for Hooked {
    fn from(builtin: BuiltinError) -> Self {
        if let Some(hook) = WHEN_MADE.take() {
            hook();
        }
        Hooked::Made(builtin)
    }
}

impl DeferredError for Hooked {
    fn add_location(&mut self, _: &'static std::panic::Location<'static>) {
        if let Some(hook) = WHEN_PASSED.take() {
            hook();
        }
    }
}

type DeferredCell<T> = Rc<RefCell<Option<Deferred<T, Hooked>>>>;

/// Returns a hook that adds enough stages to the Deferred in the cell to move its memory several
/// times.
fn adds_much<T: 'static>(shelf: &DeferredCell<T>, count: &Rc<RefCell<u32>>) -> Hook {
    let (shelf, count) = (shelf.clone(), count.clone());
    Box::new(move || {
        let mut deferred = shelf.take().expect("it is on the shelf");
        for number in 0..1000_u64 {
            let (count, captured) = (count.clone(), [number; 5]);
            deferred = deferred.add_both(move |result| {
                assert_eq!(captured, [number; 5]);
                *count.borrow_mut() += 1;
                result
            });
        }
        *shelf.borrow_mut() = Some(deferred);
    })
}

fn end<T: 'static>(shelf: &DeferredCell<T>) -> String {
    match shelf.take().expect("it is on the shelf").try_take() {
        Ok(Ok(_)) => "a value".into(),
        Ok(Err(error)) => error.name(),
        Err(_) => "pending".into(),
    }
}

#[test]
fn add_location_may_add_a_callback_to_the_deferred() {
    let (shelf, count) = (DeferredCell::<u64>::default(), Rc::default());
    let (deferred, resolver) = Deferred::<u64, Hooked>::typed();
    *shelf.borrow_mut() = Some(deferred.map(|value| value + 1).map(|value| value + 1));
    resolver.fire({
        WHEN_PASSED.set(Some(adds_much(&shelf, &count)));
        Err(Hooked::Raised)
    });
    assert_eq!((end(&shelf), *count.borrow()), ("raised".into(), 1000));
}

#[test]
fn add_location_may_add_a_callback_to_the_waiting_deferred() {
    let (shelf, count) = (DeferredCell::<u64>::default(), Rc::default());
    let (inner, inner_resolver) = Deferred::<u64, Hooked>::typed();
    let (outer, resolver) = Deferred::<(), Hooked>::typed();
    *shelf.borrow_mut() = Some(outer.add_callback(|()| inner));
    resolver.callback(());
    WHEN_PASSED.set(Some(adds_much(&shelf, &count)));
    inner_resolver.fire(Err(Hooked::Raised));
    assert_eq!((end(&shelf), *count.borrow()), ("raised".into(), 1000));
}

#[test]
fn the_error_of_a_panic_may_add_to_the_deferred_that_panicked() {
    for when in [&WHEN_PASSED, &WHEN_MADE] {
        let (shelf, count) = (DeferredCell::<u64>::default(), Rc::default());
        let (deferred, resolver) = Deferred::<u64, Hooked>::typed();
        *shelf.borrow_mut() = Some(deferred.map(|_| std::panic::resume_unwind(Box::new("no"))));
        when.set(Some(adds_much(&shelf, &count)));
        resolver.callback(1);
        assert_eq!(*count.borrow(), 1000);
        let text = end(&shelf);
        assert!(text.contains("panicked"), "{text}");
    }
}

#[test]
fn a_conversion_that_fires_or_cancels_the_same_deferred_is_first() {
    // The error that is being made arrives too late and is dropped.
    for cancels in [false, true] {
        let (mut deferred, resolver) = Deferred::<u64, Hooked>::typed();
        let (handle, second) = (deferred.cancel_handle(), deferred.cancel_handle());
        let resolver = Rc::new(RefCell::new(Some(resolver)));
        let fires = resolver.clone();
        WHEN_MADE.set(Some(Box::new(move || match (cancels, fires.take()) {
            (false, Some(resolver)) => resolver.callback(7),
            _ => second.cancel(),
        })));
        handle.cancel();
        match deferred.try_take().expect("it is fired") {
            Ok(value) => assert!(!cancels && value == 7),
            Err(error) => assert!(cancels && error.name() == "cancelled"),
        }
        drop(resolver);
    }
}

#[test]
fn an_abandoned_deferred_may_be_added_to_while_its_error_is_made() {
    let (shelf, count) = (DeferredCell::<u64>::default(), Rc::default());
    let (deferred, resolver) = Deferred::<u64, Hooked>::typed();
    *shelf.borrow_mut() = Some(deferred);
    WHEN_MADE.set(Some(adds_much(&shelf, &count)));
    drop(resolver);
    assert_eq!((end(&shelf), *count.borrow()), ("abandoned".into(), 1000));
}
