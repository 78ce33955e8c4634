//! Results and captures of every size and alignment arrive intact, wherever the engine stores them.

use crate::support::{App, Log, deferred_cell, ignore_unhandled, take_text};
use deferred_core::Deferred;

/// Values of every size and alignment that can check whether they are intact.
mod types {
    use std::fmt::Debug;

    pub(crate) trait Shape: Debug + PartialEq + 'static {
        fn make(seed: u8) -> Self;
    }

    macro_rules! shapes {
        ($($name:ident $align:literal $size:literal)*) => { $(
            #[derive(Debug, PartialEq)]
            #[repr(align($align))]
            pub(crate) struct $name([u8; $size]);

            impl Shape for $name {
                fn make(seed: u8) -> Self {
                    let shape = $name(std::array::from_fn(|index| seed.wrapping_add(index as u8)));
                    assert!((&raw const shape).is_aligned());
                    shape
                }
            }
        )* };
    }

    shapes! {
        Zero 1 0  Byte 1 1  Odd 1 3  Half 2 6  Word 8 8  Pair 8 16  Thirteen 1 13  Long 8 64  Longer 1 250
        Huge 8 4096  Wide 16 16  WideZero 16 0  Line 64 64  LineZero 64 0  Page 4096 4096  LongWide 32 256
    }
}

use types::Shape;

/// Adds a callback that checks its argument and its captures.
fn through<A: Shape, B: Shape>(deferred: Deferred<A>) -> Deferred<B> {
    let captured = B::make(3);
    let deferred = deferred.add_callback(move |value| {
        assert!((&raw const value).is_aligned());
        assert_eq!(value, A::make(1));
        assert!((&raw const captured).is_aligned());
        assert_eq!(captured, B::make(3));
        Ok(B::make(1))
    });
    let captured = A::make(9);
    deferred.add_errback(move |failure| {
        assert_eq!(captured, A::make(9));
        Err(failure)
    })
}

fn through_all(deferred: Deferred<types::Zero>) -> Deferred<types::Zero> {
    use types::*;
    let deferred = through::<_, Byte>(deferred);
    let deferred = through::<_, Long>(deferred);
    let deferred = through::<_, Wide>(deferred);
    let deferred = through::<_, Odd>(deferred);
    let deferred = through::<_, Page>(deferred);
    let deferred = through::<_, Longer>(deferred);
    let deferred = through::<_, Half>(deferred);
    let deferred = through::<_, Line>(deferred);
    let deferred = through::<_, Pair>(deferred);
    let deferred = through::<_, LineZero>(deferred);
    let deferred = through::<_, Huge>(deferred);
    let deferred = through::<_, Word>(deferred);
    let deferred = through::<_, LongWide>(deferred);
    let deferred = through::<_, Thirteen>(deferred);
    let deferred = through::<_, WideZero>(deferred);
    through::<_, Zero>(deferred)
}

#[test]
fn results_and_captures_of_every_size_and_alignment_arrive_whole() {
    let _quiet = ignore_unhandled();
    let ready = through_all(Deferred::succeed(types::Zero::make(1)));
    assert!(ready.try_take().unwrap().is_ok());

    let (deferred, resolver) = Deferred::new();
    let deferred = through_all(through_all(deferred));
    resolver.callback(types::Zero::make(1));
    assert!(deferred.try_take().unwrap().is_ok());

    let (deferred, resolver) = Deferred::new();
    let deferred = through_all(deferred);
    resolver.errback(App(1));
    assert_eq!(take_text(deferred), "App(1)");

    // The large values arrive from returned Deferreds.
    let (inner, inner_resolver) = Deferred::<types::Huge>::new();
    let (outer, resolver) = Deferred::<()>::new();
    let outer = through::<_, types::Line>(outer.add_callback(|()| inner));
    let outer = through::<_, types::Byte>(outer);
    resolver.callback(());
    inner_resolver.callback(types::Huge::make(1));
    assert_eq!(take_text(outer), format!("{:?}", types::Byte::make(1)));
}

#[test]
fn a_stage_added_to_a_ready_deferred_has_a_large_enough_slot() {
    let _quiet = ignore_unhandled();
    let (mut deferred, resolver) = Deferred::new();
    let pause = deferred.pause();
    resolver.callback(types::Byte::make(1));
    let deferred = through::<_, types::Huge>(deferred);
    let deferred = through::<_, types::Page>(deferred);
    let deferred = through::<_, types::Longer>(deferred);
    pause.unpause();
    assert!(deferred.try_take().unwrap().is_ok());
}

#[test]
fn a_callback_may_grow_its_own_deferred_while_it_runs() {
    let (log, shelf) = (Log::new(), deferred_cell::<types::Huge>());
    let (deferred, resolver) = Deferred::<types::Word>::new();
    let (own, captured) = (shelf.clone(), types::Long::make(7));
    let deferred = deferred.map(move |value| {
        let mut mine = own.take().unwrap();
        for _ in 0..100 {
            let captured = types::Long::make(5);
            mine = mine.map(move |value| {
                assert_eq!(captured, types::Long::make(5));
                value
            });
        }
        *own.borrow_mut() = Some(mine);
        assert_eq!(captured, types::Long::make(7));
        assert_eq!(value, types::Word::make(2));
        types::Word::make(4)
    });
    let last = log.clone();
    *shelf.borrow_mut() = Some(deferred.map(move |value| {
        assert_eq!(value, types::Word::make(4));
        last.add("last");
        types::Huge::make(6)
    }));
    resolver.callback(types::Word::make(2));
    assert_eq!(log.take(), ["last"]);
    assert_eq!(shelf.take().unwrap().try_take().unwrap().unwrap(), types::Huge::make(6));
}
