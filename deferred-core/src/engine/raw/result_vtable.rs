//! `ResultVtable`: the operations on a result whose type is not known.

use std::any::TypeId;
use std::marker::PhantomData;

use super::block::Block;
use super::words::words;
use crate::abort::never_unwinding;
use crate::error::{BuiltinError, CallSite, DeferredError};

/// The vtable of a `Result<T, E>`. Each function needs a block whose slot is of this type; its
/// comment says whether the slot must be full or empty.
pub(super) struct ResultVtable {
    /// The minimum size of the slot in words: the size of the result, and at least one for the
    /// location of a stage that waits.
    pub(super) words: u32,
    type_id: fn() -> TypeId,
    /// Stores a built-in error. If no location is passed, fires an unfired block with it. Returns
    /// `false` if the conversion of the error has fired the block meanwhile. If one is passed,
    /// writes the error, with that location in its trail, to an empty slot.
    pub(super) write_error: unsafe fn(&Block, BuiltinError, Option<CallSite>) -> bool,
    /// Moves the result from the full slot of the first block to the empty slot of the second. Adds
    /// the location to the trail of an error.
    pub(super) move_to: unsafe fn(&Block, &Block, CallSite),
    /// Drops the result in a full slot, and reports an error as unhandled.
    pub(super) report_and_drop: unsafe fn(&Block),
    /// Drops the result in a full slot.
    pub(super) drop: unsafe fn(&Block),
}

struct VtableOf<T, E>(PhantomData<(T, E)>);

/// Returns the vtable of `Result<T, E>`.
pub(super) const fn result_vtable<T: 'static, E: DeferredError>() -> &'static ResultVtable {
    &VtableOf::<T, E>::VTABLE
}

impl ResultVtable {
    /// Returns `true` if both are vtables of the same type. One type can have several, at different
    /// addresses.
    pub(super) fn is_same_type(&'static self, other: &'static ResultVtable) -> bool {
        std::ptr::eq(self, other) || (self.type_id)() == (other.type_id)()
    }
}

impl<T: 'static, E: DeferredError> VtableOf<T, E> {
    const VTABLE: ResultVtable = ResultVtable {
        words: if words::<Result<T, E>>() == 0 { 1 } else { words::<Result<T, E>>() },
        type_id: TypeId::of::<Result<T, E>>,
        write_error: Self::write_error,
        move_to: Self::move_to,
        report_and_drop: Self::report_and_drop,
        drop: Self::drop,
    };

    unsafe fn write_error(block: &Block, why: BuiltinError, at: Option<CallSite>) -> bool {
        let mut error = never_unwinding(|| E::from(why));
        match at {
            Some(at) => never_unwinding(|| error.add_location(at)),
            None if block.is_fired() => {
                // The user's conversion has fired the block.
                never_unwinding(|| drop(error));
                return false;
            }
            None => block.set_fired(),
        }
        // SAFETY: the block is unfired or waits, so the slot is empty, and of this type.
        unsafe { block.write_result(Err::<T, E>(error)) };
        true
    }

    unsafe fn move_to(from: &Block, to: &Block, at: CallSite) {
        // SAFETY: full, and of this type.
        let mut result = unsafe { from.read_result::<Result<T, E>>() };
        if let Err(error) = &mut result {
            never_unwinding(|| error.add_location(at));
        }
        // SAFETY: `to` is fired and waits for nothing, so its slot is still empty after the user
        // code. Of this type.
        unsafe { to.write_result(result) };
    }

    unsafe fn report_and_drop(block: &Block) {
        // SAFETY: full, and of this type.
        let result = unsafe { block.read_result::<Result<T, E>>() };
        if let Err(error) = &result {
            crate::report::unhandled(error, block.state.made, block.state.last.get());
        }
        never_unwinding(|| drop(result));
    }

    unsafe fn drop(block: &Block) {
        // SAFETY: full, and of this type.
        drop(unsafe { block.read_result::<Result<T, E>>() });
    }
}
