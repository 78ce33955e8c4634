//! The words of a block and their layout: rule 1.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::{Cell, UnsafeCell};
use std::ptr;

use super::stage::StageVtable;
use super::words::{Word, words};
use crate::error::CallSite;

/// The number of words inside a block.
pub(super) const INLINE_WORDS: u32 = 11;
/// The number of words in the first allocation outside the block, if the slot has at most two: ten
/// callbacks that capture a word each fit.
const HEAP_WORDS: u32 = 32;

/// The first words of a record.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub(super) vtable: &'static StageVtable,
    /// The location where the record was added.
    pub(super) at: CallSite,
}

const HEAD: u32 = words::<Head>();

/// A pointer to a live record. It is valid until the region is moved or changed: rule 1.
#[derive(Clone, Copy)]
pub(super) struct Record(*mut Word);

impl Record {
    #[inline]
    pub(super) fn head(self) -> Head {
        // SAFETY: a record begins with a head.
        unsafe { *self.0.cast::<Head>() }
    }

    #[inline]
    pub(super) fn captures(self) -> *mut Word {
        // SAFETY: the captures follow the head.
        unsafe { self.0.add(HEAD as usize) }
    }
}

/// The words of a block: the slot and the records.
pub(in crate::engine) struct Region {
    /// The address of the words: `inline`, which does not move, or an allocation of their own.
    base: Cell<*mut Word>,
    /// The size of the slot, which begins at word 0.
    slot: Cell<u32>,
    /// The begin of the first live record.
    first: Cell<u32>,
    /// The end of the last live record.
    end: Cell<u32>,
    /// The number of words. It exceeds `INLINE_WORDS` exactly if they are in an allocation of their
    /// own.
    cap: Cell<u32>,
    inline: UnsafeCell<[Word; INLINE_WORDS as usize]>,
}

impl Region {
    /// Creates a region with a slot of `slot` words. [`place`](Self::place) must be called before
    /// any other method.
    #[inline]
    pub(super) fn new(slot: u32) -> Region {
        let slot = if slot > INLINE_WORDS { 0 } else { slot };
        let inline = UnsafeCell::new([const { Word::uninit() }; INLINE_WORDS as usize]);
        let (base, end) = (Cell::new(ptr::null_mut()), Cell::new(slot));
        Region { base, slot: Cell::new(slot), first: Cell::new(slot), end, cap: Cell::new(INLINE_WORDS), inline }
    }

    /// Sets the address of the words, once the region has reached its final place.
    #[inline]
    pub(super) fn place(&self, slot: u32) {
        self.base.set(self.inline.get().cast());
        if slot > INLINE_WORDS {
            self.rebuild(slot, 0);
        }
    }

    /// Returns a pointer to `len` words from `at` on.
    #[inline]
    fn at(&self, at: u32, len: u32) -> *mut Word {
        debug_assert!(u64::from(at) + u64::from(len) <= u64::from(self.cap.get()), "words outside the region");
        debug_assert!(self.slot.get() <= self.first.get() && self.first.get() <= self.end.get());
        debug_assert!(self.end.get() <= self.cap.get());
        // SAFETY: within the allocation: every stored position is at most `cap`.
        unsafe { self.base.get().add(at as usize) }
    }

    /// Returns the slot, for a result of `len` words.
    #[inline]
    pub(super) fn slot(&self, len: u32) -> *mut Word {
        debug_assert!(len <= self.slot.get(), "the slot is too small for this result");
        self.at(0, len)
    }

    /// Returns `true` if there is no live record.
    #[inline]
    pub(in crate::engine) fn is_empty(&self) -> bool {
        self.first.get() == self.end.get()
    }

    /// Returns `true` if there is no live record, and the words are inside the block.
    #[inline]
    pub(in crate::engine) fn owns_nothing(&self) -> bool {
        self.is_empty() && self.cap.get() == INLINE_WORDS
    }

    /// Returns `true` if there is exactly one record, and it has `len` words of captures.
    pub(in crate::engine) fn has_only(&self, len: u32) -> bool {
        self.end.get() - self.first.get() == HEAD + len
    }

    /// Returns the first record, if there is one.
    #[inline]
    pub(super) fn first(&self) -> Option<Record> {
        if self.is_empty() { None } else { Some(Record(self.at(self.first.get(), HEAD))) }
    }

