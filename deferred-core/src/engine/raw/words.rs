//! Storage of values in words.

use std::mem::MaybeUninit;

/// The unit of a region. A value with a larger alignment is boxed.
pub(super) type Word = MaybeUninit<u64>;

const fn fits<X>() -> bool {
    align_of::<X>() <= align_of::<Word>()
}

/// Returns the number of words that an `X` takes.
pub(in crate::engine) const fn words<X>() -> u32 {
    let size = if fits::<X>() { size_of::<X>() } else { size_of::<Box<X>>() };
    assert!(size <= 1 << 30, "a result or a capture of more than a gigabyte: put it into a box");
    size.div_ceil(size_of::<Word>()) as u32
}

/// Moves a value into words.
///
/// # Safety
///
/// `place` points to `words::<X>()` words that may be written and hold no value.
#[inline]
pub(super) unsafe fn put<X>(place: *mut Word, value: X) {
    debug_assert!(place.is_aligned());
    if fits::<X>() {
        // SAFETY: the caller's promise; the alignment is enough.
        unsafe { place.cast::<X>().write(value) };
    } else {
        // SAFETY: the caller's promise; a box is a word.
        unsafe { place.cast::<Box<X>>().write(Box::new(value)) };
    }
}

/// Moves a value out of words.
///
/// # Safety
///
/// `put::<X>` was the last to write there, and the value has not been taken since.
#[inline]
pub(super) unsafe fn take<X>(place: *mut Word) -> X {
    debug_assert!(place.is_aligned());
    if fits::<X>() {
        // SAFETY: the caller's promise.
        unsafe { place.cast::<X>().read() }
    } else {
        // SAFETY: the caller's promise: a box of it was written.
        *unsafe { place.cast::<Box<X>>().read() }
    }
}

/// Borrows a value that lies in words.
///
/// # Safety
///
/// Like [`take`], and during `'a` the value is neither moved nor changed through another pointer.
#[inline]
pub(super) unsafe fn borrow<'a, X>(place: *mut Word) -> &'a mut X {
    debug_assert!(place.is_aligned());
    if fits::<X>() {
        // SAFETY: the caller's promise.
        unsafe { &mut *place.cast::<X>() }
    } else {
        // SAFETY: the caller's promise: a box of it was written.
        unsafe { &mut *place.cast::<Box<X>>() }
    }
}
