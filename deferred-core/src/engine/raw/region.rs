//! The words of a block, and what is where. Rule 1.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::{Cell, UnsafeCell};
use std::ptr;

use super::block::Place;
use super::record::Table;
use super::words::{Word, words};

/// How many words a block has in itself.
pub(super) const IN_PLACE: u32 = 11;
/// How many the first allocation beside it has at least.
const BESIDE: u32 = 64;

/// What a record begins with.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub(super) table: &'static Table,
    /// Where it was added.
    pub(super) at: Place,
}

const HEAD: u32 = words::<Head>();

/// A live record of a region, for as long as that is neither moved nor changed. Rule 1.
#[derive(Clone, Copy)]
pub(super) struct Record(*mut Word);

impl Record {
    #[inline(always)]
    pub(super) fn head(self) -> Head {
        // SAFETY: a record begins with a head.
        unsafe { *self.0.cast::<Head>() }
    }

    #[inline(always)]
    pub(super) fn captures(self) -> *mut Word {
        // SAFETY: they are behind the head.
        unsafe { self.0.add(HEAD as usize) }
    }
}

pub(in crate::engine) struct Region {
    /// Where its words are: `here`, which does not move, or in an allocation of their own.
    base: Cell<*mut Word>,
    slot: Cell<u32>,
    first: Cell<u32>,
    end: Cell<u32>,
    /// More than `IN_PLACE` exactly if the words are in an allocation of their own.
    cap: Cell<u32>,
    here: UnsafeCell<[Word; IN_PLACE as usize]>,
}

impl Region {
    /// One with a slot of `slot` words, which is to be told its [`place`](Self::place).
    #[inline(always)]
    pub(super) fn new(slot: u32) -> Region {
        let slot = if slot > IN_PLACE { 0 } else { slot };
        let here = UnsafeCell::new([const { Word::uninit() }; IN_PLACE as usize]);
        let (base, end) = (Cell::new(ptr::null_mut()), Cell::new(slot));
        Region { base, slot: Cell::new(slot), first: Cell::new(slot), end, cap: Cell::new(IN_PLACE), here }
    }

    /// Lies where it stays.
    #[inline(always)]
    pub(super) fn place(&self, slot: u32) {
        self.base.set(self.here.get().cast());
        if slot > IN_PLACE {
            self.rebuild(slot, 0);
        }
    }

    /// A pointer to `len` words from `at` on.
    #[inline(always)]
    fn at(&self, at: u32, len: u32) -> *mut Word {
        debug_assert!(u64::from(at) + u64::from(len) <= u64::from(self.cap.get()), "words outside the region");
        debug_assert!(self.slot.get() <= self.first.get() && self.first.get() <= self.end.get());
        debug_assert!(self.end.get() <= self.cap.get());
        // SAFETY: within the allocation: every position that is kept is at most `cap`.
        unsafe { self.base.get().add(at as usize) }
    }

    /// The slot, for a result of `len` words.
    #[inline(always)]
    pub(super) fn slot(&self, len: u32) -> *mut Word {
        debug_assert!(len <= self.slot.get(), "the slot is too small for this result");
        self.at(0, len)
    }

    #[inline(always)]
    pub(in crate::engine) fn is_empty(&self) -> bool {
        self.first.get() == self.end.get()
    }

    /// Whether there is one record, of `len` words.
    pub(super) fn has_only(&self, len: u32) -> bool {
        self.end.get() - self.first.get() == HEAD + len
    }

    /// The first record, if there is one.
    #[inline(always)]
    pub(super) fn first(&self) -> Option<Record> {
        if self.is_empty() { None } else { Some(Record(self.at(self.first.get(), HEAD))) }
    }

    /// The captures of the last record, of `len` words.
    pub(super) fn last_captures(&self, len: u32) -> *mut Word {
        self.at(self.end.get() - len, len)
    }

    /// Steps over the first record, of `len` words of captures, which were moved out.
    #[inline(always)]
    pub(super) fn pop_first(&self, len: u32) {
        self.first.set(self.first.get() + HEAD + len);
    }

    /// Takes back the last record, of `len` words, whose captures were moved out.
    pub(super) fn pop_last(&self, len: u32) {
        self.end.set(self.end.get() - HEAD - len);
    }

    /// Appends a record, for whose `len` words of captures this gives the place. The slot has at least `slot` words then.
    ///
    /// # Safety
    /// The captures are written before anything else happens to the region.
    ///
    /// # Panics
    /// Where a block would pass 32 GiB. Nothing has changed then.
    #[inline(always)]
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

    /// Makes the slot at least `slot` words large, and room for `need` words behind the last record.
    #[cold]
    #[inline(never)]
    fn rebuild(&self, slot: u32, need: u32) {
        let slot = slot.max(self.slot.get());
        let (first, live, cap) = (self.first.get(), self.end.get() - self.first.get(), self.cap.get());
        let needed = u64::from(slot) + u64::from(live) + u64::from(need);
        let from = self.base.get();
        // Moving within a large region pays only if much of it becomes free: otherwise every push would move.
        let stays = needed <= u64::from(cap) && (cap <= IN_PLACE || live <= cap / 2);
        let (to, grown) = if stays {
            (from, cap)
        } else {
            let grown = needed.max(u64::from(cap) * 4).max(u64::from(BESIDE));
            let grown = u32::try_from(grown).expect("more than 32 GiB of callbacks on one Deferred");
            (allocate(grown), grown)
        };
        // SAFETY: the old region has `self.slot` words at its begin and `live` ones at `first`; the new one is at least
        // as large as both and `need` together. Where the two are one, only the records move, and `copy` may overlap.
        unsafe {
            ptr::copy(from.add(first as usize), to.add(slot as usize), live as usize);
            if !stays {
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

    /// Gives back the allocation beside the block. The words are nowhere then.
    fn free(&self) {
        let cap = self.cap.get();
        if cap > IN_PLACE {
            // SAFETY: `allocate(cap)` gave it.
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
    debug_assert!(words > IN_PLACE);
    // SAFETY: more than none.
    let place = unsafe { alloc(layout(words)) };
    if place.is_null() {
        handle_alloc_error(layout(words));
    }
    place.cast()
}