    /// Returns `true` if the last record has this vtable.
    pub(super) fn last_is(&self, vtable: &'static StageVtable) -> bool {
        let (mut at, mut last) = (self.first.get(), None);
        while at < self.end.get() {
            let head = Record(self.at(at, HEAD)).head();
            last = Some(head.vtable);
            at += HEAD + head.vtable.words;
        }
        last.is_some_and(|last| ptr::eq(last, vtable))
    }

    /// Returns the captures of the last record, which are `len` words.
    pub(super) fn last_captures(&self, len: u32) -> *mut Word {
        self.at(self.end.get() - len, len)
    }

    /// Removes the first record, whose `len` words of captures were moved out.
    #[inline]
    pub(super) fn pop_first(&self, len: u32) {
        self.first.set(self.first.get() + HEAD + len);
    }

    /// Removes the last record, whose `len` words of captures were moved out.
    pub(super) fn pop_last(&self, len: u32) {
        self.end.set(self.end.get() - HEAD - len);
    }

    /// Appends a record and makes the slot at least `slot` words large. Returns the place for the
    /// `len` words of captures.
    ///
    /// # Safety
    ///
    /// The captures are written before anything else happens to the region.
    ///
    /// # Panics
    ///
    /// Panics if the region would exceed 32 GiB. Nothing has changed then.
    #[inline]
    pub(super) unsafe fn push(&self, head: Head, len: u32, slot: u32) -> *mut Word {
        let need = HEAD + len;
        if slot > self.slot.get() || self.cap.get() - self.end.get() < need {
            self.rebuild(slot, need);
        }
        let end = self.end.get();
        self.end.set(end + need);
        let place = self.at(end, need);
        // SAFETY: `need` words are free there, of which the head takes the first.
        unsafe {
            place.cast::<Head>().write(head);
            place.add(HEAD as usize)
        }
    }

    /// Returns `true` if there is room for a record with `len` words of captures.
    #[inline]
    pub(in crate::engine) fn has_room(&self, len: u32) -> bool {
        self.cap.get() - self.end.get() >= HEAD + len
    }

    /// Makes the slot at least `slot` words large, and makes room for `need` words after the last
    /// record.
    #[cold]
    #[inline(never)]
    fn rebuild(&self, slot: u32, need: u32) {
        let slot = slot.max(self.slot.get());
        let (first, live, cap) = (self.first.get(), self.end.get() - self.first.get(), self.cap.get());
        let needed = u64::from(slot) + u64::from(live) + u64::from(need);
        let from = self.base.get();
        // Moving the records within a large region pays only if much of it becomes free. Otherwise
        // every push would move them.
        let in_place = needed <= u64::from(cap) && (cap <= INLINE_WORDS || live <= cap / 2);
        let (to, grown) = if in_place {
            (from, cap)
        } else {
            let factor = if cap <= HEAP_WORDS { 2 } else { 4 };
            let least = u64::from((slot + HEAP_WORDS - 2).next_power_of_two()).max(u64::from(cap) * factor);
            let grown = u32::try_from(needed.max(least)).expect("more than 32 GiB of callbacks on one Deferred");
            (allocate(grown), grown)
        };
        // SAFETY: the old region has `self.slot` words at its begin and `live` ones at `first`; the
        // new one is at least as large as both and `need` together. If the two are the same, only
        // the records move, and `copy` allows overlap.
        unsafe {
            ptr::copy(from.add(first as usize), to.add(slot as usize), live as usize);
            if !in_place {
                ptr::copy_nonoverlapping(from, to, self.slot.get() as usize);
                self.free();
                self.base.set(to);
            }
        }
        self.cap.set(grown);
        self.slot.set(slot);
        self.first.set(slot);
        self.end.set(slot + live);
    }

    /// Frees the allocation outside the block, if there is one. The words are gone then.
    fn free(&self) {
        let cap = self.cap.get();
        if cap > INLINE_WORDS {
            // SAFETY: `allocate(cap)` returned it.
            unsafe { dealloc(self.base.get().cast(), layout(cap)) };
        }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        self.free();
    }
}

fn layout(words: u32) -> Layout {
    Layout::array::<Word>(words as usize).expect("at most 32 GiB")
}

fn allocate(words: u32) -> *mut Word {
    debug_assert!(words > INLINE_WORDS);
    // SAFETY: the size is not 0.
    let place = unsafe { alloc(layout(words)) };
    if place.is_null() {
        handle_alloc_error(layout(words));
    }
    place.cast()
}
