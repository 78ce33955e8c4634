//! What can be done with a result of a type that is not known.

use std::any::TypeId;
use std::marker::PhantomData;

use super::block::{Block, Place};
use super::words::words;
use crate::engine::never_unwinding;
use crate::error::{self, Fault, Interrupt};

/// Of a `Result<T, E>`. Each function wants a block whose slot is of this kind; those that want it full or empty say so.
pub(super) struct Kind {
    /// How many words its slot has at least: those that it takes, and one for the place of a stage that waits.
    pub(super) words: u32,
    type_id: fn() -> TypeId,
    /// Fires an unfired block with an error of the library's, or fills an empty slot with one that has passed a place. Says
    /// whether the block was still unfired when the error was made.
    pub(super) interrupt: unsafe fn(&Block, Interrupt, Option<Place>) -> bool,
    /// Moves what is in the first slot, which is full, to the second, which is empty. An error has passed the place.
    pub(super) give: unsafe fn(&Block, &Block, Place),
    /// Drops what is in a full slot: an error is reported.
    pub(super) end: unsafe fn(&Block),
    /// Drops what is in a full slot.
    pub(super) drop: unsafe fn(&Block),
}

struct Of<T, E>(PhantomData<(T, E)>);

/// The kind of `Result<T, E>`.
pub(super) const fn kind<T: 'static, E: Fault>() -> &'static Kind {
    &Of::<T, E>::KIND
}

impl Kind {
    /// Whether it is the same. One type may have several, at different addresses.
    pub(super) fn is(&'static self, other: &'static Kind) -> bool {
        std::ptr::eq(self, other) || (self.type_id)() == (other.type_id)()
    }
}

impl<T: 'static, E: Fault> Of<T, E> {
    const KIND: Kind = Kind {
        words: if words::<Result<T, E>>() == 0 { 1 } else { words::<Result<T, E>>() },
        type_id: TypeId::of::<Result<T, E>>,
        interrupt: Self::interrupt,
        give: Self::give,
        end: Self::end,
        drop: Self::drop,
    };

    unsafe fn interrupt(block: &Block, why: Interrupt, at: Option<Place>) -> bool {
        let mut error = never_unwinding(|| E::from(why));
        match at {
            Some(at) => never_unwinding(|| error.passed(at)),
            None if block.is_fired() => {
                // Whoever converted it has fired the block meanwhile.
                never_unwinding(|| drop(error));
                return false;
            }
            None => block.set_fired(),
        }
        // SAFETY: unfired or waiting, so the slot is empty, and of this kind.
        unsafe { block.fill(Err::<T, E>(error)) };
        true
    }

    unsafe fn give(from: &Block, to: &Block, at: Place) {
        // SAFETY: full, and of this kind.
        let mut result = unsafe { from.empty::<Result<T, E>>() };
        if let Err(error) = &mut result {
            never_unwinding(|| error.passed(at));
        }
        // SAFETY: empty, also after the foreign code: it is fired and waits for nothing. Of this kind.
        unsafe { to.fill(result) };
    }

    unsafe fn end(block: &Block) {
        // SAFETY: full, and of this kind.
        let result = unsafe { block.empty::<Result<T, E>>() };
        if let Err(error) = &result {
            error::report(error, block.state.made, block.state.last.get());
        }
        never_unwinding(|| drop(result));
    }

    unsafe fn drop(block: &Block) {
        // SAFETY: full, and of this kind.
        drop(unsafe { block.empty::<Result<T, E>>() });
    }
}
