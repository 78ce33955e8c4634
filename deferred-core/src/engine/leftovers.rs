//! Tests of blocks that go before the loop has come to them. Nothing in the crate leaves one; what is in it must be dropped
//! once all the same, and Miri and AddressSanitizer look on.

use std::cell::Cell;
use std::panic::Location;
use std::rc::Rc;

use super::{Chain, Left, Source};
use crate::error::{Cancelled, Interrupt};

/// Counts its drop.
struct Counted(Rc<Cell<u32>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

fn pair<T: 'static>() -> (Chain<T, Interrupt>, Source<T, Interrupt>) {
    Chain::pair(Location::caller())
}

#[test]
fn a_value_and_the_stages_that_wait_for_it_are_dropped_once() {
    let drops = Rc::new(Cell::new(0));
    for stages in 0..6 {
        drops.set(0);
        let (mut chain, source) = pair::<Counted>();
        for _ in 0..stages {
            let captured = Counted(drops.clone());
            let Left::Wait(next) = chain.then(Location::caller(), move |result| {
                let _captured = &captured;
                Left::Result(result)
            }) else {
                unreachable!("it has no result yet")
            };
            chain = next;
        }
        drop(source.firing(Ok(Counted(drops.clone()))));
        drop(chain);
        assert_eq!(drops.get(), stages + 1);
    }
}

#[test]
fn a_canceller_that_was_not_asked_is_dropped_once() {
    let drops = Rc::new(Cell::new(0));
    for decides in [false, true] {
        drops.set(0);
        let (chain, source) = pair::<Counted>();
        let captured = Counted(drops.clone());
        if decides {
            source.set_canceller(move || {
                let _captured = &captured;
                None
            });
        } else {
            let captured = Rc::new(captured);
            source.set_forwarding(move |_: &Cancelled| drop(captured.clone()));
        }
        drop(source.firing(Ok(Counted(drops.clone()))));
        drop(chain);
        assert_eq!(drops.get(), 2);
    }
}

/// The one that waits is known by a `Weak` too, so its memory is not another's.
#[test]
fn a_wait_that_never_ends_is_dropped_with_what_was_waited_for() {
    let drops = Rc::new(Cell::new(0));
    let (outer, fires) = pair::<()>();
    let (mut inner, source) = pair::<Counted>();
    let handle = inner.handle();
    let behind = Counted(drops.clone());
    let Left::Wait(outer) = outer.then(Location::caller(), move |_| Left::Wait(inner)) else { unreachable!() };
    let Left::Wait(outer) = outer.then(Location::caller(), move |result: Result<Counted, Interrupt>| {
        drop(behind);
        Left::Result(result)
    }) else {
        unreachable!()
    };
    fires.fire(Ok(()));
    drop(source.firing(Ok(Counted(drops.clone()))));
    drop(outer);
    assert_eq!(drops.get(), 0, "a handle keeps it");
    handle.cancel(&Cancelled::new());
    drop(handle);
    assert_eq!(drops.get(), 2);
}
