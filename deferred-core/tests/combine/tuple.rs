//! `gather_tuple`, for members of different types.

use std::rc::Rc;

use deferred_core::{Cancelled, Deferred, DeferredLock, Failure, gather_tuple};

use crate::support::{App, peek_text};

#[test]
fn returns_all_values() {
    let (late, resolver) = Deferred::<String>::new();
    let mut all = gather_tuple((Deferred::succeed(1), late, Deferred::succeed(Some('c')))).map_err(Failure::from);
    assert_eq!(peek_text(&mut all), "pending");
    resolver.callback("b".into());
    assert_eq!(peek_text(&mut all), "(1, \"b\", Some('c'))");
    let six = gather_tuple((
        Deferred::succeed(1),
        Deferred::succeed(2_u8),
        Deferred::succeed("3"),
        Deferred::succeed([4]),
        Deferred::succeed(()),
        Deferred::succeed('6'),
    ));
    assert_eq!(six.try_take().unwrap().unwrap(), (1, 2, "3", [4], (), '6'));
}

#[test]
fn returns_the_first_error_with_its_index() {
    let all = gather_tuple((Deferred::succeed(1), Deferred::<String>::fail(App(2))));
    let first = all.try_take().unwrap().unwrap_err();
    assert_eq!((first.index, first.error.downcast_ref()), (Some(1), Some(&App(2))));
}

#[test]
fn a_cancel_reaches_all() {
    let (one, one_resolver) = Deferred::<u32>::new();
    let (other, other_resolver) = Deferred::<String>::new();
    let all = gather_tuple((one, other));
    all.cancel();
    assert!(one_resolver.is_cancelled() && other_resolver.is_cancelled());
    assert!(all.try_take().unwrap().unwrap_err().error.check::<Cancelled>());
}

#[test]
fn after_a_failure_earlier_and_later_values_are_dropped() {
    let lock = DeferredLock::new();
    let (slow, later) = Deferred::<Rc<()>>::new();
    let (fails, resolver) = Deferred::<u32>::new();
    let all = gather_tuple((lock.acquire(), fails, slow));
    assert!(lock.is_locked());
    resolver.errback(App(1));
    assert!(all.is_ready() && !lock.is_locked());
    let value = Rc::new(());
    later.callback(value.clone());
    assert_eq!(Rc::strong_count(&value), 1);
    assert!(all.try_take().is_ok_and(|result| result.is_err()));
}
