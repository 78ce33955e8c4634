//! Tests of blocks that are dropped before the run loop has emptied them.
//!
//! Nothing in the crate leaves such a block except the end of a thread. Its contents must still be
//! dropped exactly once, which Miri and AddressSanitizer check.

use std::cell::Cell;
use std::panic::Location;
use std::rc::Rc;

use super::{Chain, Source, StageOutput};
use crate::error::{BuiltinError, Cancelled};

/// A value that counts its drop.
struct Counted(Rc<Cell<u32>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

fn pair<T: 'static>() -> (Chain<T, BuiltinError>, Source<T, BuiltinError>) {
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
            let StageOutput::Pending(next) = chain.add_stage(Location::caller(), move |result| {
                let _captured = &captured;
                StageOutput::Ready(result)
            }) else {
                unreachable!("the chain has no result yet")
            };
            chain = next;
        }
        drop(source.set_result(Ok(Counted(drops.clone()))));
        drop(chain);
        assert_eq!(drops.get(), stages + 1);
    }
}

#[test]
fn a_canceller_that_was_not_called_is_dropped_once() {
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
            source.set_forwarding_canceller(move |_: &Cancelled| drop(captured.clone()));
        }
        drop(source.set_result(Ok(Counted(drops.clone()))));
        drop(chain);
        assert_eq!(drops.get(), 2);
    }
}

/// The waiting block has a `Weak` too, so its memory is not reused.
#[test]
fn a_wait_that_never_ends_is_dropped_with_the_inner_deferred() {
    let drops = Rc::new(Cell::new(0));
    let (outer, fires) = pair::<()>();
    let (mut inner, source) = pair::<Counted>();
    let handle = inner.handle();
    let captured = Counted(drops.clone());
    let StageOutput::Pending(outer) = outer.add_stage(Location::caller(), move |_| StageOutput::Pending(inner)) else {
        unreachable!()
    };
    let StageOutput::Pending(outer) =
        outer.add_stage(Location::caller(), move |result: Result<Counted, BuiltinError>| {
            drop(captured);
            StageOutput::Ready(result)
        })
    else {
        unreachable!()
    };
    fires.fire(Ok(()));
    drop(source.set_result(Ok(Counted(drops.clone()))));
    drop(outer);
    assert_eq!(drops.get(), 0, "the handle keeps the block");
    handle.cancel(&Cancelled::new());
    drop(handle);
    assert_eq!(drops.get(), 2);
}
