//! The blocks that this thread has created while inspection was on.

#![forbid(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::mem::MaybeUninit;
use std::rc::{Rc, Weak};

use super::raw::{Block, BlockRef, Memory, set_recycling};
use crate::error::CallSite;
use crate::instant::Instant;

/// The number of entries that are checked for each one that is added.
const CHECKED: usize = 2;

thread_local! {
    /// The number of guards that keep inspection on. With `--cfg deferred_inspect` it is on from
    /// the start, for tests.
    static GUARDS: Cell<usize> = const { Cell::new(cfg!(deferred_inspect) as usize) };
    static REGISTERED: RefCell<Registered> = const { RefCell::new(Registered::new()) };
}

/// The entries. A dropped block keeps its memory, but not its contents, until its entry is found to
/// be of a dropped block: each addition checks a few entries in turn. So memory is freed one by
/// one, as it is allocated, for which allocators are fastest.
struct Registered {
    entries: Vec<Entry>,
    /// The entry that was checked last.
    checked: usize,
    /// The entry that was added last.
    last: usize,
}

impl Registered {
    const fn new() -> Registered {
        Registered { entries: Vec::new(), checked: 0, last: 0 }
    }

    fn add(&mut self, memory: &Memory) {
        let mut entry = Some(Entry { block: Rc::downgrade(memory), since: Instant::now(), tag: 0 });
        for _ in 0..CHECKED.min(self.entries.len()) {
            self.checked = if self.checked + 1 < self.entries.len() { self.checked + 1 } else { 0 };
            if !self.entries[self.checked].is_dropped() {
                continue;
            }
            match entry.take() {
                Some(entry) => {
                    self.entries[self.checked] = entry;
                    self.last = self.checked;
                }
                None => {
                    self.entries.swap_remove(self.checked);
                    if self.last == self.entries.len() {
                        self.last = self.checked; // it was moved
                    }
                }
            }
        }
        if let Some(entry) = entry {
            self.last = self.entries.len();
            self.entries.push(entry);
        }
    }
}

struct Entry {
    block: Weak<MaybeUninit<Block>>,
    since: Instant,
    tag: u8,
}

impl Entry {
    fn is_dropped(&self) -> bool {
        self.block.strong_count() == 0
    }
}

/// A registered block, with the time of its creation and its tag.
pub(crate) struct RegisteredBlock {
    pub(crate) block: BlockRef,
    pub(crate) since: Instant,
    pub(crate) tag: u8,
}

/// A reference to a block that does not keep its contents.
pub(crate) struct WeakHandle(Weak<Block>);

impl WeakHandle {
    /// Returns `true` if the block still exists.
    pub(crate) fn is_alive(&self) -> bool {
        self.0.strong_count() > 0
    }
}

impl BlockRef {
    pub(crate) fn downgrade(&self) -> WeakHandle {
        WeakHandle(Rc::downgrade(&self.0))
    }
}

/// Returns `true` if new blocks are registered.
#[inline]
pub(crate) fn is_on() -> bool {
    GUARDS.get() > 0
}

/// Adds a guard. Memory of dropped blocks is not reused while there is one.
pub(crate) fn turn_on() {
    GUARDS.set(GUARDS.get() + 1);
    set_recycling(false);
}

/// Removes a guard. The last one forgets all blocks.
pub(crate) fn turn_off() {
    GUARDS.set(GUARDS.get() - 1);
    if !is_on() {
        set_recycling(true);
        let _ = REGISTERED.try_with(|registered| registered.replace(Registered::new()));
    }
}

/// Returns memory for a block, and registers it if inspection is on.
#[inline]
pub(super) fn new_memory() -> Memory {
    let memory = Rc::new(MaybeUninit::uninit());
    if is_on() {
        register(&memory);
    }
    memory
}

#[cold]
#[inline(never)]
fn register(memory: &Memory) {
    // An error means that the thread ends.
    let _ = REGISTERED.try_with(|registered| registered.borrow_mut().add(memory));
}

/// Sets the tag of a block that was just created. It is 0 before, and only its reader gives it a
/// meaning.
#[cold]
pub(crate) fn set_tag(block: &BlockRef, tag: u8) {
    let address = Rc::as_ptr(&block.0).cast();
    let _ = REGISTERED.try_with(|registered| {
        let Registered { entries, last, .. } = &mut *registered.borrow_mut();
        if let Some(entry) = entries.get_mut(*last).filter(|entry| entry.block.as_ptr() == address) {
            entry.tag = tag;
        } else if let Some(entry) = entries.iter_mut().find(|entry| entry.block.as_ptr() == address) {
            entry.tag = tag;
        }
    });
}

/// Returns the registered blocks that still exist, the oldest first.
pub(crate) fn blocks() -> Vec<RegisteredBlock> {
    let blocks = REGISTERED.try_with(|registered| {
        let registered = registered.borrow();
        let alive = registered.entries.iter().filter_map(|entry| {
            let block = BlockRef::in_memory(entry.block.upgrade()?);
            Some(RegisteredBlock { block, since: entry.since, tag: entry.tag })
        });
        alive.collect()
    });
    let mut blocks: Vec<_> = blocks.unwrap_or_default();
    blocks.sort_by_key(|registered| registered.since);
    blocks
}

/// The event that a block waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waits {
    /// To be fired.
    Unfired,
    /// For the end of a pause.
    Paused,
    /// For the Deferred that a callback has returned.
    Inner,
    /// For nothing: it has its result, or another block has taken its place.
    Nothing,
}

impl BlockRef {
    /// Returns what the block waits for.
    pub(crate) fn waits(&self) -> Waits {
        if self.state.has_successor() || self.is_ready() {
            Waits::Nothing
        } else if self.is_waiting() {
            Waits::Inner
        } else if !self.is_fired() {
            Waits::Unfired
        } else if self.state.is_paused() {
            Waits::Paused
        } else {
            Waits::Nothing
        }
    }

    /// Returns the block whose result this one waits for.
    pub(crate) fn inner(&self) -> Option<BlockRef> {
        self.awaited()
    }

    /// Notes that this unfired block will be fired with the result of `awaited`, if inspection is on.
    /// Until it is fired, its link has no other use.
    #[inline]
    pub(super) fn note_forward(&self, awaited: &BlockRef) {
        if is_on() && !self.is_fired() {
            self.state.set_link(Rc::downgrade(&awaited.0));
        }
    }

    /// Returns the block with whose result this unfired one will be fired, if that is known.
    pub(crate) fn forwarded(&self) -> Option<BlockRef> {
        if self.is_fired() || self.state.has_successor() { None } else { self.linked() }
    }

    /// Returns the location where the Deferred was created, and where its last callback was added.
    pub(crate) fn locations(&self) -> (CallSite, CallSite) {
        (self.state.made, self.state.last.get())
    }

    /// Returns the number of the block of the coroutine that waits for this one.
    pub(crate) fn waiting_coroutine(&self) -> Option<usize> {
        if !self.is_awaited() {
            return None;
        }
        let (coroutine, wait) = self.take_waiting()?;
        let own = coroutine.own_block();
        self.push_waiting(coroutine, wait);
        Some(own)
    }
}
